// A task as Deimos sees it, whatever version of Mesos it came from: what mesos/task-view.ts makes of a Launch
// record, what container.json keeps, and what plan.ts turns into a create request. Types only; every value is JSON.

import type { MesosContainerId } from './identity.ts';

/** An inclusive range of host ports that the slave offered. */
export interface PortRange {
  readonly begin: number;
  readonly end: number;
}

/** Resources of all roles added up; undefined where the record names none of that name. */
export interface Resources {
  readonly cpus?: number;
  readonly memMb?: number;
  /** In the order of the record, not merged: the order pairs them with the image's ports. */
  readonly ports: readonly PortRange[];
}

export interface Uri {
  readonly value: string;
  readonly executable: boolean;
  readonly extract: boolean;
  readonly cache: boolean;
  readonly outputFile?: string;
}

export interface Command {
  /** CommandInfo.value; undefined where absent or empty. */
  readonly value?: string;
  /** CommandInfo.shell [6] of ≥ 0.20; true where absent. */
  readonly shell: boolean;
  readonly arguments: readonly string[];
  /** In the order of the record; a later one of the same name wins. */
  readonly environment: readonly (readonly [name: string, value: string])[];
  readonly uris: readonly Uri[];
  readonly user?: string;
}

/** CommandInfo.ContainerInfo, the old form (≤ 0.26). */
export interface OldContainer {
  readonly form: 'old';
  /** As sent: an URL (`docker:///name`), or undefined. */
  readonly image?: string;
  readonly options: readonly string[];
}

/** As sent, no ports perhaps: whoever reads them holds them against the offer. */
export interface PortMapping {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol?: string;
}

export interface Volume {
  readonly containerPath: string;
  readonly hostPath?: string;
  readonly mode: 'RW' | 'RO';
  readonly dockerVolume?: {
    readonly driver?: string;
    readonly name: string;
    readonly driverOptions: readonly (readonly [key: string, value: string])[];
  };
}

/** ContainerInfo{DOCKER}, the new form (≥ 0.20). */
export interface NewContainer {
  readonly form: 'new';
  readonly type: 'DOCKER' | 'MESOS' | 'unknown';
  /** A bare name, no `docker:///`. */
  readonly image?: string;
  readonly network: 'HOST' | 'BRIDGE' | 'NONE' | 'USER';
  /** NetworkInfo.name of the first network_infos entry that has one: the network of USER. */
  readonly networkName?: string;
  /** Why a container that was asked for like this is none that can be run: the task fails with it. */
  readonly unusable?: string;
  readonly portMappings: readonly PortMapping[];
  readonly privileged: boolean;
  readonly parameters: readonly (readonly [key: string, value: string])[];
  readonly forcePull: boolean;
  readonly volumeDriver?: string;
  readonly volumes: readonly Volume[];
  readonly hostname?: string;
}

export interface HealthCheck {
  readonly http?: { readonly port: number; readonly path: string; readonly statuses: readonly number[] };
  readonly command?: Command;
  /** As sent, negative ones too; null: NaN or infinite, which JSON cannot keep. What is made of them says health.ts. */
  readonly delaySeconds: number | null;
  readonly intervalSeconds: number | null;
  readonly timeoutSeconds: number | null;
  readonly consecutiveFailures: number;
  readonly gracePeriodSeconds: number | null;
}

export interface TaskRequest {
  /** `command`: Launch.task_info is there, Deimos is the executor. `executor`: the framework's own executor runs in the container. */
  readonly kind: 'command' | 'executor';
  readonly containerId: MesosContainerId;
  readonly frameworkId: string;
  readonly executorId: string;
  /** TaskInfo.task_id; undefined for an executor task. */
  readonly taskId?: string;
  /** TaskInfo.name, else ExecutorInfo.name, else the executor id. */
  readonly name: string;
  /** Launch.directory, the sandbox on the host; an absolute path. */
  readonly sandbox: string;
  /** Launch.user. */
  readonly user?: string;
  readonly slaveId: string;
  /** `slave(1)@ip:port`, or undefined where a person calls launch by hand. */
  readonly slavePid?: string;
  readonly checkpoint: boolean;
  readonly command: Command;
  readonly container?: OldContainer | NewContainer;
  readonly resources: Resources;
  readonly healthCheck?: HealthCheck;
  /** TaskInfo.kill_policy.grace_period. */
  readonly killGraceMs?: number;
  /** ExecutorInfo.shutdown_grace_period. */
  readonly shutdownGraceMs?: number;
}

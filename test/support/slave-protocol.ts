// What the test (slave.ts) and the stand-in slave's own process (slave-process.ts) say to each other. Types only.

export type MesosVersion = '0.19.1' | '0.22.2' | '0.28.3' | '1.0.4';

export interface SlaveConfig {
  /** The slave's --containerizer_path: a command line for /bin/sh. */
  readonly containerizer: string;
  readonly version: MesosVersion;
  /** An absolute path. */
  readonly workDirectory: string;
  readonly withoutSsl: boolean;
  /** At which it listens. */
  readonly ip: string;
  /** 0: any free one. */
  readonly port: number;
  readonly slaveId: string;
  /** The slave's own environment, in full: what is not here its calls do not have. */
  readonly environment: Readonly<Record<string, string>>;
  /** What the slave's flags add to launch alone (MESOS_DEFAULT_CONTAINER_IMAGE, HADOOP_HOME). */
  readonly launchEnvironment: Readonly<Record<string, string>>;
  readonly registrationTimeoutMs: number;
  readonly reregistrationTimeoutMs: number;
  readonly shutdownGraceMs: number;
  readonly recoveryTimeout: string;
  /** 0: never by itself. */
  readonly usageEveryMs: number;
  /** Undefined: each record in one write. Else a pause after each byte. */
  readonly stdinByteMs: number | undefined;
  /** Some of the slave's own descriptors (pipes) leak into each call. */
  readonly leakDescriptors: boolean;
  readonly acks: AckPolicy;
  /** Messages to executors that are kept back from the start, by their names. */
  readonly held: readonly string[];
  /** The port that it tells executors, where something stands before its own. */
  readonly doorPort: number | undefined;
}

/** What the slave does with acknowledgements: sends them, keeps them back, or sends them so much later. */
export type AckPolicy = 'send' | 'drop' | { readonly delayMs: number };

export interface FrameworkDescription {
  readonly id: string;
  readonly name: string;
  readonly user: string;
  readonly checkpoint: boolean;
  /** FrameworkInfo.Capability.Type numbers. */
  readonly capabilities: readonly number[];
}

/** A task on its way to the slave; the bytes are protobuf. */
export interface TaskOrder {
  readonly framework: FrameworkDescription;
  /** TaskInfo; with an `executor` in it, it is a task for the framework's own executor. */
  readonly task: Uint8Array;
}

export type SlaveCommand =
  | { readonly type: 'start'; readonly config: SlaveConfig }
  | { readonly type: 'run'; readonly order: TaskOrder }
  | {
      readonly type: 'kill-task';
      readonly frameworkId: string;
      readonly taskId: string;
      readonly graceMs?: number;
    }
  | { readonly type: 'shutdown-executor'; readonly containerId: string }
  | { readonly type: 'destroy'; readonly containerId: string }
  | { readonly type: 'usage'; readonly containerId: string }
  | { readonly type: 'framework-message'; readonly containerId: string; readonly data: Uint8Array }
  | { readonly type: 'acks'; readonly policy: AckPolicy }
  | { readonly type: 'hold' | 'let-go'; readonly message: string }
  | {
      readonly type: 'call';
      readonly verb: string;
      readonly record: Uint8Array | undefined;
      readonly cwd: string;
    };

/** A request carries a number, its answer the same one. */
export interface Request {
  readonly number: number;
  readonly command: SlaveCommand;
}

export interface RunAnswer {
  readonly containerId: string;
  readonly executorId: string;
  readonly sandbox: string;
}

/** A verb's process, from start to end. */
export interface Call {
  readonly number: number;
  readonly verb: string;
  readonly containerId: string | undefined;
  readonly cwd: string;
  readonly pid: number;
  readonly startTicks: number;
  readonly startedAt: number;
}

export interface CallEnd {
  readonly number: number;
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: Uint8Array;
  readonly stderr: string;
  readonly endedAt: number;
}

/** A status update as the framework sees it. Times are milliseconds since the epoch. */
export interface Update {
  readonly taskId: string;
  readonly state: number;
  readonly message: string | undefined;
  readonly reason: number | undefined;
  readonly data: Uint8Array | undefined;
  readonly healthy: boolean | undefined;
  /** TaskStatus.source as it was sent (EXECUTOR 2). */
  readonly source: number | undefined;
  /** Hex; undefined for those that the slave made itself. */
  readonly uuid: string | undefined;
  readonly labels: readonly (readonly [string, string])[];
  readonly addresses: readonly string[];
  /** TaskStatus.timestamp, seconds. */
  readonly timestamp: number | undefined;
  /** Who made it. */
  readonly from: 'executor' | 'slave';
  readonly receivedAt: number;
}

/** How `wait` ended, decoded. */
export interface TerminationSeen {
  readonly containerId: string;
  readonly killed: boolean | undefined;
  readonly message: string | undefined;
  readonly status: number | undefined;
  readonly state: number | undefined;
  readonly reasons: readonly number[];
  readonly receivedAt: number;
}

/** A protobuf message between executor and slave. */
export interface MessageSeen {
  readonly direction: 'to-slave' | 'to-executor';
  /** `RegisterExecutorMessage` … */
  readonly name: string;
  /** The executor's UPID. */
  readonly upid: string;
  readonly body: Uint8Array;
  readonly at: number;
  /** To the slave: whether it came over TLS. */
  readonly secure?: boolean;
}

export type SlaveEvent =
  | { readonly type: 'answer'; readonly number: number; readonly value?: unknown; readonly error?: string }
  | { readonly type: 'call'; readonly call: Call }
  | { readonly type: 'call-end'; readonly end: CallEnd }
  | { readonly type: 'message'; readonly message: MessageSeen }
  /** A message that is kept back would have gone out now. */
  | { readonly type: 'held'; readonly message: string }
  /** A connection to executors stands. */
  | { readonly type: 'dialled'; readonly address: string; readonly secure: boolean }
  | { readonly type: 'update'; readonly update: Update }
  | { readonly type: 'acknowledged'; readonly taskId: string; readonly uuid: string }
  | { readonly type: 'termination'; readonly termination: TerminationSeen }
  /** The slave has forgotten the container: waited for, destroyed, or given up. */
  | { readonly type: 'gone'; readonly containerId: string }
  | { readonly type: 'reregistered'; readonly containerId: string }
  | { readonly type: 'violation'; readonly text: string };

// Tasks as a framework would write them, as protobuf: the new and the old form of naming a container, command tasks and
// tasks for a framework's own executor.

import { randomUUID } from 'node:crypto';
import { encode, type Input } from '../../src/mesos/codec.ts';
import { ContainerType, Network, TaskInfo, ValueType } from '../../src/mesos/messages.ts';

export interface TaskOptions {
  /** Unless told, a new one in each call. */
  readonly taskId?: string;
  readonly name?: string;
  /** CommandInfo.value; undefined: none. */
  readonly value?: string;
  /** CommandInfo.shell and .arguments (from 0.20 on). */
  readonly shell?: boolean;
  readonly arguments?: readonly string[];
  /** `old`: CommandInfo.ContainerInfo, image with docker:///. `new`: ContainerInfo{DOCKER}. */
  readonly form?: 'old' | 'new';
  /** A bare name in either form; in the old one `docker:///` is put before it unless it has a scheme. */
  readonly image?: string;
  /** The old form's options; in the new form use `docker`. */
  readonly options?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Default 0.1. */
  readonly cpus?: number;
  /** MB; default 32. */
  readonly mem?: number;
  /** Inclusive ranges. */
  readonly ports?: readonly (readonly [begin: number, end: number])[];
  /** Beside those of cpus, mem and ports (other roles, for example). */
  readonly resources?: readonly Input<(typeof TaskInfo)['fields']['resources'][1]>[];
  readonly uris?: readonly { value: string; executable?: boolean; extract?: boolean; output_file?: string }[];
  readonly user?: string;
  /** New form: more of ContainerInfo and DockerInfo. */
  readonly container?: Input<(typeof TaskInfo)['fields']['container'][1]>;
  readonly docker?: NonNullable<Input<(typeof TaskInfo)['fields']['container'][1]>['docker']>;
  /** TaskInfo.health_check, from 0.20 on. */
  readonly healthCheck?: Input<(typeof TaskInfo)['fields']['health_check'][1]>;
  /** CommandInfo.health_check, that of 0.19. */
  readonly oldHealthCheck?: Input<(typeof TaskInfo)['fields']['command'][1]>['health_check'];
  /** Milliseconds; KillPolicy (1.0). */
  readonly killGraceMs?: number;
  /** TaskInfo fields that the above do not name. */
  readonly more?: Input<typeof TaskInfo>;
}

/** What StandInSlave.launch takes. */
export interface TaskToRun {
  readonly taskId: string;
  readonly executorId: string;
  readonly encode: (slaveId: string) => Uint8Array;
}

const newId = () => `task-${randomUUID().slice(0, 8)}`;

/** A task that is a command: the slave's executor, here the containerizer, runs and reports it. */
export function commandTask(options: TaskOptions): TaskToRun {
  const taskId = options.taskId ?? newId();
  const info = describe(options, taskId);
  return {
    taskId,
    executorId: taskId,
    encode: (slaveId) =>
      encode(TaskInfo, {
        ...info,
        slave_id: { value: slaveId },
        command: commandOf(options),
        container: containerOf(options),
      }),
  };
}

/** A task for a framework's own executor, which runs in the container with the options' command and resources. */
export function executorTask(options: TaskOptions & { readonly executorId?: string }): TaskToRun {
  const taskId = options.taskId ?? newId();
  const executorId = options.executorId ?? `executor-of-${taskId}`;
  const { resources, ...info } = describe(options, taskId);
  return {
    taskId,
    executorId,
    encode: (slaveId) =>
      encode(TaskInfo, {
        ...info,
        slave_id: { value: slaveId },
        executor: {
          executor_id: { value: executorId },
          resources,
          command: commandOf(options),
          name: options.name ?? taskId,
          source: 'stand-in',
          container: containerOf(options),
        },
      }),
  };
}

function describe(options: TaskOptions, taskId: string): Input<typeof TaskInfo> {
  const scalar = (name: string, value: number) => ({
    name,
    type: ValueType.SCALAR,
    scalar: { value },
    role: '*',
  });
  const range = (options.ports ?? []).map(([begin, end]) => ({ begin, end }));
  const ports = { name: 'ports', type: ValueType.RANGES, ranges: { range }, role: '*' };
  const grace = options.killGraceMs;
  return {
    name: options.name ?? taskId,
    task_id: { value: taskId },
    resources: [
      scalar('cpus', options.cpus ?? 0.1),
      scalar('mem', options.mem ?? 32),
      ...(range.length > 0 ? [ports] : []),
      ...(options.resources ?? []),
    ],
    health_check: options.healthCheck,
    kill_policy: grace === undefined ? undefined : { grace_period: { nanoseconds: grace * 1e6 } },
    ...options.more,
  };
}

function commandOf(options: TaskOptions): Input<(typeof TaskInfo)['fields']['command'][1]> {
  const variables = Object.entries(options.env ?? {}).map(([name, value]) => ({ name, value }));
  const { image } = options;
  const old = options.form !== 'new' && (image !== undefined || options.options !== undefined);
  const url = image === undefined || /^[a-z]+:\/\//.test(image) ? image : `docker:///${image}`;
  return {
    uris: options.uris,
    environment: variables.length > 0 ? { variables } : undefined,
    value: options.value,
    container: old ? { image: url, options: options.options } : undefined,
    user: options.user,
    health_check: options.oldHealthCheck,
    shell: options.shell,
    arguments: options.arguments,
  };
}

function containerOf(options: TaskOptions): Input<(typeof TaskInfo)['fields']['container'][1]> | undefined {
  if (options.form !== 'new') return options.container;
  return {
    type: ContainerType.DOCKER,
    ...options.container,
    docker: { image: options.image, network: Network.BRIDGE, ...options.docker },
  };
}

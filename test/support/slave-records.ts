// What a slave of a given version puts into records, messages and environments: the slave's facts in, values out.
// Pure; held against the recordings of real slaves.

import { decode, type Infer, type Input, message } from '../../src/mesos/codec.ts';
import * as messages from '../../src/mesos/messages.ts';
import type { FrameworkDescription, SlaveConfig, Update } from './slave-protocol.ts';

export type TaskInfo = Infer<typeof messages.TaskInfo>;
type ResourceInput = Input<typeof messages.Resource>;

const NAME = 'slave(1)';
const LIBEXEC = '/usr/libexec/mesos';
/** How much of a command the name of its executor shows. */
const SHOWN_COMMAND = 15;
/** What a slave adds to a command task for its own executor, from 0.20 on. */
const ALLOWANCE: readonly ResourceInput[] = [
  { name: 'cpus', type: messages.ValueType.SCALAR, scalar: { value: 0.1 }, role: '*' },
  { name: 'mem', type: messages.ValueType.SCALAR, scalar: { value: 32 }, role: '*' },
];
const TERMINAL: readonly number[] = [
  messages.TaskState.FINISHED,
  messages.TaskState.FAILED,
  messages.TaskState.KILLED,
  messages.TaskState.LOST,
  messages.TaskState.ERROR,
];

/** The product ignores this message and has no table for it. */
export const FrameworkToExecutorMessage = message('FrameworkToExecutorMessage', {
  slave_id: [1, messages.SlaveID],
  framework_id: [2, messages.FrameworkID],
  executor_id: [3, messages.ExecutorID],
  data: [4, 'bytes'],
});

/** A running slave, as far as its records depend on it. */
export interface SlaveFacts {
  readonly config: SlaveConfig;
  readonly port: number;
}

/** An executor, as far as the environment of its launch depends on it. */
export interface LaunchFacts {
  readonly framework: FrameworkDescription;
  readonly id: string;
  readonly sandbox: string;
}

export function atLeast(config: SlaveConfig, version: string): boolean {
  const parts = (text: string) => text.split('.').map(Number);
  const mine = parts(config.version);
  for (const [at, wanted] of parts(version).entries()) {
    const have = mine[at] ?? 0;
    if (have !== wanted) return have > wanted;
  }
  return true;
}

export function upidOf({ config, port }: SlaveFacts): string {
  return `${NAME}@${config.ip}:${config.doorPort ?? port}`;
}

/** The part of the UPID before the `@`, which is also the path under which messages come. */
export function slaveName(): string {
  return NAME;
}

export function isTerminal(state: number | undefined): boolean {
  return state !== undefined && TERMINAL.includes(state);
}

export function decodeTask(bytes: Uint8Array): TaskInfo {
  return decode(messages.TaskInfo, bytes);
}

/** The environment of every call. */
export function baseEnvironment({ config, port }: SlaveFacts): Record<string, string> {
  return {
    LIBPROCESS_PORT: String(port),
    ...config.environment,
    MESOS_LIBEXEC_DIRECTORY: LIBEXEC,
    MESOS_WORK_DIRECTORY: config.workDirectory,
  };
}

/** The environment of launch. */
export function launchEnvironment(slave: SlaveFacts, executor: LaunchFacts): Record<string, string> {
  const { config, port } = slave;
  const { checkpoint } = executor.framework;
  const since = (version: string, entries: Record<string, string>) =>
    atLeast(config, version) ? entries : {};
  const added = {
    ...config.launchEnvironment,
    MESOS_FRAMEWORK_ID: executor.framework.id,
    MESOS_EXECUTOR_ID: executor.id,
    MESOS_DIRECTORY: executor.sandbox,
    MESOS_SLAVE_ID: config.slaveId,
    MESOS_SLAVE_PID: upidOf(slave),
    MESOS_CHECKPOINT: checkpoint ? '1' : '0',
    LIBPROCESS_PORT: '0',
    ...(checkpoint ? { MESOS_RECOVERY_TIMEOUT: config.recoveryTimeout } : {}),
    ...since('0.27', { MESOS_AGENT_ENDPOINT: `${config.ip}:${port}` }),
    ...since('0.27', checkpoint ? { MESOS_SUBSCRIPTION_BACKOFF_MAX: '2secs' } : {}),
    ...since('0.28', { MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD: `${config.shutdownGraceMs / 1000}secs` }),
    ...since('1.0', { MESOS_HTTP_COMMAND_EXECUTOR: '0' }),
  };
  // From 0.23 on the slave's own environment wins.
  const base = baseEnvironment(slave);
  return atLeast(config, '0.23') ? { ...added, ...base } : { ...base, ...added };
}

/** The framework's own executor, or what a slave makes up for a command task. Resources without the task's. */
export function executorInfo(
  config: SlaveConfig,
  frameworkId: string,
  task: TaskInfo,
): Input<typeof messages.ExecutorInfo> {
  const framework_id = { value: frameworkId };
  if (task.executor !== undefined) return { ...task.executor, framework_id };
  const value = task.command?.value ?? '';
  const words = value.length > SHOWN_COMMAND ? `${value.slice(0, SHOWN_COMMAND - 3)}...` : value;
  const modern = atLeast(config, '0.20');
  const grace = { nanoseconds: config.shutdownGraceMs * 1e6 };
  return {
    executor_id: task.task_id,
    resources: modern ? ALLOWANCE : [],
    command: {
      uris: task.command?.uris,
      environment: task.command?.environment,
      value: `${LIBEXEC}/mesos-executor`,
      user: task.command?.user,
      shell: modern ? true : undefined,
    },
    framework_id,
    name: `Command Executor (Task: ${task.task_id?.value}) (Command: sh -c '${words}')`,
    source: task.task_id?.value,
    container: modern ? task.container : undefined,
    shutdown_grace_period: atLeast(config, '1.0') ? grace : undefined,
  };
}

export function frameworkInfo(
  config: SlaveConfig,
  framework: FrameworkDescription,
): Input<typeof messages.FrameworkInfo> {
  const { id, name, user, checkpoint, capabilities } = framework;
  return {
    user,
    name,
    id: atLeast(config, '0.23') ? { value: id } : undefined,
    checkpoint,
    capabilities: capabilities.map((type) => ({ type })),
  };
}

export function slaveInfo({ config, port }: SlaveFacts): Input<typeof messages.SlaveInfo> {
  return { hostname: '127.0.0.1', id: { value: config.slaveId }, checkpoint: true, port };
}

/** Scalars of one name added up, the other resources as they come. */
export function merge(resources: readonly messages.Resource[]): ResourceInput[] {
  const merged: ResourceInput[] = [];
  for (const resource of resources) {
    const at = merged.findIndex((one) => one.name === resource.name && one.scalar !== undefined);
    const present = merged[at];
    if (present === undefined || resource.scalar === undefined) merged.push(resource);
    else {
      const value = (present.scalar?.value ?? 0) + (resource.scalar.value ?? 0);
      merged[at] = { ...present, scalar: { value } };
    }
  }
  return merged;
}

/** An executor's update as the framework sees it. */
export function executorUpdate(update: Infer<typeof messages.StatusUpdate>, uuid: string): Update {
  const status = update.status;
  return {
    taskId: status?.task_id?.value ?? '',
    state: status?.state ?? -1,
    message: status?.message,
    reason: status?.reason,
    data: status?.data,
    healthy: status?.healthy,
    source: status?.source,
    uuid,
    labels: (status?.labels?.labels ?? []).map(({ key = '', value = '' }) => [key, value] as const),
    addresses: (status?.container_status?.network_infos ?? []).flatMap((info) => [
      ...(info.ip_address === undefined ? [] : [info.ip_address]),
      ...info.ip_addresses.flatMap((address) => address.ip_address ?? []),
    ]),
    timestamp: status?.timestamp,
    from: 'executor',
    receivedAt: Date.now(),
  };
}

/** An update that the slave makes itself. */
export function slaveUpdate(taskId: string, state: number, text: string, reason: number | undefined): Update {
  return {
    ...{ taskId, state, message: text, reason, data: undefined, healthy: undefined, source: undefined },
    ...{ uuid: undefined, labels: [], addresses: [], timestamp: undefined, from: 'slave' },
    receivedAt: Date.now(),
  };
}

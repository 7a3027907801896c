// What an executor and its slave say to each other, as bytes on one side and plain values on the other. Pure.
// TaskInfo and StatusUpdate go back to a slave exactly as they came or were stored, unread: a slave compares.

import { Fault } from '../fault.ts';
import { decode, encode, rawField } from './codec.ts';
import {
  Capability,
  ExecutorRegisteredMessage,
  ExecutorReregisteredMessage,
  KillTaskMessage,
  Protocol,
  type Reason,
  ReconnectExecutorMessage,
  RegisterExecutorMessage,
  ReregisterExecutorMessage,
  RUN_TASK_TASK,
  RunTaskMessage,
  Source,
  StatusUpdate,
  StatusUpdateAcknowledgementMessage,
  StatusUpdateMessage,
  type TaskState,
} from './messages.ts';

const UUID_BYTES = 16;
const NANOSECONDS_PER_MS = 1e6;

/** Whose executor it is. */
export interface ExecutorIds {
  readonly frameworkId: string;
  readonly executorId: string;
}

export function registerExecutor({ frameworkId, executorId }: ExecutorIds): Buffer {
  return encode(RegisterExecutorMessage, {
    framework_id: { value: frameworkId },
    executor_id: { value: executorId },
  });
}

export interface Reregistration extends ExecutorIds {
  /** TaskInfo of every task none of whose updates was acknowledged, as RunTask brought it. */
  readonly tasks: readonly Uint8Array[];
  /** StatusUpdate of every update not yet acknowledged, oldest first. */
  readonly updates: readonly Uint8Array[];
}

export function reregisterExecutor({ frameworkId, executorId, tasks, updates }: Reregistration): Buffer {
  return encode(ReregisterExecutorMessage, {
    executor_id: { value: executorId },
    framework_id: { value: frameworkId },
    tasks,
    updates,
  });
}

export interface TaskUpdate extends ExecutorIds {
  /** The slave's own id, as Registered or Reconnect said it: from 1.0.2 on an update with another is dropped in silence. */
  readonly slaveId: string;
  readonly taskId: string;
  readonly state: TaskState;
  readonly message?: string | undefined;
  /** With RUNNING: the JSON of `docker inspect`, an array with one object. */
  readonly data?: Uint8Array | undefined;
  readonly reason?: Reason | undefined;
  readonly healthy?: boolean | undefined;
  /** IPv4 address of the container, told in the two ways in which frameworks look for it. */
  readonly ipAddress?: string | undefined;
  /** 16 random bytes; the acknowledgement names them. */
  readonly uuid: Uint8Array;
  /** Seconds since the epoch, with fraction. */
  readonly timestampSeconds: number;
  /** Our UPID: without it there is no acknowledgement. */
  readonly pid: string;
}

/** `update`: the StatusUpdate, to be kept until it is acknowledged; `message`: the StatusUpdateMessage to send now. */
export function statusUpdate(facts: TaskUpdate): { readonly update: Buffer; readonly message: Buffer } {
  if (facts.uuid.byteLength !== UUID_BYTES)
    throw new RangeError(`a status update's uuid has ${UUID_BYTES} bytes`);
  const { ipAddress } = facts;
  const update = encode(StatusUpdate, {
    framework_id: { value: facts.frameworkId },
    executor_id: { value: facts.executorId },
    slave_id: { value: facts.slaveId },
    status: {
      task_id: { value: facts.taskId },
      state: facts.state,
      data: facts.data,
      message: facts.message,
      slave_id: { value: facts.slaveId },
      timestamp: facts.timestampSeconds,
      executor_id: { value: facts.executorId },
      healthy: facts.healthy,
      source: Source.EXECUTOR,
      reason: facts.reason,
      uuid: facts.uuid,
      labels: ipAddress
        ? { labels: [{ key: 'Docker.NetworkSettings.IPAddress', value: ipAddress }] }
        : undefined,
      container_status: ipAddress
        ? {
            network_infos: [
              { ip_address: ipAddress, ip_addresses: [{ protocol: Protocol.IPV4, ip_address: ipAddress }] },
            ],
          }
        : undefined,
    },
    timestamp: facts.timestampSeconds,
    uuid: facts.uuid,
  });
  return { update, message: statusUpdateMessage(update, facts.pid) };
}

/** The message that sends a stored StatusUpdate (again), from `pid`, our UPID of now. */
export function statusUpdateMessage(update: Uint8Array, pid: string): Buffer {
  return encode(StatusUpdateMessage, { update, pid });
}

/** What a slave can say. `other`: nothing that an executor of one task has to act on. */
export type SlaveSays =
  | { readonly type: 'registered'; readonly slaveId: string; readonly wantsKilling: boolean }
  | { readonly type: 'reregistered'; readonly slaveId: string }
  | { readonly type: 'run-task'; readonly taskId: string; readonly task: Buffer }
  | { readonly type: 'kill-task'; readonly taskId: string; readonly graceMs?: number }
  | { readonly type: 'acknowledgement'; readonly taskId: string; readonly uuid: Buffer }
  | { readonly type: 'reconnect'; readonly slaveId: string }
  | { readonly type: 'shutdown' }
  | { readonly type: 'other'; readonly message: string };

/**
 * The message of that name (without `mesos.internal.`). `wantsKilling`: the framework knows TASK_KILLING.
 * `task` holds the bytes of the TaskInfo as they came. Fault 'protocol' if a field is missing or the bytes are no such message.
 */
export function parseSlaveMessage(message: string, body: Uint8Array): SlaveSays {
  switch (message) {
    case 'ExecutorRegisteredMessage': {
      const { slave_id, framework_info } = decode(ExecutorRegisteredMessage, body);
      const capabilities = framework_info?.capabilities ?? [];
      const wantsKilling = capabilities.some(({ type }) => type === Capability.TASK_KILLING_STATE);
      return { type: 'registered', slaveId: required(slave_id?.value, message, 'slave_id'), wantsKilling };
    }
    case 'ExecutorReregisteredMessage': {
      const { slave_id } = decode(ExecutorReregisteredMessage, body);
      return { type: 'reregistered', slaveId: required(slave_id?.value, message, 'slave_id') };
    }
    case 'RunTaskMessage': {
      const taskId = required(decode(RunTaskMessage, body).task?.task_id?.value, message, 'task.task_id');
      const task = required(rawField(body, RUN_TASK_TASK), message, 'task');
      return { type: 'run-task', taskId, task: Buffer.from(task) };
    }
    case 'KillTaskMessage': {
      const { task_id, kill_policy } = decode(KillTaskMessage, body);
      const nanoseconds = kill_policy?.grace_period?.nanoseconds;
      const graceMs =
        nanoseconds === undefined ? undefined : Math.max(0, Math.round(nanoseconds / NANOSECONDS_PER_MS));
      const taskId = required(task_id?.value, message, 'task_id');
      return { type: 'kill-task', taskId, ...(graceMs !== undefined && { graceMs }) };
    }
    case 'StatusUpdateAcknowledgementMessage': {
      const { task_id, uuid } = decode(StatusUpdateAcknowledgementMessage, body);
      const taskId = required(task_id?.value, message, 'task_id');
      return { type: 'acknowledgement', taskId, uuid: required(uuid, message, 'uuid') };
    }
    case 'ReconnectExecutorMessage': {
      const { slave_id } = decode(ReconnectExecutorMessage, body);
      return { type: 'reconnect', slaveId: required(slave_id?.value, message, 'slave_id') };
    }
    case 'ShutdownExecutorMessage':
      return { type: 'shutdown' };
    default:
      return { type: 'other', message };
  }
}

function required<T>(value: T | undefined, message: string, field: string): T {
  if (value === undefined) throw new Fault('protocol', `${message}.${field} is missing`);
  return value;
}

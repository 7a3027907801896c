// The shapes of what is kept for a container, and the checks made when it is read back. A record of a version that we
// do not know is refused as a whole; a torn one counts as absent.

import type { Config } from '../config/schema.ts';
import type { TaskRequest } from '../container/task.ts';
import { Reason, TaskState, type TaskStateNumber } from '../container/termination.ts';
import { Fault } from '../fault.ts';

export const REQUEST_VERSION = 1;

const STATES = Object.values(TaskState);
const REASONS = Object.values(Reason);

/** container.json: all that is needed to run the container, so that the supervisor depends on no configuration file. */
export interface RequestRecord {
  readonly version: typeof REQUEST_VERSION;
  readonly task: TaskRequest;
  /** The bytes of TaskInfo as the slave sent them, base64: ReregisterExecutorMessage returns them. */
  readonly taskInfo?: string;
  /** Those variables of the slave's environment that a container or a fetch may need. */
  readonly slaveEnvironment: Readonly<Record<string, string>>;
  /** MESOS_WORK_DIRECTORY as a real path. */
  readonly workDirectory?: string;
  /** The configuration in force at launch. */
  readonly config: Config;
  /** ISO 8601, UTC. */
  readonly launchedAt: string;
}

/** What the slave told us when it registered us. */
export interface RegisteredRecord {
  readonly slaveId: string;
  /** The framework takes TASK_KILLING. */
  readonly takesKilling: boolean;
}

/** Throws Fault `protocol` for a version that is not ours, undefined for what is no request at all. */
export function parseRequest(value: unknown, path: string): RequestRecord | undefined {
  if (typeof value !== 'object' || value === null || !('version' in value)) return undefined;
  if (value.version !== REQUEST_VERSION) {
    throw new Fault(
      'protocol',
      `${path} has version ${String(value.version)}, this deimos reads version ${REQUEST_VERSION}: it was written by another release`,
    );
  }
  if (!('task' in value) || !('config' in value)) return undefined;
  // Written by ourselves, in a directory that only we can write, under this version: the shape is as declared.
  return value as RequestRecord;
}

export function parseRegistered(value: unknown): RegisteredRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (!('slaveId' in value) || typeof value.slaveId !== 'string') return undefined;
  return { slaveId: value.slaveId, takesKilling: 'takesKilling' in value && value.takesKilling === true };
}

/** What `termination` holds: the Termination that `wait` answers. */
export interface TerminationRecord {
  readonly state?: TaskStateNumber;
  readonly message: string;
  readonly status?: number;
  readonly killed: boolean;
  readonly reasons: readonly Reason[];
}

export function parseTermination(value: unknown): TerminationRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (!('message' in value) || typeof value.message !== 'string') return undefined;
  if (!('killed' in value) || typeof value.killed !== 'boolean') return undefined;
  if (!('reasons' in value) || !Array.isArray(value.reasons)) return undefined;
  const status = 'status' in value && typeof value.status === 'number' ? { status: value.status } : {};
  const state = STATES.find((one) => 'state' in value && one === value.state);
  const reasons = REASONS.filter((one) => (value.reasons as unknown[]).includes(one));
  return {
    ...(state === undefined ? {} : { state }),
    ...status,
    message: value.message,
    killed: value.killed,
    reasons,
  };
}

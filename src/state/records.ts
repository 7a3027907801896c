// The shapes of what is kept for a container, and the checks made when it is read back. A record of a version that we
// do not know is refused as a whole; a torn one counts as absent.

import { type Config, DEFAULT_CONFIG } from '../config/schema.ts';
import { LARGEST_PORT } from '../container/ports.ts';
import type { TaskRequest } from '../container/task.ts';
import {
  OUTSIDE_CAUSES,
  type Outcome,
  Reason,
  TaskState,
  type TaskStateNumber,
} from '../container/termination.ts';
import { Fault } from '../fault.ts';
import {
  identify,
  type NotedProcess,
  noted,
  type ProcessIdentity,
  parseNoted,
  parseNotedCaller,
  sessionLeader,
} from '../host/processes.ts';

export const REQUEST_VERSION = 1;

const STATES = Object.values(TaskState);
const REASONS = Object.values(Reason);

/** A waitpid status, 32 bits on the wire, is an exit code × 256; Docker's code is -1 where it has none. */
const LEAST_STATUS = -(2 ** 31);
const LARGEST_STATUS = 2 ** 31 - 1;

function isWithin(value: unknown, least: number, largest: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= largest;
}

/** container.json: all that is needed to run the container, so that the supervisor depends on no configuration file. */
export interface RequestRecord {
  readonly version: typeof REQUEST_VERSION;
  /** Never written: this stands in for a request that cannot be read, and nothing is started by it. Says so in words. */
  readonly lost?: string;
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
  /** The host's boot at launch: nothing that was launched in another one is started any more. */
  readonly bootId?: string;
  /** The slave that called launch. */
  readonly slaveProcess?: NotedProcess;
}

/** What the slave told us when it registered us. */
export interface RegisteredRecord {
  readonly slaveId: string;
  /** The framework takes TASK_KILLING. */
  readonly takesKilling: boolean;
  /** The slave with which we have reregistered last; absent: with none, or it could not be told. */
  readonly by?: NotedProcess;
  /** Our port, as it knows it; absent: not known. */
  readonly port?: number;
}

/** Throws Fault `protocol` for a version that is not ours, undefined for what is no request at all. */
export function parseRequest(value: unknown, path: string): RequestRecord | undefined {
  if (typeof value !== 'object' || value === null || !('version' in value)) return undefined;
  if (value.version !== REQUEST_VERSION) {
    throw new Fault(
      'protocol',
      `${path} has version ${JSON.stringify(value.version)}, this deimos reads version ${REQUEST_VERSION}: it was written by another release`,
    );
  }
  if (!('task' in value) || !('config' in value)) return undefined;
  // Written by ourselves, in a directory that only we can write, under this version: the shape is as declared.
  const request = value as RequestRecord;
  // Releases before there was a policy wrote none.
  return { ...request, config: { ...DEFAULT_CONFIG, ...request.config } };
}

export function parseRegistered(value: unknown): RegisteredRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (!('slaveId' in value) || typeof value.slaveId !== 'string') return undefined;
  const by = 'by' in value ? parseNotedCaller(value.by) : undefined;
  return {
    slaveId: value.slaveId,
    takesKilling: 'takesKilling' in value && value.takesKilling === true,
    ...(by === undefined ? {} : { by }),
    ...('port' in value && isWithin(value.port, 1, LARGEST_PORT) ? { port: value.port } : {}),
  };
}

/** What `wait-seen` holds: who called `wait` last. */
export interface WaitSeen {
  /** undefined where that is no slave, or it cannot be told. */
  readonly slave: NotedProcess | undefined;
  /** The processes of a slave's `wait`, the end of either of which a slave takes for that of the task: its `sh`, and itself. */
  readonly waits: readonly NotedProcess[];
  /** It called from the sandbox, as slaves do for a container of an executor that they know, and never for an orphan. */
  readonly knows: boolean;
}

/** Written by the `wait` itself. */
export function formatWaitSeen(slave: ProcessIdentity | undefined, knows: boolean): string {
  if (slave === undefined) return JSON.stringify({ knows });
  const waits = [sessionLeader(), identify(process.pid)].filter((one) => one !== undefined).map(noted);
  return JSON.stringify({ ...noted(slave), waits, knows });
}

export function parseWaitSeen(value: unknown): WaitSeen {
  const fields = typeof value === 'object' && value !== null ? value : {};
  return {
    slave: parseNotedCaller(value),
    waits:
      'waits' in fields && Array.isArray(fields.waits)
        ? fields.waits.flatMap((one) => parseNoted(one) ?? [])
        : [],
    knows: 'knows' in fields && fields.knows === true,
  };
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
  const status =
    'status' in value && isWithin(value.status, LEAST_STATUS, LARGEST_STATUS) ? { status: value.status } : {};
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

/** The outcome that was made durable; undefined where it is absent or torn. */
export function parseOutcome(value: unknown): Outcome | undefined {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return undefined;
  const why = 'why' in value && typeof value.why === 'string' ? value.why : undefined;
  switch (value.kind) {
    case 'never-started':
      return { kind: 'never-started' };
    case 'failed':
    case 'lost':
      return why === undefined ? undefined : { kind: value.kind, why };
    case 'exited': {
      if (!('exitCode' in value) || !isWithin(value.exitCode, LEAST_STATUS >> 8, LARGEST_STATUS >> 8))
        return undefined;
      const oomKilled = 'oomKilled' in value && value.oomKilled === true;
      const outside = OUTSIDE_CAUSES.find((name) => 'outside' in value && value.outside === name);
      return {
        kind: 'exited',
        exitCode: value.exitCode,
        oomKilled,
        ...('memoryLimitBytes' in value && isWithin(value.memoryLimitBytes, 0, Number.MAX_SAFE_INTEGER)
          ? { memoryLimitBytes: value.memoryLimitBytes }
          : {}),
        ...(outside === undefined ? {} : { outside }),
      };
    }
    default:
      return undefined;
  }
}

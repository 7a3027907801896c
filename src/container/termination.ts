// How a container ended, in the three languages it has to be told: the sentence that a framework's author reads, the
// TaskStatus for the slave's executor protocol, and the Termination that `wait` answers. Pure.

/** Why we ended a container ourselves. */
export type EndCause =
  /** KillTask: the framework wants it. */
  | 'kill'
  /** ShutdownExecutor: the framework is gone or the slave is going. */
  | 'shutdown'
  /** The slave called `destroy`. */
  | 'destroy'
  /** The slave refused the registration: the task was killed before it began. */
  | 'refused'
  /** The slave died, without checkpointing or for longer than its recovery timeout. */
  | 'slave-lost'
  /** No RunTask came: the slave does not want the task any more. */
  | 'no-run-task'
  /** No `wait` came: the slave does not know of the container. */
  | 'forgotten'
  /** Its health check failed too often. */
  | 'unhealthy'
  /** The slave cannot be spoken with: TLS, as its settings want it, does not come about. */
  | 'unreachable';

/** A cause as it stands in a message. */
const CAUSE_TEXT: Readonly<Record<EndCause, string>> = {
  kill: 'Killed by the framework',
  shutdown: 'Stopped because the slave asked the executor to shut down',
  destroy: 'Destroyed by the slave',
  refused: 'The slave refused the task: it was killed before it began',
  'slave-lost': 'Stopped because the slave went away',
  'no-run-task': 'Not started: the slave never handed the task over',
  forgotten: 'Stopped because the slave never asked for its end',
  unhealthy: 'Killed because its health check failed',
  unreachable: 'Stopped because the slave cannot be reached',
};

export type Outcome =
  /** It ran and its init exited: `exitCode` as Docker reports it (128 + n for signal n). */
  | {
      readonly kind: 'exited';
      readonly exitCode: number;
      /** The kernel killed a process of the container for its memory limit. */
      readonly oomKilled: boolean;
      /** The limit in force, bytes; undefined if there was none. */
      readonly memoryLimitBytes?: number;
    }
  /** It never ran: the reason in one line. */
  | { readonly kind: 'failed'; readonly why: string }
  /** It never ran because its end was wanted first. */
  | { readonly kind: 'never-started' }
  /** It is gone and nobody can say how it ended. */
  | { readonly kind: 'lost'; readonly why: string };

/** TaskState of mesos.proto, those that we send. */
export const TaskState = {
  STARTING: 0,
  RUNNING: 1,
  FINISHED: 2,
  FAILED: 3,
  KILLED: 4,
  LOST: 5,
  KILLING: 8,
} as const;
export type TaskStateNumber = (typeof TaskState)[keyof typeof TaskState];

/** TaskStatus.Reason of mesos.proto, those that we send. */
export const Reason = { CONTAINER_LIMITATION_MEMORY: 8, CONTAINER_LAUNCH_FAILED: 21 } as const;
export type Reason = (typeof Reason)[keyof typeof Reason];

export interface Ending {
  readonly state: TaskStateNumber;
  readonly message: string;
  /** TaskStatus.reason and Termination.reasons. */
  readonly reason?: Reason;
  /** Termination.killed: a resource limit had to be enforced, nothing else. */
  readonly killed: boolean;
  /** Termination.status, a waitpid status (exit code << 8); absent where nothing exited. */
  readonly status?: number;
}

/** Signals by number, from 1 on, as a shell's 128 + n speaks of them. */
const SIGNAL_NAMES = ' HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM'.split(' ');

function exitText(exitCode: number): string {
  const signal = SIGNAL_NAMES[exitCode - 128];
  return signal === undefined
    ? `exited with status ${exitCode}`
    : `was ended by SIG${signal} (status ${exitCode})`;
}

/** Of a container that never ran; some causes can mean no other and say so themselves. */
function neverStartedText(cause: EndCause): string {
  const says = cause === 'refused' || cause === 'no-run-task';
  return says ? CAUSE_TEXT[cause] : `${CAUSE_TEXT[cause]}, before it ran`;
}

/** Bytes in MB as Mesos counts them, without a fraction where there is none. */
function megabytes(bytes: number): string {
  const mb = bytes / (1024 * 1024);
  return `${Number.isInteger(mb) ? mb : mb.toFixed(1)} MB`;
}

/**
 * The end of a container as everybody is told it. `cause` is why we ended it, undefined if it ended by itself; `words`
 * say more than the cause alone, where there is more to say.
 */
export function ending(outcome: Outcome, cause: EndCause | undefined, words?: string): Ending {
  switch (outcome.kind) {
    case 'failed':
      return {
        state: TaskState.FAILED,
        message: outcome.why,
        reason: Reason.CONTAINER_LAUNCH_FAILED,
        killed: false,
      };
    case 'lost':
      return { state: TaskState.LOST, message: outcome.why, killed: false };
    case 'never-started':
      return {
        state: TaskState.KILLED,
        message: neverStartedText(cause ?? 'destroy'),
        killed: false,
      };
    case 'exited':
      return exitedEnding(outcome, cause, words);
  }
}

function exitedEnding(
  outcome: Extract<Outcome, { kind: 'exited' }>,
  cause: EndCause | undefined,
  words: string | undefined,
): Ending {
  const status = (outcome.exitCode & 0xff) << 8;
  const limit =
    outcome.memoryLimitBytes === undefined ? '' : `: ${megabytes(outcome.memoryLimitBytes)} allowed`;
  if (cause !== undefined) {
    const message = `${words ?? CAUSE_TEXT[cause]}; the container ${exitText(outcome.exitCode)}`;
    return { state: TaskState.KILLED, message, killed: false, status };
  }
  if (outcome.exitCode === 0) {
    const note = outcome.oomKilled
      ? ` (a process in it was killed by the kernel, memory limit exceeded${limit})`
      : '';
    return {
      state: TaskState.FINISHED,
      message: `Container exited with status 0${note}`,
      killed: false,
      status,
    };
  }
  if (outcome.oomKilled) {
    return {
      state: TaskState.FAILED,
      message: `Memory limit exceeded${limit}, killed by the kernel; the container ${exitText(outcome.exitCode)}`,
      reason: Reason.CONTAINER_LIMITATION_MEMORY,
      killed: true,
      status,
    };
  }
  return {
    state: TaskState.FAILED,
    message: `Container ${exitText(outcome.exitCode)}`,
    killed: false,
    status,
  };
}

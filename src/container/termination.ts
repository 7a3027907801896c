// How a container ended, in the three languages it has to be told: the sentence that a framework's author reads, the
// TaskStatus for the slave's executor protocol, and the Termination that `wait` answers. Pure.

import type { Span } from './span.ts';

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
  forgotten: 'Stopped because the slave does not wait for its end',
  unhealthy: 'Killed because its health check failed',
  unreachable: 'Stopped because the slave cannot be reached',
};

/** Who else can end a container. What its exit status says is then nothing about the task. */
export type OutsideCause =
  /** Somebody had Docker stop or kill it. */
  | 'docker-signal'
  /** Docker was stopped, or started again after a crash, and ends its containers then. */
  | 'docker-stopped'
  /** It was started in another boot of the host. */
  | 'host-restarted';

/** What nobody wanted, and no fault of the task's: it is lost, and may be tried elsewhere. */
const UNWANTED_CAUSES: readonly EndCause[] = ['slave-lost', 'no-run-task'];

export const OUTSIDE_CAUSES: readonly OutsideCause[] = ['docker-signal', 'docker-stopped', 'host-restarted'];

const OUTSIDE_TEXT: Readonly<Record<OutsideCause, string>> = {
  'docker-signal': 'Ended by somebody else through Docker (docker stop, docker kill)',
  'docker-stopped': 'Ended while Docker was stopped or restarted, which ends its containers',
  'host-restarted': 'Ended with the host, which was restarted',
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
      /** What ended it, where that was neither the task itself, nor its memory, nor we. */
      readonly outside?: OutsideCause;
      /** It may have ended while Docker was away: then what it wrote from when on is in no log. */
      readonly unseen?: Span;
    }
  /** It never ran: the reason in one line. */
  | { readonly kind: 'failed'; readonly why: string }
  /** It never ran because its end was wanted first. */
  | { readonly kind: 'never-started' }
  /** It is gone and nobody can say how it ended. */
  | { readonly kind: 'lost'; readonly why: string; readonly unseen?: Span };

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
  /** Somebody else ended it: the slave is told the state of an executor's end, too, and does not make its own. */
  readonly outside?: boolean;
  /** Termination.status, a waitpid status (exit code << 8); absent where nothing exited. */
  readonly status?: number;
}

/** Signals by number, from 1 on, as a shell's 128 + n speaks of them. */
const SIGNAL_NAMES = (
  ' HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM' +
  ' STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'
).split(' ');
/** The first of the real-time signals as libc counts them. */
const SIGRTMIN = 34;
const SIGTERM = 15;
/** How Docker gives an end by SIGKILL. */
export const EXIT_SIGKILL = 137;

/** A signal as Docker's options and images write it (`SIGTERM`, `term`, `15`, `RTMIN+3`); SIGTERM for anything else. */
export function signalNumber(written: string): number {
  const name = written.toUpperCase().replace(/^SIG/, '');
  if (/^\d{1,2}$/.test(name)) return Number(name);
  const realTime = /^RTMIN(?:\+(\d{1,2}))?$/.exec(name);
  if (realTime !== null) return SIGRTMIN + Number(realTime[1] ?? 0);
  const found = name === '' ? -1 : SIGNAL_NAMES.indexOf(name);
  return found < 0 ? SIGTERM : found;
}

/** What shells and Docker mean by a status. */
const STATUS_TEXT: Readonly<Record<number, string>> = {
  126: 'a command cannot be executed',
  127: 'a command was not found',
};

function exitText(exitCode: number): string {
  const signal = SIGNAL_NAMES[exitCode - 128];
  if (exitCode > 128 && signal !== undefined) return `was ended by SIG${signal} (status ${exitCode})`;
  const meaning = STATUS_TEXT[exitCode];
  return `exited with status ${exitCode}${meaning === undefined ? '' : ` (${meaning})`}`;
}

/** What a slave says that hears of such an end by the Termination alone. */
function endedState(cause: EndCause): TaskStateNumber {
  return UNWANTED_CAUSES.includes(cause) ? TaskState.LOST : TaskState.KILLED;
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
      if (cause === undefined)
        return { state: TaskState.LOST, message: outcome.why, killed: false, outside: true };
      // Its end was wanted, and came.
      return {
        state: endedState(cause),
        message: `${words ?? CAUSE_TEXT[cause]}. ${outcome.why}`,
        killed: false,
      };
    case 'never-started': {
      const because = cause ?? 'destroy';
      return { state: endedState(because), message: neverStartedText(because), killed: false };
    }
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
    return { state: endedState(cause), message, killed: false, status };
  }
  if (outcome.outside !== undefined) {
    const message = `${OUTSIDE_TEXT[outcome.outside]}; the container ${exitText(outcome.exitCode)}`;
    // Docker and the host are no part of the task: it is lost, and may be tried elsewhere. No status says "well done".
    const state = outcome.outside === 'docker-signal' ? TaskState.FAILED : TaskState.LOST;
    return { state, message, killed: false, outside: true, ...(status === 0 ? {} : { status }) };
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
    // What was killed may have been a child of the task, that ended for it; by SIGKILL like the child, if by a shell.
    const who = outcome.exitCode === EXIT_SIGKILL ? 'killed' : 'a process in it was killed';
    return {
      state: TaskState.FAILED,
      message: `Memory limit exceeded${limit}, ${who} by the kernel; the container ${exitText(outcome.exitCode)}`,
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

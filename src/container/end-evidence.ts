// How a container came to its end, judged from what Docker says of it and from what Docker's own events tell: whether it
// ended by itself, or was ended by somebody else, with Docker itself, or with its host. Pure. An exit status of a
// container that others ended says nothing about its task: one that obeys SIGTERM with status 0 has not finished.

import type { Outcome } from './termination.ts';

/** An event of one container, as far as it tells of its end. */
export type ContainerEvent =
  | { readonly action: 'start' | 'oom' | 'destroy' }
  | { readonly action: 'die'; readonly exitCode: number }
  /** Somebody had Docker send a signal: `docker kill`, `stop`, `rm --force`, or Docker itself on its way out or in. */
  | { readonly action: 'kill'; readonly signal: number };

/** What the daemon remembers of a container, in order. It forgets all when it ends, and the oldest when there is much. */
export interface ContainerHistory {
  readonly events: readonly ContainerEvent[];
  /** Whether it is all that this daemon has seen since it runs; asked for where it matters. */
  readonly isComplete: boolean;
}

export interface EndEvidence {
  /** What `docker inspect` says; undefined if the container is gone. `removing`: somebody is about to remove it. */
  readonly inspected:
    | { readonly exitCode: number; readonly oomKilled: boolean; readonly removing: boolean }
    | undefined;
  /** undefined: it could not be asked for. */
  readonly history: ContainerHistory | undefined;
  /** The daemon ends its containers when it ends, or starts after a crash; undefined: not asked, since it does not matter. */
  readonly daemonEndsContainers: boolean | undefined;
  /** The daemon did not answer while the end was waited for. */
  readonly daemonWasAway: boolean;
  /** It was started in another boot of this host. */
  readonly hostRestarted: boolean;
  /** The kernel's own count, or Docker's, of processes killed for memory is not 0. */
  readonly oomSeen: boolean;
  readonly memoryLimitBytes: number | undefined;
  /** The signal that `docker stop` sends to this container. */
  readonly stopSignal: number;
}

const SIGKILL = 9;
/** Signals that mean an end to most programs: HUP, INT, QUIT are for their owners to give a meaning, but not these. */
const DEADLY: ReadonlySet<number> = new Set([2, 3, SIGKILL, 15]);

/** The events before the last `die`, and that; all of them if there is none. */
function untilDeath(events: readonly ContainerEvent[]): readonly ContainerEvent[] {
  const last = events.findLastIndex(({ action }) => action === 'die');
  return last < 0 ? events : events.slice(0, last + 1);
}

/** Whether somebody asked Docker for the end of the container before it came. */
export function wasSignalled(history: ContainerHistory | undefined, stopSignal: number): boolean {
  return untilDeath(history?.events ?? []).some(
    (event) => event.action === 'kill' && (DEADLY.has(event.signal) || event.signal === stopSignal),
  );
}

/** The exit code of the last `die`. */
export function dieCode(history: ContainerHistory | undefined): number | undefined {
  const die = history?.events.findLast((event) => event.action === 'die');
  return die?.action === 'die' ? die.exitCode : undefined;
}

/**
 * Whether what the daemon does at its own end decides: it has not seen this container start, so that it may be another
 * daemon than the one that did, and it has not seen it end by itself.
 */
export function mayHaveEndedWithDaemon(history: ContainerHistory | undefined, stopSignal: number): boolean {
  if (history === undefined) return true;
  if (history.events.some(({ action }) => action === 'start')) return false;
  return dieCode(history) === undefined || wasSignalled(history, stopSignal);
}

function endedWithDaemon(evidence: EndEvidence): boolean {
  const { history, stopSignal } = evidence;
  if (evidence.daemonEndsContainers !== true || !mayHaveEndedWithDaemon(history, stopSignal)) return false;
  // An event that is missing proves something only where none was forgotten.
  return history?.isComplete === true || evidence.daemonWasAway;
}

/** The outcome of a container that does not run any more. */
export function judge(evidence: EndEvidence): Outcome {
  const { inspected, history, stopSignal, memoryLimitBytes } = evidence;
  const signalled = wasSignalled(history, stopSignal);
  const code = inspected?.exitCode ?? dieCode(history);
  if ((inspected === undefined || inspected.removing) && (signalled || code === undefined)) {
    const when = signalled ? ' while it ran' : '';
    return { kind: 'lost', why: `The container was removed by somebody else${when}` };
  }
  const outside = evidence.hostRestarted
    ? 'host-restarted'
    : endedWithDaemon(evidence)
      ? 'docker-stopped'
      : signalled
        ? 'docker-signal'
        : undefined;
  const oom = history?.events.some(({ action }) => action === 'oom') === true;
  return {
    kind: 'exited',
    exitCode: code ?? -1,
    oomKilled: inspected?.oomKilled === true || oom || evidence.oomSeen,
    ...(memoryLimitBytes === undefined || memoryLimitBytes <= 0 ? {} : { memoryLimitBytes }),
    ...(outside === undefined ? {} : { outside }),
  };
}

// How a container came to its end, judged from what Docker says of it and from what Docker's own events tell: whether it
// ended by itself, or was ended by somebody else, with Docker itself, or with its host. Pure. An exit status of a
// container that others ended says nothing about its task: one that obeys SIGTERM with status 0 has not finished.

import type { Span } from './span.ts';
import type { Outcome } from './termination.ts';

/** An event of one container, as far as it tells of its end; `atMs` by the daemon's clock. */
export type ContainerEvent =
  | { readonly action: 'start' | 'oom' | 'destroy' }
  | { readonly action: 'die'; readonly exitCode: number; readonly atMs: number }
  /** Somebody had Docker send a signal: `docker kill`, `stop`, `rm --force`, or Docker itself on its way out or in. */
  | { readonly action: 'kill'; readonly signal: number; readonly atMs: number };

/** What the daemon remembers of a container, in order. It forgets all when it ends, and the oldest when there is much. */
export interface ContainerHistory {
  readonly events: readonly ContainerEvent[];
  /** Whether it is all that this daemon has seen since it runs; asked for where it matters. */
  readonly isComplete: boolean;
}

/** What `docker inspect` says of the end; `removing`: somebody is about to remove it. */
export interface InspectedEnd {
  /** undefined: it never started, and Docker's 0 says nothing. */
  readonly exitCode: number | undefined;
  readonly oomKilled: boolean;
  readonly removing: boolean;
  /** By the daemon's clock. */
  readonly finishedAtMs: number | undefined;
}

export interface EndEvidence {
  /** With which status it ended in the words of the daemon that saw it end; undefined: nobody waited for it then. */
  readonly toldStatus: number | undefined;
  /** undefined if the container is gone. */
  readonly inspected: InspectedEnd | undefined;
  /** undefined: it could not be asked for. */
  readonly history: ContainerHistory | undefined;
  /** When the daemon that is asked began to serve, by its own clock; undefined: it does not matter, or is not known. */
  readonly daemonSinceMs: number | undefined;
  /** The daemon ends its containers when it ends, or starts after a crash; undefined: not asked, since it does not matter. */
  readonly daemonEndsContainers: boolean | undefined;
  /** Since when the daemon was away, which it has been since the container was last known to run; ms since 1970. */
  readonly daemonAwaySinceMs: number | undefined;
  /** It was started in another boot of this host. */
  readonly hostRestarted: boolean;
  /** The kernel's own count of processes killed for memory is not 0, or its log tells of one. */
  readonly oomSeen: boolean;
  readonly memoryLimitBytes: number | undefined;
  /** The signal that `docker stop` sends to this container. */
  readonly stopSignal: number;
}

const SIGNAL_STATUS = 128;
/** What a daemon says of an end that it knows nothing of; a task may exit with it, too. */
const UNKNOWN_STATUS = 255;
const NOT_SEEN =
  'Docker was restarted about when the container ended, and says 255, as it does of an end that it has not seen';
const SIGKILL = 9;
const SIGTERM = 15;
/** INT and QUIT: an end to many programs, and a word (a dump of threads) to others. */
const MAY_ASK: ReadonlySet<number> = new Set([2, 3]);
/** An end that comes so long after a SIGTERM may still be its doing: a service that finishes what it has begun. */
const ASKED_MS = 30 * 60_000;
/** The same after INT and QUIT. */
const MAYBE_ASKED_MS = 10_000;

/** The events of its last life: since its last start, and to its end if that is told. */
function lastLife(history: ContainerHistory | undefined): readonly ContainerEvent[] {
  const events = history?.events ?? [];
  const die = events.findLastIndex(({ action }) => action === 'die');
  const untilDeath = die < 0 ? events : events.slice(0, die + 1);
  return untilDeath.slice(untilDeath.findLastIndex(({ action }) => action === 'start') + 1);
}

function lastDie(
  history: ContainerHistory | undefined,
): Extract<ContainerEvent, { action: 'die' }> | undefined {
  const die = history?.events.findLast((event) => event.action === 'die');
  return die?.action === 'die' ? die : undefined;
}

/** Whether somebody had Docker send a signal that the container then ended of, as far as time and status tell. */
function wasSignalled({ history, inspected, stopSignal }: Known): boolean {
  const die = lastDie(history);
  const status = die?.exitCode ?? inspected?.exitCode;
  const atMs = die?.atMs ?? inspected?.finishedAtMs ?? 0;
  return lastLife(history).some((event) => {
    if (event.action !== 'kill') return false;
    const { signal } = event;
    if (signal === SIGKILL || status === SIGNAL_STATUS + signal) return true;
    const isStop = signal === SIGTERM || signal === stopSignal;
    const heededMs = isStop ? ASKED_MS : MAY_ASK.has(signal) ? MAYBE_ASKED_MS : -1;
    return heededMs >= 0 && atMs - event.atMs <= heededMs;
  });
}

/** The exit code of the last `die`. */
export function dieCode(history: ContainerHistory | undefined): number | undefined {
  return lastDie(history)?.exitCode;
}

/** Whether the daemon has seen it start: it is the one under which it ran. */
export function hasSeenStart(history: ContainerHistory | undefined): boolean {
  return history?.events.some(({ action }) => action === 'start') === true;
}

/** Whether no event that is remembered tells of the end of a container that is still there. */
export function isUntold({ inspected, history }: Pick<EndEvidence, 'inspected' | 'history'>): boolean {
  const isKnown = inspected !== undefined && history !== undefined && !inspected.removing;
  return isKnown && !hasSeenStart(history) && dieCode(history) === undefined;
}

type Times = Pick<EndEvidence, 'inspected' | 'daemonSinceMs'>;
type Known = Pick<EndEvidence, 'inspected' | 'history' | 'stopSignal'>;

/** Whether it ended before this daemon began to serve; undefined: it is not known. */
export function endedBeforeDaemon({ inspected, daemonSinceMs }: Times): boolean | undefined {
  const endMs = inspected?.finishedAtMs;
  return endMs === undefined || daemonSinceMs === undefined ? undefined : endMs < daemonSinceMs;
}

/** Whether the daemon says that it saw the container end, and nobody ask for that. */
function sawItEnd(known: Known): boolean {
  return dieCode(known.history) !== undefined && !wasSignalled(known);
}

/** Whether what the daemon does at its own end decides: this may be another daemon than the one under which it ran. */
export function mayHaveEndedWithDaemon(known: Known & Times): boolean {
  if (hasSeenStart(known.history)) return false;
  return endedBeforeDaemon(known) ?? !sawItEnd(known);
}

function endedWithDaemon(evidence: EndEvidence): boolean {
  if (evidence.daemonEndsContainers !== true || !mayHaveEndedWithDaemon(evidence)) return false;
  // An event that is missing proves something only where none was forgotten.
  const isComplete = evidence.history?.isComplete === true;
  if (endedBeforeDaemon(evidence) === undefined)
    return isComplete || evidence.daemonAwaySinceMs !== undefined;
  // A daemon that starts tells of the ends that it brings: of one that came by itself only if it has forgotten none.
  return !(isComplete && sawItEnd(evidence));
}

/**
 * When it ended, if a daemon that lets containers live may have been away then: it has been since, and nobody has waited
 * through the end.
 */
function unseenOf(evidence: EndEvidence): Span | undefined {
  if (evidence.toldStatus !== undefined) return undefined;
  const { inspected, history, daemonEndsContainers, daemonAwaySinceMs } = evidence;
  const isUnseen = daemonEndsContainers === false && history?.isComplete === true && isUntold(evidence);
  if (!isUnseen || inspected?.finishedAtMs === undefined) return undefined;
  const toMs = inspected.finishedAtMs;
  const isNoticed = daemonAwaySinceMs !== undefined && daemonAwaySinceMs <= toMs;
  return { fromMs: isNoticed ? daemonAwaySinceMs : 0, toMs };
}

/** The outcome of a container that does not run any more. */
export function judge(evidence: EndEvidence): Outcome {
  const { inspected, history, memoryLimitBytes } = evidence;
  const signalled = wasSignalled(evidence);
  const code = evidence.toldStatus ?? inspected?.exitCode ?? dieCode(history);
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
  const oomKilled =
    inspected?.oomKilled === true ||
    evidence.oomSeen ||
    history?.events.some(({ action }) => action === 'oom') === true;
  const unseen = outside === undefined ? unseenOf(evidence) : undefined;
  if (unseen !== undefined && code === UNKNOWN_STATUS && !oomKilled)
    return { kind: 'lost', why: NOT_SEEN, unseen };
  return {
    kind: 'exited',
    exitCode: code ?? -1,
    oomKilled,
    ...(memoryLimitBytes === undefined || memoryLimitBytes <= 0 ? {} : { memoryLimitBytes }),
    ...(outside === undefined ? {} : { outside }),
    ...(unseen === undefined ? {} : { unseen }),
  };
}

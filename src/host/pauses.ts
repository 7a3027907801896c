// Waiting between tries: from 0.2 s doubling to 30 s, jittered so that many containers do not ask in step.

import { setTimeout as pause } from 'node:timers/promises';
import { isDiskRefusal, isFault, oneLine } from '../fault.ts';
import type { Log } from './log.ts';
import { isOutOfFiles } from './open-files.ts';

const PAUSE_MS_MIN = 200;
const PAUSE_MS_MAX = 30_000;

/** The longest pauses are jittered as well, downwards: many that have waited long do not ask in step either. */
const PAUSE_MS_LAST = PAUSE_MS_MAX / 1.2;

/** The pause before try `n + 1` (n from 0), in milliseconds: within ± 20 % of 0.2 s × 2^n, or of 25 s; at most 30 s. */
export function pauseMs(n: number, random: () => number = Math.random): number {
  const base = Math.min(PAUSE_MS_MIN * 2 ** Math.min(n, 20), PAUSE_MS_LAST);
  return base * (0.8 + 0.4 * random());
}

/**
 * Waits; throws the signal's own reason when aborted (the runtime's timer would throw an error of its own instead).
 * `ref` false: keeps no process alive.
 */
export async function rest(ms: number, signal: AbortSignal, ref = true): Promise<void> {
  try {
    await pause(ms, undefined, { signal, ref });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

/** What `work` comes to, or the signal's own reason if that comes first; the work itself goes on. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([aborted.promise, work]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

export interface PersistOptions {
  readonly signal: AbortSignal;
  readonly log: Log;
  /** Fixed words for the log: what is being tried. */
  readonly what: string;
  /** Whether this error may pass by itself. */
  readonly mayPass: (error: unknown) => boolean;
  /** Give up after this long; absent: never. */
  readonly boundMs?: number;
}

/**
 * Tries until it works, the error is one that does not pass, or the bound is over (then that last error is thrown).
 * What is wrong is logged when it first appears and when it is over, not at each try.
 */
export async function persist<T>(work: () => Promise<T>, options: PersistOptions): Promise<T> {
  const begin = Date.now();
  for (let n = 0; ; n++) {
    try {
      const result = await work();
      if (n > 0)
        options.log.info(`${options.what}: works again`, { tries: n + 1, durationMs: Date.now() - begin });
      return result;
    } catch (error) {
      if (options.signal.aborted || !options.mayPass(error)) throw error;
      const leftMs = (options.boundMs ?? Number.POSITIVE_INFINITY) - (Date.now() - begin);
      if (leftMs <= 0) throw error;
      // The last try is made when the bound is over, and not a long pause before.
      const ms = Math.min(pauseMs(n), leftMs);
      if (n === 0)
        options.log.warning(`${options.what}: failed, will be tried again`, { error: oneLine(error) });
      await rest(ms, options.signal);
    }
  }
}

/** A disk that is full or read-only, or no more files that may be opened: it passes when somebody acts, or others are closed. */
export function isShortage(error: unknown): boolean {
  return isDiskRefusal(error) || isOutOfFiles(error);
}

/** Whatever the host refuses: tried for as long as it takes where giving up would lose something. */
export function hostMayPass(error: unknown): boolean {
  return !isFault(error) || error.kind === 'host';
}

/**
 * So long a task that does not run yet waits for a disk that is full or read-only: somebody may be clearing it just now.
 * Then it fails in words, for its framework to start it elsewhere.
 */
export const DISK_PATIENCE_MS = 10_000;

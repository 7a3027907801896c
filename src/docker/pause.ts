// A pause that ends early when it is no longer wanted.

import { setTimeout as sleep } from 'node:timers/promises';

/** Resolves after `durationMs`; rejects with the signal's reason when it is aborted. */
export async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(durationMs, undefined, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

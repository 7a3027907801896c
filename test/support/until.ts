// Waiting for something that another process does. Always for a condition, never for an amount of time.

import { setTimeout as sleep } from 'node:timers/promises';

export interface UntilOptions {
  /** 20 s unless told: a bound against hanging, not a statement about speed. */
  readonly timeoutMs?: number;
  readonly everyMs?: number;
  readonly signal?: AbortSignal;
}

const DEFAULT_TIMEOUT_MS = 20_000;
const DEFAULT_EVERY_MS = 25;

/** Asks `probe` until it gives something other than undefined or false, and gives that. Rejects at the bound, naming `what`. */
export async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  options: UntilOptions = {},
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (performance.now() >= deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(
      options.everyMs ?? DEFAULT_EVERY_MS,
      undefined,
      options.signal ? { signal: options.signal } : {},
    );
  }
}

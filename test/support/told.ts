// When a test of a host fails, what its supervisor had to say is the first thing to read.

import { existsSync, readFileSync } from 'node:fs';
import type { Host } from './host.ts';

/** The last part, lest a failure is hidden behind it. */
const LOG_CHARACTERS_MAX = 20_000;

/** Runs `body`; what it throws comes with the end of the supervisor's log (an AssertionError shows no other message than its own). */
export async function withSupervisorLog<T>(host: Host, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    const path = `${host.root}/supervisor/log`;
    const log = existsSync(path) ? readFileSync(path, 'utf8').slice(-LOG_CHARACTERS_MAX) : 'none';
    throw new Error(`${error instanceof Error ? error.message : error}\n--- the supervisor's log:\n${log}`, {
      cause: error,
    });
  }
}

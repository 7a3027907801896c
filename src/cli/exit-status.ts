// What a call ends with when it fails: the documented statuses, and the one line that goes with each.

import { errnoOf, isFault, oneLine } from '../fault.ts';

export const EXIT = { usage: 1, known: 4, bug: 8, config: 16 } as const;

/** 1, 16 or 4 for what is known to go wrong; errors of the operating system are known, too. 8 for all else: a bug. */
export function exitStatus(error: unknown): number {
  if (isFault(error)) {
    if (error.kind === 'usage') return EXIT.usage;
    return error.kind === 'config' ? EXIT.config : EXIT.known;
  }
  return errnoOf(error) === undefined ? EXIT.bug : EXIT.known;
}

/** `deimos launch: what happened`, without a line end; for a bug with where it happened. */
export function errorLine(command: string, error: unknown): string {
  const who = command === '' ? 'deimos' : `deimos ${oneLine(command)}`;
  if (exitStatus(error) !== EXIT.bug) return `${who}: ${oneLine(error)}`;
  return `${who}: bug: ${oneLine(error instanceof Error ? (error.stack ?? error.message) : error)}`;
}

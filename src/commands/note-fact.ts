// Facts that a call notes for later, and without which it does its work all the same: a full disk must neither cost the slave
// an answer, nor make a failure of what has been done.

import { errnoOf, oneLine } from '../fault.ts';
import { writeFactSync } from '../host/facts.ts';
import type { LogFields } from '../host/log.ts';
import type { Call } from './call.ts';

/** Writes it, or logs that the system refused; anything else is thrown. `prepare`: what has to be there before. */
export function noteFact(
  call: Call,
  path: string,
  content: string,
  { prepare, fields }: { readonly prepare?: () => void; readonly fields?: LogFields } = {},
): void {
  try {
    prepare?.();
    writeFactSync(path, content);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    call.log.error('a fact could not be written', { ...fields, path, error: oneLine(error) });
  }
}

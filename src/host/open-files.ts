// How many more files this process may open. Short of them the runtime cannot even be asked for something: a connection is
// accepted and closed again unheard, or, where the limit was lowered below what is open, tried in vain without a pause.

import { openSync, readdirSync, readSync } from 'node:fs';
import { errnoOf, isFault } from '../fault.ts';

const LIMITS_MAX_BYTES = 4096;

/** Whether something could not be opened since we, or the host, may open no more: it passes when others are closed. */
export function isOutOfFiles(error: unknown): boolean {
  const code = errnoOf(isFault(error) ? error.cause : error);
  return code === 'EMFILE' || code === 'ENFILE';
}

/** Of a file /proc/<pid>/limits. Infinity where there is none. */
export function limitIn(limits: string): number {
  const word = /^Max open files +(\d+)/m.exec(limits)?.[1];
  return word === undefined ? Number.POSITIVE_INFINITY : Number(word);
}

/** For as long as the process lives. */
export class OpenFiles {
  /** Kept open, so that it can be read when nothing else can be opened. */
  readonly #limits = openSync('/proc/self/limits', 'r');
  readonly #buffer = Buffer.alloc(LIMITS_MAX_BYTES);

  /** Infinity where there is none. */
  get limit(): number {
    const text = this.#buffer.toString(
      'latin1',
      0,
      readSync(this.#limits, this.#buffer, 0, LIMITS_MAX_BYTES, 0),
    );
    return limitIn(text);
  }

  /** Less than 0 where the limit is below what is open already. */
  get left(): number {
    try {
      return this.limit - readdirSync('/proc/self/fd').length;
    } catch (error) {
      if (errnoOf(error) !== 'EMFILE') throw error;
      return 0;
    }
  }
}

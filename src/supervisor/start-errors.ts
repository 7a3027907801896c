// What a supervisor writes to stderr before it can say anything elsewhere: why it could not start, or how its runtime died.
// It goes to a file of the state root, from which whoever waits for it learns why it does not come.

import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync } from 'node:fs';
import { errnoOf, escapeControl } from '../fault.ts';

/** A file that has grown beyond is begun anew. */
const FILE_BYTES_MAX = 64 * 1024;
/** What is said in the end is looked for in so many last bytes. */
const READ_BYTES = 4 * 1024;
const OWN_NAME = /^deimos supervise: /;

/** An open file, at the end of what earlier supervisors have written. */
export interface StartErrors extends Disposable {
  /** To be given to a supervisor as its stderr. */
  readonly fd: number;
  /** The last line that was written since, without who says it; undefined: none. Throws the system's errors. */
  said(): string | undefined;
}

/** Opens `path` (0600, never through a link); undefined where that is not to be had: a supervisor starts without it, too. */
export function openStartErrors(path: string): StartErrors | undefined {
  const { O_RDWR, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  let fd: number;
  try {
    fd = openSync(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
  if (fstatSync(fd).size > FILE_BYTES_MAX) ftruncateSync(fd);
  const before = fstatSync(fd).size;
  return {
    fd,
    said: () => {
      const { size } = fstatSync(fd);
      const from = Math.max(before, size - READ_BYTES);
      const bytes = Buffer.alloc(Math.max(size - from, 0));
      const text = bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, from)).toString();
      const last = text.trimEnd().split('\n').at(-1) ?? '';
      return last === '' ? undefined : escapeControl(last.replace(OWN_NAME, ''));
    },
    [Symbol.dispose]: () => closeSync(fd),
  };
}

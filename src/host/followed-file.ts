// A file that somebody else appends to, perhaps in a directory that a task's user owns: read from a place on, as often as there
// may be more. Opened without following a link or waiting; whatever is no regular file is refused.

import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, Fault, refusal } from '../fault.ts';
import { mayLieIn } from './sandbox.ts';

const CHUNK_BYTES = 64 * 1024;
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const NEWLINE = 0x0a;

export class FollowedFile implements Disposable {
  readonly #path: string;
  readonly #buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  /** Lines to begin with, where not all. */
  readonly #tail: number | undefined;
  #fd: number | undefined;
  #position = 0;

  /** `tail`: of what is there when it is first opened, only so many last lines. */
  constructor(path: string, tail?: number) {
    this.#path = path;
    this.#tail = tail;
  }

  /**
   * What comes next, good until the next call; undefined: nothing yet, or there is no such file. A file that was cut short, or
   * replaced by another one, is read from its beginning. Fault `host`.
   */
  read(): Buffer | undefined {
    try {
      this.#fd ??= this.#open(this.#tail);
      return this.#next() ?? (this.#isReplaced() ? this.#next() : undefined);
    } catch (error) {
      throw refusal(`cannot read ${this.#path}`, error);
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #next(): Buffer | undefined {
    if (this.#fd === undefined) return undefined;
    let length = readSync(this.#fd, this.#buffer, 0, CHUNK_BYTES, this.#position);
    if (length === 0 && fstatSync(this.#fd).size < this.#position) {
      this.#position = 0;
      length = readSync(this.#fd, this.#buffer, 0, CHUNK_BYTES, 0);
    }
    this.#position += length;
    return length === 0 ? undefined : this.#buffer.subarray(0, length);
  }

  /** Whether another file has its name now, which is then the one that is read. */
  #isReplaced(): boolean {
    const now = lstatSync(this.#path, { throwIfNoEntry: false });
    if (this.#fd === undefined || now === undefined || now.ino === fstatSync(this.#fd).ino) return false;
    const next = this.#open(undefined);
    if (next === undefined) return false;
    closeSync(this.#fd);
    this.#fd = next;
    return true;
  }

  #open(tail: number | undefined): number | undefined {
    let fd: number;
    try {
      fd = openSync(this.#path, READ);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
    const stat = fstatSync(fd);
    if (!stat.isFile()) {
      closeSync(fd);
      throw new Fault('host', `${this.#path} is not a regular file`);
    }
    if (!mayLieIn(lstatSync(dirname(this.#path)), stat)) {
      closeSync(fd);
      throw new Fault('host', `${this.#path} does not belong to the owner of its directory`);
    }
    this.#position = tail === undefined ? 0 : this.#lastLines(fd, stat.size, tail);
    return fd;
  }

  /** Where the last `count` lines begin; a line that is not ended yet counts as one. */
  #lastLines(fd: number, size: number, count: number): number {
    if (count === 0) return size;
    let left = count;
    for (let end = size; end > 0; ) {
      const begin = Math.max(0, end - CHUNK_BYTES);
      const bytes = this.#buffer.subarray(0, readSync(fd, this.#buffer, 0, end - begin, begin));
      // The line end at the very end of the file ends its last line, and begins none.
      for (let at = bytes.length - (end === size ? 2 : 1); at >= 0; at--) {
        if (bytes[at] === NEWLINE && --left === 0) return begin + at + 1;
      }
      end = begin;
    }
    return 0;
  }
}

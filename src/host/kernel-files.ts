// Reading the small text files of /proc and the cgroup file systems: one open, one read, nothing cached. A file that is
// not there, or whose process or cgroup ends meanwhile, is undefined and no error. Whatever is read is bounded.

import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { errnoOf, Fault } from '../fault.ts';

const PIECE_BYTES = 65_536;
/** Lists of pids beyond this (a hundred thousand of them) are not counted: an old slave asks every second. */
const LIST_BYTES_MAX = 1024 * 1024;

/**
 * Gone (ENXIO: the network of a process that is ending), or not supported by this kernel or this kind of cgroup; or with a name
 * that is longer than any can be.
 */
const ABSENT: readonly (string | undefined)[] = [
  ...['ENOENT', 'ENOTDIR', 'ESRCH', 'ENODEV', 'ENXIO', 'EOPNOTSUPP', 'ENAMETOOLONG'],
];

/** Why nothing can be read of a process. */
export function hasGone(pid: number): Fault {
  return new Fault('not-found', `process ${pid} has gone`);
}

function unlessAbsent<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (ABSENT.includes(errnoOf(error))) return undefined;
    throw error;
  }
}

export function readText(path: string): string | undefined {
  return unlessAbsent(() => {
    const fd = openSync(path, 'r');
    try {
      // One page and one read serve nearly all of them, and no stat is needed.
      const buffer = Buffer.allocUnsafe(8192);
      const length = readSync(fd, buffer, 0, buffer.length, 0);
      return length < buffer.length ? buffer.toString('latin1', 0, length) : readFileSync(path, 'latin1');
    } finally {
      closeSync(fd);
    }
  });
}

/** A table of the kernel's of any length, which it gives out a page or so at a time. */
export function readLong(path: string): string | undefined {
  return unlessAbsent(() => readFileSync(path, 'latin1'));
}

/**
 * A count as the kernel writes it; undefined for anything else, `max` and -1 among it. 2^63 and above is one that has passed
 * below 0, which kernels have shown, and nothing that can be told to a slave.
 */
export function countOf(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,20}$/.test(text)) return undefined;
  const value = Number(text);
  return value < 2 ** 63 ? value : undefined;
}

/** A file that holds one count; `max` is none. */
export function readNumber(path: string): number | undefined {
  return countOf(readText(path)?.trim());
}

/** A file of lines `name count`. */
export function readTable(path: string): Map<string, number> {
  const table = new Map<string, number>();
  for (const line of (readText(path) ?? '').split('\n')) {
    const blank = line.indexOf(' ');
    const value = countOf(line.slice(blank + 1));
    if (blank > 0 && value !== undefined) table.set(line.slice(0, blank), value);
  }
  return table;
}

/** How many lines a file has; undefined also for one that is too long to be counted. */
export function countLines(path: string): number | undefined {
  return unlessAbsent(() => {
    const fd = openSync(path, 'r');
    try {
      const buffer = Buffer.allocUnsafe(PIECE_BYTES);
      let lines = 0;
      for (let total = 0; total < LIST_BYTES_MAX; ) {
        const length = readSync(fd, buffer, 0, buffer.length, null);
        if (length === 0) return lines;
        total += length;
        for (let at = buffer.indexOf(10); at !== -1 && at < length; at = buffer.indexOf(10, at + 1)) lines++;
      }
      return undefined;
    } finally {
      closeSync(fd);
    }
  });
}

/** undefined where the process or file has gone meanwhile, or may not be looked into. */
export function whenThere<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return undefined;
    throw error;
  }
}

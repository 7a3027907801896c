// Two builds of Deimos on one state root, while it is upgraded: which of them looks after it. A binary may be replaced
// while its supervisor runs; the supervisor then makes room when the next call asks for something, and what is asked is
// done by the new one, which takes everything up from the disk.

import { type Stats, statSync } from 'node:fs';
import { errnoOf } from '../fault.ts';

export interface Build {
  /** `1.2.3`. */
  readonly version: string;
  /** The version of the records that it writes; it reads none of a later one. */
  readonly records: number;
}

/** Whether a supervisor makes room for the build that asks: one that can read all that is here, and is to take its place. */
export function makesRoom(own: Build, asking: Build, isReplaced: () => boolean): boolean {
  if (asking.records < own.records) return false;
  return isLater(asking.version, own.version) || isReplaced();
}

/** Whether one that was started on demand makes room for a service: not for one that calls of its own build would send away again. */
export function makesRoomForService(own: Build, service: Build, isReplaced: () => boolean): boolean {
  if (service.records < own.records) return false;
  return !isLater(own.version, service.version) || isReplaced();
}

function isLater(version: string, than: string): boolean {
  const [a, b] = [numbersOf(version), numbersOf(than)];
  const at = a.findIndex((number, n) => number !== b[n]);
  return at >= 0 && (a[at] ?? 0) > (b[at] ?? 0);
}

function numbersOf(version: string): readonly number[] {
  const [, ...numbers] = /^(\d+)\.(\d+)\.(\d+)/.exec(version) ?? [];
  return [0, 1, 2].map((n) => Number(numbers[n] ?? 0));
}

/** Whether another file stands where the one stood that this process runs. One that is gone has no successor yet. */
export function isExecutableReplaced(executable: string): boolean {
  const there = statOf(executable);
  // Of a file that was unlinked, too.
  const running = statOf('/proc/self/exe');
  if (there === undefined || running === undefined) return false;
  return there.ino !== running.ino || there.dev !== running.dev;
}

/** Whether no file stands where the one stood that this process runs: removed, and not replaced. */
export function isExecutableGone(executable: string): boolean {
  return statOf(executable) === undefined;
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

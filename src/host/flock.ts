// flock(2) locks. Node cannot take one, so flock(1) takes it on an open file that it inherits: the lock belongs to the
// open file description, stays when that child has exited, and falls when this process closes the file or dies.
// execve does not carry such a lock over (Node's descriptors are close-on-exec).

import { closeSync, constants, openSync } from 'node:fs';
import { Fault, refusal } from '../fault.ts';
import { isSameFile } from './facts.ts';
import { findProgram } from './programs.ts';
import { statusOf } from './start.ts';

/** What flock(1) exits with under -n when somebody else has the lock (its -E default). */
const EXIT_LOCKED = 1;

export interface FileLock extends Disposable {
  readonly path: string;
  /** Whether the file at `path` is still the one that is locked: else others lock another one. */
  isInPlace(): boolean;
  /** Lets the lock go. Repeatable. */
  release(): void;
}

/**
 * Takes the exclusive lock on `path` (created if absent, mode 0600) without waiting.
 * undefined if somebody else has it. Throws Fault `host` if flock(1) cannot be run.
 */
export async function tryLock(path: string): Promise<FileLock | undefined> {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
  const fd = openLock(path, flags);
  let taken = false;
  try {
    const argv = [findProgram('flock'), '-x', '-n', '3'] as const;
    const status = await statusOf('flock', argv, ['ignore', 'ignore', 'ignore', fd]);
    taken = status === 0;
    if (!taken && status !== EXIT_LOCKED)
      throw new Fault('host', `flock on ${path} failed with status ${status}`);
  } finally {
    if (!taken) closeSync(fd);
  }
  return taken ? held(path, fd) : undefined;
}

function openLock(path: string, flags: number): number {
  try {
    return openSync(path, flags, 0o600);
  } catch (error) {
    throw refusal(`cannot open ${path}`, error);
  }
}

function held(path: string, fd: number): FileLock {
  let open = true;
  const release = (): void => {
    if (!open) return;
    open = false;
    closeSync(fd);
  };
  return { path, isInPlace: () => open && isSameFile(fd, path), release, [Symbol.dispose]: release };
}

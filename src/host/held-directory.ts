// Directories that belong to somebody else, taken from their owner for a moment and given back: meanwhile nobody but us can
// rename what lies in one, or put something else in its place. What is done with a directory is done with the open one.

import { closeSync, constants, fchmodSync, fchownSync, fstatSync, openSync } from 'node:fs';
import { errnoOf, refusal } from '../fault.ts';

const OTHERS_WRITE = 0o022;

/** What a directory was like before, and which it is. */
export interface Held {
  readonly path: string;
  readonly device: number;
  readonly inode: number;
  readonly uid: number;
  readonly gid: number;
  /** Permission bits. */
  readonly mode: number;
}

/** A directory, open. `below` it its entries are looked up in this one, whatever has its name meanwhile. */
export class OpenDirectory implements Disposable {
  readonly path: string;
  readonly #fd: number;

  /** `at`: where it is found, if not by its path. Throws the system's errors: ELOOP or ENOTDIR where it is none. */
  constructor(path: string, at = path) {
    this.path = path;
    this.#fd = openSync(at, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  }

  /** The name of an entry, for calls to the system. */
  entry(name: string): string {
    return `/proc/self/fd/${this.#fd}/${name}`;
  }

  below(name: string): OpenDirectory {
    return new OpenDirectory(`${this.path}/${name}`, this.entry(name));
  }

  /** Undefined where it is ours already, and nobody else can write to it. */
  owned(): Held | undefined {
    const { uid, gid, mode, dev, ino } = fstatSync(this.#fd);
    if (uid === process.geteuid?.() && (mode & OTHERS_WRITE) === 0) return undefined;
    return { path: this.path, device: dev, inode: ino, uid, gid, mode: mode & 0o7777 };
  }

  /** Throws Fault `host` where the file system knows no owners. What began before is over when it returns. */
  take({ gid, mode }: Held): void {
    try {
      fchownSync(this.#fd, process.geteuid?.() ?? 0, gid);
      if ((mode & OTHERS_WRITE) !== 0) fchmodSync(this.#fd, mode & ~OTHERS_WRITE);
    } catch (error) {
      throw refusal(`cannot hold ${this.path}`, error);
    }
  }

  /** As it was; whatever else stands there by now is left alone. Repeatable. */
  giveBack({ device, inode, uid, gid, mode }: Held): void {
    const now = fstatSync(this.#fd);
    if (now.dev !== device || now.ino !== inode) return;
    try {
      if ((now.mode & 0o7777) !== mode) fchmodSync(this.#fd, mode);
      if (now.uid !== uid || now.gid !== gid) fchownSync(this.#fd, uid, gid);
    } catch (error) {
      throw refusal(`cannot give ${this.path} back to its owner`, error);
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** Gives a directory back, unless it is gone. Fault `host`. Repeatable. */
export function giveBack(held: Held): void {
  try {
    using directory = new OpenDirectory(held.path);
    directory.giveBack(held);
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) throw error;
  }
}

/** From JSON; undefined for whatever else. */
export function parseHeld(value: unknown): Held | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { path, device, inode, uid, gid, mode } = value as Readonly<Record<keyof Held, unknown>>;
  if (typeof path !== 'string' || typeof device !== 'number' || typeof inode !== 'number') return undefined;
  if (typeof uid !== 'number' || typeof gid !== 'number' || typeof mode !== 'number') return undefined;
  return { path, device, inode, uid, gid, mode };
}

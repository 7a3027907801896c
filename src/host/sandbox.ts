// Files in a task's sandbox, a directory that the task's user owns and can fill with symlinks and FIFOs while we work.
// Whatever is opened here is opened without following a link, without waiting, and is a regular file or refused.

import {
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  realpathSync,
  type Stats,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, Fault, refusal, systemWords } from '../fault.ts';
import { OpenDirectory } from './held-directory.ts';

const APPEND = constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const CREATE = APPEND | constants.O_CREAT | constants.O_EXCL;
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const PASS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_DIRECTORY;
/** Whoever exchanges a file meanwhile does it to himself. */
const OPEN_TRIES = 10;

/**
 * Opens `<sandbox>/stdout` or the like for appending; a new one belongs to the sandbox's owner. The caller closes it.
 * Throws Fault `host` if what is there is no regular file, or somebody else's: it may be a second name of a file to which the
 * sandbox's owner could not write himself.
 */
export function openAppend(path: string): number {
  const owner = lstatSync(dirname(path));
  for (let n = 0; n < OPEN_TRIES; n++) {
    const made = tryOpen(path, CREATE);
    if (made !== 'exists' && made !== 'absent') {
      giveTo(owner, made, path);
      return made;
    }
    const fd = tryOpen(path, APPEND);
    if (fd === 'exists' || fd === 'absent') continue;
    const stat = fstatSync(fd);
    if (stat.isFile() && mayLieIn(owner, stat)) return fd;
    closeSync(fd);
    if (!stat.isFile()) throw new Fault('host', `${path} is not a regular file`);
    if (stat.uid !== process.geteuid?.() || stat.size !== 0)
      throw new Fault('host', `${path} does not belong to the sandbox's owner`);
    // Made by one of us that was killed before it could give it away. Whether it has another name cannot be told for sure.
    unlinkSync(path);
  }
  throw new Fault('host', `${path} is exchanged over and over`);
}

/**
 * Whether a file may be what its name says in this directory: what belongs to somebody else than the directory's owner may
 * be a second name of a file that he could neither read nor write. Only who is root can do more than he.
 */
export function mayLieIn(directory: Stats, file: Stats): boolean {
  const us = process.geteuid?.();
  const isOursAlone = directory.uid === us && (directory.mode & 0o022) === 0;
  return us !== 0 || isOursAlone || file.uid === directory.uid;
}

function tryOpen(path: string, flags: number): number | 'exists' | 'absent' {
  try {
    return openSync(path, flags, 0o644);
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return 'exists';
    if (errnoOf(error) === 'ENOENT' && (flags & constants.O_CREAT) === 0) return 'absent';
    throw new Fault('host', `cannot open ${path}: ${systemWords(error)}`, error);
  }
}

function giveTo(owner: Stats, fd: number, path: string): void {
  try {
    const { uid, gid } = fstatSync(fd);
    if (uid !== owner.uid || gid !== owner.gid) fchownSync(fd, owner.uid, owner.gid);
  } catch (error) {
    closeSync(fd);
    throw refusal(`cannot give ${path} to the sandbox's owner`, error);
  }
}

/** Appends one line. Throws as openAppend does. */
export function appendLine(path: string, line: string): void {
  const fd = openAppend(path);
  try {
    writeSync(fd, `${line}\n`);
  } catch (error) {
    throw refusal(`cannot write ${path}`, error);
  } finally {
    closeSync(fd);
  }
}

/**
 * The directory `<sandbox>/fs` that the container sees as its work directory, made with the sandbox's owner where it is
 * missing. Repeatable. Throws Fault `host` if something else has that name.
 */
export function makeWorkDirectory(sandbox: string): string {
  const path = `${sandbox}/fs`;
  try {
    mkdirSync(path, { mode: 0o755 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST')
      throw new Fault('host', `cannot make ${path}: ${systemWords(error)}`, error);
  }
  let fd: number;
  try {
    fd = openSync(path, PASS);
  } catch (error) {
    if (!isNoDirectory(error)) throw refusal(`cannot open ${path}`, error);
    throw new Fault('host', `${path} is not a directory`, error);
  }
  try {
    const made = fstatSync(fd);
    const owner = lstatSync(sandbox);
    // Still ours, perhaps since an earlier try, which was cut short.
    if (made.uid === process.geteuid?.() && (made.uid !== owner.uid || made.gid !== owner.gid))
      fchownSync(fd, owner.uid, owner.gid);
  } catch (error) {
    throw refusal(`cannot give ${path} to the sandbox's owner`, error);
  } finally {
    closeSync(fd);
  }
  return path;
}

/**
 * Makes what is missing of a directory's path below the sandbox, as Docker does for a volume. What is there stays as it is,
 * of whatever kind; nothing is made behind a symlink or outside. The sandbox's owner may move things about meanwhile: what
 * is made is therefore not given to it. Repeatable. Throws Fault `host` where the system refuses.
 */
export function makeMissing(sandbox: string, path: string): void {
  const names = path
    .slice(sandbox.length)
    .split('/')
    .filter((name) => name !== '' && name !== '.');
  if (!path.startsWith(`${sandbox}/`) || names.includes('..')) return;
  using opened = new DisposableStack();
  try {
    let at = opened.use(new OpenDirectory(realpathSync(sandbox)));
    for (const name of names) {
      try {
        mkdirSync(at.entry(name), { mode: 0o755 });
      } catch (error) {
        if (errnoOf(error) !== 'EEXIST') throw error;
      }
      at = opened.use(at.below(name));
    }
  } catch (error) {
    if (isNoDirectory(error)) return;
    throw refusal(`cannot make ${path}`, error);
  }
}

function isNoDirectory(error: unknown): boolean {
  return errnoOf(error) === 'ELOOP' || errnoOf(error) === 'ENOTDIR';
}

/**
 * The text of a file that the sandbox's owner has put below one of his directories, or 'absent'. No component behind
 * `directory` may be a link, and what is opened must be a regular file of the directory's owner, of at most `maxBytes`:
 * else Fault `host`, whose text goes on from "it". It is read once; what becomes of it meanwhile does not matter.
 */
export async function readOwn(
  directory: string,
  names: readonly string[],
  maxBytes: number,
): Promise<string | 'absent'> {
  const opened: FileHandle[] = [];
  try {
    let at = directory;
    for (const [n, name] of ['', ...names].entries()) {
      const isLast = n === names.length;
      const handle = await open(`${at}/${name}`.replace(/\/$/, ''), isLast ? READ : PASS);
      opened.push(handle);
      // What has been opened cannot be exchanged any more: the next name is looked up in it.
      at = `/proc/self/fd/${handle.fd}`;
    }
    const [top, file] = [opened[0], opened.at(-1)];
    if (top === undefined || file === undefined) return 'absent';
    const stat = await file.stat();
    if (!stat.isFile()) throw new Fault('host', 'it is not a regular file');
    if (stat.uid !== (await top.stat()).uid)
      throw new Fault('host', "it does not belong to the sandbox's owner");
    const buffer = Buffer.alloc(maxBytes + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    if (length > maxBytes) throw new Fault('host', `it is larger than ${maxBytes} bytes`);
    return buffer.toString('utf8', 0, length);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT') return 'absent';
    if (code === undefined) throw error;
    if (code === 'ELOOP' || code === 'ENOTDIR')
      throw new Fault('host', 'it is not a regular file, or its directory is none', error);
    throw new Fault('host', `it cannot be read: ${code}`, error);
  } finally {
    for (const handle of opened) await handle.close();
  }
}

// Files in a task's sandbox, a directory that the task's user owns and can fill with symlinks and FIFOs while we work.
// Whatever is opened here is opened without following a link, without waiting, and is a regular file or refused.

import {
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  writeSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, Fault, refusal, systemWords } from '../fault.ts';

const APPEND =
  constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const PASS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_DIRECTORY;

/**
 * Opens `<sandbox>/stdout` or the like for appending; a new one belongs to the sandbox's owner. The caller closes it.
 * Throws Fault `host` if what is there is no regular file.
 */
export function openAppend(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, APPEND, 0o644);
  } catch (error) {
    throw new Fault('host', `cannot open ${path}: ${systemWords(error)}`, error);
  }
  const stat = fstatSync(fd);
  if (!stat.isFile()) {
    closeSync(fd);
    throw new Fault('host', `${path} is not a regular file`);
  }
  const owner = lstatSync(dirname(path));
  if (stat.size === 0 && stat.nlink === 1 && (stat.uid !== owner.uid || stat.gid !== owner.gid)) {
    try {
      fchownSync(fd, owner.uid, owner.gid);
    } catch (error) {
      closeSync(fd);
      throw refusal(`cannot give ${path} to the sandbox's owner`, error);
    }
  }
  return fd;
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
  const made = lstatSync(path);
  if (!made.isDirectory()) throw new Fault('host', `${path} is not a directory`);
  const owner = lstatSync(sandbox);
  // Still ours, perhaps since an earlier try, which was cut short.
  if (made.uid === process.geteuid?.() && (made.uid !== owner.uid || made.gid !== owner.gid)) {
    try {
      lchownSync(path, owner.uid, owner.gid);
    } catch (error) {
      throw refusal(`cannot give ${path} to the sandbox's owner`, error);
    }
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
  let at = sandbox;
  for (const name of names) {
    at = `${at}/${name}`;
    try {
      mkdirSync(at, { mode: 0o755 });
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') {
        throw new Fault('host', `cannot make ${at}: ${systemWords(error)}`, error);
      }
      if (!lstatSync(at).isDirectory()) return;
    }
  }
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

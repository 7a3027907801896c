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
import { dirname } from 'node:path';
import { errnoOf, Fault } from '../fault.ts';

const APPEND =
  constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Opens `<sandbox>/stdout` or the like for appending; a new one belongs to the sandbox's owner. The caller closes it.
 * Throws Fault `host` if what is there is no regular file.
 */
export function openAppend(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, APPEND, 0o644);
  } catch (error) {
    throw new Fault('host', `cannot open ${path}: ${errnoOf(error) ?? 'unknown error'}`, error);
  }
  const stat = fstatSync(fd);
  if (!stat.isFile()) {
    closeSync(fd);
    throw new Fault('host', `${path} is not a regular file`);
  }
  const owner = lstatSync(dirname(path));
  if (stat.size === 0 && stat.nlink === 1 && (stat.uid !== owner.uid || stat.gid !== owner.gid)) {
    fchownSync(fd, owner.uid, owner.gid);
  }
  return fd;
}

/** Appends one line. Throws as openAppend does. */
export function appendLine(path: string, line: string): void {
  const fd = openAppend(path);
  try {
    writeSync(fd, `${line}\n`);
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
    const owner = lstatSync(sandbox);
    lchownSync(path, owner.uid, owner.gid);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') {
      throw new Fault('host', `cannot make ${path}: ${errnoOf(error) ?? 'unknown error'}`, error);
    }
    if (!lstatSync(path).isDirectory()) throw new Fault('host', `${path} is not a directory`);
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
        throw new Fault('host', `cannot make ${at}: ${errnoOf(error) ?? 'unknown error'}`, error);
      }
      if (!lstatSync(at).isDirectory()) return;
    }
  }
}

// One fact, one small file, written whole: temp file, rename, and where it must outlive a crash of the host, fsync of
// file and directory. A reader sees the old fact or the new one, never a piece.
// Nothing here follows a symlink at the last component when writing.

import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  promises,
  readdirSync,
  readFileSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, Fault, refusal } from '../fault.ts';
import { identify } from './processes.ts';

/** No fact of ours is larger; container.json with its environment is the largest. */
const FACT_BYTES_MAX = 80 * 1024 * 1024;

/** Whether what is open as `fd` still stands at `path`, and has not been replaced or removed. */
export function isSameFile(fd: number, path: string): boolean {
  const [open, there] = [fstatSync(fd), statSync(path, { throwIfNoEntry: false })];
  return there !== undefined && there.ino === open.ino && there.dev === open.dev;
}

/** Nothing is there; or a symlink, a socket, a device without a driver. */
const NO_FILE: readonly (string | undefined)[] = ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'ENODEV'];

const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** Where this process writes `path` before it gets that name; removeAbandoned knows such names. */
export function temporaryName(path: string): string {
  return `${path}.${process.pid}.${process.hrtime.bigint()}.tmp`;
}

/**
 * Removes what a writer left behind that was killed before its rename. Temporary files of processes that live are left
 * alone. A directory that is not there has none. Repeatable.
 */
export function removeAbandoned(directory: string): void {
  for (const name of existsSync(directory) ? readdirSync(directory) : []) {
    const writer = /\.(\d+)\.\d+\.tmp$/.exec(name)?.[1];
    if (writer !== undefined && identify(Number(writer)) === undefined) removeSync(`${directory}/${name}`);
  }
}

/**
 * Writes `path` by rename, mode 0600; not synced to disk: it outlives us, not a crash of the host. Repeatable. Throws Fault
 * `host` where the system refuses.
 */
export function writeFactSync(path: string, content: string | Uint8Array): void {
  const temporary = temporaryName(path);
  try {
    writeNew(temporary, content);
    putAside(path);
    renameSync(temporary, path);
  } catch (error) {
    removeIfPossible(temporary);
    throw refusal(`cannot write ${path}`, error);
  }
}

/** The same for a fact that only one process can make: false, and nothing is changed, where it is there. */
export function claimFact(path: string, content: string): boolean {
  const temporary = temporaryName(path);
  try {
    writeNew(temporary, content);
    linkSync(temporary, path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw refusal(`cannot write ${path}`, error);
  } finally {
    removeIfPossible(temporary);
  }
}

function writeNew(path: string, content: string | Uint8Array): void {
  const fd = openSync(path, CREATE, 0o600);
  try {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
  } finally {
    closeSync(fd);
  }
}

/** As writeFactSync, but on disk when it resolves: file and directory are synced. */
export async function writeFact(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = temporaryName(path);
  try {
    const file = await promises.open(temporary, CREATE, 0o600);
    try {
      await file.writeFile(content);
      await file.datasync();
    } finally {
      await file.close();
    }
    putAside(path);
    await promises.rename(temporary, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    removeIfPossible(temporary);
    throw refusal(`cannot write ${path}`, error);
  }
}

/**
 * What is no file (or not what `isOurs` wants) in the place of one of ours is somebody's: it is kept beside. Throws the
 * system's errors. Repeatable.
 */
export function putAside(path: string, isOurs = (there: Stats): boolean => there.isFile()): void {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there !== undefined && !isOurs(there)) renameSync(path, `${path}.foreign-${process.hrtime.bigint()}`);
}

/** Removes a file where the system lets it: a disk that takes nothing may give nothing back either. Others tidy up then. */
export function removeIfPossible(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}

/** Makes a directory for facts, 0700, where it is missing. Fault `host`. Repeatable. */
export function makeDirectory(path: string): void {
  try {
    // Not `recursive`: the runtime then calls a read-only disk a missing directory.
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw refusal(`cannot make ${path}`, error);
  }
}

/** Makes renames and new names in a directory outlive a crash of the host. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await promises.open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.datasync();
  } finally {
    await directory.close();
  }
}

/** The same for a process that has nothing else to do meanwhile. */
export function syncPathSync(path: string): void {
  try {
    const fd = openSync(path, constants.O_RDONLY);
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw refusal(`cannot write ${path}`, error);
  }
}

/**
 * The fact, or undefined where it has not been written, or something else than a file has its place: a symlink is not
 * followed. Throws Fault `host` where the system refuses, and for a file that is too large to be one.
 */
export function readFact(path: string): string | undefined {
  return readFactBytes(path)?.toString('utf8');
}

/** As readFact, undecoded. */
export function readFactBytes(path: string): Buffer | undefined {
  let fd: number;
  try {
    // O_NONBLOCK: a FIFO in our place must not hold us up.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (NO_FILE.includes(errnoOf(error))) return undefined;
    throw refusal(`cannot read ${path}`, error);
  }
  try {
    const bytes = readFileSync(fd);
    if (bytes.length > FACT_BYTES_MAX) throw new Fault('host', `${path} is too large to be a state file`);
    return bytes;
  } catch (error) {
    if (errnoOf(error) === 'EISDIR') return undefined;
    throw refusal(`cannot read ${path}`, error);
  } finally {
    closeSync(fd);
  }
}

/** Parsed JSON of a fact; undefined where it is absent or torn. The caller checks its shape. */
export function readJsonFact(path: string): unknown {
  const text = readFact(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Removes a file; true if it was there. */
export function removeSync(path: string): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw refusal(`cannot remove ${path}`, error);
  }
}

/** Renames; false if the source is not there (any more): whoever renames first decides. */
export function renameIfThere(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw refusal(`cannot write ${to}`, error);
  }
}

// Finds the configuration file and reads it, or passes over what somebody else could have written: `./deimos.cfg` comes
// first in the search, and the slave's calls run in sandboxes. Where root owns one, as where tasks run as root, what the
// task writes into it is root's, too: so there is no configuration in a sandbox at all.
// What is checked is what is read: the directory and the file are opened once, and only these descriptors are looked
// at. Opening never blocks. Nothing here knows what a configuration says.

import * as fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errnoOf, escapeControl, Fault } from '../fault.ts';
import type { ConfigWarning } from './schema.ts';

/** No configuration is longer; what is, is something else. */
export const MAX_CONFIG_BYTES = 1024 ** 2;

const SYSTEM_PATHS = ['/etc/deimos.cfg', '/usr/etc/deimos.cfg', '/usr/local/etc/deimos.cfg'];

/** Of every slave's sandboxes, and below: what a task can write, whoever owns it. */
const SANDBOX = /\/slaves\/[^/]+\/frameworks\/[^/]+\/executors\/.+\/runs\/[^/]+/;

export interface SearchPlace {
  /** Absolute, or `.` where the working directory has no name any more. */
  readonly cwd: string;
  /** Of the user that runs us; undefined if there is none: `~/.deimos` is left out. */
  readonly home: string | undefined;
  /** Effective user id. Only 0 makes a file suspect that others can write. */
  readonly uid: number;
  /** Replaces the three places in /etc and /usr; for tests. */
  readonly systemPaths?: readonly string[];
}

export interface FoundFile {
  readonly path: string;
  readonly text: string;
}

export interface Found {
  /** Undefined where no file was found in any place. */
  readonly file: FoundFile | undefined;
  /** A line for each file that was passed over. */
  readonly warnings: readonly ConfigWarning[];
}

/** The search order, first to last. */
export function searchPaths({ cwd, home, systemPaths }: SearchPlace): readonly string[] {
  const homePath = home ? [join(home, '.deimos')] : [];
  const here = SANDBOX.test(cwd) ? [] : [join(cwd, 'deimos.cfg')];
  return [...here, ...homePath, ...(systemPaths ?? SYSTEM_PATHS)];
}

/** Whether that is one of the places in which the operator alone puts something. */
export function isOfTheSystem({ systemPaths }: SearchPlace, path: string): boolean {
  return (systemPaths ?? SYSTEM_PATHS).includes(path);
}

/** Fault `config` for the first file that is there and to be trusted, but cannot be read. */
export function findConfig(place: SearchPlace): Found {
  const warnings: ConfigWarning[] = [];
  for (const path of searchPaths(place)) {
    const outcome = tryFile(path, place.uid);
    if (typeof outcome === 'string') return { file: { path, text: outcome }, warnings };
    if (outcome) warnings.push({ file: path, line: 0, text: `passed over: ${outcome.passedOver}` });
  }
  return { file: undefined, warnings };
}

/**
 * Why root should not take orders from what this describes; undefined if nobody but root can write it.
 * `what` is how the reason calls it.
 */
export function distrust(what: string, stat: { uid: number; mode: number }): string | undefined {
  if (stat.uid !== 0) return `${what} belongs to user ${stat.uid}, not to root`;
  if (stat.mode & 0o022) return `${what} can be written by ${stat.mode & 0o002 ? 'everybody' : 'its group'}`;
  return undefined;
}

type Outcome = string | { readonly passedOver: string } | undefined;

/** The file's text, or why it is passed over, or undefined where there is none. */
function tryFile(path: string, uid: number): Outcome {
  if (uid === 0) return tryAsRoot(path);
  const file = openIfThere(path, 0, path);
  return file === undefined ? undefined : closing(file, () => readOpen(file, path));
}

function tryAsRoot(path: string): Outcome {
  const directory = openIfThere(dirname(path), fs.constants.O_DIRECTORY, path);
  if (directory === undefined) return undefined;
  return closing(directory, () => {
    // By way of the open directory, so that it cannot be exchanged between the two checks.
    const entry = `/proc/self/fd/${directory}/${basename(path)}`;
    const reason = distrust('its directory', fs.fstatSync(directory));
    // Not even opened: a link planted there may lead to a device on which opening alone has an effect.
    if (reason !== undefined) return isThere(entry) ? { passedOver: reason } : undefined;
    const file = openIfThere(entry, 0, path);
    if (file === undefined) return undefined;
    return closing(file, () => {
      const doubt = distrustFile(file);
      return doubt === undefined ? readOpen(file, path) : { passedOver: doubt };
    });
  });
}

function distrustFile(file: number): string | undefined {
  const reason = distrust('it', fs.fstatSync(file));
  if (reason !== undefined) return reason;
  // Through a symbolic link the file may lie where others can replace it.
  const target = fs.readlinkSync(`/proc/self/fd/${file}`);
  try {
    return distrust(`the directory of ${escapeControl(target)}`, fs.statSync(dirname(target)));
  } catch (error) {
    // Only a file that is being replaced or removed at this moment has no directory.
    if (errnoOf(error) === undefined) throw error;
    return `${escapeControl(target)} is being replaced`;
  }
}

function closing<T>(descriptor: number, use: () => T): T {
  try {
    return use();
  } finally {
    fs.closeSync(descriptor);
  }
}

function isThere(path: string): boolean {
  return fs.lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** `shownPath` is the one for people. Undefined where there is nothing, or where we may not even look. */
function openIfThere(path: string, extraFlags: number, shownPath: string): number | undefined {
  const { O_RDONLY, O_NONBLOCK, O_NOCTTY } = fs.constants;
  try {
    // Most places are empty, and an open that fails costs the making of an error: as long as reading a usual file.
    if (!isThere(path)) return requireProc();
    return fs.openSync(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | extraFlags);
  } catch (error) {
    const code = errnoOf(error);
    if (code === undefined) throw error;
    const looking = error instanceof Error && 'syscall' in error && error.syscall === 'lstat';
    if (code === 'ENOENT' || code === 'ENOTDIR' || (code === 'EACCES' && looking)) return undefined;
    const what = code === 'ENXIO' ? 'not a regular file' : `cannot be opened: ${code}`;
    throw new Fault('config', `${shownPath}: ${what}`, error);
  }
}

// Without /proc everything looks absent, and an absent file means the defaults, another state root among them.
function requireProc(): undefined {
  if (!isThere('/proc/self/fd'))
    throw new Fault('config', '/proc is not mounted: no configuration can be looked up');
  return undefined;
}

function readOpen(file: number, path: string): string {
  const stat = fs.fstatSync(file);
  if (!stat.isFile()) throw new Fault('config', `${path}: not a regular file`);
  const buffer = Buffer.alloc(Math.min(stat.size, MAX_CONFIG_BYTES) + 1);
  let length = 0;
  try {
    while (length < buffer.length) {
      const count = fs.readSync(file, buffer, length, buffer.length - length, null);
      if (count === 0) break;
      length += count;
    }
  } catch (error) {
    const code = errnoOf(error);
    if (code === undefined) throw error;
    throw new Fault('config', `${path}: cannot be read: ${code}`, error);
  }
  if (length > MAX_CONFIG_BYTES) throw new Fault('config', `${path}: longer than ${MAX_CONFIG_BYTES} bytes`);
  // Grown since it was looked at: somebody writes it at this moment, and half a configuration is worse than none.
  if (length > stat.size) throw new Fault('config', `${path}: changed while it was read; try again`);
  // Other bytes than UTF-8 become U+FFFD, which values.ts refuses outside of comments. (toString() and not TextDecoder,
  // which takes longer to make than a usual file to read.) A byte-order mark is dropped.
  const text = buffer.toString('utf8', 0, length);
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}

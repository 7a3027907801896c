// The state root as a directory that can be trusted: ours alone, or refused. And the note of which roots are in use on
// this host, so that a verb finds a container whose root a changed configuration no longer names.

import {
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { errnoOf, escapeControl, Fault, isDiskRefusal, isFault, refusal, systemWords } from '../fault.ts';
import { makeDirectory, readFact, writeFactSync } from '../host/facts.ts';
import { rootPaths } from './layout.ts';
import { REQUEST_VERSION } from './records.ts';

/** Symlinks to the roots that launches on this host, or its service, have used since it booted. */
const ROOTS_IN_USE = '/run/deimos.roots';

const OTHERS_WRITE = 0o022;
/** In such a directory nobody renames what is not his. */
const STICKY = 0o1000;
/** As the kernel's own bound on one look-up. */
const LINKS_MAX = 40;

/** Releases that wrote these said nothing about it. */
const FIRST_RECORDS = 1;

/** The root of the original, and of a Deimos that finds no configuration. */
export const DEFAULT_ROOT = '/tmp/deimos';

/**
 * Makes the root and its directories (0700) where they are missing and checks that nobody else can interfere.
 * Repeatable. Returns the root's real path. Throws Fault `config` in words, `host` where the disk refuses, `protocol` where
 * a later release was here.
 */
export function prepareRoot(root: string): string {
  const real = checkOrMake(root);
  checkRecords(real);
  const paths = rootPaths(real);
  for (const directory of [paths.containers, paths.dockerIds, paths.startTimes, paths.supervisor])
    makeDirectory(directory);
  makeLockFile(paths.wakeLock);
  return real;
}

function checkOrMake(root: string): string {
  try {
    return checkRoot(root);
  } catch (error) {
    if (!isFault(error, 'not-found')) throw error;
  }
  try {
    makeWithParents(root);
  } catch (error) {
    if (isFault(error)) throw error;
    if (isDiskRefusal(error)) throw refusal(`cannot make ${root}`, error);
    throw new Fault('config', `the state root ${root} cannot be made: ${systemWords(error)}`, error);
  }
  return checkRoot(root);
}

/** 0700, where they are missing. The runtime's own way of it calls a read-only disk a missing directory. Throws the system's errors. */
function makeWithParents(path: string): void {
  try {
    makeOne(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' || dirname(path) === path) throw error;
    makeWithParents(dirname(path));
    makeOne(path);
  }
}

function makeOne(path: string): void {
  // Nothing is made where somebody else leads us.
  trustedPath(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST' || !statSync(path).isDirectory()) throw error;
  }
}

/**
 * Throws Fault `protocol` where a later release has written records that we cannot read: nothing may be looked after here
 * by us. What runs there goes on, and is that release's.
 */
export function checkRecords(root: string): void {
  const version = recordsOf(root);
  if (version <= REQUEST_VERSION) return;
  throw new Fault(
    'protocol',
    `the state root ${root} is in use by a later release (records of version ${version}, this deimos reads ${REQUEST_VERSION}): install that one again`,
  );
}

/** A supervisor's, before it accepts or changes anything: older releases are told to keep off. Throws the system's errors. */
export function noteRecords(root: string): void {
  if (recordsOf(root) < REQUEST_VERSION) writeFactSync(rootPaths(root).records, `${REQUEST_VERSION}\n`);
}

/** Without the note: the first. */
function recordsOf(root: string): number {
  return Number(readFact(rootPaths(root).records)?.trim() ?? FIRST_RECORDS);
}

/** Only ever locked by flock(1), which would make it with a mode that the caller's umask decides. */
export function makeLockFile(path: string): void {
  try {
    closeSync(openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600));
  } catch (error) {
    throw refusal(`cannot write ${path}`, error);
  }
}

/**
 * The real path of a root that exists. Throws Fault `not-found` where it does not, `config` where somebody else owns it, can
 * write to it, or could put another directory in its place: then nothing in it can be believed.
 */
export function checkRoot(root: string): string {
  let real: string;
  try {
    real = trustedPath(root);
  } catch (error) {
    if (errnoOf(error) === undefined || isFault(error)) throw error;
    if (errnoOf(error) === 'ENOENT') throw new Fault('not-found', `there is no state root ${root}`, error);
    throw new Fault('config', `the state root ${root} cannot be read: ${systemWords(error)}`, error);
  }
  const stat = lstatSync(real);
  const us = process.getuid?.() ?? 0;
  if (!stat.isDirectory()) throw new Fault('config', `the state root ${real} is not a directory`);
  if (stat.uid !== us) {
    throw new Fault(
      'config',
      `the state root ${real} belongs to user ${stat.uid}, not to user ${us} that runs deimos`,
    );
  }
  if ((stat.mode & OTHERS_WRITE) !== 0) {
    throw new Fault(
      'config',
      `the state root ${real} can be written by others; make it 0700 or choose another`,
    );
  }
  return real;
}

/**
 * The real path of what exists, each step of which only root and we can change: no directory on the way is somebody else's or
 * can be written by others, unless it is sticky as /tmp is, and no link is somebody else's. Fault `config`; throws the system's
 * errors: ENOENT where there is nothing.
 */
function trustedPath(path: string): string {
  const trusted = [0, process.getuid?.() ?? 0];
  const refused = (at: string, why: string): Fault =>
    new Fault('config', `${path} cannot be trusted to stay where it is: ${escapeControl(at)} ${why}`);
  let names = resolve(path).split('/');
  let links = 0;
  let at = '/';
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (name === '' || name === '.') continue;
    const { uid, mode } = lstatSync(at);
    if (!trusted.includes(uid)) throw refused(at, `belongs to user ${uid}`);
    if ((mode & OTHERS_WRITE) !== 0 && (mode & STICKY) === 0) throw refused(at, 'can be written by others');
    const next = name === '..' ? dirname(at) : join(at, name);
    const there = lstatSync(next);
    if (!there.isSymbolicLink()) {
      at = next;
      continue;
    }
    if (!trusted.includes(there.uid)) throw refused(next, `is a link of user ${there.uid}`);
    if (++links > LINKS_MAX) throw refused(next, 'is one of too many links');
    const target = readlinkSync(next);
    if (target.startsWith('/')) at = '/';
    names = [...target.split('/'), ...names];
  }
  return at;
}

/** Notes that this root is in use. Best effort: without it only the configured root is looked at. Repeatable. */
export function noteRoot(real: string): void {
  const name = encodeURIComponent(real);
  try {
    mkdirSync(ROOTS_IN_USE, { recursive: true, mode: 0o700 });
    symlinkSync(real, `${ROOTS_IN_USE}/${name}`);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    // EEXIST: noted before. Anything else (a path too long for a name, a /run that is not ours to write): the
    // configured root still serves.
  }
}

/**
 * The roots to look at, real paths without repetition: the configured one first, then those that launches noted, then
 * the default. Those that do not exist or cannot be trusted are left out.
 */
export function rootsInUse(configured: string | undefined): string[] {
  const candidates = configured === undefined ? [] : [configured];
  try {
    checkRoot(ROOTS_IN_USE);
    for (const name of readdirSync(ROOTS_IN_USE)) {
      try {
        candidates.push(readlinkSync(`${ROOTS_IN_USE}/${name}`));
      } catch (error) {
        if (errnoOf(error) === undefined) throw error;
        // a foreign entry: left alone
      }
    }
  } catch (error) {
    // Absent, or not ours: then nothing was noted that could be believed.
    if (!(error instanceof Fault) && errnoOf(error) === undefined) throw error;
  }
  candidates.push(DEFAULT_ROOT);
  const found = new Set<string>();
  for (const candidate of candidates) {
    try {
      found.add(checkRoot(candidate));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
    }
  }
  return [...found];
}

/**
 * The same for people who ask what there is: `only` the configured root, or all. One that is not there yet has nothing to
 * show. Throws Fault `config` for a configured one that is not ours: that is nothing to be left out in silence.
 */
export function rootsToShow(configured: string, only: boolean): readonly string[] {
  try {
    const root = checkRoot(configured);
    if (only) return [root];
  } catch (error) {
    if (!isFault(error, 'not-found')) throw error;
    if (only) return [];
  }
  return rootsInUse(configured);
}

// What lies in a state directory and is none of ours, or cannot be read as what its name says. For the log: whoever reads
// a fact takes such an entry for one that is not there.

import { type Dirent, readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { errnoOf } from '../fault.ts';
import { readFact, readJsonFact } from '../host/facts.ts';
import type { ContainerPaths } from './layout.ts';

export interface OddEntry {
  /** Below the state directory. */
  readonly name: string;
  /** A few fixed words. */
  readonly what: 'unknown' | 'no file' | 'no directory' | 'torn';
}

/** Repeatable; reads only. A directory that cannot be read has none. */
export function oddEntries(paths: ContainerPaths): readonly OddEntry[] {
  const kinds = kindsOf(paths);
  return entriesOf(paths.directory).flatMap((entry): readonly OddEntry[] => {
    const what = isTemporary(entry.name) ? undefined : oddityOf(entry, kinds.get(entry.name), paths);
    return what === undefined ? [] : [{ name: entry.name, what }];
  });
}

function oddityOf(
  entry: Dirent,
  kind: Kind | undefined,
  { directory }: ContainerPaths,
): OddEntry['what'] | undefined {
  switch (kind) {
    case undefined:
      return 'unknown';
    case 'link':
      return undefined;
    case 'directory':
      return entry.isDirectory() ? undefined : 'no directory';
    case 'file':
    case 'json':
    case 'text':
      if (!entry.isFile()) return 'no file';
      return isTorn(`${directory}/${entry.name}`, kind) ? 'torn' : undefined;
  }
}

/** `json`, `text`: empty only if torn; `file`: whatever it holds. */
type Kind = 'json' | 'text' | 'file' | 'directory' | 'link';

function kindsOf(paths: ContainerPaths): ReadonlyMap<string, Kind> {
  const { request, termination, registered, reported, init, limits, limitsCpus, limitsMem } = paths;
  const { launcher, wantedEnd, waitSeen, outcome, mesosContainerId, executorId, dockerId, pid, startTime } =
    paths;
  const { exit, workDirectory, executorName, slaveAddress, dockerHost, oomKills } = paths;
  const { pending, accepted, withdrawn, registering, runTask, acknowledged, creating, oomKilled } = paths;
  const {
    destroyed,
    onlaunch,
    ondestroy,
    hookEnvironment,
    removed,
    delivered,
    updates,
    children,
    locks,
    fs,
  } = paths;
  const groups: readonly (readonly [Kind, readonly string[]])[] = [
    ['json', [request, termination, registered, reported, init, limits, limitsCpus, limitsMem]],
    ['json', [launcher, wantedEnd, waitSeen, outcome]],
    ['text', [mesosContainerId, executorId, dockerId, pid, startTime, exit, workDirectory, executorName]],
    ['text', [slaveAddress, dockerHost, oomKills]],
    ['file', [pending, accepted, withdrawn, registering, runTask, acknowledged, creating, oomKilled]],
    ['file', [onlaunch, ondestroy, hookEnvironment, removed, delivered, 'stdout.copied', 'stderr.copied']],
    ['file', [destroyed, 'hook-stdout', 'hook-stderr']],
    ['directory', [updates, children, locks]],
    ['link', [fs]],
  ];
  return new Map(groups.flatMap(([kind, all]) => all.map((path) => [basename(path), kind] as const)));
}

function isTorn(path: string, kind: 'json' | 'text' | 'file'): boolean {
  if (kind === 'file') return false;
  return kind === 'json' ? readJsonFact(path) === undefined : readFact(path)?.trim() === '';
}

function isTemporary(name: string): boolean {
  return /\.\d+\.\d+\.tmp$/.test(name);
}

function entriesOf(directory: string): readonly Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return [];
  }
}

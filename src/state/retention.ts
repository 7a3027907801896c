// When a state may go: its container is gone from Docker and its Termination has reached the slave, or nothing of it ever
// ran. Used by the supervisor as time passes and by `deimos state --rm` at once.

import { lstatSync } from 'node:fs';
import type { MesosContainerId } from '../container/identity.ts';
import { errnoOf } from '../fault.ts';
import { readFact } from '../host/facts.ts';
import { type ContainerPaths, containerPaths } from './layout.ts';
import { admission, finishRemovals, hasFact, listIds, readTermination, removeState } from './store.ts';

/** A launch that was killed half way is left alone this long: it may be under way. */
const UNFINISHED_LAUNCH_MS = 10 * 60_000;

/** Milliseconds since the epoch; undefined where there is no such fact. */
export function modifiedMs(path: string): number | undefined {
  try {
    return lstatSync(path).mtimeMs;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Since when the state is of no more use, milliseconds since the epoch; undefined while it is. */
export function finishedAtMs(paths: ContainerPaths, nowMs: number): number | undefined {
  switch (admission(paths)) {
    case 'accepted':
      if (!hasFact(paths.removed) || readTermination(paths) === undefined) return undefined;
      return modifiedMs(paths.delivered);
    case 'withdrawn':
      return modifiedMs(paths.withdrawn);
    case 'pending':
    case 'incomplete': {
      const touched = modifiedMs(paths.directory);
      return touched !== undefined && nowMs - touched > UNFINISHED_LAUNCH_MS ? touched : undefined;
    }
    case 'absent':
    case 'foreign':
      return undefined;
  }
}

/** When the container was launched, ISO 8601; undefined where it is not noted. */
export function launchedAt(paths: ContainerPaths): string | undefined {
  return readFact(paths.startTime)?.trim();
}

/** Removes the state if it is of no more use, and says whether it has gone. */
export function removeIfFinished(root: string, id: MesosContainerId, nowMs: number): boolean {
  const paths = containerPaths(root, id);
  if (admission(paths) === 'absent') return true;
  if (finishedAtMs(paths, nowMs) === undefined) return false;
  removeState(root, id);
  return true;
}

/** Removes every state for which `may` agrees among those that are finished. Returns the ids removed. */
export function removeFinished(
  root: string,
  nowMs: number,
  may: (id: MesosContainerId, finishedMs: number, paths: ContainerPaths) => boolean,
): MesosContainerId[] {
  const removed: MesosContainerId[] = [];
  finishRemovals(root);
  for (const id of listIds(root).ids) {
    const paths = containerPaths(root, id);
    const finished = finishedAtMs(paths, nowMs);
    if (finished === undefined || !may(id, finished, paths)) continue;
    removeState(root, id);
    removed.push(id);
  }
  return removed;
}

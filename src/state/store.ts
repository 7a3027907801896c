// The state directory of one container as typed facts, and the listing of all of them. Reading never changes anything;
// what cannot be read as ours is reported to the caller and left alone.

import {
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { type DockerId, dockerId, type MesosContainerId, mesosContainerId } from '../container/identity.ts';
import { errnoOf, Fault } from '../fault.ts';
import {
  readFact,
  readJsonFact,
  removeSync,
  renameIfThere,
  syncPathSync,
  writeFactSync,
} from '../host/facts.ts';
import { type ContainerPaths, containerPaths, dockerIdLink, type LockName, rootPaths } from './layout.ts';
import { parseRequest, type RequestRecord } from './records.ts';

/** Begins the name of a state that is being removed: no container id can have it. */
const DYING = '~';

const LOCK_NAMES: readonly LockName[] = ['launch', 'wait', 'destroy'];

/** How far the launch of a container got. `absent`: no such state; `foreign`: a state of the Deimos of 2014. */
export type Admission = 'absent' | 'foreign' | 'incomplete' | 'pending' | 'accepted' | 'withdrawn';

/** Whether a fact has been written. */
export function hasFact(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return false;
    throw error;
  }
}

export function admission(paths: ContainerPaths): Admission {
  if (!hasFact(paths.directory)) return 'absent';
  if (hasFact(paths.accepted)) return 'accepted';
  if (hasFact(paths.pending)) return 'pending';
  if (hasFact(paths.withdrawn)) return 'withdrawn';
  if (hasFact(paths.request)) return 'incomplete';
  return hasFact(paths.dockerId) && hasFact(paths.mesosContainerId) ? 'foreign' : 'incomplete';
}

/**
 * Makes the empty state of a container. Throws Fault `conflict` if it exists and was accepted: it runs already, or has
 * run. What an interrupted launch left behind is taken over (the caller holds no lock yet: it takes `launch` next).
 */
export function createState(root: string, id: MesosContainerId): ContainerPaths {
  const paths = containerPaths(root, id);
  try {
    mkdirSync(paths.directory, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    const before = admission(paths);
    if (before === 'accepted' || before === 'foreign') {
      throw new Fault(
        'conflict',
        `container ${id} has been launched already (its state is ${paths.directory})`,
      );
    }
  }
  mkdirSync(paths.locks, { recursive: true, mode: 0o700 });
  for (const name of LOCK_NAMES) {
    closeSync(openSync(paths.lock(name), constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600));
  }
  return paths;
}

/** Writes the request and everything that is known at launch, `pending` last. Synced: an accepted task outlives the host's power. */
export function writeRequest(root: string, paths: ContainerPaths, request: RequestRecord): void {
  const { task } = request;
  removeSync(paths.withdrawn);
  writeFactSync(paths.mesosContainerId, `${task.containerId}\n`);
  writeFactSync(paths.executorId, `${task.executorId}\n`);
  if (request.workDirectory !== undefined) writeFactSync(paths.workDirectory, `${request.workDirectory}\n`);
  replaceLink(`${task.sandbox}/fs`, paths.fs);
  writeFactSync(paths.request, JSON.stringify(request));
  writeFactSync(paths.startTime, `${linkStartTime(root, request.launchedAt, task.containerId)}\n`);
  writeFactSync(paths.pending, '');
  syncPathSync(paths.request);
  syncPathSync(paths.directory);
}

function replaceLink(target: string, path: string): void {
  removeSync(path);
  symlinkSync(target, path);
}

/** Symlinks start-time/<t> to the state; a time that is taken moves on by a microsecond. Returns the name used. */
function linkStartTime(root: string, iso: string, id: MesosContainerId): string {
  const seconds = iso.slice(0, 19);
  const fraction = /\.(\d{1,6})/.exec(iso)?.[1] ?? '0';
  for (let micros = Number(fraction.padEnd(6, '0')); micros < 1_000_000; micros++) {
    const name = `${seconds}.${String(micros).padStart(6, '0')}Z`;
    try {
      symlinkSync(`../mesos/${id}`, `${rootPaths(root).startTimes}/${name}`);
      return name;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
  }
  throw new Fault('host', `no free name in ${rootPaths(root).startTimes} for ${iso}`);
}

/** The supervisor's half of the decision: true if the request is now accepted, false if it was withdrawn first. Repeatable. */
export function accept(paths: ContainerPaths): boolean {
  if (!renameIfThere(paths.pending, paths.accepted) && !hasFact(paths.accepted)) return false;
  syncPathSync(paths.directory);
  return true;
}

/** The launch's half: true if nothing will run, false if the supervisor has accepted. Repeatable. */
export function withdraw(paths: ContainerPaths): boolean {
  return renameIfThere(paths.pending, paths.withdrawn) || !hasFact(paths.accepted);
}

/** The request, or undefined where it is absent or torn. Throws Fault `protocol` for another release's version. */
export function readRequest(paths: ContainerPaths): RequestRecord | undefined {
  return parseRequest(readJsonFact(paths.request), paths.request);
}

export function readDockerId(paths: ContainerPaths): DockerId | undefined {
  return dockerId(readFact(paths.dockerId)?.trim() ?? '');
}

/** Notes the Docker id and the symlink that leads back from it. Repeatable. */
export function noteDockerId(
  root: string,
  paths: ContainerPaths,
  id: MesosContainerId,
  docker: DockerId,
): void {
  const link = dockerIdLink(root, docker, id);
  replaceLink(link.target, link.path);
  writeFactSync(paths.dockerId, `${docker}\n`);
}

/** The names below mesos/ that are container ids; `foreign` are the others, left alone. Nothing there: both empty. */
export function listIds(root: string): { ids: MesosContainerId[]; foreign: string[] } {
  const ids: MesosContainerId[] = [];
  const foreign: string[] = [];
  let names: string[];
  try {
    names = readdirSync(rootPaths(root).containers);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return { ids, foreign };
    throw error;
  }
  for (const name of names) {
    const id = mesosContainerId(name);
    if (id !== undefined) ids.push(id);
    else if (!name.startsWith(DYING)) foreign.push(name);
  }
  return { ids, foreign };
}

/** Accepted, and not all of its end is done: a supervisor has to look after it. */
export function needsSupervisor(paths: ContainerPaths): boolean {
  if (hasFact(paths.pending)) return false;
  return hasFact(paths.accepted) && !(hasFact(paths.termination) && hasFact(paths.removed));
}

/** Removes the whole state with its symlinks. The caller has made sure that nobody needs it. Repeatable. */
export function removeState(root: string, id: MesosContainerId): void {
  const paths = containerPaths(root, id);
  const docker = readDockerId(paths);
  const time = readFact(paths.startTime)?.trim();
  if (docker !== undefined) removeLinkTo(dockerIdLink(root, docker, id).path, id);
  if (time !== undefined && /^[0-9TZ:.-]{1,40}$/.test(time))
    removeLinkTo(`${rootPaths(root).startTimes}/${time}`, id);
  // First it stops being a state, at once: one that lacks some of its facts would be taken for one that has to go on.
  const dying = `${rootPaths(root).containers}/${DYING}${id.slice(0, 128)}-${process.pid}-${process.hrtime.bigint()}`;
  if (renameIfThere(paths.directory, dying)) rmSync(dying, { recursive: true, force: true });
}

/** Deletes what an interrupted removal has left. Repeatable. */
export function finishRemovals(root: string): void {
  for (const name of readdirSync(rootPaths(root).containers)) {
    if (name.startsWith(DYING))
      rmSync(`${rootPaths(root).containers}/${name}`, { recursive: true, force: true });
  }
}

function removeLinkTo(path: string, id: MesosContainerId): void {
  try {
    if (readlinkSync(path) === `../mesos/${id}`) removeSync(path);
  } catch (error) {
    // Not there, or not a symlink of ours: left alone.
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'EINVAL') throw error;
  }
}

// The state directory of one container as typed facts, and the listing of all of them. Reading never changes anything;
// what cannot be read as ours is reported to the caller and left alone.

import {
  closeSync,
  constants,
  type Dirent,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { basename } from 'node:path';
import { type DockerId, dockerId, type MesosContainerId, mesosContainerId } from '../container/identity.ts';
import { errnoOf, Fault, refusal } from '../fault.ts';
import {
  makeDirectory,
  readFact,
  readJsonFact,
  removeSync,
  renameIfThere,
  syncPathSync,
  writeFactSync,
} from '../host/facts.ts';
import {
  type ContainerPaths,
  containerPaths,
  dockerIdLink,
  type LockName,
  rootPaths,
  STATES_FROM_LINK,
} from './layout.ts';
import { parseRequest, parseTermination, type RequestRecord, type TerminationRecord } from './records.ts';

/** Begins the name of a state that is being removed: no container id can have it. */
const DYING = '~';

const LOCK_NAMES: readonly LockName[] = ['launch', 'wait', 'destroy'];

/** How far the launch of a container got. `absent`: no such state; `foreign`: of the Deimos of 2014, or nobody's we know. */
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
  if (hasFact(paths.dockerId) && hasFact(paths.mesosContainerId)) return 'foreign';
  return isOfLaunch(paths) ? 'incomplete' : 'foreign';
}

/** Whether a directory has nothing but what a launch writes before its request. */
function isOfLaunch(paths: ContainerPaths): boolean {
  const { directory, launcher, mesosContainerId, executorId, workDirectory, fs, locks, request } = paths;
  const written = [launcher, mesosContainerId, executorId, workDirectory, fs, locks, request];
  const isWritten = (name: string): boolean =>
    written.some(
      (path) => name === basename(path) || (name.startsWith(`${basename(path)}.`) && name.endsWith('.tmp')),
    );
  try {
    return readdirSync(directory).every(isWritten);
  } catch (error) {
    // No directory at all, or one that is being removed.
    if (errnoOf(error) === 'ENOTDIR' || errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/**
 * Makes the empty state of a container. Throws Fault `conflict` if it exists and was accepted: it runs already, or has
 * run. What an interrupted launch left behind is taken over (the caller claims it next, and then looks again with
 * `takeOver`).
 */
export function createState(root: string, id: MesosContainerId): ContainerPaths {
  const paths = containerPaths(root, id);
  let isNew = false;
  try {
    mkdirSync(paths.directory, { mode: 0o700 });
    isNew = true;
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw refusal(`cannot make ${paths.directory}`, error);
    const before = admission(paths);
    if (before === 'accepted' || before === 'foreign') throw launchedAlready(paths, id);
  }
  try {
    makeDirectory(paths.locks);
    for (const name of LOCK_NAMES) {
      closeSync(
        openSync(paths.lock(name), constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600),
      );
    }
  } catch (error) {
    if (isNew) giveUp(paths);
    throw refusal(`cannot write ${paths.locks}`, error);
  }
  return paths;
}

/** A disk that did not take it all may not give back what it took: why it did not counts, and the next launch finds the rest. */
function giveUp({ directory }: ContainerPaths): void {
  try {
    rmSync(directory, { recursive: true, force: true });
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}

/**
 * For whoever has claimed the launch: what an interrupted launch has asked for is withdrawn, since a supervisor may be about
 * to accept it. Throws Fault `conflict` if that was first.
 */
export function takeOver(paths: ContainerPaths, id: MesosContainerId): void {
  if (!withdraw(paths)) throw launchedAlready(paths, id);
}

function launchedAlready(paths: ContainerPaths, id: MesosContainerId): Fault {
  return new Fault('conflict', `container ${id} has been launched already (its state is ${paths.directory})`);
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
  noteStartTime(root, paths, request.launchedAt, task.containerId);
  writeFactSync(paths.pending, '');
  syncPathSync(paths.request);
  syncPathSync(paths.directory);
}

function replaceLink(target: string, path: string): void {
  removeSync(path);
  try {
    symlinkSync(target, path);
  } catch (error) {
    throw refusal(`cannot write ${path}`, error);
  }
}

/**
 * Symlinks start-time/<t> to the state; a time that is taken moves on by a microsecond. Noted before it is made, so that
 * whatever kills us no link is left that nobody knows.
 */
function noteStartTime(root: string, paths: ContainerPaths, iso: string, id: MesosContainerId): void {
  removeStartTime(root, paths, id);
  const seconds = iso.slice(0, 19);
  const fraction = /\.(\d{1,6})/.exec(iso)?.[1] ?? '0';
  for (let micros = Number(fraction.padEnd(6, '0')); micros < 1_000_000; micros++) {
    const name = `${seconds}.${String(micros).padStart(6, '0')}Z`;
    writeFactSync(paths.startTime, `${name}\n`);
    try {
      symlinkSync(`${STATES_FROM_LINK}${id}`, `${rootPaths(root).startTimes}/${name}`);
      return;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw refusal(`cannot write ${rootPaths(root).startTimes}`, error);
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

/** What `wait` answers; undefined where it is absent or torn: then the container is not at its end. */
export function readTermination(paths: ContainerPaths): TerminationRecord | undefined {
  return parseTermination(readJsonFact(paths.termination));
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

/** The directories below mesos/ with the name of a container id; `foreign` are all others, left alone. Nothing there: both empty. */
export function listIds(root: string): { ids: MesosContainerId[]; foreign: string[] } {
  const ids: MesosContainerId[] = [];
  const foreign: string[] = [];
  for (const entry of statesOf(root)) {
    const id = mesosContainerId(entry.name);
    if (id !== undefined && entry.isDirectory()) ids.push(id);
    else if (!entry.name.startsWith(DYING)) foreign.push(entry.name);
  }
  return { ids, foreign };
}

/** All that lies below mesos/. */
function statesOf(root: string): readonly Dirent[] {
  return entriesOf(rootPaths(root).containers);
}

/** Of a directory of the root: nothing where a killed launch has just begun to make that. */
function entriesOf(directory: string): readonly Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** When each container was launched, ISO 8601, as the symlinks of the root say: quicker than a fact of each state. */
export function launchTimes(root: string): ReadonlyMap<string, string> {
  return linkNames(rootPaths(root).startTimes);
}

/** The Docker id of each container that has one, as the symlinks of the root say. */
export function dockerIds(root: string): ReadonlyMap<string, string> {
  return linkNames(rootPaths(root).dockerIds);
}

/** Of a directory of symlinks to states: container id → name of the symlink. */
function linkNames(directory: string): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const { name } of entriesOf(directory)) {
    const to = linkAt(`${directory}/${name}`);
    if (to?.startsWith(STATES_FROM_LINK)) names.set(to.slice(STATES_FROM_LINK.length), name);
  }
  return names;
}

/** undefined for what is no symlink, or not there. */
function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EINVAL') return undefined;
    throw error;
  }
}

/** Accepted, and not all of its end is done: a supervisor has to look after it. */
export function needsSupervisor(paths: ContainerPaths): boolean {
  if (hasFact(paths.pending)) return false;
  return hasFact(paths.accepted) && !(hasFact(paths.removed) && readTermination(paths) !== undefined);
}

/** Removes the whole state with its symlinks. The caller has made sure that nobody needs it. Repeatable. */
export function removeState(root: string, id: MesosContainerId): void {
  const paths = containerPaths(root, id);
  const docker = readDockerId(paths);
  if (docker !== undefined) removeLinkTo(dockerIdLink(root, docker, id).path, id);
  removeStartTime(root, paths, id);
  // First it stops being a state, at once: one that lacks some of its facts would be taken for one that has to go on.
  const dying = `${rootPaths(root).containers}/${DYING}${id.slice(0, 128)}-${process.pid}-${process.hrtime.bigint()}`;
  if (renameIfThere(paths.directory, dying)) rmSync(dying, { recursive: true, force: true });
}

/** Deletes what an interrupted removal has left. Repeatable. */
export function finishRemovals(root: string): void {
  for (const { name } of statesOf(root)) {
    if (name.startsWith(DYING))
      rmSync(`${rootPaths(root).containers}/${name}`, { recursive: true, force: true });
  }
}

function removeStartTime(root: string, paths: ContainerPaths, id: MesosContainerId): void {
  const time = readFact(paths.startTime)?.trim();
  if (time !== undefined && /^[0-9TZ:.-]{1,40}$/.test(time))
    removeLinkTo(`${rootPaths(root).startTimes}/${time}`, id);
}

/** What is not there, or no symlink of ours, is left alone. */
function removeLinkTo(path: string, id: MesosContainerId): void {
  if (linkAt(path) === `${STATES_FROM_LINK}${id}`) removeSync(path);
}

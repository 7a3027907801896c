// `deimos wait`: answers how a container ended. Until it has, nothing of us stays in memory: the process replaces itself
// by flock(1), asleep in the kernel on a lock that the supervisor holds, and is started again when that comes free.

import { closeSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { type MesosContainerId, mesosContainerId } from '../container/identity.ts';
import { errnoOf, Fault, isFault, oneLine } from '../fault.ts';
import { closeInherited } from '../host/descriptors.ts';
import { lowerOomScore } from '../host/oom-score.ts';
import {
  callerOfSession,
  formatIdentity,
  isAlive,
  type ProcessIdentity,
  parseIdentity,
} from '../host/processes.ts';
import { CHILD_ENVIRONMENT, findProgram } from '../host/programs.ts';
import { readRecord, writeRecord } from '../mesos/record.ts';
import { decodeContainerId, encodeTermination } from '../mesos/task-view.ts';
import { type FoundState, findState } from '../state/find.ts';
import { type ContainerPaths, containerPaths, rootPaths } from '../state/layout.ts';
import { formatWaitSeen } from '../state/records.ts';
import { admission, readTermination } from '../state/store.ts';
import type { Call } from './call.ts';
import { noteFact } from './note-fact.ts';

/** A supervisor that is asked to hold the lock answers when it has it: at most as long as its own start takes. */
const HOLD_TIMEOUT_MS = 30_000;

/** Options of a wait that flock(1) starts again; absent when the slave calls. */
export interface WokenOptions {
  readonly root: string;
  readonly container: string;
  /** `pid:startTime` of the slave, or empty. */
  readonly slave: string;
}

/** Exit status 0 with the Termination on stdout. Faults: `not-found`, `protocol`, `host`. */
export async function wait(call: Call): Promise<number> {
  const id = decodeContainerId('wait', await readRecord());
  const state = findState(call.configuredRoot(), id);
  if (state === undefined || admission(state.paths) !== 'accepted') {
    throw new Fault('not-found', `container ${id} is not known here`);
  }
  // By this the slave's life is judged, and whether the end has reached it: a person who calls says nothing about either.
  const isSlave = call.environment.MESOS_WORK_DIRECTORY !== undefined;
  const slave = isSlave ? callerOfSession() : undefined;
  noteFact(call, state.paths.waitSeen, formatWaitSeen(slave, isInSandbox(state.paths)));
  if (deliver(call, state, slave)) return 0;
  return await sleep(call, state, id, slave);
}

/** Started again by flock(1): the lock came free because the container has ended, or because its supervisor died. */
export async function wokenWait(call: Call, options: WokenOptions): Promise<number> {
  const id = mesosContainerId(options.container);
  if (id === undefined) throw new Fault('usage', `not a container id: ${options.container}`);
  const state: FoundState = { root: options.root, paths: containerPaths(options.root, id) };
  closeLocks([state.paths.lock('wait'), rootPaths(state.root).wakeLock]);
  const slave = parseIdentity(options.slave);
  if (deliver(call, state, slave)) return 0;
  const { ask } = await import('../supervisor/client.ts');
  const { pauseMs, rest } = await import('../host/pauses.ts');
  const never = new AbortController().signal;
  for (let n = 0; ; n++) {
    try {
      const start = call.supervisorStart();
      await ask(state.root, { op: 'hold', container: id }, { timeoutMs: HOLD_TIMEOUT_MS, start });
      break;
    } catch (error) {
      if (!isFault(error)) throw error;
      if (admission(state.paths) !== 'accepted') throw error;
      if (n === 0)
        call.log.warning('no supervisor holds the container, trying on', {
          mesosId: id,
          error: oneLine(error),
        });
      await call.flush();
      await rest(pauseMs(n), never);
      // Whoever cannot take the lock may do all else.
      if (deliver(call, state, slave)) return 0;
    }
  }
  if (deliver(call, state, slave)) return 0;
  return await sleep(call, state, id, slave);
}

/** Writes the Termination if there is one. It counts as delivered if the pipe took it and the slave lives to read it. */
function deliver(call: Call, state: FoundState, slave: ProcessIdentity | undefined): boolean {
  const termination = readTermination(state.paths);
  if (termination === undefined) return false;
  writeRecord(1, encodeTermination(termination));
  if (slave !== undefined && isAlive(slave)) noteFact(call, state.paths.delivered, '');
  return true;
}

/** Whether we were called from the container's sandbox. */
function isInSandbox(paths: ContainerPaths): boolean {
  try {
    const [here, sandbox] = ['.', dirname(readlinkSync(paths.fs))].map((path) => statSync(path));
    return here !== undefined && here.ino === sandbox?.ino && here.dev === sandbox.dev;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

/** Becomes flock(1). The second lock lets the sleepers of a dead supervisor wake one at a time. Never returns. */
async function sleep(
  call: Call,
  { root, paths }: FoundState,
  id: MesosContainerId,
  slave: ProcessIdentity | undefined,
): Promise<never> {
  await call.flush();
  const flock = findProgram('flock');
  const again = [
    'wait',
    '--root',
    root,
    '--container',
    id,
    '--slave',
    slave === undefined ? '' : formatIdentity(slave),
  ];
  const config = call.options.config === undefined ? [] : ['--config', call.options.config];
  const inner = ['flock', '--no-fork', '-x', rootPaths(root).wakeLock, call.executable, ...config, ...again];
  const argv = ['flock', '--no-fork', '-s', paths.lock('wait'), ...inner];
  // Of the slave's own descriptors none may live on in the sleeper: its link would not break when the slave dies.
  closeInherited();
  // Its death would cost the task: its slave would give that up for failed, running as it is.
  lowerOomScore();
  if (process.execve === undefined) throw new Fault('host', 'this runtime has no execve');
  // Nor its variables. HOME alone is asked for again: a configuration may lie there.
  const { HOME } = call.environment;
  process.execve(flock, argv, { ...CHILD_ENVIRONMENT, ...(HOME === undefined ? {} : { HOME }) });
  throw new Fault('host', 'execve returned');
}

/** The locks under which we were woken are inherited descriptors: closed first, so that others can have them. */
function closeLocks(paths: readonly string[]): void {
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      if (paths.includes(readlinkSync(`/proc/self/fd/${name}`))) closeSync(Number(name));
    } catch (error) {
      // The descriptor of the listing itself is gone by now.
      if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'EBADF') throw error;
    }
  }
}

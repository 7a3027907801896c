// What the stand-in slave knows of its executors and tasks, the part of it that survives a SIGKILL (its checkpoint), and
// the sandboxes it makes.

import { execFileSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { FrameworkDescription } from './slave-protocol.ts';
import type { RunningVerb } from './slave-verbs.ts';

export interface Task {
  readonly id: string;
  /** TaskInfo. */
  readonly info: Uint8Array;
  /** `queued`: not yet handed to the executor. */
  state: 'queued' | 'running' | 'ended';
  /** uuid → the update as it first came. */
  readonly updates: Map<string, Uint8Array>;
  acknowledged: boolean;
  /** A terminal update of the executor's: come, and acknowledged. */
  terminal: 'none' | 'received' | 'acknowledged';
}

export interface Executor {
  readonly framework: FrameworkDescription;
  readonly id: string;
  readonly containerId: string;
  readonly sandbox: string;
  readonly kind: 'command' | 'executor';
  /** ExecutorInfo with the executor's own resources. */
  readonly info: Uint8Array;
  state: 'registering' | 'registered' | 'reconnecting' | 'terminating' | 'gone';
  upid: string | undefined;
  readonly tasks: Map<string, Task>;
  /** Resolves when the call to launch has ended: to whether it succeeded. */
  launched: Promise<boolean>;
  waiting: RunningVerb | undefined;
  readonly timers: Set<NodeJS.Timeout>;
}

/** An executor and its task as they come from the master. */
export function newExecutor(
  known: Pick<Executor, 'framework' | 'id' | 'containerId' | 'sandbox' | 'kind' | 'info'>,
): Executor {
  return {
    ...known,
    state: 'registering',
    upid: undefined,
    tasks: new Map(),
    launched: Promise.resolve(true),
    waiting: undefined,
    timers: new Set(),
  };
}

export function newTask(id: string, info: Uint8Array): Task {
  return { id, info, state: 'queued', updates: new Map(), acknowledged: false, terminal: 'none' };
}

interface SavedTask extends Pick<Task, 'id' | 'state' | 'acknowledged' | 'terminal'> {
  readonly info: string;
  readonly updates: readonly (readonly [uuid: string, update: string])[];
}

interface SavedExecutor extends Pick<Executor, 'framework' | 'id' | 'containerId' | 'sandbox' | 'kind'> {
  readonly info: string;
  readonly upid?: string;
  readonly tasks: readonly SavedTask[];
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bytes = (text: string) => Buffer.from(text, 'hex');
const fileIn = (workDirectory: string) => join(workDirectory, 'meta.json');

/** Saves those whose framework asks for it. */
export function saveCheckpoint(workDirectory: string, executors: Iterable<Executor>): void {
  const kept = [...executors].filter((executor) => executor.framework.checkpoint);
  const saved = kept.map(
    ({ framework, id, containerId, sandbox, kind, info, upid, tasks }): SavedExecutor => ({
      ...{ framework, id, containerId, sandbox, kind, info: hex(info) },
      ...(upid === undefined ? {} : { upid }),
      tasks: [...tasks.values()].map((task) => ({
        ...task,
        info: hex(task.info),
        updates: [...task.updates].map(([uuid, update]) => [uuid, hex(update)] as const),
      })),
    }),
  );
  const file = fileIn(workDirectory);
  writeFileSync(`${file}.new`, JSON.stringify(saved));
  renameSync(`${file}.new`, file);
}

/** The executors of the slave's former life, none of them reconnected yet. */
export function readCheckpoint(workDirectory: string): Executor[] {
  const file = fileIn(workDirectory);
  if (!existsSync(file)) return [];
  // Written by saveCheckpoint alone.
  const saved = JSON.parse(readFileSync(file, 'utf8')) as SavedExecutor[];
  return saved.map((one) => ({
    ...newExecutor({ ...one, info: bytes(one.info) }),
    state: 'reconnecting',
    upid: one.upid,
    tasks: new Map(
      one.tasks.map((task) => {
        const updates = new Map(task.updates.map(([uuid, update]) => [uuid, bytes(update)]));
        // A slave that recovers cannot tell whether it had sent RunTask: it takes the task for launched.
        const state = task.state === 'queued' ? 'running' : task.state;
        return [task.id, { ...task, state, info: bytes(task.info), updates }];
      }),
    ),
  }));
}

/** Makes the sandbox, its `latest` link and its stderr; sandbox and stderr are the user's. */
export function makeSandbox(sandbox: string, user: string): void {
  mkdirSync(sandbox, { recursive: true });
  const latest = join(sandbox, '..', 'latest');
  rmSync(latest, { force: true });
  symlinkSync(sandbox, latest);
  writeFileSync(join(sandbox, 'stderr'), '');
  if (user === 'root') return;
  const ids = ['-u', '-g'].map((what) => Number(execFileSync('/usr/bin/id', [what, user]).toString()));
  const [uid = 0, gid = 0] = ids;
  for (const path of [sandbox, join(sandbox, 'stderr')]) chownSync(path, uid, gid);
}

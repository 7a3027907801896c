// How a verb reaches the supervisor of a state root, and starts it where none lives. Whoever starts it does not matter:
// the lock in supervise.ts decides which of several stays.

import { spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { createConnection } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { errnoOf, Fault } from '../fault.ts';
import { closeInherited } from '../host/descriptors.ts';
import { CHILD_ENVIRONMENT, findProgram } from '../host/programs.ts';
import { rootPaths } from '../state/layout.ts';
import { LINE_BYTES_MAX, parseReplyLine, type Reply, type Request } from './protocol.ts';

/** A supervisor that was just started needs some 60 ms to bind its socket; looked for with these pauses. */
const START_PAUSE_MS = 10;
const START_PAUSE_MS_MAX = 200;
/** One that does not appear is started again this often: the first may have died. */
const START_AGAIN_MS = 2_000;

export interface AskOptions {
  /** Bound on the whole call, starting included. */
  readonly timeoutMs: number;
  /** How to start a supervisor where none answers; absent: do not. */
  readonly start?: SupervisorStart;
}

/** What a supervisor is told by its starter, since it reads no configuration. */
export interface SupervisorStart {
  /** Our own executable. */
  readonly executable: string;
  /** Options after `supervise --root R`: log settings. */
  readonly options: readonly string[];
}

/**
 * Asks the supervisor of `root`. Throws Fault `not-found` if none lives and none is to be started, `timeout` if the
 * answer did not come in time, `refused` with the supervisor's own words.
 */
export async function ask(root: string, request: Request, options: AskOptions): Promise<void> {
  const deadline = Date.now() + options.timeoutMs;
  let wait = START_PAUSE_MS;
  let started = -Infinity;
  for (;;) {
    const left = deadline - Date.now();
    if (left <= 0)
      throw new Fault('timeout', `the supervisor did not answer within ${options.timeoutMs / 1000} s`);
    const reply = await exchange(root, request, left);
    if (reply !== undefined) {
      if (reply.ok) return;
      throw new Fault('refused', reply.detail);
    }
    if (options.start === undefined) throw new Fault('not-found', `no supervisor is running for ${root}`);
    if (Date.now() - started > START_AGAIN_MS) {
      await startSupervisor(root, options.start);
      started = Date.now();
      wait = START_PAUSE_MS;
    }
    await pause(Math.min(wait, Math.max(deadline - Date.now(), 1)));
    wait = Math.min(wait * 2, START_PAUSE_MS_MAX);
  }
}

/** One question; undefined if nobody listens, or whoever listened died before it answered. */
function exchange(root: string, request: Request, timeoutMs: number): Promise<Reply | undefined> {
  // A socket's path may have 107 bytes, a state root any length: reach it through the open directory.
  let directory: number;
  try {
    directory = openSync(rootPaths(root).supervisor, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return Promise.resolve(undefined);
    throw error;
  }
  return new Promise<Reply | undefined>((resolve, reject) => {
    const socket = createConnection(`/proc/self/fd/${directory}/socket`);
    let text = '';
    socket.setEncoding('utf8');
    socket.setTimeout(timeoutMs, () => {
      socket.destroy();
      reject(new Fault('timeout', `the supervisor did not answer within ${Math.round(timeoutMs / 1000)} s`));
    });
    socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`));
    socket.on('data', (piece: string) => {
      text += piece;
      const end = text.indexOf('\n');
      if (end < 0 && text.length <= LINE_BYTES_MAX) return;
      socket.destroy();
      const reply = parseReplyLine(text.slice(0, end));
      if (reply === undefined)
        reject(new Fault('protocol', 'the supervisor answered with something else than a reply'));
      else resolve(reply);
    });
    socket.on('close', () => resolve(undefined));
    socket.on('error', (error) => {
      const code = errnoOf(error);
      if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ECONNRESET' || code === 'EPIPE')
        resolve(undefined);
      else reject(new Fault('host', `the supervisor's socket: ${error.message}`, error));
    });
  }).finally(() => closeSync(directory));
}

/**
 * Starts a supervisor that is nobody's child: `setsid --fork` gives it a session of its own and init as its parent, since
 * the slave kills the process tree of a `wait`, and its session. It inherits no descriptor and no environment.
 */
async function startSupervisor(root: string, start: SupervisorStart): Promise<void> {
  closeInherited();
  const child = spawn(
    findProgram('setsid'),
    ['--fork', start.executable, 'supervise', '--root', root, ...start.options],
    { cwd: '/', stdio: 'ignore', env: CHILD_ENVIRONMENT },
  );
  await new Promise<void>((resolve, reject) => {
    child.once('error', (error) =>
      reject(new Fault('host', `cannot start the supervisor: ${error.message}`, error)),
    );
    child.once('exit', (code) => {
      if (code === 0) resolve();
      else reject(new Fault('host', `cannot start the supervisor: setsid ended with status ${code}`));
    });
  });
}

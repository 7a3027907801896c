// How a verb reaches the supervisor of a state root, and starts it where none lives. Whoever starts it does not matter: one
// caller at a time may, the others wait for what comes of it; the lock in supervise.ts decides should there be several.

import { closeSync, constants, openSync } from 'node:fs';
import { createConnection } from 'node:net';
import { errnoOf, Fault } from '../fault.ts';
import { pause } from '../host/clock.ts';
import { rootPaths } from '../state/layout.ts';
import { REQUEST_VERSION } from '../state/records.ts';
import { checkRecords } from '../state/root.ts';
import { LINE_BYTES_MAX, parseReplyLine, type Reply, type Request, requestLine } from './protocol.ts';
import type { Starter, SupervisorStart } from './starter.ts';

/** A supervisor that was just started needs some 60 ms to bind its socket; looked for with these pauses. */
const START_PAUSE_MS = 10;
const START_PAUSE_MS_MAX = 200;

export interface AskOptions {
  /** Bound on the whole call, starting included. */
  readonly timeoutMs: number;
  /** How to start a supervisor where none answers. */
  readonly start: SupervisorStart;
}

/**
 * Asks the supervisor of `root`, one of our own build if one has to be started. Throws Fault `timeout` if the answer did
 * not come in time, with what one that could not start has said of it, `refused` with the supervisor's own words,
 * `protocol` if a later release has been here.
 */
export async function ask(root: string, request: Request, options: AskOptions): Promise<void> {
  const deadline = Date.now() + options.timeoutMs;
  const line = requestLine(request, { version: options.start.version, records: REQUEST_VERSION });
  using started = new DisposableStack();
  let starter: Starter | undefined;
  let wait = START_PAUSE_MS;
  for (;;) {
    const left = deadline - Date.now();
    if (left <= 0) throw noAnswer(options.timeoutMs, starter?.said());
    const reply = await exchange(root, line, left);
    if (reply !== undefined) {
      if (reply.ok) return;
      throw new Fault('refused', reply.detail);
    }
    checkRecords(root);
    starter ??= started.use(new (await import('./starter.ts')).Starter(root, options.start));
    if (await starter.start()) wait = START_PAUSE_MS;
    await pause(Math.min(wait, Math.max(deadline - Date.now(), 1)));
    wait = Math.min(wait * 2, START_PAUSE_MS_MAX);
  }
}

function noAnswer(timeoutMs: number, said?: string): Fault {
  const why = said === undefined ? '' : `: ${said}`;
  return new Fault('timeout', `the supervisor did not answer within ${Math.round(timeoutMs / 1000)} s${why}`);
}

/** One question; undefined if nobody listens, or whoever listened died before it answered. */
function exchange(root: string, line: string, timeoutMs: number): Promise<Reply | undefined> {
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
      reject(noAnswer(timeoutMs));
    });
    socket.on('connect', () => socket.write(line));
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

// One question to the supervisor over its Unix socket, which can be waited on for as long as the answer takes.

import { closeSync, constants, openSync } from 'node:fs';
import { createConnection } from 'node:net';
import { errnoOf, Fault } from '../fault.ts';
import { rootPaths } from '../state/layout.ts';
import type { Build } from './builds.ts';
import {
  LINE_BYTES_MAX,
  noAnswer,
  parseReplyLine,
  type Reply,
  type Request,
  requestLine,
} from './protocol.ts';

/**
 * The answer of the supervisor of `root`; undefined if nobody listens, or whoever listened died before it answered. Fault
 * `timeout`, `protocol`, and `host` where the system refuses.
 */
export function askBySocket(
  root: string,
  request: Request,
  by: Build,
  timeoutMs: number,
): Promise<Reply | undefined> {
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
    socket.on('connect', () => socket.write(requestLine(request, by)));
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

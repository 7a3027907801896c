// The supervisor's socket: takes one JSON line a connection and answers with one. Beside it a FIFO takes lines from callers
// that have made a file for their answer. Only the holder of the supervisor's lock comes here, so a socket or FIFO that is there
// already is a dead one's.

import { chmodSync, closeSync, constants, openSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { errnoOf, Fault, isFault, oneLine } from '../fault.ts';
import { isSameFile, putAside, removeSync } from '../host/facts.ts';
import type { Log } from '../host/log.ts';
import { rootPaths } from '../state/layout.ts';
import {
  type Answer,
  type Asked,
  LINE_BYTES_MAX,
  parseRequestLine,
  type Reply,
  type Request,
  replyLine,
} from './protocol.ts';
import { type RequestFifo, serveFifo } from './request-fifo.ts';

/** Callers at once: two hundred containers with a few calls each. More wait in the listen queue's place. */
const CONNECTIONS_MAX = 1024;
/** A caller sends its line as soon as it is connected. */
const LINE_TIMEOUT_MS = 10_000;

export interface RequestServer {
  close(): void;
}

export interface RequestHandlers {
  /** Throws a Fault to refuse in words. */
  readonly answer: (request: Request) => Promise<void>;
  /** false: it is left to the next supervisor, which the caller will find, or start. */
  readonly isOurs: (asked: Asked) => boolean;
}

/** Binds the socket of `root`, and makes the FIFO beside it; both 0600. */
export async function serveRequests(
  root: string,
  handlers: RequestHandlers,
  log: Log,
): Promise<RequestServer> {
  const paths = rootPaths(root);
  putAside(paths.socket, (there) => there.isSocket());
  removeSync(paths.socket);
  const answer: Answer = (asked) => answerTo(asked, handlers, log);
  const directory = openSync(paths.supervisor, constants.O_RDONLY | constants.O_DIRECTORY);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    takeLine(socket, answer);
  });
  server.maxConnections = CONNECTIONS_MAX;
  let fifo: RequestFifo | undefined;
  try {
    fifo = await serveFifo(root, answer, log);
    await listen(server, `/proc/self/fd/${directory}/socket`);
    chmodSync(paths.socket, 0o600);
  } catch (error) {
    if (fifo !== undefined) removeSync(paths.requests);
    fifo?.close();
    closeSync(directory);
    throw error;
  }
  return {
    close: () => {
      // Where the root was replaced, the names are another supervisor's by now.
      const isInPlace = isSameFile(directory, paths.supervisor);
      // The runtime unlinks the name that it bound, so the directory stays open until that is done.
      server.close(() => closeSync(directory));
      const names = fifo === undefined ? [paths.socket] : [paths.socket, paths.requests];
      if (isInPlace) for (const name of names) removeSync(name);
      fifo?.close();
      // Whoever waits for an answer asks the next supervisor.
      for (const socket of sockets) socket.destroy();
    },
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new Fault('host', `cannot bind the supervisor's socket: ${error.message}`, error)),
    );
    // It is bound within the call, and is nobody else's from its first moment.
    const before = process.umask(0o177);
    try {
      server.listen({ path, backlog: 511 }, () => resolve());
    } finally {
      process.umask(before);
    }
  });
}

function takeLine(socket: Socket, answer: Answer): void {
  let text = '';
  socket.setEncoding('utf8');
  socket.setTimeout(LINE_TIMEOUT_MS, () => socket.destroy());
  socket.on('error', () => {
    // The caller went away, killed by its slave perhaps: what it asked for goes on.
  });
  socket.on('data', (piece: string) => {
    text += piece;
    const end = text.indexOf('\n');
    if (end < 0) {
      if (text.length > LINE_BYTES_MAX) socket.destroy();
      return;
    }
    socket.removeAllListeners('data');
    socket.setTimeout(0);
    void answer(parseRequestLine(text.slice(0, end))).then((reply) => {
      if (reply === undefined) socket.destroy();
      else socket.end(replyLine(reply));
    });
  });
}

async function answerTo(
  asked: Asked | undefined,
  { answer, isOurs }: RequestHandlers,
  log: Log,
): Promise<Reply | undefined> {
  if (asked === undefined) return { ok: false, detail: 'the supervisor does not know this request' };
  if (!isOurs(asked)) return undefined;
  try {
    await answer(asked.request);
    return { ok: true };
  } catch (error) {
    if (!isFault(error) && errnoOf(error) === undefined)
      log.error('a request failed by a bug', { op: asked.request.op, error: oneLine(error) });
    return { ok: false, detail: oneLine(error) };
  }
}

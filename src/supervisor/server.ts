// The supervisor's socket: takes one JSON line a connection and answers with one. Only the holder of the supervisor's
// lock comes here, so a socket file that is there already is a dead one's.

import { chmodSync, closeSync, constants, openSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { errnoOf, Fault, isFault, oneLine } from '../fault.ts';
import { putAside, removeSync } from '../host/facts.ts';
import type { Log } from '../host/log.ts';
import { rootPaths } from '../state/layout.ts';
import { type Asked, LINE_BYTES_MAX, parseRequestLine, type Reply, type Request } from './protocol.ts';

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

/** Binds the socket of `root`, 0600. */
export async function serveRequests(
  root: string,
  handlers: RequestHandlers,
  log: Log,
): Promise<RequestServer> {
  const paths = rootPaths(root);
  putAside(paths.socket, (there) => there.isSocket());
  removeSync(paths.socket);
  const directory = openSync(paths.supervisor, constants.O_RDONLY | constants.O_DIRECTORY);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    takeLine(socket, handlers, log);
  });
  server.maxConnections = CONNECTIONS_MAX;
  try {
    await listen(server, `/proc/self/fd/${directory}/socket`);
    chmodSync(paths.socket, 0o600);
  } catch (error) {
    closeSync(directory);
    throw error;
  }
  return {
    close: () => {
      // The runtime unlinks the name that it bound, so the directory stays open until that is done.
      server.close(() => closeSync(directory));
      removeSync(paths.socket);
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
    server.listen({ path, backlog: 511 }, () => resolve());
  });
}

function takeLine(socket: Socket, { answer, isOurs }: RequestHandlers, log: Log): void {
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
    const asked = parseRequestLine(text.slice(0, end));
    if (asked !== undefined && !isOurs(asked)) return void socket.destroy();
    const reply =
      asked === undefined
        ? Promise.resolve<Reply>({ ok: false, detail: 'the supervisor does not know this request' })
        : replyTo(asked.request, answer, log);
    void reply.then((value) => socket.end(`${JSON.stringify(value)}\n`));
  });
}

async function replyTo(
  request: Request,
  answer: (request: Request) => Promise<void>,
  log: Log,
): Promise<Reply> {
  try {
    await answer(request);
    return { ok: true };
  } catch (error) {
    if (!isFault(error) && errnoOf(error) === undefined)
      log.error('a request failed by a bug', { op: request.op, error: oneLine(error) });
    return { ok: false, detail: oneLine(error) };
  }
}

// Where slaves reach our executors: one TCP port on the loopback for all of them, each under a name of its own.
// Only transport: whose message it is, not what it means. Messages of one connection are delivered in their order,
// and a connection stays open until the slave closes it, however long it is silent: what a slave writes into a
// connection that we closed is lost and never repeated.
// A name is as good as a password: for names that nobody registered nothing is kept and nothing happens.

import { createServer, type Server, type Socket } from 'node:net';
import { errnoOf, Fault, isFault } from '../fault.ts';
import { type HttpHead, HttpStream } from './http-stream.ts';
import { parseUpid, type Upid } from './upid.ts';

export interface SlaveMessage {
  /** What follows `mesos.internal.`: `RunTaskMessage`. */
  readonly message: string;
  readonly body: Buffer;
  /** The slave's address; it may have moved since it was last heard. */
  readonly sender?: Upid;
}

/** Called in the order of arrival. What it throws is a bug and ends the process. */
export type SlaveMessageHandler = (message: SlaveMessage) => void;

const LOOPBACK = '127.0.0.1';
/** Slaves hold one connection each. More means that somebody plays: the oldest that never knew a name goes first. */
export const MAX_CONNECTIONS = 1024;
/** Slaves do not look at our answers; to one who does not even read them no more are written. */
const MAX_UNREAD_ANSWER_BYTES = 64 * 1024;

// Libprocess of 0.19 speaks HTTP/1.0 and announces that it keeps the connection; the answer says the same, and a length.
const ACCEPTED = 'HTTP/1.1 202 Accepted\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n';
const NOT_FOUND = 'HTTP/1.1 404 Not Found\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n';

const REQUEST = /^([A-Z]+) (\S+) HTTP\/1\.[01]$/;
const TARGET = /^\/([^/?#]+)\/mesos\.internal\.([A-Za-z]+)$/;

interface Connection {
  /** It has addressed a name that was registered then. */
  known: boolean;
}

interface Addressee {
  readonly name: string;
  readonly message: string;
}

export class ExecutorPort {
  readonly #handlers = new Map<string, SlaveMessageHandler>();
  /** In the order in which they were opened. */
  readonly #connections = new Map<Socket, Connection>();
  #server: Server | undefined;

  /** The port listened on. Fault 'host' while there is none. */
  get port(): number {
    const address = this.#server?.address();
    if (typeof address !== 'object' || address === null)
      throw new Fault('host', 'the executor port is not open');
    return address.port;
  }

  /** Listens on 127.0.0.1; port 0: any free one. Fault 'conflict' if somebody else has the port or this object listens already. */
  async listen(port: number): Promise<void> {
    if (this.#server !== undefined) throw new Fault('conflict', 'the executor port is open already');
    const server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    this.#server = server;
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ host: LOOPBACK, port, exclusive: true }, resolve);
      });
    } catch (error) {
      this.#server = undefined;
      const code = errnoOf(error);
      if (code === 'EADDRINUSE') throw new Fault('conflict', `executor port ${port} is taken`, error);
      throw new Fault('host', `cannot listen on ${LOOPBACK}:${port}: ${code ?? 'unknown error'}`, error);
    }
    server.removeAllListeners('error');
    // Out of descriptors, for one: accepting is tried again with the next connection.
    server.on('error', () => {});
  }

  /** Messages to `name` go to `handler` from now on; a second call replaces the first's handler. */
  register(name: string, handler: SlaveMessageHandler): void {
    this.#handlers.set(name, handler);
  }

  /** Messages to `name` are answered with 404 from now on, those already read included. Twice is no error. */
  unregister(name: string): void {
    this.#handlers.delete(name);
  }

  /** Closes port and connections, delivers nothing more. Twice is no error. */
  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of this.#connections.keys()) socket.destroy();
    });
  }

  #accept(socket: Socket): void {
    if (this.#connections.size >= MAX_CONNECTIONS && !this.#dropOldestStranger()) {
      socket.destroy();
      return;
    }
    const connection: Connection = { known: false };
    this.#connections.set(socket, connection);
    let addressee: Addressee | undefined;
    const stream = new HttpStream({
      head: (head) => {
        addressee = this.#addressee(head);
        connection.known ||= addressee !== undefined;
        return addressee === undefined ? 'discard' : 'keep';
      },
      message: (head, body) => {
        const taken = addressee !== undefined && this.#deliver(addressee, head, body);
        answer(socket, taken ? ACCEPTED : NOT_FOUND);
      },
    });
    socket.on('data', (chunk) => {
      try {
        stream.push(chunk);
      } catch (error) {
        if (!isFault(error, 'protocol')) throw error;
        socket.destroy();
      }
    });
    // A broken connection is followed by 'close', and means nothing: the slave opens another when it has something to say.
    socket.on('error', () => {});
    socket.on('close', () => {
      stream.stop();
      this.#connections.delete(socket);
    });
  }

  #dropOldestStranger(): boolean {
    for (const [socket, { known }] of this.#connections) {
      if (known) continue;
      this.#connections.delete(socket);
      socket.destroy();
      return true;
    }
    return false;
  }

  #deliver({ name, message }: Addressee, head: HttpHead, body: Buffer): boolean {
    const handler = this.#server && this.#handlers.get(name);
    if (handler === undefined) return false;
    const sender = senderOf(head);
    handler({ message, body, ...(sender && { sender }) });
    return true;
  }

  #addressee(head: HttpHead): Addressee | undefined {
    const [, method, target] = REQUEST.exec(head.startLine) ?? [];
    if (method === undefined || target === undefined) throw new Fault('protocol', 'not an HTTP/1 request');
    const [, name, message] = TARGET.exec(target) ?? [];
    if (method !== 'POST' || name === undefined || message === undefined) return undefined;
    return this.#handlers.has(name) ? { name, message } : undefined;
  }
}

function answer(socket: Socket, text: string): void {
  if (!socket.writable || socket.writableLength > MAX_UNREAD_ANSWER_BYTES) return;
  socket.write(text, 'latin1');
}

/** Slaves up to 0.20 name themselves in User-Agent alone. */
function senderOf({ headers }: HttpHead): Upid | undefined {
  const from = headers.get('libprocess-from');
  if (from !== undefined) return parseUpid(from);
  const agent = headers.get('user-agent') ?? '';
  return agent.startsWith('libprocess/') ? parseUpid(agent.slice('libprocess/'.length)) : undefined;
}

// Where slaves reach our executors: one TCP port on the loopback for all of them, each under a name of its own, plain or
// TLS as a connection's first byte says. Only transport: whose message it is, not what it means. Messages of one
// connection are delivered in their order, and it stays open until the slave closes it, however long it is silent: what a
// slave writes into a connection that we closed is lost and never repeated.
// A name is as good as a password: for names that nobody registered nothing is kept and nothing happens, and the name of
// a slave with SSL is none on a connection that is not as that slave wants it. Nor is any name on a connection of a user
// of this host who cannot be a slave (strangers.ts).

import type { Server, Socket } from 'node:net';
import { Fault, isFault } from '../fault.ts';
import { type HttpHead, HttpStream } from './http-stream.ts';
import { isOfThisHost, openServer } from './local-server.ts';
import { acceptSecure, HANDSHAKE_BYTE, NO_TLS_HERE, type SecureConnection } from './secure-accept.ts';
import type { SlaveSsl } from './slave-ssl.ts';
import { isRootOrUs, type MayBeSlave } from './slave-users.ts';
import { STRANGERS_MAX, Strangers } from './strangers.ts';
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
/** For a TLS handshake, once it is known that it is no stranger's. */
const ACCEPTED_HANDSHAKE_MS = 10_000;
/** Slaves hold one connection each. More means that root plays, since strangers are fewer: the oldest that never knew a name goes first. */
export const MAX_CONNECTIONS = 1024;
/** Anybody on the host can be refused in as many ways as there are. */
const REFUSALS_TOLD_MAX = 32;
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
  /** undefined: plain. */
  secure: SecureConnection | undefined;
}

export interface RegistrationTerms {
  /** What its slave wants now; asked at each connection and message. Unless told: plain. */
  readonly ssl: () => SlaveSsl | undefined;
  /** At which of our addresses its slave finds us; unless told, the loopback. */
  readonly ip: string;
  /** Asked about users other than root and ours, who all may be. */
  readonly mayBeSlave: MayBeSlave;
}

interface Registration extends RegistrationTerms {
  readonly handler: SlaveMessageHandler;
}

export interface ExecutorPortOptions {
  /** Told why a connection or message was refused that may have been a slave's; each reason once. */
  readonly onRefused?: (why: string) => void;
  readonly handshakeMs?: number;
  /** So many connections of which nothing is known yet; STRANGERS_MAX unless told. */
  readonly strangersMax?: number;
}

interface Addressee {
  readonly name: string;
  readonly message: string;
}

export class ExecutorPort {
  /** In the order in which they were registered. */
  readonly #names = new Map<string, Registration>();
  /** In the order in which they were opened. */
  readonly #connections = new Map<Socket, Connection>();
  readonly #options: ExecutorPortOptions;
  #server: Server | undefined;
  /** By address; on the same port. */
  readonly #others = new Map<string, Promise<Server>>();
  /** Those that have been told. */
  readonly #refusals = new Set<string>();
  readonly #strangers: Strangers;

  constructor(options: ExecutorPortOptions = {}) {
    this.#options = options;
    this.#strangers = new Strangers({
      max: options.strangersMax ?? STRANGERS_MAX,
      port: () => this.port,
      mayBeSlave: (uid) =>
        isRootOrUs(uid) || [...this.#names.values()].some(({ mayBeSlave }) => mayBeSlave(uid)),
      onForeign: (uid) => this.#refused(`connections of user ${uid}, who cannot be a slave`),
    });
  }

  get isOpen(): boolean {
    return this.#server !== undefined;
  }

  /** The port listened on. Fault 'host' while there is none. */
  get port(): number {
    const address = this.#server?.address();
    if (typeof address !== 'object' || address === null)
      throw new Fault('host', 'the executor port is not open');
    return address.port;
  }

  /** Connections of which nothing is known yet: each has a file open, and can be closed without harm. */
  get strangers(): number {
    return this.#strangers.count;
  }

  /** Listens on 127.0.0.1; port 0: any free one. Fault 'conflict' if somebody else has the port or this object listens already. */
  async listen(port: number): Promise<void> {
    if (this.#server !== undefined) throw new Fault('conflict', 'the executor port is open already');
    this.#server = await openServer(LOOPBACK, port, (socket) => this.#accept(socket));
  }

  /**
   * Listens at another address of this host as well, on the same port, but to nobody from outside. For slaves that hold
   * our certificate against the name of the address at which they find us. Repeatable. Faults as `listen`.
   */
  async listenAlsoAt(ip: string): Promise<void> {
    if (ip === LOOPBACK) return;
    const opening =
      this.#others.get(ip) ??
      openServer(ip, this.port, (socket) => {
        if (isOfThisHost(socket)) this.#accept(socket);
        else socket.destroy();
      });
    this.#others.set(ip, opening);
    try {
      await opening;
    } catch (error) {
      if (this.#others.get(ip) === opening) this.#others.delete(ip);
      throw error;
    }
  }

  /**
   * Messages to `name` go to `handler` from now on; a second call replaces the first's handler. To whoever begins with TLS
   * the certificate is shown of the slave that registered last for the address `ip` that was dialled, or of the last at all
   * where none of that address has one.
   */
  register(name: string, handler: SlaveMessageHandler, terms: Partial<RegistrationTerms> = {}): void {
    this.#names.delete(name);
    const usual = { ssl: () => undefined, ip: LOOPBACK, mayBeSlave: () => false };
    this.#names.set(name, { ...usual, ...terms, handler });
  }

  /** Messages to `name` are answered with 404 from now on, those already read included. Twice is no error. */
  unregister(name: string): void {
    this.#names.delete(name);
  }

  /** Closes port and connections, delivers nothing more. Twice is no error. */
  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    this.#strangers.close();
    const others = await Promise.allSettled(this.#others.values());
    this.#others.clear();
    const servers = [server, ...others.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))];
    const closing = servers.map((one) => new Promise<void>((resolve) => one.close(() => resolve())));
    for (const socket of this.#connections.keys()) socket.destroy();
    await Promise.all(closing);
  }

  #accept(socket: Socket): void {
    if (this.#connections.size >= MAX_CONNECTIONS && !this.#dropOldestStranger()) {
      socket.destroy();
      return;
    }
    const connection: Connection = { known: false, secure: undefined };
    this.#connections.set(socket, connection);
    this.#strangers.admit(socket);
    // A broken connection is followed by 'close', and means nothing: the slave opens another when it has something to say.
    socket.on('error', () => {});
    socket.on('close', () => this.#connections.delete(socket));
    socket.once('data', (first: Buffer) => {
      if (first[0] !== HANDSHAKE_BYTE) {
        this.#read(socket, socket, connection)(first);
        return;
      }
      socket.pause();
      socket.unshift(first);
      void this.#shakeHands(socket, connection);
    });
  }

  async #shakeHands(raw: Socket, connection: Connection): Promise<void> {
    // What TLS costs is not spent on others.
    await this.#strangers.looked(raw);
    if (raw.destroyed) return;
    const timer = setTimeout(() => raw.destroy(), this.#options.handshakeMs ?? ACCEPTED_HANDSHAKE_MS);
    await this.#shakeHandsInTime(raw, connection).finally(() => clearTimeout(timer));
  }

  async #shakeHandsInTime(raw: Socket, connection: Connection): Promise<void> {
    const registrations = [...this.#names.values()].map(({ ssl, ip }) => ({ ssl: ssl(), ip }));
    const settings = registrations.flatMap(({ ssl }) => ssl ?? []);
    const there = registrations.flatMap(({ ssl, ip }) => (ip === raw.localAddress ? (ssl ?? []) : []));
    const own = there.at(-1) ?? settings.at(-1);
    if (own === undefined) {
      raw.end(NO_TLS_HERE, () => raw.destroy());
      return;
    }
    try {
      const requiring = settings.filter(({ require }) => require);
      const secure = await acceptSecure(raw, own, requiring);
      secure.socket.on('error', () => {});
      connection.secure = secure;
      this.#read(secure.socket, raw, connection);
    } catch (error) {
      if (!isFault(error, 'refused')) throw error;
      raw.destroy();
      this.#refused(error.message);
    }
  }

  #refused(why: string): void {
    if (this.#server === undefined || this.#refusals.has(why)) return;
    if (this.#refusals.size >= REFUSALS_TOLD_MAX) return;
    this.#refusals.add(why);
    this.#options.onRefused?.(why);
  }

  /** Delivers what comes on `socket`; gives what takes a chunk that came before. */
  #read(socket: Socket, raw: Socket, connection: Connection): (chunk: Buffer) => void {
    let addressee: Addressee | undefined;
    const stream = new HttpStream({
      head: (head) => {
        addressee = this.#addressee(head, connection);
        if (addressee !== undefined && !connection.known) this.#know(raw, connection);
        return addressee === undefined ? 'discard' : 'keep';
      },
      message: (head, body) => {
        const taken = addressee !== undefined && this.#deliver(addressee, head, body);
        answer(socket, taken ? ACCEPTED : NOT_FOUND);
      },
    });
    const take = (chunk: Buffer): void => {
      try {
        stream.push(chunk);
      } catch (error) {
        if (!isFault(error, 'protocol')) throw error;
        socket.destroy();
      }
    };
    socket.on('data', take);
    socket.on('close', () => stream.stop());
    return take;
  }

  /** A name was learned from somewhere: it counts for nothing with a user who cannot be a slave. */
  #know(raw: Socket, connection: Connection): void {
    if (this.#strangers.isForeign(raw)) throw new Fault('protocol', 'not from a slave');
    this.#strangers.accept(raw);
    connection.known = true;
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
    const registration = this.#server && this.#names.get(name);
    if (registration === undefined) return false;
    const sender = senderOf(head);
    registration.handler({ message, body, ...(sender && { sender }) });
    return true;
  }

  #addressee(head: HttpHead, { secure }: Connection): Addressee | undefined {
    const [, method, target] = REQUEST.exec(head.startLine) ?? [];
    if (method === undefined || target === undefined) throw new Fault('protocol', 'not an HTTP/1 request');
    const [, name, message] = TARGET.exec(target) ?? [];
    if (method !== 'POST' || name === undefined || message === undefined) return undefined;
    const registration = this.#names.get(name);
    if (registration === undefined) return undefined;
    const ssl = registration.ssl();
    if (ssl !== undefined && secure === undefined && !ssl.downgrade) {
      this.#refused(
        `a plain connection, of a slave with ${ssl.prefix}SSL_ENABLED and without SSL_SUPPORT_DOWNGRADE`,
      );
      return undefined;
    }
    if (ssl !== undefined && secure !== undefined && !secure.mayBe(ssl)) {
      this.#refused(
        `a TLS connection without the certificate that ${ssl.prefix}SSL_REQUIRE_CERT of the slave demands`,
      );
      return undefined;
    }
    return { name, message };
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

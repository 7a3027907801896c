// Our way to one slave: a silent connection that tells us when the slave dies, and one for messages to it.
// They are two because a slave may close a connection for other reasons than death (it refuses a message, it does not
// keep connections): taken for death that would stop containers. One SlaveLink serves all executors of a slave.
// Only transport. Nothing is ever sent twice: a second Register is answered with Shutdown, so the caller decides.

import type { Socket } from 'node:net';
import { Fault } from '../fault.ts';
import { unlessAborted } from '../host/pauses.ts';
import { dial } from './dial.ts';
import { HttpStream } from './http-stream.ts';
import type { SlaveSsl } from './slave-ssl.ts';
import type { MayBeSlave } from './slave-users.ts';
import { formatUpid, type Upid } from './upid.ts';

/** For connecting, and for a message from the call of `post` until its answer. */
export const SLAVE_ANSWER_MS = 30_000;
/** Messages that wait for their turn: more than a host has tasks. */
const MAX_QUEUED = 10_000;

export interface SlaveLinkOptions {
  /** Called once, when a link that was open breaks; never after `close`. */
  readonly onBroken: () => void;
  readonly answerMs?: number;
  /** undefined: plain connections. */
  readonly ssl?: SlaveSsl | undefined;
  /** Asked at each connection, about who listens at the slave's address. */
  readonly mayBeSlave?: MayBeSlave;
}

export class SlaveLink {
  readonly slave: Upid;
  readonly #options: SlaveLinkOptions;
  readonly #answerMs: number;
  #state: 'new' | 'connecting' | 'open' | 'over' = 'new';
  /** What messages go over, too: of one slave, both are plain or neither. */
  #ssl: SlaveSsl | undefined;
  #link: Socket | undefined;
  #messages: MessageConnection | undefined;
  /** Settles when the last message of the queue has been answered or given up; never rejects. */
  #last: Promise<unknown> = Promise.resolve();
  #queued = 0;

  constructor(slave: Upid, options: SlaveLinkOptions) {
    this.slave = slave;
    this.#options = options;
    this.#answerMs = options.answerMs ?? SLAVE_ANSWER_MS;
    this.#ssl = options.ssl;
  }

  /** Whether the link is TLS; false until it is open. */
  get secure(): boolean {
    return this.open && this.#ssl !== undefined;
  }

  /** Whether the slave lives, as far as we know. */
  get open(): boolean {
    return this.#state === 'open';
  }

  /**
   * Opens the link; once for each object. Fault 'host' if nobody listens there, or a user who cannot be the slave, 'refused' if TLS does not come about,
   * 'timeout' after 30 s, 'conflict' if called again; the signal's reason if that is aborted. A link that could not be opened, or broke, is replaced by a new object.
   * No TCP keep-alive: the slave is on this host, whose kernel tells of its death at once.
   */
  async connect(signal?: AbortSignal): Promise<void> {
    if (this.#state !== 'new')
      throw new Fault('conflict', `the link to ${formatUpid(this.slave)} was opened before`);
    this.#state = 'connecting';
    using bound = this.#bound(signal);
    try {
      const { socket, secure } = await dial(this.slave, this.#ssl, bound.signal, this.#options.mayBeSlave);
      this.#link = socket;
      // Decided once: from now on this slave is spoken with in one way.
      this.#ssl = secure && this.#ssl !== undefined ? { ...this.#ssl, downgrade: false } : undefined;
    } catch (error) {
      this.#state = 'over';
      throw error;
    }
    if (this.#state !== 'connecting') {
      this.#link.destroy();
      throw this.#gone();
    }
    this.#state = 'open';
    this.#link.on('close', () => {
      const wasOpen = this.open;
      this.#end();
      if (wasOpen) this.#options.onBroken();
    });
    // Nothing is ever sent to us on this connection, but only a stream that flows notices its end.
    this.#link.resume();
  }

  /**
   * Sends `mesos.internal.<message>` from one of our executors, after all that were posted before it. 'taken': the slave
   * has it in its queue; 'unknown': there is no such process at that address (a slave that only just starts, or none).
   * Fault 'host' if the link is not open or the connection breaks, 'refused' and 'timeout' as with `connect`, 'protocol'
   * for an answer that is neither; the signal's reason if that is aborted. After a failure the slave may or may not have the message.
   * 'withdrawn': `isWanted` said no when its turn came, and nothing was sent.
   */
  async post(
    message: string,
    body: Uint8Array,
    from: Upid,
    signal?: AbortSignal,
    isWanted: () => boolean = () => true,
  ): Promise<'taken' | 'unknown' | 'withdrawn'> {
    if (!this.open) throw this.#gone();
    if (this.#queued >= MAX_QUEUED) throw new Fault('host', `${MAX_QUEUED} messages wait for the slave`);
    using bound = this.#bound(signal);
    this.#queued += 1;
    const bytes = request(this.slave, message, body, from);
    const answer = this.#last.then(async () =>
      isWanted() ? await this.#exchange(bytes, bound.signal) : 'withdrawn',
    );
    this.#last = answer.then(
      () => this.#left(),
      () => this.#left(),
    );
    return await unlessAborted(answer, bound.signal);
  }

  /** Closes both connections, without onBroken; what waits fails with Fault 'host'. Twice is no error. */
  close(): void {
    this.#end();
  }

  #end(): void {
    this.#state = 'over';
    this.#link?.destroy();
    this.#messages?.end(this.#gone());
  }

  #left(): void {
    this.#queued -= 1;
  }

  #gone(): Fault {
    return new Fault('host', `no link to the slave ${formatUpid(this.slave)}`);
  }

  async #exchange(bytes: Buffer, bound: AbortSignal): Promise<'taken' | 'unknown'> {
    bound.throwIfAborted();
    if (!this.open) throw this.#gone();
    if (this.#messages === undefined || this.#messages.ended) {
      const { socket } = await dial(this.slave, this.#ssl, bound, this.#options.mayBeSlave);
      const connection = new MessageConnection(socket, this.slave);
      this.#messages = connection;
      if (!this.open) connection.end(this.#gone());
    }
    return await this.#messages.exchange(bytes, bound);
  }

  #bound(signal: AbortSignal | undefined): Disposable & { readonly signal: AbortSignal } {
    const bound = new AbortController();
    const what = `the slave ${formatUpid(this.slave)} did not answer within ${this.#answerMs} ms`;
    const timer = setTimeout(() => bound.abort(new Fault('timeout', what)), this.#answerMs);
    return {
      signal: signal === undefined ? bound.signal : AbortSignal.any([signal, bound.signal]),
      [Symbol.dispose]: () => clearTimeout(timer),
    };
  }
}

/** One connection for messages, one at a time. */
class MessageConnection {
  readonly #socket: Socket;
  readonly #slave: Upid;
  #waiting: { resolve(answer: 'taken' | 'unknown'): void; reject(error: unknown): void } | undefined;

  constructor(socket: Socket, slave: Upid) {
    this.#socket = socket;
    this.#slave = slave;
    const stream = new HttpStream({
      head: () => 'discard',
      message: ({ startLine, headers }) => {
        // The slave is about to close; the next message needs a new connection.
        if (headers.get('connection')?.toLowerCase() === 'close') this.#socket.destroy();
        this.#answered(startLine);
      },
    });
    socket.on('data', (chunk) => {
      try {
        stream.push(chunk);
      } catch (error) {
        this.end(error);
      }
    });
    socket.on('close', () => {
      stream.stop();
      this.end(new Fault('host', `the slave ${formatUpid(slave)} closed the connection without an answer`));
    });
  }

  get ended(): boolean {
    return this.#socket.destroyed || !this.#socket.writable;
  }

  async exchange(bytes: Buffer, bound: AbortSignal): Promise<'taken' | 'unknown'> {
    if (this.ended) throw new Fault('host', `the connection to the slave ${formatUpid(this.#slave)} broke`);
    const answer = new Promise<'taken' | 'unknown'>((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    this.#socket.write(bytes);
    // Given up in the middle: the answer that may still come must not be taken for that to the next message.
    const giveUp = () => this.end(bound.reason);
    bound.addEventListener('abort', giveUp, { once: true });
    try {
      return await answer;
    } finally {
      bound.removeEventListener('abort', giveUp);
    }
  }

  end(reason: unknown): void {
    this.#socket.destroy();
    this.#waiting?.reject(reason);
    this.#waiting = undefined;
  }

  #answered(startLine: string): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(startLine)?.[1];
    if (waiting !== undefined && status === '202') waiting.resolve('taken');
    else if (waiting !== undefined && status === '404') waiting.resolve('unknown');
    else {
      const fault = new Fault(
        'protocol',
        `the slave ${formatUpid(this.#slave)} answered ${startLine.slice(0, 80)}`,
      );
      waiting?.reject(fault);
      this.end(fault);
    }
  }
}

/** No `User-Agent: libprocess/…`: to one who says that, the slave does not answer. */
function request(slave: Upid, message: string, body: Uint8Array, from: Upid): Buffer {
  const head = [
    `POST /${escapeName(slave.name)}/mesos.internal.${message} HTTP/1.1`,
    `Host: ${slave.ip}:${slave.port}`,
    'Connection: Keep-Alive',
    `Libprocess-From: ${formatUpid(from)}`,
    `Content-Length: ${body.byteLength}`,
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
}

/** As libprocess writes it: `slave(1)` stays. Only what would end the path or the line is escaped. */
function escapeName(name: string): string {
  return encodeURI(name).replace(/[?#]/g, encodeURIComponent);
}

// HTTP/1.0 and 1.1 messages out of a byte stream, one after another, for the two ends of the executor protocol.
// Not node:http, because of what its server does with what real slaves send: it closes after answering an HTTP/1.0
// request, whereupon the next message is lost, it times idle connections out, and it keeps bodies that nobody wants.
// Strict (CRLF, one framing), bounded in head and body, no input or output of its own. Anything else is a Fault 'protocol'.

import { Fault } from '../fault.ts';

export interface HttpHead {
  /** `POST /path HTTP/1.1` or `HTTP/1.1 202 Accepted`. */
  readonly startLine: string;
  /** Names in lower case; of several of one name the last. */
  readonly headers: ReadonlyMap<string, string>;
}

export interface HttpReceiver {
  /** Called before the body comes: whether it is wanted. One that is not takes no memory. */
  head(head: HttpHead): 'keep' | 'discard';
  /** `body` is the caller's own; empty if discarded. */
  message(head: HttpHead, body: Buffer): void;
}

/** Start line and headers, or the trailer, of one message; also the longest chunk-size line. */
export const MAX_HEAD_BYTES = 16 * 1024;
/** The largest body; a RunTask with all that a framework may put into a task stays far below. */
export const MAX_BODY_BYTES = 8 * 1024 * 1024;

const FIRST_BYTES = 1024;
const LF = 10;
const CR = 13;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const NO_BODY = Buffer.alloc(0);

type Expecting = 'start' | 'header' | 'body' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailer';

/** One direction of one connection. After a Fault the stream is unusable: close the connection. */
export class HttpStream {
  readonly #receiver: HttpReceiver;
  #expecting: Expecting = 'start';
  #stopped = false;
  #line = new Bytes();
  /** Bytes of the head or trailer so far. */
  #headBytes = 0;
  #startLine = '';
  #headers = new Map<string, string>();
  #wanted = true;
  #body = new Bytes();
  #bodyBytes = 0;
  #remaining = 0;

  constructor(receiver: HttpReceiver) {
    this.#receiver = receiver;
  }

  /** Between two messages: an end of the stream here loses nothing. */
  get idle(): boolean {
    return this.#expecting === 'start' && this.#headBytes === 0;
  }

  /** Nothing is delivered after this, not even from the chunk at hand. */
  stop(): void {
    this.#stopped = true;
  }

  /** Takes the next bytes, however they were cut, and delivers what they complete before it returns. */
  push(chunk: Buffer): void {
    let position = 0;
    while (position < chunk.length && !this.#stopped) {
      if (this.#expecting === 'body' || this.#expecting === 'chunk') {
        const end = Math.min(chunk.length, position + this.#remaining);
        if (this.#wanted) this.#body.add(chunk.subarray(position, end));
        this.#remaining -= end - position;
        position = end;
        if (this.#remaining === 0) this.#endOfData();
      } else {
        position = this.#takeLine(chunk, position);
      }
    }
  }

  #takeLine(chunk: Buffer, position: number): number {
    // Said at once and not after a whole line: what is no HTTP may never hold one.
    if (this.idle && !isUpperCase(chunk[position])) throw malformed('no HTTP');
    const lineFeed = chunk.indexOf(LF, position);
    const end = lineFeed < 0 ? chunk.length : lineFeed + 1;
    this.#headBytes += end - position;
    if (this.#headBytes > MAX_HEAD_BYTES) throw malformed(`head longer than ${MAX_HEAD_BYTES} bytes`);
    const piece = chunk.subarray(position, end);
    if (lineFeed < 0 || !this.#line.empty) this.#line.add(piece);
    if (lineFeed >= 0) {
      const line = this.#line.empty ? piece : this.#line.take();
      if (line.at(-2) !== CR) throw malformed('line without CRLF');
      this.#lineEnded(line.toString('latin1', 0, line.length - 2));
    }
    return end;
  }

  #lineEnded(line: string): void {
    switch (this.#expecting) {
      case 'start':
        if (line === '') throw malformed('empty start line');
        this.#startLine = line;
        this.#headers = new Map();
        this.#expecting = 'header';
        return;
      case 'header':
        if (line === '') this.#headEnded();
        else this.#header(line);
        return;
      case 'chunk-size':
        this.#chunkSize(line);
        return;
      case 'chunk-end':
        if (line !== '') throw malformed('chunk longer than its size');
        this.#headBytes = 0;
        this.#expecting = 'chunk-size';
        return;
      default:
        if (line === '') this.#messageEnded();
    }
  }

  #header(line: string): void {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0)).toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (!TOKEN.test(name)) throw malformed('header without a name');
    const before = this.#headers.get(name);
    // Two framings are how one message is made to look like two.
    if ((name === 'content-length' || name === 'transfer-encoding') && before !== undefined) {
      throw malformed(`${name} twice`);
    }
    this.#headers.set(name, value);
  }

  #headEnded(): void {
    const head = this.#head();
    const encoding = head.headers.get('transfer-encoding');
    const length = head.headers.get('content-length');
    if (encoding !== undefined && length !== undefined) throw malformed('both a length and an encoding');
    if (encoding !== undefined && encoding.toLowerCase() !== 'chunked')
      throw malformed('encoding other than chunked');
    if (length !== undefined && !/^\d{1,15}$/.test(length)) throw malformed('content-length is not a number');
    const bytes = Number(length ?? 0);
    this.#wanted = this.#receiver.head(head) === 'keep';
    this.#headBytes = 0;
    this.#bodyBytes = 0;
    if (encoding !== undefined) this.#expecting = 'chunk-size';
    else if (bytes === 0) this.#messageEnded();
    else this.#expect('body', bytes);
  }

  #chunkSize(line: string): void {
    const digits = /^([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?$/.exec(line)?.[1];
    if (digits === undefined) throw malformed('chunk without a size');
    const size = Number.parseInt(digits, 16);
    this.#headBytes = 0;
    if (size === 0) this.#expecting = 'trailer';
    else this.#expect('chunk', size);
  }

  #expect(expecting: 'body' | 'chunk', bytes: number): void {
    this.#bodyBytes += bytes;
    if (this.#bodyBytes > MAX_BODY_BYTES) throw malformed(`body longer than ${MAX_BODY_BYTES} bytes`);
    this.#remaining = bytes;
    this.#expecting = expecting;
  }

  #endOfData(): void {
    if (this.#expecting === 'body') this.#messageEnded();
    else this.#expecting = 'chunk-end';
  }

  #messageEnded(): void {
    const head = this.#head();
    const body = this.#body.take();
    this.#headBytes = 0;
    this.#expecting = 'start';
    if (!this.#stopped) this.#receiver.message(head, body);
  }

  #head(): HttpHead {
    return { startLine: this.#startLine, headers: this.#headers };
  }
}

/** As methods and `HTTP/` begin. */
function isUpperCase(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x41 && byte <= 0x5a;
}

function malformed(what: string): Fault {
  return new Fault('protocol', `HTTP message: ${what}`);
}

/** Bytes that arrive in pieces; memory grows with what has come, not with what was announced. */
class Bytes {
  #buffer = NO_BODY;
  #used = 0;

  get empty(): boolean {
    return this.#used === 0;
  }

  add(piece: Uint8Array): void {
    const needed = this.#used + piece.length;
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2, FIRST_BYTES));
      this.#buffer.copy(grown, 0, 0, this.#used);
      this.#buffer = grown;
    }
    this.#buffer.set(piece, this.#used);
    this.#used = needed;
  }

  /** All of it, once; it belongs to the caller. */
  take(): Buffer {
    const taken = this.#buffer.subarray(0, this.#used);
    this.#buffer = NO_BODY;
    this.#used = 0;
    return taken;
  }
}

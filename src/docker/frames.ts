// Docker's two ways of putting output on a wire: frames of an 8-byte header and a payload, and time stamps before
// each message of a log. Pure; payloads are handed on as places in the bytes that came in, never copied.

import { Fault } from '../fault.ts';

export type StreamName = 'stdout' | 'stderr';

const HEADER_BYTES = 8;
const SYSTEM_ERROR = 3;
/** A time stamp with nine decimals and Z or an offset. */
const STAMP_MAX_BYTES = 35;
const NS_PER_MS = 1_000_000n;

/** Takes a multiplexed stream apart. Frames and headers may be cut anywhere. */
export class Demultiplexer {
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  #type = 0;
  #left = 0;

  /**
   * Calls `each` for every piece of payload, `bytes` from `start` to `end`; what lies before `start` may be overwritten.
   * Throws a Fault: `protocol` for what is no header, `docker` for an error that Docker put into the stream.
   */
  push(
    bytes: Buffer,
    each: (stream: StreamName, start: number, end: number, frameEnds: boolean) => void,
  ): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#left === 0) {
        if (this.#headerBytes === 0 && bytes.length - at >= HEADER_BYTES) {
          // Where it lies: a line is a frame, and there are many.
          this.#begin(bytes, at);
          at += HEADER_BYTES;
          continue;
        }
        const take = Math.min(HEADER_BYTES - this.#headerBytes, bytes.length - at);
        bytes.copy(this.#header, this.#headerBytes, at, at + take);
        this.#headerBytes += take;
        at += take;
        if (this.#headerBytes < HEADER_BYTES) return;
        this.#headerBytes = 0;
        this.#begin(this.#header, 0);
        continue;
      }
      const start = at;
      at = Math.min(bytes.length, at + this.#left);
      this.#left -= at - start;
      if (this.#type === SYSTEM_ERROR) {
        throw new Fault('docker', `output from Docker: ${bytes.toString('utf8', start, at)}`);
      }
      each(this.#type === 2 ? 'stderr' : 'stdout', start, at, this.#left === 0);
    }
  }

  /** Takes the header at `at`. */
  #begin(bytes: Buffer, at: number): void {
    this.#type = bytes[at] ?? 0;
    if (this.#type > SYSTEM_ERROR || bytes[at + 1] !== 0 || bytes[at + 2] !== 0 || bytes[at + 3] !== 0) {
      const header = bytes.toString('hex', at, at + HEADER_BYTES);
      throw new Fault('protocol', `output from Docker: no frame header (${header})`);
    }
    this.#left = bytes.readUInt32BE(at + 4);
  }

  /** Whether the stream may end here. */
  get atBoundary(): boolean {
    return this.#left === 0 && this.#headerBytes === 0;
  }
}

/** Reads time stamps; consecutive ones of the same second are cheap. */
export class StampReader {
  #second = '';
  #secondNs = 0n;

  /** The stamp that `message` begins with, in ns since 1970, and where the text after it begins; undefined if it has none. */
  read(message: Buffer): { readonly ns: bigint; readonly end: number } | undefined {
    const space = message.subarray(0, STAMP_MAX_BYTES + 1).indexOf(0x20);
    if (space < 30) return undefined;
    const text = message.toString('latin1', 0, space);
    const found = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})(Z|[+-]\d\d:\d\d)$/.exec(text);
    if (found === null) return undefined;
    const [, second, fraction, zone] = found;
    const key = `${second}${zone}`;
    if (key !== this.#second) {
      const secondMs = Date.parse(key);
      // The form of a time alone.
      if (Number.isNaN(secondMs)) return undefined;
      this.#second = key;
      this.#secondNs = BigInt(secondMs) * NS_PER_MS;
    }
    return { ns: this.#secondNs + BigInt(fraction ?? 0), end: space + 1 };
  }
}

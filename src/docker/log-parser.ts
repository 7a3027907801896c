// The bytes of Docker's log answer, taken apart into messages with their time stamps. Pure.

import { Fault } from '../fault.ts';
import { Demultiplexer, StampReader } from './frames.ts';

export interface LogMessage {
  readonly stampNs: bigint;
  /** As Docker gives them: `LogPieces` knows what may be missing at the end. */
  readonly bytes: Buffer;
}

/** The log of a container without a tty: a frame is a message, its stamp before it. */
export class LogParser {
  readonly #frames = new Demultiplexer();
  readonly #stamps = new StampReader();
  #parts: Buffer[] = [];

  push(bytes: Buffer): readonly LogMessage[] {
    const messages: LogMessage[] = [];
    this.#frames.push(bytes, (_stream, start, end, frameEnds) => {
      this.#parts.push(bytes.subarray(start, end));
      if (!frameEnds) return;
      const [first, ...others] = this.#parts;
      const frame = others.length === 0 && first !== undefined ? first : Buffer.concat(this.#parts);
      this.#parts = [];
      const stamp = this.#stamps.read(frame);
      if (stamp === undefined) throw new Fault('protocol', 'the log: a message without a time stamp');
      messages.push({ stampNs: stamp.ns, bytes: frame.subarray(stamp.end) });
    });
    return messages;
  }

  end(): readonly LogMessage[] {
    if (!this.#frames.atBoundary) throw new Fault('docker', 'the log ended within a message');
    return [];
  }
}

const TTY_PIECE_BYTES = 16_384;
const STAMP_PATTERN = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d) /g;

/**
 * Over a tty messages follow each other without frames: a stamp, then bytes up to a line end or a full piece. The last
 * piece of a cut line may lack its line end; only there the next stamp is searched for.
 */
export class TtyLogParser {
  readonly #stamps = new StampReader();
  #rest: Buffer = Buffer.alloc(0);
  #inLine = false;

  push(bytes: Buffer): readonly LogMessage[] {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    return this.#take(false);
  }

  end(): readonly LogMessage[] {
    return this.#take(true);
  }

  #take(ended: boolean): readonly LogMessage[] {
    const messages: LogMessage[] = [];
    for (;;) {
      const stamp = this.#stamps.read(this.#rest);
      if (stamp === undefined) {
        const isCut = this.#rest.length < 64 && !ended;
        if (this.#rest.length === 0 || isCut) return messages;
        throw new Fault('protocol', 'the log: a message without a time stamp');
      }
      const text = this.#rest.subarray(stamp.end);
      // Enough to see the whole message and the stamp after it.
      if (!ended && text.length < TTY_PIECE_BYTES + 64) {
        const newline = text.indexOf(0x0a);
        if (newline < 0 || this.#inLine) return messages;
      }
      const length = this.#lengthOf(text);
      messages.push({ stampNs: stamp.ns, bytes: text.subarray(0, length) });
      this.#rest = text.subarray(length);
    }
  }

  #lengthOf(text: Buffer): number {
    const newline = text.subarray(0, TTY_PIECE_BYTES).indexOf(0x0a);
    const whole = newline >= 0 ? newline + 1 : Math.min(text.length, TTY_PIECE_BYTES);
    const wasInLine = this.#inLine;
    this.#inLine = newline < 0 && whole === TTY_PIECE_BYTES;
    if (!wasInLine) return whole;
    for (const { index } of text.toString('latin1', 0, whole + 64).matchAll(STAMP_PATTERN)) {
      if (index >= whole) break;
      // What has the form alone, and is no time, the task has written.
      if (this.#stamps.read(text.subarray(index)) === undefined) continue;
      this.#inLine = false;
      return index;
    }
    return whole;
  }
}

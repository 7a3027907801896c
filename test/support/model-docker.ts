// What Docker does with one stream of a container's output, as far as the copier depends on it: which bytes the log has
// (whole lines, pieces of 16,384 bytes, the line end of a cut line lost as by 20.10's `local` driver), what an attach
// delivers, lag, rotation, the end. A model to generate cases with; the real Docker is tried in the integration tests.

import { setImmediate as turn } from 'node:timers/promises';
import type { Attachment, LogMessage, LogQuery, OutputSource } from '../../src/docker/output.ts';

const PIECE = 16_384;
const READ_MAX = 64 * 1024;

/** The messages that Docker logs for a stream's first bytes; of what has not ended a line, only whole pieces. */
export function messagesOf(bytes: Buffer, ended: boolean): Buffer[] {
  const messages: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    const newline = bytes.indexOf(0x0a, at);
    const lineEnd = newline < 0 ? bytes.length : newline;
    const wasCut = lineEnd - at >= PIECE;
    while (lineEnd - at >= PIECE) {
      messages.push(bytes.subarray(at, at + PIECE));
      at += PIECE;
    }
    if (newline < 0) {
      if (ended && at < bytes.length) messages.push(bytes.subarray(at));
      break;
    }
    messages.push(bytes.subarray(at, wasCut ? newline : newline + 1));
    at = newline + 1;
  }
  return messages;
}

/** Fewer bytes are found at several places. */
const UNIQUE_BYTES = 24;
const NOISE = Buffer.from('noise\n');

function frameOf(stream: 1 | 2, bytes: Buffer): Buffer {
  const header = Buffer.of(stream, 0, 0, 0, 0, 0, 0, 0);
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

export class ModelDocker implements OutputSource {
  #stream: Buffer;
  #emitted = 0;
  #ended = false;
  #stamps: bigint[] = [];
  #rotated = 0;
  #passedOver = 0;
  #unlogged: { readonly from: number; readonly to: number }[] = [];
  #noise: bigint[] = [];
  #open: { at: number; noise: number; wake: () => void; closed: boolean }[] = [];

  /** All of the bytes that the container will write to stdout. */
  constructor(stream: Buffer) {
    this.#stream = stream;
  }

  /** The container writes its next bytes. */
  emit(bytes: number): void {
    this.#emitted = Math.min(this.#stream.length, this.#emitted + bytes);
    this.#stampAll();
    for (const attached of this.#open) attached.wake();
  }

  /** How much it has written. */
  get emitted(): number {
    return this.#emitted;
  }

  /** It writes what is left and exits. */
  end(): void {
    this.#emitted = this.#stream.length;
    this.#ended = true;
    this.#stampAll();
    for (const attached of this.#open) attached.wake();
  }

  /** It will write no more than its first bytes. */
  shorten(bytes: number): void {
    this.#stream = this.#stream.subarray(0, bytes);
  }

  /** The log loses its oldest messages, all but `keep`. */
  rotate(keep: number): void {
    this.#rotated = Math.max(this.#rotated, this.#messages().length - keep);
  }

  /** The container writes a line to its stderr. */
  makeNoise(): void {
    this.#noise.push(BigInt(Date.now()) * 1_000_000n);
    for (const attached of this.#open) attached.wake();
  }

  /** dockerd is killed: what was attached breaks off, and the log never gets the line that is open, nor `lines` before it. */
  crash(lines = 0): void {
    let end = this.#stream.lastIndexOf(0x0a, this.#emitted - 1);
    for (let n = 0; n < lines && end > 0; n++) end = this.#stream.lastIndexOf(0x0a, end - 1);
    // What another one has not had is gone with that one. No piece stays between the two that could not be told from others.
    const before = this.#unlogged.at(-1)?.to ?? 0;
    const from = end + 1 < before + UNIQUE_BYTES ? before : end + 1;
    const isStamped = messagesOf(this.#logged(from), this.#ended).length;
    this.#stamps = this.#stamps.slice(0, isStamped);
    this.#unlogged.push({ from, to: this.#emitted });
    for (const attached of this.#open) {
      attached.closed = true;
      attached.wake();
    }
    this.#open = [];
  }

  /**
   * The log has rotated, and whoever asks for what is newer than its oldest file gets the current one alone, the last `kept`
   * messages: so does Docker 20.10 if there are several compressed files.
   */
  passOver(kept: number): void {
    this.#passedOver = this.#messages().length - kept;
  }

  /** What the log has of the stream's first bytes. */
  #logged(upTo: number): Buffer {
    const parts: Buffer[] = [];
    let at = 0;
    for (const { from, to } of this.#unlogged) {
      parts.push(this.#stream.subarray(at, from));
      at = to;
    }
    parts.push(this.#stream.subarray(at, upTo));
    return Buffer.concat(parts);
  }

  #messages(): Buffer[] {
    return messagesOf(this.#logged(this.#emitted), this.#ended);
  }

  #stampAll(): void {
    const before = this.#stamps.at(-1) ?? 0n;
    const now = BigInt(Date.now()) * 1_000_000n;
    const messages = this.#messages();
    while (this.#stamps.length < messages.length) {
      const at = this.#stamps.length;
      // The pieces of a cut line bear the stamp of the first.
      const previous = messages[at - 1];
      const isPiece = previous !== undefined && previous.length === PIECE && previous.at(-1) !== 0x0a;
      const next = BigInt(at + 1) + (now > before ? now : before);
      this.#stamps.push(isPiece ? (this.#stamps.at(-1) ?? next) : next);
    }
  }

  async attach(): Promise<Attachment> {
    const requestedNs = BigInt(Date.now()) * 1_000_000n;
    await turn();
    const attached = { at: this.#emitted, noise: this.#noise.length, wake: () => {}, closed: false };
    this.#open.push(attached);
    const read = async (): Promise<Buffer | undefined> => {
      for (;;) {
        if (attached.closed) return undefined;
        const bytes = this.#stream.subarray(attached.at, Math.min(this.#emitted, attached.at + READ_MAX));
        if (bytes.length > 0) {
          attached.at += bytes.length;
          return frameOf(1, bytes);
        }
        if (attached.noise < this.#noise.length) {
          attached.noise += 1;
          return frameOf(2, NOISE);
        }
        if (this.#ended) return undefined;
        await new Promise<void>((resolve) => {
          attached.wake = resolve;
        });
      }
    };
    const close = (): void => {
      attached.closed = true;
      attached.wake();
    };
    return { requestedNs, read, close };
  }

  async *readLog(query: LogQuery): AsyncIterable<readonly LogMessage[]> {
    await turn();
    const stdout = this.#messages()
      .map((bytes, at) => ({ bytes: Buffer.from(bytes), stampNs: this.#stamps[at] ?? 0n }))
      .slice(this.#rotated);
    const stderr = this.#noise.map((stampNs) => ({ bytes: NOISE, stampNs }));
    const all = query.stream === 'stdout' ? stdout : stderr;
    let from = all;
    if (query.tail !== undefined) {
      // So many messages of both streams, of which those of the other one are left out.
      const both = [...stdout, ...stderr].sort((a, b) => Number(a.stampNs - b.stampNs));
      const last = new Set(both.slice(-query.tail));
      from = all.filter((message) => last.has(message));
    }
    const sinceNs = query.sinceNs ?? 0n;
    const isPassed =
      sinceNs > 0n && query.stream === 'stdout' ? all.at(this.#passedOver)?.stampNs : undefined;
    const since = from.filter(({ stampNs }) => stampNs >= sinceNs && stampNs >= (isPassed ?? 0n));
    for (let at = 0; at < since.length; at += 100) yield since.slice(at, at + 100);
  }

  async isAlive(): Promise<boolean> {
    await turn();
    return !this.#ended;
  }
}

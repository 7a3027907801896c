// One output stream's way into its file in the sandbox: appends, the counter file before each, and what was lost.
// Appends of one lane follow each other; nobody calls while one is under way. It knows nothing of Docker.

import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import type { StreamName } from '../docker/frames.ts';
import { errnoOf, isFault, oneLine } from '../fault.ts';
import type { Log } from '../host/log.ts';
import { rest } from '../host/pauses.ts';
import { appendLine, openAppend } from '../host/sandbox.ts';
import { CHUNK_BYTES_MAX, Journal, type JournalState, type Recovered, writevAt } from './output-journal.ts';

/** What could not be brought into the file. */
export interface Loss {
  readonly stream: StreamName;
  /** At most so many; `unknown` where nothing tells. */
  readonly bytes: number | 'unknown';
  /** A few words for people. */
  readonly reason: string;
}

export interface LanePaths {
  readonly output: string;
  readonly journal: string;
  /** Where losses are written down for the task's owner: the sandbox's stderr. */
  readonly notices: string;
}

export interface LaneOptions {
  /** How long a task is held up because its output cannot be written; after that output is dropped until it can. */
  readonly writePatienceMs: number;
}

const WRITE_PAUSE_MS_MIN = 50;
const WRITE_PAUSE_MS_MAX = 2_000;
/** What a lane remembers of the stream's beginning, to recognise it in the log. */
const HEAD_BYTES = 256;

export class OutputLane {
  readonly stream: StreamName;
  readonly losses: Loss[] = [];
  readonly #paths: LanePaths;
  readonly #options: LaneOptions;
  readonly #log: Log;
  readonly #journal: Journal;
  readonly #fd: number;
  #state: JournalState = { position: 0, anchorNs: 0n, anchorAt: 0, receivedMs: 0, caughtUpMs: 0 };
  #head: Buffer = Buffer.alloc(0);
  #failing: { sinceMs: number; droppedBytes: number; reason: string } | undefined;

  /** Opens both files. Fault `host` if one cannot be had or is no regular file. Nothing is read or written yet. */
  constructor(stream: StreamName, paths: LanePaths, options: LaneOptions, log: Log) {
    this.stream = stream;
    this.#paths = paths;
    this.#options = options;
    this.#log = log;
    this.#fd = openAppend(paths.output);
    try {
      this.#journal = new Journal(paths.journal);
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  /** Bytes of the stream that are dealt with: in the file, or reported as lost. */
  get position(): number {
    return this.#state.position;
  }

  get state(): JournalState {
    return this.#state;
  }

  /** The stream's first bytes, if this process has copied them. */
  get head(): Buffer {
    return this.#head;
  }

  /** Begins a stream of which nothing was ever copied. Fault `host`. */
  begin(): void {
    this.#journal.reset();
  }

  /** Takes up where the counter file says; undefined if it says nothing (then it has begun). Fault `host`. */
  recover(): Recovered | undefined {
    // The open file is only for appending; this opens the very same one to read.
    const fd = openSync(`/proc/self/fd/${this.#fd}`, constants.O_RDONLY);
    try {
      const recovered = this.#journal.recover(fd);
      if (recovered === undefined) this.#journal.reset();
      else this.#state = recovered.state;
      return recovered;
    } finally {
      closeSync(fd);
    }
  }

  /** A message of the log begins at `anchorAt`. Durable with the next append. */
  anchor(anchorNs: bigint, anchorAt: number): void {
    this.#state = { ...this.#state, anchorNs, anchorAt };
  }

  /** Times of what will be appended next; ms since 1970. */
  stamp(receivedMs: number, caughtUpMs: number): void {
    this.#state = { ...this.#state, receivedMs, caughtUpMs };
  }

  /**
   * Appends to the file; `pieces` may be reused when it resolves. While that fails it tries again, so that nothing more
   * is read; after the patience it drops, and counts. Throws only the signal's reason.
   */
  async append(pieces: readonly Buffer[], signal: AbortSignal): Promise<void> {
    for (const piece of pieces) {
      if (this.#head.length >= HEAD_BYTES) break;
      this.#head = Buffer.concat([this.#head, piece.subarray(0, HEAD_BYTES - this.#head.length)]);
    }
    let chunk: Buffer[] = [];
    let length = 0;
    for (const piece of pieces) {
      for (let at = 0; at < piece.length; ) {
        const part = piece.subarray(at, at + CHUNK_BYTES_MAX - length);
        chunk.push(part);
        length += part.length;
        at += part.length;
        if (length < CHUNK_BYTES_MAX) continue;
        await this.#appendChunk(chunk, length, signal);
        chunk = [];
        length = 0;
      }
    }
    if (length > 0) await this.#appendChunk(chunk, length, signal);
  }

  async #appendChunk(chunk: readonly Buffer[], chunkBytes: number, signal: AbortSignal): Promise<void> {
    let left = chunk;
    let length = chunkBytes;
    for (let pauseMs = WRITE_PAUSE_MS_MIN; ; pauseMs = Math.min(pauseMs * 2, WRITE_PAUSE_MS_MAX)) {
      try {
        // Answered from the inode in memory: no disk is waited for, and a thread would cost thirty times as much.
        const { size } = fstatSync(this.#fd);
        await this.#journal.announce(this.#state, size, left, length);
        const written = await writevAt(this.#fd, left, null);
        this.#advance(written);
        if (written > 0) this.#works();
        if (written === length) return;
        // A disk that fills up takes a part; the next try says why.
        left = without(left, written);
        length -= written;
        continue;
      } catch (error) {
        // Full, read-only or broken disks; anything else is a bug.
        if (errnoOf(error) === undefined && !isFault(error, 'host')) throw error;
        if (!this.#mayWait(errnoOf(error) ?? oneLine(error))) {
          await this.#drop(length);
          return;
        }
      }
      await rest(pauseMs, signal);
    }
  }

  /** Whether the patience is not over yet. */
  #mayWait(reason: string): boolean {
    if (this.#failing === undefined) {
      this.#failing = { sinceMs: performance.now(), droppedBytes: 0, reason };
      this.#log.warning('output cannot be written, the task is held up', { stream: this.stream, reason });
    }
    return performance.now() - this.#failing.sinceMs < this.#options.writePatienceMs;
  }

  async #drop(bytes: number): Promise<void> {
    if (this.#failing !== undefined) this.#failing.droppedBytes += bytes;
    this.#advance(bytes);
    try {
      await this.#journal.announce(this.#state, 0, [], 0);
    } catch (error) {
      // The same disk, perhaps. Without the record the bytes are taken from the log after a crash.
      if (errnoOf(error) === undefined && !isFault(error, 'host')) throw error;
    }
  }

  #works(): void {
    const failed = this.#failing;
    this.#failing = undefined;
    if (failed === undefined) return;
    const { stream } = this;
    this.#log.info('output can be written again', { stream, droppedBytes: failed.droppedBytes });
    if (failed.droppedBytes > 0) this.lose(failed.droppedBytes, `could not be written (${failed.reason})`);
  }

  #advance(bytes: number): void {
    this.#state = { ...this.#state, position: this.#state.position + bytes };
  }

  /** Reports a loss: in the log, in the sandbox's stderr (if that can be written), and in `losses`. */
  lose(bytes: number | 'unknown', reason: string): void {
    this.losses.push({ stream: this.stream, bytes, reason });
    this.#log.warning('output lost', { stream: this.stream, lostBytes: bytes, reason });
    const extent = bytes === 'unknown' ? 'an unknown number of bytes' : `up to ${bytes} bytes`;
    try {
      appendLine(this.#paths.notices, `deimos: ${this.stream}: ${extent} lost: ${reason}`);
    } catch (error) {
      if (errnoOf(error) === undefined && !isFault(error, 'host')) throw error;
      this.#log.warning('a loss could not be written down in the sandbox', { error: oneLine(error) });
    }
  }

  /** Reports what was dropped to the end. */
  settle(): void {
    const failed = this.#failing;
    this.#failing = undefined;
    if (failed !== undefined && failed.droppedBytes > 0) {
      this.lose(failed.droppedBytes, `could not be written (${failed.reason})`);
    }
  }

  /** Gives the files back. Call once, with no append under way. */
  close(): void {
    closeSync(this.#fd);
    this.#journal.close();
  }
}

function without(pieces: readonly Buffer[], bytes: number): readonly Buffer[] {
  let skip = bytes;
  const left: Buffer[] = [];
  for (const piece of pieces) {
    const dropped = Math.min(skip, piece.length);
    skip -= dropped;
    if (dropped < piece.length) left.push(piece.subarray(dropped));
  }
  return left;
}

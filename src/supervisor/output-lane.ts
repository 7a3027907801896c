// One output stream's way into its file in the sandbox: appends, the counter file before each, and what was lost.
// Appends of one lane follow each other; nobody calls while one is under way. It knows nothing of Docker.

import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { formatSpan, type Span, timesOf } from '../container/span.ts';
import type { StreamName } from '../docker/frames.ts';
import { errnoOf, isFault, oneLine } from '../fault.ts';
import type { Log } from '../host/log.ts';
import { rest } from '../host/pauses.ts';
import { appendLine, openAppend } from '../host/sandbox.ts';
import {
  CHUNK_BYTES_MAX,
  DROPPED_BYTES_MAX,
  Journal,
  type JournalState,
  type Recovered,
  writevAt,
} from './output-journal.ts';

/** What could not be brought into the file. */
export interface Loss {
  readonly stream: StreamName;
  /** At most so many; `unknown` where nothing tells, then there is a span. */
  readonly bytes: number | 'unknown';
  /** When they were written. */
  readonly span?: Span;
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
/** How much later than it came a line may be logged: Docker's log copier may be busy with its files. */
const LOG_LATE_MS_MAX = 10_000;
/** A silence is noted again when it has gone on for so long. */
const SILENCE_EVERY_NS = 10_000_000_000n;
const NS_PER_MS = 1_000_000n;
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
  #state: JournalState = {
    ...{ position: 0, anchorNs: 0n, anchorAt: 0 },
    ...{ receivedMs: 0, caughtUpMs: 0, silentNs: 0n, droppedBytes: 0 },
  };
  #head: Buffer = Buffer.alloc(0);
  #wasForgotten = false;
  /** The message at the anchor may be the rest of a line whose beginning the log has lost. */
  isAnchoredInLine = false;
  #failing: { readonly sinceMs: number; readonly reason: string } | undefined;

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

  /**
   * Takes up where the counter file says; undefined where nothing was written (then it has begun), `forgotten` where that is
   * not known any more though the output has something. Fault `host`.
   */
  recover(): Recovered | 'forgotten' | undefined {
    // The open file is only for appending; this opens the very same one to read.
    const fd = openSync(`/proc/self/fd/${this.#fd}`, constants.O_RDONLY);
    try {
      const recovered = this.#journal.recover(fd);
      if (recovered !== undefined) {
        this.#state = recovered.state;
        return recovered;
      }
      const isForgotten = fstatSync(fd).size > 0 && !this.#journal.isBlank();
      if (isForgotten) this.#wasForgotten = true;
      this.#journal.reset();
      return this.#wasForgotten ? 'forgotten' : undefined;
    } finally {
      closeSync(fd);
    }
  }

  /** A message of the log begins at `anchorAt`. Durable with the next append. */
  anchor(anchorNs: bigint, anchorAt: number): void {
    this.isAnchoredInLine = false;
    this.#state = { ...this.#state, anchorNs, anchorAt };
  }

  /** Times of what will be appended next; ms since 1970. */
  stamp(receivedMs: number, caughtUpMs: number): void {
    this.#state = { ...this.#state, receivedMs, caughtUpMs };
  }

  /**
   * The stream has been silent for a while, up to `silentMs` at least (ms since 1970): the place in a log that another stream
   * fills will be known by that. Cheap while there is nothing to note.
   */
  async noteSilence(silentMs: number): Promise<void> {
    const { receivedMs, silentNs, position } = this.#state;
    const ns = BigInt(Math.floor(silentMs)) * NS_PER_MS;
    const isWorthwhile = silentMs - receivedMs > LOG_LATE_MS_MAX && ns - silentNs > SILENCE_EVERY_NS;
    // What has written nothing has the log's beginning for its place.
    if (position === 0 || this.#failing !== undefined || !isWorthwhile) return;
    this.#state = { ...this.#state, silentNs: ns };
    await this.#note();
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
    if (pieces.some((piece) => piece.length > 0)) this.#state = { ...this.#state, silentNs: 0n };
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
        if (written > 0) await this.#works();
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
      this.#failing = { sinceMs: performance.now(), reason };
      this.#log.warning('output cannot be written, the task is held up', { stream: this.stream, reason });
    }
    return performance.now() - this.#failing.sinceMs < this.#options.writePatienceMs;
  }

  async #drop(bytes: number): Promise<void> {
    this.#advance(bytes);
    const droppedBytes = Math.min(this.#state.droppedBytes + bytes, DROPPED_BYTES_MAX);
    this.#state = { ...this.#state, droppedBytes };
    // With the place, or the next process would go on behind a gap of which nobody knows.
    await this.#note();
  }

  async #note(): Promise<void> {
    try {
      await this.#journal.announce(this.#state, 0, [], 0);
    } catch (error) {
      // A full disk, perhaps.
      if (errnoOf(error) === undefined && !isFault(error, 'host')) throw error;
    }
  }

  async #works(): Promise<void> {
    if (this.#failing === undefined && this.#state.droppedBytes === 0) return;
    const { stream } = this;
    this.#log.info('output can be written again', { stream, droppedBytes: this.#state.droppedBytes });
    await this.settle();
  }

  #advance(bytes: number): void {
    this.#state = { ...this.#state, position: this.#state.position + bytes };
  }

  /** Reports a loss: in the log, in the sandbox's stderr (if that can be written), and in `losses`. */
  lose(bytes: number, reason: string): void;
  lose(bytes: 'unknown', reason: string, span: Span): void;
  lose(bytes: number | 'unknown', reason: string, span?: Span): void {
    const { stream } = this;
    const times = span === undefined ? {} : timesOf(span);
    this.losses.push({ stream, bytes, reason, ...(span === undefined ? {} : { span }) });
    this.#log.warning('output lost', { stream, lostBytes: bytes, ...times, reason });
    const extent = bytes === 'unknown' ? 'an unknown number of bytes' : `up to ${bytes} bytes`;
    const written = span === undefined ? '' : ` of what was written ${formatSpan(span)}`;
    try {
      appendLine(this.#paths.notices, `deimos: ${stream}: ${extent} lost${written}: ${reason}`);
    } catch (error) {
      if (errnoOf(error) === undefined && !isFault(error, 'host')) throw error;
      this.#log.warning('a loss could not be written down in the sandbox', { error: oneLine(error) });
    }
  }

  /** Reports what was dropped, also by an earlier process. A death behind the report has it made twice, never left out. */
  async settle(): Promise<void> {
    const { droppedBytes, receivedMs } = this.#state;
    const why = this.#failing === undefined ? '' : ` (${this.#failing.reason})`;
    this.#failing = undefined;
    if (droppedBytes === 0) return;
    const reason = `could not be written${why}`;
    if (droppedBytes < DROPPED_BYTES_MAX) this.lose(droppedBytes, reason);
    else this.lose('unknown', reason, { fromMs: 0, toMs: receivedMs });
    this.#state = { ...this.#state, droppedBytes: 0 };
    await this.#note();
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

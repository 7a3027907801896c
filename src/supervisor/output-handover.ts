// From reading a stream's log to copying its attach, without losing or doubling a byte at the seam. Until the place at
// which the attach began is found, what it delivers is held back (bounded) and the file is fed from the log.

import { join } from '../container/join.ts';
import { mayPass } from '../docker/faults.ts';
import type { OutputSource } from '../docker/output.ts';
import { isFault, oneLine } from '../fault.ts';
import type { Log } from '../host/log.ts';
import { rest } from '../host/pauses.ts';
import type { OutputLane } from './output-lane.ts';
import { type Appended, readOn } from './output-log.ts';

/** What is held back of one stream; then the socket is not read any more, and the task waits. */
export const HELD_BYTES_MAX = 1024 * 1024;
/** Docker's log is taken to have what the attach delivered so long ago; and between two looks at it. */
const SETTLE_MS = 60;
const LOOK_PAUSE_MS_MAX = 30_000;
/** So many looks in a row must give the same place. */
const AGREEING_LOOKS = 3;
/** Looks at a log that does not grow any more, with all held back that may be, before it is decided. */
const FINAL_LOOKS = 5;

/** What a handover must know of the attach. */
export interface AttachState {
  /** When it was requested, ns since 1970: what was logged before that is not in it. */
  readonly requestedNs: bigint;
  /** While a read waits for bytes: a number that changes with each read. undefined while what came is dealt with. */
  readonly idleSince: number | undefined;
  /** Ends with the attach. */
  readonly signal: AbortSignal;
  /** Ends the attach: what it would still deliver is taken from the log. */
  cut(): void;
}

export class Handover {
  readonly #lane: OutputLane;
  readonly #source: OutputSource;
  readonly #attach: AttachState;
  readonly #log: Log;
  readonly #signal: AbortSignal;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #wake: (() => void) | undefined;
  #skipBytes = 0;
  #isLive = false;
  /** Log from the lane's position at the beginning on; what surely came before the attach is cut off its front. */
  #window: Buffer[] = [];
  #windowBytes = 0;
  #windowAt: number;
  /** Ends when the stream is live. Rejects with the signal's reason. */
  readonly done: Promise<void>;

  /** Starts at once; ends with the attach. */
  constructor(lane: OutputLane, source: OutputSource, attach: AttachState, log: Log) {
    this.#lane = lane;
    this.#source = source;
    this.#attach = attach;
    this.#log = log;
    this.#signal = attach.signal;
    this.#windowAt = lane.position;
    this.done = this.#run();
    // Whoever waits for it sees the reason; while nobody does, it is no accident.
    this.done.catch(() => undefined);
  }

  get isLive(): boolean {
    return this.#isLive;
  }

  get isFull(): boolean {
    return !this.#isLive && this.#heldBytes >= HELD_BYTES_MAX;
  }

  /** Takes a piece of the attach while not live; copies it. */
  hold(piece: Buffer): void {
    this.#held.push(Buffer.from(piece));
    this.#heldBytes += piece.length;
    this.#wake?.();
  }

  /** While live: cuts off what the file has already. */
  cut(piece: Buffer): Buffer {
    if (this.#skipBytes === 0) return piece;
    const skipped = Math.min(this.#skipBytes, piece.length);
    this.#skipBytes -= skipped;
    return piece.subarray(skipped);
  }

  async #run(): Promise<void> {
    const agreed = { at: -1, times: 0 };
    let still = 0;
    let pauseMs = SETTLE_MS;
    for (;;) {
      const known = this.#heldBytes;
      await this.#somethingHeld();
      if (this.#heldBytes !== known) pauseMs = SETTLE_MS;
      this.#compact();
      const held = this.#held[0] ?? Buffer.alloc(0);
      const isFull = this.isFull;
      await this.#restUnlessMore(pauseMs, isFull);
      const before = this.#lane.position;
      const idle = this.#attach.idleSince;
      const outcome = await this.#readLog();
      if (outcome === 'unreadable') return await this.#goLive(this.#lane.position);
      still = isFull && this.#lane.position === before ? still + 1 : 0;
      const place = join({
        window: this.#compactWindow(),
        held,
        quiet: idle !== undefined && idle === this.#attach.idleSince && this.#heldBytes === held.length,
        final: still >= FINAL_LOOKS,
      });
      if (place.kind === 'gap') {
        const at = this.#windowAt + place.bytes;
        agreed.times = agreed.at === at ? agreed.times + 1 : 1;
        agreed.at = at;
        pauseMs = SETTLE_MS;
        if (agreed.times >= AGREEING_LOOKS || still >= FINAL_LOOKS) return await this.#goLive(at);
        continue;
      }
      agreed.times = 0;
      if (place.kind === 'more') {
        if (!isFull) pauseMs = Math.min(pauseMs * 2, LOOK_PAUSE_MS_MAX);
        continue;
      }
      // The whole of an ended stream is in the log: nothing has to be joined.
      if (await this.#hasEnded()) return this.#attach.cut();
      if (place.kind === 'ambiguous') {
        this.#lane.lose(place.last - place.first, 'the log and the attach fit together at several places');
        return await this.#goLive(this.#windowAt + place.first);
      }
      this.#lane.lose('unknown', "what was attached to is not in Docker's log");
      return await this.#goLive(this.#lane.position - held.length);
    }
  }

  async #hasEnded(): Promise<boolean> {
    try {
      return !(await this.#source.isAlive(this.#signal));
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!isFault(error, 'docker') && !mayPass(error)) throw error;
      return false;
    }
  }

  /** Copies what is held and not in the file yet; `began`: the stream's position at which the attach began. */
  async #goLive(began: number): Promise<void> {
    this.#skipBytes = this.#lane.position - began;
    this.#window = [];
    while (this.#held.length > 0) {
      const held = this.#held;
      this.#held = [];
      this.#heldBytes = 0;
      await this.#lane.append(
        held.map((piece) => this.cut(piece)),
        this.#signal,
      );
    }
    this.#isLive = true;
    this.#log.debug('output joined', { stream: this.#lane.stream, position: this.#lane.position });
  }

  async #readLog(): Promise<'read' | 'unreadable'> {
    try {
      const options = { ended: false, onAppend: (appended: Appended) => this.#see(appended) };
      if ((await readOn(this.#lane, this.#source, options, this.#signal)) === 'read') return 'read';
      this.#lane.lose('unknown', "Docker's log no longer has it");
      return 'unreadable';
    } catch (error) {
      this.#signal.throwIfAborted();
      if (isFault(error, 'refused')) {
        this.#lane.lose('unknown', 'the log cannot be read any more');
        return 'unreadable';
      }
      if (!isFault(error, 'docker', 'not-found') && !mayPass(error)) throw error;
      // The attach ends as well if Docker is away for good.
      this.#log.debug('the log could not be read', { error: oneLine(error) });
      return 'read';
    }
  }

  #see({ bytes, stampNs, ownStamp }: Appended): void {
    this.#window.push(bytes);
    this.#windowBytes += bytes.length;
    if (ownStamp && stampNs < this.#attach.requestedNs) {
      this.#windowAt += this.#windowBytes;
      this.#window = [];
      this.#windowBytes = 0;
    }
  }

  #compactWindow(): Buffer {
    const whole = Buffer.concat(this.#window);
    this.#window = [whole];
    return whole;
  }

  #compact(): void {
    if (this.#held.length > 1) this.#held = [Buffer.concat(this.#held)];
  }

  async #somethingHeld(): Promise<void> {
    this.#signal.throwIfAborted();
    if (this.#heldBytes > 0) return;
    await this.#more();
  }

  async #restUnlessMore(pauseMs: number, isFull: boolean): Promise<void> {
    await rest(SETTLE_MS, this.#signal);
    if (pauseMs <= SETTLE_MS || isFull) return;
    const timer = new AbortController();
    const signal = AbortSignal.any([timer.signal, this.#signal]);
    try {
      await Promise.race([rest(pauseMs - SETTLE_MS, signal), this.#more()]);
    } finally {
      timer.abort();
    }
  }

  /** Resolves with the next piece held. */
  async #more(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => reject(this.#signal.reason);
    this.#signal.addEventListener('abort', onAbort, { once: true });
    this.#wake = resolve;
    try {
      await promise;
    } finally {
      this.#wake = undefined;
      this.#signal.removeEventListener('abort', onAbort);
    }
  }
}

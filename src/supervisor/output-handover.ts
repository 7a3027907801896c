// From reading a stream's log to copying its attach, without losing or doubling a byte at the seam. Until the place at
// which the attach began is found, what it delivers is held back (bounded) and the file is fed from the log. The attach
// comes first: once as much is held as may be the task waits, and its log runs away from nobody who reads it.

import { alignEnds, join, overlapWithTail } from '../container/join.ts';
import { mayPass } from '../docker/faults.ts';
import type { OutputSource } from '../docker/output.ts';
import { isFault, oneLine } from '../fault.ts';
import type { Log } from '../host/log.ts';
import { rest } from '../host/pauses.ts';
import type { OutputLane } from './output-lane.ts';
import type { Appended } from './output-log.ts';

/** What is held back of one stream; then the socket is not read any more, and the task waits. */
export const HELD_BYTES_MAX = 1024 * 1024;
/** Docker's log is taken to have what the attach delivered so long ago; and between two looks at it. */
const SETTLE_MS = 60;
const LOOK_PAUSE_MS_MAX = 30_000;
/** So many looks in a row must give the same place. */
const AGREEING_LOOKS = 3;
/** Looks at a log that does not grow any more, with all held back that may be, before it is decided. */
const FINAL_LOOKS = 5;

/**
 * Brings the stream's file up to date from the log, as far as that goes; tells of what it appends. false: the log does not
 * go on from where the file ends, which has been reported. Repeatable; Faults as OutputSource.readLog.
 */
export type TakeUp = (onAppend: (appended: Appended) => void, signal: AbortSignal) => Promise<boolean>;

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
  readonly #takeUp: TakeUp;
  readonly #log: Log;
  readonly #signal: AbortSignal;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #wake: (() => void) | undefined;
  #skipBytes = 0;
  #isLive = false;
  #isWaiting = false;
  #hasNoLog = false;
  /** What was appended from the log, up to the lane's position; what surely came before the attach is cut off its front. */
  #window: Buffer[] = [];
  #windowBytes = 0;
  /** Ends when the stream is live. Rejects with the signal's reason. */
  readonly done: Promise<void>;

  /** Starts at once; ends with the attach. */
  constructor(lane: OutputLane, source: OutputSource, attach: AttachState, takeUp: TakeUp, log: Log) {
    this.#lane = lane;
    this.#source = source;
    this.#attach = attach;
    this.#takeUp = takeUp;
    this.#log = log;
    this.#signal = attach.signal;
    this.done = this.#run();
    // Whoever waits for it sees the reason; nobody does while little comes.
    this.done.catch(() => attach.cut());
  }

  get isLive(): boolean {
    return this.#isLive;
  }

  /** The file has all that the log has, nothing is held, and nothing is done until something is. */
  get isSilent(): boolean {
    return this.#isWaiting && this.#heldBytes === 0;
  }

  /** All that has come by the attach is in the file, as far as that is for the attach alone to bring. */
  get isWhole(): boolean {
    return this.#isLive || (this.#hasNoLog && this.#heldBytes === 0);
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

  get #windowAt(): number {
    return this.#lane.position - this.#windowBytes;
  }

  async #run(): Promise<void> {
    // Before anything is held: a stream that is silent from now on has what it wrote before.
    let outcome = await this.#readLog();
    const agreed = { at: -1, times: 0 };
    let still = 0;
    let pauseMs = SETTLE_MS;
    for (;;) {
      const known = this.#heldBytes;
      this.#isWaiting = outcome === 'read';
      this.#hasNoLog = outcome === 'of-no-use';
      await this.#somethingHeld();
      this.#isWaiting = false;
      if (this.#heldBytes !== known) pauseMs = SETTLE_MS;
      this.#compact();
      const held = this.#held[0] ?? Buffer.alloc(0);
      const isFull = this.isFull;
      await this.#restUnlessMore(pauseMs, isFull);
      const before = this.#lane.position;
      const idle = this.#attach.idleSince;
      if (outcome !== 'of-no-use') outcome = await this.#readLog();
      if (outcome === 'of-no-use') {
        // What may be in both counts as being in both.
        this.#compact();
        const all = this.#held[0] ?? held;
        const window = this.#compactWindow();
        const began = alignEnds(window, all) ?? window.length - overlapWithTail(window, all);
        return await this.#goLive(this.#windowAt + began);
      }
      // Docker (20.10) takes a container's lock to end it, waits for what an attach has not been read of, and says nothing of its
      // log or of anything else meanwhile: each would wait for the other. What is held back is in the log, too.
      if (outcome === 'hung' && this.isFull) return this.#attach.cut();
      if (outcome === 'failed' || outcome === 'hung') {
        pauseMs = Math.min(pauseMs * 2, LOOK_PAUSE_MS_MAX);
        continue;
      }
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
      const { receivedMs } = this.#lane.state;
      this.#lane.lose('unknown', "what was attached to is not in Docker's log", {
        fromMs: receivedMs,
        toMs: Date.now(),
      });
      // Where they do not fit at all, whatever the log has had since before the attach counts as being in both.
      return await this.#goLive(this.#windowAt + (alignEnds(this.#compactWindow(), held) ?? 0));
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
    this.#hasNoLog = false;
    this.#skipBytes = this.#lane.position - began;
    this.#window = [];
    this.#windowBytes = 0;
    while (this.#held.length > 0) {
      const nowMs = Date.now();
      this.#lane.stamp(nowMs, nowMs);
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

  /** `of-no-use`: it does not go on from where the file ends. `failed`: it may be read later; `hung`: Docker has said nothing. */
  async #readLog(): Promise<'read' | 'of-no-use' | 'failed' | 'hung'> {
    try {
      const goesOn = await this.#takeUp((appended) => this.#see(appended), this.#signal);
      return goesOn ? 'read' : 'of-no-use';
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!isFault(error, 'docker', 'timeout', 'not-found') && !mayPass(error)) throw error;
      // The attach ends as well if Docker is away for good.
      this.#log.debug('the log could not be read', { error: oneLine(error) });
      return isFault(error, 'timeout') ? 'hung' : 'failed';
    }
  }

  #see({ bytes, stampNs, ownStamp }: Appended): void {
    this.#window.push(bytes);
    this.#windowBytes += bytes.length;
    if (ownStamp && stampNs < this.#attach.requestedNs) {
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

// Copies what one container writes into the files of its sandbox, from before its start until it has ended, across
// deaths of this process and of Docker's connection. Byte for byte; what cannot be had is reported, never made up.
// It reads no faster than it writes: a slow disk slows the task down and costs no memory.

import { join as joinPath } from 'node:path';
import { mayPass } from '../docker/faults.ts';
import { Demultiplexer, type StreamName } from '../docker/frames.ts';
import type { Attachment, OutputSource } from '../docker/output.ts';
import { isFault, oneLine } from '../fault.ts';
import { removeSync } from '../host/facts.ts';
import type { Log } from '../host/log.ts';
import { isOutOfFiles } from '../host/open-files.ts';
import { pauseMs, rest } from '../host/pauses.ts';
import { type AttachState, Handover, type TakeUp } from './output-handover.ts';
import { type Loss, OutputLane } from './output-lane.ts';
import {
  type Appended,
  COUNT_AT_END_BYTES_MAX,
  catchUp,
  endsAlike,
  pinBeginning,
  REPLACEMENT,
} from './output-log.ts';
import { Turns } from './turns.ts';

export type { Loss } from './output-lane.ts';

export interface OutputReport {
  /** Empty: the files have every byte. */
  readonly lost: readonly Loss[];
}

export interface OutputCopy {
  /**
   * Resolves once the container has ended and all that it wrote is in the files, or reported as lost. Rejects with the
   * signal's reason, or after close().
   */
  readonly drained: Promise<OutputReport>;
  /**
   * Tells that the container has ended. Docker's attach ends by itself then, but not if it was opened in the moment of
   * the end: after a while the rest is taken from the log. Safe to call twice.
   */
  noteEnded(): void;
  /** Stops without draining; a later startCopy takes up there. Resolves when nothing is under way any more. Safe to call twice. */
  close(): Promise<void>;
}

export interface CopyDeps {
  readonly source: OutputSource;
  readonly log: Log;
  /** Aborted: as close(). */
  readonly signal: AbortSignal;
}

export interface CopyPaths {
  readonly stdoutFile: string;
  readonly stderrFile: string;
  /** Exists already; gets `stdout.copied` and `stderr.copied`. */
  readonly stateDir: string;
}

export interface CopyOptions {
  readonly tty: boolean;
  /** As the container was created: `none` has no log. */
  readonly logDriver: string;
  /** The container was never started: what older counter files say is forgotten. */
  readonly fresh: boolean;
  /** How long a task is held up while its output cannot be written. */
  readonly writePatienceMs?: number;
}

const WRITE_PATIENCE_MS = 60_000;
/** Lines that come one by one are taken together: 0 after a quiet moment, then doubling. A small read costs as much as a large one. */
const GATHER_MS_MIN = 5;
const GATHER_MS_MAX = 200;
const GATHER_BELOW_BYTES = 16 * 1024;
/** A larger piece is cheaper written from where it lies. */
const MOVED_BYTES_MAX = 4 * 1024;
/** Docker closes the streams a moment before it calls the container ended. */
const ENDING_BOUND_MS = 2_000;
const ENDING_POLL_MS = 20;
/** How long after the container's end its attach may go on without a byte. */
const ENDED_ATTACH_BOUND_MS = 3_000;
/** When the log is asked for its first message; a container that is gone by then needs no more. */
const PIN_AFTER_MS = 500;
/** What was written so long before the socket was seen empty has come. */
const ATTACH_LATE_MS = 5_000;
/** The log driver that has another character for bytes that are not UTF-8. */
const TEXT_DRIVER = 'json-file';

/**
 * Resolves when the attach is open, so that the container may be started; for a container that ended while nobody copied,
 * when that is known. `fresh`: Faults as attach and `host` if a file cannot be had. Otherwise it tries until Docker answers
 * and rejects only with Fault `host` or the signal's reason. Call once per container at a time.
 */
export async function startCopy(deps: CopyDeps, paths: CopyPaths, options: CopyOptions): Promise<OutputCopy> {
  deps.signal.throwIfAborted();
  const closing = new AbortController();
  const signal = AbortSignal.any([deps.signal, closing.signal]);
  const lanes = openLanes(deps.log, paths, options);
  const copier = new Copier({ ...deps, signal }, lanes, options);
  const opened = Promise.withResolvers<void>();
  const drained = copier.run(opened.resolve).finally(() => {
    for (const lane of lanes) lane.close();
  });
  drained.catch(opened.reject);
  const close = async (): Promise<void> => {
    closing.abort(new DOMException('the copy was closed', 'AbortError'));
    await drained.catch(() => undefined);
  };
  try {
    await opened.promise;
  } catch (error) {
    await close();
    throw error;
  }
  return { drained, noteEnded: () => copier.noteEnded(), close };
}

/**
 * Until the process's next beat, one every GATHER_MS_MAX: streams that are gathered for so long are all read then, one behind the
 * other, since waking this process and its threads for each by itself costs as much as the reading. At most a quarter longer.
 */
export function untilBeatMs(nowMs: number): number {
  const left = GATHER_MS_MAX - (nowMs % GATHER_MS_MAX);
  return left < GATHER_MS_MAX / 4 ? left + GATHER_MS_MAX : left;
}

/** Removes the counter files of a container whose output is drained and will not be copied again. Fault `host`. */
export function forgetCopied(stateDir: string): void {
  for (const stream of ['stdout', 'stderr'] as const) removeSync(journalOf(stateDir, stream));
}

function journalOf(stateDir: string, stream: StreamName): string {
  return joinPath(stateDir, `${stream}.copied`);
}

function openLanes(log: Log, paths: CopyPaths, options: CopyOptions): readonly OutputLane[] {
  const lanes: OutputLane[] = [];
  const laneOptions = { writePatienceMs: options.writePatienceMs ?? WRITE_PATIENCE_MS };
  const streams: readonly (readonly [StreamName, string])[] = options.tty
    ? [['stdout', paths.stdoutFile]]
    : [
        ['stdout', paths.stdoutFile],
        ['stderr', paths.stderrFile],
      ];
  try {
    for (const [stream, output] of streams) {
      const journal = journalOf(paths.stateDir, stream);
      lanes.push(new OutputLane(stream, { output, journal, notices: paths.stderrFile }, laneOptions, log));
    }
  } catch (error) {
    for (const lane of lanes) lane.close();
    throw error;
  }
  return lanes;
}

type FromLog = Parameters<typeof catchUp>[2] & { readonly signal: AbortSignal };

class Copier {
  readonly #deps: CopyDeps;
  readonly #lanes: readonly OutputLane[];
  readonly #options: CopyOptions;
  /** Streams whose log is of no use: there is none, or it does not fit what was written. */
  readonly #withoutLog = new Set<OutputLane>();
  readonly #pinned = new Set<OutputLane>();
  #session: Session | undefined;
  #wasEnded = false;

  constructor(deps: CopyDeps, lanes: readonly OutputLane[], options: CopyOptions) {
    this.#deps = { ...deps, source: oneReaderOf(deps.source) };
    this.#lanes = lanes;
    this.#options = options;
    if (options.logDriver === 'none') for (const lane of lanes) this.#withoutLog.add(lane);
  }

  async run(opened: () => void): Promise<OutputReport> {
    const { signal, log } = this.#deps;
    let session = this.#options.fresh ? await this.#attachFresh() : undefined;
    for (let tries = 0; ; tries++) {
      try {
        session ??= await this.#resume();
        opened();
        // Ended while nobody copied: resuming has brought all there is.
        if (session === undefined) break;
        const { whole, gotBytes, caughtUpMs } = await this.#copy(session);
        if (await this.#hasEnded()) {
          await this.#makeSure(whole, caughtUpMs);
          break;
        }
        if (gotBytes) tries = 0;
        if (tries === 0) log.warning('the attach ended before the container, attaching again');
      } catch (error) {
        signal.throwIfAborted();
        const isDockers = isFault(error, 'docker', 'timeout', 'not-found', 'conflict', 'protocol');
        if (!isDockers && !mayPass(error) && !isOutOfFiles(error)) throw error;
        if (tries === 0)
          log.warning('output: Docker or this host fails, will be tried again', { error: oneLine(error) });
      }
      session = undefined;
      await rest(pauseMs(tries), signal);
    }
    await this.#forEachLane(async (lane) => await lane.settle());
    return { lost: this.#lanes.flatMap((lane) => lane.losses) };
  }

  noteEnded(): void {
    this.#wasEnded = true;
    this.#session?.endWhenIdle(ENDED_ATTACH_BOUND_MS);
  }

  async #attachFresh(): Promise<Session> {
    for (const lane of this.#lanes) lane.begin();
    return new Session(await this.#deps.source.attach(this.#deps.signal), this.#deps.signal);
  }

  /** Attaches, and has the files brought up to date; undefined if the container has ended, its output being complete. */
  async #resume(): Promise<Session | undefined> {
    const { source, signal, log } = this.#deps;
    if (!(await source.isAlive(signal))) {
      await this.#forEachLane(async (lane) => void (await this.#takeUp(lane, { ended: true, signal })));
      return undefined;
    }
    const session = new Session(await source.attach(signal), signal);
    // An attach to a container that has just ended would never end itself.
    if (!(await source.isAlive(signal))) session.endWhenIdle(0);
    for (const lane of this.#lanes) {
      const takeUp: TakeUp = async (onAppend, within) =>
        await this.#takeUp(lane, { ended: false, attachedNs: session.requestedNs, onAppend, signal: within });
      // There is nothing to wait for.
      if (this.#withoutLog.has(lane)) await takeUp(() => {}, signal);
      else session.handovers.set(lane.stream, new Handover(lane, source, session, takeUp, log));
    }
    return session;
  }

  /** Whether the stream's log goes on from where the file ends. */
  async #takeUp(lane: OutputLane, options: Omit<FromLog, 'tail'>): Promise<boolean> {
    const recovered = lane.recover();
    const span = { fromMs: lane.state.receivedMs, toMs: Date.now() };
    if (recovered === 'forgotten') {
      // Neither lost nor doubled can be told apart any more: what comes from now on is copied.
      lane.lose('unknown', 'what had been copied is not known any more', span);
      this.#withoutLog.add(lane);
    } else if (recovered?.isOfThisBoot === false) {
      lane.lose('unknown', 'the machine was restarted', span);
      this.#withoutLog.add(lane);
    } else if (this.#withoutLog.has(lane)) {
      lane.lose('unknown', 'nobody copied for a while, and there is no log that could be read', span);
    } else {
      return await this.#fromLog(lane, { ...options, tail: recovered?.tail ?? Buffer.alloc(0) });
    }
    return false;
  }

  async #fromLog(lane: OutputLane, { signal, ...options }: FromLog): Promise<boolean> {
    const fromMs = lane.state.receivedMs;
    let replaced = 0;
    const onAppend = (appended: Appended): void => {
      if (this.#options.logDriver === TEXT_DRIVER) replaced += countOf(REPLACEMENT, appended.bytes);
      options.onAppend?.(appended);
    };
    try {
      const goesOn = await catchUp(lane, this.#deps.source, { ...options, onAppend }, signal);
      if (replaced > 0) lane.lose(replaced, `${TEXT_DRIVER} keeps text only, U+FFFD stands for each`);
      return goesOn;
    } catch (error) {
      // A driver that cannot be read, or a container removed behind our back.
      const isGone = isFault(error, 'not-found') && options.ended;
      if (!isFault(error, 'refused') && !isGone) throw error;
      this.#withoutLog.add(lane);
      if (options.attachedToEnd !== true) {
        const span = { fromMs, toMs: Date.now() };
        lane.lose('unknown', 'nobody copied for a while, and the log cannot be read', span);
      }
      return false;
    }
  }

  /**
   * Copies until the attach ends. `whole`: the streams that were copied from it up to that end. `caughtUpMs`: when there was
   * last nothing left to read.
   */
  async #copy(
    session: Session,
  ): Promise<{ whole: ReadonlySet<StreamName>; gotBytes: boolean; caughtUpMs: number }> {
    const { signal } = this.#deps;
    const frames = new Demultiplexer();
    let gatherMs = 0;
    let gotBytes = false;
    let caughtUpMs = Date.now();
    let whole = new Set<StreamName>();
    this.#session = session;
    if (this.#wasEnded) session.endWhenIdle(ENDED_ATTACH_BOUND_MS);
    try {
      for (;;) {
        const beginMs = performance.now();
        const bytes = await session.read();
        if (bytes === undefined) {
          // Looked at before it is closed, which cuts off what is still held back.
          const isEnd = frames.atBoundary && !session.wasCut;
          const streams = this.#lanes.map(({ stream }) => stream);
          whole = new Set(streams.filter((stream) => isEnd && session.hasCopied(stream)));
          break;
        }
        gotBytes = true;
        const receivedMs = Date.now();
        const pieces = this.#sort(bytes, frames, session);
        const cameMs = caughtUpMs;
        await this.#forEachLane(async (lane) => {
          const own = pieces.get(lane.stream);
          if (own === undefined) {
            if (session.isSilent(lane.stream)) await lane.noteSilence(cameMs - ATTACH_LATE_MS);
            return;
          }
          lane.stamp(receivedMs, cameMs);
          await lane.append(own, signal);
          this.#pin(lane, session);
        });
        await session.untilRoom();
        if (bytes.length >= GATHER_BELOW_BYTES || session.isHolding) {
          gatherMs = 0;
        } else {
          const wasIdle = receivedMs > 0 && performance.now() - beginMs > GATHER_MS_MAX + GATHER_MS_MIN;
          gatherMs = wasIdle ? GATHER_MS_MIN : Math.min(Math.max(gatherMs * 2, GATHER_MS_MIN), GATHER_MS_MAX);
          // Less than was asked for: the socket was empty then.
          caughtUpMs = receivedMs;
          await rest(gatherMs < GATHER_MS_MAX ? gatherMs : untilBeatMs(performance.now()), signal);
        }
      }
    } finally {
      await session.close();
    }
    signal.throwIfAborted();
    return { whole, gotBytes, caughtUpMs };
  }

  /** The pieces to append at once, as views of `bytes`; what is to be held back is given to its handover. */
  #sort(bytes: Buffer, frames: Demultiplexer, session: Session): ReadonlyMap<StreamName, readonly Buffer[]> {
    const pieces = new Map<StreamName, Buffer[]>();
    const take = (stream: StreamName, piece: Buffer): void => {
      const handover = session.handovers.get(stream);
      if (handover !== undefined && !handover.isLive) {
        handover.hold(piece);
        return;
      }
      const own = handover === undefined ? piece : handover.cut(piece);
      const sorted = pieces.get(stream);
      if (sorted === undefined) pieces.set(stream, [own]);
      else sorted.push(own);
    };
    if (this.#options.tty) {
      take('stdout', bytes);
      return pieces;
    }
    // Lines come a frame each: moved together over the headers between them they are one piece, not hundreds.
    const run = { stream: 'stdout' as StreamName, start: 0, end: 0 };
    frames.push(bytes, (stream, start, end) => {
      if (stream === run.stream && run.end > 0 && end - start <= MOVED_BYTES_MAX) {
        bytes.copyWithin(run.end, start, end);
        run.end += end - start;
        return;
      }
      if (run.end > run.start) take(run.stream, bytes.subarray(run.start, run.end));
      Object.assign(run, { stream, start, end });
    });
    if (run.end > run.start) take(run.stream, bytes.subarray(run.start, run.end));
    return pieces;
  }

  /** Later a stream's place in the log is counted from its first message; that must be known before the log rotates. */
  #pin(lane: OutputLane, session: Session): void {
    if (lane.state.anchorNs > 0n || this.#pinned.has(lane) || this.#withoutLog.has(lane)) return;
    this.#pinned.add(lane);
    const { source, log } = this.#deps;
    const pin = async (): Promise<void> => {
      await rest(PIN_AFTER_MS, session.signal);
      await pinBeginning(lane, source, session.signal);
    };
    pin().catch((error: unknown) => {
      // Only the place is not known then, and is looked for when it is needed.
      if (!session.signal.aborted) log.debug('the log could not be read', { error: oneLine(error) });
    });
  }

  /** Waits a moment for it: Docker closes the streams first. */
  async #hasEnded(): Promise<boolean> {
    const { source, signal } = this.#deps;
    const begin = performance.now();
    while (await source.isAlive(signal)) {
      if (performance.now() - begin > ENDING_BOUND_MS) return false;
      await rest(ENDING_POLL_MS, signal);
    }
    return true;
  }

  /** The container has ended: whether the log has something that the attach did not bring. */
  async #makeSure(whole: ReadonlySet<StreamName>, caughtUpMs: number): Promise<void> {
    // Other drivers than `local` may change bytes: their word does not count against that of the attach.
    const toCheck =
      this.#options.logDriver === 'local'
        ? this.#lanes.filter((lane) => whole.has(lane.stream) && !this.#withoutLog.has(lane))
        : [];
    const isComplete = await this.#endsAlike(toCheck, caughtUpMs - ATTACH_LATE_MS);
    const { signal } = this.#deps;
    await this.#forEachLane(async (lane) => {
      const isWhole = whole.has(lane.stream);
      if (!isWhole && this.#withoutLog.has(lane)) {
        const span = { fromMs: lane.state.receivedMs, toMs: Date.now() };
        lane.lose('unknown', 'the attach broke off, and there is no log that could be read', span);
      } else if (!isWhole || (!isComplete && toCheck.includes(lane))) {
        await this.#fromLog(lane, { ended: true, tail: tailOf(lane), attachedToEnd: isWhole, signal });
      }
    });
  }

  /**
   * Whether so much was written that decoding all of the log costs too much (Docker takes 3 s for the 100 MB that it keeps),
   * and its end is that of the files. An attach that broke off lacks an end of what came over it, whichever stream that is
   * of; so the log's last messages tell, and where they are not one stream's last bytes no stream's word is taken.
   * `sinceMs`: what was written before that is in the files.
   */
  async #endsAlike(lanes: readonly OutputLane[], sinceMs: number): Promise<boolean> {
    const { source, signal } = this.#deps;
    const bytes = this.#lanes.reduce((sum, { position }) => sum + position, 0);
    if (bytes <= COUNT_AT_END_BYTES_MAX) return false;
    for (const lane of lanes)
      if (!(await endsAlike(lane, source, { tail: tailOf(lane), sinceMs }, signal))) return false;
    return true;
  }

  /** Ends when all have ended, also if one fails: their files are open until then. Rejects with the first error. */
  async #forEachLane(work: (lane: OutputLane) => Promise<void>): Promise<void> {
    const results = await Promise.allSettled(this.#lanes.map(work));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }
}

/** The last bytes that are known to be in the file. */
function tailOf(lane: OutputLane): Buffer {
  const recovered = lane.recover();
  return typeof recovered === 'object' ? recovered.tail : Buffer.alloc(0);
}

function countOf(pattern: Buffer, bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(pattern); at >= 0; at = bytes.indexOf(pattern, at + pattern.length)) count += 1;
  return count;
}

/**
 * Has the log read by one reader at a time: while there is another one, Docker (20.10) gives a reader a rotated file as it
 * was when the other began, and leaves out the file that has come in its place.
 */
function oneReaderOf(source: OutputSource): OutputSource {
  const turns = new Turns(1);
  return {
    attach: async (signal) => await source.attach(signal),
    isAlive: async (signal) => await source.isAlive(signal),
    async *readLog(query, signal) {
      const giveBack = await turns.take(signal);
      try {
        yield* source.readLog(query, signal);
      } finally {
        giveBack();
      }
    },
  };
}

/** One attach, from its beginning to its end, and the streams that do not flow from it yet. */
class Session implements AttachState {
  readonly requestedNs: bigint;
  readonly handovers = new Map<StreamName, Handover>();
  readonly signal: AbortSignal;
  readonly #attachment: Attachment;
  readonly #over = new AbortController();
  #reads = 0;
  #isReading = false;
  #idleBound: { readonly ms: number; timer?: NodeJS.Timeout } | undefined;
  /** It did not end by itself. */
  wasCut = false;

  constructor(attachment: Attachment, signal: AbortSignal) {
    this.#attachment = attachment;
    this.requestedNs = attachment.requestedNs;
    this.signal = AbortSignal.any([signal, this.#over.signal]);
    // A read that waits ends then.
    this.signal.addEventListener('abort', () => attachment.close(), { once: true });
    if (this.signal.aborted) attachment.close();
  }

  get idleSince(): number | undefined {
    return this.#isReading ? this.#reads : undefined;
  }

  /** Whether all that the stream has written has come, for all that the attach has delivered. */
  isSilent(stream: StreamName): boolean {
    const handover = this.handovers.get(stream);
    return handover === undefined || handover.isLive || handover.isSilent;
  }

  /** Of a stream that the file has all that has come. */
  hasCopied(stream: StreamName): boolean {
    return this.handovers.get(stream)?.isWhole ?? true;
  }

  get isHolding(): boolean {
    return [...this.handovers.values()].some((handover) => !handover.isLive);
  }

  async read(): Promise<Buffer | undefined> {
    this.#isReading = true;
    this.#watch();
    const bytes = await this.#attachment.read();
    clearTimeout(this.#idleBound?.timer);
    this.#isReading = false;
    this.#reads += 1;
    return bytes;
  }

  /** Ends it when a read has waited so long. */
  endWhenIdle(ms: number): void {
    clearTimeout(this.#idleBound?.timer);
    this.#idleBound = { ms };
    if (this.#isReading) this.#watch();
  }

  #watch(): void {
    const bound = this.#idleBound;
    if (bound !== undefined) bound.timer = setTimeout(() => this.cut(), bound.ms);
  }

  cut(): void {
    this.wasCut = true;
    this.#attachment.close();
  }

  /** While as much is held back of a stream as may be, nothing is read: the task waits. */
  async untilRoom(): Promise<void> {
    for (const handover of this.handovers.values()) if (handover.isFull) await handover.done;
  }

  /** Safe to call twice. What is held back is forgotten: the log has it. */
  async close(): Promise<void> {
    this.#attachment.close();
    this.#over.abort(new DOMException('the attach ended', 'AbortError'));
    for (const handover of this.handovers.values()) {
      await handover.done.catch((error: unknown) => {
        if (!this.signal.aborted || error !== this.signal.reason) throw error;
      });
    }
  }
}

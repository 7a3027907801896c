// Brings a stream's file up to date from Docker's log: finds the place up to which it was written, by counting from a
// message whose place is known, else by the last bytes written, and appends what follows. Nothing is appended
// before the bytes in front of it have been seen to agree.

import {
  certainlyLogged,
  LOG_PIECE_BYTES,
  LogPieces,
  overlapWithTail,
  StreamSearch,
} from '../container/join.ts';
import type { StreamName } from '../docker/frames.ts';
import type { LogMessage, LogQuery, OutputSource } from '../docker/output.ts';
import type { OutputLane } from './output-lane.ts';

/** Counting reads some 20 MB/s; from here on the last bytes are looked for first, near the time when they came. */
const COUNT_BYTES_MAX = 32 * 1024 * 1024;
/** A 64 KB pattern that occurs once is the place. */
const PATTERN_BYTES_MAX = 64 * 1024;
/** An overlap by fewer bytes may be chance. */
const OVERLAP_BYTES_MIN = 256;
/** How much earlier or later than we saw them Docker may have stamped the same bytes. */
const EARLIER_NS = 10_000_000_000n;
const LATER_NS = 30_000_000_000n;
/** A message stamped so much later than the last bytes came is none of them, whatever it says; before that one that is not among them. */
const NEWER_NS = 1_000_000_000n;
const NS_PER_MS = 1_000_000n;
/** Up to here the end is checked by counting, beyond by the last messages. */
export const COUNT_AT_END_BYTES_MAX = 1024 * 1024;
/** How many messages of both streams are looked at where the end alone is checked: at most 16 KB each. */
const END_MESSAGES = 1024;
const NO_LONGER_LOGGED = "Docker's log no longer has it";
const NEWLINE = 0x0a;
/** What a log that keeps text only has for each byte that is none. */
export const REPLACEMENT = Buffer.from('\u{fffd}');

/** A message that was appended. */
export interface Appended {
  readonly bytes: Buffer;
  readonly stampNs: bigint;
  /** The stamp is this message's own: the pieces of a cut line all bear the first one's. */
  readonly ownStamp: boolean;
}

export interface ReadOptions {
  /** The stream has ended: what is left is all there is. */
  readonly ended: boolean;
  /** An attach delivered the stream to its end: the log is read only to make sure. */
  readonly attachedToEnd?: boolean;
  /** The last bytes written, if they are to be compared with the log. */
  readonly tail?: Buffer;
  /** Since then an attach delivers, ns since 1970: what the log has from there on only is not to be had from it. */
  readonly attachedNs?: bigint;
  /** Told of what has been appended, in its order. */
  readonly onAppend?: (appended: Appended) => void;
}

/** What was appended is right in any case. */
type ReadOutcome =
  | 'read'
  /** The log no longer has, or contradicts, what is known of it. */
  | 'lost-place'
  /** It agrees with the file up to this message, which is none of the file's: it lacks what the file has behind it. */
  | { readonly goesOnNs: bigint };

/** Appends what the log has beyond the lane's position. Repeatable. Faults as OutputSource.readLog; the signal's reason. */
async function readOn(
  lane: OutputLane,
  source: OutputSource,
  options: ReadOptions,
  signal: AbortSignal,
): Promise<ReadOutcome> {
  const { anchorNs, anchorAt, position: written, receivedMs } = lane.state;
  const tail = options.tail ?? Buffer.alloc(0);
  const tailAt = written - tail.length;
  const pieces = new LogPieces<bigint>(lane.isAnchoredInLine);
  let at = anchorAt;
  let lastNs = -1n;
  let agreedBytes = 0;
  let contradiction: ReadOutcome | undefined;
  let isFirst = true;
  let anchor: { ns: bigint; at: number } | undefined;
  let out: Appended[] = [];
  // The same text may come again. What a driver may have changed is not held against what it was.
  const hasWritten = (behind: Buffer, bytes: Buffer, stampNs: bigint): boolean =>
    bytes.includes(REPLACEMENT) || (stampNs <= msToNs(receivedMs + 1) && behind.includes(bytes));
  const emit = (bytes: Buffer, stampNs: bigint): void => {
    const start = at;
    at += bytes.length;
    const ownStamp = stampNs > lastNs;
    if (ownStamp) {
      anchor = { ns: stampNs, at: start };
      lastNs = stampNs;
    }
    if (contradiction !== undefined) return;
    const from = Math.max(start, tailAt);
    const to = Math.min(at, written);
    if (from < to) {
      const behind = tail.subarray(from - tailAt);
      if (bytes.subarray(from - start, to - start).equals(behind.subarray(0, to - from))) {
        agreedBytes += to - from;
      } else {
        // The message at the anchor bears its stamp to the nanosecond: what agrees from there on does not by chance.
        const isPlaced = anchorNs > 0n ? agreedBytes > 0 : agreedBytes >= OVERLAP_BYTES_MIN;
        const isNew = isPlaced && ownStamp && from === start && !hasWritten(behind, bytes, stampNs);
        contradiction = isNew ? { goesOnNs: stampNs } : 'lost-place';
        return;
      }
    }
    if (at <= written) return;
    out.push({ bytes: bytes.subarray(Math.max(0, written - start)), stampNs, ownStamp });
  };
  const flush = async (): Promise<void> => {
    const last = out.at(-1);
    if (last !== undefined) {
      const cameMs = Math.max(lane.state.receivedMs, Number(last.stampNs / NS_PER_MS));
      lane.stamp(cameMs, cameMs);
      await lane.append(
        out.map(({ bytes }) => bytes),
        signal,
      );
    }
    for (const appended of out) options.onAppend?.(appended);
    out = [];
    if (anchor !== undefined && anchor.at <= lane.position && anchor.ns > anchorNs) {
      lane.anchor(anchor.ns, anchor.at);
    }
  };
  for await (const batch of fromAnchor(lane, source, signal)) {
    for (const message of batch) {
      isFirst = false;
      pieces.push(message.bytes, message.stampNs, emit);
    }
    if (contradiction !== undefined) return contradiction;
    await flush();
  }
  if (isFirst && anchorNs > 0n) return 'lost-place';
  const rest = pieces.rest();
  if (options.ended && rest !== undefined) {
    const missing = at + rest.bytes.length - written;
    const isDoubtful = missing > 0 || (missing === 0 && options.attachedToEnd !== true);
    emit(rest.bytes, rest.mark);
    if (contradiction !== undefined) return contradiction;
    await flush();
    if (isDoubtful) lane.lose(1, 'Docker does not tell whether the last line was ended');
  }
  // An open line and a last piece are all that a log can lack.
  return written - at > 4 * LOG_PIECE_BYTES && !options.ended ? 'lost-place' : 'read';
}

/**
 * The log from the message at the anchor on; nothing if that is not there any more. Docker (20.10) passes over rotated files
 * that it should read if the oldest of several is older than what is asked for: what does not begin as it has to is
 * looked for in the whole log.
 */
async function* fromAnchor(
  lane: OutputLane,
  source: OutputSource,
  signal: AbortSignal,
): AsyncIterable<readonly LogMessage[]> {
  const { stream } = lane;
  const { anchorNs } = lane.state;
  if (anchorNs === 0n) return yield* source.readLog({ stream }, signal);
  for (const query of [{ stream, sinceNs: anchorNs }, { stream }]) {
    let isFound = false;
    for await (const batch of source.readLog(query, signal)) {
      const at = isFound ? 0 : batch.findIndex(({ stampNs }) => stampNs >= anchorNs);
      if (at < 0) continue;
      if (!isFound && batch[at]?.stampNs !== anchorNs) break;
      isFound = true;
      yield batch.slice(at);
    }
    if (isFound) return;
  }
}

/**
 * After a time in which nobody copied, and again. `tail`: the last bytes written. Reports what cannot be found, and says
 * whether the log goes on from where the file ends.
 */
export async function catchUp(
  lane: OutputLane,
  source: OutputSource,
  options: ReadOptions & { readonly tail: Buffer },
  signal: AbortSignal,
): Promise<boolean> {
  const { position, anchorAt, receivedMs } = lane.state;
  if (position - anchorAt > COUNT_BYTES_MAX) await findPlace(lane, source, options.tail, 'unique', signal);
  const { tail: _, ...rest } = options;
  const goOn = async (): Promise<ReadOutcome> => await readOn(lane, source, rest, signal);
  // Each place that is found is held against the file again: behind it the log may have something else.
  let outcome = await readOn(lane, source, options, signal);
  if (outcome === 'lost-place') {
    const silence = await afterSilence(lane, source, options.tail, signal);
    if (silence === 'still') return true;
    if (silence === 'over') outcome = await goOn();
    else if (await findPlace(lane, source, options.tail, 'last', signal))
      outcome = await readOn(lane, source, options, signal);
  }
  if (outcome === 'lost-place') {
    if (!(await beginAfter(lane, source, options, signal))) return false;
    outcome = await goOn();
  }
  if (typeof outcome === 'object') {
    // A line that was open, or what Docker's log copier had not come to: it lives in dockerd's memory alone.
    const span = { fromMs: receivedMs, toMs: Number(outcome.goesOnNs / NS_PER_MS) };
    lane.lose('unknown', 'Docker was restarted, and its log lacks what it had not logged yet', span);
    lane.anchor(outcome.goesOnNs, lane.position);
    outcome = await goOn();
  }
  if (outcome === 'read') return true;
  lane.lose('unknown', NO_LONGER_LOGGED, { fromMs: receivedMs, toMs: Date.now() });
  return false;
}

interface Start {
  readonly at: number;
  readonly ns: bigint;
}

/**
 * Looks the last bytes up and anchors the lane there. Only among messages stamped about when these bytes came: the
 * same text may come again later. With several places: none (`unique`), or the last one, which loses but never doubles.
 */
async function findPlace(
  lane: OutputLane,
  source: OutputSource,
  tail: Buffer,
  which: 'unique' | 'last',
  signal: AbortSignal,
): Promise<boolean> {
  const certain = certainlyLogged(tail);
  if (certain === 0) return false;
  const pattern = tail.subarray(Math.max(0, certain - PATTERN_BYTES_MAX), certain);
  const patternEnd = lane.position - (tail.length - certain);
  const untilNs = msToNs(lane.state.receivedMs) + LATER_NS;
  const near = msToNs(lane.state.caughtUpMs) - EARLIER_NS;
  const neverPinned = lane.state.anchorNs === 0n;
  for (const sinceNs of neverPinned ? [0n] : [near, 0n]) {
    const search = new StreamSearch(pattern);
    const found = { firstEnd: -1, lastEnd: -1, start: undefined as Start | undefined };
    let starts: Start[] = [];
    for await (const batch of batchesOf(lane, source, sinceNs, untilNs, signal)) {
      starts = [...starts.slice(-64), ...batch.starts];
      search.push(batch.bytes);
      if (search.lastEnd === undefined || search.lastEnd === found.lastEnd) continue;
      const end = search.lastEnd;
      found.firstEnd = search.firstEnd ?? end;
      found.lastEnd = end;
      found.start = starts.filter((start) => start.at < end).at(-1);
    }
    const { firstEnd, lastEnd, start } = found;
    if (start === undefined) continue;
    if (firstEnd !== lastEnd && which === 'unique') return false;
    if (firstEnd !== lastEnd) lane.lose(lastEnd - firstEnd, "the place in Docker's log is not unique");
    // The log still begins where the stream does: what the first attach missed of it shows as a difference.
    if (neverPinned && lastEnd > patternEnd) lane.lose(lastEnd - patternEnd, 'it came before the attach');
    lane.anchor(start.ns, patternEnd - (lastEnd - start.at));
    return true;
  }
  return false;
}

/** The log has lost the place. Goes on with the oldest that is certainly newer than what was written. */
async function beginAfter(
  lane: OutputLane,
  source: OutputSource,
  { tail, attachedNs }: ReadOptions & { readonly tail: Buffer },
  signal: AbortSignal,
): Promise<boolean> {
  const untilNs = msToNs(lane.state.receivedMs) + LATER_NS;
  let oldest: Start | undefined;
  const parts: Buffer[] = [];
  let size = 0;
  for await (const { bytes, starts } of batchesOf(lane, source, 0n, untilNs, signal)) {
    oldest ??= starts[0];
    parts.push(bytes);
    size += bytes.length;
    if (size >= tail.length) break;
  }
  const overlap = overlapWithTail(tail, Buffer.concat(parts));
  if (oldest !== undefined && Math.min(overlap, size) >= OVERLAP_BYTES_MIN) {
    lane.anchor(oldest.ns, lane.position - overlap);
    return true;
  }
  const { receivedMs } = lane.state;
  const cameNs = msToNs(receivedMs);
  const isNew: IsWanted = (ns, message) =>
    ns >= cameNs + NEWER_NS || (ns >= cameNs && !tail.includes(message) && !message.includes(REPLACEMENT));
  const next = await firstOf(lane, source, isNew, signal);
  const fromAttach = attachedNs !== undefined && (next === undefined || next.ns >= attachedNs);
  const toNs = fromAttach ? attachedNs : next?.ns;
  const toMs = toNs === undefined ? Date.now() : Number(toNs / NS_PER_MS);
  // What was copied from the log itself may have come after the attach.
  lane.lose('unknown', NO_LONGER_LOGGED, { fromMs: Math.min(receivedMs, toMs), toMs });
  if (next === undefined || fromAttach) return false;
  // A line that was open is logged as a whole. Another one that begins alike: the piece of a line that is lost is lost, too.
  const open = tail.subarray(tail.lastIndexOf(NEWLINE) + 1);
  const beginsInTail = open.length < tail.length || tail.length === lane.position;
  const isSame = beginsInTail && next.begin.subarray(0, open.length).equals(open);
  lane.anchor(next.ns, isSame ? lane.position - open.length : lane.position);
  // The oldest that a log still has may be the rest of a line.
  lane.isAnchoredInLine = true;
  return true;
}

/**
 * The stream had been silent for a while, and its last lines were rotated away by another one's. `over`: it goes on with a
 * message that the lane is anchored at now. `still`: it has not. `unknown`: the log does not reach back to the silence.
 */
async function afterSilence(
  lane: OutputLane,
  source: OutputSource,
  tail: Buffer,
  signal: AbortSignal,
): Promise<'over' | 'still' | 'unknown'> {
  const { silentNs, position } = lane.state;
  // A line that was open is logged when it ends, as a whole; the pieces of a long one bear the time of the first.
  const openBytes = tail.length - 1 - tail.lastIndexOf(NEWLINE);
  const isLong = openBytes >= LOG_PIECE_BYTES || (openBytes === tail.length && position > tail.length);
  if (silentNs === 0n || isLong) return 'unknown';
  const oldest = await Promise.all(
    (['stdout', 'stderr'] as const).map((stream) => oldestOf(source, stream, signal)),
  );
  if (!oldest.some((ns) => ns !== undefined && ns <= silentNs)) return 'unknown';
  const next = await firstOf(lane, source, (ns) => ns > silentNs, signal);
  if (next === undefined) return 'still';
  lane.anchor(next.ns, position - openBytes);
  return 'over';
}

async function oldestOf(
  source: OutputSource,
  stream: StreamName,
  signal: AbortSignal,
): Promise<bigint | undefined> {
  for await (const [first] of source.readLog({ stream }, signal))
    if (first !== undefined) return first.stampNs;
  return undefined;
}

type IsWanted = (stampNs: bigint, message: Buffer) => boolean;

/** The first message that is wanted, and what it begins with. Looks through the whole log: see `fromAnchor`. */
async function firstOf(
  lane: OutputLane,
  source: OutputSource,
  isWanted: IsWanted,
  signal: AbortSignal,
): Promise<(Start & { readonly begin: Buffer }) | undefined> {
  let before = 0;
  for await (const { bytes, starts } of batchesOf(lane, source, 0n, undefined, signal)) {
    for (const [n, start] of starts.entries()) {
      const own = bytes.subarray(start.at - before, (starts[n + 1]?.at ?? before + bytes.length) - before);
      if (isWanted(start.ns, own)) return { ...start, begin: own.subarray(0, LOG_PIECE_BYTES) };
    }
    before += bytes.length;
  }
  return undefined;
}

interface Batch {
  readonly bytes: Buffer;
  /** Where messages with a stamp of their own begin, counted from the first byte read. */
  readonly starts: readonly Start[];
}

async function* batchesOf(
  lane: OutputLane,
  source: OutputSource,
  sinceNs: bigint,
  untilNs: bigint | undefined,
  signal: AbortSignal,
): AsyncIterable<Batch> {
  const pieces = new LogPieces<bigint>();
  let at = 0;
  let lastNs = -1n;
  for await (const batch of source.readLog({ stream: lane.stream, sinceNs }, signal)) {
    const parts: Buffer[] = [];
    const starts: Start[] = [];
    let isPast = false;
    for (const message of batch) {
      isPast ||= untilNs !== undefined && message.stampNs > untilNs;
      if (isPast) break;
      pieces.push(message.bytes, message.stampNs, (bytes, ns) => {
        if (ns > lastNs) starts.push({ at, ns });
        lastNs = ns > lastNs ? ns : lastNs;
        at += bytes.length;
        parts.push(bytes);
      });
    }
    if (parts.length > 0) yield { bytes: Buffer.concat(parts), starts };
    if (isPast) return;
  }
}

/**
 * Whether the last messages of the log are, as far as they are the stream's, the last bytes written. A last line without its
 * end counts as equal. `sinceMs`: what was logged before that is in the file. A cheap check, of the end only: Docker (20.10)
 * decodes a tail alone, and nothing of the compressed files that are older; where it finds nothing though something came since,
 * it is asked for the tail of all of them, since it may have passed over some (see `fromAnchor`).
 */
export async function endsAlike(
  lane: OutputLane,
  source: OutputSource,
  { tail, sinceMs }: { readonly tail: Buffer; readonly sinceMs: number },
  signal: AbortSignal,
): Promise<boolean> {
  const { stream } = lane;
  const near: LogQuery = { stream, tail: END_MESSAGES, sinceNs: msToNs(sinceMs) };
  let end = await endOf(source, near, tail.length, signal);
  if (end.length === 0 && lane.state.receivedMs >= sinceMs)
    end = await endOf(source, { stream, tail: END_MESSAGES }, tail.length, signal);
  const { bytes: logged, isOpen } = end;
  // What is stamped after the last bytes came is none of them, though it says the same. In a flood (20.10) logs up to 30 ms late.
  const lateNs = lane.position > COUNT_AT_END_BYTES_MAX ? NEWER_NS : NS_PER_MS;
  if (end.length > lane.position || end.lastNs >= msToNs(lane.state.receivedMs) + lateNs) return false;
  const ends = (bytes: Buffer): boolean =>
    bytes.subarray(Math.max(0, bytes.length - logged.length)).equals(logged);
  return ends(tail) || (isOpen && tail.at(-1) === NEWLINE && ends(tail.subarray(0, -1)));
}

interface LogEnd {
  /** Of the part that was asked for. */
  readonly length: number;
  readonly bytes: Buffer;
  /** Whether they end a line cannot be told. */
  readonly isOpen: boolean;
  /** The last message's stamp; 0 if there is none. */
  readonly lastNs: bigint;
}

/** How much a part of the log is, and its last bytes, at most `keep`. */
async function endOf(
  source: OutputSource,
  query: LogQuery,
  keep: number,
  signal: AbortSignal,
): Promise<LogEnd> {
  const pieces = new LogPieces<undefined>();
  let bytes = Buffer.alloc(0);
  let length = 0;
  let lastNs = 0n;
  const add = (parts: readonly Buffer[]): void => {
    const all = Buffer.concat([bytes, ...parts]);
    length += all.length - bytes.length;
    bytes = all.subarray(Math.max(0, all.length - keep));
  };
  for await (const batch of source.readLog(query, signal)) {
    const parts: Buffer[] = [];
    for (const message of batch) pieces.push(message.bytes, undefined, (whole) => void parts.push(whole));
    add(parts);
    lastNs = batch.at(-1)?.stampNs ?? lastNs;
  }
  const rest = pieces.rest();
  if (rest !== undefined) add([rest.bytes]);
  return { length, bytes, isOpen: rest !== undefined, lastNs };
}

/** Learns the stamp of the log's first message, while it is still the stream's beginning. */
export async function pinBeginning(
  lane: OutputLane,
  source: OutputSource,
  signal: AbortSignal,
): Promise<void> {
  if (lane.state.anchorNs > 0n) return;
  for await (const batch of source.readLog({ stream: lane.stream }, signal)) {
    const [first] = batch;
    if (first === undefined) continue;
    const common = Math.min(first.bytes.length, lane.head.length);
    const isBeginning = common > 0 && first.bytes.subarray(0, common).equals(lane.head.subarray(0, common));
    if (isBeginning) lane.anchor(first.stampNs, 0);
    return;
  }
}

function msToNs(ms: number): bigint {
  return BigInt(Math.floor(ms)) * NS_PER_MS;
}

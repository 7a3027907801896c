// Where a stream that is read from two sources continues: what was written so far, Docker's log, and a new attach.
// Pure: bytes in, a decision out. It never guesses: what cannot be told apart is said to be so.
//
// Facts of Docker's log copier that everything here stands on: it logs whole lines, and a line that has 16,384 bytes
// or more in pieces of 16,384 from its beginning; what follows the last line end or full piece is not in the log
// until it is complete or the stream ends.

/** The size at which Docker cuts a line that has not ended. */
export const LOG_PIECE_BYTES = 16_384;

const NEWLINE = 0x0a;

export type Join =
  /** The attach began `bytes` bytes into the window: these came before it. */
  | { readonly kind: 'gap'; readonly bytes: number }
  /** Not to be told yet: hold back and look again. */
  | { readonly kind: 'more' }
  /** The attach fits at `first` and at `last`, perhaps at places between. Only if the question was final. */
  | { readonly kind: 'ambiguous'; readonly first: number; readonly last: number }
  /** The attach fits nowhere: the log lacks something. Only if the question was final. */
  | { readonly kind: 'gone' };

export interface JoinQuestion {
  /** Bytes of the log, from a position at or before the one at which the attach began, up to the log's end. */
  readonly window: Buffer;
  /** The first bytes of the attach: only such as were delivered long enough before the log was read to be in it. */
  readonly held: Buffer;
  /** The attach delivered nothing more from then on until the log had been read, and would have if it could. */
  readonly quiet: boolean;
  /** No more can be waited for: 'more' is no answer (unless nothing at all is held). */
  readonly final: boolean;
}

/**
 * How many of the first bytes of `held` must be in a log that has caught up with it: up to the end of the last line
 * that is known to be shorter than a piece (Docker 20.10's `local` driver loses the end of a longer one, which then
 * shows only with the next message), and all but two pieces in any case. 0 where nothing is certain.
 */
export function certainlyLogged(held: Buffer): number {
  const byPieces = Math.max(0, held.length - 2 * LOG_PIECE_BYTES);
  let end = held.lastIndexOf(NEWLINE);
  while (end > 0 && end + 1 > byPieces) {
    const before = held.lastIndexOf(NEWLINE, end - 1);
    if (before < 0) break;
    if (end - before <= LOG_PIECE_BYTES) return end + 1;
    end = before;
  }
  return byPieces;
}

/**
 * Finds the place in the window where the attach began.
 * While nothing moves, the end of the log and the end of what the attach delivered are the same place, whatever the
 * bytes are: that settles repetitive streams. While it flows only a beginning that occurs once in the window will do.
 */
export function join({ window, held, quiet, final }: JoinQuestion): Join {
  const certain = certainlyLogged(held);
  const pattern = held.subarray(0, certain);
  if (certain > 0) {
    if (quiet && held.indexOf(NEWLINE, certain) < 0 && held[certain - 1] === NEWLINE) {
      const open = held.length - certain;
      const bytes = window.length - certain - (open - (open % LOG_PIECE_BYTES));
      if (bytes >= 0 && window.subarray(bytes, bytes + certain).equals(pattern))
        return { kind: 'gap', bytes };
      if (!final) return { kind: 'more' };
    }
    const search = new StreamSearch(pattern);
    search.push(window);
    if (search.firstEnd !== undefined && search.lastEnd !== undefined) {
      const first = search.firstEnd - certain;
      const last = search.lastEnd - certain;
      if (first === last) return { kind: 'gap', bytes: first };
      return final ? { kind: 'ambiguous', first, last } : { kind: 'more' };
    }
  }
  return final && held.length > 0 ? { kind: 'gone' } : { kind: 'more' };
}

/** What is compared to tell where two sources stand beside each other that disagree somewhere before. */
const ALIGN_BYTES = 1024;
const ALIGN_BYTES_MIN = 256;

/**
 * How many bytes into the window the attach seems to have begun, told by its end alone: the log lacks something that the
 * attach has, or has something else, but the one goes on into the other. Negative: it lacks more than it has from then on.
 * Of several places the one that doubles nothing. undefined: the end of neither is in the other.
 */
export function alignEnds(window: Buffer, held: Buffer): number | undefined {
  const places: number[] = [];
  const windowEnd = window.subarray(-ALIGN_BYTES);
  if (windowEnd.length >= ALIGN_BYTES_MIN) {
    const { lastEnd } = searched(windowEnd, held);
    if (lastEnd !== undefined) places.push(window.length - lastEnd);
  }
  const certain = certainlyLogged(held);
  const heldEnd = held.subarray(Math.max(0, certain - ALIGN_BYTES), certain);
  if (heldEnd.length >= ALIGN_BYTES_MIN) {
    const { firstEnd } = searched(heldEnd, window);
    if (firstEnd !== undefined) places.push(firstEnd - certain);
  }
  return places.length === 0 ? undefined : Math.min(...places);
}

function searched(pattern: Buffer, bytes: Buffer): StreamSearch {
  const search = new StreamSearch(pattern);
  search.push(bytes);
  return search;
}

/**
 * The length of the longest end of `tail` that `log` begins with, or, if `log` is shorter than that, has at its beginning
 * as far as it goes: what a log that was rotated within the tail still has of it. 0 if none.
 */
export function overlapWithTail(tail: Buffer, log: Buffer): number {
  const begin = log.subarray(0, tail.length);
  if (begin.length === 0) return 0;
  const search = new StreamSearch(begin);
  search.push(tail);
  return search.firstEnd === undefined ? search.matched : tail.length - search.firstEnd + begin.length;
}

/**
 * Puts back the line ends that Docker 20.10's `local` driver loses: the last piece of a line that was cut is logged
 * without one. Messages go in one stream's order; what comes out is the stream's own bytes.
 */
export class LogPieces<Mark> {
  #inLine: boolean;
  #undecided: { readonly bytes: Buffer; readonly mark: Mark } | undefined;

  /** `inLine`: the first message may be the rest of a line whose beginning is not read. */
  constructor(inLine = false) {
    this.#inLine = inLine;
  }

  /** Calls `emit` for what this message settles: the one before it, itself, both or none. */
  push(bytes: Buffer, mark: Mark, emit: (bytes: Buffer, mark: Mark) => void): void {
    const before = this.#undecided;
    if (before !== undefined) {
      this.#undecided = undefined;
      emit(Buffer.concat([before.bytes, Buffer.of(NEWLINE)]), before.mark);
    }
    if (bytes.at(-1) === NEWLINE) {
      this.#inLine = false;
    } else if (bytes.length >= LOG_PIECE_BYTES) {
      this.#inLine = true;
    } else if (this.#inLine) {
      // The end of a cut line, or what the stream ended with: the next message tells.
      this.#inLine = false;
      this.#undecided = { bytes, mark };
      return;
    }
    emit(bytes, mark);
  }

  /** What is left when the stream itself has ended. Whether a line end followed it cannot be known. */
  rest(): { readonly bytes: Buffer; readonly mark: Mark } | undefined {
    return this.#undecided;
  }
}

/**
 * Looks for a pattern in a stream of bytes that comes in parts; counts places from the stream's first byte.
 * In linear time whatever the bytes are (Knuth, Morris, Pratt): Buffer.indexOf takes minutes for a megabyte of a pattern
 * that nearly repeats itself.
 */
export class StreamSearch {
  readonly #pattern: Buffer;
  /** For each beginning of the pattern the length of its longest proper end that is a beginning, too. */
  readonly #borders: Int32Array;
  /** How many of the pattern's first bytes are the last that came. */
  matched = 0;
  #at = 0;
  /** Where the first and the last occurrence end. */
  firstEnd: number | undefined;
  lastEnd: number | undefined;

  /** `pattern` must not be empty. */
  constructor(pattern: Buffer) {
    this.#pattern = pattern;
    this.#borders = new Int32Array(pattern.length);
    let border = 0;
    for (let at = 1; at < pattern.length; at++) {
      border = this.#extend(border, pattern[at]);
      this.#borders[at] = border;
    }
  }

  push(bytes: Buffer): void {
    const length = this.#pattern.length;
    let matched = this.matched;
    for (let at = 0; at < bytes.length; at++) {
      if (matched === length) matched = this.#borders[length - 1] ?? 0;
      matched = this.#extend(matched, bytes[at]);
      if (matched < length) continue;
      this.lastEnd = this.#at + at + 1;
      this.firstEnd ??= this.lastEnd;
    }
    this.matched = matched;
    this.#at += bytes.length;
  }

  /** The longest beginning of the pattern that ends here, if one of length `matched` ended before this byte. */
  #extend(matched: number, byte: number | undefined): number {
    const pattern = this.#pattern;
    const borders = this.#borders;
    let length = matched;
    while (length > 0 && pattern[length] !== byte) length = borders[length - 1] ?? 0;
    return pattern[length] === byte ? length + 1 : length;
  }
}

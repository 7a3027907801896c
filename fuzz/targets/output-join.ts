// Where Docker's log and an attach meet. A stream is made, logged and attached to by the rules of Docker's log copier, so that
// the truth is known: what is said is right, or nothing is said. Searches are held to the plain ways to search.

import assert from 'node:assert/strict';
import {
  alignEnds,
  certainlyLogged,
  join,
  LOG_PIECE_BYTES,
  LogPieces,
  overlapWithTail,
  StreamSearch,
} from '../../src/container/join.ts';
import { Choices } from '../engine/choices.ts';
import type { Random } from '../engine/random.ts';
import type { Target } from '../engine/target.ts';

const NEWLINE = 0x0a;
const RUNS = [1, 2, 3, 5, 80, 255, 256, 1024, LOG_PIECE_BYTES - 1, LOG_PIECE_BYTES, LOG_PIECE_BYTES + 1];

export function target(): Target {
  return {
    dictionary: [],
    maxBytes: 200,
    make: (random) => random.bytes(6 + random.below(90)),
    run(input) {
      const from = new Choices(input);
      const isSmall = !from.oneIn(40);
      const stream = someStream(from, isSmall);
      checkJoin(stream, from);
      checkPieces(stream);
      const cut = from.below(stream.length + 1);
      const other = from.oneIn(2) ? stream.subarray(from.below(cut + 1)) : someStream(from, true);
      checkSearch(stream.subarray(0, cut), other);
    },
  };
}

/** Lines of few different bytes: they nearly repeat themselves. */
function someStream(from: Random, isSmall: boolean): Buffer {
  return Buffer.concat(
    from.several(14, () => {
      const length = isSmall ? 1 + from.below(5) : from.pick(RUNS);
      const run = Buffer.alloc(length, from.pick(['a', 'b', 'ab']));
      return from.oneIn(2) ? Buffer.concat([run, Buffer.of(NEWLINE)]) : run;
    }),
  );
}

/** What Docker has logged of a stream that goes on: whole lines, and of a longer one whole pieces. */
function loggedBytes(stream: Buffer): number {
  const open = stream.lastIndexOf(NEWLINE) + 1;
  return stream.length - ((stream.length - open) % LOG_PIECE_BYTES);
}

function checkJoin(stream: Buffer, from: Random): void {
  const attachedAt = from.below(stream.length + 1);
  const readUpTo = attachedAt + from.below(stream.length - attachedAt + 1);
  const quiet = from.oneIn(2);
  const held = stream.subarray(attachedAt, quiet ? stream.length : readUpTo);
  const window = stream.subarray(0, loggedBytes(stream));
  if (attachedAt > window.length) return;
  assert.ok(certainlyLogged(held) <= held.length);
  for (const final of [false, true]) {
    const place = join({ window, held, quiet, final });
    if (place.kind === 'gap') assert.equal(place.bytes, attachedAt, 'a wrong place');
    if (place.kind === 'ambiguous')
      assert.ok(
        final && place.first <= attachedAt && attachedAt <= place.last,
        'the place is not among them',
      );
    if (place.kind === 'gone') assert.ok(final && certainlyLogged(held) === 0, 'it is there');
  }
  const aligned = alignEnds(window, held);
  assert.ok(aligned === undefined || aligned <= window.length);
}

/** A log that loses no line end gives back the stream. */
function checkPieces(stream: Buffer): void {
  const pieces = new LogPieces<number>();
  const out: Buffer[] = [];
  let at = 0;
  while (at < stream.length) {
    const newline = stream.subarray(at, at + LOG_PIECE_BYTES).indexOf(NEWLINE);
    const end = newline >= 0 ? at + newline + 1 : Math.min(stream.length, at + LOG_PIECE_BYTES);
    pieces.push(stream.subarray(at, end), at, (bytes) => out.push(bytes));
    at = end;
  }
  out.push(pieces.rest()?.bytes ?? Buffer.alloc(0));
  assert.ok(Buffer.concat(out).equals(stream), 'the pieces are another stream');
}

function checkSearch(one: Buffer, other: Buffer): void {
  assert.equal(overlapWithTail(one, other), plainOverlap(one, other));
  if (other.length === 0) return;
  const search = new StreamSearch(other);
  const middle = one.length >> 1;
  search.push(one.subarray(0, middle));
  search.push(one.subarray(middle));
  const first = one.indexOf(other);
  assert.equal(search.firstEnd, first < 0 ? undefined : first + other.length);
  assert.equal(search.lastEnd, first < 0 ? undefined : one.lastIndexOf(other) + other.length);
}

function plainOverlap(tail: Buffer, log: Buffer): number {
  if (log.length === 0) return 0;
  for (let at = 0; at < tail.length; at++) {
    const length = Math.min(tail.length - at, log.length);
    if (tail.compare(log, 0, length, at, at + length) === 0) return tail.length - at;
  }
  return 0;
}

// The seam between log and attach: join() must be right or say that it cannot tell, whatever the bytes are.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  alignEnds,
  certainlyLogged,
  join,
  LOG_PIECE_BYTES,
  LogPieces,
  overlapWithTail,
  StreamSearch,
} from '../../../src/container/join.ts';
import { messagesOf } from '../../support/model-docker.ts';
import { streams } from '../../support/streams.ts';

const RUNS = { numRuns: 200 };

/** What a reader of the log knows of a stream of which these bytes were written so far. */
function logged(bytes: Buffer, ended = false): { text: Buffer; rest: Buffer | undefined } {
  const pieces = new LogPieces<undefined>();
  const out: Buffer[] = [];
  for (const message of messagesOf(bytes, ended)) pieces.push(message, undefined, (piece) => out.push(piece));
  return { text: Buffer.concat(out), rest: pieces.rest()?.bytes };
}

describe('LogPieces', () => {
  it('gives the bytes of the stream back, whatever its lines are', () => {
    fc.assert(
      fc.property(streams(), (stream) => {
        const { text, rest } = logged(stream);
        assert.ok(stream.subarray(0, text.length).equals(text));
        assert.ok(stream.length - text.length < 2 * LOG_PIECE_BYTES + 1);
        const end = logged(stream, true);
        const whole = Buffer.concat([end.text, end.rest ?? Buffer.alloc(0)]);
        const isWhole = whole.equals(stream);
        const lacksNewline =
          end.rest !== undefined && Buffer.concat([whole, Buffer.from('\n')]).equals(stream);
        assert.ok(isWhole || lacksNewline);
        assert.ok(rest === undefined || rest.length < LOG_PIECE_BYTES);
      }),
      RUNS,
    );
  });

  it('also where the driver keeps all line ends', () => {
    const pieces = new LogPieces<undefined>();
    const out: string[] = [];
    const line = 'x'.repeat(LOG_PIECE_BYTES);
    for (const message of [line, 'rest\n', 'next\n', 'open']) {
      pieces.push(Buffer.from(message), undefined, (piece) => out.push(piece.toString()));
    }
    assert.equal(out.join(''), `${line}rest\nnext\nopen`);
    assert.equal(pieces.rest(), undefined);
  });
});

describe('certainlyLogged', () => {
  it('is never more than the log has', () => {
    fc.assert(
      fc.property(streams(), fc.nat(), fc.nat(), (stream, a, b) => {
        const [from, to] = cut(stream, a, b);
        const certain = certainlyLogged(stream.subarray(from, to));
        assert.ok(from + certain <= Math.max(from, logged(stream.subarray(0, to)).text.length));
      }),
      RUNS,
    );
  });

  it('is all of several short lines', () => {
    assert.equal(certainlyLogged(Buffer.from('of a line\nshort\nshort\nopen')), 22);
    assert.equal(certainlyLogged(Buffer.from('of a line\n')), 0);
    assert.equal(certainlyLogged(Buffer.alloc(0)), 0);
  });
});

describe('join', () => {
  // The window begins at `base`, the attach at `began`, it has delivered up to `seen`, the container wrote up to `wrote`.
  const cases = fc.tuple(streams(), fc.nat(), fc.nat(), fc.nat(), fc.nat(), fc.boolean());

  it('gives the place at which the attach began, or none', () => {
    const kinds = new Map<string, number>();
    fc.assert(
      fc.property(cases, ([stream, a, b, c, d, stops]) => {
        const [base, began, seen, wrote] = order(stream, a, b, c, d);
        const held = stream.subarray(began, seen);
        const window = logged(stream.subarray(0, stops ? seen : wrote)).text.subarray(base);
        const place = join({ window, held, quiet: stops, final: false });
        kinds.set(place.kind, (kinds.get(place.kind) ?? 0) + 1);
        if (place.kind === 'gap') assert.equal(place.bytes, began - base);
        else assert.equal(place.kind, 'more');
      }),
      { numRuns: 1500 },
    );
    assert.ok((kinds.get('gap') ?? 0) > 150, JSON.stringify([...kinds]));
    assert.ok((kinds.get('more') ?? 0) > 150, JSON.stringify([...kinds]));
  });

  it('names bounds that hold when it must decide', () => {
    fc.assert(
      fc.property(cases, ([stream, a, b, c, d]) => {
        const [base, began, seen, wrote] = order(stream, a, b, c, d);
        const held = stream.subarray(began, seen);
        const window = logged(stream.subarray(0, wrote)).text.subarray(base);
        const place = join({ window, held, quiet: false, final: true });
        const truth = began - base;
        if (place.kind === 'gap') assert.equal(place.bytes, truth);
        else if (place.kind === 'ambiguous') assert.ok(place.first <= truth && truth <= place.last);
        else if (place.kind === 'gone') assert.equal(certainlyLogged(held), 0);
        else assert.equal(held.length, 0);
      }),
      { numRuns: 600 },
    );
  });

  it('never has less in both than there is, where the log can be asked no more', () => {
    fc.assert(
      fc.property(cases, ([stream, a, b, c, d]) => {
        const [base, began, seen, wrote] = order(stream, a, b, c, d);
        const held = stream.subarray(began, seen);
        const window = logged(stream.subarray(0, wrote)).text.subarray(base);
        if (held.length > 0) assert.ok(overlapWithTail(window, held) >= base + window.length - began);
      }),
      { numRuns: 600 },
    );
    assert.equal(overlapWithTail(Buffer.from('one\ntwo\n'), Buffer.from('two\nthree\n')), 4);
    assert.equal(overlapWithTail(Buffer.from('one\ntwo\n'), Buffer.from('three\n')), 0);
  });

  it('finds the place in a repetitive stream once nothing moves', () => {
    const stream = Buffer.from('y\n'.repeat(1000));
    const held = stream.subarray(600);
    assert.deepEqual(join({ window: stream, held, quiet: false, final: false }), { kind: 'more' });
    assert.deepEqual(join({ window: stream, held, quiet: true, final: false }), { kind: 'gap', bytes: 600 });
    assert.deepEqual(join({ window: stream.subarray(0, 1900), held, quiet: true, final: false }), {
      kind: 'gap',
      bytes: 500,
    });
  });

  it('finds the part of an open line that nobody copied', () => {
    const window = Buffer.from('Password: secret\nWelcome\n');
    const held = Buffer.from('secret\nWelcome\n');
    assert.deepEqual(join({ window, held, quiet: true, final: false }), { kind: 'gap', bytes: 10 });
  });

  it('says that the log lacks something', () => {
    const held = Buffer.from('a\nb\nc\n');
    assert.deepEqual(join({ window: Buffer.from('a\nc\n'), held, quiet: false, final: true }), {
      kind: 'gone',
    });
  });
});

describe('alignEnds', () => {
  const lines = Buffer.from(Array.from({ length: 20_000 }, (_, n) => `line ${n} of them\n`).join(''));
  const place = (least: number, most: number): fc.Arbitrary<number> => fc.integer({ min: least, max: most });

  it('tells how they stand, whichever goes further, though the log lacks something that the attach has', () => {
    fc.assert(
      fc.property(
        place(0, 50_000),
        place(0, 30_000),
        place(100_000, 200_000),
        place(100_000, 200_000),
        (hole, began, loggedTo, heldTo) => {
          const window = Buffer.concat([lines.subarray(0, hole), lines.subarray(hole + 40_000, loggedTo)]);
          const at = alignEnds(window, lines.subarray(began, heldTo));
          assert.ok(at !== undefined);
          // So many of the attach's bytes are in the log, or lie where it lacks some.
          assert.equal(window.length - at, loggedTo - began);
        },
      ),
      RUNS,
    );
  });

  it('never doubles what repeats itself', () => {
    const same = Buffer.from('the same\n'.repeat(5_000));
    fc.assert(
      fc.property(
        place(0, 20_000),
        place(25_000, 45_000),
        place(25_000, 45_000),
        (began, loggedTo, heldTo) => {
          const window = same.subarray(0, loggedTo);
          const at = alignEnds(window, same.subarray(began, heldTo));
          assert.ok(at !== undefined && window.length - at > loggedTo - began - 'the same\n'.length);
        },
      ),
      RUNS,
    );
  });

  it('does not say where the end of neither is in the other, or too short to tell', () => {
    assert.equal(alignEnds(lines.subarray(0, 50_000), lines.subarray(100_000, 150_000)), undefined);
    assert.equal(alignEnds(lines.subarray(0, 100), lines.subarray(0, 100)), undefined);
    assert.equal(alignEnds(Buffer.alloc(0), lines), undefined);
  });
});

describe('overlapWithTail', () => {
  it('is the longest', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', 'b') }),
        fc.string({ unit: fc.constantFrom('a', 'b') }),
        (x, y) => {
          const lengths = Array.from({ length: x.length }, (_, n) => n + 1);
          const fits = (n: number): boolean => x.slice(-n).startsWith(y.slice(0, n)) && y !== '';
          const longest = Math.max(0, ...lengths.filter(fits));
          assert.equal(overlapWithTail(Buffer.from(x), Buffer.from(y)), longest);
        },
      ),
      RUNS,
    );
  });
});

describe('a tail that nearly repeats itself', () => {
  it('is held against a log in linear time', () => {
    // Compared at each place anew these would be sixteen thousand million bytes.
    const tail = Buffer.alloc(2 ** 18, 'a');
    const log = Buffer.alloc(2 ** 18, 'a');
    log[2 ** 17] = 0x62;
    assert.equal(overlapWithTail(tail, log), 2 ** 17);
  });
});

describe('StreamSearch', () => {
  it('finds first and last occurrence across parts', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 60 });
    const needle = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.array(letters), needle, (parts, pattern) => {
        const search = new StreamSearch(Buffer.from(pattern));
        for (const part of parts) search.push(Buffer.from(part));
        const whole = parts.join('');
        const end = (at: number): number | undefined => (at < 0 ? undefined : at + pattern.length);
        assert.equal(search.firstEnd, end(whole.indexOf(pattern)));
        assert.equal(search.lastEnd, end(whole.lastIndexOf(pattern)));
      }),
      RUNS,
    );
  });
});

function cut(stream: Buffer, a: number, b: number): [number, number] {
  const [from, to] = [a % (stream.length + 1), b % (stream.length + 1)].sort((x, y) => x - y);
  return [from ?? 0, to ?? 0];
}

/** base ≤ logged end, base ≤ began ≤ seen ≤ wrote. */
function order(stream: Buffer, ...places: number[]): [number, number, number, number] {
  const sorted = places.map((place) => place % (stream.length + 1)).sort((x, y) => x - y);
  const [base = 0, began = 0, seen = 0, wrote = 0] = sorted;
  return [Math.min(base, logged(stream.subarray(0, seen)).text.length), began, seen, wrote];
}

// Changes an input a little, in the ways that parsers have been broken with: bits, numbers at their edges, cut and repeated
// pieces, words of the language, pieces of another input. Bytes in, bytes out; nothing here knows a format.

import type { Random } from './random.ts';

/** Lengths and counters on a wire: these break sums and comparisons. */
const EDGE_BYTES: readonly number[] = [0, 1, 0x0a, 0x20, 0x2f, 0x3a, 0x7f, 0x80, 0xfe, 0xff];
const EDGE_WORDS: readonly number[] = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x0001_0000, 0x0400_0001];
/** Changes to one input at most. */
const CHANGES_MAX = 6;
/** How often a piece is repeated where a repetition is to grow large. */
const PUMPED_TIMES = 400;

export interface Material {
  readonly dictionary: readonly Buffer[];
  /** Another input, for a piece of it. */
  readonly other: Buffer;
  readonly maxBytes: number;
}

export function mutate(input: Buffer, random: Random, material: Material): Buffer {
  let changed = input;
  for (let left = 1 + random.below(CHANGES_MAX); left > 0; left--)
    changed = change(changed, random, material);
  return changed.length > material.maxBytes ? changed.subarray(0, material.maxBytes) : changed;
}

function change(input: Buffer, random: Random, { dictionary, other }: Material): Buffer {
  const at = random.below(input.length + 1);
  const length = random.below(Math.min(input.length - at, 1 + random.below(64)) + 1);
  const before = input.subarray(0, at);
  const after = input.subarray(at);
  switch (random.below(14)) {
    case 0: // one bit
      return overwritten(input, at, [(input[at] ?? 0) ^ (1 << random.below(8))]);
    case 1:
      return overwritten(input, at, [random.pick(EDGE_BYTES)]);
    case 2:
      return overwritten(input, at, [random.bits() & 0xff]);
    case 3: // a step up or down
      return overwritten(input, at, [(input[at] ?? 0) + 1 - 2 * random.below(2)]);
    case 4: {
      const word = Buffer.alloc(4);
      const value = random.pick(EDGE_WORDS);
      if (random.oneIn(2)) word.writeUInt32LE(value);
      else word.writeUInt32BE(value);
      return overwritten(input, at, word);
    }
    case 5: // cut out
      return Buffer.concat([before, after.subarray(length)]);
    case 6: // cut off
      return before;
    case 7: // again, in the same place
      return Buffer.concat([before, after.subarray(0, length), after]);
    case 8: {
      // again, elsewhere
      const to = random.below(input.length + 1);
      return Buffer.concat([input.subarray(0, to), after.subarray(0, length), input.subarray(to)]);
    }
    case 9: // often
      return random.oneIn(40)
        ? Buffer.concat([
            before,
            ...Array<Buffer>(random.below(PUMPED_TIMES)).fill(after.subarray(0, length)),
            after,
          ])
        : Buffer.concat([before, ...Array<Buffer>(random.below(6)).fill(after.subarray(0, length)), after]);
    case 10:
    case 11:
      if (dictionary.length === 0) return Buffer.concat([before, random.bytes(random.below(5)), after]);
      return Buffer.concat([
        before,
        random.pick(dictionary),
        random.oneIn(2) ? after : after.subarray(length),
      ]);
    case 12: {
      // a number in decimals
      const digits = Buffer.from(String(random.edge()));
      return Buffer.concat([before, digits, after.subarray(random.below(length + 1))]);
    }
    default: {
      const from = random.below(other.length + 1);
      return Buffer.concat([before, other.subarray(from, from + random.below(256)), after.subarray(length)]);
    }
  }
}

function overwritten(input: Buffer, at: number, bytes: ArrayLike<number>): Buffer {
  const changed = Buffer.from(input);
  for (let i = 0; i < bytes.length && at + i < changed.length; i++) changed[at + i] = bytes[i] ?? 0;
  return changed;
}

/** Smaller inputs of the same kind, the smallest first: what a failure may be cut down to. */
export function* smaller(input: Buffer): Generator<Buffer> {
  for (let piece = input.length; piece >= 1; piece = Math.floor(piece / 2)) {
    for (let at = 0; at + piece <= input.length; at += piece)
      yield Buffer.concat([input.subarray(0, at), input.subarray(at + piece)]);
  }
}

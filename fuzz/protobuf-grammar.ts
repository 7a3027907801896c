// Well-formed messages of our tables, made by chance: fields of a message in their order or not, several times or not at all,
// beside fields that no table knows.

import type { Fields, Kind, Message } from '../src/mesos/codec.ts';
import type { Random } from './engine/random.ts';

/** Words for strings by the field's name; `other` for all the rest. */
export type Words = Readonly<Record<string, readonly string[]>> & { readonly other: readonly string[] };

export interface Habits {
  readonly words: Words;
  /** Fields that are nearly always there, as `Message.field`. */
  readonly usual: readonly string[];
}

const DEPTH_MAX = 8;

export function makeMessage(type: Message<Fields>, random: Random, habits: Habits, depth = 0): Buffer {
  const parts: Buffer[] = [];
  for (const [name, [number, kind, label]] of Object.entries(type.fields)) {
    const isUsual = habits.usual.includes(`${type.name}.${name}`);
    if (!isUsual && !random.oneIn(2 + depth)) continue;
    const times = label === 'repeated' || random.oneIn(30) ? 1 + random.below(3) : 1;
    for (let left = times; left > 0; left--)
      parts.push(field(number, kind, name, { random, habits, depth }, label === 'repeated'));
  }
  if (random.oneIn(8)) parts.push(unknownField(random));
  if (random.oneIn(8)) parts.reverse();
  return Buffer.concat(parts);
}

interface Making {
  readonly random: Random;
  readonly habits: Habits;
  readonly depth: number;
}

function field(number: number, kind: Kind, name: string, making: Making, mayPack: boolean): Buffer {
  const { random, habits, depth } = making;
  if (typeof kind !== 'string') {
    const nested = depth > DEPTH_MAX ? Buffer.alloc(0) : makeMessage(kind, random, habits, depth + 1);
    return delimited(number, nested);
  }
  if (kind === 'string') {
    const words = habits.words[name] ?? habits.words.other;
    const word = random.oneIn(5) ? random.text(words, 6) : random.pick(words);
    return delimited(number, Buffer.from(word));
  }
  if (kind === 'bytes') return delimited(number, random.bytes(random.below(20)));
  if (kind === 'double') {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(
      random.pick([0, 0.1, 1, 64, 1024, -1, 1e308, Number.NaN, Infinity, random.bits() / 1000]),
    );
    return Buffer.concat([varint(BigInt(number * 8 + 1)), bytes]);
  }
  const value =
    kind === 'bool' || kind === 'enum'
      ? random.below(5)
      : random.oneIn(3)
        ? random.edge()
        : 31_000 + random.below(20);
  const digits = varint(BigInt.asUintN(64, BigInt(value)));
  if (mayPack && random.oneIn(3)) return delimited(number, Buffer.concat([digits, digits]));
  return Buffer.concat([varint(BigInt(number * 8)), digits]);
}

function unknownField(random: Random): Buffer {
  const number = random.pick([0, 1, 15, 16, 99, 536_870_911]);
  return random.oneIn(2)
    ? delimited(number, random.bytes(random.below(6)))
    : Buffer.concat([varint(BigInt(number * 8 + random.below(8))), random.bytes(random.below(9))]);
}

export function delimited(number: number, payload: Buffer): Buffer {
  return Buffer.concat([varint(BigInt(number * 8 + 2)), varint(BigInt(payload.length)), payload]);
}

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
}

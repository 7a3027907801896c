// A proto2 codec driven by tables: a message is a const table of its fields, its TypeScript type follows from it.
// Written for verbs that must start as fast as the bare runtime: nothing is generated or compiled at load time.
// Decoding treats its input as hostile: every length is checked before it is used, nesting is as deep as the tables
// (which cannot refer to themselves) and no deeper, and the number of values is bounded.
// Whatever is wrong with the bytes is a Fault 'protocol'; a RangeError from encoding is a bug in the caller.

import { Fault } from '../fault.ts';

export type ScalarKind =
  | 'int32'
  | 'int64'
  | 'uint32'
  | 'uint64'
  | 'bool'
  | 'double'
  | 'enum'
  | 'string'
  | 'bytes';

/** What messages are made of. Two fields may share a number where their wire types differ (CommandInfo [6]). */
export type Fields = Readonly<Record<string, readonly [number, Kind] | readonly [number, Kind, 'repeated']>>;
export type Kind = ScalarKind | Message<Fields>;

export interface Message<F extends Fields> {
  readonly name: string;
  readonly fields: F;
  readonly index: Index;
}

/** What decoding looks up; filled when the message is first decoded. */
interface Index {
  /** By number × 8 + wire type. */
  readonly byKey: Map<number, IndexEntry>;
  readonly repeated: string[];
}

interface IndexEntry {
  readonly name: string;
  readonly kind: Kind;
  readonly repeated: boolean;
  /** A repeated scalar in its packed form. */
  readonly packed: boolean;
}

type ValueOf<K> =
  K extends Message<infer F>
    ? Decoded<F>
    : K extends 'string'
      ? string
      : K extends 'bytes'
        ? Buffer
        : K extends 'bool'
          ? boolean
          : number;

type Decoded<F extends Fields> = {
  readonly [N in keyof F as F[N] extends readonly [number, Kind] ? N : never]?: ValueOf<F[N][1]>;
} & {
  readonly [N in keyof F as F[N] extends readonly [number, Kind, 'repeated'] ? N : never]: readonly ValueOf<
    F[N][1]
  >[];
};

type InputOf<K> = K extends Message<infer F> ? Encodable<F> : K extends 'bytes' ? Uint8Array : ValueOf<K>;

type Encodable<F extends Fields> = {
  readonly [N in keyof F]?:
    | (F[N] extends readonly [number, Kind, 'repeated'] ? readonly InputOf<F[N][1]>[] : InputOf<F[N][1]>)
    | undefined;
};

/** What decoding gives: singular fields only where they were sent, repeated ones always. */
export type Infer<M> = M extends Message<infer F> ? Decoded<F> : never;
/** What encoding takes: every field may be left out. */
export type Input<M> = M extends Message<infer F> ? Encodable<F> : never;

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

const TWO_32 = 0x1_0000_0000;
const LONGEST_VARINT_BYTES = 10;

/**
 * Values in one message, nested ones included: far above any real one, low enough that a record
 * of nothing but empty messages cannot exhaust memory.
 */
const MAX_VALUES = 250_000;

/** Declares a message. Field order is the order in which fields are encoded: by number, as other implementations do. */
export function message<const F extends Fields>(name: string, fields: F): Message<F> {
  return { name, fields, index: { byKey: new Map(), repeated: [] } };
}

function wireTypeOf(kind: Kind): number {
  if (typeof kind !== 'string' || kind === 'string' || kind === 'bytes') return LENGTH;
  return kind === 'double' ? FIXED64 : VARINT;
}

function indexOf({ fields, index }: Message<Fields>): Index {
  const { byKey } = index;
  if (byKey.size > 0) return index;
  for (const [name, [number, kind, label]] of Object.entries(fields)) {
    const repeated = label === 'repeated';
    const wireType = wireTypeOf(kind);
    byKey.set(number * 8 + wireType, { name, kind, repeated, packed: false });
    if (repeated) index.repeated.push(name);
    if (repeated && wireType !== LENGTH)
      byKey.set(number * 8 + LENGTH, { name, kind, repeated, packed: true });
  }
  return index;
}

/**
 * The message in `bytes`. Unknown fields, and known ones with another wire type, are passed over; the last of several
 * values of a singular field wins, nested messages merge; strings that are not UTF-8 get replacement characters.
 * `bytes` fields are copies. Fault 'protocol' naming the message for anything that is not protobuf.
 */
export function decode<F extends Fields>(type: Message<F>, bytes: Uint8Array): Decoded<F> {
  const reader = new Reader(bytes, type.name);
  const target: Target = {};
  decodeInto(target, type, reader, reader.length);
  // The tables say which field has which type, and decodeInto follows them: what it filled is what they describe.
  return target as Decoded<F>;
}

type Value = number | boolean | string | Buffer | Target;
interface Target {
  [field: string]: Value | Value[];
}

function decodeInto(target: Target, type: Message<Fields>, reader: Reader, end: number): void {
  const { byKey, repeated } = indexOf(type);
  for (const name of repeated) target[name] ??= [];
  while (reader.position < end) {
    const key = reader.key(end);
    const entry = byKey.get(key);
    if (entry === undefined) {
      reader.skip(key & 7, end);
      continue;
    }
    reader.count();
    const { name, kind } = entry;
    const present = target[name];
    if (typeof kind !== 'string') {
      const nestedEnd = reader.lengthEnd(end);
      const merged = !entry.repeated && isTarget(present) ? present : {};
      decodeInto(merged, kind, reader, nestedEnd);
      if (Array.isArray(present)) present.push(merged);
      else target[name] = merged;
    } else if (entry.packed) {
      const packedEnd = reader.lengthEnd(end);
      while (reader.position < packedEnd) {
        reader.count();
        if (Array.isArray(present)) present.push(reader.scalar(kind, packedEnd));
      }
    } else {
      const value = reader.scalar(kind, end);
      if (Array.isArray(present)) present.push(value);
      else target[name] = value;
    }
  }
}

function isTarget(value: Value | Value[] | undefined): value is Target {
  return typeof value === 'object' && !Array.isArray(value) && !Buffer.isBuffer(value);
}

/**
 * The payload of the length-delimited field of that number, as a view of `bytes`; undefined where there is none. Of several the
 * payloads behind one another, which are the message that decode makes of them. For passing a nested message on exactly as it
 * came, with what our tables do not know.
 */
export function rawField(bytes: Uint8Array, fieldNumber: number): Buffer | undefined {
  const reader = new Reader(bytes, `field ${fieldNumber}`);
  const found: Buffer[] = [];
  while (reader.position < reader.length) {
    const key = reader.key(reader.length);
    if (key === fieldNumber * 8 + LENGTH) {
      reader.count();
      found.push(reader.view(reader.length));
    } else reader.skip(key & 7, reader.length);
  }
  return found.length > 1 ? Buffer.concat(found) : found[0];
}

/** A cursor over the whole record; every method is given the end of the message it reads in, and never passes it. */
class Reader {
  position = 0;
  readonly length: number;
  readonly #bytes: Buffer;
  readonly #name: string;
  #values = 0;
  // The last varint, as two unsigned halves: a JS number cannot hold 64 bits.
  #low = 0;
  #high = 0;

  constructor(bytes: Uint8Array, name: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#name = name;
    this.length = bytes.byteLength;
  }

  fault(what: string): Fault {
    return new Fault('protocol', `${this.#name}: ${what} at byte ${this.position} of ${this.length}`);
  }

  count(): void {
    this.#values += 1;
    if (this.#values > MAX_VALUES) throw this.fault(`more than ${MAX_VALUES} values`);
  }

  #varint(end: number): void {
    let low = 0;
    let high = 0;
    for (let i = 0; i < LONGEST_VARINT_BYTES; i += 1) {
      if (this.position >= end) throw this.fault('truncated number');
      const byte = this.#bytes.readUInt8(this.position);
      this.position += 1;
      const bits = byte & 0x7f;
      const shift = i * 7;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        this.#low = low >>> 0;
        this.#high = high >>> 0;
        return;
      }
    }
    throw this.fault(`number longer than ${LONGEST_VARINT_BYTES} bytes`);
  }

  /** field number × 8 + wire type; at most 32 bits. */
  key(end: number): number {
    this.#varint(end);
    if (this.#high !== 0 || this.#low < 8) throw this.fault('impossible field number');
    return this.#low;
  }

  lengthEnd(end: number): number {
    this.#varint(end);
    if (this.#high !== 0 || this.#low > end - this.position) throw this.fault('length past the end');
    return this.position + this.#low;
  }

  view(end: number): Buffer {
    const viewEnd = this.lengthEnd(end);
    const view = this.#bytes.subarray(this.position, viewEnd);
    this.position = viewEnd;
    return view;
  }

  skip(wireType: number, end: number): void {
    if (wireType === VARINT) this.#varint(end);
    else if (wireType === FIXED64) this.#advance(8, end);
    else if (wireType === LENGTH) this.position = this.lengthEnd(end);
    else if (wireType === FIXED32) this.#advance(4, end);
    else throw this.fault(wireType < 5 ? 'a group, which Mesos does not use,' : 'impossible wire type');
  }

  #advance(byteCount: number, end: number): number {
    const start = this.position;
    if (byteCount > end - start) throw this.fault('truncated value');
    this.position = start + byteCount;
    return start;
  }

  scalar(kind: ScalarKind, end: number): number | boolean | string | Buffer {
    switch (kind) {
      case 'double':
        return this.#bytes.readDoubleLE(this.#advance(8, end));
      case 'string':
        return this.view(end).toString('utf8');
      case 'bytes':
        return Buffer.from(this.view(end));
      default:
        this.#varint(end);
    }
    switch (kind) {
      case 'bool':
        return this.#low !== 0 || this.#high !== 0;
      case 'int32':
      case 'enum':
        return this.#low | 0;
      case 'uint32':
        return this.#low;
      case 'int64':
        return (this.#high | 0) * TWO_32 + this.#low;
      case 'uint64':
        return this.#high * TWO_32 + this.#low;
    }
  }
}

/** `value` as protobuf, fields in the order of the table. RangeError for a number that the field cannot hold. */
export function encode<F extends Fields>(type: Message<F>, value: Encodable<F>): Buffer {
  const parts: Uint8Array[] = [];
  for (const [name, [number, kind, label]] of Object.entries(type.fields)) {
    const given: unknown = value[name];
    if (given === undefined) continue;
    const values: readonly unknown[] = label === 'repeated' && Array.isArray(given) ? given : [given];
    for (const one of values) {
      parts.push(varint(number * 8 + wireTypeOf(kind)));
      const payload = encodeValue(kind, one, `${type.name}.${name}`);
      if (wireTypeOf(kind) === LENGTH) parts.push(varint(payload.byteLength));
      parts.push(payload);
    }
  }
  return Buffer.concat(parts);
}

const INTEGER_BOUNDS = {
  int32: [-0x8000_0000, 0x7fff_ffff],
  enum: [-0x8000_0000, 0x7fff_ffff],
  uint32: [0, 0xffff_ffff],
  // The largest doubles below 2^63 and 2^64.
  int64: [-(2 ** 63), 2 ** 63 - 1024],
  uint64: [0, 2 ** 64 - 2048],
} as const;

function encodeValue(kind: Kind, value: unknown, field: string): Uint8Array {
  if (typeof kind !== 'string') {
    if (typeof value === 'object' && value !== null) return encode(kind, value);
  } else if (kind === 'string') {
    if (typeof value === 'string') return Buffer.from(value, 'utf8');
  } else if (kind === 'bytes') {
    if (value instanceof Uint8Array) return value;
  } else if (kind === 'bool') {
    if (typeof value === 'boolean') return varint(value ? 1 : 0);
  } else if (kind === 'double') {
    if (typeof value === 'number') {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleLE(value);
      return bytes;
    }
  } else if (typeof value === 'number') {
    const [least, largest] = INTEGER_BOUNDS[kind];
    if (Number.isInteger(value) && value >= least && value <= largest) return varint(value);
  }
  throw new RangeError(`${field}: not a ${typeof kind === 'string' ? kind : kind.name}`);
}

/** A negative number goes out as its 64-bit two's complement, ten bytes, whatever the field's width. */
function varint(value: number): Buffer {
  if (value >= 0 && value < 0x80) return Buffer.of(value);
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

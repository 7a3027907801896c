// Protobuf read a second time, straight from the rules of its documentation and with nothing in common with
// src/mesos/codec.ts but the tables: what the two make of the same bytes must be the same.
// Slow on purpose: numbers are BigInts, a message is first taken apart whole, and what comes several times of a singular
// message is joined before it is read, which by the rules is the same as merging.

import type { Fields, Kind, Message } from '../src/mesos/codec.ts';

/** The bytes are no protobuf. */
export class NotProtobuf extends Error {}

interface Part {
  readonly number: bigint;
  readonly wireType: bigint;
  /** Of a number its value, of everything else its bytes. */
  readonly value: bigint;
  readonly bytes: Buffer;
}

const NO_BYTES = Buffer.alloc(0);

export function referenceDecode(type: Message<Fields>, bytes: Buffer): Record<string, unknown> {
  const parts = partsOf(bytes);
  const value: Record<string, unknown> = {};
  for (const [name, [number, kind, label]] of Object.entries(type.fields)) {
    const own = parts.filter((part) => part.number === BigInt(number));
    if (label === 'repeated') value[name] = own.flatMap((part) => repeated(kind, part));
    else Object.assign(value, singular(name, kind, own));
  }
  return value;
}

/** The payloads of a field of that number, joined: what a nested message is as a whole. Undefined: there is none. */
export function referenceRaw(bytes: Buffer, number: number): Buffer | undefined {
  const own = partsOf(bytes).filter((part) => part.number === BigInt(number) && part.wireType === 2n);
  return own.length === 0 ? undefined : Buffer.concat(own.map((part) => part.bytes));
}

function singular(name: string, kind: Kind, parts: readonly Part[]): Record<string, unknown> {
  const own = parts.filter(({ wireType }) => wireType === wireTypeOf(kind));
  const last = own.at(-1);
  if (last === undefined) return {};
  if (typeof kind === 'string') return { [name]: scalar(kind, last) };
  for (const { bytes } of own) referenceDecode(kind, bytes);
  return { [name]: referenceDecode(kind, Buffer.concat(own.map(({ bytes }) => bytes))) };
}

function repeated(kind: Kind, part: Part): readonly unknown[] {
  if (part.wireType === wireTypeOf(kind))
    return [typeof kind === 'string' ? scalar(kind, part) : referenceDecode(kind, part.bytes)];
  if (part.wireType !== 2n || typeof kind !== 'string') return [];
  const packed: unknown[] = [];
  for (let rest = part.bytes; rest.length > 0; ) {
    if (kind === 'double') {
      packed.push(scalar(kind, { ...part, bytes: taken(rest, 8n) }));
      rest = rest.subarray(8);
    } else {
      const { value, after } = varint(rest);
      packed.push(scalar(kind, { ...part, value }));
      rest = after;
    }
  }
  return packed;
}

function wireTypeOf(kind: Kind): bigint {
  if (typeof kind !== 'string' || kind === 'string' || kind === 'bytes') return 2n;
  return kind === 'double' ? 1n : 0n;
}

function scalar(kind: string, { value, bytes }: Part): unknown {
  switch (kind) {
    case 'string':
      return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
    case 'bytes':
      return Buffer.from(bytes);
    case 'double':
      return new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true);
    case 'bool':
      return value !== 0n;
    case 'int32':
    case 'enum':
      return Number(BigInt.asIntN(32, value));
    case 'uint32':
      return Number(BigInt.asUintN(32, value));
    case 'int64':
      return Number(BigInt.asIntN(64, value));
    case 'uint64':
      return Number(BigInt.asUintN(64, value));
    default:
      throw new RangeError(`no kind of field: ${kind}`);
  }
}

function partsOf(bytes: Buffer): readonly Part[] {
  const parts: Part[] = [];
  for (let rest = bytes; rest.length > 0; ) {
    const { value: key, after } = varint(rest);
    const number = key >> 3n;
    const wireType = key & 7n;
    if (number === 0n || key > 0xffff_ffffn) throw new NotProtobuf('impossible field number');
    if (wireType === 0n) {
      const { value, after: behind } = varint(after);
      parts.push({ number, wireType, value, bytes: NO_BYTES });
      rest = behind;
      continue;
    }
    const lengths: Readonly<Record<string, bigint>> = { 1: 8n, 5: 4n };
    const announced = wireType === 2n ? varint(after) : undefined;
    const length = announced?.value ?? lengths[String(wireType)];
    if (length === undefined) throw new NotProtobuf('impossible wire type');
    const from = announced?.after ?? after;
    parts.push({ number, wireType, value: 0n, bytes: taken(from, length) });
    rest = from.subarray(Number(length));
  }
  return parts;
}

function taken(bytes: Buffer, length: bigint): Buffer {
  if (length > BigInt(bytes.length)) throw new NotProtobuf('a length past the end');
  return bytes.subarray(0, Number(length));
}

function varint(bytes: Buffer): { readonly value: bigint; readonly after: Buffer } {
  let value = 0n;
  for (const [at, byte] of bytes.subarray(0, 10).entries()) {
    value |= BigInt(byte & 0x7f) << BigInt(7 * at);
    if (byte < 0x80) return { value: BigInt.asUintN(64, value), after: bytes.subarray(at + 1) };
  }
  throw new NotProtobuf('a number without an end');
}

// The protobuf codec against a second reading of the same bytes, for every message that Deimos exchanges with a slave.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { decode, encode, type Fields, type Message, rawField } from '../../src/mesos/codec.ts';
import * as messages from '../../src/mesos/messages.ts';
import { attempt, byteWords, type Target } from '../engine/target.ts';
import { makeMessage } from '../protobuf-grammar.ts';
import { NotProtobuf, referenceDecode, referenceRaw } from '../reference-protobuf.ts';

const TYPES: readonly Message<Fields>[] = Object.values<unknown>(messages).filter(isMessage);
const RAW_FIELDS = [messages.RUN_TASK_TASK, 2, 1];
const HABITS = { words: { other: ['', 'a', 'slave(1)@127.0.0.1:5051', 'é漢😀', '\0'] }, usual: [] };

/** The first byte of an input says which message it is. */
export function target(): Target {
  return {
    dictionary: byteWords(
      '\x0a',
      '\x12\x00',
      '\x08\x01',
      '\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01',
      '\x80\x80\x80\x80\x10',
    ),
    make(random) {
      const number = random.below(TYPES.length);
      return Buffer.concat([Buffer.of(number), makeMessage(typeAt(number), random, HABITS)]);
    },
    run(input) {
      const bytes = input.subarray(1);
      const type = typeAt(input[0] ?? 0);
      const { value, fault } = attempt(['protocol'], () => decode(type, bytes));
      const expected = reference(() => referenceDecode(type, bytes));
      if (fault !== undefined || expected === undefined) {
        assert.ok(
          fault !== undefined && expected === undefined,
          `${type.name} is malformed to one of the two`,
        );
        return;
      }
      assert.ok(isDeepStrictEqual(value, expected), `${type.name} reads differently`);
      const again = withoutLosses(() => encode(type, value));
      if (again !== undefined)
        assert.ok(isDeepStrictEqual(decode(type, again), value), `${type.name} is written differently`);
      for (const number of RAW_FIELDS)
        assert.deepEqual(
          rawField(bytes, number),
          reference(() => referenceRaw(bytes, number)),
        );
    },
  };
}

function isMessage(value: unknown): value is Message<Fields> {
  return typeof value === 'object' && value !== null && 'index' in value && 'fields' in value;
}

function typeAt(number: number): Message<Fields> {
  // An index below the length leads to an element.
  return TYPES[number % TYPES.length] as Message<Fields>;
}

function reference<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof NotProtobuf) return undefined;
    throw error;
  }
}

/** 64-bit numbers at the ends of their range become doubles beyond it, which encode refuses. */
function withoutLosses<T>(write: () => T): T | undefined {
  try {
    return write();
  } catch (error) {
    if (error instanceof RangeError && /: not a u?int64$/.test(error.message)) return undefined;
    throw error;
  }
}

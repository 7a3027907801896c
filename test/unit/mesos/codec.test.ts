import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Fault } from '../../../src/fault.ts';
import {
  decode,
  encode,
  type Fields,
  type Input,
  type Message,
  message,
  rawField,
} from '../../../src/mesos/codec.ts';
import * as messages from '../../../src/mesos/messages.ts';
import { CALLS, SAID, SENT } from './recordings.ts';

const Inner = message('Inner', { text: [1, 'string'], numbers: [2, 'uint32', 'repeated'] });
const Everything = message('Everything', {
  int32: [1, 'int32'],
  int64: [2, 'int64'],
  uint32: [3, 'uint32'],
  uint64: [4, 'uint64'],
  bool: [5, 'bool'],
  double: [6, 'double'],
  choice: [7, 'enum'],
  string: [8, 'string'],
  bytes: [9, 'bytes'],
  inner: [10, Inner],
  strings: [11, 'string', 'repeated'],
  doubles: [12, 'double', 'repeated'],
  inners: [13, Inner, 'repeated'],
  far: [536_870_911, 'int32', 'repeated'],
});

const TYPES: readonly Message<Fields>[] = [messages.Launch, Everything];

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const isProtocolFault = (error: unknown) => error instanceof Fault && error.kind === 'protocol';

const int32 = fc.integer();
const text = fc.string({ unit: 'grapheme' });
const inner = fc.record(
  { text, numbers: fc.array(fc.nat(0xffff_ffff)) },
  { requiredKeys: ['numbers'], noNullPrototype: true },
);
const everything: fc.Arbitrary<Input<typeof Everything>> = fc.record(
  {
    int32,
    int64: fc.maxSafeInteger(),
    uint32: fc.nat(0xffff_ffff),
    uint64: fc.maxSafeNat(),
    bool: fc.boolean(),
    double: fc.double({ noNaN: true }),
    choice: int32,
    string: text,
    bytes: fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    inner,
    strings: fc.array(text),
    doubles: fc.array(fc.double({ noNaN: true })),
    inners: fc.array(inner),
    far: fc.array(int32),
  },
  { requiredKeys: ['strings', 'doubles', 'inners', 'far'], noNullPrototype: true },
);

describe('codec', () => {
  it('reads back what it wrote', () => {
    fc.assert(
      fc.property(everything, (value) => {
        assert.deepEqual(decode(Everything, encode(Everything, value)), value);
      }),
    );
  });

  it('writes the bytes that the protobuf documentation gives for them', () => {
    assert.deepEqual(encode(Everything, { int32: 150 }), hex('08 96 01'));
    assert.deepEqual(encode(Everything, { int32: -2 }), hex('08 fe ff ff ff ff ff ff ff ff 01'));
    assert.deepEqual(encode(Everything, { string: 'testing' }), hex('42 07 74 65 73 74 69 6e 67'));
    assert.deepEqual(encode(Everything, { inner: { text: '' } }), hex('52 02 0a 00'));
    assert.deepEqual(encode(Everything, { bool: false, double: 1 }), hex('28 00 31 00 00 00 00 00 00 f0 3f'));
    assert.deepEqual(encode(Everything, {}), Buffer.alloc(0));
  });

  it('writes what Mesos wrote, byte by byte, for messages that its tables know whole', () => {
    const known: Readonly<Record<string, Message<Fields>>> = {
      wait: messages.Wait,
      usage: messages.Usage,
      update: messages.Update,
      KillTaskMessage: messages.KillTaskMessage,
      StatusUpdateAcknowledgementMessage: messages.StatusUpdateAcknowledgementMessage,
      ReconnectExecutorMessage: messages.ReconnectExecutorMessage,
    };
    const real = [
      ...CALLS.map(({ verb, stdin }) => ({ name: verb, bytes: stdin.subarray(4) })),
      ...SAID.map(({ message, body }) => ({ name: message, bytes: body })),
    ];
    const seen = new Set<string>();
    for (const { name, bytes } of real) {
      const type = known[name];
      if (type === undefined) continue;
      seen.add(name);
      assert.deepEqual(encode(type, decode(type, bytes)), bytes);
    }
    assert.deepEqual([...seen].sort(), Object.keys(known).sort());
  });

  it('tells the two fields 6 of CommandInfo apart by their wire type', () => {
    const withShell = decode(messages.CommandInfo, hex('30 00'));
    assert.equal(withShell.shell, false);
    assert.equal(withShell.health_check, undefined);
    const withCheck = decode(messages.CommandInfo, hex('32 06 0a 02 08 50 28 05'));
    assert.equal(withCheck.shell, undefined);
    assert.equal(withCheck.health_check?.http?.port, 80);
    assert.equal(withCheck.health_check?.failures, 5);
  });

  it('passes over unknown fields and known numbers of another wire type', () => {
    // 100 as varint, fixed64, bytes and fixed32; then 8 (a string) as varint; then 1.
    const bytes = hex('a006 01  a106 0000000000000000  a206 02 ffff  a506 00000000  40 07  08 2a');
    assert.deepEqual(decode(Everything, bytes), { int32: 42, strings: [], doubles: [], inners: [], far: [] });
  });

  it('takes packed and unpacked repeated numbers, mixed', () => {
    assert.deepEqual(decode(Inner, hex('10 01  12 03 02 ac 02  10 03')).numbers, [1, 2, 300, 3]);
    assert.deepEqual(decode(Everything, hex('62 08 000000000000f03f')).doubles, [1]);
  });

  it('lets the last of several values win and merges nested messages', () => {
    assert.equal(decode(Everything, hex('08 01 08 02')).int32, 2);
    const merged = decode(Everything, hex('52 05 0a 01 61 10 01  52 02 10 02')).inner;
    assert.deepEqual(merged, { text: 'a', numbers: [1, 2] });
    const separate = decode(Everything, hex('6a 02 10 01  6a 02 10 02')).inners;
    assert.deepEqual(separate, [{ numbers: [1] }, { numbers: [2] }]);
  });

  it('reads the ends of the ranges of numbers', () => {
    assert.equal(decode(Everything, hex('20 ffffffffffffffffff01')).uint64, 2 ** 64);
    assert.equal(decode(Everything, hex('10 80808080808080808001')).int64, -(2 ** 63));
    assert.equal(decode(Everything, hex('10 ffffffffffffffffff01')).int64, -1);
    assert.equal(decode(Everything, hex('18 ffffffff0f')).uint32, 0xffff_ffff);
    assert.equal(decode(Everything, hex('38 ffffffffffffffffff01')).choice, -1);
    // What cgroup v1 shows for "no limit".
    const unlimited = 2 ** 63 - 4096;
    assert.equal(decode(Everything, encode(Everything, { uint64: unlimited })).uint64, unlimited);
  });

  it('copies bytes, so that a small field does not keep a large record alive', () => {
    const record = encode(Everything, { bytes: Buffer.from('abc') });
    const { bytes } = decode(Everything, record);
    record.fill(0);
    assert.equal(bytes?.toString(), 'abc');
  });

  it('refuses what is not protobuf, naming the message, in one line', () => {
    const bad = {
      'a number longer than ten bytes': '08 ffffffffffffffffffff01',
      'a truncated number': '08 ff',
      'a field without a value': '08',
      'a truncated double': '31 00000000',
      'a length past the end': '42 05 61',
      'a length of 2^32': '42 8080808010',
      'a length of 2^64 - 1': '42 ffffffffffffffffff01',
      'a nested length past the end of its parent': '52 03 0a 05 61 61 61 61 61',
      'a packed number cut by the end of its field': '12 01 ff',
      'a group': '0b 0c',
      'the end of a group': '0c',
      'wire type 6': '0e',
      'field number 0': '00 01',
      'a field number above 29 bits': '8080808080 01 01',
    };
    for (const [what, bytes] of Object.entries(bad)) {
      const type: Message<Fields> = what.startsWith('a packed') ? Inner : Everything;
      assert.throws(
        () => decode(type, hex(bytes)),
        (error) =>
          isProtocolFault(error) && new RegExp(`^${type.name}: [^\n]+$`).test((error as Fault).message),
        what,
      );
    }
  });

  it('bounds how many values a record may hold', () => {
    const empties = Buffer.alloc(2_200_000);
    for (let i = 0; i < empties.length; i += 2) empties[i] = 0x6a;
    assert.throws(() => decode(Everything, empties), isProtocolFault);
    const zeros = Buffer.alloc(1_100_000);
    const packed = Buffer.concat([hex('12 e0 91 43'), zeros]);
    assert.equal(rawField(packed, 2)?.length, zeros.length);
    assert.throws(() => decode(Inner, packed), isProtocolFault);
  });

  it('throws nothing but a Fault, wherever a real message is cut', () => {
    const types: Readonly<Record<string, Message<Fields>>> = {
      launch: messages.Launch,
      wait: messages.Wait,
      usage: messages.Usage,
      update: messages.Update,
      RegisterExecutorMessage: messages.RegisterExecutorMessage,
      ReregisterExecutorMessage: messages.ReregisterExecutorMessage,
      StatusUpdateMessage: messages.StatusUpdateMessage,
      ExecutorRegisteredMessage: messages.ExecutorRegisteredMessage,
      ExecutorReregisteredMessage: messages.ExecutorReregisteredMessage,
      RunTaskMessage: messages.RunTaskMessage,
      KillTaskMessage: messages.KillTaskMessage,
      StatusUpdateAcknowledgementMessage: messages.StatusUpdateAcknowledgementMessage,
      ReconnectExecutorMessage: messages.ReconnectExecutorMessage,
    };
    const real = [
      ...CALLS.filter(({ stdin }) => stdin.length > 0).map(({ verb, stdin }) => ({
        name: verb,
        bytes: stdin.subarray(4),
      })),
      ...[...SAID, ...SENT].map(({ message, body }) => ({ name: message, bytes: body })),
    ];
    let cuts = 0;
    for (const { name, bytes } of real) {
      const type = types[name];
      if (type === undefined) {
        assert.equal(name, 'ShutdownExecutorMessage');
        continue;
      }
      decode(type, bytes);
      for (let length = 0; length < bytes.length; length += 1) {
        try {
          decode(type, bytes.subarray(0, length));
        } catch (error) {
          cuts += 1;
          assert.ok(isProtocolFault(error), `${name} cut at ${length}: ${error}`);
        }
      }
    }
    assert.ok(cuts > 1000);
  });

  it('throws nothing but a Fault for any bytes at all', () => {
    const launch = CALLS.find(({ verb }) => verb === 'launch')?.stdin.subarray(4) ?? Buffer.alloc(0);
    const spoilt = fc
      .array(fc.tuple(fc.nat(launch.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 })
      .map((changes) => {
        const bytes = Buffer.from(launch);
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      });
    const any = fc.oneof(fc.uint8Array({ maxLength: 200 }), spoilt);
    fc.assert(
      fc.property(any, (bytes) => {
        for (const type of TYPES) {
          try {
            decode(type, bytes);
          } catch (error) {
            assert.ok(isProtocolFault(error), String(error));
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('refuses to write a number that the field cannot hold', () => {
    assert.throws(() => encode(Everything, { int32: 2 ** 31 }), RangeError);
    assert.throws(() => encode(Everything, { uint32: -1 }), RangeError);
    assert.throws(() => encode(Everything, { uint64: 0.5 }), RangeError);
    assert.throws(() => encode(Everything, { int64: Number.NaN }), RangeError);
    assert.throws(() => encode(Everything, { uint64: 2 ** 64 }), RangeError);
  });
});

describe('rawField', () => {
  it('gives the payload of that number exactly as it came', () => {
    assert.deepEqual(rawField(hex('08 07  42 03 ff 00 80  08 01'), 8), hex('ff 00 80'));
    assert.deepEqual(rawField(hex('42 00'), 8), Buffer.alloc(0));
  });

  it('gives several payloads as the one message that decoding makes of them', () => {
    // Of task 4: a name, then a task id.
    const bytes = hex('22 03 0a 01 6e  22 05 12 03 0a 01 74');
    const task = rawField(bytes, messages.RUN_TASK_TASK);
    assert.deepEqual(task, hex('0a 01 6e 12 03 0a 01 74'));
    assert.deepEqual(decode(messages.TaskInfo, task), decode(messages.RunTaskMessage, bytes).task);
  });

  it('does not mistake another wire type for it', () => {
    assert.equal(rawField(hex('08 07'), 1), undefined);
    assert.equal(rawField(Buffer.alloc(0), 1), undefined);
    assert.throws(() => rawField(hex('42 05 61'), 8), isProtocolFault);
  });
});

// Frames and log messages come out whole, wherever the bytes were cut on their way.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Demultiplexer } from '../../../src/docker/frames.ts';
import { type LogMessage, LogParser, TtyLogParser } from '../../../src/docker/log-parser.ts';
import { isFault } from '../../../src/fault.ts';
import { messagesOf } from '../../support/model-docker.ts';
import { streams } from '../../support/streams.ts';

const STAMP = '2026-11-22T09:40:14.259320187Z ';
const STAMP_NS = 1_795_340_414_259_320_187n;
const cuts = fc.array(fc.nat(), { maxLength: 20 });

describe('Demultiplexer', () => {
  it('gives each stream its bytes, whatever the cuts', () => {
    const frames = fc.array(fc.tuple(fc.constantFrom(1, 2), fc.uint8Array({ maxLength: 50 })));
    fc.assert(
      fc.property(frames, cuts, (all, places) => {
        const wire = Buffer.concat(all.map(([type, bytes]) => frame(type, Buffer.from(bytes))));
        const got = { stdout: '', stderr: '' };
        const frames = new Demultiplexer();
        for (const part of cutAt(wire, places)) {
          frames.push(part, (stream, start, end) => {
            got[stream] += part.toString('latin1', start, end);
          });
        }
        const expected = (type: number): string =>
          all.map(([of, bytes]) => (of === type ? Buffer.from(bytes).toString('latin1') : '')).join('');
        assert.deepEqual(got, { stdout: expected(1), stderr: expected(2) });
        assert.ok(frames.atBoundary);
      }),
    );
  });

  it('knows whether it was cut off', () => {
    const frames = new Demultiplexer();
    frames.push(frame(1, Buffer.from('whole')).subarray(0, 10), () => {});
    assert.equal(frames.atBoundary, false);
  });

  it('refuses what is no frame, and throws the error that Docker puts among them', () => {
    const none = (): void => assert.fail();
    const text = Buffer.from('HTTP/1.1 500 Internal');
    assert.throws(
      () => new Demultiplexer().push(text, none),
      (error) => isFault(error, 'protocol'),
    );
    const failed = frame(3, Buffer.from('error from daemon'));
    assert.throws(
      () => new Demultiplexer().push(failed, none),
      (error) => isFault(error, 'docker'),
    );
  });
});

describe('LogParser', () => {
  it('gives messages and stamps, in whatever zone', () => {
    const zoned = '2026-11-22T11:40:14.259320187+02:00 ';
    const wire = Buffer.concat([
      frame(1, Buffer.from(`${STAMP}one\n`)),
      frame(1, Buffer.from(`${zoned}2026 two`)),
    ]);
    for (let at = 0; at <= wire.length; at++) {
      const parser = new LogParser();
      const got = [...parser.push(wire.subarray(0, at)), ...parser.push(wire.subarray(at)), ...parser.end()];
      assert.deepEqual(got.map(plain), [
        [STAMP_NS, 'one\n'],
        [STAMP_NS, '2026 two'],
      ]);
    }
  });

  it('fails where the log breaks off or has no stamp', () => {
    const parser = new LogParser();
    parser.push(frame(1, Buffer.from(`${STAMP}one\n`)).subarray(0, 20));
    assert.throws(
      () => parser.end(),
      (error) => isFault(error, 'docker'),
    );
    const bare = frame(1, Buffer.from('one\n'));
    assert.throws(
      () => new LogParser().push(bare),
      (error) => isFault(error, 'protocol'),
    );
  });
});

describe('TtyLogParser', () => {
  it('finds the messages again in a stream without frames', () => {
    fc.assert(
      fc.property(streams(), fc.boolean(), cuts, (stream, ended, places) => {
        const messages = messagesOf(stream, ended);
        const wire = Buffer.concat(messages.flatMap((bytes) => [Buffer.from(STAMP), bytes]));
        const parser = new TtyLogParser();
        const got: LogMessage[] = [];
        for (const part of cutAt(wire, places)) got.push(...parser.push(part));
        got.push(...parser.end());
        assert.deepEqual(
          got.map(plain),
          messages.map((bytes) => [STAMP_NS, bytes.toString('latin1')]),
        );
      }),
      { numRuns: 100 },
    );
  });

  it('takes what has the form of a stamp and is no time for the text that the task wrote', () => {
    const piece = 'x'.repeat(16_384);
    const rest = '2026-13-45T99:99:99.123456789Z and on\n';
    const wire = Buffer.from(`${STAMP}${piece}${STAMP}${rest}${STAMP}next\n`);
    const parser = new TtyLogParser();
    assert.deepEqual([...parser.push(wire), ...parser.end()].map(plain), [
      [STAMP_NS, piece],
      [STAMP_NS, rest],
      [STAMP_NS, 'next\n'],
    ]);
    assert.throws(
      () => new TtyLogParser().push(Buffer.from(rest.repeat(2))),
      (error) => isFault(error, 'protocol'),
    );
  });
});

function frame(type: number, bytes: Buffer): Buffer {
  const header = Buffer.of(type, 0, 0, 0, 0, 0, 0, 0);
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length].sort(
    (a, b) => a - b,
  );
  return sorted.slice(1).map((end, at) => bytes.subarray(sorted[at], end));
}

function plain({ stampNs, bytes }: LogMessage): [bigint, string] {
  return [stampNs, bytes.toString('latin1')];
}

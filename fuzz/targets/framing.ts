// The framing of the verbs' records, through real pipes and files: what comes whole is taken whole, what lies about its
// length or ends early is a Fault, and nothing is waited for that cannot come.

import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { isFault } from '../../src/fault.ts';
import { frame, MAX_RECORD_BYTES, readRecord, readRecordOrText } from '../../src/mesos/record.ts';
import { byteWords, type Target } from '../engine/target.ts';

const HEADER_BYTES = 4;

/** An input is what stands on the stream; its first byte says how it is asked for. */
export function target(): Target {
  const directory = mkdtempSync('/dev/shm/deimos-fuzz-');
  const path = `${directory}/stream`;
  const writing = openSync(path, 'w', 0o600);
  return {
    dictionary: byteWords(
      '\0\0\0\0',
      '\x01\0\0\0',
      '\0\0\0\x04',
      '\x01\0\0\x04',
      '\xff\xff\xff\xff',
      '{"id":"/a"}',
    ),
    make(random) {
      const payload = random.bytes(random.below(200));
      const record = random.oneIn(4) ? payload : frame(payload);
      return Buffer.concat([Buffer.of(random.below(2)), record, random.bytes(random.oneIn(3) ? 3 : 0)]);
    },
    async run(input) {
      const stream = input.subarray(1);
      ftruncateSync(writing, 0);
      writeSync(writing, stream, 0, stream.length, 0);
      const fd = openSync(path, 'r');
      try {
        if ((input[0] ?? 0) % 2 === 0) await checkRecord(fd, stream);
        else await checkRecordOrText(fd, stream);
      } finally {
        closeSync(fd);
      }
    },
    close() {
      closeSync(writing);
      rmSync(directory, { recursive: true });
    },
  };
}

/** The record that the stream holds by the rule; undefined: none. */
function expected(stream: Buffer): Buffer | undefined {
  if (stream.length < HEADER_BYTES) return undefined;
  const length = stream.readUInt32LE(0);
  if (length > MAX_RECORD_BYTES || length > stream.length - HEADER_BYTES) return undefined;
  return stream.subarray(HEADER_BYTES, HEADER_BYTES + length);
}

async function checkRecord(fd: number, stream: Buffer): Promise<void> {
  const record = await unlessMalformed(readRecord(fd));
  assert.deepEqual(record, expected(stream));
}

async function checkRecordOrText(fd: number, stream: Buffer): Promise<void> {
  const found = await unlessMalformed(readRecordOrText(fd));
  const isRecord = stream.length >= HEADER_BYTES && stream.readUInt32LE(0) <= MAX_RECORD_BYTES;
  const record = expected(stream);
  const wanted = isRecord ? record && { record } : { text: stream };
  assert.deepEqual(found, wanted);
}

async function unlessMalformed<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (isFault(error, 'protocol')) return undefined;
    throw error;
  }
}

// The framing of the verbs' records, through real pipes and files: what comes whole is taken whole, what lies about its
// length or ends early is a Fault, and nothing is waited for that cannot come.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { isFault } from '../../src/fault.ts';
import { frame, MAX_RECORD_BYTES, readRecord, readRecordOrText } from '../../src/mesos/record.ts';
import { scratchDirectory } from '../engine/scratch.ts';
import { byteWords, type Target } from '../engine/target.ts';

const HEADER_BYTES = 4;
/** A pipe that is empty for a moment costs milliseconds, a file none. */
const IN_A_PIPE = 64;

/** An input is what stands on the stream; its first byte says how it is asked for, and whether it comes through a pipe. */
export function target(): Target {
  const directory = scratchDirectory();
  const path = `${directory}/stream`;
  const writing = openSync(path, 'w', 0o600);
  const pipe = `${directory}/pipe`;
  execFileSync('mkfifo', ['-m', '600', pipe]);
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
      const how = 2 * random.below(IN_A_PIPE) + random.below(2);
      return Buffer.concat([Buffer.of(how), record, random.bytes(random.oneIn(3) ? 3 : 0)]);
    },
    async run(input) {
      const stream = input.subarray(1);
      const how = input[0] ?? 0;
      const check = how % 2 === 0 ? checkRecord : checkRecordOrText;
      if (how >> 1 === IN_A_PIPE - 1) return await throughPipe(pipe, stream, check);
      ftruncateSync(writing, 0);
      writeSync(writing, stream, 0, stream.length, 0);
      const fd = openSync(path, 'r');
      try {
        await check(fd, stream);
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

type Check = (fd: number, stream: Buffer) => Promise<void>;

/** In pieces, between which the reader finds nothing; then the writer goes. */
async function throughPipe(path: string, stream: Buffer, check: Check): Promise<void> {
  const reading = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const writing = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    const write = async (): Promise<void> => {
      const piece = 1 + Math.floor(stream.length / 3);
      try {
        for (let at = 0; at < stream.length; at += piece) {
          writeSync(writing, stream, at, Math.min(piece, stream.length - at));
          await turn();
        }
      } finally {
        closeSync(writing);
      }
    };
    await Promise.all([check(reading, stream), write()]);
  } finally {
    closeSync(reading);
  }
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
  if (record !== undefined) assert.deepEqual(frame(record), stream.subarray(0, HEADER_BYTES + record.length));
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

// Docker's streams: frames and stamped messages of a log, with and without a terminal. However the bytes are cut the same comes
// out; what is no stream of Docker's is a Fault. Of a terminal's log the task itself has written what stands in it.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { Demultiplexer } from '../../src/docker/frames.ts';
import { LogParser, TtyLogParser } from '../../src/docker/log-parser.ts';
import type { Random } from '../engine/random.ts';
import { attempt, byteWords, type Target } from '../engine/target.ts';

const STAMPS = [
  ...[
    '2020-01-02T03:04:05.123456789Z ',
    '2020-01-02T03:04:05.000000000+02:00 ',
    '2020-13-45T99:99:99.123456789Z ',
  ],
  ...['0000-01-01T00:00:00.000000000Z ', '9999-12-31T23:59:60.999999999-99:99 ', '2020-01-02T03:04:05Z '],
];
const PIECE_BYTES = 16_384;

interface Taken {
  readonly parts: readonly string[];
  readonly fault: string | undefined;
}

/** The first byte: how it is cut; and whether it is a terminal's. */
export function target(): Target {
  return {
    dictionary: byteWords(
      ...STAMPS,
      '\n',
      '\x01\0\0\0\0\0\0',
      '\x02\0\0\0\0\0\0\x05',
      '\x03\0\0\0\0\0\0\x01',
      '\x01\0\0\0\xff\xff\xff\xff',
    ),
    maxBytes: 40_000,
    make(random) {
      const isTty = random.oneIn(2);
      const messages = random.several(6, () => (isTty ? stamped(random) : frame(random, stamped(random))));
      return Buffer.concat([Buffer.of((random.bits() & 0xfe) | (isTty ? 1 : 0)), ...messages]);
    },
    run(input) {
      const flags = input[0] ?? 0;
      const bytes = input.subarray(1);
      const cut = flags < 32 ? 1 + (flags >> 1) : 64 * flags;
      const ways = (flags & 1) === 1 ? [terminalLog] : [frames, log];
      for (const way of ways) {
        const whole = way([bytes]);
        const pieces: Buffer[] = [];
        if (bytes.length / cut > 2000) return;
        for (let at = 0; at < bytes.length; at += cut) pieces.push(bytes.subarray(at, at + cut));
        assert.ok(isDeepStrictEqual(way(pieces), whole), 'cut otherwise it is another');
        const size = whole.parts.reduce((sum, part) => sum + part.length, 0);
        assert.ok(size <= bytes.length + whole.parts.length * 32, 'more comes out than goes in');
      }
    },
  };
}

function stamped(random: Random): Buffer {
  const length = random.oneIn(12) ? PIECE_BYTES - 2 + random.below(4) : random.below(60);
  const text = random.oneIn(4) ? random.pick(STAMPS).padEnd(length, 'x') : 'y'.repeat(length);
  const stamp = random.oneIn(12) ? random.pick(STAMPS) : (STAMPS[0] ?? '');
  return Buffer.from(`${stamp}${text}${random.oneIn(4) ? '' : '\n'}`);
}

function frame(random: Random, payload: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header[0] = random.oneIn(20) ? random.below(5) : 1 + random.below(2);
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

/** The payloads of each stream, joined: a frame may come in pieces. */
function frames(pieces: readonly Buffer[]): Taken {
  const demultiplexer = new Demultiplexer();
  const parts = { stdout: '', stderr: '' };
  const fault = firstFault(pieces, (piece) =>
    demultiplexer.push(piece, (stream, start, end) => {
      parts[stream] += piece.toString('latin1', start, end);
    }),
  );
  return { parts: Object.values(parts), fault };
}

function log(pieces: readonly Buffer[]): Taken {
  return messagesOf(new LogParser(), pieces);
}

function terminalLog(pieces: readonly Buffer[]): Taken {
  return messagesOf(new TtyLogParser(), pieces);
}

function messagesOf(parser: LogParser | TtyLogParser, pieces: readonly Buffer[]): Taken {
  const parts: string[] = [];
  const take = (messages: ReturnType<LogParser['push']>): void => {
    for (const { stampNs, bytes } of messages) parts.push(`${stampNs} ${bytes.toString('latin1')}`);
  };
  const fault =
    firstFault(pieces, (piece) => take(parser.push(piece))) ??
    firstFault([Buffer.alloc(0)], () => take(parser.end()));
  // A fault takes along what came in the same piece.
  return fault === undefined ? { parts, fault } : { parts: [], fault };
}

function firstFault(pieces: readonly Buffer[], push: (piece: Buffer) => void): string | undefined {
  for (const piece of pieces) {
    const { fault } = attempt(['protocol', 'docker'], () => push(piece));
    if (fault !== undefined) return fault.kind;
  }
  return undefined;
}

// The counter file: whatever moment the process died at, it tells exactly what stands in the output file.

import assert from 'node:assert/strict';
import {
  appendFileSync,
  closeSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CHUNK_BYTES_MAX, Journal, type JournalState } from '../../../src/supervisor/output-journal.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';

const BLOCK_BYTES = 512;

/** What others write into the same file. */
const FOREIGN = ['#', '%'] as const;

const chunk = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom('y\n', 'same line\n', 'a\n', '\n').map((text) => Buffer.from(text)),
  },
  {
    weight: 3,
    arbitrary: fc
      .uint8Array({ minLength: 1, maxLength: 3000 })
      .map((bytes) => Buffer.from(bytes))
      // Nothing could tell a write of ours, or its beginning, from the same bytes written by others in its place.
      .filter(([first]) => !FOREIGN.some((one) => one.charCodeAt(0) === first)),
  },
  {
    weight: 2,
    arbitrary: fc.integer({ min: 1, max: CHUNK_BYTES_MAX }).map((n) => Buffer.alloc(n, 'numb 12\n')),
  },
);
const foreign = fc.string({ unit: fc.constantFrom(...FOREIGN), maxLength: 2000 });

const crash = fc.oneof(
  fc.record({
    at: fc.constant('in the counter file' as const),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  fc.record({ at: fc.constant('in the output' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
);

describe('a counter file', () => {
  it('tells what was written, at whatever moment the process died', async () => {
    await using directory = await tempDirectory();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(foreign, chunk), { minLength: 1, maxLength: 12 }),
        foreign,
        foreign,
        crash,
        async (steps, before, after, how) => {
          const world = new World(directory);
          try {
            for (const [others, bytes] of steps.slice(0, -1)) {
              world.others(others);
              await world.announce(bytes);
              world.append(bytes, bytes.length);
            }
            const last = steps.at(-1)?.[1] ?? Buffer.alloc(0);
            if (how.at === 'in the counter file') {
              await world.tornAnnounce(last, how.share);
            } else {
              await world.announce(last);
              world.others(before);
              world.append(last, shortAppend(world.size(), last.length, how.share, before === ''));
            }
            world.others(after);
            const recovered = world.recover();
            assert.equal(recovered?.state.position ?? 0, world.stream.length);
            const tail = recovered?.tail ?? Buffer.alloc(0);
            assert.ok(world.stream.subarray(world.stream.length - tail.length).equals(tail));
            assert.ok(tail.length >= Math.min(world.stream.length, CHUNK_BYTES_MAX));
            assert.notEqual(recovered?.isOfThisBoot, false);
          } finally {
            world.close();
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('goes on after it was taken up, and keeps what it was given', async () => {
    await using directory = await tempDirectory();
    const world = new World(directory);
    const known = {
      anchorNs: 1_700_000_000_123_456_789n,
      anchorAt: 77,
      receivedMs: 5.5,
      caughtUpMs: 4.25,
      silentNs: 9n,
      droppedBytes: 12,
    };
    for (let n = 0; n < 100; n++) {
      const bytes = Buffer.alloc(7000, `${n} `);
      await world.announce(bytes, known);
      world.append(bytes, bytes.length);
      if (n % 10 === 0) assert.equal(world.reopen()?.state.position, world.stream.length);
    }
    const state = world.reopen()?.state;
    assert.deepEqual(state, { position: 700_000, ...known });
    world.close();
  });

  it('takes no more space than it was made with', async () => {
    await using directory = await tempDirectory();
    const world = new World(directory);
    const { size } = statSync(world.path);
    for (let n = 0; n < 40; n++) await world.announce(Buffer.alloc(CHUNK_BYTES_MAX));
    assert.equal(statSync(world.path).size, size);
    world.close();
  });

  it('looks for the append in a file that was cut short meanwhile', async () => {
    await using directory = await tempDirectory();
    const world = new World(directory);
    const first = Buffer.alloc(1000, 'first\n');
    await world.announce(first);
    world.append(first, first.length);
    await world.announce(Buffer.from('second\n'));
    truncateSync(world.output, 0);
    world.append(Buffer.from('second\n'), 7);
    assert.equal(world.recover()?.state.position, 1007);
    world.close();
  });

  it('finds the append among what nearly repeats it, in linear time', async () => {
    await using directory = await tempDirectory();
    const world = new World(directory);
    const bytes = Buffer.alloc(CHUNK_BYTES_MAX, 'a');
    bytes[CHUNK_BYTES_MAX / 2] = 0x62;
    await world.announce(bytes);
    world.others('a'.repeat(4 * 1024 * 1024));
    // As far as it agrees it may be ours.
    assert.equal(world.recover()?.state.position, CHUNK_BYTES_MAX / 2);
    world.close();
  });

  it('sees a few bytes of an append that was cut at the end of a block', async () => {
    await using directory = await tempDirectory();
    const world = new World(directory);
    world.others('#'.repeat(BLOCK_BYTES - 4));
    await world.announce(Buffer.from('same line\n'));
    world.append(Buffer.from('same line\n'), 4);
    assert.equal(world.recover()?.state.position, 4);
    world.close();
  });

  it('reports another boot of the machine', async () => {
    await using directory = await tempDirectory();
    const world = new World(directory);
    await world.announce(Buffer.from('x'));
    world.append(Buffer.from('x'), 1);
    // The boot's checksum, and with it the header's, are what another boot would differ in.
    const bytes = readFileSync(world.path);
    const { crc32 } = await import('node:zlib');
    bytes.writeUInt8(bytes.readUInt8(64) ^ 1, 64);
    bytes.writeUInt32LE(crc32(bytes.subarray(0, 84)), 84);
    writeFileSync(world.path, bytes);
    assert.equal(world.recover()?.isOfThisBoot, false);
    world.close();
  });

  it('is empty when it is garbage', async () => {
    await using directory = await tempDirectory();
    const world = new World(directory);
    writeFileSync(world.path, Buffer.alloc(1000, 'garbage'));
    assert.equal(world.recover(), undefined);
    world.close();
  });
});

/** How many bytes of an append a kill lets through: all, none, or up to the end of a block of the file. */
function shortAppend(size: number, length: number, share: number, nobodyBefore: boolean): number {
  const ends = [0, length];
  for (let end = BLOCK_BYTES - (size % BLOCK_BYTES); end < length; end += BLOCK_BYTES) {
    // Less than this cannot be told from what others wrote before it.
    if (nobodyBefore || end >= BLOCK_BYTES / 2) ends.push(end);
  }
  return ends[Math.floor(share * (ends.length - 1))] ?? 0;
}

/** An output file and its counter file, written step by step with the calls that the product makes. */
class World {
  readonly path: string;
  readonly output: string;
  stream = Buffer.alloc(0);
  #journal: Journal;

  constructor(directory: TempDirectory) {
    const name = `${process.hrtime.bigint()}`;
    this.path = directory.at(`${name}.copied`);
    this.output = directory.at(name);
    writeFileSync(this.output, '');
    this.#journal = new Journal(this.path);
    this.#journal.reset();
  }

  size(): number {
    return statSync(this.output).size;
  }

  others(text: string): void {
    appendFileSync(this.output, text);
  }

  async announce(bytes: Buffer, more: Partial<JournalState> = {}): Promise<void> {
    const state = {
      anchorNs: 0n,
      anchorAt: 0,
      receivedMs: 0,
      caughtUpMs: 0,
      silentNs: 0n,
      droppedBytes: 0,
      ...more,
      position: this.stream.length,
    };
    await this.#journal.announce(state, this.size(), [bytes], bytes.length);
  }

  append(bytes: Buffer, length: number): void {
    appendFileSync(this.output, bytes.subarray(0, length));
    this.stream = Buffer.concat([this.stream, bytes.subarray(0, length)]);
  }

  /** Announces, and leaves only a part of what that wrote. */
  async tornAnnounce(bytes: Buffer, share: number): Promise<void> {
    const before = readFileSync(this.path);
    await this.announce(bytes);
    const after = readFileSync(this.path);
    const first = after.findIndex((byte, at) => byte !== before[at]);
    if (first < 0) return;
    const written = Math.floor((88 + bytes.length - 1) * share);
    after.copy(before, first, first, first + Math.max(0, written - 16));
    writeFileSync(this.path, before);
  }

  recover(): ReturnType<Journal['recover']> {
    const fd = openSync(this.output, 'r');
    try {
      return new Journal(this.path).recover(fd);
    } finally {
      closeSync(fd);
    }
  }

  reopen(): ReturnType<Journal['recover']> {
    this.#journal.close();
    this.#journal = new Journal(this.path);
    const fd = openSync(this.output, 'r');
    try {
      return this.#journal.recover(fd);
    } finally {
      closeSync(fd);
    }
  }

  close(): void {
    this.#journal.close();
  }
}

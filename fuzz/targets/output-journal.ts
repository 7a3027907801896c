// The counter file of a stream, written by the journal itself and then damaged, beside an output file in any state: what is read
// back was once announced, and the count is that of bytes which the output file has.

import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { Journal, type JournalState } from '../../src/supervisor/output-journal.ts';
import { Choices } from '../engine/choices.ts';
import { scratchDirectory } from '../engine/scratch.ts';
import type { Target } from '../engine/target.ts';

const STATE: JournalState = {
  position: 0,
  anchorNs: 0n,
  anchorAt: 0,
  receivedMs: 1,
  caughtUpMs: 1,
  silentNs: 0n,
  droppedBytes: 0,
};
const LENGTHS = [1, 2, 255, 256, 257, 511, 512, 513, 4096, 65_536];
const APPENDS_MAX = 8;
const DAMAGES_MAX = 4;
const IMAGE_BYTES = 384 * 1024;

export function target(): Target {
  const directory = scratchDirectory();
  const path = `${directory}/journal`;
  const raw = openSync(path, 'w+', 0o600);
  const output = openSync(`${directory}/output`, 'w+', 0o600);
  return {
    dictionary: [],
    maxBytes: 256,
    make: (random) => random.bytes(8 + random.below(100)),
    async run(input) {
      const from = new Choices(input);
      ftruncateSync(output, 0);
      const journal = new Journal(path);
      journal.reset();
      const announced: { readonly position: number; readonly bytes: Buffer }[] = [];
      let position = 0;
      let size = 0;
      for (let left = from.below(APPENDS_MAX); left > 0; left--) {
        const length = from.oneIn(2) ? from.pick(LENGTHS) : 1 + from.below(80);
        const bytes = Buffer.alloc(length, from.oneIn(2) ? 'a' : `line ${announced.length}\n`);
        await journal.announce({ ...STATE, position }, size, [bytes], length);
        announced.push({ position, bytes });
        // The last one may have come to the file in part, and others write there, too.
        const done = left === 1 && from.oneIn(2) ? from.below(length + 1) : length;
        if (from.oneIn(6))
          size += writeSync(
            output,
            Buffer.alloc(1 + from.below(50), from.pick(['a', 'x'])),
            0,
            undefined,
            size,
          );
        size += writeSync(output, bytes, 0, done, size);
        position += length;
      }
      journal.close();
      for (let left = from.below(DAMAGES_MAX); left > 0; left--) damage(raw, from);
      if (from.oneIn(8)) ftruncateSync(output, from.below(size + 1));
      checkRecovered(path, output, announced);
    },
    close() {
      closeSync(raw);
      closeSync(output);
      rmSync(directory, { recursive: true });
    },
  };
}

function damage(fd: number, from: Choices): void {
  const at = from.oneIn(2) ? from.below(800) : from.below(IMAGE_BYTES);
  if (from.oneIn(4)) ftruncateSync(fd, at);
  else writeSync(fd, Buffer.alloc(1 + from.below(120), from.below(256)), 0, undefined, at);
}

function checkRecovered(
  path: string,
  output: number,
  announced: readonly { readonly position: number; readonly bytes: Buffer }[],
): void {
  const journal = new Journal(path);
  try {
    const found = journal.recover(output);
    if (found === undefined) return;
    const { state, tail, isOfThisBoot } = found;
    assert.ok(isOfThisBoot);
    const last = announced.findLast(
      ({ position, bytes }) => position <= state.position && state.position <= position + bytes.length,
    );
    assert.ok(last !== undefined, `${state.position} was never announced`);
    assert.ok(tail.length <= state.position && tail.length <= IMAGE_BYTES, 'more is known than was written');
    const stream = Buffer.concat(announced.map(({ bytes }) => bytes)).subarray(0, state.position);
    assert.ok(
      stream.subarray(stream.length - tail.length).equals(tail),
      "the stream's last bytes are others",
    );
    assert.ok(
      statSync(`/proc/self/fd/${output}`).size >= state.position - last.position,
      'bytes are counted that the file does not have',
    );
    assert.equal(journal.isBlank(), false);
  } finally {
    journal.close();
  }
}

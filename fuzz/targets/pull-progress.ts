// The daemon's lines about a pull: any line is taken or passed over, and what is said of the pull is one sentence with numbers.

import assert from 'node:assert/strict';
import { PullProgress } from '../../src/docker/pull-progress.ts';
import type { Random } from '../engine/random.ts';
import type { Target } from '../engine/target.ts';

const NAMES = [
  'id',
  'status',
  'progressDetail',
  'current',
  'total',
  'error',
  'errorDetail',
  'progress',
  'toString',
  '__proto__',
];
const STATUSES = [
  ...[
    'Pulling fs layer',
    'Already exists',
    'Waiting',
    'Downloading',
    'Verifying Checksum',
    'Download complete',
    'Extracting',
  ],
  ...['Pull complete', 'Pulling from library/x', 'Digest: sha256:0', 'Status: Downloaded newer image'],
];
const SENTENCE = /^Pulling app:1(?:: \d+ of \d+ layers(?:, \d+\.\d of \d+\.\d MB)?)?$/;

/** A line an input's line. */
export function target(): Target {
  return {
    dictionary: [
      ...NAMES.map((name) => `"${name}":`),
      ...STATUSES.map((status) => JSON.stringify(status)),
      ...['{', '}', '[', ']', ',', '\n', 'null', '-1', '1e999', '1e308', '0.5', '{}', '"a"', '"b"'],
    ],
    make: (random) => Buffer.from(random.several(10, () => `${JSON.stringify(line(random))}\n`).join('')),
    run(input) {
      const progress = new PullProgress('app:1');
      for (const text of input.toString('utf8').split('\n')) {
        const isNew = progress.take(text);
        assert.equal(typeof isNew, 'boolean');
        assert.match(progress.words(), SENTENCE);
        const { failure } = progress;
        if (isNew && failure !== undefined) return;
      }
      // The same again is nothing new, but for what is counted on while a layer is unpacked.
      assert.ok(progress.words().length < 1000);
    },
  };
}

function line(random: Random): unknown {
  if (random.oneIn(12)) return { error: random.pick(['no', '', 1, null]) };
  const amount = (): unknown =>
    random.oneIn(6) ? random.pick([null, -1, 1e308, 'x', {}]) : random.below(1e8);
  return {
    ...(random.oneIn(6)
      ? {}
      : {
          id: random.oneIn(8)
            ? random.pick<unknown>([1, null, {}, { toString: 1 }])
            : `layer${random.below(5)}`,
        }),
    status: random.pick(STATUSES),
    ...(random.oneIn(2)
      ? { progressDetail: random.oneIn(8) ? null : { current: amount(), total: amount() } }
      : {}),
  };
}

// A pull in the log, by a clock that the test moves.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseReference } from '../../../src/container/image.ts';
import { loggedPull } from '../../../src/docker/pull-log.ts';
import type { Log } from '../../../src/host/log.ts';

const never = new AbortController().signal;
const silent = () => {};

/** A pull that the test ends, and the lines that it makes with their time. */
function slowPull() {
  const answer = parseReference('registry:5000/app:1');
  assert.ok(answer.ok);
  const lines: string[] = [];
  const log: Log = {
    debug: silent,
    info: (event, fields) => lines.push(`${event} ${fields?.durationMs}`),
    warning: silent,
    error: silent,
  };
  const end = Promise.withResolvers<void>();
  const told: ((words: string) => void)[] = [];
  const words: string[] = [];
  const pull = loggedPull((_, onProgress) => {
    told.push(onProgress);
    return end.promise;
  }, log);
  const pulled = pull({ image: answer.image }, (text) => words.push(text), never);
  return { lines, words, end, pulled, tell: (text: string) => told[0]?.(text) };
}

describe('a pull in the log', () => {
  test('has a line every 10 s with how far it is, and one at its end', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval', 'Date'] });
    const { lines, words, end, pulled, tell } = slowPull();
    t.mock.timers.tick(9_999);
    assert.deepEqual(lines, []);
    t.mock.timers.tick(1);
    tell('Pulling registry:5000/app:1: 3 of 7 layers, 120.0 of 480.0 MB');
    // Nothing moves, and it is seen to live all the same.
    for (const ms of [10_000, 10_000]) t.mock.timers.tick(ms);
    end.resolve();
    await pulled;
    t.mock.timers.tick(60_000);
    assert.deepEqual(lines, [
      'pulling registry:5000/app:1 10000',
      'pulling registry:5000/app:1: 3 of 7 layers, 120.0 of 480.0 MB 20000',
      'pulling registry:5000/app:1: 3 of 7 layers, 120.0 of 480.0 MB 30000',
      'image pulled 30000',
    ]);
    assert.deepEqual(words, ['Pulling registry:5000/app:1: 3 of 7 layers, 120.0 of 480.0 MB']);
  });

  test('that fails says no more', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval', 'Date'] });
    const { lines, end, pulled } = slowPull();
    const outcome = assert.rejects(pulled, /denied/);
    end.reject(new Error('denied'));
    await outcome;
    t.mock.timers.tick(60_000);
    assert.deepEqual(lines, []);
  });
});

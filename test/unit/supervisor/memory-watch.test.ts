// The counts of kills for memory are looked at while that can tell something, all of them by one timer.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MemoryWatch } from '../../../src/supervisor/memory-watch.ts';

const HOUR_MS = 3_600_000;

function counting(more: () => boolean): { look: () => boolean; looks: () => number } {
  let looks = 0;
  const look = (): boolean => {
    looks++;
    return more();
  };
  return { look, looks: () => looks };
}

/** How many timers run: each callback of setInterval that a tick calls. */
function timers(t: TestContext): () => number {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const made = t.mock.method(globalThis, 'setInterval');
  return () => made.mock.callCount();
}

test('a hundred containers are looked at by one timer, until they are taken out', (t) => {
  const made = timers(t);
  const watch = new MemoryWatch();
  const all = Array.from({ length: 100 }, () => counting(() => true));
  for (const { look } of all) watch.add(look);
  for (const { look } of all) watch.add(look);
  assert.ok(all.every(({ looks }) => looks() === 1));
  t.mock.timers.tick(250);
  assert.ok(all.every(({ looks }) => looks() === 2));
  assert.equal(made(), 1);
  for (const { look } of all) watch.remove(look);
  t.mock.timers.tick(HOUR_MS);
  assert.ok(all.every(({ looks }) => looks() === 2));
});

test('a container that has nothing more to tell is not looked at again', (t) => {
  timers(t);
  const watch = new MemoryWatch();
  let isKilled = false;
  const told = counting(() => !isKilled);
  const other = counting(() => true);
  watch.add(told.look);
  watch.add(other.look);
  isKilled = true;
  t.mock.timers.tick(250);
  t.mock.timers.tick(250);
  assert.deepEqual([told.looks(), other.looks()], [2, 3]);
  watch.remove(other.look);
});

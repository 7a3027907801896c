// Durations of a slave's environment.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LONGEST_MS, parseMesosDuration } from '../../../src/container/duration.ts';

test('every unit that Mesos writes is understood', () => {
  const table: readonly (readonly [string, number])[] = [
    ['1000000ns', 1],
    ['1000us', 1],
    ['5ms', 5],
    ['5secs', 5_000],
    ['2.5secs', 2_500],
    ['15mins', 900_000],
    ['1hrs', 3_600_000],
    ['1days', 86_400_000],
    ['1weeks', 604_800_000],
  ];
  for (const [text, ms] of table) assert.equal(parseMesosDuration(text), ms, text);
});

test('what no timer can wait for is as long as one can', () => {
  assert.equal(parseMesosDuration('4weeks'), LONGEST_MS);
  assert.ok(LONGEST_MS < 2 ** 31 - 1);
});

test('anything else is no duration', () => {
  for (const text of [undefined, '', '5', 'secs', '5 secs', '-5secs', '5sec', '1e3secs', '5secs ']) {
    assert.equal(parseMesosDuration(text), undefined, String(text));
  }
});

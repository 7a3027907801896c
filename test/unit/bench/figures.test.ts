// What the benchmark says of its figures.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figure, line, ratios, spread, withSpread } from '../../../bench/figures.ts';

test('median and quarters, also between two values', () => {
  assert.deepEqual(spread([3, 1, 2]), { median: 2, lower: 1.5, upper: 2.5, count: 3 });
  assert.deepEqual(spread([4]), { median: 4, lower: 4, upper: 4, count: 1 });
  assert.throws(() => spread([]));
});

test('ratios are of pairs, not of medians', () => {
  assert.equal(ratios([10, 40], [10, 20]).median, 1.5);
  assert.throws(() => ratios([1], [1, 2]));
  assert.throws(() => ratios([1], [0]));
});

test('the line through points, and how far they are from it', () => {
  const straight = line([
    [1, 3],
    [2, 5],
    [10, 21],
  ]);
  assert.ok(Math.abs(straight.slope - 2) < 1e-9 && Math.abs(straight.intercept - 1) < 1e-9);
  assert.ok(straight.bend < 1e-9);
  const bent = line([
    [0, 0],
    [1, 0],
    [2, 8],
  ]);
  assert.ok(bent.bend > 0.2);
  assert.throws(() =>
    line([
      [1, 1],
      [1, 2],
    ]),
  );
});

test('three figures, whatever the size', () => {
  const values = [0, 1234.5, 123.45, 12.345, 1.2345, 0.012345];
  assert.deepEqual(values.map(figure), ['0', '1,235', '123', '12.3', '1.23', '0.0123']);
  assert.equal(withSpread({ median: 1.5, lower: 1.25, upper: 2, count: 9 }), '1.50 (1.25 – 2.00)');
  assert.equal(withSpread({ median: 1.5, lower: 1.5, upper: 1.5, count: 1 }), '1.50');
});

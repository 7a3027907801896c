// The drawings: well-formed, each point in its place, and nothing that runs out of the picture.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plot } from '../../../bench/plot.ts';

const POINTS = [
  [1, 0.5],
  [50, 20],
  [100, 40],
] as const;

test('it is well-formed, whatever the words are', () => {
  const text = plot({ title: 'A < B & "C"', unit: 'ms', points: POINTS });
  const open: string[] = [];
  for (const [tag, end, name = '', empty] of text.matchAll(/<(\/?)([a-z]+)(?:\s[^<>]*?)?(\/?)>/g)) {
    assert.doesNotMatch(tag.replaceAll(/="[^"]*"/g, ''), /"/, tag);
    if (end === '/') assert.equal(open.pop(), name);
    else if (empty !== '/') open.push(name);
  }
  assert.deepEqual(open, []);
  const [outside = ''] = [text.replaceAll(/<[^<>]*>/g, '')];
  assert.doesNotMatch(outside, /[<>]|&(?!amp;|lt;|quot;)/);
});

test('points lie where their values are, in the picture, and the mark above them', () => {
  const text = plot({ title: 't', unit: 'u', points: POINTS, mark: 80 });
  const dots = [...text.matchAll(/cx="([\d.]+)" cy="([\d.]+)"/g)].map(
    ([, x, y]) => [Number(x), Number(y)] as const,
  );
  assert.equal(dots.length, POINTS.length);
  for (const [at, [x, y]] of dots.entries()) {
    assert.ok(x > 0 && x < 480 && y > 0 && y < 280, `${x}, ${y}`);
    const before = dots[at - 1];
    assert.ok(
      before === undefined || (x > before[0] && y < before[1]),
      'larger values are farther right and higher',
    );
  }
  const mark = Number(/class="mark"[^>]* y1="([\d.]+)"/.exec(text)?.[1]);
  assert.ok(mark > 0 && dots.every(([, y]) => mark < y));
});

test('values that are all alike, or very small, are drawn too', () => {
  for (const value of [0.001, 1, 12_345]) {
    const text = plot({
      title: 't',
      unit: 'u',
      points: [
        [1, value],
        [2, value],
      ],
    });
    assert.doesNotMatch(text, /NaN|Infinity/);
  }
});

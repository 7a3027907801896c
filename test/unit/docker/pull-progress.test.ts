import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PullProgress } from '../../../src/docker/pull-progress.ts';

const layer = (id: string, status: string, current?: number, total?: number) =>
  JSON.stringify({ id, status, progressDetail: current === undefined ? {} : { current, total } });

test('layers and bytes are counted, and unpacking does not count them again', () => {
  const progress = new PullProgress('reg:5000/app:1');
  assert.equal(progress.words(), 'Pulling reg:5000/app:1');
  const take = (...lines: string[]) => lines.map((line) => progress.take(line));
  take(JSON.stringify({ id: '1', status: 'Pulling from app' }));
  take(layer('a', 'Pulling fs layer'), layer('b', 'Pulling fs layer'), layer('c', 'Already exists'));
  assert.equal(progress.words(), 'Pulling reg:5000/app:1: 1 of 3 layers');
  take(layer('a', 'Downloading', 1_500_000, 3_000_000));
  assert.equal(progress.words(), 'Pulling reg:5000/app:1: 1 of 3 layers, 1.5 of 3.0 MB');
  take(layer('a', 'Download complete'), layer('a', 'Extracting', 10, 3_000_000));
  assert.equal(progress.words(), 'Pulling reg:5000/app:1: 1 of 3 layers, 3.0 of 3.0 MB');
  take(layer('a', 'Pull complete'));
  assert.equal(progress.words(), 'Pulling reg:5000/app:1: 2 of 3 layers, 3.0 of 3.0 MB');
});

test('news is what was not known', () => {
  const progress = new PullProgress('app');
  assert.equal(progress.take(layer('a', 'Pulling fs layer')), true);
  assert.equal(progress.take(layer('a', 'Waiting')), true);
  assert.equal(progress.take(layer('a', 'Waiting')), false);
  assert.equal(progress.take(layer('a', 'Downloading', 5, 10)), true);
  assert.equal(progress.take(layer('a', 'Downloading', 5, 10)), false);
  assert.equal(progress.take(layer('a', 'Downloading', 6, 10)), true);
});

test("a failure is the daemon's words", () => {
  const progress = new PullProgress('app');
  assert.ok(progress.take('{"errorDetail":{"message":"denied"},"error":"denied"}'));
  assert.equal(progress.failure, 'denied');
});

test('what are no bytes are not counted', () => {
  const progress = new PullProgress('app');
  for (const [id, bytes] of Object.entries({ a: 1e308, b: 1e308, c: 0.5, d: -1 }))
    progress.take(layer(id, 'Downloading', bytes, bytes));
  assert.equal(progress.words(), 'Pulling app: 0 of 4 layers');
});

test('an id that is no text is passed over', () => {
  const progress = new PullProgress('app');
  assert.equal(progress.take('{"id":{"toString":1},"status":"Waiting"}'), true);
  assert.equal(progress.words(), 'Pulling app');
});

test('no line breaks it', () => {
  const value = fc.oneof(
    fc.string(),
    fc.json(),
    fc.jsonValue().map((json) => JSON.stringify({ id: 'a', status: json })),
  );
  fc.assert(
    fc.property(fc.array(value), (lines) => {
      const progress = new PullProgress('app');
      for (const line of lines) progress.take(line);
      assert.match(progress.words(), /^Pulling app/);
    }),
  );
});

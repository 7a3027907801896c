// The calls that are recognized without the command-line parser, and all others, which are not.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fastCall } from '../../../src/cli/fast.ts';

test("a slave's calls are recognized, with our own global options", () => {
  for (const verb of ['launch', 'wait', 'usage', 'update', 'destroy', 'containers', 'recover']) {
    assert.deepEqual(fastCall([verb])?.options, {}, verb);
    assert.deepEqual(
      fastCall(['--config', '/c', '--root', '/r', verb])?.options,
      { config: '/c', root: '/r' },
      verb,
    );
  }
});

test('a wait that flock starts again is recognized only word for word', () => {
  const words = ['wait', '--root', '/r', '--container', 'c', '--slave', ''];
  assert.ok(fastCall(words) !== undefined);
  assert.equal(fastCall(words.slice(0, -1)), undefined);
  assert.equal(fastCall(['usage', ...words.slice(1)]), undefined);
  assert.equal(fastCall(['wait', '--container', 'c', '--root', '/r', '--slave', '']), undefined);
});

test('anything else is left to the parser', () => {
  for (const argv of [
    [],
    ['bogus'],
    ['launch', '--no-fork'],
    ['--help'],
    ['--config'],
    ['constructor'],
    ['toString'],
  ]) {
    assert.equal(fastCall(argv), undefined, argv.join(' '));
  }
});

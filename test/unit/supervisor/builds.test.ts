// Which of two builds looks after a state root: a later one always, another one where it has replaced the running one's
// file, and none that could not read what is there.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  isExecutableGone,
  isExecutableReplaced,
  makesRoom,
  makesRoomForService,
} from '../../../src/supervisor/builds.ts';
import { tempDirectory } from '../../support/temp.ts';

const OWN = { version: '1.10.0', records: 2 };

for (const [asking, isReplaced, expected] of [
  ['1.10.0', false, false],
  ['1.10.0', true, true],
  ['1.10.1', false, true],
  ['1.9.9', false, false],
  ['1.9.9', true, true],
  ['2.0.0', false, true],
  ['0.99.99', false, false],
  ['none', false, false],
] as const)
  test(`1.10.0${isReplaced ? ', replaced,' : ''} ${expected ? 'makes room' : 'stays'} when ${asking} asks`, () => {
    assert.equal(
      makesRoom(OWN, { version: asking, records: 2 }, () => isReplaced),
      expected,
    );
  });

test('none makes room for one that cannot read its records', () => {
  for (const version of ['1.9.0', '2.0.0'])
    assert.equal(
      makesRoom(OWN, { version, records: 1 }, () => true),
      false,
    );
});

test('one that was started on demand makes room for a service, but for one that is older, unless replaced, or could not read its records', () => {
  for (const [version, records, isReplaced, expected] of [
    ['1.10.0', 2, false, true],
    ['1.10.1', 3, false, true],
    ['1.9.9', 2, false, false],
    ['1.9.9', 2, true, true],
    ['2.0.0', 1, true, false],
  ] as const)
    assert.equal(
      makesRoomForService(OWN, { version, records }, () => isReplaced),
      expected,
      version,
    );
});

test('a file is replaced by another one in its place, not by its absence', async () => {
  await using directory = await tempDirectory();
  assert.equal(isExecutableReplaced(process.execPath), false);
  assert.equal(isExecutableReplaced(directory.at('gone')), false);
  assert.equal(isExecutableReplaced('/bin/sh'), true);
  assert.deepEqual(
    [isExecutableGone(process.execPath), isExecutableGone(directory.at('gone'))],
    [false, true],
  );
});

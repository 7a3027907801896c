// What stands in the state's files is believed only as far as it has the shape of what was written.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFault } from '../../../src/fault.ts';
import { parseOutcome, parseRegistered, parseRequest, parseTermination } from '../../../src/state/records.ts';

test('a request of another version is refused by name, whatever its version is', () => {
  for (const [version, shown] of [
    [2, '2'],
    [{ toString: 1 }, '{"toString":1}'],
  ])
    assert.throws(
      () => parseRequest({ version, task: {}, config: {} }, '/state/container.json'),
      (error) => isFault(error, 'protocol') && error.message.includes(`has version ${shown},`),
    );
});

test('an exit code that no slave could be told is no outcome', () => {
  const outcome = { kind: 'exited', exitCode: 1, oomKilled: false };
  assert.deepEqual(parseOutcome(outcome), outcome);
  // Docker has none.
  assert.equal(parseOutcome({ ...outcome, exitCode: -1 })?.kind, 'exited');
  for (const exitCode of [0.5, 2 ** 31, Number.POSITIVE_INFINITY])
    assert.equal(parseOutcome({ ...outcome, exitCode }), undefined);
  assert.deepEqual(parseOutcome({ ...outcome, memoryLimitBytes: Number.POSITIVE_INFINITY }), outcome);
});

test('a status or a port that cannot be one is absent', () => {
  const termination = { message: 'm', killed: false, reasons: [] };
  assert.deepEqual(parseTermination({ ...termination, status: 256 }), { ...termination, status: 256 });
  for (const status of [0.5, 2 ** 31, Number.POSITIVE_INFINITY])
    assert.deepEqual(parseTermination({ ...termination, status }), termination);
  const registered = { slaveId: 's', takesKilling: false };
  assert.deepEqual(parseRegistered({ ...registered, port: 31_000 }), { ...registered, port: 31_000 });
  for (const port of [0, 0.5, 65_536, Number.POSITIVE_INFINITY])
    assert.deepEqual(parseRegistered({ ...registered, port }), registered);
});

// Statuses and lines of calls that fail.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { errorLine, exitStatus } from '../../../src/cli/exit-status.ts';
import { Fault } from '../../../src/fault.ts';

function thrownBy(work: () => void): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return assert.fail('nothing was thrown');
}

test('each kind of failure has its documented status', () => {
  assert.equal(exitStatus(new Fault('usage', 'x')), 1);
  assert.equal(exitStatus(new Fault('config', 'x')), 16);
  for (const kind of [
    'protocol',
    'not-found',
    'conflict',
    'refused',
    'locked',
    'timeout',
    'docker',
    'host',
  ] as const) {
    assert.equal(exitStatus(new Fault(kind, 'x')), 4, kind);
  }
});

test('an error of the operating system is known; a bug is 8 and says where', () => {
  assert.equal(exitStatus(thrownBy(() => readFileSync('/proc/self/absent'))), 4);
  const bug = thrownBy(() => Object(undefined).nothing.more);
  assert.equal(exitStatus(bug), 8);
  assert.match(errorLine('usage', bug), /^deimos usage: bug: TypeError: .*exit-status\.test\.ts/);
  assert.equal(exitStatus('a string'), 8);
});

test('whatever is thrown, it is one line', () => {
  for (const error of [new Fault('host', 'two\nlines\u001b[2J'), new Error('two\nlines'), 'two\nlines']) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    assert.doesNotMatch(errorLine('', error), /[\n\u001b]/);
  }
});

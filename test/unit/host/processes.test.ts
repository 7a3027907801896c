// A pid is believed only with its start time.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import {
  formatIdentity,
  identify,
  isAlive,
  parseIdentity,
  processStat,
} from '../../../src/host/processes.ts';

test('a process is itself until it has ended; another start time is another process', async () => {
  const child = spawn('sleep', ['60']);
  const identity = identify(child.pid ?? 0);
  assert.ok(identity !== undefined);
  assert.equal(isAlive(identity), true);
  assert.equal(isAlive({ ...identity, startTime: identity.startTime + 1 }), false);
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
  assert.equal(isAlive(identity), false);
});

test('a name with blanks and parentheses does not confuse the fields', async () => {
  const child = spawn('bash', ['-c', "printf '%s' ') R 1 (x' > /proc/self/comm; read line"]);
  try {
    const stat = processStat(child.pid ?? 0);
    assert.equal(stat?.parent, process.pid);
  } finally {
    child.kill('SIGKILL');
  }
});

test('an identity survives being written into an argv, and nothing else is one', () => {
  assert.deepEqual(parseIdentity(formatIdentity({ pid: 12, startTime: 345 })), { pid: 12, startTime: 345 });
  for (const text of ['', '12', '12:', ':3', 'a:b', '1:2:3', '-1:2'])
    assert.equal(parseIdentity(text), undefined, text);
});

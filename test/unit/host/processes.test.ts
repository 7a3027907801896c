// A pid is believed only with its start time.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { symlinkSync } from 'node:fs';
import { test } from 'node:test';
import {
  formatIdentity,
  identify,
  isAlive,
  parseIdentity,
  parseNoted,
  parseStat,
  processStat,
} from '../../../src/host/processes.ts';
import { output } from '../../support/command.ts';
import { tempDirectory } from '../../support/temp.ts';

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
  for (const text of ['', '12', '12:', ':3', 'a:b', '1:2:3', '-1:2', '1:9999999999999999'])
    assert.equal(parseIdentity(text), undefined, text);
});

test('a file that is no stat is no process', () => {
  const stat = '7 (sh) S 1 7 7 0 -1 0 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1 1';
  assert.equal(parseStat(stat)?.startTime, 12345);
  for (const text of [
    '',
    '7 (sh) S 1 7 7',
    stat.replace('12345', 'x'),
    stat.replace('12345', '9'.repeat(20)),
  ])
    assert.equal(parseStat(text), undefined, text);
});

test('a noted process has the number and the time of one', () => {
  const process = { pid: 7, startTime: 12345, bootId: 'b' };
  assert.deepEqual(parseNoted(process), process);
  for (const wrong of [
    { pid: 1.5 },
    { pid: Number.POSITIVE_INFINITY },
    { startTime: -1 },
    { startTime: 0.5 },
  ])
    assert.equal(parseNoted({ ...process, ...wrong }), undefined);
});

for (const [name, isCaller] of [
  ['mesos-slave', true],
  ['mesos-agent', true],
  ['tini', false],
] as const)
  test(`the caller whose pid is 1 is ${isCaller ? 'a slave in a container of its own' : 'no caller but the init that took its place'} where it is ${name}`, async () => {
    await using directory = await tempDirectory();
    const first = directory.at(name);
    symlinkSync('/bin/sh', first);
    const url = new URL('../../../src/host/processes.ts', import.meta.url).href;
    const source = `import { callerOfSession, parseNotedCaller, noted } from ${JSON.stringify(url)};
      const caller = callerOfSession();
      console.log(caller?.pid ?? 'nobody', caller && parseNotedCaller(JSON.parse(JSON.stringify(noted(caller))))?.pid);`;
    // As a slave calls: through a leader of a session of its own, beside what else it does.
    const calls = `setsid --wait sh -c '"$@"; exit $?' sh "$@"; exit $?`;
    const node = [process.execPath, '--input-type=module', '-e', source];
    const own = ['--pid', '--fork', '--mount-proc', first, '-c', calls, name, ...node];
    assert.equal((await output(['unshare', ...own])).trim(), isCaller ? '1 1' : 'nobody undefined');
  });

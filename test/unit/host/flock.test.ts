// Locks taken by a flock(1) child on our open file: held by this process, seen by others, fallen when it lets go or dies.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { tryLock } from '../../../src/host/flock.ts';
import { lockUses } from '../../../src/host/locks.ts';
import { outcomeOf } from '../../support/command.ts';
import { tempDirectory } from '../../support/temp.ts';
import { until } from '../../support/until.ts';

test('a lock is held once, also against this very process, until it is released', async () => {
  await using directory = await tempDirectory();
  const path = directory.at('lock');
  const first = await tryLock(path);
  assert.ok(first !== undefined);
  assert.equal(await tryLock(path), undefined);
  const other = await outcomeOf(['flock', '-n', path, 'true']);
  assert.equal(other.code, 1);
  first.release();
  first.release();
  using second = await tryLock(path);
  assert.ok(second !== undefined);
});

test('a sleeper wakes when the holder dies, and is listed as waiting until then', async () => {
  await using directory = await tempDirectory();
  const path = directory.at('lock');
  const script = `import { tryLock } from '${new URL('../../../src/host/flock.ts', import.meta.url).pathname}';
    const lock = await tryLock(process.argv[1]); process.stdout.write(lock ? 'held' : 'not'); setInterval(() => {}, 1000);`;
  const holder = spawn(process.execPath, ['--input-type=module', '-e', script, '--', path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [word] = await once(holder.stdout, 'data');
  assert.equal(String(word), 'held');
  const sleeper = spawn('flock', ['--no-fork', '-s', path, 'echo', 'awake'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const woken = once(sleeper.stdout, 'data');

  const uses = () => lockUses([path]).get(path)?.uses ?? [];
  await until('the sleeper waits', () => uses().some(({ status }) => status === 'waiting'));
  const held = uses().filter(({ status }) => status === 'held');
  assert.deepEqual(held, [{ pid: holder.pid, level: 'exclusive', status: 'held' }]);
  const waiting = uses().filter(({ status }) => status === 'waiting');
  assert.deepEqual(waiting, [{ pid: sleeper.pid, level: 'shared', status: 'waiting' }]);

  holder.kill('SIGKILL');
  assert.equal(String((await woken)[0]), 'awake\n');
});

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { afterEach, describe, it } from 'node:test';
import { endMarked } from '../../../src/host/marked-processes.ts';
import { allPids, argvOf, isAlive, killAll } from '../../support/proc.ts';
import { until } from '../../support/until.ts';

const SIGNAL = new AbortController().signal;
const started: ChildProcess[] = [];

/** A shell with the mark in its environment that leads a session, and says when all of it stands. */
async function shell(script: string, mark: string): Promise<number> {
  const [name = '', value] = mark.split('=');
  const child = spawn('/bin/sh', ['-c', `${script} echo ready; exec sleep 1000`], {
    detached: true,
    env: { PATH: '/usr/bin:/bin', [name]: value },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  started.push(child);
  assert.ok(child.stdout !== null && child.pid !== undefined);
  await once(child.stdout, 'data');
  child.stdout.destroy();
  return child.pid;
}

const sleepers = (seconds: string) => allPids().filter((pid) => argvOf(pid)?.includes(seconds) === true);
const uniqueSeconds = () => `9${randomBytes(4).readUInt32BE()}`;
const uniqueMark = () => `DEIMOS_TEST_MARK=${randomBytes(8).toString('hex')}`;

describe('what a marked process has started', () => {
  afterEach(
    async () => await killAll(started.splice(0).flatMap(({ pid }) => (pid === undefined ? [] : [pid]))),
  );

  it('is ended with it: children, sessions of their own, and what has lost its parent', async () => {
    const mark = uniqueMark();
    const seconds = uniqueSeconds();
    const pid = await shell(
      `sleep ${seconds} & setsid sleep ${seconds} & (setsid sleep ${seconds} &) ; (env -i /bin/sleep ${seconds} &) ;`,
      mark,
    );
    await until('all of them run', () => sleepers(seconds).length === 4);
    assert.equal(await endMarked(pid, mark, SIGNAL), 5);
    assert.deepEqual([sleepers(seconds), isAlive(pid)], [[], false]);
    assert.equal(await endMarked(pid, mark, SIGNAL), 0);
  });

  it('is found by the beginning of the mark, too', async () => {
    const mark = uniqueMark();
    const pid = await shell('', mark);
    assert.equal(await endMarked(pid, mark.slice(0, -4), SIGNAL), 1);
  });

  it('is left alone where the number belongs to somebody else', async () => {
    const seconds = uniqueSeconds();
    const pid = await shell(`sleep ${seconds} &`, uniqueMark());
    await until('it runs', () => sleepers(seconds).length === 1);
    try {
      assert.equal(await endMarked(pid, uniqueMark(), SIGNAL), 0);
      assert.deepEqual([sleepers(seconds).length, isAlive(pid)], [1, true]);
    } finally {
      await killAll(sleepers(seconds));
    }
  });
});

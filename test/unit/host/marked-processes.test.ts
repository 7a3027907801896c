import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
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

describe('whoever runs on the same host', () => {
  const read = fs.readFileSync;
  afterEach(() => {
    fs.readFileSync = read;
    syncBuiltinESMExports();
  });

  it('is looked at once if older, a few at a time, however often what is new is looked for', async () => {
    const others = spawn('/bin/sh', ['-c', 'for n in $(seq 120); do sleep 1000 & done; echo ready; wait'], {
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    assert.ok(others.pid !== undefined && others.stdout !== null);
    try {
      await once(others.stdout, 'data');
      const mark = uniqueMark();
      const pid = await shell('', mark);
      const looks = new Map<string, number>();
      let inThisTurn = 0;
      let mostInOneTurn = 0;
      const counting = (path: unknown, options: unknown): unknown => {
        looks.set(String(path), (looks.get(String(path)) ?? 0) + 1);
        if (inThisTurn === 0)
          setImmediate(() => {
            inThisTurn = 0;
          });
        inThisTurn += 1;
        mostInOneTurn = Math.max(mostInOneTurn, inThisTurn);
        return Reflect.apply(read, fs, [path, options]);
      };
      fs.readFileSync = counting as typeof read;
      syncBuiltinESMExports();
      assert.equal(await endMarked(pid, mark, SIGNAL), 1);
      assert.equal(looks.get(`/proc/${others.pid}/stat`), 1);
      assert.ok(mostInOneTurn < 120, `${mostInOneTurn} reads in one turn`);
    } finally {
      process.kill(-others.pid, 'SIGKILL');
    }
  });
});

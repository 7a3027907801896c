// The operator's hooks through the built binary: when they run, how often, what they are given, and that nothing they do
// or leave undone changes anything for a task.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { appendFile, chmod, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { allPids, argvOf } from '../support/proc.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const skip = await skipWithoutTools();
const { RUNNING, FINISHED, KILLED } = TaskState;

/** Writes `<hook> <TASK_INFO>` to a common file, and what it sees to one of its own. */
const OBSERVER = `#!/bin/sh
set -e
cd -P .
{ tr '\\0' '\\n' < /proc/$$/environ; } > "$2/$TASK_INFO.$1.environ"
{ pwd; stat -c '%a %u' "$DEIMOS_TASK_ENV"; tr '\\0' '\\n' < "$DEIMOS_TASK_ENV"; } > "$2/$TASK_INFO.$1.seen"
"$3" -H "$4" ps -aq --filter label=deimos.container > "$2/$TASK_INFO.$1.containers"
cat >> "$2/$TASK_INFO.$1.seen"
echo "$1 $TASK_INFO" >> "$2/calls"
echo said by the hook >/dev/stderr
case "$TASK_INFO" in
fails-*) echo "last words of $TASK_INFO" >&2; exit 3 ;;
hangs-$1-*) : > "$2/$TASK_INFO.hangs"; (while :; do sleep 0.2; done) & wait ;;
esac
`;

describe('hooks', { skip, timeout: 180_000 }, () => {
  let host: Host;
  let slave: StandInSlave;
  let script: string;
  before(async () => {
    host = await startHost();
    script = host.directory.at('observer');
    await writeFile(script, OBSERVER);
    await chmod(script, 0o755);
    await appendFile(host.directory.at('calls'), '');
    const hook = (name: string) =>
      JSON.stringify([script, name, host.directory.path, '/usr/bin/docker', host.dockerd.host]);
    const names = '["ROLE", "ABSENT"]';
    await host.configure(
      `[hooks]\nonlaunch: ${hook('onlaunch')}\nondestroy: ${hook('ondestroy')}\nenvironment: ${names}`,
    );
    slave = await host.slave();
  });
  after(async () => await host?.[Symbol.asyncDispose]());

  const launch = async (name: string, options: TaskOptions = {}): Promise<LaunchedTask> =>
    await slave.launch(commandTask({ name, image: IMAGES.busybox, value: 'true', ...options }));
  const calls = (name: string): string[] =>
    readFileSync(host.directory.at('calls'), 'utf8')
      .split('\n')
      .filter((line) => line.endsWith(` ${name}`))
      .map((line) => line.split(' ')[0] ?? '');
  const noted = (name: string): string[] =>
    readFileSync(host.directory.at(name), 'utf8').trimEnd().split('\n');
  const state = (task: LaunchedTask, name = '') => `${host.root}/mesos/${task.containerId}/${name}`;
  const log = () => readFileSync(`${host.root}/supervisor/log`, 'utf8');
  const done = async (task: LaunchedTask) =>
    await until('all is done', () => existsSync(state(task, 'removed'))).catch((error: unknown) => {
      throw new Error(`${log().slice(-4_000)}`, { cause: error });
    });
  const finishes = async (task: LaunchedTask): Promise<void> => {
    const end = await task.ended(60_000);
    assert.equal(end.state, FINISHED, `${end.message}\n${log().slice(-4_000)}`);
    await task.gone();
    await done(task);
  };
  const loops = () => allPids().filter((pid) => argvOf(pid)?.includes(script));

  it('run once before a container is created and once at its end, with what they may know', async () => {
    const env = { ROLE: 'one', LD_PRELOAD: '/evil.so', SECRET: 'sesame', PORT1: 'mine' };
    const task = await launch('plain', { env, ports: [[31000, 31001]] });
    await finishes(task);
    assert.deepEqual(calls('plain'), ['onlaunch', 'ondestroy']);
    const directory = state(task).slice(0, -1);
    for (const name of ['onlaunch', 'ondestroy']) {
      const given = noted(`plain.${name}.environ`)
        .filter((line) => !line.startsWith('PWD='))
        .sort();
      assert.deepEqual(given, [
        `DEIMOS_TASK_ENV=${directory}/hook-environment`,
        'LC_ALL=C.UTF-8',
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        ...['PORT0=31000', 'PORT1=31001', 'PORT=31000', 'PORTS=31000,31001', 'ROLE=one', 'TASK_INFO=plain'],
      ]);
      const [cwd, mode, ...all] = noted(`plain.${name}.seen`);
      assert.deepEqual([cwd, mode], [directory, '600 0']);
      assert.deepEqual(all.sort(), [
        ...['LD_PRELOAD=/evil.so', 'PORT0=31000', 'PORT1=mine', 'PORT=31000', 'PORTS=31000,31001'],
        ...['ROLE=one', 'SECRET=sesame', 'TASK_INFO=plain'],
      ]);
    }
    assert.deepEqual(noted('plain.onlaunch.containers'), [''], 'nothing is created yet');
    assert.ok(!existsSync(state(task, 'hook-environment')));
    assert.ok(!log().includes('sesame'));
  });

  it('that fail change nothing, and their last words are in the log', async () => {
    await finishes(await launch('fails-1'));
    assert.deepEqual(calls('fails-1'), ['onlaunch', 'ondestroy']);
    assert.match(log(), /last words of fails-1/);
  });

  it('that are not there change nothing', async () => {
    const other = await startHost({
      dockerd: host.dockerd,
      configuration: '[hooks]\nonlaunch: ["/no/such/hook"]\nondestroy: ["/no/such/hook"]',
    });
    try {
      const its = await other.slave();
      const task = await its.launch(commandTask({ image: IMAGES.busybox, value: 'true' }));
      assert.equal((await task.ended(60_000)).state, FINISHED);
      await task.gone();
      assert.deepEqual(await other.leftovers(), []);
    } finally {
      await other[Symbol.asyncDispose]();
    }
  });

  it('run for a task that could not be started, too: what ends it has to be undone', async () => {
    const task = await launch('no-image', { image: 'ftp://nothing' });
    await task.ended(60_000);
    await task.gone();
    await done(task);
    assert.deepEqual(calls('no-image'), ['ondestroy']);
  });

  it('that hang at the beginning hold up no kill, and are ended with the supervisor', async () => {
    const task = await launch('hangs-onlaunch-1');
    await until('the hook hangs', () => existsSync(host.directory.at('hangs-onlaunch-1.hangs')));
    await slave.killTask(task);
    assert.equal((await task.ended()).state, KILLED);
    await task.gone();
    assert.ok(loops().length >= 2, 'the hook goes on');
    assert.deepEqual(calls('hangs-onlaunch-1'), ['onlaunch']);
    await host.killSupervisor();
    await host.deimos(['recover']);
    await done(task);
    await until('the hook is gone with what it started', () => loops().length === 0);
    assert.deepEqual(calls('hangs-onlaunch-1'), ['onlaunch', 'ondestroy']);
    assert.ok(!existsSync(state(task, 'hook-environment')));
  });

  it('that a crash of the supervisor cut short are not run again, and the task starts', async () => {
    const task = await launch('hangs-onlaunch-2', { value: 'echo ran' });
    await until('the hook hangs', () => existsSync(host.directory.at('hangs-onlaunch-2.hangs')));
    await host.killSupervisor();
    await task.reached(RUNNING, 60_000);
    await finishes(task);
    assert.deepEqual(calls('hangs-onlaunch-2'), ['onlaunch', 'ondestroy']);
    await until('the hook is gone with what it started', () => loops().length === 0);
  });

  it('that hang at the end hold up neither the answer nor the removal nor destroy', async () => {
    const task = await launch('hangs-ondestroy-1', { value: 'sleep 1000' });
    await task.reached(RUNNING, 60_000);
    await slave.destroy(task);
    const ours = ['ps', '-aq', '--filter', `label=deimos.container=${task.containerId}`];
    assert.equal(await host.dockerd.run(ours), '', 'gone when destroy returns');
    await until('the hook hangs', () => existsSync(host.directory.at('hangs-ondestroy-1.hangs')));
    assert.ok(!existsSync(state(task, 'removed')), 'the state is kept for the hook');
    await host.killSupervisor();
    await host.deimos(['recover']);
    await done(task);
    assert.deepEqual(calls('hangs-ondestroy-1'), ['onlaunch', 'ondestroy']);
    await until('the hook is gone with what it started', () => loops().length === 0);
  });

  it('leave nothing behind', async () => {
    assert.deepEqual(await host.leftovers(), []);
    for (const id of readdirSync(`${host.root}/mesos`)) {
      const left = readdirSync(`${host.root}/mesos/${id}/children`);
      assert.deepEqual(left, [], id);
    }
    assert.deepEqual(slave.violations, []);
  });
});

// A supervisor that stays, as a service unit starts it, beside those that calls start on demand: which of them looks after the
// tasks. The unit itself is tried under systemd in test/package/service.test.ts.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, rename, rm, writeFile } from 'node:fs/promises';
import { after, before, describe } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { askBySocket } from '../../src/supervisor/ask-by-socket.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { assertContent, testOn } from '../support/on-host.ts';
import { signalPid } from '../support/proc.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

describe('a supervisor that stays', { skip: await skipWithoutTools(), timeout: 240_000 }, () => {
  let host: Host;
  let slave: StandInSlave;
  const services: ChildProcess[] = [];
  before(async () => {
    host = await startHost();
    slave = await host.slave({ checkpoint: true });
  });
  after(async () => {
    for (const service of services) service.kill('SIGKILL');
    await host?.[Symbol.asyncDispose]();
  });
  const on = (name: string, body: (host: Host) => Promise<void>): void => testOn(() => host, name, body);

  const serve = (file = host.binary, root = host.root): ChildProcess => {
    const words = ['--config', host.configFile, '--root', root, 'supervise', '--stay'];
    const service = spawn(file, words, { stdio: 'ignore', env: { PATH: '/usr/bin:/bin' } });
    services.push(service);
    return service;
  };
  const end = async (service: ChildProcess): Promise<void> => {
    service.kill('SIGTERM');
    await until('the service has ended', () => service.exitCode !== null || service.signalCode !== null);
  };
  /** The one that has the lock. */
  const holder = async (): Promise<number> => {
    const { stdout } = await host.deimos(['locks']);
    return Number(/^(\d+)\t.*\theld\t.*\/supervisor\/lock$/m.exec(stdout.toString())?.[1] ?? 0);
  };
  const isHeldBy = async (service: ChildProcess): Promise<void> =>
    void (await until('the service has the lock', async () => (await holder()) === service.pid));
  const running = async (): Promise<LaunchedTask> => {
    const task = await slave.launch(
      commandTask({
        image: IMAGES.busybox,
        value: 'echo begun; until [ -e go ]; do sleep 0.1; done; exit 3',
      }),
    );
    await task.reached(TaskState.RUNNING);
    return task;
  };
  const assertEnds = async (task: LaunchedTask): Promise<void> => {
    await writeFile(`${task.sandbox}/fs/go`, '');
    assert.equal((await task.gone())?.status, 3 << 8);
    assert.deepEqual(
      task.updates().map(({ state }) => state),
      [TaskState.RUNNING, TaskState.FAILED],
    );
    assert.equal(await sandboxFile(task, 'stdout'), 'begun\n');
  };

  on('takes over from one that was started on demand, with its tasks', async () => {
    const task = await running();
    const onDemand = await holder();
    const service = serve();
    await isHeldBy(service);
    await until('the other one has ended', () => !host.processes().some(({ pid }) => pid === onDemand));
    const other = await running();
    assert.equal(await holder(), service.pid);
    await end(service);
    await until('a sleeping wait has started one', async () => (await holder()) > 0);
    await assertEnds(task);
    await assertEnds(other);
    assertContent(slave);
  });

  on('waits for another one that stays, and follows it when that is killed', async () => {
    const first = serve();
    await isHeldBy(first);
    const task = await running();
    const second = serve();
    const by = { version: '1.0.0', records: 1 };
    const reply = await askBySocket(host.root, { op: 'relieve' }, by, 10_000);
    assert.equal(reply?.ok, false);
    assert.equal((await host.deimos(['recover'])).code, 0);
    assert.equal(await holder(), first.pid);
    signalPid(first.pid ?? 0, 'SIGKILL');
    await isHeldBy(second);
    await assertEnds(task);
    await end(second);
    assertContent(slave);
    assert.deepEqual(await host.leftovers(), []);
  });

  on('ends when it has nothing to do and its file, or its root, is not in its place any more', async () => {
    const file = host.directory.at('removed');
    await copyFile(host.binary, file);
    const [removed, elsewhere] = [serve(file), serve(host.binary, host.directory.at('replaced'))];
    await isHeldBy(removed);
    const lock = host.directory.at('replaced/supervisor/lock');
    await until('the other one serves', () => existsSync(host.directory.at('replaced/supervisor/socket')));
    await rm(file);
    await rename(lock, `${lock}.old`);
    await writeFile(lock, '');
    for (const service of [removed, elsewhere])
      await until('it has ended', () => service.exitCode !== null, { timeoutMs: 90_000 });
    assert.deepEqual([removed.exitCode, elsewhere.exitCode], [0, 0]);
  });
});

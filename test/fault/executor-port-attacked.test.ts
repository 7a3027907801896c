// Another user of the host, without rights, against the port where slaves reach our executors, and at the port of a slave that
// has died: no task is harmed or kept from running, and no name of an executor, which is as good as a password, gets out.

import assert from 'node:assert/strict';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { STRANGERS_MAX } from '../../src/mesos/strangers.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { asNobody } from '../support/nobody.ts';
import { supervisorLog } from '../support/on-host.ts';
import { commandTask } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const { RUNNING, FINISHED, KILLED } = TaskState;
const LONG_MS = 90_000;
const LOOPBACK = '127.0.0.1';
const LISTEN = '0A';
const IMPOSTOR = /a user who cannot be the slave listens at its address slave=\S+ user=65534/;
/** Of the supervisor beside those of strangers, with two tasks: Docker, slave, output, locks. */
const OWN_FILES_MAX = 150;

describe('another user of the host', { skip: await skipWithoutTools(), timeout: 300_000 }, () => {
  let host: Host;
  before(async () => {
    host = await startHost();
  });
  after(async () => await host[Symbol.asyncDispose]());

  const executorPort = (): number => Number(readFileSync(`${host.root}/supervisor/port`, 'utf8'));
  const supervisor = (): number => host.supervisor() ?? assert.fail('no supervisor');

  it('is at the executor port in thousands of connections: tasks run, are launched, and are killed all the same', async () => {
    const slave = await host.slave();
    const first = await slave.launch(commandTask({ value: 'exec sleep 600', image: IMAGES.busybox }));
    await first.reached(RUNNING, LONG_MS);
    const port = executorPort();
    await using _storm = await asNobody({ do: 'storm', host: LOOPBACK, port });
    await using flood = await asNobody({ do: 'flood', host: LOOPBACK, port, count: 5_000 });
    const second = await slave.launch(commandTask({ value: 'echo done', image: IMAGES.busybox }));
    assert.equal((await second.ended(LONG_MS)).state, FINISHED, supervisorLog(host));
    const files = readdirSync(`/proc/${supervisor()}/fd`).length;
    assert.ok(files <= STRANGERS_MAX + OWN_FILES_MAX, `${files} files are open`);
    await slave.killTask(first);
    assert.equal((await first.ended(LONG_MS)).state, KILLED);
    await flood.said(/^closed 5000$/m);
    for (const task of [first, second]) await task.gone(LONG_MS);
    const told = supervisorLog(host).match(/connections of user 65534, who cannot be a slave/g);
    assert.equal(told?.length, 1);
    assert.deepEqual(slave.violations, []);
    assert.deepEqual(await host.leftovers(), []);
  });

  it('finds it at the loopback alone', async () => {
    const slave = await host.slave();
    const task = await slave.launch(commandTask({ value: AT_GATE, image: IMAGES.busybox }));
    await task.reached(RUNNING, LONG_MS);
    const pid = supervisor();
    const inodes = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    const listening = ['tcp', 'tcp6'].flatMap((table) =>
      readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        .filter((fields) => fields[3] === LISTEN && inodes.includes(`socket:[${fields[9]}]`))
        .map((fields) => fields[1]),
    );
    const hexPort = executorPort().toString(16).toUpperCase().padStart(4, '0');
    assert.deepEqual(listening, [`0100007F:${hexPort}`]);
    // And what our own calls ask by not at all.
    for (const [name, mode] of [
      ['', '700'],
      ['/supervisor', '700'],
      ['/supervisor/socket', '600'],
      ['/supervisor/requests', '600'],
    ] as const) {
      const stat = lstatSync(`${host.root}${name}`);
      assert.deepEqual([stat.uid, (stat.mode & 0o777).toString(8)], [0, mode], name);
    }
    openGate(task);
    assert.equal((await task.ended(LONG_MS)).state, FINISHED);
    await task.gone(LONG_MS);
    assert.deepEqual(slave.violations, []);
  });

  it('takes the port of a slave that has died, and is told nothing; the slave that comes back is told all', async () => {
    const slave = await host.slave({ checkpoint: true });
    const task = await slave.launch(commandTask({ value: AT_GATE, image: IMAGES.busybox }));
    await task.reached(RUNNING, LONG_MS);
    const name = readFileSync(`${host.root}/mesos/${task.containerId}/executor`, 'utf8').trim();
    await slave.kill();
    {
      await using impostor = await asNobody({ do: 'listen', host: LOOPBACK, port: slave.port });
      await impostor.said(/^listening$/m);
      openGate(task);
      await until('it is told', () => IMPOSTOR.test(supervisorLog(host)), { timeoutMs: LONG_MS });
      const tries = (): number => impostor.heard().match(/^accepted /gm)?.length ?? 0;
      await until('it is tried again', () => tries() >= 3, { timeoutMs: LONG_MS });
      assert.doesNotMatch(impostor.heard(), /POST|HTTP|mesos/);
      assert.ok(!impostor.heard().includes(name));
    }
    await slave.start();
    assert.equal((await task.ended(LONG_MS)).state, FINISHED, supervisorLog(host));
    await task.gone(LONG_MS);
    assert.deepEqual(slave.violations, []);
    assert.deepEqual(await host.leftovers(), []);
  });
});

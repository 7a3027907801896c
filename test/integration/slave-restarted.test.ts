// The slave dies and comes back while tasks run: those of a framework that checkpoints go on and are reported as if nothing
// had been, the others are stopped; and `containers` tells each slave of its own containers until it knows their end.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { decode, encode } from '../../src/mesos/codec.ts';
import * as messages from '../../src/mesos/messages.ts';
import { TaskState } from '../../src/mesos/messages.ts';
import { outcomeOf } from '../support/command.ts';
import { acknowledgementsTaken, checkCalm } from '../support/endings.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { BINARY, type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { isOpen } from '../support/ports.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { type Wrapped, wrap } from '../support/wrapped.ts';

const skip = await skipWithoutTools();
const { RUNNING, FINISHED, LOST } = TaskState;
/** A bound against hanging: the machine may be busy with other suites. */
const PATIENCE_MS = 120_000;
const RECORDING = new URL('../contract/recordings/slave-restart.jsonl', import.meta.url);
const TASKS = 5;
/** In which a supervisor that starts would find a slave that listens. It decides what is tested, not whether it passes. */
const LINK_MS = 1_000;

/** Calls and messages of a recording after the slave's death, each kind in its order, in the words of StandInSlave.history. */
function recordedAfterDeath(): { calls: string[]; said: string[]; reregistration: Buffer } {
  const lines: Record<string, string>[] = readFileSync(RECORDING, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const since = lines.slice(lines.findIndex(({ event }) => event === 'connection to the slave closed') + 1);
  const messageOf = (line: Record<string, string>): string =>
    line.message ?? line.url?.split('mesos.internal.')[1] ?? '';
  const said = since.filter((line) => messageOf(line) !== '');
  return {
    calls: since.flatMap(({ call }) => (call === undefined ? [] : [`call ${call}`])),
    said: said.map((line) => `${line.from === 'slave' ? 'to-executor' : 'to-slave'} ${messageOf(line)}`),
    reregistration: Buffer.from(
      said.find((line) => messageOf(line) === 'ReregisterExecutorMessage')?.body ?? '',
      'hex',
    ),
  };
}

const lastReregistration = (slave: StandInSlave) => {
  const said = slave.messages.filter(({ name }) => name === 'ReregisterExecutorMessage');
  return decode(messages.ReregisterExecutorMessage, said.at(-1)?.body ?? assert.fail('no Reregister'));
};

const idsOf = (answer: Uint8Array | undefined): readonly (string | undefined)[] =>
  decode(messages.Containers, answer ?? assert.fail('no record')).containers.map(({ value }) => value);

/** What `containers` tells a slave of that work directory, whether or not one lives. */
async function listed(host: Host, workDirectory: string): Promise<readonly (string | undefined)[]> {
  const env = { MESOS_WORK_DIRECTORY: workDirectory, PATH: process.env.PATH };
  const { code, stdout } = await outcomeOf([BINARY, '--config', host.configFile, 'containers'], { env });
  assert.equal(code, 0);
  assert.equal(stdout.readUInt32LE(0), stdout.length - 4);
  return idsOf(stdout.subarray(4));
}

const stateOfUpdates = (task: LaunchedTask) => task.updates().map(({ from, state }) => `${from} ${state}`);

describe('a slave that dies and comes back', { skip, timeout: 600_000 }, () => {
  let host: Host;
  let count = 0;
  before(async () => {
    host = await startHost();
  });
  after(async () => {
    await host[Symbol.asyncDispose]();
  });

  /** A slave whose waits' answers are kept, with tasks at their gates. */
  async function withTasks(
    options: { tasks: number; checkpoint: boolean; recoveryTimeout?: string },
    value = `echo begun; ${AT_GATE}; echo over`,
  ): Promise<{ slave: StandInSlave; tasks: readonly LaunchedTask[]; wrapped: Wrapped }> {
    const { tasks: number, ...slaveOptions } = options;
    count += 1;
    const wrapped = wrap(host, `wrapped-${count}`);
    const slave = await host.slave({ containerizer: wrapped.containerizer, ...slaveOptions });
    const tasks = await Promise.all(
      Array.from({ length: number }, () => slave.launch(commandTask({ image: IMAGES.busybox, value }))),
    );
    await Promise.all(tasks.map((task) => task.reached(RUNNING, PATIENCE_MS)));
    await until(
      'every wait sleeps',
      () => host.processes().filter(({ kind }) => kind === 'flock').length >= number,
      { timeoutMs: PATIENCE_MS },
    );
    // The slave's checkpoint has it that RUNNING was acknowledged.
    await until('acknowledged', () => slave.acknowledged.length === number);
    await acknowledgementsTaken(host, tasks);
    return { slave, tasks, wrapped };
  }

  const hasFact = (task: LaunchedTask, fact: string): boolean =>
    existsSync(`${host.root}/mesos/${task.containerId}/${fact}`);

  /** Finished, told once, acknowledged once, and every wait that was ever called for it answered alike. */
  async function checkFinished(
    { slave, tasks, wrapped }: Awaited<ReturnType<typeof withTasks>>,
    waits: number,
  ): Promise<void> {
    for (const task of tasks) {
      assert.equal((await task.ended(PATIENCE_MS)).state, FINISHED);
      const termination = await task.gone(PATIENCE_MS);
      assert.deepEqual([termination?.state, termination?.status, termination?.killed], [FINISHED, 0, false]);
      assert.deepEqual(stateOfUpdates(task), ['executor 1', 'executor 2']);
      const finished = task.updates().at(-1);
      const acknowledged = slave.acknowledged.filter((text) => text === `${task.taskId} ${finished?.uuid}`);
      assert.equal(acknowledged.length, 1);
    }
    const answers = await until('every wait has answered', () => {
      const all = wrapped.answers();
      return all.length === waits * tasks.length && all;
    });
    assert.equal(new Set(answers.map((bytes) => bytes.toString('hex'))).size, 1);
    assert.deepEqual(await listed(host, slave.options.workDirectory), []);
    checkCalm(slave);
    assert.deepEqual(await host.leftovers(), []);
  }

  it('finds 5 checkpointed tasks running: reconnected, finished, acknowledged, both waits of each answered', async () => {
    await withSupervisorLog(host, async () => {
      const all = await withTasks({ tasks: TASKS, checkpoint: true });
      const { slave, tasks } = all;
      const ids = tasks.map(({ containerId }) => containerId).sort();
      assert.deepEqual([...idsOf((await slave.call('containers')).answer)].sort(), ids);
      await slave.kill();
      assert.deepEqual([...(await listed(host, slave.options.workDirectory))].sort(), ids);
      await slave.start();
      await Promise.all(tasks.map((task) => slave.reregistered(task, PATIENCE_MS)));
      const again = slave.messages.filter(({ name }) => name === 'ReregisterExecutorMessage');
      assert.equal(again.length, TASKS);
      for (const task of tasks) openGate(task);
      await checkFinished(all, 2);
      for (const task of tasks) assert.equal(await sandboxFile(task, 'stdout'), 'begun\nover\n');
    });
  });

  it('meets what the recording of a real one shows, call by call and message by message', async () => {
    await withSupervisorLog(host, async () => {
      const all = await withTasks({ tasks: 1, checkpoint: true });
      const { slave, tasks } = all;
      await slave.kill();
      const since = slave.history.length;
      await slave.start();
      for (const task of tasks) {
        await slave.reregistered(task, PATIENCE_MS);
        await until(
          'updated',
          () => task.calls('update').filter(({ end }) => end !== undefined).length === 2,
        );
        openGate(task);
      }
      await checkFinished(all, 2);
      const recorded = recordedAfterDeath();
      const lived = slave.history.slice(since);
      assert.deepEqual(
        lived.filter((line) => line.startsWith('call ')),
        recorded.calls,
      );
      assert.deepEqual(
        lived.filter((line) => line.startsWith('to-')),
        recorded.said,
      );
      // Its one update had been acknowledged: neither task nor update is named.
      const theirs = decode(messages.ReregisterExecutorMessage, recorded.reregistration);
      assert.deepEqual([theirs.tasks, theirs.updates], [[], []]);
      const ours = lastReregistration(slave);
      assert.deepEqual([ours.tasks, ours.updates], [[], []]);
      assert.equal(ours.executor_id?.value, tasks[0]?.executorId);
      assert.equal(ours.framework_id?.value, tasks[0]?.frameworkId);
    });
  });

  it('finds tasks whose supervisor was killed with it: the same', async () => {
    await withSupervisorLog(host, async () => {
      const all = await withTasks({ tasks: 2, checkpoint: true });
      await Promise.all([all.slave.kill(), host.killSupervisor()]);
      await all.slave.start();
      await Promise.all(all.tasks.map((task) => all.slave.reregistered(task, PATIENCE_MS)));
      for (const task of all.tasks) openGate(task);
      await checkFinished(all, 2);
      for (const task of all.tasks) assert.equal(await sandboxFile(task, 'stdout'), 'begun\nover\n');
    });
  });

  for (const killed of [false, true]) {
    const also = killed ? ', and whose supervisor is killed while it recovers' : '';
    it(`finds a task that ended while it was away${also}: it hears of the end before wait answers`, async () => {
      await withSupervisorLog(host, async () => {
        const all = await withTasks({ tasks: 1, checkpoint: true });
        const { slave, wrapped } = all;
        const task = all.tasks[0] ?? assert.fail();
        await slave.kill();
        openGate(task);
        await until('the end is recorded', () => hasFact(task, 'outcome'), { timeoutMs: PATIENCE_MS });
        wrapped.hold('recover');
        const starting = slave.start();
        // It listens already, and knows of no executor yet: what is said to it now is lost.
        await until('it listens', () => isOpen(Number(slave.upid.split(':')[1])));
        if (killed) {
          const before = host.supervisor();
          await host.killSupervisor();
          await until('another one', () => host.supervisor() !== undefined && host.supervisor() !== before, {
            timeoutMs: PATIENCE_MS,
          });
        }
        await sleep(LINK_MS);
        assert.deepEqual(wrapped.answers(), []);
        assert.ok(!hasFact(task, 'termination'));
        assert.deepEqual(await listed(host, slave.options.workDirectory), [task.containerId]);
        wrapped.letGo('recover');
        await starting;
        await slave.reregistered(task, PATIENCE_MS);
        const { tasks, updates } = lastReregistration(slave);
        assert.equal(tasks.length, 0);
        assert.deepEqual(
          updates.map((bytes) => decode(messages.StatusUpdate, bytes).status?.state),
          [FINISHED],
        );
        await checkFinished(all, 2);
      });
    });
  }

  it('asks for a container by two waits at once, and by another one later: the same answer each time', async () => {
    await withSupervisorLog(host, async () => {
      const { slave, tasks, wrapped } = await withTasks({ tasks: 1, checkpoint: true });
      const task = tasks[0] ?? assert.fail();
      const record = encode(messages.Wait, { container_id: { value: task.containerId } });
      const asking = [slave.call('wait', record), slave.call('wait', record)];
      await until('three waits asleep', () => {
        const asleep = host.processes().filter(({ kind }) => kind === 'flock');
        return asleep.length === 3;
      });
      assert.deepEqual(wrapped.answers(), []);
      openGate(task);
      await task.gone(PATIENCE_MS);
      const answers = [...(await Promise.all(asking)), await slave.call('wait', record)];
      const [first] = answers;
      assert.ok(first?.answer !== undefined);
      for (const { code, answer } of answers) assert.deepEqual([code, answer], [0, first.answer]);
      assert.equal(decode(messages.Termination, first.answer).state, FINISHED);
      assert.deepEqual(slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
    });
  });

  it('did not checkpoint: its tasks are stopped, and its successor hears of their end once', async () => {
    await withSupervisorLog(host, async () => {
      const { slave, tasks } = await withTasks({ tasks: 2, checkpoint: false });
      const said = slave.messages.length;
      await slave.kill();
      await until('stopped', async () => (await host.dockerd.run(['ps', '-aq'])) === '', {
        timeoutMs: PATIENCE_MS,
      });
      for (const task of tasks) {
        const path = `${host.root}/mesos/${task.containerId}/termination`;
        const termination = JSON.parse(readFileSync(path, 'utf8'));
        assert.equal(termination.state, LOST);
        assert.match(termination.message, /^Stopped because the slave went away/);
        assert.equal(await sandboxFile(task, 'stdout'), 'begun\n');
      }
      // Nobody has read their end: they are listed until somebody has.
      const ids = tasks.map(({ containerId }) => containerId).sort();
      assert.deepEqual([...(await listed(host, slave.options.workDirectory))].sort(), ids);
      await slave.start();
      await Promise.all(tasks.map((task) => task.gone(PATIENCE_MS)));
      assert.deepEqual(await listed(host, slave.options.workDirectory), []);
      assert.equal(slave.messages.length, said);
      for (const task of tasks) assert.deepEqual(stateOfUpdates(task), ['executor 1']);
      assert.deepEqual(slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
    });
  });

  it('comes back later than its recovery timeout: the tasks have been stopped', async () => {
    await withSupervisorLog(host, async () => {
      const { slave, tasks } = await withTasks({ tasks: 1, checkpoint: true, recoveryTimeout: '2secs' });
      const task = tasks[0] ?? assert.fail();
      await slave.kill();
      await until('stopped', async () => (await host.dockerd.run(['ps', '-aq'])) === '', {
        timeoutMs: PATIENCE_MS,
      });
      assert.deepEqual(await listed(host, slave.options.workDirectory), [task.containerId]);
      await slave.start();
      const termination = await task.gone(PATIENCE_MS);
      assert.equal(termination?.state, LOST);
      assert.deepEqual(stateOfUpdates(task), ['executor 1', 'slave 5']);
      assert.match(task.updates().at(-1)?.message ?? '', /^Stopped because the slave went away/);
      // That no executor reports the end is what is meant here.
      assert.equal(slave.violations.length, 1);
      assert.match(slave.violations[0] ?? '', /answered without a terminal update/);
      assert.deepEqual(await listed(host, slave.options.workDirectory), []);
      assert.deepEqual(await host.leftovers(), []);
    });
  });

  it('shares the state root with another slave: neither sees, nor destroys, the containers of the other', async () => {
    await withSupervisorLog(host, async () => {
      const one = await withTasks({ tasks: 1, checkpoint: true });
      const other = await withTasks({ tasks: 1, checkpoint: true });
      for (const { slave, tasks } of [one, other]) {
        const { workDirectory } = slave.options;
        const ids = tasks.map(({ containerId }) => containerId);
        assert.deepEqual(await listed(host, workDirectory), ids);
        symlinkSync(workDirectory, `${workDirectory}-link`);
        assert.deepEqual(await listed(host, `${workDirectory}-link`), ids);
      }
      assert.deepEqual(await listed(host, host.directory.at('nobodys')), []);
      await other.slave.restart();
      await Promise.all(other.tasks.map((task) => other.slave.reregistered(task, PATIENCE_MS)));
      const destroyed = (await host.dockerd.run(['ps', '-q'])).split('\n').length !== 2;
      assert.ok(!destroyed);
      for (const task of [...one.tasks, ...other.tasks]) openGate(task);
      for (const task of one.tasks) {
        assert.equal((await task.ended(PATIENCE_MS)).state, FINISHED);
        await task.gone(PATIENCE_MS);
      }
      await checkFinished(other, 2);
      assert.deepEqual(one.slave.violations, []);
      assert.deepEqual(await listed(host, one.slave.options.workDirectory), []);
    });
  });
});

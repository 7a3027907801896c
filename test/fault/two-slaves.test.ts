// Two slaves share a host, a state root and a supervisor. Each dies and comes back in turn, alone, with the other, with the
// supervisor: neither sees, stops or is told of what is the other's.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { decode } from '../../src/mesos/codec.ts';
import { Containers, TaskState } from '../../src/mesos/messages.ts';
import { acknowledgementsTaken } from '../support/endings.ts';
import { chances, extent, FAULT_FILE_TIMEOUT_MS, tell } from '../support/faults.ts';
import { openGate } from '../support/gated.ts';
import { type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { checkOutput, writer } from '../support/line-writer.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const { RUNNING, FINISHED, FAILED } = TaskState;
const skip = await skipWithoutTools();
const PATIENCE_MS = 120_000;
const TASKS = 2;
/** Of a supervisor whose predecessor was killed before it had noted that it was taken back: a real slave says Shutdown, and means nothing. */
const SECOND_REREGISTER = /^a second ReregisterExecutorMessage /;

interface Side {
  readonly slave: StandInSlave;
  readonly tasks: readonly LaunchedTask[];
}

describe('two slaves on one state root', { skip, timeout: FAULT_FILE_TIMEOUT_MS }, () => {
  let host: Host;
  before(async () => {
    host = await startHost();
  });
  after(async () => {
    await host[Symbol.asyncDispose]();
  });

  async function side(name: string, checkpoint: boolean): Promise<Side> {
    const slave = await host.slave({ checkpoint, reregistrationTimeoutMs: PATIENCE_MS });
    const tasks = await Promise.all(
      Array.from({ length: TASKS }, (_, n) =>
        slave.launch(commandTask({ taskId: `${name}-${n}`, image: IMAGES.busybox, value: writer(n) })),
      ),
    );
    await Promise.all(tasks.map((task) => task.reached(RUNNING, PATIENCE_MS)));
    await acknowledgementsTaken(host, tasks);
    return { slave, tasks };
  }

  const violationsOf = (slave: StandInSlave) =>
    slave.violations.filter((text) => !SECOND_REREGISTER.test(text));
  const idsOf = (tasks: readonly LaunchedTask[]) => tasks.map(({ containerId }) => containerId).sort();

  /** Its own containers and no others; nothing new was said of its tasks, and nothing asked. */
  async function isUnharmed({ slave, tasks }: Side): Promise<void> {
    const { answer, code } = await slave.call('containers');
    assert.equal(code, 0);
    const { containers } = decode(Containers, answer ?? assert.fail('no record'));
    assert.deepEqual(containers.map(({ value }) => value).sort(), idsOf(tasks));
    for (const task of tasks) {
      assert.deepEqual(
        task.updates().map(({ from, state }) => [from, state]),
        [['executor', RUNNING]],
      );
      assert.deepEqual(task.calls('destroy'), []);
    }
    assert.deepEqual(violationsOf(slave), []);
  }

  async function finish({ slave, tasks }: Side): Promise<void> {
    for (const task of tasks) openGate(task);
    for (const [n, task] of tasks.entries()) {
      const state = n === 0 ? FINISHED : FAILED;
      const termination = await task.gone(PATIENCE_MS);
      assert.deepEqual([termination?.state, termination?.status], [state, n << 8]);
      assert.deepEqual(
        task.updates().map((update) => [update.from, update.state]),
        [
          ['executor', RUNNING],
          ['executor', state],
        ],
      );
      await checkOutput(task, n);
    }
    assert.deepEqual(violationsOf(slave), []);
  }

  it('each is killed and restarted in turn, and both at once, with and without the supervisor: each has its own', async () => {
    await withSupervisorLog(host, async () => {
      const sides = [await side('one', true), await side('other', true)] as const;
      const chance = chances('two slaves');
      const rounds = extent(3, 40);
      for (let round = 0; round < rounds; round++) {
        // The first rounds have each case once.
        const dying = round < 3 ? ([[0], [1], [0, 1]][round] ?? []) : chance() < 0.5 ? [0] : [1];
        const withSupervisor = round >= 2 && chance() < 0.7;
        const counts = sides.map(({ slave }) => slave.messages.length);
        const chosen = sides.filter((_, n) => dying.includes(n));
        await Promise.all([
          ...chosen.map(({ slave }) => slave.kill()),
          ...(withSupervisor ? [host.killSupervisor()] : []),
        ]);
        await Promise.all(chosen.map(({ slave }) => slave.start()));
        for (const { slave, tasks } of chosen) {
          const before = counts[sides.findIndex((one) => one.slave === slave)] ?? 0;
          const again = () =>
            slave.messages.slice(before).filter(({ name }) => name === 'ReregisterExecutorMessage').length;
          await until('its executors are back', () => again() === tasks.length, { timeoutMs: PATIENCE_MS });
        }
        for (const one of sides) await isUnharmed(one);
      }
      for (const one of sides) await finish(one);
      assert.deepEqual(await host.leftovers(), []);
      tell(`two slaves: ${rounds} rounds of deaths`);
    });
  });

  it('one that did not checkpoint dies for good: its tasks are stopped, those of the other run on', async () => {
    await withSupervisorLog(host, async () => {
      const one = await side('mortal', false);
      const other = await side('survivor', true);
      await one.slave.kill();
      const running = async () => (await host.dockerd.run(['ps', '-q'])).split('\n').length;
      await until('stopped', async () => (await running()) === TASKS, { timeoutMs: PATIENCE_MS });
      await isUnharmed(other);
      // Its successor hears of the ends, and destroys nothing of the other's.
      await one.slave.start();
      for (const task of one.tasks) await task.gone(PATIENCE_MS);
      await isUnharmed(other);
      await finish(other);
      assert.deepEqual(one.slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
    });
  });

  it('one destroys a task of its own, and both are restarted: those of the other run on', async () => {
    await withSupervisorLog(host, async () => {
      const one = await side('owner', true);
      const other = await side('neighbour', true);
      const [mine] = one.tasks;
      assert.ok(mine);
      await one.slave.destroy(mine);
      await mine.gone(PATIENCE_MS);
      await isUnharmed(other);
      await Promise.all([other.slave.restart(), one.slave.restart()]);
      await Promise.all(
        [...one.tasks.slice(1), ...other.tasks].map((task) =>
          (one.tasks.includes(task) ? one : other).slave.reregistered(task, PATIENCE_MS),
        ),
      );
      await isUnharmed(other);
      await finish(other);
      for (const task of one.tasks) openGate(task);
      await one.tasks[1]?.gone(PATIENCE_MS);
      assert.deepEqual(one.slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
    });
  });
});

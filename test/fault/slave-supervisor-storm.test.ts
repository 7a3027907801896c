// The supervisor is killed again and again, at random moments, in its own recovery too, while many tasks run, begin, are
// killed and end: each is told rightly and once. And its port is another program's when it comes back.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TaskState } from '../../src/mesos/messages.ts';
import { checkCalm, checkEnd, executorPort, nextSupervisor, PATIENCE_MS } from '../support/endings.ts';
import { ALL_FAULTS, chances, extent, FAULT_FILE_TIMEOUT_MS, FAULT_SEED, tell } from '../support/faults.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { takePort } from '../support/ports.ts';
import { signalPid } from '../support/proc.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { wrap } from '../support/wrapped.ts';

const { STARTING, RUNNING, FINISHED, FAILED, KILLED } = TaskState;
/** How many tasks, and how often their supervisor is killed. */
const STORMS: readonly (readonly [tasks: number, kills: number])[] = extent(
  [[6, 4]],
  [
    [1, 40],
    [20, 40],
    [100, 25],
  ],
);
/** How many of so many are there when the storm begins, and how many come while it lasts: the long form has all of them run. */
const earlyOf = (count: number): number => extent(Math.max(1, Math.floor(count / 2)), count);
const lateOf = (count: number): number => extent(count - earlyOf(count), Math.floor(count / 4));
/** A supervisor lives so long at most. It decides what is tested, not whether it passes. */
const LIFE_MS_MAX = extent(900, 2_500);
/** A slave that waits so long for its executors: while the storm lasts few of them may get through. */
const PATIENT_MS = 30 * 60_000;
/** A framework that sees no end of what it has killed asks again. */
const KILL_AGAIN_MS = 1_000;
const KILLED_OF = 5;

/** Notes each start, waits, says so, and ends with its own number. */
const script = (n: number): string =>
  `echo s >>/tmp/mesos-sandbox/starts; ${AT_GATE}; echo over; exit ${n % 100}`;

describe('a storm', { skip: await skipWithoutTools(), timeout: FAULT_FILE_TIMEOUT_MS }, () => {
  let host: Host;
  before(async () => {
    host = await startHost({ configuration: '[containers]\nstop_timeout: 0' });
  });
  after(async () => {
    await host[Symbol.asyncDispose]();
  });

  for (const [count, kills] of STORMS)
    it(`of ${kills} kills of the supervisor over ${count} tasks: each is told rightly and once`, async () => {
      await withSupervisorLog(host, async () => {
        const chance = chances(`storm ${count}`);
        const slave = await host.slave({ checkpoint: true, registrationTimeoutMs: PATIENT_MS });
        const launch = (n: number): Promise<LaunchedTask> =>
          slave.launch(commandTask({ taskId: `${count}-${n}`, image: IMAGES.busybox, value: script(n) }));
        // The first one, which stays to the end, sees to it that there is always somebody to start a supervisor.
        const first = earlyOf(count);
        const all = first + lateOf(count);
        // All at once: a slave that is as busy as that calls `update` for the last of them when RunTask of most has come.
        const tasks = await Promise.all(Array.from({ length: first }, (_, n) => launch(n)));
        // In the quick form they are still on their way.
        if (ALL_FAULTS) await Promise.all(tasks.map((task) => task.reached(RUNNING, PATIENCE_MS)));
        const killing: Promise<void>[] = [];
        const facts = { opened: 1, killed: 0 };
        // In the long form all of them run at once while the first half of the kills comes.
        const letGoFrom = extent(0, Math.floor(kills / 2));
        if (ALL_FAULTS) {
          const running = (await host.dockerd.run(['ps', '-q'])).split('\n').filter((id) => id !== '');
          assert.equal(running.length, count);
        }
        for (let n = 0; n < kills; n++) {
          const pid = await until('a supervisor', () => host.supervisor(), {
            timeoutMs: PATIENCE_MS,
            everyMs: 2,
          });
          await sleep(chance() * LIFE_MS_MAX);
          if (signalPid(pid, 'SIGKILL')) facts.killed += 1;
          await until('it has gone', () => host.supervisor() !== pid, { everyMs: 2 });
          while (tasks.length < all && tasks.length < first + ((all - first) * 2 * (n + 1)) / kills)
            tasks.push(await launch(tasks.length));
          for (; facts.opened < (tasks.length * (n + 1 - letGoFrom)) / (kills - letGoFrom); facts.opened++) {
            const task = tasks[facts.opened] ?? assert.fail();
            if (facts.opened % KILLED_OF === 0) killing.push(killUntilEnded(slave, task));
            else openGate(task);
          }
        }
        for (const [n, task] of tasks.entries()) if (n === 0 || n % KILLED_OF !== 0) openGate(task);
        await Promise.all(killing);
        const refused = tasks.filter(isRefused);
        assert.ok(refused.length < tasks.length, 'every launch was refused');
        for (const task of refused) {
          await task.gone(PATIENCE_MS);
          const told = task.updates().map(({ from, message }) => [from, message]);
          assert.deepEqual(told, [['slave', 'launch: status 4']], task.taskId);
          assert.equal(await sandboxFile(task, 'fs/starts'), '', task.taskId);
        }
        for (const [n, task] of tasks.entries()) {
          if (refused.includes(task)) continue;
          if (n > 0 && n % KILLED_OF === 0) {
            await checkKilled(task);
            continue;
          }
          await checkEnd(task, n % 100 === 0 ? FINISHED : FAILED, (n % 100) << 8, true);
          assert.equal(await sandboxFile(task, 'fs/starts'), 's\n', task.taskId);
          assert.equal(await sandboxFile(task, 'stdout'), 'over\n', task.taskId);
        }
        tell(
          `supervisor storm, seed ${FAULT_SEED}: ${tasks.length} tasks, ${facts.killed} kills, ${refused.length} launches refused, ${slave.updates.length} updates, ${slave.acknowledged.length} acknowledgements`,
        );
        const byExecutors = slave.updates.filter(({ from }) => from === 'executor');
        const told = new Set(byExecutors.map(({ taskId, uuid }) => `${taskId} ${uuid}`));
        assert.deepEqual(new Set(slave.acknowledged), told);
        checkCalm(slave, ['launch']);
        // Nobody waits any more: what is left to be cleaned up is so by whichever call needs a supervisor next.
        assert.equal((await host.deimos(['recover'])).code, 0);
        assert.deepEqual(await host.leftovers(), []);
        await slave.stop();
      });
    });

  async function killUntilEnded(slave: StandInSlave, task: LaunchedTask): Promise<void> {
    await until('it runs, or is refused', () => isRefused(task) || task.updates().length > 0, {
      timeoutMs: PATIENCE_MS,
    });
    if (isRefused(task)) return;
    const ended = (): boolean => task.updates().some(({ state }) => state !== RUNNING && state !== STARTING);
    for (let n = 0; !ended(); n++) {
      assert.ok(n < PATIENCE_MS / KILL_AGAIN_MS, `${task.taskId} cannot be killed`);
      await slave.killTask(task);
      await sleep(KILL_AGAIN_MS);
    }
  }

  /** Where no supervisor lived for long enough to take it: said by the exit status of launch, and nothing runs. */
  function isRefused(task: LaunchedTask): boolean {
    return (task.calls('launch')[0]?.end?.code ?? 0) !== 0;
  }

  async function checkKilled(task: LaunchedTask): Promise<void> {
    await checkEnd(task, KILLED, 137 << 8);
    assert.equal(await sandboxFile(task, 'fs/starts'), 's\n', task.taskId);
    assert.equal(await sandboxFile(task, 'stdout'), '', task.taskId);
  }

  it('its port is taken by another program while it is down: that is said, the end is told, destroy ends what KillTask no longer reaches', async () => {
    await withSupervisorLog(host, async () => {
      const wrapped = wrap(host, 'port-taken');
      const slave = await host.slave({ containerizer: wrapped.containerizer });
      wrapped.hold('wait');
      const launch = () => slave.launch(commandTask({ image: IMAGES.busybox, value: script(5) }));
      const [ends, destroyed] = await Promise.all([launch(), launch()]);
      await Promise.all([ends, destroyed].map((task) => task.reached(RUNNING, PATIENCE_MS)));
      await until('acknowledged', () => slave.acknowledged.length === 2);
      const port = executorPort(host);
      const pid = host.supervisor();
      await host.killSupervisor();
      const another = await takePort(port);
      try {
        assert.equal(host.supervisor(), undefined, 'somebody has started a supervisor too early');
        wrapped.letGo('wait');
        await until('another port', () => executorPort(host) !== port, { timeoutMs: PATIENCE_MS });
        await nextSupervisor(host, pid);
        const log = readFileSync(`${host.root}/supervisor/log`, 'utf8');
        assert.match(log, new RegExp(`error: the executor port was taken meanwhile: .*port=${port}`));
        openGate(ends);
        await checkEnd(ends, FAILED, 5 << 8);
        await slave.killTask(destroyed);
        await until('the other program has it', () => another.heard().includes('KillTaskMessage'));
        await slave.destroy(destroyed);
        assert.equal(destroyed.calls('destroy')[0]?.end?.code, 0);
        assert.deepEqual(await host.dockerd.run(['ps', '-aq']), '');
        // What comes now finds the way.
        const next = await launch();
        await next.reached(RUNNING, PATIENCE_MS);
        await slave.killTask(next);
        await checkKilled(next);
        checkCalm(slave);
        assert.deepEqual(await host.leftovers(), []);
      } finally {
        another.close();
        await slave.stop();
      }
    });
  });
});

// What a slave sends while no supervisor listens is lost, and never sent again. Each of its messages is lost once: the
// supervisor dies when the message is about to leave, and is back when it has left. And a slave is away in the very moment
// in which a task of its ends.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TaskState } from '../../src/mesos/messages.ts';
import type { RegisteredRecord } from '../../src/state/records.ts';
import {
  acknowledgementsTaken,
  checkCalm,
  checkEnd,
  nextSupervisor,
  PATIENCE_MS,
} from '../support/endings.ts';
import { ALL_FAULTS, extent, FAULT_FILE_TIMEOUT_MS, tell } from '../support/faults.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { isAlive, killAll, signalPid, treeOf } from '../support/proc.ts';
import type { LaunchedTask, SlaveOptions, StandInSlave } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { type Wrapped, wrap } from '../support/wrapped.ts';

const { RUNNING, FAILED, KILLED, LOST } = TaskState;
/** Notes each start, and ends with 5. */
const VALUE = `trap 'exit 6' TERM; echo s >>/tmp/mesos-sandbox/starts; echo begun; ${AT_GATE}; echo over; exit 5`;
const ACKNOWLEDGEMENT = 'StatusUpdateAcknowledgementMessage';
/** Longer than a slave that is there is given for its acknowledgement; what lies between decides what is tested. */
const AWAY_MS = extent(500, 40_000);
/** Longer than RunTask is waited for once `update` has been called. */
const BUSY_MS = 40_000;
const ACKNOWLEDGING = 'before it has acknowledged the end';
const READING = 'before it has read the end';
const MOMENTS = extent([ACKNOWLEDGING], [READING, ACKNOWLEDGING]);

describe('messages of a slave that are lost', {
  skip: await skipWithoutTools(),
  timeout: FAULT_FILE_TIMEOUT_MS,
}, () => {
  let host: Host;
  const facts = { wrapped: 0, lost: [] as string[] };
  before(async () => {
    host = await startHost();
  });
  after(async () => {
    await host[Symbol.asyncDispose]();
    tell(`slave, its messages lost with the supervisor: ${facts.lost.length} (${facts.lost.join(', ')})`);
  });

  interface Scene {
    readonly slave: StandInSlave;
    readonly wrapped: Wrapped;
    /** Stops the supervisor when the slave is about to send that, lets it send, kills it, then has calls bring another. */
    lose(message: string, count?: number): Promise<void>;
    launch(more?: TaskOptions): Promise<LaunchedTask>;
  }

  /** What of that is kept back is sent to a supervisor that does not read any more. Answers which that was. */
  async function loseHeld(slave: StandInSlave, message: string): Promise<number> {
    const pid = host.supervisor() ?? assert.fail('no supervisor');
    signalPid(pid, 'SIGSTOP');
    const before = slave.messages.length;
    await slave.letGo(message);
    await until('it has been sent', () => slave.messages.slice(before).some(({ name }) => name === message));
    await host.killSupervisor();
    assert.equal((await host.deimos(['recover'])).code, 0);
    facts.lost.push(message);
    return pid;
  }

  async function scene(options: Partial<SlaveOptions>, body: (given: Scene) => Promise<void>): Promise<void> {
    await withSupervisorLog(host, async () => {
      facts.wrapped += 1;
      const wrapped = wrap(host, `wrapped-${facts.wrapped}`);
      const slave = await host.slave({ containerizer: wrapped.containerizer, ...options });
      // Each of these brings a supervisor where none is.
      for (const verb of ['wait', 'update']) wrapped.hold(verb);
      const lose = async (message: string, count = 1): Promise<void> => {
        await slave.kept(message, count, PATIENCE_MS);
        const pid = await loseHeld(slave, message);
        wrapped.letGo('wait');
        await nextSupervisor(host, pid);
      };
      const launch = async (more: TaskOptions = {}) =>
        await slave.launch(commandTask({ image: IMAGES.busybox, value: VALUE, ...more }));
      await body({ slave, wrapped, lose, launch });
      checkCalm(slave);
      assert.deepEqual(await host.leftovers(), []);
      await slave.stop();
    });
  }

  async function ranOnce(task: LaunchedTask, stdout: string): Promise<void> {
    assert.equal(await sandboxFile(task, 'fs/starts'), 's\n');
    assert.equal(await sandboxFile(task, 'stdout'), stdout);
    assert.equal(await sandboxFile(task, 'stderr'), '');
  }

  async function endsAsEver(task: LaunchedTask): Promise<void> {
    openGate(task);
    await checkEnd(task, FAILED, 5 << 8);
    await ranOnce(task, 'begun\nover\n');
  }

  /** What the supervisor has noted of the slave that has the task. */
  const registeredOf = ({ containerId }: LaunchedTask): RegisteredRecord =>
    JSON.parse(readFileSync(`${host.root}/mesos/${containerId}/registered`, 'utf8'));

  async function isRunning(task: LaunchedTask): Promise<void> {
    await task.reached(RUNNING, PATIENCE_MS);
    await until('it runs', async () => (await sandboxFile(task, 'stdout')) === 'begun\n');
  }

  /** One whose slave has acknowledged that it runs: its calls are held back no more. */
  async function runsAndIsTold({ slave, launch, wrapped }: Pick<Scene, 'slave' | 'launch' | 'wrapped'>) {
    for (const verb of ['wait', 'update']) wrapped.letGo(verb);
    const task = await launch();
    await isRunning(task);
    await until('acknowledged', () => slave.acknowledged.length === 1);
    await acknowledgementsTaken(host, [task]);
    return task;
  }

  const sent = (slave: StandInSlave, name: string) =>
    slave.messages.filter((message) => message.name === name).length;

  it('ExecutorRegistered: RunTask, which follows, starts the task', async () => {
    await scene({}, async ({ slave, launch, lose, wrapped }) => {
      await slave.hold('ExecutorRegisteredMessage');
      const task = await launch();
      await lose('ExecutorRegisteredMessage');
      wrapped.letGo('update');
      await isRunning(task);
      await endsAsEver(task);
      assert.equal(sent(slave, 'ExecutorRegisteredMessage'), 1);
      assert.equal(sent(slave, 'RunTaskMessage'), 1);
    });
  });

  if (ALL_FAULTS)
    it('ExecutorRegistered and RunTask together, as a slave 0.19 sends them: the task counts as handed over', async () => {
      await scene({ version: '0.19.1' }, async ({ slave, launch, lose, wrapped }) => {
        await slave.hold('ExecutorRegisteredMessage');
        const task = await launch();
        // Right behind it, and as lost: nobody listens yet.
        await slave.hold('RunTaskMessage');
        wrapped.letGo('update');
        await slave.kept('RunTaskMessage', 1, PATIENCE_MS);
        wrapped.hold('update');
        await lose('ExecutorRegisteredMessage');
        wrapped.letGo('update');
        await isRunning(task);
        await endsAsEver(task);
      });
    });

  if (ALL_FAULTS)
    it('RunTask, when it is about to come: the task counts as handed over', async () => {
      await scene({}, async ({ slave, launch, lose, wrapped }) => {
        await slave.hold('RunTaskMessage');
        wrapped.letGo('update');
        const task = await launch();
        await lose('RunTaskMessage');
        await isRunning(task);
        await endsAsEver(task);
        assert.equal(sent(slave, 'RunTaskMessage'), 1);
      });
    });

  if (ALL_FAULTS)
    it('RunTask, which never comes though nobody died: the task never runs, and its slave is told so', async () => {
      await scene({}, async ({ slave, launch, wrapped }) => {
        await slave.hold('RunTaskMessage');
        for (const verb of ['wait', 'update']) wrapped.letGo(verb);
        const task = await launch();
        await slave.kept('RunTaskMessage', 1, PATIENCE_MS);
        const termination = await task.gone(PATIENCE_MS);
        assert.deepEqual([termination?.state, termination?.status], [LOST, undefined]);
        assert.equal(await sandboxFile(task, 'fs/starts'), '');
        facts.lost.push('RunTaskMessage (never)');
        slave.violations.splice(
          0,
          slave.violations.length,
          ...slave.violations.filter((text) => !/without a terminal update/.test(text)),
        );
      });
    });

  if (ALL_FAULTS)
    it('none, but for a busy slave RunTask comes later than it is waited for after update: the task runs', async () => {
      await scene({}, async ({ launch, wrapped }) => {
        wrapped.letGo('wait');
        const task = await launch();
        await until('registered', () => existsSync(`${host.root}/mesos/${task.containerId}/registered`), {
          timeoutMs: PATIENCE_MS,
        });
        await sleep(BUSY_MS);
        wrapped.letGo('update');
        await isRunning(task);
        await endsAsEver(task);
      });
    });

  if (ALL_FAULTS)
    it('RunTask, which will not come, of a task that was killed before slave and supervisor died: it never runs', async () => {
      // Such a slave says nothing to the executor of a task that it has ended itself.
      await scene({ checkpoint: true, version: '0.22.2' }, async ({ slave, launch, wrapped }) => {
        // More than what a slave allows for an executor alone.
        const task = await launch({ cpus: 0.5, mem: 64 });
        await until('registered', () => existsSync(`${host.root}/mesos/${task.containerId}/registered`), {
          timeoutMs: PATIENCE_MS,
        });
        await slave.killTask(task);
        await task.reached(KILLED, PATIENCE_MS);
        await host.killSupervisor();
        await slave.kill();
        // A slave that is dead would not have called them.
        const calls = slave.calls.filter(({ end }) => end === undefined);
        await killAll(treeOf(calls.map(({ pid }) => pid)).filter(isAlive));
        for (const verb of ['wait', 'update']) wrapped.letGo(verb);
        await slave.start();
        const termination = await task.gone(PATIENCE_MS);
        assert.equal(termination?.message, 'Not started: the slave never handed the task over');
        assert.deepEqual(
          task.updates().map(({ from, state }) => [from, state]),
          [['slave', KILLED]],
        );
        assert.equal(await sandboxFile(task, 'fs/starts'), '');
        facts.lost.push('RunTaskMessage (killed before)');
      });
    });

  it('KillTask: the task goes on unharmed, and the next one kills it', async () => {
    await scene({}, async ({ slave, launch, lose, wrapped }) => {
      wrapped.letGo('update');
      const task = await launch();
      await isRunning(task);
      await slave.hold('KillTaskMessage');
      await slave.killTask(task);
      await lose('KillTaskMessage');
      assert.notEqual(await host.dockerd.run(['ps', '-q']), '');
      await slave.killTask(task);
      await checkEnd(task, KILLED, 6 << 8);
      await ranOnce(task, 'begun\n');
    });
  });

  it('ShutdownExecutor: destroy, which follows it, ends the container', async () => {
    await scene({ shutdownGraceMs: 500 }, async ({ slave, launch, lose, wrapped }) => {
      wrapped.letGo('update');
      const task = await launch();
      await isRunning(task);
      await slave.hold('ShutdownExecutorMessage');
      await slave.shutdownExecutor(task);
      await lose('ShutdownExecutorMessage');
      await task.gone(PATIENCE_MS);
      // The answer of `wait` may have been the first that it took.
      const { code } = await until('destroy has ended', () => task.calls('destroy')[0]?.end);
      assert.equal(code, 0);
      // The slave's own word, which depends on that, too.
      assert.match(
        task
          .updates()
          .map(({ state, from }) => `${state} ${from}`)
          .join(),
        /^1 executor,[34] slave$/,
      );
      await ranOnce(task, 'begun\n');
    });
  });

  it('StatusUpdateAcknowledgement of TASK_RUNNING, and of the end: each is sent again, the same', async () => {
    await scene({}, async ({ slave, launch, lose, wrapped }) => {
      wrapped.letGo('update');
      await slave.hold(ACKNOWLEDGEMENT);
      const task = await launch();
      await isRunning(task);
      await lose(ACKNOWLEDGEMENT);
      await until('acknowledged', () => slave.acknowledged.length === 2, { timeoutMs: PATIENCE_MS });
      await slave.hold(ACKNOWLEDGEMENT);
      openGate(task);
      await lose(ACKNOWLEDGEMENT, 2);
      await checkEnd(task, FAILED, 5 << 8);
      await ranOnce(task, 'begun\nover\n');
      assert.equal(slave.acknowledged.length, 4);
      assert.equal(new Set(slave.acknowledged).size, 2);
    });
  });

  it('ReconnectExecutor: the task is not taken for lost, and goes on', async () => {
    await scene({ checkpoint: true }, async ({ slave, launch, lose, wrapped }) => {
      const task = await runsAndIsTold({ slave, launch, wrapped });
      await slave.hold('ReconnectExecutorMessage');
      await slave.restart();
      await lose('ReconnectExecutorMessage');
      await slave.reregistered(task, PATIENCE_MS);
      await endsAsEver(task);
      assert.equal(task.calls('destroy').length, 0);
    });
  });

  it('ReconnectExecutor, and the next supervisor is there before a wait has told that the slave is back', async () => {
    const patient = { checkpoint: true, reregistrationTimeoutMs: PATIENCE_MS };
    await scene(patient, async ({ slave, launch, wrapped }) => {
      const task = await runsAndIsTold({ slave, launch, wrapped });
      wrapped.hold('wait');
      await slave.hold('ReconnectExecutorMessage');
      await slave.restart();
      await slave.kept('ReconnectExecutorMessage', 1, PATIENCE_MS);
      await nextSupervisor(host, await loseHeld(slave, 'ReconnectExecutorMessage'));
      wrapped.letGo('wait');
      await slave.reregistered(task, PATIENCE_MS);
      await endsAsEver(task);
      assert.equal(task.calls('destroy').length, 0);
    });
  });

  it('none, but the supervisor dies before the wait of a slave that is back could say so: it is the slave that has been answered', async () => {
    await scene({ checkpoint: true }, async ({ slave, launch, wrapped }) => {
      const task = await runsAndIsTold({ slave, launch, wrapped });
      wrapped.hold('wait');
      await slave.restart();
      await slave.reregistered(task, PATIENCE_MS);
      await until('noted', () => registeredOf(task).by?.pid === slave.pid);
      const pid = host.supervisor();
      await host.killSupervisor();
      await nextSupervisor(host, pid);
      openGate(task);
      assert.equal((await task.ended(PATIENCE_MS)).from, 'executor');
      wrapped.letGo('wait');
      await endsAsEver(task);
    });
  });

  it('ReregisterExecutor, of which the dead supervisor had not noted that it was taken: the Shutdown that answers the second is not believed', async () => {
    await scene({ checkpoint: true }, async ({ slave, launch, wrapped }) => {
      const task = await runsAndIsTold({ slave, launch, wrapped });
      await slave.restart();
      await slave.reregistered(task, PATIENCE_MS);
      await until('noted', () => registeredOf(task).by?.pid === slave.pid);
      const { by: _, ...before } = registeredOf(task);
      const pid = host.supervisor();
      await host.killSupervisor();
      writeFileSync(`${host.root}/mesos/${task.containerId}/registered`, JSON.stringify(before));
      await nextSupervisor(host, pid);
      await until('Shutdown', () => sent(slave, 'ShutdownExecutorMessage') === 1);
      await endsAsEver(task);
    });
  });

  for (const moment of MOMENTS)
    it(`a slave that is away for ${AWAY_MS} ms, killed ${moment}: it hears of the end before wait answers`, async () => {
      await scene({ checkpoint: true }, async ({ slave, launch, wrapped }) => {
        const task = await runsAndIsTold({ slave, launch, wrapped });
        if (moment === READING) slave.signal('SIGSTOP');
        else await slave.hold(ACKNOWLEDGEMENT);
        openGate(task);
        if (moment === READING)
          await until('the end is said', async () => (await host.dockerd.run(['ps', '-q'])) === '');
        else await slave.kept(ACKNOWLEDGEMENT, 1, PATIENCE_MS);
        await slave.kill();
        const answered = () => wrapped.answers().length;
        await sleep(AWAY_MS);
        assert.equal(answered(), 0);
        await slave.start();
        if (moment !== READING) await slave.letGo(ACKNOWLEDGEMENT);
        await checkEnd(task, FAILED, 5 << 8);
        await ranOnce(task, 'begun\nover\n');
      });
    });
});

// How a task is ended from outside: by its framework, by its slave, gently and not, before, while and after its image
// comes. The container is gone, the slave hears of it once, and nothing is left running.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, describe } from 'node:test';
import { encode } from '../../src/mesos/codec.ts';
import { Destroy, TaskState } from '../../src/mesos/messages.ts';
import { frame } from '../../src/mesos/record.ts';
import { output } from '../support/command.ts';
import { containersOf, deathOf, endsAsked, inspectTask } from '../support/docker-facts.ts';
import { startDockerd } from '../support/dockerd.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { assertContent, testOn } from '../support/on-host.ts';
import { makeSlowImage, type Registry, startRegistry, type Throttle } from '../support/registry.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import type { FrameworkDescription, MesosVersion } from '../support/slave-protocol.ts';
import { commandTask, executorTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

/** As configured below. */
const STOP_TIMEOUT_MS = 2_000;
/** So long a grace that whoever waited for it would not come to an end here. */
const LONG_GRACE_MS = 600_000;
const SHUTDOWN_GRACE_MS = 12_500;
const SIGTERM = 15;
const SIGKILL = 9;
/** Docker's clock for an event and its timers are read apart. */
const CLOCK_MS = 50;
const AT_ONCE = 4;
const DEAF = "trap '' TERM; echo ready; while :; do sleep 0.2; done";
const OBEDIENT = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done";
const TASK_KILLING_STATE = 2;
/** A call's record goes out so slowly that what comes between two calls can be chosen. */
const SLOW_STDIN_BYTE_MS = 4;

/** What the slave writes to a call of destroy. */
function recordOf(containerId: string): Uint8Array {
  return frame(encode(Destroy, { container_id: { value: containerId } }));
}

describe('the end of a task from outside', {
  skip: await skipWithoutTools(),
  timeout: 250_000,
}, () => {
  let shared: Host;
  let registry: Registry;
  let slave: StandInSlave;
  /** Of a version that has kill policies. */
  let newest: StandInSlave;
  before(async () => {
    // With --debug dockerd's log tells of each call.
    const dockerd = await startDockerd({ arguments: ['--debug'] });
    shared = await startHost({
      dockerd,
      configuration: `[containers]\nstop_timeout: ${STOP_TIMEOUT_MS / 1000}`,
    });
    [registry, slave, newest] = await Promise.all([
      startRegistry(dockerd),
      shared.slave({ registrationTimeoutMs: 120_000, shutdownGraceMs: SHUTDOWN_GRACE_MS }),
      shared.slave({ version: '1.0.4' }),
    ]);
  });
  after(async () => {
    try {
      assertContent(slave);
      assertContent(newest);
      assert.deepEqual(await shared.leftovers(), []);
    } finally {
      await registry?.stop();
      await shared?.[Symbol.asyncDispose]();
      await shared?.dockerd.stop();
    }
  });
  const on = (name: string, body: (host: Host) => Promise<void>) => testOn(() => shared, name, body);

  const says = async (task: LaunchedTask, text: string) =>
    await until(`the task says ${text}`, async () => (await sandboxFile(task, 'stdout')).includes(text), {
      timeoutMs: 60_000,
    });
  const started = async (
    by: StandInSlave,
    options: TaskOptions,
    framework: Partial<FrameworkDescription> = {},
  ) => {
    const task = await by.launch(commandTask({ image: IMAGES.busybox, ...options }), framework);
    await task.reached(TaskState.RUNNING, 60_000);
    await says(task, 'ready');
    return task;
  };
  /** States that the framework saw, and who told them. */
  const told = (task: LaunchedTask) => task.updates().map(({ state, from }) => `${state} ${from}`);
  const isGone = async (task: LaunchedTask) => (await containersOf(shared.dockerd, task)).length === 0;
  const untilGone = async (task: LaunchedTask) =>
    await until('the container is removed', async () => await isGone(task));
  /** A repository whose image takes minutes to come, and the way to it. */
  const slowImage = async (repository: string) =>
    await makeSlowImage(shared.dockerd, registry, repository, { megabytes: 8, bytesPerSecond: 50_000 });
  /** Connections that dockerd has to a way to the registry. */
  const connections = async (throttle: Throttle) => {
    const [file, ...rest] = shared.dockerd.inNetns(['busybox', 'netstat', '-tn']);
    const lines = (await output([file, ...rest])).split('\n');
    return lines.filter((line) => line.includes(`${throttle.address} `) && line.includes('ESTABLISHED'))
      .length;
  };

  const dockerIdOf = async (task: LaunchedTask): Promise<string> =>
    (await inspectTask(shared.dockerd, task)).Id;
  /** It was asked to end, and made to not before that grace was over, by dockerd's own clock. */
  const assertGrace = async (id: string, graceMs: number): Promise<void> => {
    const { signals, diedAtMs } = await deathOf(shared.dockerd, id);
    assert.equal(signals[0]?.signal, SIGTERM);
    const made = signals.find(({ signal }) => signal === SIGKILL) ?? assert.fail('it ended by itself');
    const gotMs = made.atMs - (signals[0]?.atMs ?? Number.NaN);
    assert.ok(gotMs > graceMs - CLOCK_MS, `a grace of ${gotMs} ms instead of ${graceMs} ms`);
    assert.ok(diedAtMs >= made.atMs);
  };

  describe('while it runs or its image comes', { concurrency: AT_ONCE }, () => {
    on('a task that ignores SIGTERM is killed for its framework after the grace', async (host) => {
      const task = await started(slave, { value: DEAF });
      const id = await dockerIdOf(task);
      await slave.killTask(task);
      const killed = await task.ended();
      await assertGrace(id, STOP_TIMEOUT_MS);
      assert.equal(endsAsked(host.dockerd, id)[0], 'stop 2');
      assert.equal(
        killed.message,
        'Killed by the framework; the container was ended by SIGKILL (status 137)',
      );
      const termination = await task.gone();
      assert.deepEqual(
        [termination?.status, termination?.state, termination?.killed, termination?.reasons],
        [137 << 8, TaskState.KILLED, false, []],
      );
      assert.deepEqual(told(task), ['1 executor', '4 executor']);
      await untilGone(task);
      assert.equal(task.calls('destroy').length, 0);
    });

    on('one that obeys ends at once, has its last word, and is killed whatever its status', async () => {
      const task = await started(slave, { value: OBEDIENT }, { capabilities: [TASK_KILLING_STATE] });
      await slave.killTask(task);
      const killed = await task.ended();
      assert.equal(killed.state, TaskState.KILLED);
      assert.equal(killed.message, 'Killed by the framework; the container exited with status 7');
      const termination = await task.gone();
      assert.deepEqual([termination?.status, termination?.state], [7 << 8, TaskState.KILLED]);
      // This framework can take it.
      assert.deepEqual(told(task), ['1 executor', '8 executor', '4 executor']);
      assert.equal(await sandboxFile(task, 'stdout'), 'ready\nbye\n');
    });

    on('the container is gone when destroy returns, and the executor says nothing more', async (host) => {
      const [command, executor] = await Promise.all([
        started(slave, { value: DEAF }),
        slave.launch(executorTask({ image: IMAGES.busybox, value: DEAF })),
      ]);
      await says(executor, 'ready');
      await Promise.all(
        [command, executor].map(async (task) => {
          const id = await dockerIdOf(task);
          await slave.destroy(task);
          assert.deepEqual(await containersOf(host.dockerd, task), []);
          assert.equal(task.calls('destroy')[0]?.end?.code, 0);
          await assertGrace(id, STOP_TIMEOUT_MS);
          assert.equal(endsAsked(host.dockerd, id)[0], 'stop 2');
          // What `wait` answers, whether or not the slave still took it.
          const path = `${host.root}/mesos/${task.containerId}/termination`;
          assert.deepEqual(JSON.parse(await readFile(path, 'utf8')), {
            // That of an executor's tasks is its own to tell.
            ...(task === command ? { state: TaskState.KILLED } : {}),
            message: 'Destroyed by the slave; the container was ended by SIGKILL (status 137)',
            killed: false,
            reasons: [],
            status: 137 << 8,
          });
        }),
      );
      // The slave's own word, which depends on whether the answer of `wait` or the end of `destroy` reached it first.
      assert.match(told(command).join(), /^1 executor,[34] slave$/);
      assert.deepEqual(told(executor), ['5 slave']);
      // Again, and for one that nobody knows: done, and nothing to do.
      const again = await host.deimos(['destroy'], recordOf(command.containerId));
      const unknown = await host.deimos(['destroy'], recordOf('nobody-knows-it'));
      assert.deepEqual([again.code, unknown.code, again.stderr, unknown.stderr], [0, 0, '', '']);
    });

    on("the grace is that of the task's kill policy, and a later kill can only shorten it", async (host) => {
      const task = await started(newest, { value: DEAF, killGraceMs: LONG_GRACE_MS });
      const id = await dockerIdOf(task);
      const asked = () => endsAsked(host.dockerd, id);
      await newest.killTask(task);
      await until('it is asked to end', () => asked().length === 1);
      await newest.killTask(task, 2 * LONG_GRACE_MS);
      await newest.killTask(task, 1_000);
      await newest.killTask(task, 2 * LONG_GRACE_MS);
      await task.ended(60_000);
      // The longer ones came before and behind the one that counts: messages keep their order.
      assert.deepEqual(asked().slice(0, 2), ['stop 600', 'stop 1']);
      assert.ok(!asked().includes('stop 1200'));
      assert.deepEqual(told(task), ['1 executor', '4 executor']);
      await task.gone();
    });

    on("the grace of KillTask itself goes before the task's own, to the millisecond", async (host) => {
      const [none, some] = await Promise.all(
        [0, 1_500].map(async (graceMs) => {
          const task = await started(newest, { value: DEAF, killGraceMs: LONG_GRACE_MS });
          const id = await dockerIdOf(task);
          await newest.killTask(task, graceMs);
          await task.ended(60_000);
          await assertGrace(id, graceMs);
          await task.gone();
          return endsAsked(host.dockerd, id);
        }),
      );
      assert.equal(none?.[0], 'stop 0');
      // Docker's own count is of whole seconds.
      assert.deepEqual(some?.slice(0, 2), ['kill SIGTERM', 'kill SIGKILL']);
    });

    on('destroy does not wait for a long grace that a kill has granted', async (host) => {
      const task = await started(newest, { value: DEAF, killGraceMs: LONG_GRACE_MS });
      const id = await dockerIdOf(task);
      await newest.killTask(task);
      await until('it is asked to end', () => endsAsked(host.dockerd, id).length === 1);
      await newest.destroy(task);
      assert.deepEqual(endsAsked(host.dockerd, id).slice(0, 2), ['stop 600', 'stop 2']);
      assert.deepEqual(await containersOf(host.dockerd, task), []);
    });

    on('a shutdown is over, and told, before the slave loses its patience', async () => {
      const task = await started(slave, { value: DEAF });
      await slave.shutdownExecutor(task);
      const killed = await task.ended();
      assert.deepEqual([killed.state, killed.from], [TaskState.KILLED, 'executor']);
      const termination = await task.gone();
      assert.equal(termination?.state, TaskState.KILLED);
      assert.equal(task.calls('destroy').length, 0);
      await untilGone(task);
    });

    const shutdowns: readonly (readonly [
      what: string,
      version: MesosVersion,
      own: string | undefined,
      asked: string,
    ])[] = [
      ['5 s unless it says', '0.22.2', undefined, 'kill SIGTERM'],
      ['that of its environment', '0.28.3', undefined, 'stop 10'],
      ["the executor's own before that of its environment", '1.0.4', '4secs', 'stop 10'],
    ];
    for (const [what, version, own, asked] of shutdowns) {
      on(`a shutdown keeps within the slave's grace, ${what}, whatever a kill would have`, async (host) => {
        const its = await host.slave({
          version,
          shutdownGraceMs: SHUTDOWN_GRACE_MS,
          // From 0.23 on what the slave has itself goes before what it would add.
          ...(own === undefined
            ? {}
            : { environment: { PATH: '/usr/bin:/bin', MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD: own } }),
        });
        const task = await started(its, { value: OBEDIENT, killGraceMs: LONG_GRACE_MS });
        const id = await dockerIdOf(task);
        await its.shutdownExecutor(task);
        const { message, state } = await task.ended();
        const why = 'Stopped because the slave asked the executor to shut down';
        assert.deepEqual([state, message], [TaskState.KILLED, `${why}; the container exited with status 7`]);
        assert.equal(endsAsked(host.dockerd, id)[0], asked);
        await task.gone();
        assertContent(its);
      });
    }

    on("a kill while the image comes ends the pull, the daemon's too, and is told", async (host) => {
      const { image, throttle } = await slowImage('killed');
      const task = await slave.launch(commandTask({ image, value: 'echo never' }));
      const pulling = await task.reached(TaskState.STARTING, 60_000);
      assert.match(pulling.message ?? '', new RegExp(`^Pulling ${image}`));
      await until('dockerd fetches', async () => (await connections(throttle)) > 0);
      await slave.killTask(task);
      const killed = await task.ended();
      assert.equal(killed.state, TaskState.KILLED);
      assert.equal(killed.message, 'Killed by the framework, before it ran');
      const termination = await task.gone();
      assert.deepEqual([termination?.state, termination?.status], [TaskState.KILLED, undefined]);
      assert.deepEqual([...new Set(told(task))], ['0 executor', '4 executor']);
      await until('dockerd has let go of the registry', async () => (await connections(throttle)) === 0);
      assert.equal((await host.dockerd.outcome(['image', 'inspect', image])).code, 1);
      assert.equal(await sandboxFile(task, 'stdout'), '');
    });

    on('a destroy while the image comes ends the pull, too', async (host) => {
      const { image, throttle } = await slowImage('destroyed');
      const task = await slave.launch(commandTask({ image, value: 'echo never' }));
      await task.reached(TaskState.STARTING, 60_000);
      await until('dockerd fetches', async () => (await connections(throttle)) > 0);
      await slave.destroy(task);
      assert.equal(task.calls('destroy')[0]?.end?.code, 0);
      assert.deepEqual(await containersOf(host.dockerd, task), []);
      await until('dockerd has let go of the registry', async () => (await connections(throttle)) === 0);
      assert.match([...new Set(told(task))].join(), /^0 executor,[34] slave$/);
    });

    on('a destroy of one that has ended, and been asked for its end, changes nothing', async (host) => {
      const value = 'echo ready; until [ -e done ]; do sleep 0.1; done; exit 5';
      const task = await started(slave, { value });
      await writeFile(`${task.sandbox}/fs/done`, '');
      await task.ended();
      assert.equal((await task.gone())?.status, 5 << 8);
      const outcome = await host.deimos(['destroy'], recordOf(task.containerId));
      assert.deepEqual([outcome.code, outcome.stderr], [0, '']);
      assert.deepEqual(told(task), ['1 executor', '3 executor']);
      assert.deepEqual(await containersOf(host.dockerd, task), []);
    });
  });

  describe('before it was handed over', { concurrency: true }, () => {
    const versions: readonly MesosVersion[] = ['0.19.1', '0.22.2', '0.28.3', '1.0.4'];
    for (const version of versions) {
      on(`a task killed before it registered never runs under a slave ${version}`, async (host) => {
        const slave = await host.slave({ version, stdinByteMs: SLOW_STDIN_BYTE_MS });
        const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'echo never' }));
        await slave.killTask(task);
        assert.ok(!slave.history.includes('to-slave RegisterExecutorMessage'), 'too late to prove anything');
        const termination = await task.gone(60_000);
        // Old slaves destroy it, later ones refuse the registration; the kill they have told themselves.
        if (version < '0.28') assert.equal(task.calls('destroy').length, 1);
        else {
          assert.equal(termination?.message, 'The slave refused the task: it was killed before it began');
          assert.equal(termination?.state, TaskState.KILLED);
          assert.equal(task.calls('destroy').length, 0);
        }
        assert.deepEqual(told(task), ['4 slave']);
        assert.equal(await sandboxFile(task, 'stdout'), '');
        await untilGone(task);
        assertContent(slave);
      });

      // 0.19 hands over the task with the registration.
      if (version === '0.19.1') continue;
      on(`a task killed before it was handed over never runs under a slave ${version}`, async (host) => {
        const slave = await host.slave({ version, stdinByteMs: SLOW_STDIN_BYTE_MS });
        const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'echo never' }));
        await until('registered', () => slave.history.includes('to-executor ExecutorRegisteredMessage'), {
          timeoutMs: 60_000,
          everyMs: 1,
        });
        await slave.killTask(task);
        // A slave of 0.22 says nothing more at all: then it takes as long as RunTask is waited for, and is nobody's wish.
        const termination = await task.gone(90_000);
        assert.ok(!slave.history.includes('to-executor RunTaskMessage'), 'too late to prove anything');
        assert.equal(termination?.state, version < '0.28' ? TaskState.LOST : TaskState.KILLED);
        assert.equal(termination?.status, undefined);
        assert.deepEqual(told(task), ['4 slave']);
        assert.equal(await sandboxFile(task, 'stdout'), '');
        await untilGone(task);
        assertContent(slave);
      });
    }
  });
});

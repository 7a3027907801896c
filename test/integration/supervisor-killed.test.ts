// The supervisor is killed, at every moment that matters: no task, no exit status and no byte of output is lost, nothing
// happens twice, and nobody but the waits that sleep has to do anything about it.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { checkEnd, checkOutput, writer } from '../support/line-writer.ts';
import { isOpen, unreadAt } from '../support/ports.ts';
import { signalPid } from '../support/proc.ts';
import type { LaunchedTask } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { wrap } from '../support/wrapped.ts';

const skip = await skipWithoutTools();
const { RUNNING, FINISHED, FAILED, KILLED } = TaskState;
/** A bound against hanging: the machine may be busy with other suites. */
const PATIENCE_MS = 120_000;
const TASKS = 10;
/** Above the kernel's greatest. */
const PID_OF_NOBODY = 4_194_305;
const SECOND_REGISTER = /^a second RegisterExecutorMessage/;

describe('a supervisor that is killed', { skip, timeout: 600_000 }, () => {
  let host: Host;
  before(async () => {
    host = await startHost();
  });
  after(async () => {
    await host[Symbol.asyncDispose]();
  });

  const stateOf = (task: LaunchedTask): string => `${host.root}/mesos/${task.containerId}`;
  const hasFact = (task: LaunchedTask, fact: string): boolean => existsSync(`${stateOf(task)}/${fact}`);
  const waitsAsleep = (count: number) =>
    until(
      `${count} waits asleep`,
      () => host.processes().filter(({ kind }) => kind === 'flock').length === count,
      { timeoutMs: PATIENCE_MS },
    );
  /** Another supervisor than `old` listens to slaves. */
  const nextSupervisor = (old: number | undefined): Promise<number> =>
    until(
      'another supervisor listens',
      async () => {
        const pid = host.supervisor();
        if (pid === undefined || pid === old) return undefined;
        return (await isOpen(Number(readFileSync(`${host.root}/supervisor/port`, 'utf8')))) ? pid : undefined;
      },
      { timeoutMs: PATIENCE_MS },
    );
  const inState = async (status: string): Promise<number> =>
    (await host.dockerd.run(['ps', '-aq', '--filter', `status=${status}`])).split('\n').filter(Boolean)
      .length;

  it('while 10 tasks run: all go on, one is killed by KillTask, all are told and answered, output whole', async () => {
    await withSupervisorLog(host, async () => {
      const slave = await host.slave();
      const tasks = await Promise.all(
        Array.from({ length: TASKS }, (_, n) =>
          slave.launch(commandTask({ taskId: `ten-${n}`, image: IMAGES.busybox, value: writer(n) })),
        ),
      );
      await Promise.all(tasks.map((task) => task.reached(RUNNING, PATIENCE_MS)));
      await waitsAsleep(TASKS);
      const first = host.supervisor();
      await host.killSupervisor();
      await nextSupervisor(first);
      assert.equal(await inState('running'), TASKS);
      const killed = tasks[TASKS - 1] ?? assert.fail();
      await slave.killTask(killed);
      await checkEnd(killed, KILLED, 137);
      assert.match(killed.updates().at(-1)?.message ?? '', /Killed by the framework/);
      assert.equal(await inState('running'), TASKS - 1);
      for (const task of tasks) openGate(task);
      for (const [n, task] of tasks.entries()) {
        if (task === killed) continue;
        await checkEnd(task, n === 0 ? FINISHED : FAILED, n);
        await checkOutput(task, n);
      }
      assert.match(await sandboxFile(killed, 'stdout'), /^(out 9 \d+\n)+$/);
      assert.deepEqual(slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
    });
  });

  it('again and again, as soon as it is seen, or asked to end: the same', async () => {
    await withSupervisorLog(host, async () => {
      const slave = await host.slave();
      const tasks = await Promise.all(
        [0, 1, 2].map((n) => slave.launch(commandTask({ image: IMAGES.busybox, value: writer(n) }))),
      );
      await Promise.all(tasks.map((task) => task.reached(RUNNING, PATIENCE_MS)));
      await waitsAsleep(tasks.length);
      for (const signal of ['SIGKILL', 'SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
        const pid = await until('a supervisor', () => host.supervisor(), {
          timeoutMs: PATIENCE_MS,
          everyMs: 1,
        });
        signalPid(pid, signal);
        await until('it has gone', () => host.supervisor() !== pid, { everyMs: 1 });
      }
      await nextSupervisor(undefined);
      for (const task of tasks) openGate(task);
      for (const [n, task] of tasks.entries()) {
        await checkEnd(task, n === 0 ? FINISHED : FAILED, n);
        await checkOutput(task, n);
      }
      assert.deepEqual(slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
    });
  });

  // Facts of the state directory in the order in which they appear.
  for (const fact of [
    ...['accepted', 'registering', 'registered', 'run-task', 'cid', 'init'],
    ...['reported', 'exit', 'outcome', 'termination'],
  ]) {
    it(`at the moment in which '${fact}' is noted: the task runs once and ends as it should`, async () => {
      await withSupervisorLog(host, async () => {
        const slave = await host.slave();
        const value = 'echo out; echo err >&2; sleep 0.3; exit 3';
        const launching = slave.launch(commandTask({ image: IMAGES.busybox, value }));
        const task = await launching;
        await until(`'${fact}' noted`, () => hasFact(task, fact), { timeoutMs: PATIENCE_MS, everyMs: 0 });
        await host.killSupervisor();
        // Where nobody waits yet the call to launch starts another one, or else the wait that follows.
        await task.ended(PATIENCE_MS);
        const termination = await task.gone(PATIENCE_MS);
        // Nobody waits any more: what is left to be cleaned up is so by whichever call needs a supervisor next.
        if (fact === 'termination') assert.equal((await host.deimos(['recover'])).code, 0);
        assert.deepEqual([termination?.state, termination?.status], [FAILED, 3 << 8]);
        const states = task.updates().map(({ from, state }) => `${from} ${state}`);
        // A container that ended while nobody looked was never seen running.
        assert.ok(
          ['executor 1,executor 3', 'executor 3'].includes(states.join()),
          `updates: ${states.join()}`,
        );
        assert.equal(await sandboxFile(task, 'stdout'), 'out\n');
        assert.equal(await sandboxFile(task, 'stderr'), 'err\n');
        const violations = slave.violations.filter((text) => !SECOND_REGISTER.test(text));
        assert.deepEqual(violations, []);
        // Register was under way: whether it had arrived cannot be known, so it is repeated, and harmless.
        if (!['accepted', 'registering', 'cid'].includes(fact)) assert.deepEqual(slave.violations, []);
        for (const { verb, end } of task.calls()) if (verb !== 'update') assert.equal(end?.code, 0, verb);
        assert.deepEqual(await host.leftovers(), []);
      });
    });
  }

  it('before RunTask, which comes when the next one listens: nothing is said before it', async () => {
    await withSupervisorLog(host, async () => {
      const wrapped = wrap(host, 'before-run-task');
      const slave = await host.slave({ containerizer: wrapped.containerizer });
      wrapped.hold('update');
      const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'echo once; exit 4' }));
      await until('registered', () => hasFact(task, 'registered'), { timeoutMs: PATIENCE_MS });
      await waitsAsleep(1);
      const first = host.supervisor();
      await host.killSupervisor();
      await nextSupervisor(first);
      wrapped.letGo('update');
      await checkEnd(task, FAILED, 4);
      const said = slave.history.filter((line) => /RunTaskMessage|StatusUpdateMessage/.test(line));
      assert.equal(said[0], 'to-executor RunTaskMessage');
      assert.equal(await sandboxFile(task, 'stdout'), 'once\n');
      assert.deepEqual(slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
    });
  });

  it('together with a RunTask that it had not read: the task counts as handed over', async () => {
    await withSupervisorLog(host, async () => {
      const wrapped = wrap(host, 'lost-run-task');
      const slave = await host.slave({ containerizer: wrapped.containerizer });
      wrapped.hold('update');
      const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'echo once; exit 5' }));
      await until('registered', () => hasFact(task, 'registered'), { timeoutMs: PATIENCE_MS });
      await waitsAsleep(1);
      const first = host.supervisor() ?? assert.fail();
      signalPid(first, 'SIGSTOP');
      wrapped.letGo('update');
      await until(
        'RunTask is on its way',
        () => slave.messages.some(({ name }) => name === 'RunTaskMessage'),
        {
          timeoutMs: PATIENCE_MS,
        },
      );
      const port = Number(readFileSync(`${host.root}/supervisor/port`, 'utf8'));
      await until('RunTask is there, unread', () => unreadAt(port) > 0, { timeoutMs: PATIENCE_MS });
      await host.killSupervisor();
      await checkEnd(task, FAILED, 5);
      assert.equal(slave.messages.filter(({ name }) => name === 'RunTaskMessage').length, 1);
      assert.equal(await sandboxFile(task, 'stdout'), 'once\n');
      assert.deepEqual(slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
    });
  });

  it('between Register and its answer: the Shutdown that answers the second Register is not believed', async () => {
    await withSupervisorLog(host, async () => {
      const idle = host.supervisor();
      if (idle !== undefined) signalPid(idle, 'SIGTERM');
      await until('no supervisor', () => host.supervisor() === undefined);
      const slave = await host.slave();
      const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'echo once; exit 6' }));
      // The record has been read to its end; a supervisor is yet to be started and to register.
      await until('the request written', () => hasFact(task, 'container.json'), { everyMs: 0 });
      slave.signal('SIGSTOP');
      const registers = (count: number) =>
        until('Register is there, unread', () => unreadAt(slave.port) === count, { timeoutMs: PATIENCE_MS });
      await registers(1);
      const first = host.supervisor();
      await host.killSupervisor();
      // The slave does not call anything: somebody else has to.
      assert.equal((await host.deimos(['recover'])).code, 0);
      await nextSupervisor(first);
      await registers(2);
      slave.signal('SIGCONT');
      await checkEnd(task, FAILED, 6);
      const sent = slave.messages.map(({ name }) => name);
      assert.equal(sent.filter((name) => name === 'RegisterExecutorMessage').length, 2);
      assert.equal(sent.filter((name) => name === 'ShutdownExecutorMessage').length, 1);
      assert.equal(slave.violations.length, 1);
      assert.match(slave.violations[0] ?? '', SECOND_REGISTER);
      assert.equal(await sandboxFile(task, 'stdout'), 'once\n');
      assert.deepEqual(await host.leftovers(), []);
    });
  });

  it('while an update waits for its acknowledgement: the same update is sent again, the end follows it', async () => {
    await withSupervisorLog(host, async () => {
      const slave = await host.slave({ acks: 'drop' });
      const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'exit 7' }));
      const told = await task.ended(PATIENCE_MS);
      assert.ok(!hasFact(task, 'termination'));
      // The slave acknowledges when that call has ended, as things stand then.
      await until('the last update call has ended', () => task.calls('update')[1]?.end !== undefined);
      await host.killSupervisor();
      await slave.setAcks('send');
      await checkEnd(task, FAILED, 7);
      const updates = task.updates().map(({ uuid }) => `${task.taskId} ${uuid}`);
      assert.equal(updates.at(-1), `${task.taskId} ${told.uuid}`);
      assert.deepEqual([...slave.acknowledged].sort(), [...updates].sort());
      assert.deepEqual(slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
    });
  });

  it('when the container has ended meanwhile: its status and its last output are found', async () => {
    await withSupervisorLog(host, async () => {
      const slave = await host.slave();
      const value = `echo before; ${AT_GATE}; i=0; while [ $i -lt 5000 ]; do echo "line $i"; i=$((i+1)); done; printf open; exit 8`;
      const task = await slave.launch(commandTask({ image: IMAGES.busybox, value }));
      await task.reached(RUNNING, PATIENCE_MS);
      await until('output', async () => (await sandboxFile(task, 'stdout')) === 'before\n');
      await waitsAsleep(1);
      const pid = host.supervisor() ?? assert.fail();
      signalPid(pid, 'SIGSTOP');
      openGate(task);
      // Docker's own copy of the output goes on; ours is stopped and takes what the socket holds, and no more.
      await until('ended', async () => (await inState('exited')) === 1, { timeoutMs: PATIENCE_MS });
      assert.equal(await sandboxFile(task, 'stdout'), 'before\n');
      await host.killSupervisor();
      await checkEnd(task, FAILED, 8);
      const lines = Array.from({ length: 5000 }, (_, i) => `line ${i}\n`).join('');
      assert.equal(await sandboxFile(task, 'stdout'), `before\n${lines}open`);
      assert.equal(await sandboxFile(task, 'stderr'), '');
      assert.deepEqual(slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
    });
  });

  it('while a kill is carried out: the next one carries it out', async () => {
    await withSupervisorLog(host, async () => {
      const slave = await host.slave({ version: '1.0.4' });
      const value = `trap 'echo asked' TERM; echo ready; ${AT_GATE}; exit 9`;
      const task = await slave.launch(commandTask({ image: IMAGES.busybox, value }));
      await task.reached(RUNNING, PATIENCE_MS);
      await until('ready', async () => (await sandboxFile(task, 'stdout')) === 'ready\n');
      await waitsAsleep(1);
      await slave.killTask(task, 60_000);
      await until('asked', async () => /asked/.test(await sandboxFile(task, 'stdout')));
      const first = host.supervisor();
      await host.killSupervisor();
      await nextSupervisor(first);
      openGate(task);
      await checkEnd(task, KILLED, 9);
      assert.deepEqual(slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
    });
  });

  it('while it writes a fact of its own: the next one removes the piece, and no piece of a process that lives', async () => {
    await withSupervisorLog(host, async () => {
      if (host.supervisor() !== undefined) await host.killSupervisor();
      const own = `${host.root}/supervisor`;
      const left = [`${own}/port.${PID_OF_NOBODY}.1.tmp`, `${own}/slaves/work.${PID_OF_NOBODY}.1.tmp`];
      const living = `${own}/port.${process.pid}.1.tmp`;
      mkdirSync(`${own}/slaves`, { recursive: true, mode: 0o700 });
      for (const path of [...left, living]) writeFileSync(path, '');
      const slave = await host.slave();
      const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'exit 0' }));
      await task.gone(PATIENCE_MS);
      assert.deepEqual([...left, living].filter(existsSync), [living]);
      rmSync(living);
    });
  });
});

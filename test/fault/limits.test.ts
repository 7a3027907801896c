// The host denies Deimos memory, processes or descriptors, for a while: what runs goes on and is told rightly, what cannot
// be done is said in a line, and when there is enough again all goes on.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, beforeEach, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { containersOf } from '../support/docker-facts.ts';
import { ALL_FAULTS, extent, FAULT_FILE_TIMEOUT_MS, FAULT_SEED, tell } from '../support/faults.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { descriptorsOf, killedForMemory, limitDescriptors, limitedGroup } from '../support/host-limits.ts';
import { IMAGES } from '../support/images.ts';
import { ENTER, limitedCalls, WITH_DESCRIPTORS } from '../support/limited-calls.ts';
import { checkEnd, checkOutput, writer } from '../support/line-writer.ts';
import { drawn } from '../support/lot.ts';
import { procFile, signalPid } from '../support/proc.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { Web } from '../support/web.ts';

const { RUNNING, FINISHED, FAILED, KILLED } = TaskState;
const skip = await skipWithoutTools();
/** A bound against hanging: the machine may be busy. */
const PATIENCE_MS = 120_000;
const MB = 1024 * 1024;

const TASKS = 4;
/** What a supervisor may take beside what it has: it lives for a moment, and dies in the middle of something. */
const SUPERVISOR_BYTES = [1, 3, 6].map((count) => count * MB);
/** With this the supervisor has room for a few tasks. */
const FEW_FILES = 110;
/** Of a launch that starts a supervisor: from what its own runtime takes to more than both need. */
const FEW_PROCESSES = range(3, 20);
/** Of a call: from where not even the runtime starts to more than it needs. */
const CALL_MB = range(2, 32);
const CALL_FILES = range(18, 40);
/** How far the limit of a supervisor is lowered. */
const LOWERED: readonly (readonly [what: string, most: (pid: number) => number])[] = [
  ['below those that are open', () => 3],
  ['to those that are open', (pid: number) => lowestFree(descriptorsOf(pid))],
];
/** A launch gives up after 20 s by itself. */
const STUCK_MS = 40_000;

describe('a host that has too little', { skip, timeout: FAULT_FILE_TIMEOUT_MS }, () => {
  let host: Host;
  let web: Web;
  before(async () => {
    host = await startHost();
    const hook = host.directory.at('hook');
    writeFileSync(hook, '#!/bin/sh\n: >"$1/hook-of-$TASK_INFO"\n', { mode: 0o755 });
    await host.configure(`[hooks]\nonlaunch: ${JSON.stringify([hook, host.directory.path])}\n`);
  });
  after(async () => {
    web?.close();
    await host[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    web?.close();
    web = new Web();
    await web.start();
  });

  const waitsAsleep = (count: number) =>
    until(
      `${count} waits asleep`,
      () => host.processes().filter(({ kind }) => kind === 'flock').length === count,
      { timeoutMs: PATIENCE_MS },
    );
  const supervisor = (): number => host.supervisor() ?? assert.fail('no supervisor');
  const hookRan = (task: LaunchedTask): boolean => existsSync(host.directory.at(`hook-of-${task.taskId}`));

  /** Tasks that write, each with a sleeping wait. */
  async function writers(slave: StandInSlave, name: string, count = TASKS): Promise<readonly LaunchedTask[]> {
    const tasks = await Promise.all(
      Array.from({ length: count }, (_, n) =>
        slave.launch(commandTask({ taskId: `${name}-${n}`, image: IMAGES.busybox, value: writer(n) })),
      ),
    );
    await Promise.all(tasks.map((task) => task.reached(RUNNING, PATIENCE_MS)));
    await waitsAsleep(count);
    return tasks;
  }

  /** They end by themselves: told once, answered once, every line there. */
  async function finish(
    slave: StandInSlave,
    tasks: readonly LaunchedTask[],
    forgotten: readonly string[] = [],
  ): Promise<void> {
    const isOfOthers = (text: string): boolean => !forgotten.some((id) => text.includes(id));
    for (const task of tasks) openGate(task);
    for (const [n, task] of tasks.entries()) {
      await checkEnd(task, n === 0 ? FINISHED : FAILED, n);
      await checkOutput(task, n);
    }
    assert.deepEqual(slave.violations.filter(isOfOthers), []);
    assert.deepEqual((await host.leftovers()).filter(isOfOthers), []);
  }

  const launch = async (slave: StandInSlave, taskId: string, more: TaskOptions = {}): Promise<LaunchedTask> =>
    await slave.launch(commandTask({ taskId, image: IMAGES.busybox, value: 'echo ran', ...more }));
  const launched = async (task: LaunchedTask) =>
    await until('launch has ended', () => task.calls('launch').at(0)?.end, { timeoutMs: PATIENCE_MS });
  /** It says so in a line, and nothing of it is left. */
  const isRefused = async (task: LaunchedTask, why: RegExp): Promise<void> => {
    const { code, stderr } = await launched(task);
    assert.match(stderr, /^deimos launch: [^\n]+\n$/);
    assert.match(stderr, why);
    assert.equal(code, 4);
    assert.ok(!existsSync(`${host.root}/mesos/${task.containerId}`));
  };
  const runs = async (task: LaunchedTask): Promise<void> => {
    assert.equal((await task.ended(PATIENCE_MS)).state, FINISHED);
    assert.equal((await task.gone(PATIENCE_MS))?.status, 0);
    assert.equal(await sandboxFile(task, 'stdout'), 'ran\n');
  };

  it('memory: the supervisor is killed by the kernel, again and again: no status is lost, no line of output', async () => {
    await withSupervisorLog(host, async () => {
      using group = limitedGroup(host.dockerd, 'memory', 'supervisor');
      await using slave = await host.slave();
      const tasks = await writers(slave, 'memory');
      const scores = host.processes().map(({ pid }) => procFile(pid, 'oom_score_adj'));
      assert.deepEqual([...new Set(scores)], [procFile(supervisor(), 'oom_score_adj')]);
      const each = extent(1, 20);
      for (const bytes of SUPERVISOR_BYTES) {
        group.limit(bytes);
        await killedForMemory(group, host.supervisor, each, PATIENCE_MS * each);
      }
      // While it dies over and over, tasks end.
      for (const task of tasks.slice(1)) openGate(task);
      await killedForMemory(group, host.supervisor, each, PATIENCE_MS * each);
      const kills = group.refused();
      group.limit(undefined);
      await finish(slave, tasks);
      tell(`memory: the supervisor of ${TASKS} writing tasks killed by the kernel ${kills} times`);
    });
  });

  it('processes: the supervisor can start none: what needs one says so, all else goes on', async () => {
    await withSupervisorLog(host, async () => {
      using group = limitedGroup(host.dockerd, 'pids', 'supervisor');
      await using slave = await host.slave();
      const tasks = await writers(slave, 'processes', 3);
      // On their way when it happens: to the docker CLI, to a hook, to what follows a fetch.
      const page = web.hanging('/page');
      host.dockerd.freeze();
      const options = await launch(slave, 'options', { options: ['--label', 'a=b'] });
      const hooked = await launch(slave, 'hooked');
      const fetching = await launch(slave, 'fetching', { uris: [{ value: page.url }] });
      for (const task of [options, hooked, fetching]) assert.equal((await launched(task)).code, 0);
      await until('it is being fetched', () => page.open() > 0, { timeoutMs: PATIENCE_MS });
      assert.ok(group.join(supervisor()));
      group.limit(0);
      page.release();
      host.dockerd.thaw();
      const lacking = /no more processes may be started here \(EAGAIN\)/;
      for (const task of [options, fetching]) {
        const { state, message } = await task.ended(PATIENCE_MS);
        assert.equal(state, FAILED);
        assert.match(message ?? '', lacking);
        assert.equal((await task.gone(PATIENCE_MS))?.message, message);
      }
      await runs(hooked);
      assert.ok(!hookRan(hooked));
      await isRefused(await launch(slave, 'refused'), lacking);
      const [first, second, third] = tasks;
      assert.ok(first && second && third);
      assert.ok((await slave.usage(first)) !== undefined);
      await slave.killTask(third);
      assert.equal((await third.ended(PATIENCE_MS)).state, KILLED);
      assert.equal((await third.gone(PATIENCE_MS))?.state, KILLED);
      const refused = group.refused();
      group.limit(undefined);
      const again = web.page('/again', 'fetched');
      const afterwards = await launch(slave, 'afterwards', {
        options: ['--label', 'a=b'],
        uris: [{ value: again }],
      });
      await runs(afterwards);
      assert.ok(hookRan(afterwards));
      assert.equal(await sandboxFile(afterwards, 'fs/again'), 'fetched');
      await finish(slave, [first, second]);
      tell(`processes: ${refused} starts of the supervisor's refused`);
    });
  });

  it('processes: launch finds no supervisor, and may start too few for one: it is started rightly or not at all', async () => {
    await withSupervisorLog(host, async () => {
      using group = limitedGroup(host.dockerd, 'pids', 'launch');
      const calls = limitedCalls(host, 'few-processes');
      await using slave = await host.slave({ containerizer: calls.containerizer });
      calls.set('launch', ENTER(group.procs));
      await triedWith(slave, 'few-processes', drawnOf(FEW_PROCESSES, 1), async (most) => {
        host.killSupervisorNow();
        await until('no supervisor', () => host.supervisor() === undefined);
        group.limit(most);
        return () => group.limit(undefined);
      });
    });
  });

  it('memory: a launch or usage is killed by the kernel: the task runs once or not at all, others are unharmed', async () => {
    await withSupervisorLog(host, async () => {
      using group = limitedGroup(host.dockerd, 'memory', 'calls');
      const calls = limitedCalls(host, 'little-memory');
      await using slave = await host.slave({ containerizer: calls.containerizer });
      const tasks = await writers(slave, 'calls', 2);
      const first = await lookedAt(slave);
      for (const verb of ['launch', 'usage']) calls.set(verb, ENTER(group.procs));
      await triedWith(slave, 'little-memory', [1, ...drawnOf(CALL_MB, 2)], async (most) => {
        group.limit(most * MB);
        const usage = await slave.usage(first);
        const { code, signal, stderr } = first.calls('usage').at(-1)?.end ?? assert.fail();
        // By sh, which says so, or as sh that has become it.
        if (usage === undefined)
          assert.ok([137, 'SIGKILL'].includes(code ?? signal ?? ''), `${code} ${stderr}`);
        return () => {};
      });
      assert.ok(group.refused() > 0);
      calls.set('usage', undefined);
      assert.ok((await slave.usage(first)) !== undefined);
      await isOver(first);
      await finish(slave, tasks, await forgottenOf(slave));
      tell(`memory: ${group.refused()} calls killed by the kernel`);
    });
  });

  it('descriptors: a call may open too few: it says so in a line, or does what it should', async () => {
    await withSupervisorLog(host, async () => {
      const calls = limitedCalls(host, 'few-files');
      await using slave = await host.slave({ containerizer: calls.containerizer });
      const tasks = await writers(slave, 'files', 2);
      const first = await lookedAt(slave);
      await triedWith(slave, 'few-files', drawnOf(CALL_FILES, 2), async (most) => {
        for (const verb of ['launch', 'usage', 'containers', 'recover'])
          calls.set(verb, WITH_DESCRIPTORS(most));
        await slave.usage(first);
        for (const verb of ['containers', 'recover']) await slave.call(verb);
        for (const { verb, end } of slave.calls.filter((call) => call.end?.code !== 0))
          if (end?.code === 4 || end?.code === 16)
            assert.match(
              end.stderr,
              new RegExp(`^deimos ${verb}: [^\\n]*(EMFILE|open any more files)[^\\n]*\\n$`),
            );
        return () => {};
      });
      for (const verb of ['launch', 'usage', 'containers', 'recover']) calls.set(verb, undefined);
      await isOver(first);
      await finish(slave, tasks, await forgottenOf(slave));
    });
  });

  it('descriptors: as many tasks run as the limit allows: more are refused in words, those that run are unharmed', async () => {
    await withSupervisorLog(host, async () => {
      host.killSupervisorNow();
      await until('no supervisor', () => host.supervisor() === undefined);
      // The supervisor has it from the call that starts it.
      const limit = `--nofile=${FEW_FILES}:${FEW_FILES}`;
      await using slave = await host.slave({ containerizer: `prlimit ${limit} ${host.containerizer}` });
      const tasks: LaunchedTask[] = [];
      for (let refused: LaunchedTask | undefined; refused === undefined; ) {
        const n = tasks.length;
        const task = await launch(slave, `many-${n}`, { value: writer(n) });
        const isAccepted = (await launched(task)).code === 0;
        if (isAccepted) {
          tasks.push(task);
          await task.reached(RUNNING, PATIENCE_MS);
        } else {
          refused = task;
          await isRefused(
            task,
            new RegExp(`the limit on open files is too low for another task beside ${n} `),
          );
        }
      }
      assert.ok(tasks.length > 0);
      const pid = supervisor();
      const last = tasks.pop() ?? assert.fail();
      assert.ok((await slave.usage(last)) !== undefined);
      await slave.killTask(last);
      assert.equal((await last.ended(PATIENCE_MS)).state, KILLED);
      await last.gone(PATIENCE_MS);
      await until(
        'its container is removed',
        async () => (await containersOf(host.dockerd, last)).length === 0,
        {
          timeoutMs: PATIENCE_MS,
        },
      );
      await runs(await launch(slave, 'many-afterwards'));
      assert.equal(supervisor(), pid);
      await finish(slave, tasks);
      host.killSupervisorNow();
      tell(`descriptors: ${tasks.length + 1} tasks under a limit of ${FEW_FILES}, then refused`);
    });
  });

  for (const [what, most] of LOWERED.slice(0, extent(1, LOWERED.length))) {
    it(`descriptors: the supervisor's limit is lowered ${what}: the next one takes over, and nothing is lost`, async () => {
      await withSupervisorLog(host, async () => {
        await using slave = await host.slave();
        const tasks = await writers(slave, 'lowered', 3);
        const pid = supervisor();
        const [, second, third] = tasks;
        assert.ok(second && third);
        await limitDescriptors(pid, most(pid));
        // One ends, one is killed.
        openGate(second);
        await until('another supervisor', () => ![pid, undefined].includes(host.supervisor()), {
          timeoutMs: PATIENCE_MS,
        });
        await runs(await launch(slave, 'lowered-afterwards'));
        await finish(slave, tasks);
      });
    });
  }

  if (ALL_FAULTS)
    it('a wait is killed while its slave lives, which gives up the task: the container is stopped', async () => {
      await withSupervisorLog(host, async () => {
        await using slave = await host.slave();
        const tasks = await writers(slave, 'unwaited', 2);
        const [ofShell] = tasks;
        assert.ok(ofShell);
        // The sleeper of one; of the other what the slave started itself, which may have become it.
        const { pid } = ofShell.calls('wait').at(0) ?? assert.fail();
        const sleeper = host
          .processes()
          .find(({ kind, parent, pid: own }) => kind === 'flock' && ![parent, own].includes(pid));
        assert.ok(sleeper);
        for (const one of [pid, sleeper.pid]) assert.ok(signalPid(one, 'SIGKILL'));
        for (const task of tasks) {
          await task.gone(PATIENCE_MS);
          assert.deepEqual(
            task.updates().map(({ from, state, message }) => [from, state, message]),
            [
              ['executor', RUNNING, 'Container running'],
              ['slave', FAILED, 'Abnormal executor termination'],
            ],
          );
        }
        await until('no container', async () => (await host.dockerd.run(['ps', '-aq'])) === '', {
          timeoutMs: 2 * PATIENCE_MS,
        });
        for (const { containerId } of tasks) {
          const termination = readFileSync(`${host.root}/mesos/${containerId}/termination`, 'utf8');
          assert.match(termination, /Stopped because the slave does not wait for its end/);
        }
      });
    });

  /** One launch under each limit: what it says is believed. `prepare` sets the limit, and gives what lifts it. */
  async function triedWith(
    slave: StandInSlave,
    name: string,
    limits: readonly number[],
    prepare: (most: number) => Promise<() => void>,
  ): Promise<void> {
    const told: string[] = [];
    for (const most of limits) {
      const lift = await prepare(most);
      const task = await launch(slave, `${name}-${most}`);
      const stuck = AbortSignal.timeout(STUCK_MS);
      const call = await until('launch began', () => task.calls('launch').at(0));
      // A runtime that may not start all of its threads waits for them for ever.
      await until(
        'launch has ended',
        () => call.end !== undefined || stuck.aborted || task.calls('launch')[0]?.end,
        {
          timeoutMs: PATIENCE_MS,
        },
      );
      if (task.calls('launch')[0]?.end === undefined) signalPid(call.pid, 'SIGKILL');
      const { code, signal, stderr } = await launched(task);
      told.push(`${most}: ${stuck.aborted ? 'hung' : (signal ?? code)}`);
      lift();
      if (code === 0) await runs(task);
      else {
        assert.equal((await task.ended(PATIENCE_MS)).from, 'slave');
        if (code === 4)
          assert.match(stderr, /^(node\[\d+\]: pthread_create: [^\n]+\n)?deimos launch: [^\n]+\n$/);
      }
    }
    tell(`  ${name}, launch under each of ${limits.length} limits: ${told.join(', ')}`);
  }

  /** One for calls that fail: what they say lands in its stderr. */
  async function lookedAt(slave: StandInSlave): Promise<LaunchedTask> {
    const task = await launch(slave, 'looked-at', { value: AT_GATE });
    await task.reached(RUNNING, PATIENCE_MS);
    return task;
  }

  async function isOver(task: LaunchedTask): Promise<void> {
    openGate(task);
    assert.equal((await task.ended(PATIENCE_MS)).state, FINISHED);
    await task.gone(PATIENCE_MS);
  }

  /** What the slave gave up when its launch failed: nobody waits for its end, or acknowledges anything. */
  async function forgottenOf(slave: StandInSlave): Promise<readonly string[]> {
    return slave.calls.flatMap(({ verb, end, containerId }) =>
      verb === 'launch' && end?.code !== 0 && containerId !== undefined ? [containerId] : [],
    );
  }
});

function lowestFree(descriptors: readonly number[]): number {
  for (let n = 0; ; n++) if (!descriptors.includes(n)) return n;
}

function range(from: number, to: number): readonly number[] {
  return Array.from({ length: to - from + 1 }, (_, n) => from + n);
}

/** Some of them by lot, or all. */
function drawnOf(limits: readonly number[], count: number): readonly number[] {
  return extent(drawn(limits, count, FAULT_SEED, String), limits);
}

// The slave is killed and started again, again and again, in the middle of launches, of a pull, between a launch and its
// wait, with its checkpoint lost in part, and with its whole cgroup, supervisor included, as systemd does: what the slave
// still knows goes on and is told once, what it does not know any more goes, nothing is started twice.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { decode } from '../../src/mesos/codec.ts';
import { Containers, TaskState } from '../../src/mesos/messages.ts';
import { pullsOf } from '../support/docker-facts.ts';
import { startDockerd } from '../support/dockerd.ts';
import {
  acknowledgementsTaken,
  checkCalm,
  checkEnd,
  dropUnheard,
  executorPort,
  nextSupervisor,
  PATIENCE_MS,
} from '../support/endings.ts';
import { chances, extent, FAULT_FILE_TIMEOUT_MS, FAULT_SEED, tell } from '../support/faults.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { takePort } from '../support/ports.ts';
import { isAlive, killAll, signalPid, treeOf } from '../support/proc.ts';
import { makeSlowImage, type Registry, startRegistry } from '../support/registry.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { wrap } from '../support/wrapped.ts';

const { FAILED, KILLED, RUNNING, STARTING } = TaskState;
const COUNTS = extent([4], [1, 5, 20]);
const ROUNDS = extent(1, 5);
const IN_FLIGHT = extent(4, 12);
const FLIGHT_ROUNDS = extent(1, 8);
/** After so long at most the slave dies. It decides what is tested, not whether it passes. */
const FLIGHT_MS_MAX = 1_500;
const VALUE = `echo s >>/tmp/mesos-sandbox/starts; ${AT_GATE}; echo over; exit 5`;
const CGROUP = '/sys/fs/cgroup/systemd';
/** A slave that waits longer for its executors: the machine may be busy. */
const PATIENT = { checkpoint: true, reregistrationTimeoutMs: 20_000 };

describe('a slave that is killed', { skip: await skipWithoutTools(), timeout: FAULT_FILE_TIMEOUT_MS }, () => {
  let host: Host;
  let registry: Registry;
  before(async () => {
    const dockerd = await startDockerd({ arguments: ['--debug'] });
    host = await startHost({ dockerd, configuration: '[containers]\nstop_timeout: 0' });
    registry = await startRegistry(dockerd);
  });
  after(async () => {
    await registry?.stop();
    await host?.[Symbol.asyncDispose]();
    await host?.dockerd.stop();
  });

  const task = (taskId?: string) =>
    commandTask({ image: IMAGES.busybox, value: VALUE, ...(taskId === undefined ? {} : { taskId }) });
  const launchAll = async (slave: StandInSlave, count: number): Promise<readonly LaunchedTask[]> => {
    const tasks = await Promise.all(Array.from({ length: count }, () => slave.launch(task())));
    await Promise.all(tasks.map((one) => one.reached(RUNNING, PATIENCE_MS)));
    await until('acknowledged', () => slave.acknowledged.length >= count, { timeoutMs: PATIENCE_MS });
    await acknowledgementsTaken(host, tasks);
    return tasks;
  };
  const listed = async (slave: StandInSlave): Promise<readonly (string | undefined)[]> => {
    const { answer } = await slave.call('containers');
    return decode(Containers, answer ?? assert.fail('no record')).containers.map(({ value }) => value);
  };
  const startsOf = async (one: LaunchedTask): Promise<string> => await sandboxFile(one, 'fs/starts');
  const running = async (): Promise<number> =>
    (await host.dockerd.run(['ps', '-q'])).split('\n').filter(Boolean).length;

  async function checkFinished(tasks: readonly LaunchedTask[]): Promise<void> {
    for (const one of tasks) openGate(one);
    for (const one of tasks) {
      await checkEnd(one, FAILED, 5 << 8);
      assert.equal(await startsOf(one), 's\n');
      assert.equal(await sandboxFile(one, 'stdout'), 'over\n');
    }
  }

  /** `unheard`: tasks that did not outlive their slave, whose last words had nobody to acknowledge them. */
  async function checkAllOver(slave: StandInSlave, unheard: readonly LaunchedTask[] = []): Promise<void> {
    checkCalm(slave);
    assert.deepEqual(await listed(slave), []);
    assert.equal((await host.deimos(['recover'])).code, 0);
    dropUnheard(host, unheard);
    assert.deepEqual(await host.leftovers(), []);
    await slave.stop();
  }

  for (const count of COUNTS)
    it(`with ${count} tasks, a third of which it has forgotten: those go, the others go on`, async () => {
      await withSupervisorLog(host, async () => {
        const chance = chances(`restarts ${count}`);
        const slave = await host.slave(PATIENT);
        const tasks = await launchAll(slave, count);
        // Some of its lives are too short for all to reregister.
        for (let n = 1; n < ROUNDS; n++) {
          await sleep(chance() * FLIGHT_MS_MAX);
          await slave.restart();
        }
        await slave.kill();
        const orphans = tasks.filter((_, n) => n % 3 === 2);
        forget(slave, orphans);
        await slave.start();
        for (const one of orphans) {
          await one.gone(PATIENCE_MS);
          assert.equal(await startsOf(one), 's\n');
        }
        const known = tasks.filter((one) => !orphans.includes(one));
        assert.equal(await running(), known.length);
        assert.deepEqual(
          [...(await listed(slave))].sort(),
          known.map(({ containerId }) => containerId).sort(),
        );
        await checkFinished(known);
        tell(`slave killed ${ROUNDS} times over ${count} tasks: ${orphans.length} forgotten and ended`);
        await checkAllOver(slave);
      });
    });

  it('in the middle of launches: what it still knows goes on, nothing else runs, nothing was started twice', async () => {
    await withSupervisorLog(host, async () => {
      const chance = chances('launches');
      const slave = await host.slave({ ...PATIENT, registrationTimeoutMs: 20_000 });
      const tasks: LaunchedTask[] = [];
      for (let n = 0; n < FLIGHT_ROUNDS; n++) {
        const launching = Array.from({ length: IN_FLIGHT }, () =>
          slave.launch(task()).then(
            (one) => void tasks.push(one),
            () => {},
          ),
        );
        await sleep(chance() * FLIGHT_MS_MAX);
        await slave.restart();
        await Promise.all(launching);
      }
      for (const one of tasks) openGate(one);
      const ends: (number | undefined)[] = [];
      // Not until it is gone: a slave that is killed between its last two words does not say the last one.
      for (const one of tasks) await one.ended(PATIENCE_MS);
      await until('nothing runs', async () => (await host.dockerd.run(['ps', '-aq'])) === '', {
        timeoutMs: PATIENCE_MS,
      });
      for (const one of tasks) {
        const told = one.updates().filter(({ state }) => state > RUNNING && state !== 6);
        const once = new Set(told.map(({ uuid }) => uuid));
        assert.ok(
          once.size === 1,
          `${one.taskId}: ${JSON.stringify(one.updates().map((u) => [u.from, u.state]))}`,
        );
        ends.push(told[0]?.state);
        assert.match(await startsOf(one), /^(s\n)?$/);
      }
      tell(
        `slave killed ${FLIGHT_ROUNDS} times in the middle of ${IN_FLIGHT} launches, seed ${FAULT_SEED}: ${tasks.length} tasks, ${ends.filter((state) => state === FAILED).length} of them to their end`,
      );
      // Its slave died when it had registered the executor and had not said so: such an executor ends.
      const unheard = tasks.filter((one) =>
        one
          .updates()
          .some(
            ({ from, message = '' }) => from === 'slave' && message.startsWith('Stopped because the slave'),
          ),
      );
      const isDue = (text: string): boolean =>
        text.includes('answered without a terminal update of') &&
        unheard.some(({ taskId }) => text.includes(taskId));
      slave.violations.splice(0, Infinity, ...slave.violations.filter((text) => !isDue(text)));
      checkCalm(slave, ['launch']);
      await slave.stop();
    });
  });

  for (const checkpoint of extent([false], [true, false]))
    it(`after launch has ended and before wait, ${checkpoint ? 'checkpointed: the task goes on' : 'not checkpointed: the task is stopped, and its successor ends what is left'}`, async () => {
      await withSupervisorLog(host, async () => {
        const wrapped = wrap(host, `before-wait-${checkpoint}`);
        const slave = await host.slave({ ...PATIENT, checkpoint, containerizer: wrapped.containerizer });
        wrapped.hold('wait');
        const [one] = await launchAll(slave, 1);
        assert.ok(one);
        const calls = slave.calls.filter(({ verb, end }) => verb === 'wait' && end === undefined);
        assert.equal(calls.length, 1);
        await slave.kill();
        // A slave that is dead would not have called it.
        await killAll(treeOf(calls.map(({ pid }) => pid)).filter(isAlive));
        if (!checkpoint)
          await until('stopped', async () => (await running()) === 0, { timeoutMs: PATIENCE_MS });
        wrapped.letGo('wait');
        await slave.start();
        if (checkpoint) await checkFinished([one]);
        else {
          await one.gone(PATIENCE_MS);
          assert.equal(await sandboxFile(one, 'stdout'), '');
        }
        await checkAllOver(slave, checkpoint ? [] : [one]);
      });
    });

  for (const checkpoint of extent([true], [true, false]))
    it(`in the middle of a pull, ${checkpoint ? 'checkpointed: the pull goes on, and the task runs' : 'not checkpointed: the pull is called off'}`, async () => {
      await withSupervisorLog(host, async () => {
        const { image, throttle } = await makeSlowImage(host.dockerd, registry, `slow-${checkpoint}`, {
          ...{ megabytes: 4, bytesPerSecond: 1_000_000 },
        });
        const slave = await host.slave({ ...PATIENT, checkpoint });
        const one = await slave.launch(commandTask({ image, value: VALUE }));
        await one.reached(STARTING, PATIENCE_MS);
        await slave.kill();
        if (!checkpoint) {
          await until('called off', () => hasEnded(host, one), {
            timeoutMs: PATIENCE_MS,
          });
          await slave.start();
          await one.gone(PATIENCE_MS);
          assert.equal(await startsOf(one), '');
        } else {
          await slave.start();
          await one.reached(RUNNING, PATIENCE_MS);
          await checkFinished([one]);
          assert.equal(pullsOf(host.dockerd, image), 1);
        }
        await throttle.stop();
        await checkAllOver(slave, checkpoint ? [] : [one]);
      });
    });

  for (const together of extent([true], [true, false]))
    it(`and comes back when its executors' port is another program's, ${together ? 'their supervisor having died with it' : 'as it has been since their supervisor died'}: it is told unasked where they are`, async () => {
      await withSupervisorLog(host, async () => {
        const wrapped = wrap(host, `port-${together}`);
        const slave = await host.slave({ ...PATIENT, containerizer: wrapped.containerizer });
        // A wait that sleeps would bring the next supervisor before the port is taken.
        if (!together) wrapped.hold('wait');
        const tasks = await launchAll(slave, 2);
        const [ends, killed] = tasks;
        assert.ok(ends && killed);
        const port = executorPort(host);
        const pid = host.supervisor();
        if (together) {
          await slave.kill();
          const calls = slave.calls.filter(({ end }) => end === undefined);
          await killAll(treeOf(calls.map((call) => call.pid)).filter(isAlive));
        }
        await host.killSupervisor();
        const another = await takePort(port);
        try {
          assert.equal(host.supervisor(), undefined, 'somebody has started a supervisor too early');
          wrapped.letGo('wait');
          if (together) await slave.start();
          else {
            await nextSupervisor(host, pid);
            await slave.restart();
          }
          await Promise.all(tasks.map((one) => slave.reregistered(one, PATIENCE_MS)));
          assert.notEqual(executorPort(host), port);
          await until('the other program was asked', () =>
            another.heard().includes('ReconnectExecutorMessage'),
          );
          await slave.killTask(killed);
          await checkEnd(killed, KILLED, 137 << 8);
          await checkFinished([ends]);
          for (const one of tasks) assert.deepEqual(one.calls('destroy'), []);
          await checkAllOver(slave);
        } finally {
          another.close();
        }
      });
    });

  it('with its whole cgroup, supervisor and calls included: all tasks go on', async () => {
    await withSupervisorLog(host, async () => {
      // One that was started elsewhere is in no cgroup of this slave's.
      const before = host.supervisor();
      if (before !== undefined) signalPid(before, 'SIGTERM');
      await until('no supervisor', () => host.supervisor() === undefined);
      const cgroup = `${CGROUP}/deimos-test-${process.pid}`;
      mkdirSync(cgroup);
      const members = (): readonly number[] =>
        readFileSync(`${cgroup}/cgroup.procs`, 'utf8').split('\n').filter(Boolean).map(Number);
      try {
        const slave = await host.slave({
          ...PATIENT,
          wrap: (argv) => ['/bin/sh', '-c', `echo $$ >${cgroup}/cgroup.procs; exec "$@"`, 'sh', ...argv],
        });
        const tasks = await launchAll(slave, COUNTS.at(-1) ?? 1);
        await until('every wait sleeps', () => asleep(host) === tasks.length, { timeoutMs: PATIENCE_MS });
        const supervisor = host.supervisor() ?? assert.fail('no supervisor');
        assert.ok(members().includes(supervisor));
        assert.ok(members().length >= tasks.length + 2, `${members().length} in the cgroup`);
        const killed = members();
        // What is started meanwhile is killed as well, until nothing is left: as systemd does.
        while (members().length > 0) for (const pid of members()) signalPid(pid, 'SIGKILL');
        await slave.kill();
        assert.equal(host.supervisor(), undefined);
        assert.equal(await running(), tasks.length);
        await slave.start();
        await Promise.all(tasks.map((one) => slave.reregistered(one, PATIENCE_MS)));
        tell(`slave's cgroup killed with ${killed.length} processes, over ${tasks.length} tasks`);
        await checkFinished(tasks);
        await checkAllOver(slave);
      } finally {
        await killAll(members());
        await until('the cgroup is empty', () => {
          try {
            rmdirSync(cgroup);
            return true;
          } catch {
            return false;
          }
        });
      }
    });
  });
});

/** Calls of `wait` that sleep. */
function asleep(host: Host): number {
  return host.processes().filter(({ kind }) => kind === 'flock').length;
}

function hasEnded(host: Host, one: LaunchedTask): boolean {
  try {
    readFileSync(`${host.root}/mesos/${one.containerId}/termination`);
    return true;
  } catch {
    return false;
  }
}

/** Of these the slave's checkpoint says nothing any more. */
function forget(slave: StandInSlave, tasks: readonly LaunchedTask[]): void {
  const path = `${slave.options.workDirectory}/meta.json`;
  const known: readonly { readonly containerId: string }[] = JSON.parse(readFileSync(path, 'utf8'));
  const left = known.filter((one) => !tasks.some(({ containerId }) => containerId === one.containerId));
  assert.equal(left.length, known.length - tasks.length);
  writeFileSync(path, JSON.stringify(left));
}

// Somebody meddles with a task's container, its name, its image or its network behind our back, or an answer of Docker's is
// lost: the task has one end that is true, never runs twice at a time, nothing of ours is left, and nothing of others is
// touched. What an end by docker kill, stop and rm is called, and the end of a paused container: integration/termination.
// Each request's answer lost once: crash-points; kept back for ever: docker-hung.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { decode } from '../../src/mesos/codec.ts';
import { Reason, ResourceStatistics, TaskState } from '../../src/mesos/messages.ts';
import { type DockerDoor, type DoorRule, openDoor } from '../support/docker-door.ts';
import { containersOf, inspectTask } from '../support/docker-facts.ts';
import { FAULT_FILE_TIMEOUT_MS } from '../support/faults.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { assertContent, testOn } from '../support/on-host.ts';
import { allPids, procFile, signalPid, statOf } from '../support/proc.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { wrap } from '../support/wrapped.ts';

const { RUNNING, STARTING, FAILED, KILLED, LOST } = TaskState;
const LONG_MS = 90_000;
/** Obeys SIGTERM with status 0, which must never pass for its own end. */
const VALUE = `trap 'exit 0' TERM; echo s >>/tmp/mesos-sandbox/starts; echo out; ${AT_GATE}; echo last; exit 3`;
const RESTARTED = 'The container was restarted by somebody else';
const CREATE = 'POST /containers/create';
const START = 'POST /containers/{}/start';
const NAMED = 'GET /containers/{}/json';

const simple = (options: TaskOptions = {}) =>
  commandTask({ image: IMAGES.busybox, value: VALUE, ...options });
const livingIn = (dockerId: string): readonly number[] =>
  allPids().filter((pid) => procFile(pid, 'cgroup')?.includes(dockerId));

async function isRunning(task: LaunchedTask, stdout = 'out\n'): Promise<void> {
  await task.reached(RUNNING, LONG_MS);
  await until('output', async () => (await sandboxFile(task, 'stdout')) === stdout, { timeoutMs: LONG_MS });
}

/** The framework heard this, each once. */
function assertStates(task: LaunchedTask, states: readonly number[]): void {
  const told = task.updates().filter(({ state }) => state !== STARTING);
  assert.deepEqual(
    told.map(({ state }) => state),
    states,
  );
}

async function endsByItself(task: LaunchedTask): Promise<void> {
  openGate(task);
  assert.equal((await task.ended(LONG_MS)).message, 'Container exited with status 3');
  assert.equal((await task.gone(LONG_MS))?.status, 3 << 8);
  assertStates(task, [RUNNING, FAILED]);
  assert.equal(await sandboxFile(task, 'fs/starts'), 's\n');
  assert.equal(await sandboxFile(task, 'stdout'), 'out\nlast\n');
  assert.equal(await sandboxFile(task, 'stderr'), '');
}

/** It never ran, and everybody is told why. */
/** Whether the log says of it that a health check has no result. */
function isInDoubt(host: Host, task: LaunchedTask): boolean {
  return readFileSync(`${host.root}/supervisor/log`, 'utf8')
    .split('\n')
    .some((line) => line.includes('a health check has no result') && line.includes(task.containerId));
}

/** How many checks of its health Docker has begun in a container. */
async function checksOf({ dockerd }: Host, dockerId: string): Promise<number> {
  const filters = ['--filter', `container=${dockerId}`, '--filter', 'event=exec_start'];
  const events = await dockerd.run(['events', '--since', '1h', '--until', '0s', ...filters]);
  return events.split('\n').filter((line) => line !== '').length;
}

async function neverRan(task: LaunchedTask, why: RegExp): Promise<void> {
  const { state, reason, message = '' } = await task.ended(LONG_MS);
  assert.deepEqual([state, reason], [FAILED, Reason.CONTAINER_LAUNCH_FAILED]);
  assert.match(message, why);
  assert.doesNotMatch(message, /[\n\r]/);
  assert.deepEqual((await task.gone(LONG_MS))?.message, message);
  assertStates(task, [FAILED]);
  assert.equal(await sandboxFile(task, 'stderr'), `deimos: ${message}\n`);
  assert.equal(await sandboxFile(task, 'fs/starts'), '');
}

describe('somebody meddles with', {
  skip: await skipWithoutTools(),
  concurrency: 3,
  timeout: FAULT_FILE_TIMEOUT_MS,
}, () => {
  let shared: Host;
  let common: StandInSlave;
  before(async () => {
    shared = await startHost({ configuration: '[containers]\nstop_timeout: 1' });
    common = await shared.slave();
  });
  after(async () => {
    try {
      assertContent(common);
      assert.deepEqual(await shared.leftovers(), []);
    } finally {
      await shared[Symbol.asyncDispose]();
    }
  });
  const on = (name: string, body: (host: Host, slave: StandInSlave) => Promise<void>) =>
    testOn(
      () => shared,
      name,
      async (host) => await body(host, common),
    );
  /** On the same dockerd, by a way on which something happens. */
  const behindDoor = (
    name: string,
    body: (place: { host: Host; slave: StandInSlave; door: DockerDoor }) => Promise<void>,
  ) =>
    it(name, async () => {
      const { dockerd } = shared;
      await using door = await openDoor(dockerd);
      await using host = await startHost({ dockerd, images: false });
      await host.configure('[containers]\nstop_timeout: 1', `host: ${door.host}`);
      const slave = await host.slave();
      await body({ host, slave, door });
      assertContent(slave);
    });
  /** The first request of that kind waits for `meanwhile`. */
  const heldFor = (route: string, meanwhile: () => Promise<unknown>): DoorRule => {
    const facts = { done: false, begun: false };
    return (request) => {
      if (request.route !== route || facts.done) return { kind: 'pass' };
      if (!facts.begun) {
        facts.begun = true;
        void meanwhile().then(() => {
          facts.done = true;
        });
      }
      // Tried again until then.
      return { kind: 'refuse' };
    };
  };

  for (const how of ['restart', 'stop, then start'] as const) {
    on(
      `a running container by docker ${how}: it is lost, and what runs in it then is ended first`,
      async (host, slave) => {
        const task = await slave.launch(simple());
        await isRunning(task);
        const { Id } = await inspectTask(host.dockerd, task);
        if (how === 'restart') await host.dockerd.outcome(['restart', Id]);
        else {
          await host.dockerd.run(['stop', Id]);
          // Removed by then, perhaps.
          await host.dockerd.outcome(['start', Id]);
        }
        const { state, message = '' } = await task.ended(LONG_MS);
        if (message.startsWith('Ended by somebody else')) assert.equal(state, FAILED);
        else assert.deepEqual([state, message], [LOST, RESTARTED]);
        const termination = await task.gone(LONG_MS);
        assert.deepEqual([termination?.state, termination?.status], [state, undefined]);
        assertStates(task, [RUNNING, state]);
        await until('nothing of it runs', () => livingIn(Id).length === 0);
      },
    );
  }

  /** A task runs; its supervisor is dead, and no wait starts the next one before `letGo`. */
  const unsupervised = (
    name: string,
    body: (place: { host: Host; task: LaunchedTask; letGo: () => void }) => Promise<void>,
  ) =>
    it(name, async () => {
      await using host = await startHost({ dockerd: shared.dockerd, images: false });
      const wrapped = wrap(host, 'wrapped');
      const slave = await host.slave({ containerizer: wrapped.containerizer });
      wrapped.hold('wait');
      const task = await slave.launch(simple());
      await isRunning(task);
      await host.killSupervisor();
      await body({ host, task, letGo: () => wrapped.letGo('wait') });
      assertContent(slave);
    });

  unsupervised(
    'a running container by docker restart while no supervisor lives: the next one ends it, and it is lost',
    async ({ host: { dockerd }, task, letGo }) => {
      const { Id } = await inspectTask(dockerd, task);
      await dockerd.run(['restart', Id]);
      await until('it runs again', async () => (await sandboxFile(task, 'fs/starts')) === 's\ns\n');
      letGo();
      assert.deepEqual((await task.ended(LONG_MS)).message, RESTARTED);
      assert.deepEqual(livingIn(Id), [], 'ended before anything is told');
      assert.equal((await task.gone(LONG_MS))?.state, LOST);
      assertStates(task, [RUNNING, LOST]);
    },
  );

  unsupervised(
    'nobody, and the task ends while no supervisor lives and Docker does not know it yet: its own end is told',
    async ({ host, task, letGo }) => {
      const { State } = await inspectTask(host.dockerd, task);
      // Who reaps the task for Docker is held up: it says that the container runs.
      const shim = statOf(State.Pid)?.parent ?? assert.fail();
      signalPid(shim, 'SIGSTOP');
      try {
        openGate(task);
        await until('its init has ended', () => statOf(State.Pid)?.state === 'Z');
        letGo();
        const log = `${host.root}/supervisor/log`;
        await until('taken up', () => readFileSync(log, 'utf8').includes('event=found'), {
          timeoutMs: LONG_MS,
        });
      } finally {
        signalPid(shim, 'SIGCONT');
      }
      await endsByItself(task);
    },
  );

  const pausedAfter =
    (delayMs: number) =>
    async (host: Host, slave: StandInSlave): Promise<void> => {
      const check = {
        ...{ delay_seconds: 0, interval_seconds: 4, timeout_seconds: 4 },
        ...{ grace_period_seconds: 0, consecutive_failures: 1 },
      };
      const task = await slave.launch(simple({ healthCheck: { ...check, command: { value: 'sleep 1' } } }));
      await isRunning(task);
      await until('checked', () => task.updates().some(({ healthy }) => healthy === true), {
        timeoutMs: LONG_MS,
      });
      const { Id } = await inspectTask(host.dockerd, task);
      // Not in the moment in which a check begins or ends: of that Docker (20.10) never recovers, unpause included.
      const begun = await checksOf(host, Id);
      await until('a check begins', async () => (await checksOf(host, Id)) > begun);
      await sleep(delayMs);
      await host.dockerd.run(['pause', Id]);
      const before = await slave.usage(task);
      const used = await slave.usage(task);
      assert.ok(before && used);
      assert.ok((decode(ResourceStatistics, used).processes ?? 0) > 0);
      await until('a check fell into the pause', () => isInDoubt(host, task), { timeoutMs: LONG_MS });
      await host.dockerd.run(['unpause', Id]);
      openGate(task);
      assert.equal((await task.ended(LONG_MS)).message, 'Container exited with status 3');
      assert.equal((await task.gone(LONG_MS))?.status, 3 << 8);
      // What cannot be checked is not unhealthy.
      assert.ok(!task.updates().some(({ healthy }) => healthy === false));
    };
  on(
    'a running container by docker pause while a check runs: usage goes on, and it ends by itself when it is let go on',
    pausedAfter(300),
  );
  on(
    'a running container by docker pause between two checks: usage goes on, and it ends by itself when it is let go on',
    pausedAfter(2_000),
  );

  // On a host of its own: a supervisor that dies in the midst of another test's launch registers twice.
  it('a paused container by giving it to the next supervisor: taken up paused, it ends by itself', async () => {
    await using host = await startHost({ dockerd: shared.dockerd, images: false });
    const slave = await host.slave();
    const task = await slave.launch(simple());
    await isRunning(task);
    const { Id } = await inspectTask(host.dockerd, task);
    await host.dockerd.run(['pause', Id]);
    await host.killSupervisor();
    assert.equal((await slave.call('recover')).code, 0);
    assert.ok(await slave.usage(task));
    await host.dockerd.run(['unpause', Id]);
    await endsByItself(task);
    assertContent(slave);
  });

  on(
    'the name of a running container: it is known by its id, and who takes the name is left alone',
    async (host, slave) => {
      const [byItself, killed] = await Promise.all([slave.launch(simple()), slave.launch(simple())]);
      const foreign: string[] = [];
      for (const task of [byItself, killed]) {
        await isRunning(task);
        const { Id } = await inspectTask(host.dockerd, task);
        await host.dockerd.run(['rename', Id, `renamed-${task.containerId}`]);
        const words = [
          'run',
          '--detach',
          '--name',
          `deimos-${task.containerId}`,
          IMAGES.busybox,
          'sleep',
          '600',
        ];
        foreign.push(await host.dockerd.run(words));
      }
      assert.ok(await slave.usage(byItself));
      await endsByItself(byItself);
      await slave.killTask(killed);
      assert.equal((await killed.ended(LONG_MS)).state, KILLED);
      await killed.gone(LONG_MS);
      await until('ours are gone', async () =>
        (await Promise.all([byItself, killed].map((task) => containersOf(host.dockerd, task)))).every(
          (ids) => ids.length === 0,
        ),
      );
      for (const id of foreign) {
        assert.equal(await host.dockerd.run(['inspect', '--format', '{{.State.Status}}', id]), 'running');
        await host.dockerd.run(['rm', '--force', id]);
      }
    },
  );

  it('the name before there is a container: the launch fails in words, and who has it is left alone', async () => {
    const { dockerd } = shared;
    await using host = await startHost({ dockerd, images: false });
    const wrapped = wrap(host, 'wrapped');
    const slave = await host.slave({ containerizer: wrapped.containerizer });
    wrapped.hold('launch');
    const task = await slave.launch(simple());
    const name = `deimos-${task.containerId}`;
    // Ours by one label, but of another state root.
    const label = `deimos.container=${task.containerId}`;
    const words = ['run', '--detach', '--name', name, '--label', label, IMAGES.busybox, 'sleep', '600'];
    const foreign = await dockerd.run(words);
    wrapped.letGo('launch');
    await neverRan(task, new RegExp(name));
    await slave.destroy(task);
    await until(
      'our state is at its end',
      async () =>
        (await host.deimos(['state', '--rm'])).code === 0 &&
        !existsSync(`${host.root}/mesos/${task.containerId}`),
    );
    assert.equal(await dockerd.run(['inspect', '--format', '{{.State.Status}}', foreign]), 'running');
    await dockerd.run(['rm', '--force', foreign]);
    assertContent(slave);
  });

  behindDoor(
    'nothing, but the answer to create is lost and the container is not shown at first: there is one',
    async ({ slave, door, host }) => {
      const facts = { creates: 0, hidden: 0 };
      door.setRule(({ route }, answered) => {
        if (route === CREATE && !answered) facts.creates++;
        if (route === CREATE && facts.creates === 1) return { kind: 'lose-answer' };
        // Docker reserves a name before it shows the container.
        if (route !== NAMED || facts.creates === 0 || facts.hidden >= 2) return { kind: 'pass' };
        facts.hidden++;
        return { kind: 'answer', status: 404, body: '{"message":"No such container"}' };
      });
      const task = await slave.launch(simple());
      await isRunning(task);
      assert.ok(facts.creates >= 2, 'it was asked for again, and refused');
      assert.equal((await containersOf(host.dockerd, task)).length, 1);
      await endsByItself(task);
      await until('removed', async () => (await containersOf(host.dockerd, task)).length === 0);
    },
  );

  behindDoor(
    'nothing, but the answers to start, stop and rm are lost, each of them twice',
    async ({ slave, door, host }) => {
      const lost = new Map<string, number>();
      door.setRule(({ route }, answered) => {
        if (!/\/(start|stop|kill)$|^DELETE/.test(route)) return { kind: 'pass' };
        const times = lost.get(route) ?? 0;
        if (times >= 2) return { kind: 'pass' };
        if (answered) lost.set(route, times + 1);
        return { kind: 'lose-answer' };
      });
      const [byItself, killed, gently] = await Promise.all([
        slave.launch(simple()),
        slave.launch(simple()),
        slave.launch(simple({ killGraceMs: 1_500 })),
      ]);
      for (const task of [byItself, killed, gently]) await isRunning(task);
      for (const task of [killed, gently]) await slave.killTask(task);
      for (const task of [killed, gently]) {
        assert.equal((await task.ended(LONG_MS)).state, KILLED);
        await task.gone(LONG_MS);
        assertStates(task, [RUNNING, KILLED]);
        assert.equal(await sandboxFile(task, 'fs/starts'), 's\n');
      }
      await endsByItself(byItself);
      assert.ok(lost.size >= 3, [...lost.keys()].join());
      assert.deepEqual(
        await Promise.all(
          [byItself, killed, gently].map((task) =>
            until('removed', async () => (await containersOf(host.dockerd, task)).length === 0),
          ),
        ),
        [true, true, true],
      );
    },
  );

  behindDoor(
    'the container between create and start: the launch fails in words',
    async ({ slave, door, host }) => {
      const facts = { task: Promise.withResolvers<LaunchedTask>() };
      door.setRule(
        heldFor(START, async () => {
          const task = await facts.task.promise;
          await host.dockerd.run(['rm', '--force', (await inspectTask(host.dockerd, task)).Id]);
        }),
      );
      const task = await slave.launch(simple());
      facts.task.resolve(task);
      const { state, message } = await task.ended(LONG_MS);
      assert.ok(state === FAILED || state === LOST, message);
      assert.match(message ?? '', /No such container|removed by somebody else/);
      await task.gone(LONG_MS);
      assert.equal(await sandboxFile(task, 'fs/starts'), '');
    },
  );

  behindDoor(
    'the image between its pull and create: the launch fails in words',
    async ({ slave, door, host }) => {
      const image = `meddled-${process.pid}:test`;
      await host.dockerd.run(['tag', IMAGES.busybox, image]);
      door.setRule(heldFor(CREATE, async () => await host.dockerd.run(['rmi', image])));
      await neverRan(await slave.launch(simple({ image })), /No such image.*meddled-/);
    },
  );

  behindDoor(
    'the network between create and start: the launch fails in words',
    async ({ slave, door, host }) => {
      const network = `meddled-${process.pid}`;
      await host.dockerd.run(['network', 'create', network]);
      door.setRule(heldFor(START, async () => await host.dockerd.run(['network', 'rm', network])));
      await neverRan(await slave.launch(simple({ options: ['--net', network] })), /network.*not found/);
    },
  );

  on(
    'the image and the network of a running container: it goes on, and ends by itself',
    async (host, slave) => {
      const image = `meddled-run-${process.pid}:test`;
      await host.dockerd.run(['tag', IMAGES.busybox, image]);
      const task = await slave.launch(simple({ image }));
      await isRunning(task);
      const { Id } = await inspectTask(host.dockerd, task);
      await host.dockerd.run(['rmi', '--force', image]);
      await host.dockerd.run(['network', 'disconnect', '--force', 'bridge', Id]);
      assert.ok(await slave.usage(task));
      await endsByItself(task);
    },
  );
});

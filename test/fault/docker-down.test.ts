// dockerd is killed at each request that Deimos makes of it, before it has heard of it and when it has carried it out, and at
// moments of a start that no request marks; and started again. With and without live restore: without, what ran ends with
// it. No status is made up: a container that ended with its daemon obeys SIGTERM with status 0 here, and that is no success;
// what still runs has not failed; nothing runs twice, and nothing is left. The requests are those of a run without
// faults. Quick: some by lot. DEIMOS_FAULTS=all: every one. What goes on while it is away: integration/docker-down,
// termination, update.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Reason, TaskState } from '../../src/mesos/messages.ts';
import { type DockerDoor, type DockerRequest, openDoor } from '../support/docker-door.ts';
import { containersOf, removeContainers } from '../support/docker-facts.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { ALL_FAULTS, extent, FAULT_FILE_TIMEOUT_MS, FAULT_SEED, tell } from '../support/faults.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES, makeImages } from '../support/images.ts';
import { drawn } from '../support/lot.ts';
import { allPids, argvOf, isAlive, procFile } from '../support/proc.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { Tried } from '../support/tried.ts';
import { until } from '../support/until.ts';

const { RUNNING, STARTING, FINISHED, FAILED, KILLED, LOST } = TaskState;
/** `live restore: an end by itself: before 7`, or a part of that: only those. */
const ONLY = process.env.DEIMOS_FAULT_ONLY;
const SAMPLE = 1;
/** Longer than a launch waits for a daemon that is away. */
const AWAY_MS = 65_000;
/** A bound against hanging: more than Docker takes to end what it finds running, and Deimos to ask again. */
const PATIENCE_MS = 120_000;
const START = 'POST /containers/{}/start';
const WAIT = 'POST /containers/{}/wait';
const LOGS = 'GET /containers/{}/logs';

/** Obeys SIGTERM with status 0. Notes each start. Ends with 3 by itself. */
const VALUE = `trap 'exit 0' TERM; echo s >>/tmp/mesos-sandbox/starts; echo out; ${AT_GATE}; echo last; exit 3`;
const simple = (options: TaskOptions = {}) =>
  commandTask({ image: IMAGES.busybox, value: VALUE, ...options });

const UNSEEN =
  /^deimos: stdout and stderr: what was written [^\n]* may be lost: Docker was away when [^\n]*\n$/;

/** Killed in the very moment of an end, it has not noted what it had taken from the kernel's hands. Behind whoever wanted the end. */
const UNKNOWN =
  /^(Killed by the framework\. )?Docker was restarted about when the container ended, and says 255, as it does of an end that it has not seen$/;

type Moment =
  | { readonly kind: 'before' | 'after'; readonly number: number }
  /** During the first start: when a process of the container is there, or the task's own. */
  | { readonly kind: 'its init' | 'its command' };

const nameOf = (moment: Moment): string =>
  'number' in moment ? `${moment.kind} ${moment.number}` : moment.kind;

interface Stage {
  readonly host: Host;
  readonly slave: StandInSlave;
  /** To be pulled. */
  readonly image: string;
}

interface Scenario {
  readonly name: string;
  /** Until its end is on its way, whatever befalls Docker. */
  readonly play: (stage: Stage) => Promise<LaunchedTask>;
  /** How it ends where Docker does it no harm. */
  readonly unharmed: { readonly state: number; readonly status?: number };
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: 'an end by itself',
    unharmed: { state: FAILED, status: 3 << 8 },
    play: async ({ slave, image }) => {
      const task = await slave.launch(simple({ image }));
      await runsOrIsOver(task);
      openGate(task);
      return task;
    },
  },
  {
    name: 'a kill by its framework',
    unharmed: { state: KILLED },
    play: async ({ slave }) => {
      const task = await slave.launch(simple());
      await runsOrIsOver(task);
      await slave.killTask(task);
      return task;
    },
  },
];

/** Whether the framework has heard that it runs, or that it never will. */
async function runsOrIsOver(task: LaunchedTask): Promise<void> {
  await until(
    'it runs or is over',
    () => task.updates().some(({ state }) => state !== STARTING && state !== TaskState.STAGING),
    { timeoutMs: PATIENCE_MS },
  );
}

describe('dockerd killed at every request', {
  skip: await skipWithoutTools(),
  concurrency: 2,
  timeout: FAULT_FILE_TIMEOUT_MS,
}, () => {
  for (const liveRestore of [true, false]) {
    it(liveRestore ? 'with live restore' : 'without live restore', {
      timeout: FAULT_FILE_TIMEOUT_MS,
    }, async () => {
      const dockerd = await startDockerd({ liveRestore });
      let registry: Registry | undefined;
      try {
        await makeImages(dockerd);
        registry = await startRegistry(dockerd);
        const all: Tried[] = [];
        const own = SCENARIOS.filter((_, n) => (n === 0) === liveRestore);
        for (const scenario of ONLY === undefined ? extent(own, SCENARIOS) : SCENARIOS) {
          const name = `${liveRestore ? 'live restore' : 'no live restore'}: ${scenario.name}`;
          all.push(await everyMoment({ dockerd, registry, liveRestore }, scenario, name));
        }
        // What was asked for by name is of one of them.
        for (const tried of all) if (ONLY === undefined || ONLY.startsWith(tried.name)) tried.checkAll();
      } finally {
        await registry?.stop();
        await dockerd.stop();
      }
    });
  }
});

describe('dockerd away and back', {
  skip: await skipWithoutTools(),
  concurrency: 2,
  timeout: FAULT_FILE_TIMEOUT_MS,
}, () => {
  for (const how of ['stopped by SIGSTOP', 'ended, with live restore'] as const) {
    it(`${how}: every call ends, and all goes on when it is back`, {
      timeout: FAULT_FILE_TIMEOUT_MS,
    }, async () => {
      await using dockerd = await startDockerd({ liveRestore: true });
      await using host = await startHost({ dockerd, configuration: '[containers]\nstop_timeout: 1' });
      await withSupervisorLog(host, async () => {
        const slave = await host.slave({ checkpoint: true });
        const launched = await Promise.all([0, 1, 2].map(async () => await slave.launch(simple())));
        const [ends, destroyed, killed] = launched;
        assert.ok(ends && destroyed && killed);
        for (const task of launched) await task.reached(RUNNING, PATIENCE_MS);
        if (how === 'stopped by SIGSTOP') dockerd.freeze();
        else await dockerd.halt();
        const late = await slave.launch(simple());
        for (const verb of ['recover', 'containers']) assert.equal((await slave.call(verb)).code, 0);
        assert.ok(await slave.usage(killed));
        openGate(ends);
        await slave.killTask(killed);
        // Its container is dead after the grace and 15 s; that Docker has removed it cannot be known.
        const destroying = slave.destroy(destroyed);
        if (ALL_FAULTS) await Promise.all([destroying, sleep(AWAY_MS)]);
        for (const { state } of [ends, killed].flatMap((task) => task.updates()))
          assert.ok(
            [STARTING, RUNNING].some((one) => one === state),
            'no end is told before it is known',
          );
        if (how === 'stopped by SIGSTOP') dockerd.thaw();
        else await dockerd.start();
        await destroying;
        await until('destroy has ended', () =>
          destroyed.calls('destroy').every(({ end }) => end !== undefined),
        );
        const [call] = destroyed.calls('destroy');
        if (call?.end?.code !== 0) assert.match(call?.end?.stderr ?? '', /^deimos destroy: [^\n]+\n$/);
        assert.equal((await ends.ended(PATIENCE_MS)).message, 'Container exited with status 3');
        assert.equal((await ends.gone(PATIENCE_MS))?.status, 3 << 8);
        assert.equal((await killed.ended(PATIENCE_MS)).state, KILLED);
        await killed.gone(PATIENCE_MS);
        openGate(late);
        const last = await late.ended(PATIENCE_MS);
        await late.gone(PATIENCE_MS);
        if (ALL_FAULTS && last.reason === Reason.CONTAINER_LAUNCH_FAILED)
          assert.match(last.message ?? '', /^[^\n]*Docker[^\n]*$/);
        else assert.equal(last.message, 'Container exited with status 3');
        assert.deepEqual(slave.violations, []);
        assert.deepEqual(await host.leftovers(), []);
      });
    });
  }
});

// Its bounds are what takes long.
if (ALL_FAULTS)
  describe('dockerd stopped, and the supervisor dead', { skip: await skipWithoutTools() }, () => {
    for (const when of ['before the supervisor dies', 'when the next one looks for it'])
      it(`destroy called ${when}: what runs is ended all the same`, async () => {
        await using dockerd = await startDockerd({ liveRestore: true });
        await using host = await startHost({ dockerd, configuration: '[containers]\nstop_timeout: 1' });
        await withSupervisorLog(host, async () => {
          const slave = await host.slave({ checkpoint: true });
          const [task, other] = await Promise.all([0, 1].map(async () => await slave.launch(simple())));
          assert.ok(task && other);
          for (const one of [task, other]) await one.reached(RUNNING, PATIENCE_MS);
          const [id = assert.fail()] = await containersOf(dockerd, task);
          assert.ok(livingIn(id).length > 0);
          dockerd.freeze();
          const early = when.startsWith('before');
          if (!early) await host.killSupervisor();
          const destroying = slave.destroy(task);
          if (early) {
            const path = `${host.root}/mesos/${task.containerId}/wanted-end`;
            await until('its end is wanted', () => existsSync(path), { timeoutMs: PATIENCE_MS });
            await host.killSupervisor();
          }
          await until('nothing of it runs', () => livingIn(id).length === 0, { timeoutMs: PATIENCE_MS });
          dockerd.thaw();
          await destroying;
          openGate(other);
          assert.equal((await other.ended(PATIENCE_MS)).message, 'Container exited with status 3');
          await other.gone(PATIENCE_MS);
          await until('all is removed', async () => (await host.leftovers()).length === 0, {
            timeoutMs: PATIENCE_MS,
          });
        });
      });
  });

interface Means {
  readonly dockerd: Dockerd;
  readonly registry: Registry;
  readonly liveRestore: boolean;
}

async function everyMoment(means: Means, scenario: Scenario, name: string): Promise<Tried> {
  // What two runs have in common: beyond that a point is one of the other task's.
  const counts: number[] = [];
  for (let runs = 0; runs < extent(1, 2); runs++)
    counts.push((await runOnce(means, scenario, undefined)).requests);
  const requests = Math.min(...counts);
  const found: readonly Moment[] = [
    ...Array.from({ length: requests }, (_, n) => n + 1).flatMap((number) => [
      { kind: 'before' as const, number },
      { kind: 'after' as const, number },
    ]),
    { kind: 'its init' },
    { kind: 'its command' },
  ];
  const wanted = found.filter((moment) => ONLY === undefined || `${name}: ${nameOf(moment)}`.includes(ONLY));
  const chosen =
    ALL_FAULTS || ONLY !== undefined ? wanted : drawn(wanted, SAMPLE, `${FAULT_SEED} ${name}`, nameOf);
  const tried = new Tried(name);
  tried.addFound(found.length);
  let forgotten = 0;
  for (const moment of chosen) {
    const place = 'number' in moment ? { place: moment.number / requests } : {};
    const point = { name: nameOf(moment), ...place, isSure: ONLY === `${name}: ${nameOf(moment)}` };
    const ran = await tried.attempt(
      point,
      () => runOnce(means, scenario, moment),
      ({ isReached }) => isReached,
    );
    if (ran === undefined) await removeAll(means);
    else if (ran.isForgotten) forgotten++;
  }
  tell(`  dockerd killed, ${tried}, ${forgotten} forgotten starts (seed ${FAULT_SEED})`);
  return tried;
}

/** What a run that failed has left must not make the next one fail. */
async function removeAll({ dockerd }: Means): Promise<void> {
  await dockerd.start();
  await removeContainers(dockerd);
}

interface Ran {
  readonly requests: number;
  readonly isReached: boolean;
  /** Docker had started it and knew nothing of that. */
  readonly isForgotten: boolean;
}

async function runOnce(means: Means, scenario: Scenario, moment: Moment | undefined): Promise<Ran> {
  const { dockerd, registry, liveRestore } = means;
  await using door = await openDoor(dockerd);
  await using host = await startHost({ dockerd, images: false });
  await host.configure('[containers]\nstop_timeout: 1', `host: ${door.host}`);
  return await withSupervisorLog(host, async () => {
    const slave = await host.slave();
    const tag = `down-${Math.random().toString(36).slice(2)}`;
    await dockerd.run(['tag', IMAGES.busybox, `${tag}:test`]);
    const image = await registry.push(`${tag}:test`, tag);
    // Another one, which has nothing to do with the request: it runs all the while.
    const other = await slave.launch(simple());
    await other.reached(RUNNING, PATIENCE_MS);
    // The last that is asked for it while it runs on.
    await until('the place of its output is noted', () => door.requests.some(isOverLogs), {
      timeoutMs: PATIENCE_MS,
    });
    const first = door.requests.length;
    const [otherId = assert.fail()] = await containersOf(dockerd, other);
    const death = deathAt(dockerd, door, { first, moment, otherId });
    const task = await scenario.play({ host, slave, image });
    const last = await task.ended(PATIENCE_MS);
    // What is told to have ended has ended.
    const ids = await until(
      'Docker answers',
      async () => await containersOf(dockerd, task).catch(() => undefined),
      {
        timeoutMs: PATIENCE_MS,
      },
    );
    for (const id of ids) assert.deepEqual(livingIn(id), [], `ended in state ${last.state}, and runs on`);
    const requests = door.requests.length - first;
    door.setRule(undefined);
    await death.over();
    const isForgotten = /has forgotten it/.test(last.message ?? '');
    if (death.isCertain() && moment?.kind === 'its command')
      assert.ok(isForgotten || last.state === KILLED, `${last.state}: ${last.message}`);
    await assertEnd(task, scenario, {
      mayBeHarmed: death.isReached() && (!liveRestore || death.mayForget()),
      isSeen: death.wasTold() || !death.isReached(),
    });
    openGate(other);
    await assertEnd(other, SCENARIOS[0] ?? scenario, {
      mayBeHarmed: death.isReached() && !liveRestore,
      isSeen: true,
    });
    assert.deepEqual(slave.violations, []);
    assert.deepEqual(await host.leftovers(), []);
    for (const id of ids) assert.deepEqual(livingIn(id), [], 'its container is removed, and runs on');
    return { requests, isReached: death.isReached(), isForgotten };
  });
}

interface DeathTerms {
  /** The task's first request. */
  readonly first: number;
  readonly moment: Moment | undefined;
  /** Docker's id of the other task, whose shell starts processes all the while. */
  readonly otherId: string;
}

/** SIGKILL to dockerd at that moment, and its return. */
function deathAt(dockerd: Dockerd, door: DockerDoor, { first, moment, otherId }: DeathTerms) {
  const facts = {
    ...{ reached: '', isStarting: false, isCertain: false, wasTold: false, isOver: false },
    back: Promise.resolve(),
  };
  const die = (route: string): void => {
    if (facts.reached !== '' || facts.isOver) return;
    facts.reached = route;
    // The other task runs on meanwhile.
    facts.isStarting = door.requests.slice(first).some((one) => one.route === START && !one.isOver);
    facts.wasTold = door.requests.slice(first).some((one) => one.route === WAIT && one.isOver);
    facts.back = dockerd.kill().then(async () => await dockerd.start());
  };
  /** dockerd is frozen while runc is at work for it: whatever comes of that, dockerd does not get to note it. */
  const watchStart = async (verb: 'create' | 'start'): Promise<void> => {
    const before = new Set(allPids());
    const runc = await until(
      `runc ${verb}`,
      () => (facts.isOver ? assert.fail('too late') : freshRunc(dockerd, before, verb)),
      { everyMs: 0 },
    );
    dockerd.freeze();
    // It has not answered yet.
    facts.isCertain = isAlive(runc);
    await until(`what runc ${verb} leaves`, () => {
      const [its] = livingBelow(dockerd, before, otherId);
      return its !== undefined && its.includes('runc') === (verb === 'create');
    });
    die(START);
  };
  door.setRule((request, answered) => {
    const at = request.number - first;
    if (moment === undefined || facts.reached !== '') return { kind: 'pass' };
    if ('number' in moment) {
      if (at !== moment.number || answered !== (moment.kind === 'after')) return { kind: 'pass' };
      die(request.route);
      return { kind: answered ? 'lose-answer' : 'refuse' };
    }
    if (request.route === START && !answered)
      void watchStart(moment.kind === 'its init' ? 'create' : 'start').catch(() => dockerd.thaw());
    return { kind: 'pass' };
  });
  return {
    isReached: () => facts.reached !== '',
    /** Whether a start was under way. */
    mayForget: () => facts.reached === START || facts.isStarting,
    /** Whether it cannot know of a start of which there is something. */
    isCertain: () => facts.isCertain && facts.reached !== '',
    /** Whether dockerd had said before that the task had ended. */
    wasTold: () => facts.wasTold,
    /** What has not been reached by now is not. */
    over: async () => {
      facts.isOver = true;
      await facts.back;
    },
  };
}

const isOverLogs = ({ route, isOver }: DockerRequest): boolean => route === LOGS && isOver;

/** Whole; or it is said that Docker may have lost some of it, unless it has seen the end. */
async function assertOutput(task: LaunchedTask, isSeen: boolean, story: string): Promise<void> {
  const [stdout, stderr] = [await sandboxFile(task, 'stdout'), await sandboxFile(task, 'stderr')];
  if (!isSeen && UNSEEN.test(stderr))
    assert.ok(['', 'out\n', 'out\nlast\n'].includes(stdout), `${stdout}: ${story}`);
  else assert.deepEqual([stdout, stderr], ['out\nlast\n', ''], story);
}

/** A runc that works for this dockerd: files that run at the same time have their own. */
function freshRunc({ dataRoot }: Dockerd, before: ReadonlySet<number>, verb: string): number | undefined {
  const itsFiles = `${dirname(dataRoot)}/`;
  return allPids().find((pid) => {
    if (before.has(pid)) return false;
    const argv = argvOf(pid) ?? [];
    return (
      argv[0]?.endsWith('runc') === true &&
      argv.includes(verb) &&
      argv.some((word) => word.startsWith(itsFiles))
    );
  });
}

/** What has begun to run in containers of this dockerd, but that one. */
function livingBelow(
  { cgroupParent }: Dockerd,
  before: ReadonlySet<number>,
  otherId: string,
): readonly string[] {
  return allPids().flatMap((pid) => {
    const cgroup = before.has(pid) ? undefined : procFile(pid, 'cgroup');
    if (!cgroup?.includes(`${cgroupParent}/`) || cgroup.includes(otherId)) return [];
    return argvOf(pid)?.join(' ') ?? [];
  });
}

function livingIn(dockerId: string): readonly string[] {
  return allPids()
    .filter((pid) => procFile(pid, 'cgroup')?.includes(dockerId))
    .map((pid) => `${pid} ${argvOf(pid)?.join(' ')}`);
}

async function assertEnd(
  task: LaunchedTask,
  { unharmed }: Scenario,
  { mayBeHarmed, isSeen }: { readonly mayBeHarmed: boolean; readonly isSeen: boolean },
): Promise<void> {
  const last = await task.ended(PATIENCE_MS);
  const termination = await task.gone(PATIENCE_MS);
  const story = `${JSON.stringify(task.updates().map(({ state, message }) => [state, message]))}, ${JSON.stringify(termination)}`;
  // Nothing contradicts what came before, and there is one end.
  const told = [...new Map(task.updates().map((update) => [update.uuid, update])).values()]
    .map(({ state }) => state)
    .filter((state) => state !== STARTING);
  assert.ok(told.join() === `${RUNNING},${last.state}` || told.join() === `${last.state}`, story);
  assert.notEqual(last.state, FINISHED, story);
  const starts = await sandboxFile(task, 'fs/starts');
  assert.ok(
    starts === 's\n' || (starts === '' && told.length === 1),
    `${starts.length / 2} starts: ${story}`,
  );
  // Docker knows no more of a start that it was killed at than that it cannot start that again.
  const isUnharmed = last.state === unharmed.state && !/Docker|already exists$/.test(last.message ?? '');
  // Nobody knows how it ended; where it was to be ended, that it did is what was wanted.
  const isEnd = last.state === (unharmed.state === KILLED ? KILLED : LOST);
  const isUnknown = !isSeen && isEnd && UNKNOWN.test(last.message ?? '');
  if (!mayBeHarmed) assert.ok(isUnharmed || isUnknown, story);
  if (isUnharmed) {
    if (unharmed.status !== undefined) assert.equal(termination?.status, unharmed.status, story);
    if (unharmed.status !== undefined) await assertOutput(task, isSeen, story);
  } else {
    assert.ok(
      [FAILED, KILLED, LOST].some((state) => state === last.state),
      story,
    );
    assert.match(last.message ?? '', /^[^\n]+$/);
    assert.equal(termination?.message, last.message, story);
    // No status says "well done".
    assert.ok(termination?.status !== 0 || last.state === KILLED, story);
  }
}

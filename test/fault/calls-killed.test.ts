// The slave's calls are killed at each of their steps: whatever they change under the state root and in the sandbox, each
// connection, each thing said to the supervisor, each process that they start. One run for each; what a run without a kill
// showed as steps is what is tried. Afterwards the call comes again, or the slave gives up, or is dead itself. Quick: some
// of the points by lot. DEIMOS_FAULTS=all: every one.

import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { encode } from '../../src/mesos/codec.ts';
import { Wait } from '../../src/mesos/messages.ts';
import { outcomeOf } from '../support/command.ts';
import { containersOf, inspectTask, removeContainers } from '../support/docker-facts.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { ALL_FAULTS, extent, FAULT_FILE_TIMEOUT_MS, FAULT_SEED, tell } from '../support/faults.ts';
import { openGate } from '../support/gated.ts';
import {
  checkNothingLeft,
  endsRightly,
  isRunning,
  isUnderWay,
  LAUNCHED_ALREADY,
  LIMITS_OF_UPDATE,
  limitsRecord,
  PATIENCE_MS,
  simple,
  startedOnce,
  VALUE,
  withNeighbour,
} from '../support/gated-calls.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES, makeImages } from '../support/images.ts';
import { launchRecord } from '../support/installation.ts';
import { drawn } from '../support/lot.ts';
import { makeSlowImage, type Registry, startRegistry } from '../support/registry.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { type Afterwards, type SteppedCalls, stepCalls } from '../support/stepped-calls.ts';
import {
  PROCESSES,
  SOCKETS,
  type Step,
  type StepFault,
  stepsIn,
  stepsProgram,
  underSteps,
} from '../support/steps.ts';
import { commandTask, executorTask } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { Tried } from '../support/tried.ts';
import { until } from '../support/until.ts';

/** An executor of which no `wait` asked: a minute, and what its end takes. */
const FORGOTTEN_MS = 90_000;
const SIGKILLED = 128 + 9;
const ONLY = process.env.DEIMOS_FAULT_ONLY;
const LANES = 2;
/** Some seconds for the pull. */
const PULL_BYTES_PER_S = 1_000_000;
/** Scenarios of the quick part, with one kill each. */
const QUICK = 6;
interface Stage {
  readonly host: Host;
  readonly slave: StandInSlave;
  readonly calls: SteppedCalls;
  /** At which step; undefined: none. */
  readonly at: number | undefined;
}

interface Played {
  readonly steps: readonly Step[];
  /** Whether the call was killed: one that came to its end before the step was not. */
  readonly isKilled: boolean;
}

interface Scenario {
  readonly name: string;
  /** The call only reads: there is no point at which its death could leave anything. */
  readonly onlyReads?: true;
  readonly play: (stage: Stage) => Promise<Played>;
}

interface Means {
  readonly program: string;
  readonly dockerd: Dockerd;
  readonly registry: Registry;
}

const killAt = (at: number | undefined): StepFault | undefined =>
  at === undefined ? undefined : { at, kill: true };

const noContainer = async (host: Host, task: { containerId: string }, timeoutMs = PATIENCE_MS) =>
  await until('no container of it', async () => (await containersOf(host.dockerd, task)).length === 0, {
    timeoutMs,
  });

const playedWith = (calls: SteppedCalls): Played => ({
  steps: calls.steps(),
  isKilled: calls.hasEnded('first') && calls.ended('first').status === SIGKILLED,
});

/** A call that was killed, or came to its end before that step. */
function checkFirst(calls: SteppedCalls, at: number | undefined): void {
  const { status } = calls.ended('first');
  assert.ok(status === 0 || (at !== undefined && status === SIGKILLED), `status ${status}`);
}

type Ending = 'the same again' | 'destroy' | 'nothing more' | 'the slave dies, too';

const AFTERWARDS: Readonly<Record<Ending, Afterwards>> = {
  'the same again': 'again',
  destroy: 'stop',
  'nothing more': 'stop',
  'the slave dies, too': 'kill-slave',
};

interface LaunchTerms {
  readonly kind: 'command' | 'executor';
  /** A supervisor runs, and a task beside. */
  readonly supervised: boolean;
  readonly ending: Ending;
}

function launchIsKilled({ kind, supervised, ending }: LaunchTerms): Scenario {
  const beside = supervised ? 'beside another task' : 'without a supervisor';
  const play = async ({ host, slave, calls, at }: Stage): Promise<Played> => {
    const launchAndEnd = async (): Promise<void> => {
      calls.arm('launch', killAt(at), AFTERWARDS[ending]);
      const terms = { image: IMAGES.busybox, value: VALUE };
      const toRun = kind === 'command' ? commandTask(terms) : executorTask(terms);
      // A slave that has checkpointed it asks for it, one that has not takes it for an orphan.
      const task = await slave.launch(toRun, { checkpoint: supervised });
      await until('launch killed', () => calls.hasEnded('first'), { timeoutMs: PATIENCE_MS });
      if (at === undefined || calls.ended('first').status === 0) {
        checkFirst(calls, at);
        if (ending === 'the slave dies, too') {
          await until('the slave is dead', () => slave.pid === undefined);
          await slave.start();
        }
        await slave.destroy(task);
      } else await launchEnded[ending]({ host, slave, calls, at }, task, kind);
      await noContainer(host, task);
    };
    if (supervised) await withNeighbour(slave, launchAndEnd);
    else await launchAndEnd();
    return playedWith(calls);
  };
  return {
    name: `launch of ${kind === 'command' ? 'a command task' : 'an executor'}, ${beside}, then ${ending}`,
    play,
  };
}

/** Its pull goes on without it, and so does the task. */
function launchIsKilledWhilePulling(registryOf: (dockerd: Dockerd) => Registry): Scenario {
  return {
    name: 'launch of a task whose image is pulled, then the same again',
    play: async ({ host, slave, calls, at }) => {
      const how = { megabytes: 2, bytesPerSecond: PULL_BYTES_PER_S };
      const slow = await makeSlowImage(host.dockerd, registryOf(host.dockerd), `pulled-${at ?? 0}`, how);
      await using _throttle = slow.throttle;
      const { image } = slow;
      calls.arm('launch', killAt(at), 'again');
      const task = await slave.launch(commandTask({ image, value: VALUE }));
      await until('launched', () => calls.hasEnded(at === undefined ? 'first' : 'again'), {
        timeoutMs: PATIENCE_MS,
      });
      checkFirst(calls, at);
      assert.deepEqual(await containersOf(host.dockerd, task), []);
      await endsRightly(task);
      return playedWith(calls);
    },
  };
}

/** What follows a launch that was killed. */
const launchEnded: Readonly<
  Record<Ending, (stage: Stage, task: LaunchedTask, kind: LaunchTerms['kind']) => Promise<void>>
> = {
  'the same again': async ({ calls, slave }, task, kind) => {
    await until('launched again', () => calls.hasEnded('again'), { timeoutMs: PATIENCE_MS });
    const again = calls.ended('again');
    if (again.status === 0) assert.equal(again.stderr, '');
    else {
      assert.equal(again.status, 4);
      assert.match(again.stderr, LAUNCHED_ALREADY);
    }
    if (kind === 'command') await endsRightly(task);
    else {
      await startedOnce(task);
      await slave.destroy(task);
    }
  },
  destroy: async ({ slave, host }, task) => {
    const record = encode(Wait, { container_id: { value: task.containerId } });
    assert.equal((await slave.call('destroy', record)).code, 0);
    // When destroy returns it is gone.
    assert.deepEqual(await containersOf(host.dockerd, task), []);
  },
  'nothing more': async ({ host }, task, kind) => {
    // One that was not accepted has none; one that was is told by the slave that nobody wants it, or is asked for by nobody.
    await until('not under way', async () => host.supervisor() === undefined || !isUnderWay(host, task), {
      timeoutMs: kind === 'executor' ? FORGOTTEN_MS : PATIENCE_MS,
    });
  },
  'the slave dies, too': async ({ host, slave }, task) => {
    await until('the slave is dead', () => slave.pid === undefined);
    await slave.start();
    // It may have us registered before it died: then it knows the task, which runs until its gate is open.
    openGate(task);
    await until('not under way', () => !isUnderWay(host, task), { timeoutMs: FORGOTTEN_MS });
  },
};

const destroyIsKilled: Scenario = {
  name: 'destroy, and called again',
  play: async ({ host, slave, calls, at }) => {
    await withNeighbour(slave, async () => {
      const task = await slave.launch(simple());
      await isRunning(task);
      calls.arm('destroy', killAt(at), 'again');
      await slave.destroy(task);
      checkFirst(calls, at);
      if (at !== undefined)
        assert.deepEqual([calls.ended('again').status, calls.ended('again').stderr], [0, '']);
      assert.deepEqual(await containersOf(host.dockerd, task), []);
    });
    return playedWith(calls);
  },
};

const updateIsKilled: Scenario = {
  name: 'update, and called again',
  play: async ({ host, slave, calls, at }) => {
    const task = await slave.launch(simple(32));
    await isRunning(task);
    calls.arm('update', killAt(at), 'again');
    const record = limitsRecord(task);
    assert.equal((await slave.call('update', record)).code, 0);
    checkFirst(calls, at);
    if (at !== undefined)
      assert.deepEqual([calls.ended('again').status, calls.ended('again').stderr], [0, '']);
    const { Memory, CpuShares } = (await inspectTask(host.dockerd, task)).HostConfig;
    assert.deepEqual([Memory, CpuShares], LIMITS_OF_UPDATE);
    await endsRightly(task);
    return playedWith(calls);
  },
};

function waitIsKilled(supervisorDies: boolean): Scenario {
  return {
    name: `wait${supervisorDies ? ', whose supervisor is killed' : ''}, and called again`,
    play: async ({ host, slave, calls, at }) => {
      calls.arm('wait', killAt(at), 'again');
      const task = await slave.launch(simple());
      await isRunning(task);
      if (supervisorDies) await host.killSupervisor();
      await endsRightly(task);
      checkFirst(calls, at);
      const first = calls.ended('first');
      if (at !== undefined && calls.hasEnded('again')) {
        const again = calls.ended('again');
        assert.deepEqual([again.status, again.stderr], [0, '']);
        if (first.stdout.length > 0) assert.deepEqual(again.stdout, first.stdout);
      }
      return playedWith(calls);
    },
  };
}

function recoverIsKilled(supervisorDies: boolean): Scenario {
  return {
    name: `recover${supervisorDies ? ' without a supervisor' : ''}, and called again`,
    play: async ({ host, slave, calls, at }) => {
      const task = await slave.launch(simple(), { checkpoint: true });
      await isRunning(task);
      await until('acknowledged', () => slave.acknowledged.length > 0);
      calls.arm('recover', killAt(at), 'again');
      await slave.kill();
      if (supervisorDies && host.supervisor() !== undefined) await host.killSupervisor();
      await slave.start();
      checkFirst(calls, at);
      if (at !== undefined)
        assert.deepEqual([calls.ended('again').status, calls.ended('again').stderr], [0, '']);
      await slave.reregistered(task, PATIENCE_MS);
      await endsRightly(task);
      return playedWith(calls);
    },
  };
}

const containersOnlyReads: Scenario = {
  name: 'containers, which only reads',
  onlyReads: true,
  play: async ({ slave, calls, at }) => {
    const task = await slave.launch(simple(), { checkpoint: true });
    await isRunning(task);
    await until('acknowledged', () => slave.acknowledged.length > 0);
    calls.arm('containers', killAt(at), 'again');
    await slave.restart();
    checkFirst(calls, at);
    await slave.reregistered(task, PATIENCE_MS);
    await endsRightly(task);
    return playedWith(calls);
  },
};

/** Called by a person: no record, no slave. */
function stateIsKilled(program: string): Scenario {
  return {
    name: 'state --rm, and called again',
    play: async ({ host, slave, at }) => {
      const tasks = [await slave.launch(simple()), await slave.launch(simple())];
      const neighbour = await slave.launch(simple());
      for (const task of [...tasks, neighbour]) await isRunning(task);
      for (const task of tasks) await endsRightly(task);
      await until('removed', () => tasks.every((task) => !isUnderWay(host, task)));
      const log = host.directory.at('steps');
      const fault = at === undefined ? {} : { fault: { at, kill: true } as const };
      const argv = [host.binary, '--config', host.configFile, 'state', '--rm'] as const;
      const killed = await outcomeOf(
        underSteps(program, { under: [host.root, SOCKETS, PROCESSES], log, ...fault }, argv),
      );
      assert.ok(killed.code === 0 || killed.code === SIGKILLED);
      const { code, stderr } = await host.deimos(['state', '--rm']);
      assert.deepEqual([code, stderr], [0, '']);
      assert.deepEqual(readdirSync(`${host.root}/mesos`), [neighbour.containerId]);
      assert.equal(readdirSync(`${host.root}/start-time`).length, 1);
      assert.equal(readdirSync(`${host.root}/docker`).length, 1);
      await endsRightly(neighbour);
      return { steps: stepsIn(log), isKilled: killed.code === SIGKILLED };
    },
  };
}

/** A person's launch: the task goes on without it, and the same again says so or does it. */
function foregroundIsKilled(program: string): Scenario {
  return {
    name: 'launch --no-fork, and called again',
    play: async ({ host, at }) => {
      const record = await launchRecord(simple(), host.directory.at('sandboxes'));
      openGate(record);
      const log = host.directory.at('steps');
      const argv = [host.binary, '--config', host.configFile, 'launch', '--no-fork'] as const;
      const fault = at === undefined ? {} : { fault: { at, kill: true } as const };
      const first = await outcomeOf(
        underSteps(program, { under: [host.root, SOCKETS, PROCESSES], log, ...fault }, argv),
        { input: record.stdin },
      );
      assert.ok(first.code === 3 || (at !== undefined && first.code === SIGKILLED), `status ${first.code}`);
      const again = await outcomeOf(argv, { input: record.stdin });
      if (again.code !== 3) {
        assert.equal(again.code, 4);
        assert.match(again.stderr, LAUNCHED_ALREADY);
      }
      const exit = `${host.root}/mesos/${record.containerId}/exit`;
      await until('ended', () => existsSync(exit), { timeoutMs: PATIENCE_MS });
      assert.equal(await sandboxFile(record, 'fs/starts'), 's\n');
      assert.equal(await sandboxFile(record, 'stdout'), 'out\nlast\n');
      // Whoever wants to know how it ended asks.
      const asked = await host.deimos(['wait'], waitRecord(record));
      assert.equal(asked.code, 0);
      await host.deimos(['destroy'], waitRecord(record));
      return { steps: stepsIn(log), isKilled: first.code === SIGKILLED };
    },
  };
}

function waitRecord({ containerId }: { readonly containerId: string }): Buffer {
  const bytes = encode(Wait, { container_id: { value: containerId } });
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.byteLength);
  return Buffer.concat([length, bytes]);
}

async function runOnce(
  { program, dockerd }: Means,
  scenario: Scenario,
  at: number | undefined,
): Promise<Played> {
  await using host = await startHost({ dockerd, images: false });
  await using _clean = { [Symbol.asyncDispose]: async () => await removeContainers(dockerd) };
  return await withSupervisorLog(host, async () => {
    const calls = stepCalls(host, program, [
      ...[host.root, host.directory.at('work-1', 'slaves'), SOCKETS, PROCESSES],
    ]);
    const slave = await host.slave({ containerizer: calls.containerizer });
    const played = await scenario.play({ host, slave, calls, at });
    // It may have us registered though its word of that died with it: then its wait is the first to tell of the end.
    const isOfDead = (text: string): boolean =>
      scenario.name.endsWith('the slave dies, too') &&
      /answered without a terminal update of \S+, which runs \(reconnecting\)$/.test(text);
    assert.deepEqual(
      slave.violations.filter((text) => !isOfDead(text)),
      [],
    );
    await checkNothingLeft(host, slave);
    return played;
  });
}

describe('a call, at every step', {
  skip: await skipWithoutTools(),
  timeout: FAULT_FILE_TIMEOUT_MS,
}, async () => {
  const program = await stepsProgram();
  const lanes: Means[] = [];
  const report: Tried[] = [];
  before(async () => {
    for (let n = 0; n < extent(1, LANES); n++) {
      const dockerd = await startDockerd();
      await makeImages(dockerd);
      lanes.push({ program, dockerd, registry: await startRegistry(dockerd) });
    }
  });
  after(async () => {
    for (const { dockerd, registry } of lanes) {
      await registry[Symbol.asyncDispose]();
      await dockerd.stop();
    }
    tell(`calls killed at every step (reached: ended by that SIGKILL), seed ${FAULT_SEED}:`);
    for (const tried of report) tell(`  ${tried}`);
  });

  const registryOf = (dockerd: Dockerd): Registry =>
    lanes.find((lane) => lane.dockerd === dockerd)?.registry ?? assert.fail();
  const launches: readonly LaunchTerms[] = (
    ['the same again', 'destroy', 'nothing more', 'the slave dies, too'] as const
  ).flatMap((ending): LaunchTerms[] => [
    { kind: 'command', supervised: false, ending },
    { kind: 'command', supervised: true, ending },
    { kind: 'executor', supervised: false, ending },
  ]);
  const scenarios = [
    ...launches.map(launchIsKilled),
    ...[destroyIsKilled, updateIsKilled, waitIsKilled(false), waitIsKilled(true)],
    ...[recoverIsKilled(false), recoverIsKilled(true), containersOnlyReads],
    ...[stateIsKilled(program), foregroundIsKilled(program)],
    launchIsKilledWhilePulling(registryOf),
  ];
  const chosen =
    ALL_FAULTS || ONLY !== undefined ? scenarios : drawn(scenarios, QUICK, FAULT_SEED, ({ name }) => name);
  for (const scenario of chosen) {
    const { name } = scenario;
    if (ONLY !== undefined && !ONLY.startsWith(name)) continue;
    it(name, { timeout: FAULT_FILE_TIMEOUT_MS }, async () => {
      const [lane] = lanes;
      assert.ok(lane);
      const tried = new Tried(name);
      report.push(tried);
      const quiet = await tried.look('nothing', () => runOnce(lane, scenario, undefined));
      const found = quiet?.steps.map(({ number }) => number) ?? [];
      tried.addFound(found.length);
      if (scenario.onlyReads) {
        assert.deepEqual(quiet?.steps, []);
        assert.equal(quiet.isKilled, false);
        return;
      }
      const label = (at: number): string => `kill@step ${at}`;
      const isNamed = ONLY?.includes(': kill@') ?? false;
      const wanted = found.filter((at) => !isNamed || ONLY === `${name}: ${label(at)}`);
      const isAll = ALL_FAULTS || ONLY !== undefined;
      const rest = [...(isAll ? wanted : drawn(wanted, 1, `${FAULT_SEED} ${name}`, String))];
      await Promise.all(
        lanes.map(async (own) => {
          for (let at = rest.shift(); at !== undefined; at = rest.shift()) {
            const step = at;
            await tried.attempt(
              { name: label(step), place: step / found.length, isSure: isNamed },
              () => runOnce(own, scenario, step),
              ({ isKilled }) => isKilled,
            );
          }
        }),
      );
      tried.checkAll();
    });
  }
});

// The disk refuses the slave's calls what they write, from one of their writes on and for a while: full, or read-only. One
// run for each write that a run without a fault showed. A call does its work, or says in one line why not; a task beside it is
// unharmed; and the same call again does what the first could not. Quick: some of the writes by lot. DEIMOS_FAULTS=all:
// every one. What the disk refuses the supervisor is in crash-points.test.ts; a disk that is really full in disk.test.ts.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { containersOf, inspectTask, removeContainers } from '../support/docker-facts.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { ALL_FAULTS, FAULT_FILE_TIMEOUT_MS, FAULT_SEED, tell } from '../support/faults.ts';
import {
  checkNothingLeft,
  endsRightly,
  isRunning,
  LAUNCHED_ALREADY,
  LIMITS_OF_UPDATE,
  limitsRecord,
  PATIENCE_MS,
  simple,
  withNeighbour,
} from '../support/gated-calls.ts';
import { type Host, startHost } from '../support/host.ts';
import { makeImages } from '../support/images.ts';
import { drawn } from '../support/lot.ts';
import type { StandInSlave } from '../support/slave.ts';
import { type SteppedCalls, stepCalls } from '../support/stepped-calls.ts';
import { ENOSPC, EROFS, type Step, type StepFault, stepsProgram } from '../support/steps.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { Tried } from '../support/tried.ts';
import { until } from '../support/until.ts';

/** `update: no space@step 2`: only that one; `update`: only those of that call. */
const [ONLY_CALL, ONLY_POINT] = process.env.DEIMOS_FAULT_ONLY?.split(': ') ?? [];
/** In the quick form: so many calls, and so many writes of each. */
const SAMPLE = { calls: 4, writes: 1 };
/** Longer than any call takes that does not wait for the disk. */
const REFUSED_MS = 1_500;
const REASON = '(no space left on device|read-only file system)';

interface Stage {
  readonly host: Host;
  readonly slave: StandInSlave;
  readonly calls: SteppedCalls;
  readonly fault: StepFault | undefined;
}

interface Scenario {
  readonly name: string;
  /** Then there is no point, which is what is held against it. */
  readonly writesNothing?: true;
  /** Nothing has been there before: no root, no supervisor, no other task. */
  readonly isFirst?: true;
  readonly play: (stage: Stage) => Promise<void>;
}

/** The status of the first call: 4 with one line that names the reason, where it may be so. */
function checkFirst(calls: SteppedCalls, verb: string, mayFail: boolean): number {
  const { status, stderr } = calls.ended('first');
  assert.ok(status === 0 || (mayFail && status === 4), `status ${status}: ${stderr}`);
  assert.match(stderr, status === 0 ? /^$/ : new RegExp(`^deimos ${verb}: [^\n]*${REASON}[^\n]*\n$`));
  return status;
}

/** Where a fault was armed, the same call came again and could do its work. */
function checkAgain({ calls, fault }: Stage): void {
  if (fault === undefined) return;
  const { status, stderr } = calls.ended('again');
  assert.deepEqual([status, stderr], [0, '']);
}

async function ended({ calls, fault }: Stage): Promise<void> {
  const last = fault === undefined ? 'first' : 'again';
  await until('the calls have ended', () => calls.hasEnded(last), { timeoutMs: PATIENCE_MS });
}

const launchAgain: Scenario = {
  name: 'launch, and again',
  play: async (stage) => {
    const { slave, calls, fault } = stage;
    calls.arm('launch', fault, 'again');
    const task = await slave.launch(simple());
    await ended(stage);
    const status = checkFirst(calls, 'launch', fault !== undefined);
    if (status === 0 && fault !== undefined) {
      assert.equal(calls.ended('again').status, 4);
      assert.match(calls.ended('again').stderr, LAUNCHED_ALREADY);
    } else checkAgain(stage);
    await endsRightly(task);
  },
};

const launchGivenUp: Scenario = {
  name: 'launch, and given up',
  play: async ({ host, slave, calls, fault }) => {
    calls.arm('launch', fault, 'stop');
    const task = await slave.launch(simple());
    await until('launch has ended', () => calls.hasEnded('first'), { timeoutMs: PATIENCE_MS });
    if (checkFirst(calls, 'launch', fault !== undefined) === 0) await endsRightly(task);
    else {
      const states = (): readonly number[] => task.updates().map(({ state }) => state);
      await until('the framework is told', () => states().length > 0);
      assert.ok(
        states().every((state) => state === TaskState.FAILED || state === TaskState.LOST),
        `${states()}`,
      );
      assert.ok(!existsSync(`${host.root}/mesos/${task.containerId}/accepted`));
      assert.deepEqual(await containersOf(host.dockerd, task), []);
    }
  },
};

const update: Scenario = {
  name: 'update',
  play: async (stage) => {
    const { host, slave, calls, fault } = stage;
    const task = await slave.launch(simple(32));
    await isRunning(task);
    calls.arm('update', fault, 'again');
    assert.equal((await slave.call('update', limitsRecord(task))).code, 0);
    checkFirst(calls, 'update', false);
    checkAgain(stage);
    const { Memory, CpuShares } = (await inspectTask(host.dockerd, task)).HostConfig;
    assert.deepEqual([Memory, CpuShares], LIMITS_OF_UPDATE);
    await endsRightly(task);
  },
};

const destroy: Scenario = {
  name: 'destroy',
  play: async (stage) => {
    const { host, slave, calls, fault } = stage;
    const task = await slave.launch(simple());
    await isRunning(task);
    calls.arm('destroy', fault, 'again');
    await slave.destroy(task);
    // Whatever could not be noted, the container is gone: that is what it was asked for.
    checkFirst(calls, 'destroy', false);
    checkAgain(stage);
    assert.deepEqual(await containersOf(host.dockerd, task), []);
  },
};

const wait: Scenario = {
  name: 'wait',
  play: async (stage) => {
    const { slave, calls, fault } = stage;
    calls.arm('wait', fault, 'again');
    const task = await slave.launch(simple());
    await isRunning(task);
    await endsRightly(task);
    // The slave has been told by the second one, which asks for the same end.
    checkFirst(calls, 'wait', false);
    checkAgain(stage);
    if (fault !== undefined) assert.deepEqual(calls.ended('again').stdout, calls.ended('first').stdout);
  },
};

const recover: Scenario = {
  name: 'recover',
  play: async (stage) => {
    const { slave, calls, fault, host } = stage;
    const task = await slave.launch(simple(), { checkpoint: true });
    await isRunning(task);
    await until('acknowledged', () => slave.acknowledged.length > 1);
    calls.arm('recover', fault, 'again');
    await slave.kill();
    if (host.supervisor() !== undefined) await host.killSupervisor();
    await slave.start();
    checkFirst(calls, 'recover', false);
    checkAgain(stage);
    await slave.reregistered(task, PATIENCE_MS);
    await endsRightly(task);
  },
};

const readsOnly = (verb: 'usage' | 'containers'): Scenario => ({
  name: verb,
  writesNothing: true,
  play: async ({ slave, calls, fault }) => {
    const task = await slave.launch(simple());
    await isRunning(task);
    calls.arm(verb, fault, 'stop');
    if (verb === 'usage') assert.ok(await slave.usage(task));
    else assert.equal((await slave.call(verb)).code, 0);
    await until(`${verb} has ended`, () => calls.hasEnded('first'));
    checkFirst(calls, verb, false);
    await endsRightly(task);
  },
});

const SCENARIOS: readonly Scenario[] = [
  { ...launchAgain, name: 'the first launch, and again', isFirst: true },
  ...[launchAgain, launchGivenUp, update, destroy, wait, recover],
  ...[readsOnly('usage'), readsOnly('containers')],
];

/** What the disk can refuse. */
const isWrite = ({ call }: Step): boolean => call !== 'connect';

describe('a call whose writes the disk refuses', {
  skip: await skipWithoutTools(),
  timeout: FAULT_FILE_TIMEOUT_MS,
}, async () => {
  const program = await stepsProgram();
  let dockerd: Dockerd;
  const report: Tried[] = [];
  before(async () => {
    dockerd = await startDockerd();
    await makeImages(dockerd);
  });
  after(async () => {
    await dockerd.stop();
    tell(`calls whose writes are refused, seed ${FAULT_SEED}:`);
    for (const tried of report) tell(`  ${tried}`);
  });

  const runOnce = async (scenario: Scenario, fault?: StepFault): Promise<readonly Step[]> => {
    await using host = await startHost({ dockerd, images: false });
    await using _clean = { [Symbol.asyncDispose]: async () => await removeContainers(dockerd) };
    return await withSupervisorLog(host, async () => {
      const calls = stepCalls(host, program, [host.root, host.directory.at('work-1', 'slaves')]);
      const slave = await host.slave({ containerizer: calls.containerizer });
      const play = async (): Promise<void> => await scenario.play({ host, slave, calls, fault });
      if (scenario.isFirst) await play();
      else await withNeighbour(slave, play);
      assert.deepEqual(slave.violations, []);
      await checkNothingLeft(host, slave);
      return calls.steps();
    });
  };

  const isAll = ALL_FAULTS || ONLY_CALL !== undefined;
  const count = isAll ? SCENARIOS.length : SAMPLE.calls;
  for (const scenario of drawn(SCENARIOS, count, FAULT_SEED, ({ name }) => name)) {
    const { name } = scenario;
    if (name !== (ONLY_CALL ?? name)) continue;
    it(name, { timeout: FAULT_FILE_TIMEOUT_MS }, async () => {
      const tried = new Tried(name);
      const steps = (await runOnce(scenario)).filter(isWrite);
      if (scenario.writesNothing) {
        assert.deepEqual(steps, []);
        return;
      }
      report.push(tried);
      const points = [ENOSPC, EROFS].flatMap((errno) =>
        steps.map(({ number }, n) => ({
          name: `${errno === ENOSPC ? 'no space' : 'read-only'}@step ${number}`,
          fault: { at: number, errno, forMs: REFUSED_MS },
          place: (n + 1) / steps.length,
        })),
      );
      tried.addFound(points.length);
      const wanted = points.filter((point) => point.name === (ONLY_POINT ?? point.name));
      const some = ALL_FAULTS || ONLY_POINT !== undefined ? wanted.length : SAMPLE.writes;
      for (const point of drawn(wanted, some, `${FAULT_SEED} ${name}`, (one) => one.name))
        await tried.attempt(
          { name: point.name, place: point.place, isSure: ONLY_POINT !== undefined },
          () => runOnce(scenario, point.fault),
          (ran) => ran.some(({ number }) => number >= point.fault.at),
        );
      tried.checkAll();
    });
  }
});

// What is played while a process is killed, or refused something, at one of its steps: the lives that a task can have.

import assert from 'node:assert/strict';
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { TaskState } from '../../src/mesos/messages.ts';
import { EndedEarly, type Outcome, type Scenario, type Stage } from './crash-run.ts';
import { AT_GATE, openGate } from './gated.ts';
import { sandboxFile } from './host.ts';
import { IMAGES } from './images.ts';
import type { FinishedCall, LaunchedTask, StandInSlave } from './slave.ts';
import { commandTask, executorTask, type TaskOptions } from './tasks.ts';
import { until } from './until.ts';
import { Web } from './web.ts';

const { FINISHED, RUNNING, FAILED, KILLED, LOST } = TaskState;
/** Longer than Deimos asks again after whatever fault. */
const PATIENCE_MS = 60_000;
const KILL_AGAIN_MS = 2_000;

/** Notes each start in its work directory, says something on both streams, waits, says more, ends with 3. */
const VALUE = `echo s >>/tmp/mesos-sandbox/starts; echo out; echo err >&2; ${AT_GATE}; echo last; echo worst >&2; exit 3`;
const BY_ITSELF = {
  states: [[RUNNING, FAILED]],
  termination: { state: FAILED, status: 3 << 8 },
  stdout: 'out\nlast\n',
  stderr: 'err\nworst\n',
};
const BY_FORCE = { termination: { state: KILLED, status: 137 << 8 }, stdout: 'out\n', stderr: 'err\n' };

const simple = (options: TaskOptions = {}) =>
  commandTask({ image: IMAGES.busybox, value: VALUE, ...options });

const isOver = (task: LaunchedTask): boolean =>
  task.updates().some(({ state }) => [FINISHED, FAILED, KILLED, LOST].some((end) => end === state));

/** As a framework does it: a slave sends a kill once, and nobody may listen just then. */
async function killUntilEnded(slave: StandInSlave, task: LaunchedTask): Promise<void> {
  const asked = { at: 0 };
  const probe = async (): Promise<boolean> => {
    if (Date.now() - asked.at > KILL_AGAIN_MS) {
      asked.at = Date.now();
      await slave.killTask(task);
    }
    return isOver(task);
  };
  await until('killed', probe, { timeoutMs: PATIENCE_MS });
}

/** Waits for what comes while the task runs; that it has ended instead is known at once. */
async function before(
  task: LaunchedTask,
  what: string,
  probe: () => boolean | Promise<boolean>,
): Promise<void> {
  const come = async (): Promise<'come' | 'over' | undefined> => {
    const wasOver = isOver(task);
    return (await probe()) ? 'come' : wasOver ? 'over' : undefined;
  };
  if ((await until(what, come, { timeoutMs: PATIENCE_MS })) === 'over') throw new EndedEarly(task);
}

async function startedOnce(task: LaunchedTask): Promise<void> {
  await before(task, 'started', async () => (await sandboxFile(task, 'fs/starts')) !== '');
  assert.equal(await sandboxFile(task, 'fs/starts'), 's\n');
}

/** Its framework sees it run, and its first words are in the sandbox. */
async function isRunning(task: LaunchedTask): Promise<void> {
  await before(task, 'running', () => task.updates().some(({ state }) => state === RUNNING));
  await startedOnce(task);
  await before(task, 'output', async () => (await sandboxFile(task, 'stderr')) === 'err\n');
}

async function ends(task: LaunchedTask): Promise<Outcome> {
  openGate(task);
  await task.ended(PATIENCE_MS);
  await startedOnce(task);
  return { task, ...BY_ITSELF };
}

const endsByItself: Scenario = {
  name: 'a task ends by itself',
  watched: 'from the start',
  play: async ({ slave }) => {
    const task = await slave.launch(simple());
    await isRunning(task);
    return await ends(task);
  },
};

const killedByFramework: Scenario = {
  name: 'a task is killed by its framework',
  watched: 'from the start',
  play: async ({ slave }) => {
    const task = await slave.launch(simple({ killGraceMs: 200 }));
    await isRunning(task);
    await killUntilEnded(slave, task);
    return { task, states: [[RUNNING, KILLED]], ...BY_FORCE };
  },
};

const destroyed: Scenario = {
  name: 'a task is destroyed',
  watched: 'from the start',
  play: async ({ slave }) => {
    const task = await slave.launch(simple());
    await isRunning(task);
    await slave.destroy(task);
    return {
      task,
      ...BY_FORCE,
      states: [
        [RUNNING, KILLED],
        [RUNNING, FAILED],
        [RUNNING, LOST],
      ],
      termination: 'any',
    };
  },
};

const withUrisAndHooks: Scenario = {
  name: 'a task brings URIs, and hooks run for it',
  watched: 'from the start',
  configuration: (at) => {
    writeFileSync(at('hook'), `#!/bin/sh\necho "$1" >>${at('hooks-ran')}\n`);
    chmodSync(at('hook'), 0o755);
    return `[hooks]\nonlaunch: ["${at('hook')}", "onlaunch"]\nondestroy: ["${at('hook')}", "ondestroy"]`;
  },
  play: async ({ slave, at }) => {
    const web = new Web();
    await web.start();
    try {
      const uris = [
        { value: web.page('/one', 'one') },
        { value: web.page('/two.sh', 'two'), executable: true },
      ];
      const task = await slave.launch(simple({ uris }));
      await isRunning(task);
      assert.equal(await sandboxFile(task, 'fs/one'), 'one');
      assert.equal(await sandboxFile(task, 'fs/two.sh'), 'two');
      const outcome = await ends(task);
      await task.gone(PATIENCE_MS);
      // At most once each, whatever dies.
      const ran = existsSync(at('hooks-ran')) ? readFileSync(at('hooks-ran'), 'utf8') : '';
      assert.match(ran, /^(onlaunch\n)?(ondestroy\n)?$/);
      return outcome;
    } finally {
      web.close();
    }
  },
};

const pulled: Scenario = {
  name: 'a task’s image is pulled',
  watched: 'from the start',
  play: async ({ slave, host, registry }) => {
    const tag = `pulled-${Date.now()}`;
    await host.dockerd.run(['tag', IMAGES.busybox, `${tag}:test`]);
    const image = await registry.push(`${tag}:test`, tag);
    const task = await slave.launch(simple({ image }));
    await isRunning(task);
    return await ends(task);
  },
};

const checkedForHealth: Scenario = {
  name: 'a task’s health fails',
  watched: 'from the start',
  play: async ({ slave }) => {
    const healthCheck = {
      ...{ delay_seconds: 0, interval_seconds: 0.2, grace_period_seconds: 0, consecutive_failures: 2 },
      command: { value: '[ ! -e /tmp/mesos-sandbox/ill ]' },
    };
    const task = await slave.launch(simple({ healthCheck, killGraceMs: 200 }));
    await isRunning(task);
    writeFileSync(`${task.sandbox}/fs/ill`, '');
    await task.ended(PATIENCE_MS);
    return {
      task,
      states: [[RUNNING, KILLED]],
      health: /^(passed )?failed failed $/,
      ...BY_FORCE,
    };
  },
};

const executor: Scenario = {
  name: 'an executor of a framework’s own ends',
  watched: 'from the start',
  play: async ({ slave, letWaitsGo }) => {
    const task = await slave.launch(executorTask({ image: IMAGES.busybox, value: VALUE }));
    await startedOnce(task);
    letWaitsGo();
    openGate(task);
    await task.gone(PATIENCE_MS);
    return {
      task,
      ...BY_ITSELF,
      states: [[FAILED], [LOST]],
      termination: { state: undefined, status: 3 << 8 },
    };
  },
};

const takenUp: Scenario = {
  name: 'a supervisor takes up a running task',
  watched: 'later',
  play: async (stage) => {
    stage.holdWaits();
    const task = await stage.slave.launch(simple());
    await isRunning(task);
    await stage.watch();
    // How much is done for one that ends meanwhile is chance.
    await stage.follows();
    return await ends(task);
  },
};

const foundEnded: Scenario = {
  name: 'a supervisor finds a task ended',
  watched: 'later',
  play: async (stage) => {
    stage.holdWaits();
    const task = await stage.slave.launch(simple());
    await isRunning(task);
    await stage.host.killSupervisor();
    openGate(task);
    await until('ended', async () => (await stage.host.dockerd.run(['ps', '-q'])) === '');
    await stage.watch();
    await task.ended(PATIENCE_MS);
    return { task, ...BY_ITSELF };
  },
};

const slaveRestarted: Scenario = {
  name: 'a slave comes back',
  watched: 'from the start',
  play: async ({ slave }: Stage) => {
    const task = await slave.launch(simple(), { checkpoint: true });
    await isRunning(task);
    await until('acknowledged', () => slave.acknowledged.length > 0);
    await slave.restart();
    await slave.reregistered(task, PATIENCE_MS);
    return await ends(task);
  },
};

/** Nobody sleeps that would start the next supervisor: the call that comes does. */
const withoutWait: Scenario = {
  name: 'a task’s wait is called when the supervisor has died',
  watched: 'from the start',
  whenKilled: async ({ letWaitsGo }) => letWaitsGo(),
  play: async ({ slave, holdWaits }) => {
    holdWaits();
    const task = await slave.launch(simple());
    await isRunning(task);
    return await ends(task);
  },
};

/** `die` comes as soon as `launch` has returned: that one may be killed is another matter. */
function withSlave(name: string, die: (slave: StandInSlave) => Promise<void>): Scenario {
  const registered = new WeakSet<StandInSlave>();
  return {
    name,
    watched: 'from the start',
    whenKilled: async ({ host, slave }) => {
      const isEnded = ({ verb, end }: FinishedCall): boolean => verb === 'launch' && end !== undefined;
      await until('launch has returned', () => slave.calls.some(isEnded), { timeoutMs: PATIENCE_MS });
      // By then: whatever comes after that, the slave knows it, and the next supervisor, too.
      const states = readdirSync(`${host.root}/mesos`);
      if (states.some((id) => existsSync(`${host.root}/mesos/${id}/registered`))) registered.add(slave);
      await die(slave);
      await slave.start();
    },
    play: async ({ slave }) => {
      const task = await slave.launch(simple(), { checkpoint: true });
      try {
        await isRunning(task);
        return await ends(task);
      } catch (error) {
        // What is not registered ends with the slave. FAILED: it destroys that when it is back; KILLED: it does, and hears of
        // it from us first; LOST: we see it go, and stop it before.
        if (!(error instanceof EndedEarly) || registered.has(slave)) throw error;
        // It may have us registered though its word of that died with it: then its wait is the first to tell of the end.
        const complaint = /answered without a terminal update of \S+, which runs \(reconnecting\)$/;
        return {
          task,
          states: [[FAILED], [LOST], [KILLED]],
          termination: 'any',
          stdout: '',
          stderr: '',
          complaint,
        };
      }
    },
  };
}

const slaveToo = withSlave('the slave dies with the supervisor', async (slave) => await slave.kill());
const callsToo = withSlave(
  'the slave and its calls die with the supervisor',
  async (slave) => await slave.stop(),
);

export const SCENARIOS: readonly Scenario[] = [
  endsByItself,
  killedByFramework,
  destroyed,
  withUrisAndHooks,
  pulled,
  checkedForHealth,
  executor,
  takenUp,
  foundEnded,
  slaveRestarted,
  withoutWait,
  slaveToo,
  callsToo,
];

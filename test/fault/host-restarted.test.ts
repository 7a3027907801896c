// The host is restarted while tasks are at every point of their lives: every process dies at once, Docker's included, and the
// next boot has another id. The state root is kept. What ran, or had not started yet, is lost, in words; what had ended has
// its end; and no pid of the old boot is believed, though other processes have such pids now.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import type { Argv } from '../support/command.ts';
import { containersOf } from '../support/docker-facts.ts';
import { ALL_FAULTS, FAULT_FILE_TIMEOUT_MS, tell } from '../support/faults.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { isAlive, killAll, signalPid, statOf } from '../support/proc.ts';
import { makeSlowImage, startRegistry } from '../support/registry.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, executorTask } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { wrap } from '../support/wrapped.ts';

const { FINISHED, LOST } = TaskState;
const PATIENCE_MS = 60_000;
const BOOT_ID = '/proc/sys/kernel/random/boot_id';
const NEXT_BOOT = '00000000-0000-4000-8000-000000000001';
const VALUE = `echo s >>/tmp/mesos-sandbox/starts; echo ready; ${AT_GATE}`;
const NOT_STARTED = /^The host was restarted before the container had started$/;
const WITH_HOST = /^Ended with the host, which was restarted; the container exited with status \d+$/;

/** The tasks of the old boot. */
interface Before {
  readonly running: LaunchedTask;
  readonly executor: LaunchedTask;
  readonly pulling: LaunchedTask;
  readonly created: LaunchedTask;
  readonly ended: LaunchedTask;
}

interface Boot {
  readonly host: Host;
  readonly slave: StandInSlave;
  readonly before: Before;
  /** Goes down and comes up again: what the slave starts from then on is of the next boot. */
  readonly restart: () => Promise<void>;
  /** Has the pid and the start time that the old boot's processes had by their notes. */
  readonly bystander: ChildProcess;
}

const started = async (task: LaunchedTask): Promise<boolean> =>
  await until('ready', async () => (await sandboxFile(task, 'stdout')) === 'ready\n', {
    timeoutMs: PATIENCE_MS,
  });

/** A namespace of mounts in which the boot's id is another. */
function inNextBoot(file: string, argv: Argv): Argv {
  const script = 'mount --bind "$0" "$1" && shift && exec "$@"';
  return ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, file, BOOT_ID, ...argv];
}

/** All at once, as it is when the power goes: the daemon first, so that it notes no end. */
async function powerOff(host: Host, slave: StandInSlave): Promise<void> {
  const { dockerd } = host;
  const ids = (await dockerd.run(['ps', '-q'])).split('\n').filter(Boolean);
  const inits: number[] = [];
  for (const id of ids) inits.push(Number(await dockerd.run(['inspect', '-f', '{{.State.Pid}}', id])));
  const shims = inits.map((pid) => statOf(pid)?.parent ?? assert.fail());
  const supervisor = host.supervisor() ?? assert.fail();
  signalPid(supervisor, 'SIGSTOP');
  // For its next life.
  await slave.setAcks('send');
  slave.signal('SIGSTOP');
  await dockerd.kill();
  // Before the supervisor: a wait that wakes would start another one.
  await slave.stop();
  await killAll([supervisor, ...shims, ...inits]);
}

/** The notes of processes name the bystander now, in the boot in which they were made. */
function givePidsTo(bystander: ChildProcess, host: Host): number {
  const pid = bystander.pid ?? assert.fail();
  const startTime = statOf(pid)?.startTicks ?? assert.fail();
  const notes = readdirSync(host.root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`)
    .flatMap((path) => {
      const text = readFileSync(path, 'utf8');
      return text.startsWith('{"pid":') && text.includes('"bootId"')
        ? [{ path, note: JSON.parse(text) as object }]
        : [];
    });
  for (const { path, note } of notes) writeFileSync(path, JSON.stringify({ ...note, pid, startTime }));
  return notes.length;
}

async function withRestart(body: (boot: Boot) => Promise<void>): Promise<void> {
  await using host = await startHost();
  await using registry = await startRegistry(host.dockerd);
  const bootFile = host.directory.at('boot-id');
  writeFileSync(bootFile, `${NEXT_BOOT}\n`);
  const boot = { isNext: false };
  const inBoot = (argv: Argv): Argv => (boot.isNext ? inNextBoot(bootFile, argv) : argv);
  const bystander = spawn('sleep', ['infinity'], { stdio: 'ignore' });
  await once(bystander, 'spawn');
  try {
    await withSupervisorLog(host, async () => {
      const wrapped = wrap(host, 'wrapped');
      const slave = await host.slave({ containerizer: wrapped.containerizer, wrap: inBoot });
      const how = { megabytes: 3, bytesPerSecond: 100_000 };
      const slow = await makeSlowImage(host.dockerd, registry, 'pulling', how);
      const launch = (task: ReturnType<typeof commandTask>) => slave.launch(task, { checkpoint: true });
      const terms = { image: IMAGES.busybox, value: VALUE };
      const running = await launch(commandTask(terms));
      const executor = await launch(executorTask(terms));
      await started(running);
      await started(executor);
      const ended = await launch(commandTask(terms));
      await started(ended);
      await slave.setAcks('drop');
      openGate(ended);
      await until('its end recorded', async () => (await ended.ended(PATIENCE_MS)) !== undefined);
      const pulling = await launch(executorTask({ ...terms, image: slow.image }));
      await until('accepted', () => pulling.calls('launch').some(({ end }) => end?.code === 0));
      // No RunTask comes before `update` has returned: it is created, and waits.
      wrapped.hold('update');
      const created = await launch(commandTask(terms));
      await until('created', async () => (await containersOf(host.dockerd, created)).length > 0, {
        timeoutMs: PATIENCE_MS,
      });
      const before = { running, executor, pulling, created, ended };
      const restart = async (): Promise<void> => {
        await powerOff(host, slave);
        await slow.throttle.stop();
        boot.isNext = true;
        wrapped.letGo('update');
        await host.dockerd.start();
      };
      await body({ host, slave, before, restart, bystander });
    });
  } finally {
    bystander.kill('SIGKILL');
  }
}

/** What the state says of its end, whoever has heard of it. */
function checkLost(host: Host, { containerId }: LaunchedTask, message: RegExp): void {
  const text = readFileSync(`${host.root}/mesos/${containerId}/termination`, 'utf8');
  const termination = JSON.parse(text);
  assert.equal(termination.state, LOST, text);
  assert.match(termination.message, message);
}

describe('a host that is restarted', {
  skip: await skipWithoutTools(),
  timeout: FAULT_FILE_TIMEOUT_MS,
}, () => {
  const remembers = async (): Promise<void> =>
    await withRestart(async ({ host, slave, before, restart, bystander }) => {
      const { running, executor, pulling, created, ended } = before;
      await restart();
      const notes = givePidsTo(bystander, host);
      assert.ok(notes >= 2, `${notes} notes of processes`);
      await slave.start();
      const lost = async (task: LaunchedTask, message: RegExp): Promise<void> => {
        assert.equal((await task.ended(PATIENCE_MS)).state, LOST, task.taskId);
        const termination = await task.gone(PATIENCE_MS);
        checkLost(host, task, message);
        // Never registered: a slave destroys such while it recovers, and throws their waits away that have not answered by then.
        if (termination === undefined && (task === executor || task === pulling)) return;
        assert.equal(termination?.state, LOST);
        assert.match(termination?.message ?? '', message);
      };
      await lost(running, WITH_HOST);
      await lost(executor, WITH_HOST);
      await lost(pulling, NOT_STARTED);
      await lost(created, NOT_STARTED);
      const termination = await ended.gone(PATIENCE_MS);
      assert.deepEqual([termination?.state, termination?.status], [FINISHED, 0]);
      const states = new Set(ended.updates().map(({ uuid, state }) => `${uuid} ${state}`));
      assert.equal(states.size, 2);
      for (const task of [running, executor, ended]) {
        assert.equal(await sandboxFile(task, 'fs/starts'), 's\n');
        assert.match(await sandboxFile(task, 'stdout'), /^ready\n/);
      }
      for (const task of [pulling, created]) assert.equal(await sandboxFile(task, 'fs/starts'), '');
      assert.ok(isAlive(bystander.pid ?? 0));
      assert.deepEqual(slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
      const { code, stderr } = await host.deimos(['state', '--rm']);
      assert.deepEqual([code, stderr], [0, '']);
      assert.deepEqual(readdirSync(`${host.root}/mesos`), []);
      tell(
        `host restarted: 5 tasks at 5 points of their lives, ${notes} notes of processes given to a bystander, 0 failed`,
      );
    });

  const beginsAnew = async (): Promise<void> =>
    await withRestart(async ({ host, slave, before, restart, bystander }) => {
      await restart();
      givePidsTo(bystander, host);
      rmSync(`${slave.options.workDirectory}/meta.json`);
      await slave.start();
      for (const task of Object.values(before)) await task.gone(PATIENCE_MS);
      for (const task of [before.running, before.executor]) checkLost(host, task, WITH_HOST);
      for (const task of [before.pulling, before.created]) checkLost(host, task, NOT_STARTED);
      for (const task of [before.pulling, before.created])
        assert.equal(await sandboxFile(task, 'fs/starts'), '');
      assert.ok(isAlive(bystander.pid ?? 0));
      assert.deepEqual(slave.violations, []);
      // Nobody knows these tasks any more: what was to be told of them goes with their states.
      const left = (await host.leftovers()).filter((what) => !what.startsWith('update not acknowledged'));
      assert.deepEqual(left, []);
      assert.equal((await host.deimos(['state', '--rm'])).code, 0);
      assert.deepEqual(readdirSync(`${host.root}/mesos`), []);
    });
  const forgets = async (): Promise<void> => {
    await withRestart(async ({ host, slave, before, restart }) => {
      await restart();
      for (const path of [host.root, `${slave.options.workDirectory}/meta.json`])
        rmSync(path, { recursive: true });
      await slave.start();
      assert.equal((await containersOf(host.dockerd, before.running)).length, 1);
      const next = await slave.launch(commandTask({ image: IMAGES.busybox, value: VALUE }));
      await started(next);
      const [own] = await containersOf(host.dockerd, next);
      const all = (): Promise<string> => host.dockerd.run(['ps', '--all', '--quiet', '--no-trunc']);
      await until('those of the old boot removed', async () => (await all()) === own, {
        timeoutMs: PATIENCE_MS,
      });
      openGate(next);
      assert.equal((await next.gone(PATIENCE_MS))?.state, FINISHED);
      assert.deepEqual(slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
    });
  };
  it('a slave that remembers: what ran or had not started is lost, what had ended has its end', remembers);
  it(
    'states that lay in memory are gone with it, and so are their containers, half a minute after the first task',
    forgets,
  );
  if (ALL_FAULTS)
    it(
      'a slave that begins anew, as real ones do in a new boot: it is told of all, and has them removed',
      beginsAnew,
    );
});

// While dockerd is away the slave is answered from the state directory, and a launch waits for it so long and no longer.
// While the configuration is broken only launches fail: what runs is looked after as before.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { decode } from '../../src/mesos/codec.ts';
import { Containers, Reason, ResourceStatistics, TaskState } from '../../src/mesos/messages.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { checkCalm } from '../support/endings.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { containerRecord, launchRecord } from '../support/installation.ts';
import { isAlive } from '../support/proc.ts';
import type { StandInSlave } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const { STARTING, RUNNING, FINISHED, FAILED, KILLED } = TaskState;
const { CONTAINER_LAUNCH_FAILED } = Reason;
const LONG_MS = 90_000;
/** How long a launch waits for a dockerd that is away. */
const AWAY_BOUND_MS = 60_000;
const RUN_TASK = 'to-executor RunTaskMessage';
const UNTIL_GO = 'echo begin; until [ -e go ]; do sleep 0.1; done; echo end; exit 4';

/** A host whose containers outlive its dockerd, with a task that runs. */
interface Place extends AsyncDisposable {
  readonly dockerd: Dockerd;
  readonly host: Host;
  readonly slave: StandInSlave;
}

async function place(): Promise<Place> {
  const dockerd = await startDockerd({ liveRestore: true });
  const host = await startHost({ dockerd });
  const slave = await host.slave({ checkpoint: true });
  return {
    dockerd,
    host,
    slave,
    [Symbol.asyncDispose]: async () => {
      await host[Symbol.asyncDispose]();
      await dockerd.stop();
    },
  };
}

const untilGo = () => commandTask({ value: UNTIL_GO, image: IMAGES.busybox });

async function listed(slave: StandInSlave): Promise<readonly string[]> {
  const { code, answer } = await slave.call('containers');
  assert.equal(code, 0);
  assert.ok(answer);
  return decode(Containers, answer).containers.map(({ value }) => value ?? '');
}

// Beside each other: the first of them waits for a minute.
describe('what goes on without dockerd or a configuration', {
  skip: await skipWithoutTools(),
  concurrency: 3,
}, () => {
  it('dockerd away for long: a launch fails in words when its bound is over, and leaves nothing', async () => {
    await using here = await place();
    const { dockerd, host, slave } = here;
    await dockerd.kill();
    const launchedAt = Date.now();
    const task = await slave.launch(commandTask({ value: 'true', image: IMAGES.busybox }));
    await until('launch has answered', () => task.calls('launch').every(({ end }) => end?.code === 0), {
      timeoutMs: LONG_MS,
    });
    const failed = await task.ended(2 * LONG_MS);
    assert.deepEqual([failed.state, failed.reason], [FAILED, CONTAINER_LAUNCH_FAILED]);
    assert.match(failed.message ?? '', /^[^\n]*Docker[^\n]*$/);
    assert.ok(failed.receivedAt - launchedAt >= AWAY_BOUND_MS, 'it was waited for');
    assert.equal((await task.gone(LONG_MS))?.message, failed.message);
    assert.equal(await sandboxFile(task, 'stderr'), `deimos: ${failed.message}\n`);
    assert.deepEqual(slave.violations, []);
    await dockerd.start();
    assert.deepEqual(await host.leftovers(), []);
  });

  it('dockerd away for a while: all is answered from the state directory, and goes on when it is back', async () => {
    await using here = await place();
    const { dockerd, host, slave } = here;
    const task = await slave.launch(untilGo());
    const early = await slave.launch(untilGo());
    await task.reached(RUNNING, LONG_MS);
    await early.reached(RUNNING, LONG_MS);
    const init = Number(readFileSync(`${host.root}/mesos/${early.containerId}/pid`, 'utf8'));
    await dockerd.kill();

    const late = await slave.launch(commandTask({ value: 'echo made it', image: IMAGES.busybox }));
    const killed = await slave.launch(commandTask({ value: 'true', image: IMAGES.busybox }));
    const known = [task, early, late, killed].map(({ containerId }) => containerId).sort();
    await until('all listed', async () => (await listed(slave)).length === known.length);
    assert.equal((await slave.call('recover')).code, 0);
    assert.deepEqual([...(await listed(slave))].sort(), known);
    // Usage is the kernel's to say.
    const usage = await slave.usage(task);
    assert.ok(usage);
    assert.ok((decode(ResourceStatistics, usage).mem_total_bytes ?? 0) > 0);
    await until('both handed over', () => slave.history.filter((one) => one === RUN_TASK).length === 4, {
      timeoutMs: LONG_MS,
    });
    // The slave itself starts anew while Docker is away, and so does the supervisor.
    await slave.restart();
    await slave.reregistered(task, LONG_MS);
    assert.deepEqual([...(await listed(slave))].sort(), known);
    await host.killSupervisor();
    await until('another supervisor', () => host.supervisor(), { timeoutMs: LONG_MS });
    // When this returns it listens again: what a slave says to nobody is lost.
    assert.equal((await slave.call('recover')).code, 0);
    // A kill of what does not run yet needs no Docker.
    await slave.killTask(killed);
    assert.equal((await killed.ended(LONG_MS)).state, KILLED);
    await killed.gone(LONG_MS);
    writeFileSync(`${early.sandbox}/fs/go`, '');
    await until('its end', () => !isAlive(init), { timeoutMs: LONG_MS });

    await dockerd.start();
    // What ended while Docker was away, what was launched then, and what ends when it is back.
    assert.equal((await early.ended(LONG_MS)).message, 'Container exited with status 4');
    assert.equal((await early.gone(LONG_MS))?.status, 4 << 8);
    assert.equal((await late.ended(LONG_MS)).state, FINISHED);
    await late.gone(LONG_MS);
    assert.deepEqual(
      late
        .updates()
        .map(({ state }) => state)
        .filter((state) => state !== STARTING),
      [RUNNING, FINISHED],
    );
    assert.equal(await sandboxFile(late, 'stdout'), 'made it\n');
    assert.equal(await sandboxFile(late, 'stderr'), '');
    writeFileSync(`${task.sandbox}/fs/go`, '');
    assert.deepEqual(
      [(await task.ended(LONG_MS)).state, (await task.gone(LONG_MS))?.status],
      [FAILED, 4 << 8],
    );
    assert.equal(await sandboxFile(task, 'stdout'), 'begin\nend\n');
    assert.deepEqual(slave.violations, []);
    assert.deepEqual(await host.leftovers(), []);
  });

  it('the configuration is broken: launch says so and exits 16; everything about running tasks goes on', async () => {
    await using host = await startHost();
    const slave = await host.slave({ checkpoint: true });
    const ends = await slave.launch(untilGo());
    const dies = await slave.launch(commandTask({ value: 'sleep 600', image: IMAGES.busybox }));
    await ends.reached(RUNNING, LONG_MS);
    await dies.reached(RUNNING, LONG_MS);
    await host.configure('[containers]\nstop_timeout: soon\n[log]\nsyslog: LOUD');

    const refused = await slave.launch(commandTask({ value: 'true', image: IMAGES.busybox }));
    const failed = await refused.ended(LONG_MS);
    assert.equal(failed.from, 'slave');
    const [launch] = refused.calls('launch');
    assert.equal(launch?.end?.code, 16);
    assert.match(launch?.end?.stderr ?? '', /^deimos launch: [^\n]*stop_timeout[^\n]*\n$/);
    // A slave appends what launch says to the sandbox: whoever looks there finds it.
    assert.equal(await sandboxFile(refused, 'stderr'), launch?.end?.stderr);
    const record = await launchRecord(
      commandTask({ value: 'true', image: IMAGES.busybox }),
      host.directory.at('hand'),
    );
    for (const words of [['launch'], ['launch', '--no-fork'], ['plan'], ['config']])
      assert.equal((await host.deimos(words, record.stdin)).code, 16, words.join(' '));

    // Each of them with status 0 while it is broken, also from a slave and a supervisor that have just started.
    await slave.restart();
    for (const task of [ends, dies]) await slave.reregistered(task, LONG_MS);
    // One that has not heard so, or not noted it yet, reregisters once more.
    const log = (): string => readFileSync(`${host.root}/supervisor/log`, 'utf8');
    await until('its answers', () => log().split('message=ExecutorReregisteredMessage').length > 2, {
      timeoutMs: LONG_MS,
    });
    await host.killSupervisor();
    await until('another supervisor', () => host.supervisor(), { timeoutMs: LONG_MS });
    assert.deepEqual([...(await listed(slave))].sort(), [ends.containerId, dies.containerId].sort());
    assert.ok(await slave.usage(ends));
    const waiting = host.deimos(['wait'], containerRecord(ends.containerId));
    assert.equal((await host.deimos(['update'], containerRecord(ends.containerId))).code, 0);
    for (const words of [['state'], ['locks']]) assert.equal((await host.deimos(words)).code, 0);
    await slave.destroy(dies);
    writeFileSync(`${ends.sandbox}/fs/go`, '');
    assert.equal((await ends.ended(LONG_MS)).message, 'Container exited with status 4');
    assert.equal((await ends.gone(LONG_MS))?.status, 4 << 8);
    assert.equal((await waiting).code, 0);
    checkCalm(slave, ['launch']);

    await host.configure('');
    const again = await slave.launch(commandTask({ value: 'true', image: IMAGES.busybox }));
    assert.equal((await again.ended(LONG_MS)).state, FINISHED);
    await again.gone(LONG_MS);
    assert.deepEqual(await host.leftovers(), []);
  });
});

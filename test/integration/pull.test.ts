// Tasks whose image has to come first, from a real registry over a slow way: they outlive the slave's registration
// timeout, say how far they are, and share one pull. And names in sandbox paths that trip over other tools.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { after, before, describe } from 'node:test';
import { decode } from '../../src/mesos/codec.ts';
import { ResourceStatistics, TaskState, VolumeMode } from '../../src/mesos/messages.ts';
import { pullsOf } from '../support/docker-facts.ts';
import { startDockerd } from '../support/dockerd.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { assertContent, testOn } from '../support/on-host.ts';
import { makeSlowImage, type Registry, startRegistry } from '../support/registry.ts';
import type { LaunchedTask } from '../support/slave.ts';
import { commandTask, executorTask } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const MB = 1024 * 1024;
const IMAGE_MB = 20;
const PULL_SECONDS = 20;
/** What takes PULL_SECONDS to come. */
const SLOW = { megabytes: IMAGE_MB, layers: 2, bytesPerSecond: (IMAGE_MB * MB) / PULL_SECONDS };
const REGISTRATION_TIMEOUT_MS = 5_000;
/** Of a registry that goes away; those before it are for the ways to the other one. */
const FAILING_PORT = 5100;

describe('a task whose image has to come', {
  skip: await skipWithoutTools(),
  concurrency: true,
  timeout: 200_000,
}, () => {
  let shared: Host;
  let registry: Registry;
  before(async () => {
    const dockerd = await startDockerd({
      arguments: [
        // Its log tells of each call.
        '--debug',
        // By itself it would ask a registry that is gone for more than a minute.
        '--max-download-attempts=1',
        // Of three pulls at a time, none is to wait for the layers of another.
        '--max-concurrent-downloads=12',
      ],
    });
    shared = await startHost({ dockerd });
    registry = await startRegistry(dockerd);
  });
  after(async () => {
    try {
      assert.deepEqual(await shared.leftovers(), []);
    } finally {
      await registry?.stop();
      await shared?.[Symbol.asyncDispose]();
      await shared?.dockerd.stop();
    }
  });
  const on = (name: string, body: (host: Host) => Promise<void>) => testOn(() => shared, name, body);

  /** What an update says of a pull, in MB. */
  const amountIn = (message: string | undefined) => {
    const match = /: (\d+) of (\d+) layers(?:, ([\d.]+) of ([\d.]+) MB)?$/.exec(message ?? '');
    return match?.[3] === undefined ? undefined : { mb: Number(match[3]), ofMb: Number(match[4]) };
  };
  const startings = (task: LaunchedTask) =>
    task.updates().filter((update) => update.state === TaskState.STARTING);

  on(
    'runs though the pull takes longer than the slave waits for executors, and says how far it is',
    async (host) => {
      const slave = await host.slave({ registrationTimeoutMs: REGISTRATION_TIMEOUT_MS });
      const { image } = await makeSlowImage(host.dockerd, registry, 'shared', SLOW);
      const startedAt = Date.now();
      const first = await slave.launch(commandTask({ image, value: 'ls /ballast-0 && exit 4' }));
      // A framework's own executor registers only when it runs: the pull takes too long for that.
      const executor = await slave.launch(executorTask({ image, value: 'exit 8' }));
      await first.reached(TaskState.STARTING);

      // Before it runs: what it is going to have, and nothing more.
      const usage = decode(ResourceStatistics, (await slave.usage(first)) ?? new Uint8Array());
      const told = Object.entries(usage).filter(([, value]) => value !== undefined);
      assert.deepEqual(told.map(([name]) => name).sort(), [
        'cpus_limit',
        'mem_limit_bytes',
        'mem_soft_limit_bytes',
        'timestamp',
      ]);
      assert.deepEqual([usage.cpus_limit, usage.mem_limit_bytes], [102 / 1024, 32 * MB]);

      await until(
        'half way',
        () => startings(first).some(({ message }) => (amountIn(message)?.mb ?? 0) > 1),
        {
          timeoutMs: 60_000,
        },
      );
      const second = await slave.launch(commandTask({ image, value: 'exit 6' }));
      await second.reached(TaskState.STARTING);

      assert.equal((await first.ended(120_000)).message, 'Container exited with status 4');
      assert.equal((await second.ended()).message, 'Container exited with status 6');
      const running = await first.reached(TaskState.RUNNING);
      const pulledMs = running.receivedAt - startedAt;
      assert.ok(pulledMs > 0.9 * PULL_SECONDS * 1000, `a pull of ${pulledMs} ms proves nothing`);
      assert.equal(await sandboxFile(first, 'stdout'), '/ballast-0\n');
      assert.deepEqual([(await first.gone())?.status, (await second.gone())?.status], [4 << 8, 6 << 8]);
      assert.equal(pullsOf(host.dockerd, image), 1);

      for (const task of [first, second]) {
        assert.equal(task.calls('destroy').length, 0);
        const states = task.updates().map((update) => update.state);
        const others = states.filter((state) => state !== TaskState.STARTING);
        assert.deepEqual(others, [TaskState.RUNNING, TaskState.FAILED]);
        assert.equal(states.lastIndexOf(TaskState.STARTING) + others.length, states.length - 1);
        for (const { message } of startings(task))
          assert.ok(message?.startsWith(`Pulling ${image}`), message);
        assert.equal(slave.acknowledged.filter((one) => one.startsWith(task.taskId)).length, states.length);
      }
      const amounts = startings(first).flatMap(({ message }) => amountIn(message) ?? []);
      assert.ok(amounts.length >= 1);
      for (const { mb, ofMb } of amounts) {
        assert.ok(mb <= ofMb && ofMb <= IMAGE_MB * 1.2, `${mb} of ${ofMb}`);
        assert.ok(ofMb > IMAGE_MB / 3, `${mb} of ${ofMb}`);
      }
      assert.deepEqual(
        amounts.map(({ mb }) => mb),
        amounts.map(({ mb }) => mb).sort((a, b) => a - b),
      );
      // The second one came in the middle, and was told so at once.
      assert.ok((amountIn(startings(second)[0]?.message)?.mb ?? 0) > 1, startings(second)[0]?.message);

      // The same for who reads the log: a line every 10 s, one for all three tasks.
      const lines = readFileSync(`${host.root}/supervisor/log`, 'utf8')
        .split('\n')
        .flatMap((line) => line.split(`pulling ${image}: `)[1] ?? []);
      assert.ok(lines.length >= 1 && lines.length <= pulledMs / 10_000, lines.join('\n'));
      for (const [n, line] of lines.entries()) {
        const [, durationMs] = /^\d of \d layers, [\d.]+ of [\d.]+ MB durationMs=(\d+)$/.exec(line) ?? [];
        assert.ok(Number(durationMs) > (n + 0.9) * 10_000, line);
      }

      assert.equal(executor.calls('destroy').length, 1);
      await executor.gone();
      assertContent(slave);
    },
  );

  on('goes on for the others when one of those who wait for it is killed', async (host) => {
    const slave = await host.slave();
    const { image } = await makeSlowImage(host.dockerd, registry, 'for-one-less', SLOW);
    const [one, other] = await Promise.all([
      slave.launch(commandTask({ image, value: 'echo never' })),
      slave.launch(commandTask({ image, value: 'echo here' })),
    ]);
    await Promise.all([one.reached(TaskState.STARTING), other.reached(TaskState.STARTING)]);
    await slave.killTask(one);
    assert.equal((await one.ended()).state, TaskState.KILLED);
    assert.equal((await other.ended(120_000)).state, TaskState.FINISHED);
    assert.equal(await sandboxFile(other, 'stdout'), 'here\n');
    assert.equal(await sandboxFile(one, 'stdout'), '');
    assert.equal(pullsOf(host.dockerd, image), 1);
    await Promise.all([one.gone(), other.gone()]);
    assertContent(slave);
  });

  on('fails for all who wait for it, in the same words, when the registry goes away', async (host) => {
    // One of its own: the others' goes on.
    await using failing = await startRegistry(host.dockerd, FAILING_PORT);
    const slave = await host.slave();
    const { image } = await makeSlowImage(host.dockerd, failing, 'cut-off', SLOW);
    const tasks = [
      await slave.launch(commandTask({ image, value: 'echo never' })),
      await slave.launch(executorTask({ image, value: 'echo never' })),
      await slave.launch(commandTask({ image, value: 'echo never', form: 'new' })),
    ];
    const [one, , other] = tasks;
    assert.ok(one !== undefined && other !== undefined);
    await Promise.all(
      [one, other].map(
        async (task) =>
          await until('it is coming', () => startings(task).some(({ message }) => amountIn(message)), {
            timeoutMs: 60_000,
          }),
      ),
    );
    assert.equal(pullsOf(host.dockerd, image), 1);
    await failing.stop();
    const ends = await Promise.all([one, other].map((task) => task.ended(120_000)));
    const why = ends[0]?.message ?? '';
    assert.ok(why.startsWith(`pull ${image}: `), why);
    for (const { state, message } of ends) assert.deepEqual([state, message], [TaskState.FAILED, why]);
    const terminations = await Promise.all(tasks.map((task) => task.gone()));
    for (const termination of terminations) assert.equal(termination?.message, why);
    for (const task of tasks)
      assert.ok((await sandboxFile(task, 'stderr')).includes(why), 'in the stderr of the sandbox');
    assert.equal(pullsOf(host.dockerd, image), 1);
    assertContent(slave);
  });

  on('runs where the sandbox path has colons and blanks', async (host) => {
    const workDirectory = host.directory.at('work:at 1');
    await mkdir(workDirectory);
    const slave = await host.slave({ workDirectory });
    const taskId = 'ct:1416 02:0:a "job" #1';
    const value = 'echo "$MESOS_SANDBOX"; echo made > here; pwd > "$MESOS_SANDBOX/there"';
    const old = await slave.launch(commandTask({ image: IMAGES.busybox, value, taskId }));
    const recent = await slave.launch(
      commandTask({
        ...{ image: IMAGES.busybox, form: 'new', taskId: `${taskId} again` },
        value: 'cd "$MESOS_SANDBOX"; pwd; echo made > here; echo kept > /kept/file',
        container: { volumes: [{ container_path: '/kept', host_path: 'var/kept', mode: VolumeMode.RW }] },
      }),
    );
    assert.match(old.sandbox, /work:at 1\/.*ct:1416 02:0:a "job" #1\/runs/);
    assert.equal((await old.ended()).state, TaskState.FINISHED);
    assert.equal(await sandboxFile(old, 'stdout'), '/tmp/mesos-sandbox\n');
    assert.equal(await sandboxFile(old, 'fs/here'), 'made\n');
    assert.equal(await sandboxFile(old, 'fs/there'), '/tmp/mesos-sandbox\n');
    await old.gone();
    assert.equal((await recent.ended()).message, 'Container exited with status 0');
    assert.equal(await sandboxFile(recent, 'stdout'), '/mnt/mesos/sandbox\n');
    assert.equal(await sandboxFile(recent, 'here'), 'made\n');
    assert.equal(await sandboxFile(recent, 'var/kept/file'), 'kept\n');
    await recent.gone();
    assertContent(slave);
  });
});

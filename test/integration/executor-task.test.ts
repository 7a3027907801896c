// What runs in a container: a framework's own executor with what it has to know of its slave, an image's own command,
// and words for an entrypoint.

import assert from 'node:assert/strict';
import { existsSync, realpathSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { after, before, describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import { encode } from '../../src/mesos/codec.ts';
import { Network, TaskState, Update, ValueType } from '../../src/mesos/messages.ts';
import { inspectTask } from '../support/docker-facts.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { derive, IMAGES } from '../support/images.ts';
import { assertContent, testOn } from '../support/on-host.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import type { MesosVersion } from '../support/slave-protocol.ts';
import { commandTask, executorTask } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const MB = 1024 * 1024;
const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
/** ENTRYPOINT that shows each of its arguments by itself, CMD `by default`. */
const ARGUMENTS = 'busybox-arguments:test';
/** The shell's own, and Docker's. */
const NOT_OURS = ['HOME', 'HOSTNAME', 'OLDPWD', 'PATH', 'PWD', 'SHLVL', '_'];

/** What `env` printed. */
function environmentOf(text: string): Record<string, string> {
  const entries = text
    .split('\n')
    .filter((line) => line.includes('='))
    .map((line): [string, string] => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]);
  return Object.fromEntries(entries.filter(([name]) => !NOT_OURS.includes(name)));
}

async function assertEnded(task: LaunchedTask, exitCode: number): Promise<void> {
  const termination = await task.gone(60_000);
  assert.deepEqual([termination?.status, termination?.killed], [exitCode << 8, false]);
}

describe('what runs in a container', {
  skip: await skipWithoutTools(),
  concurrency: true,
  timeout: 150_000,
}, () => {
  let shared: Host;
  /** For slaves in the network of Docker's host: a supervisor serves one network. */
  let beside: Host;
  before(async () => {
    shared = await startHost();
    beside = await startHost({ dockerd: shared.dockerd });
    const show = 'for word; do echo "<$word>"; done';
    await derive(shared.dockerd, ARGUMENTS, [
      `ENTRYPOINT ${JSON.stringify(['sh', '-c', show, 'show'])}`,
      'CMD ["by","default"]',
    ]);
  });
  after(async () => {
    try {
      assert.deepEqual(await shared.leftovers(), []);
      assert.deepEqual(await beside.leftovers(), []);
    } finally {
      await beside?.[Symbol.asyncDispose]();
      await shared?.[Symbol.asyncDispose]();
    }
  });
  const on = (name: string, body: (host: Host) => Promise<void>) => testOn(() => shared, name, body);

  const expectedOf = (slave: StandInSlave, task: LaunchedTask, inside: string) => ({
    MESOS_FRAMEWORK_ID: task.frameworkId,
    MESOS_EXECUTOR_ID: task.executorId,
    MESOS_SLAVE_ID: slave.slaveId,
    MESOS_SLAVE_PID: slave.upid,
    MESOS_DIRECTORY: inside,
    MESOS_SANDBOX: inside,
  });
  const since: readonly (readonly [MesosVersion, Readonly<Record<string, string>>])[] = [
    ['0.19.1', {}],
    ['0.22.2', {}],
    ['0.28.3', { MESOS_SUBSCRIPTION_BACKOFF_MAX: '2secs', MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD: '5secs' }],
    [
      '1.0.4',
      {
        MESOS_SUBSCRIPTION_BACKOFF_MAX: '2secs',
        MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD: '5secs',
        MESOS_HTTP_COMMAND_EXECUTOR: '0',
      },
    ],
  ];
  for (const [at, [version, added]] of since.entries()) {
    // They run side by side.
    const port = 31_200 + at;
    on(`an executor of a slave ${version} finds its slave in its environment`, async (host) => {
      const slave = await host.slave({
        version,
        checkpoint: true,
        recoveryTimeout: '20mins',
        environment: {
          PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
          LIBPROCESS_IP: '127.0.0.1',
          SLAVES_OWN: 'stays out',
        },
        launchEnvironment: { MESOS_NATIVE_JAVA_LIBRARY: '/usr/lib/libmesos.so', HADOOP_HOME: '/opt/hadoop' },
      });
      const task = await slave.launch(
        executorTask({
          ...{
            name: 'runner',
            value: 'env; pwd >&2; exit 5',
            image: IMAGES.busybox,
            ports: [[port, port]],
          },
          env: { GREETING: 'hello', MESOS_SLAVE_ID: 'not true' },
        }),
      );
      await assertEnded(task, 5);
      const endpoint = slave.upid.replace(/^.*@/, '');
      assert.deepEqual(environmentOf(await sandboxFile(task, 'stdout')), {
        ...expectedOf(slave, task, '/tmp/mesos-sandbox'),
        ...{
          MESOS_CHECKPOINT: '1',
          MESOS_RECOVERY_TIMEOUT: '20mins',
          TASK_INFO: 'runner',
          GREETING: 'hello',
        },
        ...{ PORT: `${port}`, PORT0: `${port}`, PORTS: `${port}` },
        ...(version < '0.27' ? {} : { MESOS_AGENT_ENDPOINT: endpoint }),
        ...added,
      });
      assert.equal(await sandboxFile(task, 'stderr'), '/tmp/mesos-sandbox\n');
      // It speaks for itself: nobody registers in its place.
      assert.deepEqual(slave.messages, []);
      assertContent(slave);
    });
  }

  for (const [at, form] of (['old', 'new'] as const).entries()) {
    const inside = form === 'old' ? '/tmp/mesos-sandbox' : '/mnt/mesos/sandbox';
    testOn(
      () => beside,
      `an executor that registers from inside its container, and reports its task itself (${form} form)`,
      async (host) => {
        // It has the network of Docker's host, on which its slave has to be.
        const slave = await host.slave({
          version: form === 'old' ? '0.22.2' : '1.0.4',
          wrap: host.dockerd.inNetns,
        });
        // The program comes with the libraries that it needs; the image has none.
        const [node, project] = [realpathSync(process.execPath), realpathSync(PROJECT)];
        const places = ['/lib', '/lib64', dirname(node), project];
        const task = await slave.launch(
          executorTask({
            ...{ form, image: IMAGES.busybox, mem: 256, ports: [[31_250 + at, 31_250 + at]] },
            options: ['--net=host', ...places.map((place) => `--volume=${place}:${place}:ro`)],
            docker: { network: Network.HOST },
            ...(form === 'new' && {
              container: {
                volumes: places.map((place) => ({ container_path: place, host_path: place, mode: 2 })),
              },
            }),
            ...{ shell: false, value: node, arguments: [`${project}/test/support/executor-process.ts`] },
          }),
        );
        const states = [];
        for (const state of [TaskState.RUNNING, TaskState.FINISHED])
          states.push(await task.reached(state, 60_000));
        assert.deepEqual(
          states.map(({ from, message }) => [from, message]),
          [
            ['executor', inside],
            ['executor', form === 'old' ? inside : '/'],
          ],
        );
        await assertEnded(task, 0);
        const file = form === 'old' ? 'fs/by-the-executor' : 'by-the-executor';
        assert.equal(await sandboxFile(task, file), `${task.taskId}\n`);
        assert.equal(await sandboxFile(task, 'stderr'), '');
        // One alone spoke to the slave, and it was the executor.
        assert.deepEqual(
          [...new Set(slave.messages.map(({ upid }) => upid.replace(/@.*/, '')))],
          ['executor(1)'],
        );
        assertContent(slave);
      },
    );
  }

  on(
    'an executor in the new form of container, without checkpointing, has the whole sandbox',
    async (host) => {
      const slave = await host.slave({ version: '1.0.4' });
      const task = await slave.launch(
        executorTask({
          ...{
            form: 'new',
            name: 'runner',
            value: 'env; echo it > "$MESOS_DIRECTORY/made"',
            image: IMAGES.busybox,
          },
        }),
      );
      await assertEnded(task, 0);
      const endpoint = slave.upid.replace(/^.*@/, '');
      assert.deepEqual(environmentOf(await sandboxFile(task, 'stdout')), {
        ...expectedOf(slave, task, '/mnt/mesos/sandbox'),
        ...{ MESOS_CHECKPOINT: '0', MESOS_AGENT_ENDPOINT: endpoint, TASK_INFO: 'runner' },
        ...{ MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD: '5secs', MESOS_HTTP_COMMAND_EXECUTOR: '0' },
        MESOS_CONTAINER_NAME: `deimos-${task.containerId}`,
      });
      assert.equal(await sandboxFile(task, 'made'), 'it\n');
      assertContent(slave);
    },
  );

  on("an executor's limits follow the slave's updates, the hard one only upwards", async (host) => {
    const slave = await host.slave();
    const task = await slave.launch(
      executorTask({
        value: 'until [ -e done ]; do sleep 0.1; done',
        image: IMAGES.busybox,
        cpus: 0.5,
        mem: 64,
      }),
    );
    const state = `${host.root}/mesos/${task.containerId}`;
    await until('it runs', () => existsSync(`${state}/pid`), { timeoutMs: 60_000 });
    const update = async (cpus: number, mem: number) => {
      const scalar = (name: string, value: number) => ({ name, type: ValueType.SCALAR, scalar: { value } });
      const record = encode(Update, {
        container_id: { value: task.containerId },
        resources: [scalar('cpus', cpus), scalar('mem', mem)],
      });
      assert.equal((await slave.call('update', record, task.sandbox)).code, 0);
      const { CpuShares, Memory, MemoryReservation } = (await inspectTask(host.dockerd, task)).HostConfig;
      return [CpuShares, Memory / MB, MemoryReservation / MB];
    };
    assert.deepEqual(await update(2, 128), [2048, 128, 128]);
    assert.deepEqual(await update(1, 48), [1024, 128, 48]);
    await writeFile(`${task.sandbox}/fs/done`, '');
    await assertEnded(task, 0);
    assertContent(slave);
  });

  on("a task with no command runs its image's own", async (host) => {
    const slave = await host.slave();
    const task = await slave.launch(commandTask({ image: IMAGES.command }));
    assert.equal((await task.ended()).message, 'Container exited with status 7');
    await assertEnded(task, 7);
    assert.equal(await sandboxFile(task, 'stdout'), 'own command\n');
    assertContent(slave);
  });

  on("an executor with no command runs its image's own", async (host) => {
    const slave = await host.slave();
    const task = await slave.launch(executorTask({ image: IMAGES.command }));
    await assertEnded(task, 7);
    assert.equal(await sandboxFile(task, 'stdout'), 'own command\n');
    assertContent(slave);
  });

  on('words behind // reach an entrypoint as they are, whatever else they look like', async (host) => {
    const slave = await host.slave();
    const words = ['--label', 'not=an option', '', '$HOME', '-p 80:80', '//', "it's"];
    const tasks = [
      { options: ['--label', 'kept=yes', '//', ...words], said: words },
      // An argv of none is the image's own.
      { options: ['//'], said: ['by', 'default'] },
      { options: [], said: ['by', 'default'] },
      { options: [], value: 'a "command"', said: ['sh', '-c', 'a "command"'] },
      // The raw argv goes before a command.
      { options: ['//', 'raw'], value: 'a command', said: ['raw'] },
    ];
    await Promise.all(
      tasks.map(async ({ options, value, said }) => {
        const task = await slave.launch(
          commandTask({ image: ARGUMENTS, options, ...(value === undefined ? {} : { value }) }),
        );
        const running = await task.reached(TaskState.RUNNING, 60_000);
        assert.equal((await task.ended()).state, TaskState.FINISHED);
        await assertEnded(task, 0);
        assert.equal(await sandboxFile(task, 'stdout'), said.map((word) => `<${word}>\n`).join(''));
        const [{ Config }] = JSON.parse(Buffer.from(running.data ?? []).toString()) as [
          { Config: { Labels: Record<string, string> } },
        ];
        assert.equal(Config.Labels.kept, options.includes('kept=yes') ? 'yes' : undefined);
        assert.equal(Config.Labels.not, undefined);
      }),
    );
    assertContent(slave);
  });

  on('an entrypoint is reached by an executor too', async (host) => {
    const slave = await host.slave();
    const task = await slave.launch(
      executorTask({ image: IMAGES.entrypoint, options: ['//', 'its', 'words'] }),
    );
    await assertEnded(task, 0);
    assert.equal(await sandboxFile(task, 'stdout'), 'entry its words\n');
    assertContent(slave);
  });
});

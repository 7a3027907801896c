// A command task from launch to the end of its state: what the framework, the slave, Docker, the sandbox and the state
// directory show of it, under slaves of each kind.

import assert from 'node:assert/strict';
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { after, before, describe } from 'node:test';
import { decode } from '../../src/mesos/codec.ts';
import { Reason, ResourceStatistics, TaskState, ValueType } from '../../src/mesos/messages.ts';
import { containersOf, inspectTask, statsOf } from '../support/docker-facts.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { assertContent, testOn } from '../support/on-host.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import type { MesosVersion } from '../support/slave-protocol.ts';
import { commandTask } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const MB = 1024 * 1024;
const SECRET = 'hello  "wide"\nworld';
const BALLAST_MB = 16;
/** Says something, uses memory and CPU that can be found again, and goes on until it is told to end. */
const SCRIPT = [
  'echo out; echo err >&2',
  `dd if=/dev/zero of=/dev/shm/ballast bs=1M count=${BALLAST_MB} 2>/dev/null`,
  'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done',
  'touch ready; until [ -e done ]; do sleep 0.1; done; exit 3',
].join('; ');

/** Of a container's state, while it runs. */
const RUNNING_FACTS = [
  ...[
    'accepted',
    'acknowledged',
    'cid',
    'container.json',
    'creating',
    'docker-host',
    'eid',
    'executor',
    'fs -> SANDBOX/fs',
    'init',
  ],
  ...[
    'launcher',
    'limits',
    'oom-kills',
    'lock/',
    'lock/destroy',
    'lock/launch',
    'lock/wait',
    'mesos-container-id',
    'pid',
  ],
  ...['registered', 'registering', 'reported', 'run-task', 'stderr.copied', 'stdout.copied', 't'],
  ...['updates/', 'wait-seen', 'work-directory'],
];
const JOURNALS = ['stderr.copied', 'stdout.copied'];
const ENDED_FACTS = [
  ...RUNNING_FACTS.filter((name) => !JOURNALS.includes(name)),
  ...['delivered', 'exit', 'outcome', 'removed', 'termination'],
];
const ROOT_ENTRIES = [
  ...['docker/', 'mesos/', 'start-time/'],
  ...[
    'supervisor/',
    'supervisor/errors',
    'supervisor/lock',
    'supervisor/log',
    'supervisor/port',
    'supervisor/requests',
    'supervisor/socket',
  ],
  ...['supervisor/start', 'supervisor/wake'],
];

function rootWith(facts: readonly string[]): string[] {
  return [
    ...ROOT_ENTRIES,
    'mesos/CONTAINER/',
    ...facts.map((fact) => `mesos/CONTAINER/${fact}`),
    'docker/DOCKER -> ../mesos/CONTAINER',
    'start-time/TIME -> ../mesos/CONTAINER',
  ].sort();
}

/** Everything below a directory: directories with a slash, symlinks with their targets, known words by their names. */
function tree(directory: string, names: Readonly<Record<string, string>>): string[] {
  const below = (path: string): string[] =>
    readdirSync(path, { withFileTypes: true }).flatMap((entry) => {
      const at = `${path}/${entry.name}`;
      if (entry.isSymbolicLink()) return [`${at} -> ${readlinkSync(at)}`];
      return entry.isDirectory() ? [`${at}/`, ...below(at)] : [at];
    });
  const named = below(directory).map((path) => {
    const inside = path.slice(directory.length + 1);
    return Object.entries(names).reduce((text, [name, word]) => text.replaceAll(word, name), inside);
  });
  return named.sort();
}

async function assertTree(
  host: Host,
  names: Readonly<Record<string, string>>,
  expected: readonly string[],
): Promise<void> {
  // Slaves of other tests that start meanwhile find a container here that needs a supervisor, and are noted.
  const found = () => tree(host.root, names).filter((path) => !path.startsWith('supervisor/slaves/'));
  const same = () => JSON.stringify(found()) === JSON.stringify(expected);
  await until('the state directory settles', same, { timeoutMs: 10_000 }).catch(() => {});
  assert.deepEqual(found(), expected);
}

async function usageOf(slave: StandInSlave, task: LaunchedTask) {
  const answer = await slave.usage(task);
  assert.ok(answer !== undefined, 'usage fails');
  return decode(ResourceStatistics, answer);
}

describe('a command task', { skip: await skipWithoutTools(), concurrency: true, timeout: 200_000 }, () => {
  let shared: Host;
  let aside: Host;
  before(async () => {
    shared = await startHost();
    aside = await startHost({ dockerd: shared.dockerd });
  });
  after(async () => {
    try {
      assert.deepEqual(await shared.leftovers(), []);
      assert.deepEqual(await aside.leftovers(), []);
    } finally {
      await aside?.[Symbol.asyncDispose]();
      await shared?.[Symbol.asyncDispose]();
    }
  });

  testOn(
    () => aside,
    'leaves its marks everywhere it should, and none when its state is removed',
    async (host) => {
      const { dockerd } = host;
      const slave = await host.slave();
      const startedAt = Date.now();
      const task = await slave.launch(
        commandTask({
          ...{ name: 'greeter', value: SCRIPT, image: IMAGES.ports, cpus: 0.5, mem: 64 },
          ...{ ports: [[31_000, 31_001]], env: { GREETING: SECRET, EMPTY: '', PORT1: 'mine' } },
        }),
      );

      // As the framework sees it running.
      const running = await task.reached(TaskState.RUNNING);
      const inspected = await inspectTask(dockerd, task);
      const { IPAddress } = inspected.NetworkSettings;
      assert.match(IPAddress, /^\d+\.\d+\.\d+\.\d+$/);
      assert.equal(running.from, 'executor');
      assert.equal(running.source, 2);
      assert.equal(running.healthy, undefined);
      assert.deepEqual(running.labels, [['Docker.NetworkSettings.IPAddress', IPAddress]]);
      assert.deepEqual([...new Set(running.addresses)], [IPAddress]);
      const data = JSON.parse(Buffer.from(running.data ?? []).toString()) as unknown[];
      assert.deepEqual(data, JSON.parse(await dockerd.run(['inspect', inspected.Id])));

      // As Docker sees it.
      const { HostConfig, Config, State } = inspected;
      assert.equal(inspected.Name, `/deimos-${task.containerId}`);
      assert.equal(HostConfig.CpuShares, 512);
      assert.equal(HostConfig.Memory, 64 * MB);
      assert.equal(HostConfig.MemoryReservation, 64 * MB);
      assert.equal(HostConfig.AutoRemove, false);
      assert.equal(HostConfig.LogConfig.Type, 'local');
      // The image exposes 53/udp, 8080/tcp and 9090/tcp: two ports were offered.
      assert.deepEqual(HostConfig.PortBindings, {
        '53/udp': [{ HostIp: '', HostPort: '31000' }],
        '8080/tcp': [{ HostIp: '', HostPort: '31001' }],
      });
      assert.deepEqual(HostConfig.Binds ?? [], []);
      assert.deepEqual(
        inspected.Mounts.map(({ Type, Source, Destination, RW }) => ({ Type, Source, Destination, RW })),
        [{ Type: 'bind', Source: `${task.sandbox}/fs`, Destination: '/tmp/mesos-sandbox', RW: true }],
      );
      assert.equal(Config.WorkingDir, '/tmp/mesos-sandbox');
      assert.equal(Config.Image, IMAGES.ports);
      assert.deepEqual(Config.Cmd, ['sh', '-c', SCRIPT]);
      assert.deepEqual([...Config.Env].sort(), [
        ...['EMPTY=', `GREETING=${SECRET}`, 'MESOS_SANDBOX=/tmp/mesos-sandbox'],
        ...['PORT0=31000', 'PORT1=mine', 'PORT=31000', 'PORTS=31000,31001', 'TASK_INFO=greeter'],
      ]);

      // What it uses, held against what Docker measures before and after.
      await until('the task has used what it wants', () => existsSync(`${task.sandbox}/fs/ready`), {
        timeoutMs: 60_000,
      });
      const earlier = await statsOf(dockerd, inspected.Id);
      const usage = await usageOf(slave, task);
      const later = await statsOf(dockerd, inspected.Id);
      const tick = 0.011;
      const between = (what: string, low: number, value: number | undefined, high: number) =>
        assert.ok(
          value !== undefined && value >= low && value <= high,
          `${what}: ${low} ≤ ${value} ≤ ${high}`,
        );
      between('timestamp', startedAt / 1000, usage.timestamp, Date.now() / 1000);
      between('user', earlier.userSeconds - tick, usage.cpus_user_time_secs, later.userSeconds + tick);
      between(
        'system',
        earlier.systemSeconds - tick,
        usage.cpus_system_time_secs,
        later.systemSeconds + tick,
      );
      between('used at all', 0.02, usage.cpus_user_time_secs, (Date.now() - startedAt) / 500);
      assert.equal(usage.cpus_limit, 0.5);
      assert.equal(usage.mem_limit_bytes, 64 * MB);
      assert.equal(usage.mem_soft_limit_bytes, 64 * MB);
      assert.equal(later.memoryLimitBytes, 64 * MB);
      between('total', BALLAST_MB * MB, usage.mem_total_bytes, 64 * MB);
      between(
        'as Docker says',
        later.memoryBytes - 4 * MB,
        usage.mem_total_bytes,
        later.memoryBytes + 4 * MB,
      );
      // The ballast is no anonymous memory, the shell has hardly any.
      between('rss', 1, usage.mem_rss_bytes, 8 * MB);
      assert.ok((await usageOf(slave, task)).timestamp !== usage.timestamp);

      // The sandbox and the state, while it runs.
      assert.deepEqual(readdirSync(task.sandbox).sort(), ['fs', 'stderr', 'stdout']);
      assert.equal(await sandboxFile(task, 'stdout'), 'out\n');
      assert.equal(await sandboxFile(task, 'stderr'), 'err\n');
      const state = `${host.root}/mesos/${task.containerId}`;
      const fact = (name: string) => readFileSync(`${state}/${name}`, 'utf8');
      const time = fact('t').trim();
      const names = {
        SANDBOX: task.sandbox,
        CONTAINER: task.containerId,
        DOCKER: inspected.Id,
        TIME: time,
      };
      await assertTree(host, names, rootWith(RUNNING_FACTS));
      assert.equal(fact('mesos-container-id'), `${task.containerId}\n`);
      assert.equal(fact('eid'), `${task.executorId}\n`);
      assert.equal(fact('cid'), `${inspected.Id}\n`);
      assert.equal(fact('pid'), `${State.Pid}\n`);
      assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
      assert.ok(Math.abs(Date.parse(time) - startedAt) < 60_000, time);
      for (const entry of tree(host.root, {}).filter((one) => !one.includes(' -> '))) {
        const path = `${host.root}/${entry}`;
        const stat = lstatSync(path);
        assert.equal(stat.mode & 0o077, 0, `${entry} is open to others`);
        if (stat.isFile() && !entry.endsWith('/container.json'))
          assert.ok(!readFileSync(path, 'utf8').includes('wide'), `${entry} has a value of the environment`);
      }
      const listed = await host.deimos(['state']);
      assert.equal(listed.stdout.toString(), `${host.root}/start-time/${time}\n`);
      assert.equal((await host.deimos(['state', '--rm'])).code, 0);
      await assertTree(host, names, ['cleanup', ...rootWith(RUNNING_FACTS)].sort());

      // Its end.
      await writeFile(`${task.sandbox}/fs/done`, '');
      const failed = await task.ended();
      assert.equal(failed.state, TaskState.FAILED);
      assert.equal(failed.message, 'Container exited with status 3');
      assert.equal(failed.reason, undefined);
      assert.equal(failed.from, 'executor');
      const termination = await task.gone();
      assert.ok(termination !== undefined);
      const { killed, status, state: how, reasons, message } = termination;
      assert.deepEqual(
        { killed, status, state: how, reasons, message },
        { killed: false, status: 3 << 8, state: TaskState.FAILED, reasons: [], message: failed.message },
      );
      assert.deepEqual(
        task.updates().map((update) => update.state),
        [TaskState.RUNNING, TaskState.FAILED],
      );
      assert.deepEqual(
        slave.acknowledged,
        task.updates().map((update) => `${task.taskId} ${update.uuid}`),
      );
      await until('the container removed', async () => (await containersOf(dockerd, task)).length === 0);
      assert.equal(await slave.usage(task), undefined);
      assert.equal(await sandboxFile(task, 'stdout'), 'out\n');
      assert.equal(await sandboxFile(task, 'stderr'), 'err\n');

      // What stays of it, and how that goes.
      await assertTree(host, names, ['cleanup', ...rootWith(ENDED_FACTS)].sort());
      assert.equal(fact('exit'), '3\n');
      assert.deepEqual(JSON.parse(fact('termination')), {
        ...{ state: TaskState.FAILED, message: failed.message, killed: false, reasons: [], status: 3 << 8 },
      });
      const afterwards = await host.deimos(['state']);
      assert.equal(afterwards.stdout.toString(), `${host.root}/start-time/${time}\n`);
      const before = new Date(Math.floor(Date.parse(time) / 1000) * 1000).toISOString();
      assert.equal((await host.deimos(['state', '--rm', before])).code, 0);
      await assertTree(host, names, ['cleanup', ...rootWith(ENDED_FACTS)].sort());
      assert.equal((await host.deimos(['state', '--rm'])).code, 0);
      await assertTree(host, names, ['cleanup', ...ROOT_ENTRIES].sort());
      assert.equal((await host.deimos(['state'])).stdout.toString(), '');
      assertContent(slave);
    },
  );

  const versions: readonly MesosVersion[] = ['0.19.1', '0.22.2', '0.28.3', '1.0.4'];
  for (const version of versions) {
    testOn(
      () => shared,
      `is run and reported under a slave ${version}`,
      async (host) => {
        // Slaves up to 0.22 ask for the usage every second.
        const asks = version < '0.23' ? 1_000 : 0;
        const slave = await host.slave({ version, usageEveryMs: asks });
        const task = await slave.launch(
          commandTask({
            ...{ value: 'echo out; echo err >&2; sleep 2; exit 3', image: IMAGES.ports, cpus: 0.5, mem: 64 },
            env: { GREETING: 'hello' },
          }),
        );
        assert.equal((await task.ended(60_000)).state, TaskState.FAILED);
        const termination = await task.gone();
        assert.equal(termination?.status, 3 << 8);
        assert.equal(termination?.killed, false);
        assert.equal(termination?.message, 'Container exited with status 3');
        const states = task.updates().map((update) => [update.state, update.from]);
        assert.deepEqual(states, [
          [TaskState.RUNNING, 'executor'],
          [TaskState.FAILED, 'executor'],
        ]);
        assert.equal(await sandboxFile(task, 'stdout'), 'out\n');
        assert.equal(await sandboxFile(task, 'stderr'), 'err\n');
        const said = slave.messages.filter((message) => message.direction === 'to-slave');
        assert.deepEqual(
          said.map((message) => message.name),
          ['RegisterExecutorMessage', 'StatusUpdateMessage', 'StatusUpdateMessage'],
        );
        assert.equal(slave.acknowledged.length, 2);
        // The update for the ended task and the wait's end come in either order.
        await until('every call has ended', () => task.calls().every((call) => call.end !== undefined));
        for (const call of task.calls())
          if (call.verb !== 'usage') assert.equal(call.end?.code, 0, `${call.verb}: ${call.end?.stderr}`);
        assert.equal(task.calls('destroy').length, 0);
        if (asks > 0) assert.ok(task.calls('usage').some((call) => call.end?.code === 0));
        assertContent(slave);
      },
    );
  }

  testOn(
    () => shared,
    'has what it was given under all roles together, and ends well with status 0',
    async (host) => {
      const slave = await host.slave();
      const scalar = (name: string, value: number) => ({
        ...{ name, type: ValueType.SCALAR, scalar: { value }, role: 'prod' },
      });
      const range = [{ begin: 31_110, end: 31_110 }];
      const task = await slave.launch(
        commandTask({
          ...{ value: 'until [ -e done ]; do sleep 0.1; done', image: IMAGES.busybox },
          ...{ cpus: 0.25, mem: 40, ports: [[31_100, 31_101]] },
          resources: [
            scalar('cpus', 1),
            scalar('mem', 10),
            scalar('disk', 5),
            { name: 'ports', type: ValueType.RANGES, ranges: { range }, role: 'prod' },
          ],
        }),
      );
      await task.reached(TaskState.RUNNING);
      const { HostConfig, Config } = await inspectTask(host.dockerd, task);
      assert.equal(HostConfig.CpuShares, 1280);
      assert.equal(HostConfig.Memory, 50 * MB);
      assert.deepEqual(Object.keys(HostConfig.PortBindings).sort(), ['31100/tcp', '31101/tcp', '31110/tcp']);
      assert.ok(Config.Env.includes('PORTS=31100,31101,31110'));
      await writeFile(`${task.sandbox}/fs/done`, '');
      assert.equal((await task.ended()).state, TaskState.FINISHED);
      const termination = await task.gone();
      assert.deepEqual([termination?.status, termination?.state], [0, TaskState.FINISHED]);
      assertContent(slave);
    },
  );

  testOn(
    () => shared,
    'that needs more memory than it has is told so',
    async (host) => {
      const slave = await host.slave();
      // tail keeps what it reads; without a line's end in it, that is all of it.
      const task = await slave.launch(
        commandTask({ value: 'exec tail /dev/zero', image: IMAGES.busybox, mem: 40 }),
      );
      const failed = await task.ended(60_000);
      assert.equal(failed.state, TaskState.FAILED);
      assert.equal(failed.reason, Reason.CONTAINER_LIMITATION_MEMORY);
      assert.match(failed.message ?? '', /^Memory limit exceeded: 40 MB allowed/);
      const termination = await task.gone();
      assert.equal(termination?.killed, true);
      assert.equal(termination?.state, TaskState.FAILED);
      assert.deepEqual(termination?.reasons, [Reason.CONTAINER_LIMITATION_MEMORY]);
      assert.equal(termination?.message, failed.message);
      assert.equal(termination?.status, 137 << 8);
      assertContent(slave);
    },
  );

  testOn(
    () => shared,
    'that cannot be started, since its port is taken, fails at once in words',
    async (host) => {
      const slave = await host.slave();
      const describe = (value: string) => ({
        value,
        image: IMAGES.busybox,
        ports: [[31_120, 31_120]] as const,
      });
      const first = await slave.launch(commandTask(describe('until [ -e done ]; do sleep 0.1; done')));
      await first.reached(TaskState.RUNNING);
      const second = await slave.launch(commandTask(describe('true')));
      // Well below the bound for output that does not come.
      const failed = await second.ended(40_000);
      assert.equal(failed.state, TaskState.FAILED);
      assert.equal(failed.reason, Reason.CONTAINER_LAUNCH_FAILED);
      assert.match(failed.message ?? '', /port is already allocated/);
      const termination = await second.gone();
      assert.deepEqual(termination?.reasons, [Reason.CONTAINER_LAUNCH_FAILED]);
      assert.equal(termination?.message, failed.message);
      assert.equal(await sandboxFile(second, 'stderr'), `deimos: ${failed.message}\n`);
      await until(
        'the container removed',
        async () => (await containersOf(host.dockerd, second)).length === 0,
      );
      await writeFile(`${first.sandbox}/fs/done`, '');
      assert.equal((await first.ended()).state, TaskState.FINISHED);
      await first.gone();
      assertContent(slave);
    },
  );

  testOn(
    () => shared,
    'whose user is not root has a sandbox of its own user',
    async (host) => {
      const slave = await host.slave({ user: 'nobody' });
      const task = await slave.launch(
        commandTask({ value: 'echo out; echo err >&2', image: IMAGES.busybox }),
      );
      assert.equal((await task.ended()).state, TaskState.FINISHED);
      await task.gone();
      const owner = statSync(task.sandbox).uid;
      assert.notEqual(owner, 0);
      for (const name of ['stdout', 'stderr', 'fs'])
        assert.equal(statSync(`${task.sandbox}/${name}`).uid, owner, name);
      assert.equal(await sandboxFile(task, 'stdout'), 'out\n');
      assertContent(slave);
    },
  );
});

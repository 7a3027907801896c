// `usage` of real containers on this machine's cgroups: each field against the files of the container's own cgroup wherever
// that lies, counters that never go back, and never a number of the host's or of another process.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe } from 'node:test';
import { decode } from '../../src/mesos/codec.ts';
import { ResourceStatistics, TaskState } from '../../src/mesos/messages.ts';
import { keepFixture } from '../support/cgroup-fixtures.ts';
import { outcomeOf } from '../support/command.ts';
import { containersOf, inspectTask } from '../support/docker-facts.ts';
import { BINARY, type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { containerRecord } from '../support/installation.ts';
import { assertContent, testOn } from '../support/on-host.ts';
import { statOf } from '../support/proc.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import {
  assertBetween,
  assertGrowing,
  busyThenQuiet,
  factsOf,
  readFiles,
  type Statistics,
} from '../support/usage-facts.ts';

/** The status of a usage that has nothing to say any more. */
const ENDED = 4;
const CALLS = 40;
/** Children that end, each with CPU time of its own, and packets, until it is killed. */
const FORKING = [
  "gw=$(ip route | awk '/^default/ { print $3 }')",
  'while :; do (i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done); ping -c 1 "$gw" >/dev/null; done',
].join('; ');

describe('usage', { skip: await skipWithoutTools(), timeout: 240_000 }, () => {
  let host: Host;
  let slave: StandInSlave;
  before(async () => {
    host = await startHost({ configuration: '[containers.limits]\ncfs: true' });
    slave = await host.slave();
  });
  after(async () => await host?.[Symbol.asyncDispose]());

  const running = async (options: Omit<TaskOptions, 'image'>): Promise<LaunchedTask> => {
    const task = await slave.launch(commandTask({ image: IMAGES.busybox, ...options }));
    await task.reached(TaskState.RUNNING, 20_000);
    return task;
  };
  const usageOf = async (task: LaunchedTask): Promise<Statistics> => {
    const answer = await slave.usage(task);
    assert.ok(answer !== undefined, 'usage fails');
    return decode(ResourceStatistics, answer);
  };
  const pidOf = async (task: LaunchedTask) => (await inspectTask(host.dockerd, task)).State.Pid;
  const ready = async (task: LaunchedTask, name = 'ready') =>
    await until(`the task has made ${name}`, () => existsSync(`${task.sandbox}/fs/${name}`), {
      timeoutMs: 20_000,
    });
  const ended = async (task: LaunchedTask) => {
    await slave.killTask(task);
    await task.gone(20_000);
    assertContent(slave);
  };

  for (const parent of ['the daemon’s', 'the task’s own', 'the task’s own, nested']) {
    testOn(
      () => host,
      `says what the files say, the cgroup parent being ${parent}`,
      async ({ dockerd }) => {
        const depth = {
          'the daemon’s': '',
          'the task’s own': '/own',
          'the task’s own, nested': '/own/a/b.c',
        };
        const path = `${dockerd.cgroupParent}${depth[parent as keyof typeof depth]}`;
        const options = path === dockerd.cgroupParent ? [] : ['--cgroup-parent', path];
        const task = await running({ value: busyThenQuiet(100_000), options, cpus: 0.5, mem: 64 });
        await ready(task);
        const pid = await pidOf(task);
        const earlier = await readFiles(pid);
        assert.ok(earlier[`proc/${pid}/cgroup`]?.includes(`:${path}/`), earlier[`proc/${pid}/cgroup`]);
        const answer = await usageOf(task);
        const later = await readFiles(pid);
        assertBetween(factsOf(earlier, pid), answer, factsOf(later, pid));
        if (options.length === 0) await keepFixture('v1-cgroupfs', pid, later);
        assert.deepEqual([answer.cpus_limit, answer.mem_limit_bytes], [0.5, 64 * 2 ** 20]);
        assert.deepEqual([answer.processes, answer.threads], [2, 2]);
        assert.ok((answer.net_rx_packets ?? 0) >= 3 && (answer.net_tx_packets ?? 0) >= 3);
        await ended(task);
      },
    );
  }

  testOn(
    () => host,
    'never goes back while children of the task come and go',
    async () => {
      const task = await running({ value: FORKING, cpus: 0.3 });
      const answers: Statistics[] = [];
      while (answers.length < CALLS) answers.push(await usageOf(task));
      assertGrowing(answers);
      const [first, last] = [answers[0], answers.at(-1)];
      for (const name of ['cpus_user_time_secs', 'cpus_nr_throttled', 'net_tx_packets'] as const)
        assert.ok((last?.[name] ?? 0) > (first?.[name] ?? 0), `${name} does not move`);
      await ended(task);
    },
  );

  testOn(
    () => host,
    'counts on where an init goes into a cgroup below its own',
    async () => {
      const value = [
        'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 1000 &',
        'touch ready; until [ -e go ]; do sleep 0.1; done',
        'while IFS=: read -r number names path; do',
        '  for name in cpu cpuacct memory; do',
        '    case ,$names, in *,$name,*) at=/cg/$name$path/inner; mkdir $at; echo $$ >$at/cgroup.procs ;; esac',
        '  done',
        'done </proc/1/cgroup',
        'touch moved; wait',
      ].join('\n');
      const task = await running({ value, options: ['-v', '/sys/fs/cgroup:/cg'], cpus: 1 });
      await ready(task);
      const earlier = await usageOf(task);
      writeFileSync(`${task.sandbox}/fs/go`, '');
      await ready(task, 'moved');
      assert.match(readFileSync(`/proc/${await pidOf(task)}/cgroup`, 'utf8'), /memory:.*\/inner\n/);
      const later = await usageOf(task);
      assertGrowing([earlier, later]);
      assert.deepEqual([later.processes, later.mem_limit_bytes], [2, earlier.mem_limit_bytes]);
      await ended(task);
    },
  );

  testOn(
    () => host,
    'gives no network numbers of a network that others have too',
    async ({ dockerd }) => {
      const value = 'sleep 1000';
      const [shared, none] = [
        await running({ value, options: ['--net', 'host'] }),
        await running({ value, options: ['--net', 'none'] }),
      ];
      const inDaemonsNetwork = async (task: LaunchedTask) => {
        const argv = dockerd.inNetns([BINARY, '--config', host.configFile, 'usage']);
        const { code, stdout } = await outcomeOf(argv, { input: containerRecord(task.containerId) });
        assert.equal(code, 0);
        return decode(ResourceStatistics, stdout.subarray(4));
      };
      const hosts = await inDaemonsNetwork(shared);
      assert.deepEqual(
        Object.keys(hosts).filter((name) => name.startsWith('net_')),
        [],
      );
      assert.ok(hosts.mem_total_bytes !== undefined && hosts.mem_total_bytes > 0);
      const own = await inDaemonsNetwork(none);
      assert.deepEqual([own.net_rx_packets, own.net_tx_packets], [0, 0]);
      await ended(shared);
      await ended(none);
    },
  );

  testOn(
    () => host,
    'believes no pid that is another process by now',
    async ({ root }) => {
      const task = await running({ value: 'sleep 1000' });
      const path = `${root}/mesos/${task.containerId}/init`;
      const noted = JSON.parse(readFileSync(path, 'utf8'));
      const usage = async (init: object) => {
        writeFileSync(path, JSON.stringify({ ...noted, ...init }));
        return (await host.deimos(['usage'], containerRecord(task.containerId))).code;
      };
      const ours = { pid: process.pid, startTime: statOf(process.pid)?.startTicks };
      assert.equal(await usage({}), 0);
      assert.equal(await usage({ startTime: noted.startTime - 1 }), ENDED);
      assert.equal(await usage({ pid: process.pid }), ENDED);
      assert.equal(await usage({ bootId: 'another' }), ENDED);
      // Whole, but in a cgroup that is not the container's.
      assert.equal(await usage(ours), ENDED);
      assert.equal(await usage({}), 0);
      await ended(task);
    },
  );

  testOn(
    () => host,
    'is whole or an end, at whatever moment the container goes',
    async ({ dockerd }) => {
      const task = await running({ value: 'sleep 1000' });
      const [id = ''] = await containersOf(dockerd, task);
      const complete = Object.keys(await usageOf(task)).sort();
      const killed = dockerd.run(['kill', id]);
      const codes: (number | null)[] = [];
      while ((codes.at(-1) ?? 0) === 0) {
        const { code, stdout } = await host.deimos(['usage'], containerRecord(task.containerId));
        codes.push(code);
        if (code === 0)
          assert.deepEqual(Object.keys(decode(ResourceStatistics, stdout.subarray(4))).sort(), complete);
      }
      assert.deepEqual(
        codes.filter((code) => code !== 0),
        [ENDED],
      );
      await killed;
      await task.gone(20_000);
    },
  );
});

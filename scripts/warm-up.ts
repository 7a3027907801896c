// A host in files, for the calls that scripts/code-cache.cjs plays on it: what they compile goes into the code cache, so that
// a call finds compiled what it needs, and nothing else. The host is always the same: so is the cache. It has a supervisor that
// says yes to everything, and two containers, one by each version of cgroups.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { encode, type Input } from '../src/mesos/codec.ts';
import { Launch, Update, Usage } from '../src/mesos/messages.ts';
import { frame } from '../src/mesos/record.ts';
import { containerPaths, rootPaths } from '../src/state/layout.ts';
import type { CALLS } from './bundle.ts';

type CallName = (typeof CALLS)[number];

/** What scripts/code-cache.cjs plays. */
export interface Warmup {
  /** Where the host's `/` is. */
  readonly host: string;
  /** Relative to `host`. */
  readonly supervisorSocket: string;
  readonly supervisorRequests: string;
  readonly calls: readonly Played[];
}

interface Played {
  readonly words: readonly string[];
  /** What is on stdin, relative to `host`; nothing: /dev/null. */
  readonly record?: string;
}

const ROOT = '/run/deimos';
const BOOT_ID = '11111111-2222-3333-4444-555555555555';
const START_TIME = 1000;
/** Where a slave's work directory is, as its calls are told in MESOS_WORK_DIRECTORY. */
export const WORK_DIRECTORY = '/var/lib/mesos';
const SANDBOX = `${WORK_DIRECTORY}/sandbox`;
const THIRD = '00000000-0000-4000-8000-000000000003';
const SLAVE = 3;
const NET_DEV = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth0:    1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0
`;

interface Container {
  readonly id: string;
  readonly dockerId: string;
  readonly pid: number;
  readonly cgroup: string;
  /** Below /sys/fs/cgroup. */
  readonly files: Readonly<Record<string, string>>;
}

const [ONE, TWO] = ['1'.repeat(64), '2'.repeat(64)];
const CONTAINERS: readonly Container[] = [
  {
    id: '00000000-0000-4000-8000-000000000001',
    dockerId: ONE,
    pid: 4001,
    cgroup: `4:memory:/docker/${ONE}\n3:cpu,cpuacct:/docker/${ONE}\n`,
    files: {
      [`cpuacct/docker/${ONE}/cpuacct.stat`]: 'user 100\nsystem 100\n',
      [`cpu/docker/${ONE}/cpu.cfs_quota_us`]: '-1\n',
      [`cpu/docker/${ONE}/cpu.cfs_period_us`]: '100000\n',
      [`cpu/docker/${ONE}/cpu.shares`]: '1024\n',
      [`cpu/docker/${ONE}/cpu.stat`]: 'nr_periods 0\nnr_throttled 0\nthrottled_time 0\n',
      [`memory/docker/${ONE}/memory.stat`]:
        'cache 0\nrss 0\ntotal_cache 4096\ntotal_rss 4096\ntotal_mapped_file 0\n',
      [`memory/docker/${ONE}/memory.usage_in_bytes`]: '8192\n',
      [`memory/docker/${ONE}/memory.limit_in_bytes`]: '67108864\n',
      [`memory/docker/${ONE}/memory.soft_limit_in_bytes`]: '67108864\n',
      [`memory/docker/${ONE}/cgroup.procs`]: '4001\n',
      [`memory/docker/${ONE}/tasks`]: '4001\n',
    },
  },
  {
    id: '00000000-0000-4000-8000-000000000002',
    dockerId: TWO,
    pid: 4002,
    cgroup: `0::/docker/${TWO}\n`,
    files: {
      [`docker/${TWO}/cpu.stat`]:
        'usage_usec 200\nuser_usec 100\nsystem_usec 100\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n',
      [`docker/${TWO}/cpu.max`]: 'max 100000\n',
      [`docker/${TWO}/cpu.weight`]: '100\n',
      [`docker/${TWO}/memory.stat`]: 'anon 4096\nfile 4096\nfile_mapped 0\n',
      [`docker/${TWO}/memory.current`]: '8192\n',
      [`docker/${TWO}/memory.max`]: '67108864\n',
      [`docker/${TWO}/memory.low`]: '67108864\n',
      [`docker/${TWO}/cgroup.procs`]: '4002\n',
      [`docker/${TWO}/cgroup.threads`]: '4002\n',
    },
  },
];

/** Writes the host's files into the empty directory `host`, for calls of one kind. The calls' own pid is to be linked to /proc/self. */
export function writeWarmup(host: string, name: CallName): Warmup {
  const write = (path: string, content: string | Uint8Array, mode = 0o600): void => {
    mkdirSync(dirname(join(host, path)), { recursive: true, mode: 0o700 });
    writeFileSync(join(host, path), content, { mode });
  };
  const stat = (pid: number, name: string, parent: number): void =>
    write(
      `/proc/${pid}/stat`,
      `${pid} (${name}) S ${parent} ${pid} ${pid} ${'0 '.repeat(15)}${START_TIME} ${'0 '.repeat(30)}\n`,
    );
  write(
    '/etc/deimos.cfg',
    `[state]\nroot = ${ROOT}\n\n[docker]\nhost = unix:///var/run/docker.sock\n`,
    0o644,
  );
  write('/proc/sys/kernel/random/boot_id', `${BOOT_ID}\n`);
  write('/usr/bin/flock', '', 0o755);
  mkdirSync(join(host, SANDBOX), { recursive: true });
  stat(1, 'init', 0);
  write('/proc/1/net/dev', NET_DEV);
  stat(SLAVE, 'mesos-slave', 1);
  // The session of a call, whose leader a slave has started.
  stat(SLAVE + 1, 'sh', SLAVE);
  write(
    '/proc/self/stat',
    `5 (deimos) S ${SLAVE + 1} ${SLAVE + 1} ${SLAVE + 1} ${'0 '.repeat(15)}${START_TIME} ${'0 '.repeat(30)}\n`,
  );
  write('/proc/self/net/dev', NET_DEV);
  write('/proc/self/oom_score_adj', '0\n');
  write('/proc/self/coredump_filter', '00000033\n');
  const { supervisor, socket, requests } = rootPaths(ROOT);
  mkdirSync(join(host, supervisor), { recursive: true, mode: 0o700 });

  const records: string[] = [];
  const record = (payload: Uint8Array): string => {
    const name = `/record-${records.length}`;
    records.push(name);
    write(name, frame(payload));
    return name;
  };
  for (const { id, dockerId, pid, cgroup, files } of CONTAINERS) {
    stat(pid, 'sleep', 1);
    write(`/proc/${pid}/cgroup`, cgroup);
    write(`/proc/${pid}/net/dev`, NET_DEV);
    for (const [name, content] of Object.entries(files)) write(`/sys/fs/cgroup/${name}`, content);
    const paths = containerPaths(ROOT, id as Parameters<typeof containerPaths>[1]);
    write(paths.accepted, '');
    write(paths.dockerId, `${dockerId}\n`);
    write(paths.init, JSON.stringify({ pid, startTime: START_TIME, bootId: BOOT_ID }));
    write(paths.workDirectory, `${WORK_DIRECTORY}\n`);
    for (const lock of ['launch', 'wait', 'destroy'] as const) write(paths.lock(lock), '');
  }
  const [first = '', second = ''] = CONTAINERS.map(({ id }) => id);
  const ofContainer = (id: string): string => record(encode(Usage, { container_id: { value: id } }));
  const resources = ['cpus', 'mem'].map((name) => ({ name, type: 0, scalar: { value: 64 }, role: '*' }));
  const command = { value: 'true' };
  const launch = (id: string, task: Input<typeof Launch>['task_info']): string =>
    record(
      encode(Launch, {
        container_id: { value: id },
        task_info: {
          name: 'task',
          task_id: { value: 'task' },
          slave_id: { value: 'slave' },
          resources,
          ...task,
        },
        executor_info: {
          executor_id: { value: 'task' },
          framework_id: { value: 'framework' },
          resources,
          command,
        },
        directory: SANDBOX,
        user: 'root',
        slave_id: { value: 'slave' },
        slave_pid: 'slave(1)@127.0.0.1:5051',
        checkpoint: true,
      }),
    );
  const environment = { variables: [{ name: 'NAME', value: 'value' }] };
  const old = {
    command: { ...command, environment, container: { image: 'docker:///busybox', options: ['-m', '64m'] } },
  };
  const calls: Readonly<Record<CallName, () => readonly (string | undefined)[]>> = {
    containers: () => [undefined],
    usage: () => [ofContainer(first), ofContainer(second)],
    update: () => [record(encode(Update, { container_id: { value: first }, resources }))],
    launch: () => [launch(THIRD, old)],
    wait: () => [ofContainer(first)],
    destroy: () => [ofContainer(first)],
    recover: () => [undefined],
  };
  return {
    host,
    supervisorSocket: socket,
    supervisorRequests: requests,
    calls: calls[name]().map((stdin) => ({
      words: [name],
      ...(stdin === undefined ? {} : { record: stdin }),
    })),
  };
}

// What the kernel's own files say of a container's usage, put together here a second time and by themselves, so that an
// answer of `usage` can be held against them: the files of /proc/<pid> and of its cgroups, as one reads them with cat.

import assert from 'node:assert/strict';
import type { Infer } from '../../src/mesos/codec.ts';
import type { ResourceStatistics } from '../../src/mesos/messages.ts';
import { output } from './command.ts';

/** Path → content. Below `proc/` what belongs to the process, below `cg/` what lies below /sys/fs/cgroup. */
export type Files = Readonly<Record<string, string>>;
export type Statistics = Infer<typeof ResourceStatistics>;
type Facts = { [K in keyof Statistics]?: number | undefined };

/** A quiet container's memory may still move by what each processor keeps in reserve. */
const MEMORY_SLACK_BYTES = 512 * 1024;
/** Version 1 counts CPU time in these. */
const TICK_SECONDS = 0.01;

/** The container's cgroup directories, relative to /sys/fs/cgroup: one for each hierarchy, or the one of version 2. */
export function cgroupDirectories(cgroup: string): Readonly<Record<string, string>> {
  const lines = cgroup.trim().split('\n');
  const v1 = lines.filter((line) => /^\d+:[a-z]/.test(line) && !line.includes(':name='));
  if (v1.length === 0) return { unified: lines.find((line) => line.startsWith('0::'))?.slice(3) ?? '' };
  return Object.fromEntries(
    v1.flatMap((line) => {
      const [, controllers = '', path = ''] = line.split(':');
      return controllers.split(',').map((controller) => [controller, `/${controller}${path}`]);
    }),
  );
}

const READ = [
  'cpu.stat',
  'cpu.max',
  'cpu.weight',
  'cpu.shares',
  'cpu.cfs_quota_us',
  'cpu.cfs_period_us',
].concat(
  ['cpuacct.stat', 'memory.stat', 'memory.current', 'memory.max', 'memory.low', 'memory.swap.current'],
  ['memory.usage_in_bytes', 'memory.limit_in_bytes', 'memory.soft_limit_in_bytes'],
  ['cgroup.procs', 'cgroup.threads', 'tasks'],
);

/** A script of sh that prints these files of process $1, here or in a machine of the tests'; for parseFiles. */
export const FILES_SCRIPT = `
show() { [ -r "$1" ] && echo "=== $2" && cat "$1"; }
show "/proc/$1/cgroup" "proc/$1/cgroup"
show "/proc/$1/net/dev" "proc/$1/net/dev"
while IFS=: read -r number names path; do
  case $number:$names in
  0:) directories=$path ;;
  *:cpu | *:cpuacct | *:memory | *:cpu,cpuacct) directories=$(echo "$names" | tr , '\\n' | sed "s|.*|/&$path|") ;;
  *) continue ;;
  esac
  for directory in $directories; do
    for name in ${READ.join(' ')}; do show "/sys/fs/cgroup$directory/$name" "cg$directory/$name"; done
  done
done <"/proc/$1/cgroup"
true
`;

export function parseFiles(printed: string): Files {
  const parts = `\n${printed}`.split('\n=== ').slice(1);
  return Object.fromEntries(
    parts.map((part) => {
      const end = part.indexOf('\n');
      return [part.slice(0, end), `${part.slice(end + 1).replace(/\n$/, '')}\n`];
    }),
  );
}

/** The files of a process of this machine. */
export async function readFiles(pid: number): Promise<Files> {
  return parseFiles(await output(['sh', '-c', FILES_SCRIPT, 'sh', String(pid)]));
}

/** Every field that these files give. */
export function factsOf(files: Files, pid: number): Facts {
  const cgroup = files[`proc/${pid}/cgroup`] ?? '';
  const at = cgroupDirectories(cgroup);
  const text = (controller: string, name: string) => files[`cg${at[controller]}/${name}`]?.trim();
  const number = (controller: string, name: string) => {
    const found = text(controller, name);
    return found === undefined || found === 'max' ? undefined : Number(found);
  };
  const entry = (controller: string, file: string, name: string) => {
    const found = new RegExp(`^${name} (\\d+)$`, 'm').exec(text(controller, file) ?? '')?.[1];
    return found === undefined ? undefined : Number(found);
  };
  const lines = (controller: string, name: string) => text(controller, name)?.split('\n').length;
  const scaled = (value: number | undefined, by: number) => (value === undefined ? undefined : value / by);
  const net = netFacts(files[`proc/${pid}/net/dev`] ?? '');
  if (at.unified === undefined) {
    const quota = number('cpu', 'cpu.cfs_quota_us') ?? -1;
    const finite = (bytes: number | undefined) =>
      bytes !== undefined && bytes < 2 ** 60 ? bytes : undefined;
    const stat = (name: string) => entry('memory', 'memory.stat', name);
    return {
      cpus_user_time_secs: scaled(entry('cpuacct', 'cpuacct.stat', 'user'), 100),
      cpus_system_time_secs: scaled(entry('cpuacct', 'cpuacct.stat', 'system'), 100),
      cpus_limit:
        quota > 0
          ? quota / (number('cpu', 'cpu.cfs_period_us') ?? 0)
          : scaled(number('cpu', 'cpu.shares'), 1024),
      cpus_nr_periods: entry('cpu', 'cpu.stat', 'nr_periods'),
      cpus_nr_throttled: entry('cpu', 'cpu.stat', 'nr_throttled'),
      cpus_throttled_time_secs: scaled(entry('cpu', 'cpu.stat', 'throttled_time'), 1e9),
      mem_total_bytes: number('memory', 'memory.usage_in_bytes'),
      mem_rss_bytes: stat('total_rss'),
      mem_anon_bytes: stat('total_rss'),
      mem_file_bytes: stat('total_cache'),
      mem_cache_bytes: stat('total_cache'),
      mem_mapped_file_bytes: stat('total_mapped_file'),
      mem_swap_bytes: stat('total_swap'),
      mem_unevictable_bytes: stat('total_unevictable'),
      mem_limit_bytes: finite(number('memory', 'memory.limit_in_bytes')),
      mem_soft_limit_bytes: finite(number('memory', 'memory.soft_limit_in_bytes')),
      processes: lines('memory', 'cgroup.procs'),
      threads: lines('memory', 'tasks'),
      ...net,
    };
  }
  const [quota, period] = (text('unified', 'cpu.max') ?? 'max').split(' ').map(Number);
  const weight = number('unified', 'cpu.weight');
  const stat = (name: string) => entry('unified', 'memory.stat', name);
  const cpu = (name: string) => entry('unified', 'cpu.stat', name);
  return {
    cpus_user_time_secs: scaled(cpu('user_usec'), 1e6),
    cpus_system_time_secs: scaled(cpu('system_usec'), 1e6),
    cpus_limit:
      quota !== undefined && quota > 0
        ? quota / (period ?? 0)
        : weight && (((weight - 1) * 262_142) / 9_999 + 2) / 1024,
    cpus_nr_periods: cpu('nr_periods'),
    cpus_nr_throttled: cpu('nr_throttled'),
    cpus_throttled_time_secs: scaled(cpu('throttled_usec'), 1e6),
    mem_total_bytes: number('unified', 'memory.current'),
    mem_rss_bytes: stat('anon'),
    mem_anon_bytes: stat('anon'),
    mem_file_bytes: stat('file'),
    mem_cache_bytes: stat('file'),
    mem_mapped_file_bytes: stat('file_mapped'),
    mem_swap_bytes: number('unified', 'memory.swap.current'),
    mem_unevictable_bytes: stat('unevictable'),
    mem_limit_bytes: number('unified', 'memory.max'),
    mem_soft_limit_bytes: number('unified', 'memory.low') || undefined,
    processes: lines('unified', 'cgroup.procs'),
    threads: lines('unified', 'cgroup.threads'),
    ...net,
  };
}

function netFacts(dev: string): Facts {
  const rows = dev
    .split('\n')
    .slice(2)
    .map((line) => line.trim().split(/[\s:]+/))
    .filter(([name]) => name !== 'lo' && name !== '' && name !== undefined);
  const sum = (column: number) => rows.reduce((total, row) => total + Number(row[column]), 0);
  return {
    ...{ net_rx_bytes: sum(1), net_rx_packets: sum(2), net_rx_errors: sum(3), net_rx_dropped: sum(4) },
    ...{ net_tx_bytes: sum(9), net_tx_packets: sum(10), net_tx_errors: sum(11), net_tx_dropped: sum(12) },
  };
}

/** The answer has exactly the fields that the files give, each no less than the one and no more than the other reading. */
export function assertBetween(before: Facts, answer: Facts, after: Facts): void {
  const given = (facts: Facts) =>
    Object.entries(facts)
      .filter(([name, value]) => value !== undefined && name !== 'timestamp')
      .map(([name]) => name)
      .sort();
  assert.deepEqual(given(answer), given(after));
  for (const name of given(after) as (keyof Statistics)[]) {
    const [low, high] = [before[name] ?? 0, after[name] ?? 0].sort((a, b) => a - b) as [number, number];
    const exact = /limit/.test(name);
    const slack = exact
      ? 1e-9
      : name.startsWith('mem_')
        ? MEMORY_SLACK_BYTES
        : /_secs$/.test(name)
          ? TICK_SECONDS
          : 0;
    const value = answer[name] ?? Number.NaN;
    assert.ok(value >= low - slack && value <= high + slack, `${name}: ${low} ≤ ${value} ≤ ${high}`);
  }
}

/**
 * What a container does for its usage to be looked at: some memory of each kind, CPU time, a second process, packets to the
 * gateway; then it makes the file `ready` and rests.
 */
export function busyThenQuiet(rounds: number): string {
  return [
    'dd if=/dev/zero of=/dev/shm/ballast bs=1M count=4 2>/dev/null',
    `i=0; while [ $i -lt ${rounds} ]; do i=$((i+1)); done`,
    'sleep 1000 & gw=$(ip route | awk \'/^default/ { print $3 }\'); ping -c 3 -i 0.1 "$gw" >/dev/null',
    'touch ready; wait',
  ].join('; ');
}

/** What only grows while a container lives. */
export const COUNTERS = [
  ...(['cpus_user_time_secs', 'cpus_system_time_secs'] as const),
  ...(['cpus_nr_periods', 'cpus_nr_throttled', 'cpus_throttled_time_secs'] as const),
  ...(['net_rx_bytes', 'net_rx_packets', 'net_rx_errors', 'net_rx_dropped'] as const),
  ...(['net_tx_bytes', 'net_tx_packets', 'net_tx_errors', 'net_tx_dropped'] as const),
] as const;

/** No counter of a later answer is below that of an earlier one; all are there. */
export function assertGrowing(answers: readonly Statistics[]): void {
  for (const [at, answer] of answers.entries()) {
    const earlier = answers[at - 1] ?? answer;
    for (const name of COUNTERS) {
      const [before, now] = [earlier[name], answer[name]];
      assert.ok(before !== undefined && now !== undefined, `${name} is missing in answer ${at}`);
      assert.ok(now >= before, `${name} goes back in answer ${at}: ${before}, then ${now}`);
    }
  }
}

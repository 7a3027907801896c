// What a container uses, read from its own cgroups' files: found through /proc/<pid>/cgroup of its init, so that cgroup
// driver, parent and version do not matter. Never the host's own numbers: a dead or reused pid, or the root cgroup, is an
// error. No process is started and no Docker is asked: an old slave calls this every second for each container.

import { readdirSync, statSync } from 'node:fs';
import { errnoOf, Fault, isFault } from '../fault.ts';
import { countLines, countOf, hasGone, readNumber, readTable, readText } from './kernel-files.ts';

/** USER_HZ, in which cpuacct.stat counts; 100 on every Linux that runs Docker (it is part of the kernel's ABI). */
const CLOCK_TICKS_PER_SECOND = 100;

/** Memory limits at or above this are the kernel's way to say "none". */
const UNLIMITED_BYTES = 2 ** 60;

/** A container that makes cgroups of its own has a few, seldom some dozens; of more its processes are not counted. */
const NESTED_CGROUPS_MAX = 64;

export interface CgroupUsage {
  cpusUserTimeSecs?: number;
  cpusSystemTimeSecs?: number;
  cpusLimit?: number;
  cpusNrPeriods?: number;
  cpusNrThrottled?: number;
  cpusThrottledTimeSecs?: number;
  memTotalBytes?: number;
  memRssBytes?: number;
  memFileBytes?: number;
  memMappedFileBytes?: number;
  memSwapBytes?: number;
  memUnevictableBytes?: number;
  memLimitBytes?: number;
  memSoftLimitBytes?: number;
  processes?: number;
  threads?: number;
}

/** A container's init process, and by which name (its Docker id) its cgroup goes; undefined: by the path alone. */
export interface ContainerInit {
  readonly pid: number;
  readonly name?: string | undefined;
}

interface Cgroups {
  /** Controller → path below its mount, cgroup v1. */
  readonly v1: ReadonlyMap<string, string>;
  readonly v2?: string;
}

/** Whether one of the process's cgroups is called after `name`, as a container's are after its id, whatever the driver. */
export function isInCgroupNamed(pid: number, name: string, procRoot = '/proc'): boolean {
  return readText(`${procRoot}/${pid}/cgroup`)?.includes(name) === true;
}

/** Parses /proc/<pid>/cgroup. Throws Fault `not-found` if there is no such process. */
function cgroupsOf(pid: number, procRoot: string): Cgroups {
  const text = readText(`${procRoot}/${pid}/cgroup`);
  if (text === undefined) throw hasGone(pid);
  const v1 = new Map<string, string>();
  let v2: string | undefined;
  for (const line of text.split('\n')) {
    const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
    if (match === null) continue;
    const [, , controllers = '', path = ''] = match;
    if (controllers === '') v2 = path;
    else for (const controller of controllers.split(',')) v1.set(controller, path);
  }
  return v2 === undefined ? { v1 } : { v1, v2 };
}

/**
 * The container's own cgroup. Docker names it by the container's id, in its last component whatever the driver and the
 * parent; a privileged init (systemd, a dockerd) may have moved itself into one below, whose counters begin anew, or out.
 */
function ownPath(path: string | undefined, { pid, name }: ContainerInit): string | undefined {
  if (path === undefined) return undefined;
  if (path === '/') throw new Fault('not-found', `process ${pid} is in the host's own cgroup`);
  if (name === undefined) return path;
  const at = path.indexOf(name);
  if (at === -1) throw new Fault('not-found', `process ${pid} is not in its container's cgroup`);
  const end = path.indexOf('/', at);
  return end === -1 ? path : path.slice(0, end);
}

/** `n` if it is a real limit. */
function limit(n: number | undefined): number | undefined {
  return n === undefined || n >= UNLIMITED_BYTES ? undefined : n;
}

/** Drops what the host did not give, so that absent stays absent on the wire. */
function given(usage: { [K in keyof CgroupUsage]: CgroupUsage[K] | undefined }): CgroupUsage {
  return Object.fromEntries(Object.entries(usage).filter(([, value]) => value !== undefined));
}

/**
 * The processes and the threads in a cgroup and those that it made below itself. The list of one cgroup has only its own;
 * with version 2 a cgroup that has others below has none itself.
 */
function counted(directory: string, names: { processes: string; threads: string }): CgroupUsage {
  const directories = [directory];
  const sums = { processes: 0, threads: 0 };
  for (const at of directories) {
    const processes = countLines(`${at}/${names.processes}`);
    const threads = countLines(`${at}/${names.threads}`);
    // One below may go at any time; its processes are then gone too.
    if (at === directory && (processes === undefined || threads === undefined)) return {};
    sums.processes += processes ?? 0;
    sums.threads += threads ?? 0;
    directories.push(...below(at));
    if (directories.length > NESTED_CGROUPS_MAX) return {};
  }
  return sums;
}

/** The cgroups right below one. The number of links tells at once that there are none, as nearly always. */
function below(directory: string): string[] {
  try {
    if (statSync(directory).nlink <= 2) return [];
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => `${directory}/${entry.name}`);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENODEV') return [];
    throw error;
  }
}

function usageV1(cgroups: Cgroups, init: ContainerInit, mount: string): CgroupUsage {
  const at = (controller: string): string | undefined => {
    const path = ownPath(cgroups.v1.get(controller), init);
    return path === undefined ? undefined : `${mount}/${controller}${path}`;
  };
  const usage: { [K in keyof CgroupUsage]: CgroupUsage[K] | undefined } = {};
  const cpuacct = at('cpuacct');
  if (cpuacct !== undefined) {
    const stat = readTable(`${cpuacct}/cpuacct.stat`);
    const seconds = (ticks: number | undefined): number | undefined =>
      ticks === undefined ? undefined : ticks / CLOCK_TICKS_PER_SECOND;
    usage.cpusUserTimeSecs = seconds(stat.get('user'));
    usage.cpusSystemTimeSecs = seconds(stat.get('system'));
  }
  const cpu = at('cpu');
  if (cpu !== undefined) {
    // -1 where there is none.
    const quota = readNumber(`${cpu}/cpu.cfs_quota_us`);
    const period = readNumber(`${cpu}/cpu.cfs_period_us`);
    const shares = readNumber(`${cpu}/cpu.shares`);
    if (quota && period) usage.cpusLimit = quota / period;
    else if (shares !== undefined) usage.cpusLimit = shares / 1024;
    const stat = readTable(`${cpu}/cpu.stat`);
    usage.cpusNrPeriods = stat.get('nr_periods');
    usage.cpusNrThrottled = stat.get('nr_throttled');
    const throttled = stat.get('throttled_time');
    usage.cpusThrottledTimeSecs = throttled === undefined ? undefined : throttled / 1e9;
  }
  const memory = at('memory');
  if (memory !== undefined) {
    const stat = readTable(`${memory}/memory.stat`);
    usage.memTotalBytes = readNumber(`${memory}/memory.usage_in_bytes`);
    usage.memRssBytes = stat.get('total_rss');
    usage.memFileBytes = stat.get('total_cache');
    usage.memMappedFileBytes = stat.get('total_mapped_file');
    usage.memSwapBytes = stat.get('total_swap');
    usage.memUnevictableBytes = stat.get('total_unevictable');
    usage.memLimitBytes = limit(readNumber(`${memory}/memory.limit_in_bytes`));
    usage.memSoftLimitBytes = limit(readNumber(`${memory}/memory.soft_limit_in_bytes`));
  }
  const any = memory ?? cpuacct ?? cpu;
  return given({
    ...usage,
    ...(any === undefined ? {} : counted(any, { processes: 'cgroup.procs', threads: 'tasks' })),
  });
}

/** cgroup v2's weight (1–10000) back to the shares that runc made it from (2–262144), in CPUs. */
export function cpusOfWeight(weight: number): number {
  return (2 + ((weight - 1) * 262_142) / 9999) / 1024;
}

function usageV2(directory: string): CgroupUsage {
  const cpu = readTable(`${directory}/cpu.stat`);
  const memory = readTable(`${directory}/memory.stat`);
  const seconds = (micros: number | undefined): number | undefined =>
    micros === undefined ? undefined : micros / 1e6;
  // `max` where there is no quota.
  const [quota, period] = (readText(`${directory}/cpu.max`) ?? '').trim().split(' ').map(countOf);
  // From 1 on.
  const weight = readNumber(`${directory}/cpu.weight`) || undefined;
  const ofQuota = quota === undefined || !period ? undefined : quota / period;
  return given({
    cpusUserTimeSecs: seconds(cpu.get('user_usec')),
    cpusSystemTimeSecs: seconds(cpu.get('system_usec')),
    cpusLimit: ofQuota ?? (weight === undefined ? undefined : cpusOfWeight(weight)),
    cpusNrPeriods: cpu.get('nr_periods'),
    cpusNrThrottled: cpu.get('nr_throttled'),
    cpusThrottledTimeSecs: seconds(cpu.get('throttled_usec')),
    memTotalBytes: readNumber(`${directory}/memory.current`),
    memRssBytes: memory.get('anon'),
    memFileBytes: memory.get('file'),
    memMappedFileBytes: memory.get('file_mapped'),
    memSwapBytes: readNumber(`${directory}/memory.swap.current`),
    memUnevictableBytes: memory.get('unevictable'),
    memLimitBytes: readNumber(`${directory}/memory.max`),
    // 0 protects nothing: no soft limit.
    memSoftLimitBytes: readNumber(`${directory}/memory.low`) || undefined,
    ...counted(directory, { processes: 'cgroup.procs', threads: 'cgroup.threads' }),
  });
}

/**
 * The usage of the container with this init (the caller has checked that it is still that process). Values that this
 * host cannot give are absent. Throws Fault `not-found` if the process has gone or is in no cgroup of its container's.
 */
export function readUsage(init: ContainerInit, procRoot = '/proc', mount = '/sys/fs/cgroup'): CgroupUsage {
  const cgroups = cgroupsOf(init.pid, procRoot);
  if (cgroups.v1.has('memory') || cgroups.v1.has('cpuacct')) return usageV1(cgroups, init, mount);
  const path = ownPath(cgroups.v2, init);
  if (path === undefined)
    throw new Fault('not-found', `process ${init.pid} has no cgroup that could be read`);
  return usageV2(`${mount}${path}`);
}

/**
 * The file in which the kernel counts its kills for the memory limit of the container with this init, a line `oom_kill N`;
 * undefined where it has no cgroup of its own, or has gone.
 */
export function oomKillsFile(
  init: ContainerInit,
  procRoot = '/proc',
  mount = '/sys/fs/cgroup',
): string | undefined {
  try {
    const { v1, v2 } = cgroupsOf(init.pid, procRoot);
    const memory = ownPath(v1.get('memory'), init);
    if (memory !== undefined) return `${mount}/memory${memory}/memory.oom_control`;
    const path = ownPath(v2, init);
    return path === undefined ? undefined : `${mount}${path}/memory.events`;
  } catch (error) {
    if (isFault(error, 'not-found')) return undefined;
    throw error;
  }
}

/** The count in that file; undefined where the cgroup is gone or its kernel keeps none. */
export function readOomKills(file: string): number | undefined {
  return readTable(file).get('oom_kill');
}

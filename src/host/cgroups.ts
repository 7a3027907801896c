// What a container uses, read from its own cgroups' files: found through /proc/<pid>/cgroup of its init, so that cgroup
// driver, parent and version do not matter. Never the host's own numbers: a dead or reused pid, or the root cgroup, is an
// error. No process is started and no Docker is asked: an old slave calls this every second for each container.

import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { errnoOf, Fault } from '../fault.ts';

/** USER_HZ, in which cpuacct.stat counts; 100 on every Linux that runs Docker (it is part of the kernel's ABI). */
const CLOCK_TICKS_PER_SECOND = 100;

/** Memory limits at or above this are the kernel's way to say "none". */
const UNLIMITED_BYTES = 2 ** 60;

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
}

interface Cgroups {
  /** Controller → path below its mount, cgroup v1. */
  readonly v1: ReadonlyMap<string, string>;
  readonly v2?: string;
}

function readText(path: string): string | undefined {
  try {
    const fd = openSync(path, 'r');
    try {
      // cgroup files are small; one page and one read serve nearly all of them, and no stat is needed.
      const buffer = Buffer.allocUnsafe(8192);
      const length = readSync(fd, buffer, 0, buffer.length, 0);
      return length < buffer.length ? buffer.toString('latin1', 0, length) : readFileSync(path, 'latin1');
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'ENODEV' || code === 'EOPNOTSUPP') return undefined;
    throw error;
  }
}

/** A file that holds one number; `max` is no number. */
function readNumber(path: string): number | undefined {
  const text = readText(path)?.trim();
  if (text === undefined || text === '' || text === 'max') return undefined;
  const value = Number(text);
  return Number.isFinite(value) && value >= 0 ? value : undefined;
}

/** A file of lines `name value`. */
function readTable(path: string): Map<string, number> {
  const table = new Map<string, number>();
  for (const line of (readText(path) ?? '').split('\n')) {
    const blank = line.indexOf(' ');
    const value = Number(line.slice(blank + 1));
    if (blank > 0 && Number.isFinite(value)) table.set(line.slice(0, blank), value);
  }
  return table;
}

/** Whether one of the process's cgroups is called after `name`, as a container's are after its id, whatever the driver. */
export function isInCgroupNamed(pid: number, name: string, procRoot = '/proc'): boolean {
  return readText(`${procRoot}/${pid}/cgroup`)?.includes(name) === true;
}

/** Parses /proc/<pid>/cgroup. Throws Fault `not-found` if there is no such process. */
export function cgroupsOf(pid: number, procRoot: string): Cgroups {
  const text = readText(`${procRoot}/${pid}/cgroup`);
  if (text === undefined) throw new Fault('not-found', `process ${pid} has gone`);
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

function ownPath(path: string | undefined, pid: number): string | undefined {
  if (path === '/') throw new Fault('not-found', `process ${pid} is in the host's own cgroup`);
  return path;
}

/** `n` if it is a real limit. */
function limit(n: number | undefined): number | undefined {
  return n === undefined || n >= UNLIMITED_BYTES ? undefined : n;
}

/** Drops what the host did not give, so that absent stays absent on the wire. */
function given(usage: { [K in keyof CgroupUsage]: CgroupUsage[K] | undefined }): CgroupUsage {
  return Object.fromEntries(Object.entries(usage).filter(([, value]) => value !== undefined));
}

function usageV1(cgroups: Cgroups, pid: number, mount: string): CgroupUsage {
  const at = (controller: string): string | undefined => {
    const path = ownPath(cgroups.v1.get(controller), pid);
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
    const quota = Number(readText(`${cpu}/cpu.cfs_quota_us`) ?? '-1');
    const period = readNumber(`${cpu}/cpu.cfs_period_us`);
    const shares = readNumber(`${cpu}/cpu.shares`);
    if (quota > 0 && period !== undefined && period > 0) usage.cpusLimit = quota / period;
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
  return given(usage);
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
  const [quota = 'max', period = '0'] = (readText(`${directory}/cpu.max`) ?? '').trim().split(' ');
  const weight = readNumber(`${directory}/cpu.weight`);
  const ofQuota = quota === 'max' || Number(period) <= 0 ? undefined : Number(quota) / Number(period);
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
    memSoftLimitBytes: readNumber(`${directory}/memory.low`),
  });
}

/**
 * The usage of the container whose init is `pid` (the caller has checked that it is still that process). Values that
 * this host cannot give are absent. Throws Fault `not-found` if the process has gone or is in the host's own cgroup.
 */
export function readUsage(pid: number, procRoot = '/proc', mount = '/sys/fs/cgroup'): CgroupUsage {
  const cgroups = cgroupsOf(pid, procRoot);
  if (cgroups.v1.has('memory') || cgroups.v1.has('cpuacct')) return usageV1(cgroups, pid, mount);
  const path = ownPath(cgroups.v2, pid);
  if (path === undefined) throw new Fault('not-found', `process ${pid} has no cgroup that could be read`);
  return usageV2(`${mount}${path}`);
}

// Limits of the kernel's that a host may set for our processes: a cgroup for memory, one for the number of processes, and
// the number of descriptors. The cgroups lie below a dockerd's own of the tests, so that they go with it however a test ends.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { output } from './command.ts';
import type { Dockerd } from './dockerd.ts';
import { until } from './until.ts';

const CGROUPS = '/sys/fs/cgroup';
/** Absent where the hierarchies are those of version 1. */
const CONTROLLERS = `${CGROUPS}/cgroup.controllers`;

type Kind = 'memory' | 'pids';

export interface LimitedGroup extends Disposable {
  /** What a process writes its own pid (or 0) to, to be in it. */
  readonly procs: string;
  /** Puts a process and all its threads into it; false if it has gone. What it has already is not counted for memory. */
  join(pid: number): boolean;
  /** Bytes of memory, or processes and threads; undefined: no limit. */
  limit(most: number | undefined): void;
  /** Memory: kills by the kernel so far. Processes: starts that were refused. */
  refused(): number;
  /** Bytes, or processes and threads, now. */
  used(): number;
}

/** `name` tells several of one dockerd apart. Disposing puts whoever is in it back to the root. */
export function limitedGroup(dockerd: Dockerd, kind: Kind, name: string): LimitedGroup {
  const version = existsSync(CONTROLLERS) ? 2 : 1;
  const top = version === 2 ? CGROUPS : `${CGROUPS}/${kind}`;
  const parent = `${top}${dockerd.cgroupParent}`;
  const directory = `${parent}/${name}`;
  mkdirSync(directory, { recursive: true });
  if (version === 2)
    for (const at of [top, parent]) writeFileSync(`${at}/cgroup.subtree_control`, `+${kind}`);
  const file = (suffix: string): string => `${directory}/${suffix}`;
  const files = {
    memory:
      version === 2
        ? { limit: 'memory.max', none: 'max', refused: ['memory.events', 'oom_kill'], used: 'memory.current' }
        : {
            ...{ limit: 'memory.limit_in_bytes', none: '-1' },
            ...{ refused: ['memory.oom_control', 'oom_kill'], used: 'memory.usage_in_bytes' },
          },
    pids: { limit: 'pids.max', none: 'max', refused: ['pids.events', 'max'], used: 'pids.current' },
  }[kind];
  const [refusedIn = '', word = ''] = files.refused;
  return {
    procs: file('cgroup.procs'),
    join: (pid) => joinGroup(file('cgroup.procs'), pid),
    limit: (most) => writeFileSync(file(files.limit), most === undefined ? files.none : String(most)),
    refused: () =>
      Number(new RegExp(`^${word} (\\d+)$`, 'm').exec(readFileSync(file(refusedIn), 'utf8'))?.[1] ?? 0),
    used: () => Number(readFileSync(file(files.used), 'utf8')),
    [Symbol.dispose]: () => {
      if (!existsSync(directory)) return;
      const members = readFileSync(file('cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
      for (const pid of members) joinGroup(`${top}/cgroup.procs`, pid);
      rmdirSync(directory);
    },
  };
}

function joinGroup(procs: string, pid: number): boolean {
  try {
    writeFileSync(procs, String(pid));
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
}

/** The soft limit of a running process on its descriptors; the hard one stays, so that it can be lifted again. */
export async function limitDescriptors(pid: number, most: number): Promise<void> {
  await output(['prlimit', '--pid', String(pid), `--nofile=${most}:`]);
}

/** The numbers of the descriptors that a process has open. */
export function descriptorsOf(pid: number): readonly number[] {
  return readdirSync(`/proc/${pid}/fd`).map(Number);
}

/** Each process that `pidOf` names next is put into the group, until the kernel has killed so many more there. */
export async function killedForMemory(
  group: LimitedGroup,
  pidOf: () => number | undefined,
  kills: number,
  timeoutMs: number,
): Promise<void> {
  const enough = group.refused() + kills;
  let last: number | undefined;
  await until(
    `${kills} kills for memory`,
    () => {
      const pid = pidOf();
      if (pid !== last) last = pid !== undefined && group.join(pid) ? pid : undefined;
      return group.refused() >= enough;
    },
    { everyMs: 5, timeoutMs },
  );
}

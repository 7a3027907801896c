// The kernel's own count of processes that it killed for a cgroup's memory limit. Docker's flag comes from an event that
// its daemon may miss; the count lasts as long as the container's cgroup, which Docker removes when it learns of the end.

import { readFileSync } from 'node:fs';
import { errnoOf, isFault } from '../fault.ts';
import { cgroupsOf } from './cgroups.ts';

const MOUNT = '/sys/fs/cgroup';

/** The file with the count for the cgroup of that process; undefined where it has none of its own, or has gone. */
export function oomKillsFile(pid: number): string | undefined {
  try {
    const { v1, v2 } = cgroupsOf(pid, '/proc');
    const memory = v1.get('memory');
    const path = memory ?? v2;
    if (path === undefined || path === '/') return undefined;
    return memory === undefined
      ? `${MOUNT}${path}/memory.events`
      : `${MOUNT}/memory${path}/memory.oom_control`;
  } catch (error) {
    if (isFault(error, 'not-found')) return undefined;
    throw error;
  }
}

/** The count; undefined where the cgroup is gone or its kernel keeps none. */
export function readOomKills(path: string): number | undefined {
  try {
    const match = /^oom_kill (\d+)$/m.exec(readFileSync(path, 'latin1'));
    return match === null ? undefined : Number(match[1]);
  } catch (error) {
    if (['ENOENT', 'ENODEV'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

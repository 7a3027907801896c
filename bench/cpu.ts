// CPU time of a process that runs, from /proc/<pid>/stat (ticks of 10 ms: for seconds, not for calls).

import { setTimeout as pause } from 'node:timers/promises';
import { statOf } from '../test/support/proc.ts';
import { nowMs } from './stage.ts';

const MS_PER_TICK = 10;

/** User and system time of all its threads so far, milliseconds. */
export function cpuMsOf(pid: number | undefined): number {
  const stat = pid === undefined ? undefined : statOf(pid);
  if (stat === undefined) throw new Error(`no process ${pid}`);
  return stat.cpuTicks * MS_PER_TICK;
}

/** How much of a core it takes over so long, in percent. */
export async function cpuPercentOf(pid: number | undefined, ms: number): Promise<number> {
  const [before, beginMs] = [cpuMsOf(pid), nowMs()];
  await pause(ms);
  return ((cpuMsOf(pid) - before) / (nowMs() - beginMs)) * 100;
}

// CPU time of a process that runs, from /proc/<pid>/stat (ticks of 10 ms: for seconds, not for calls).

import { procFile } from '../test/support/proc.ts';

const MS_PER_TICK = 10;

/** User and system time of all its threads so far, milliseconds. */
export function cpuMsOf(pid: number | undefined): number {
  const text = pid === undefined ? undefined : procFile(pid, 'stat');
  if (text === undefined) throw new Error(`no process ${pid}`);
  // Fields 14 and 15; the second field is the name in parentheses, and may hold blanks.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK;
}

// Ends what runs in the cgroups of a container that its daemon has forgotten. A container's id is in the path of its
// cgroups, whatever the driver, and nobody else's: that is the proof, also for what it has put into cgroups below.

import { readdirSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { isInCgroupNamed } from './cgroups.ts';
import { rest } from './pauses.ts';
import { identify, kill } from './processes.ts';

/** What is killed may have started something in the same moment: it is looked again, so often at most. */
const ROUNDS_MAX = 10;
const ROUND_MS = 20;
/** A host may run thousands of processes: others get their turn after so many. */
const LOOKED_AT_ONCE = 50;

/** SIGKILL to all of them, until none is left. Gives the number of processes killed. Repeatable. */
export async function endInCgroupNamed(name: string, signal: AbortSignal): Promise<number> {
  const killed = new Set<number>();
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const found = await livingIn(name);
    signal.throwIfAborted();
    if (found.length === 0) break;
    for (const pid of found) {
      const process = identify(pid);
      // Asked again: by now the number may be somebody else's.
      if (process !== undefined && isInCgroupNamed(pid, name) && kill(process)) killed.add(pid);
    }
    await rest(ROUND_MS, signal);
  }
  return killed.size;
}

async function livingIn(name: string): Promise<readonly number[]> {
  const found: number[] = [];
  const pids = readdirSync('/proc').filter((entry) => /^\d+$/.test(entry));
  for (const [n, entry] of pids.entries()) {
    if (n % LOOKED_AT_ONCE === LOOKED_AT_ONCE - 1) await turn();
    const pid = Number(entry);
    if (isInCgroupNamed(pid, name) && identify(pid) !== undefined) found.push(pid);
  }
  return found;
}

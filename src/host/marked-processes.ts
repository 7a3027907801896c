// Ends a process of which no more is known than a pid that somebody told, and a variable of its environment that only it
// and what it started can have. That variable is the proof: a pid that meanwhile belongs to somebody else has not got it.
// Processes of other pid namespaces, another container's or the host's, are never touched.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { errnoOf } from '../fault.ts';
import { rest } from './pauses.ts';
import { identify, kill, type ProcessIdentity, processStat } from './processes.ts';

/** What is killed may have started something in the same moment: it is looked again, so often at most. */
const ROUNDS_MAX = 10;
const ROUND_MS = 20;
/** A host may run thousands of processes: others get their turn after so many. */
const LOOKED_AT_ONCE = 50;

/**
 * Kills `pid` and all that it started: its descendants, its session, and whatever else of its pid namespace has the mark.
 * `mark` is the whole variable (`NAME=value`), or its beginning. Gives the number of processes killed: 0 where the process
 * has ended or has not got the mark. Repeatable.
 */
export async function endMarked(pid: number, mark: string, signal: AbortSignal): Promise<number> {
  const leader = identify(pid);
  const namespace = pidNamespace(pid);
  if (leader === undefined || namespace === undefined || !hasMark(pid, mark)) return 0;
  const killed = new Set<string>();
  const strangers = new Set<number>();
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const found = await belonging(leader, namespace, mark, strangers);
    signal.throwIfAborted();
    if (found.length === 0) break;
    for (const one of found) if (kill(one)) killed.add(`${one.pid}:${one.startTime}`);
    await rest(ROUND_MS, signal);
  }
  return killed.size;
}

/** `strangers` gets who is older than the leader, nearly all of a host: they are looked at once. */
async function belonging(
  leader: ProcessIdentity,
  namespace: string,
  mark: string,
  strangers: Set<number>,
): Promise<readonly ProcessIdentity[]> {
  const all = new Map<
    number,
    { readonly parent: number; readonly session: number; readonly startTime: number }
  >();
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && !strangers.has(Number(name)));
  for (const [n, name] of pids.entries()) {
    if (n % LOOKED_AT_ONCE === LOOKED_AT_ONCE - 1) await turn();
    const pid = Number(name);
    const stat = processStat(pid);
    if (stat === undefined || stat.state === 'Z' || stat.state === 'X') continue;
    if (stat.startTime >= leader.startTime) all.set(pid, stat);
    else strangers.add(pid);
  }
  const isLeader = all.get(leader.pid)?.startTime === leader.startTime;
  const descends = (pid: number): boolean => {
    // Bounded, in case a pid is reused while we look.
    for (let at = pid, depth = 0; depth < all.size; depth++) {
      if (at === leader.pid) return true;
      const parent = all.get(at)?.parent;
      if (parent === undefined) return false;
      at = parent;
    }
    return false;
  };
  return [...all].flatMap(([pid, { session, startTime }]) => {
    if (pidNamespace(pid) !== namespace) return [];
    const related = (isLeader && descends(pid)) || session === leader.pid || hasMark(pid, mark);
    return related ? [{ pid, startTime }] : [];
  });
}

function hasMark(pid: number, mark: string): boolean {
  const text = unlessGone(() => readFileSync(`/proc/${pid}/environ`, 'utf8'));
  return text?.split('\0').some((variable) => variable.startsWith(mark)) ?? false;
}

function pidNamespace(pid: number): string | undefined {
  return unlessGone(() => readlinkSync(`/proc/${pid}/ns/pid`));
}

function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM') return undefined;
    throw error;
  }
}

// Reading /proc for the tests: which processes there are, whether one is still alive, killing a known tree.
// A process that ends while it is looked at is simply not there; nothing here kills by name.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { until } from './until.ts';

export interface Stat {
  readonly pid: number;
  readonly state: string;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  /** User and system time of all its threads, in clock ticks. */
  readonly cpuTicks: number;
  /** Clock ticks since boot: with the pid, the identity of a process. */
  readonly startTicks: number;
}

/** The number of every process there is. */
export function allPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** A file of /proc/<pid>, or undefined if the process has gone or does not let us. */
export function procFile(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}

export function statOf(pid: number): Stat | undefined {
  const text = procFile(pid, 'stat');
  if (text === undefined) return undefined;
  // The name stands in parentheses and may contain both blanks and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state = '', parent, group, session] = fields;
  return {
    pid,
    state,
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    cpuTicks: Number(fields[11]) + Number(fields[12]),
    startTicks: Number(fields[19]),
  };
}

/** The argv of a process; empty for kernel threads and zombies; undefined if it has gone. */
export function argvOf(pid: number): string[] | undefined {
  const text = procFile(pid, 'cmdline');
  if (text === undefined) return undefined;
  return text === '' ? [] : text.replace(/\0$/, '').split('\0');
}

/** Whether it runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  const stat = statOf(pid);
  return stat !== undefined && stat.state !== 'Z' && stat.state !== 'X';
}

/** Names the pid namespace of a process; undefined if it has gone. A container's differs from ours. */
export function pidNamespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}

/** `roots` and all their descendants, parents first. */
export function treeOf(roots: readonly number[]): number[] {
  const children = new Map<number, number[]>();
  for (const pid of allPids()) {
    const stat = statOf(pid);
    if (stat === undefined) continue;
    const siblings = children.get(stat.parent);
    if (siblings === undefined) children.set(stat.parent, [pid]);
    else siblings.push(pid);
  }
  const found = new Set<number>();
  const queue = [...roots];
  for (let pid = queue.shift(); pid !== undefined; pid = queue.shift()) {
    if (found.has(pid)) continue;
    found.add(pid);
    queue.push(...(children.get(pid) ?? []));
  }
  return [...found];
}

/** Sends a signal; false if there is no such process. `pid` must be greater than 1: never everything, never init. */
export function signalPid(pid: number, signal: NodeJS.Signals): boolean {
  if (!Number.isInteger(pid) || pid <= 1) throw new Error(`refusing to signal ${pid}`);
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
}

/** SIGKILLs exactly these and waits until none of them runs any more. */
export async function killAll(pids: readonly number[], timeoutMs = 10_000): Promise<void> {
  for (const pid of pids) signalPid(pid, 'SIGKILL');
  await until(`processes ${pids.join(' ')} gone`, () => !pids.some(isAlive), { timeoutMs });
}

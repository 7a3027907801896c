// What /proc says about processes. A pid alone proves nothing: it is always paired with the start time, and across
// reboots with the boot id, so that a reused pid is never taken for the process that was meant.

import { readFileSync } from 'node:fs';
import { errnoOf } from '../fault.ts';
import { readText } from './kernel-files.ts';

/** One process for as long as it lives: `startTime` is field 22 of /proc/pid/stat, clock ticks since boot. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: number;
}

const INIT_PID = 1;
/** As the kernel has it, without its directory: installed, or run from where it was built. */
const SLAVE_NAME = /^(lt-)?mesos-(slave|agent)$/;

interface Stat {
  readonly name: string;
  readonly state: string;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  readonly startTime: number;
}

/** Fields of /proc/<pid>/stat; undefined if there is no such process. */
export function processStat(pid: number | 'self'): Stat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined;
    throw error;
  }
  return parseStat(text);
}

/** What stands in such a file; undefined for what is none, such as one that was read while its process ended. */
export function parseStat(text: string): Stat | undefined {
  // The second field is the command in parentheses and may itself contain blanks and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [parent, group, session, startTime] = [fields[1], fields[2], fields[3], fields[19]].map(numberOf);
  if (parent === undefined || group === undefined || session === undefined || startTime === undefined)
    return undefined;
  return {
    name: text.slice(text.indexOf('(') + 1, text.lastIndexOf(')')),
    state: fields[0] ?? '?',
    parent,
    group,
    session,
    startTime,
  };
}

/** A group or session may be -1. */
function numberOf(field: string | undefined): number | undefined {
  if (field === undefined || !/^-?\d{1,20}$/.test(field)) return undefined;
  const number = Number(field);
  return Number.isSafeInteger(number) ? number : undefined;
}

/** The users as whom a process acts: real, effective, saved, for files; empty if there is no such process. */
export function usersOf(pid: number): readonly number[] {
  const words = /^Uid:\s+(.*)$/m.exec(readText(`/proc/${pid}/status`) ?? '')?.[1];
  return words === undefined ? [] : words.split(/\s+/).map(Number);
}

/** The process behind a pid right now; undefined if there is none or it is a zombie. */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = processStat(pid);
  if (stat === undefined || stat.state === 'Z' || stat.state === 'X') return undefined;
  return { pid, startTime: stat.startTime };
}

/** Whether that very process still lives (a zombie does not). */
export function isAlive(process: ProcessIdentity): boolean {
  return identify(process.pid)?.startTime === process.startTime;
}

/** SIGKILL to that very process; false if it has ended. */
export function kill(found: ProcessIdentity): boolean {
  if (!isAlive(found)) return false;
  try {
    process.kill(found.pid, 'SIGKILL');
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ESRCH') return false;
    throw error;
  }
}

/**
 * Who called us: the parent of our session's leader. A slave starts each call through `sh` in a session of its
 * own; the `sh` may outlive the slave, so our own parent says nothing. undefined if that parent is init (the
 * caller is gone) or cannot be seen. A slave may be the first process of a container of its own: then it is its own
 * init, which by its name is nobody else, and cannot be gone while we live.
 */
export function callerOfSession(): ProcessIdentity | undefined {
  const own = processStat('self');
  if (own === undefined) return undefined;
  const leader = processStat(own.session);
  if (leader === undefined || leader.parent < INIT_PID) return undefined;
  if (leader.parent === INIT_PID && !SLAVE_NAME.test(processStat(INIT_PID)?.name ?? '')) return undefined;
  return identify(leader.parent);
}

/** Of our own session: what a slave started. Ourselves, where its `sh` has become us. */
export function sessionLeader(): ProcessIdentity | undefined {
  const own = processStat('self');
  return own === undefined ? undefined : identify(own.session);
}

/** The kernel's id of this boot. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** A process as it is kept on disk, where it must not be believed in another boot. */
export interface NotedProcess extends ProcessIdentity {
  readonly bootId: string;
}

/** A process of this boot, to be kept. */
export function noted(process: ProcessIdentity): NotedProcess {
  return { ...process, bootId: bootId() };
}

/** Whether that very process still lives, in this boot. */
export function isNotedAlive(process: NotedProcess): boolean {
  return isAlive(process) && process.bootId === bootId();
}

/** From JSON that was kept; undefined for anything else, and for init, which is nothing of ours. */
export function parseNoted(value: unknown): NotedProcess | undefined {
  const noted = parseNotedCaller(value);
  return noted?.pid === INIT_PID ? undefined : noted;
}

/** The same for a caller (see callerOfSession), which may be its container's init. */
export function parseNotedCaller(value: unknown): NotedProcess | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (!('pid' in value) || !isCount(value.pid) || value.pid < INIT_PID) return undefined;
  if (!('startTime' in value) || !isCount(value.startTime)) return undefined;
  if (!('bootId' in value) || typeof value.bootId !== 'string') return undefined;
  return { pid: value.pid, startTime: value.startTime, bootId: value.bootId };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** `pid:startTime`, as it is handed on in an argv. */
export function formatIdentity(process: ProcessIdentity): string {
  return `${process.pid}:${process.startTime}`;
}

/** The reverse of formatIdentity; undefined for anything else. */
export function parseIdentity(text: string): ProcessIdentity | undefined {
  const match = /^(\d{1,10}):(\d{1,16})$/.exec(text);
  if (match === null) return undefined;
  const [pid, startTime] = [Number(match[1]), Number(match[2])];
  return isCount(startTime) ? { pid, startTime } : undefined;
}

// The kernel's log, /dev/kmsg, as far as it tells whose processes were killed for memory. It stays when the container's
// cgroup, and with it the kernel's count, has gone: Docker itself reads that count too late now and then on cgroup version 2.

import { closeSync, constants, openSync, readSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { errnoOf } from '../fault.ts';

/** Longer than any record that the kernel gives at one read. */
const RECORD_BYTES_MAX = 8192;
/** A log kept larger than this (some 30 MB) is read from its oldest record, so far and no further. */
const RECORDS_MAX = 400_000;
/** Read at one go; then others have their turn. */
const RECORDS_A_TURN = 500;

/** The cgroup of the killed process: `task_memcg=PATH,` since Linux 5.0, `Task in PATH killed as …` before. */
const KILLED_IN = /(?:,task_memcg=|;Task in )([^\s,]+)/;

/**
 * Whether a record of /dev/kmsg (`priority,sequence,microseconds,flags;text`) tells that the kernel killed a process for
 * memory in a cgroup of the container with this Docker id, below whatever parent, of either cgroup driver.
 */
export function tellsKillForMemory(record: string, dockerId: string): boolean {
  return KILLED_IN.exec(record)?.[1]?.includes(dockerId) === true;
}

/**
 * Whether the kernel's log tells of a kill for memory in the container. No answer is given by a kernel that keeps no log
 * for us, that has forgotten, or that logged too many kills at once: false means that nothing is told. Throws the system's
 * error if the log breaks while it is read.
 */
export async function isKillForMemoryLogged(dockerId: string, file = '/dev/kmsg'): Promise<boolean> {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    return false;
  }
  try {
    const buffer = Buffer.allocUnsafe(RECORD_BYTES_MAX);
    for (let records = 1; records <= RECORDS_MAX; records++) {
      const length = readRecord(fd, buffer);
      if (length === 0) return false;
      if (length !== undefined && tellsKillForMemory(buffer.toString('latin1', 0, length), dockerId))
        return true;
      if (records % RECORDS_A_TURN === 0) await turn();
    }
    return false;
  } finally {
    closeSync(fd);
  }
}

/** Its length; 0 if there is none that was not read yet; undefined if records were overwritten since the last one. */
function readRecord(fd: number, buffer: Buffer): number | undefined {
  try {
    return readSync(fd, buffer, 0, buffer.length, null);
  } catch (error) {
    if (errnoOf(error) === 'EAGAIN') return 0;
    if (errnoOf(error) === 'EPIPE') return undefined;
    throw error;
  }
}

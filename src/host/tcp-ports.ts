// Which process listens where, as /proc/<pid>/net says of its network namespace.

import { readdirSync, readlinkSync } from 'node:fs';
import { readLong, whenThere } from './kernel-files.ts';
import { addressOf } from './tcp-owners.ts';

const LISTEN = '0A';
const OF_IPV4 = /^[0-9A-F]{8}$/;

/** The IPv4 address on which this very process listens on that port; undefined if it does not. */
export function listensAt(pid: number, port: number): string | undefined {
  return addressIn(readLong(`/proc/${pid}/net/tcp`) ?? '', port, socketsOf(pid));
}

/** The address in a file net/tcp on which one of these sockets listens, at that port. */
export function addressIn(table: string, port: number, sockets: ReadonlySet<string>): string | undefined {
  for (const line of table.split('\n')) {
    // sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode
    const fields = line.trim().split(/\s+/);
    const [address = '', hexPort = ''] = (fields[1] ?? '').split(':');
    if (fields[3] === LISTEN && Number.parseInt(hexPort, 16) === port && sockets.has(fields[9] ?? ''))
      return OF_IPV4.test(address) ? addressOf(address) : undefined;
  }
  return undefined;
}

/** The inodes of the sockets that a process has open. */
function socketsOf(pid: number): ReadonlySet<string> {
  const inodes = new Set<string>();
  for (const fd of whenThere(() => readdirSync(`/proc/${pid}/fd`)) ?? []) {
    const inode = /^socket:\[(\d+)\]$/.exec(
      whenThere(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? '',
    )?.[1];
    if (inode !== undefined) inodes.add(inode);
  }
  return inodes;
}

// What went over a container's network, from its init's own view of it (/proc/<pid>/net/dev). A container on the host's
// network has no numbers of its own: whoever shares a namespace with the host's init or with us gets none, never the host's.

import { statSync } from 'node:fs';
import { countOf, hasGone, readText } from './kernel-files.ts';

export interface NetUsage {
  netRxBytes?: number;
  netRxPackets?: number;
  netRxErrors?: number;
  netRxDropped?: number;
  netTxBytes?: number;
  netTxPackets?: number;
  netTxErrors?: number;
  netTxDropped?: number;
}

/** The columns of net/dev behind the interface's name. */
const COLUMNS: readonly (readonly [keyof NetUsage, number])[] = [
  ['netRxBytes', 0],
  ['netRxPackets', 1],
  ['netRxErrors', 2],
  ['netRxDropped', 3],
  ['netTxBytes', 8],
  ['netTxPackets', 9],
  ['netTxErrors', 10],
  ['netTxDropped', 11],
];

/**
 * Which network a process sees: the kernel makes the files of /proc/net once for each namespace, so that the inode tells.
 * The link ns/net says the same, but only to those who could trace the process, which of the host's init few can.
 */
function networkOf(process: string): number | undefined {
  return statSync(`${process}/net/dev`, { throwIfNoEntry: false })?.ino;
}

/**
 * The sum over all interfaces but lo; nothing where that is not the container's alone, or cannot be told. Throws Fault
 * `not-found` if the process has no network any more: one that ends gives it up some time before it is seen to be dead.
 */
export function readNetUsage(pid: number, procRoot = '/proc'): NetUsage {
  const [own, hosts, ours] = [String(pid), '1', 'self'].map((name) => networkOf(`${procRoot}/${name}`));
  if (own === undefined) throw hasGone(pid);
  if (hosts === undefined || own === hosts || own === ours) return {};
  const text = readText(`${procRoot}/${pid}/net/dev`);
  if (text === undefined) throw hasGone(pid);
  const usage: NetUsage = Object.fromEntries(COLUMNS.map(([name]) => [name, 0]));
  for (const line of text.split('\n')) {
    const [, name = '', columns = ''] = /^\s*([^\s:|]+):(.*)$/.exec(line) ?? [];
    const values = columns.trim().split(/\s+/).map(countOf);
    if (name === '' || name === 'lo' || values.length < 12) continue;
    for (const [field, column] of COLUMNS) usage[field] = (usage[field] ?? 0) + (values[column] ?? 0);
  }
  return usage;
}

// Who holds and who waits for flock(2) locks. /proc/locks names the process that took a lock, which for ours is a flock(1)
// that has long exited; the true holders are found through /proc/<pid>/fdinfo of those that have the file open.

import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { whenThere } from './kernel-files.ts';

export interface LockUse {
  readonly pid: number;
  readonly level: 'exclusive' | 'shared';
  readonly status: 'held' | 'waiting';
}

/** The uses of each file, keyed by its path; paths that do not exist are left out. */
export function lockUses(paths: readonly string[]): Map<string, { inode: number; uses: LockUse[] }> {
  const byInode = new Map<string, { inode: number; uses: LockUse[] }>();
  const result = new Map<string, { inode: number; uses: LockUse[] }>();
  for (const path of paths) {
    const stat = whenThere(() => lstatSync(path));
    if (stat === undefined) continue;
    const entry = { inode: stat.ino, uses: [] };
    // /proc writes a device as major:minor in hexadecimal.
    byInode.set(`${deviceOf(stat.dev)}:${stat.ino}`, entry);
    result.set(path, entry);
  }
  const waiting = /^\d+: -> FLOCK\s+\S+\s+(READ|WRITE)\s+(\d+)\s+([0-9a-f]+:[0-9a-f]+:\d+)/;
  for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
    const match = waiting.exec(line);
    const entry = byInode.get(match?.[3] ?? '');
    if (match !== null && entry !== undefined) {
      entry.uses.push({ pid: Number(match[2]), level: levelOf(match[1]), status: 'waiting' });
    }
  }
  for (const name of readdirSync('/proc')) {
    if (/^\d+$/.test(name)) holdersIn(Number(name), byInode);
  }
  return result;
}

function holdersIn(pid: number, byInode: ReadonlyMap<string, { uses: LockUse[] }>): void {
  const held = /^lock:\s+\d+: FLOCK\s+\S+\s+(READ|WRITE)\s+-?\d+\s+([0-9a-f]+:[0-9a-f]+:\d+)/gm;
  for (const fd of whenThere(() => readdirSync(`/proc/${pid}/fdinfo`)) ?? []) {
    const text = whenThere(() => readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8')) ?? '';
    for (const match of text.matchAll(held)) {
      byInode.get(match[2] ?? '')?.uses.push({ pid, level: levelOf(match[1]), status: 'held' });
    }
  }
}

function levelOf(word: string | undefined): LockUse['level'] {
  return word === 'WRITE' ? 'exclusive' : 'shared';
}

function deviceOf(dev: number): string {
  // The kernel's encoding of a device number in stat(2), glibc's gnu_dev_major and gnu_dev_minor for 32 bits.
  const major = (dev >> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
  return `${major.toString(16).padStart(2, '0')}:${minor.toString(16).padStart(2, '0')}`;
}

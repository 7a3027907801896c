// `deimos locks`: every lock file of this state root with who holds it and who waits: for whoever asks at night why
// something does not go on.

import { lockUses } from '../host/locks.ts';
import { containerPaths, type LockName, rootPaths } from '../state/layout.ts';
import { checkRoot } from '../state/root.ts';
import { listIds } from '../state/store.ts';
import type { Call } from './call.ts';

const NAMES: readonly LockName[] = ['launch', 'wait', 'destroy'];

/**
 * A line for each use of each lock file: `pid inode level status path`, pid and level `-` where nobody uses it.
 * Exit status 0. Fault `config`, `not-found` (no state root).
 */
export async function locks(call: Call, write: (text: string) => void): Promise<number> {
  const root = checkRoot(call.configuredRoot());
  const { supervisorLock, startLock, wakeLock, cleanupLock } = rootPaths(root);
  const files = [supervisorLock, startLock, wakeLock, cleanupLock];
  for (const id of listIds(root).ids.sort())
    files.push(...NAMES.map((name) => containerPaths(root, id).lock(name)));
  for (const [path, { inode, uses }] of lockUses(files)) {
    if (uses.length === 0) write(`-\t${inode}\t-\tfree\t${path}\n`);
    for (const { pid, level, status } of uses) write(`${pid}\t${inode}\t${level}\t${status}\t${path}\n`);
  }
  return 0;
}

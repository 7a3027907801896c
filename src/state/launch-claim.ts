// Which launch of a container goes on, where two were called with one id: the first, unless it has died. Its claim is a fact
// of the state, made by link(2): who makes it has it, and no program is run for it. Only whoever finds one takes a lock.

import { Fault } from '../fault.ts';
import { claimFact, readJsonFact, writeFactSync } from '../host/facts.ts';
import { identify, isNotedAlive, noted, parseNoted } from '../host/processes.ts';
import type { ContainerPaths } from './layout.ts';

const NOTHING_TO_RELEASE: Disposable = { [Symbol.dispose](): void {} };

/**
 * Claims the launch of a container whose state there is, until this process ends. undefined: another one has it. What is
 * given is disposed of when the launch is done. Fault `host`.
 */
export async function claimLaunch(paths: ContainerPaths): Promise<Disposable | undefined> {
  const own = identify(process.pid);
  if (own === undefined) throw new Fault('host', 'this process cannot be seen in /proc');
  const claim = JSON.stringify(noted(own));
  if (claimFact(paths.launcher, claim)) return NOTHING_TO_RELEASE;
  const { tryLock } = await import('../host/flock.ts');
  const lock = await tryLock(paths.lock('launch'));
  if (lock === undefined) return undefined;
  const other = parseNoted(readJsonFact(paths.launcher));
  if (other !== undefined && isNotedAlive(other)) {
    lock.release();
    return undefined;
  }
  writeFactSync(paths.launcher, claim);
  return lock;
}

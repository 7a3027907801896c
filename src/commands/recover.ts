// `deimos recover`: the slave starts. Everything that still runs is looked after again when this returns: the supervisor's
// start is the recovery, this only makes sure that there is one. Docker may be down meanwhile.

import { isFault, oneLine } from '../fault.ts';
import { makeDirectory } from '../host/facts.ts';
import { callerOfSession, noted } from '../host/processes.ts';
import { containerPaths, rootPaths } from '../state/layout.ts';
import { rootsInUse } from '../state/root.ts';
import { listIds, needsSupervisor } from '../state/store.ts';
import { realWorkDirectory } from '../state/work-directory.ts';
import { ask } from '../supervisor/client.ts';
import type { Call } from './call.ts';
import { noteFact } from './note-fact.ts';

/** The slave gives executors 2 s to come back, and asks them right after this. */
const READY_TIMEOUT_MS = 2_000;

/** Exit status 0, since any other ends the slave. Fault `config` if the state root cannot be told. */
export async function recover(call: Call): Promise<number> {
  for (const root of rootsInUse(call.configuredRoot())) {
    if (!listIds(root).ids.some((id) => needsSupervisor(containerPaths(root, id)))) continue;
    noteSlave(call, root);
    try {
      await ask(root, { op: 'ready' }, { timeoutMs: READY_TIMEOUT_MS, start: call.supervisorStart() });
    } catch (error) {
      if (!isFault(error)) throw error;
      call.log.error('no supervisor yet', { root, error: oneLine(error) });
    }
  }
  return 0;
}

/** The slave dials its executors as soon as we have returned, in ways that may be new: its `wait` would tell too late. */
function noteSlave(call: Call, root: string): void {
  const workDirectory = realWorkDirectory(call.environment.MESOS_WORK_DIRECTORY);
  const slave = workDirectory === undefined ? undefined : callerOfSession();
  if (workDirectory === undefined || slave === undefined) return;
  const paths = rootPaths(root);
  const prepare = (): void => makeDirectory(paths.slaves);
  noteFact(call, paths.slave(workDirectory), JSON.stringify(noted(slave)), { prepare });
}

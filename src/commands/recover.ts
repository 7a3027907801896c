// `deimos recover`: the slave starts. Everything that still runs is looked after again when this returns: the supervisor's
// start is the recovery, this only makes sure that there is one. Docker may be down meanwhile.

import { isFault, oneLine } from '../fault.ts';
import { containerPaths } from '../state/layout.ts';
import { rootsInUse } from '../state/root.ts';
import { listIds, needsSupervisor } from '../state/store.ts';
import { ask } from '../supervisor/client.ts';
import type { Call } from './call.ts';

/** The slave gives executors 2 s to come back, and asks them right after this. */
const READY_TIMEOUT_MS = 2_000;

/** Exit status 0, since any other ends the slave. Fault `config` if the state root cannot be told. */
export async function recover(call: Call): Promise<number> {
  for (const root of rootsInUse(call.configuredRoot())) {
    if (!listIds(root).ids.some((id) => needsSupervisor(containerPaths(root, id)))) continue;
    try {
      await ask(root, { op: 'ready' }, { timeoutMs: READY_TIMEOUT_MS, start: call.supervisorStart() });
    } catch (error) {
      if (!isFault(error)) throw error;
      call.log.error('no supervisor yet', { root, error: oneLine(error) });
    }
  }
  return 0;
}

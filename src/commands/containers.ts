// `deimos containers`: every container of the calling slave that runs, or whose end no `wait` has delivered yet. One that is
// missing here is given up as lost by the slave, one that is there and not its own is destroyed: so only those that were
// launched under the same work directory.

import type { MesosContainerId } from '../container/identity.ts';
import { readFact } from '../host/facts.ts';
import { writeRecord } from '../mesos/record.ts';
import { encodeContainers } from '../mesos/task-view.ts';
import { containerPaths } from '../state/layout.ts';
import { rootsInUse } from '../state/root.ts';
import { admission, hasFact, listIds } from '../state/store.ts';
import { realWorkDirectory } from '../state/work-directory.ts';
import type { Call } from './call.ts';

/** Exit status 0 with Containers on stdout. Fault `config` if the state root cannot be told. */
export async function containers(call: Call): Promise<number> {
  const caller = realWorkDirectory(call.environment.MESOS_WORK_DIRECTORY);
  const ids: MesosContainerId[] = [];
  for (const root of rootsInUse(call.configuredRoot())) {
    for (const id of listIds(root).ids) {
      const paths = containerPaths(root, id);
      if (admission(paths) !== 'accepted' || hasFact(paths.delivered)) continue;
      const launchedUnder = readFact(paths.workDirectory)?.trim();
      if (caller !== undefined && launchedUnder !== undefined && launchedUnder !== caller) continue;
      ids.push(id);
    }
  }
  writeRecord(1, encodeContainers(ids));
  return 0;
}

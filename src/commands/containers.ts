// `deimos containers`: every container of the calling slave that runs, or whose end no `wait` has delivered yet. One that is
// missing here is given up as lost by the slave, one that is there and not its own is destroyed: so only those that were
// launched under the same work directory.

import type { MesosContainerId } from '../container/identity.ts';
import { isFault } from '../fault.ts';
import { readFact } from '../host/facts.ts';
import { writeRecord } from '../mesos/record.ts';
import { encodeContainers } from '../mesos/task-view.ts';
import { type ContainerPaths, containerPaths } from '../state/layout.ts';
import { rootsInUse } from '../state/root.ts';
import { admission, hasFact, listIds, readRequest } from '../state/store.ts';
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
      if (caller === undefined || isLaunchedUnder(paths, caller)) ids.push(id);
    }
  }
  writeRecord(1, encodeContainers(ids));
  return 0;
}

/** As the fact says, which is cheap to read; what names another directory may be somebody else's text: then the request says it. */
function isLaunchedUnder(paths: ContainerPaths, caller: string): boolean {
  const noted = readFact(paths.workDirectory)?.trim();
  if (noted === undefined || noted === caller) return true;
  try {
    return readRequest(paths)?.workDirectory === caller;
  } catch (error) {
    if (!isFault(error, 'protocol')) throw error;
    // Of a later release, whose request cannot be read.
    return false;
  }
}

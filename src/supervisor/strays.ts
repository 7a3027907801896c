// Containers whose state has gone: where the state root lies in memory, as in /run, a restart of the host takes the states and
// leaves the containers with Docker, with their logs, for ever. Nobody can ask for their end any more. Only such are removed:
// of an earlier boot of this host, on a daemon of this host, of our root, under the name that we give, not running, and without a
// state. (A person's container may have the labels, of an image that was made of one of ours.)

import { statSync } from 'node:fs';
import { containerName, mesosContainerId } from '../container/identity.ts';
import type { Engine, ListedContainer } from '../docker/engine.ts';
import { mayPass } from '../docker/faults.ts';
import { isFault, oneLine } from '../fault.ts';
import type { Log } from '../host/log.ts';
import { bootId } from '../host/processes.ts';
import { containerPaths } from '../state/layout.ts';

const OVER: readonly string[] = ['created', 'exited', 'dead'];

/** How many were removed; one that Docker cannot remove is logged. Repeatable. Faults of Engine's that may pass. */
export async function removeStrays(
  engine: Pick<Engine, 'endpoint' | 'listByLabel' | 'remove'>,
  root: string,
  log: Pick<Log, 'warning'>,
  signal: AbortSignal,
): Promise<number> {
  // What another host calls its boot says nothing here.
  if (engine.endpoint.kind !== 'unix') return 0;
  let removed = 0;
  for (const container of await engine.listByLabel(root, signal)) {
    if (!isStray(container, root)) continue;
    try {
      await engine.remove(container.id, { force: false, volumes: true }, signal);
      removed += 1;
    } catch (error) {
      if (!isFault(error) || mayPass(error)) throw error;
      // Somebody has started it meanwhile, or Docker fails with it for good: the others are to go all the same.
      log.warning('a container of an earlier boot cannot be removed', {
        dockerId: container.id,
        error: oneLine(error),
      });
    }
  }
  return removed;
}

function isStray({ name, state, mesosId, bootId: boot }: ListedContainer, root: string): boolean {
  const id = mesosContainerId(mesosId);
  if (id === undefined || name !== containerName(id)) return false;
  if (boot === undefined || boot === bootId() || !OVER.includes(state)) return false;
  return statSync(containerPaths(root, id).directory, { throwIfNoEntry: false }) === undefined;
}

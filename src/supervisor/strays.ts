// Containers whose state has gone: where the state root lies in memory, as in /run, a restart of the host takes the states and
// leaves the containers with Docker, with their logs, for ever. Nobody can ask for their end any more. Only such are removed:
// of an earlier boot of this host, on a daemon of this host, of our root, not running, and without a state.

import { statSync } from 'node:fs';
import { mesosContainerId } from '../container/identity.ts';
import type { Engine, ListedContainer } from '../docker/engine.ts';
import { isFault } from '../fault.ts';
import { bootId } from '../host/processes.ts';
import { containerPaths } from '../state/layout.ts';

const OVER: readonly string[] = ['created', 'exited', 'dead'];

/** How many were removed. Repeatable. Faults of Engine's. */
export async function removeStrays(
  engine: Pick<Engine, 'endpoint' | 'listByLabel' | 'remove'>,
  root: string,
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
      // Somebody has started it meanwhile.
      if (!isFault(error, 'conflict')) throw error;
    }
  }
  return removed;
}

function isStray({ state, mesosId, bootId: boot }: ListedContainer, root: string): boolean {
  const id = mesosContainerId(mesosId);
  if (id === undefined || boot === undefined || boot === bootId() || !OVER.includes(state)) return false;
  return statSync(containerPaths(root, id).directory, { throwIfNoEntry: false }) === undefined;
}

// Finds a container's state, whatever the configuration says by now: in the configured root first, then in those that
// launches of this host have used.

import type { MesosContainerId } from '../container/identity.ts';
import { isFault } from '../fault.ts';
import { type ContainerPaths, containerPaths } from './layout.ts';
import { checkRoot, rootsInUse } from './root.ts';
import { hasFact } from './store.ts';

export interface FoundState {
  readonly root: string;
  readonly paths: ContainerPaths;
}

/** undefined if no root knows the container. Throws Fault `config` if the configured root exists and is not ours. */
export function findState(configured: string, id: MesosContainerId): FoundState | undefined {
  try {
    const root = checkRoot(configured);
    const paths = containerPaths(root, id);
    if (hasFact(paths.directory)) return { root, paths };
  } catch (error) {
    if (!isFault(error, 'not-found')) throw error;
  }
  for (const root of rootsInUse(undefined)) {
    const paths = containerPaths(root, id);
    if (hasFact(paths.directory)) return { root, paths };
  }
  return undefined;
}

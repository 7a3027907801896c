// Which container a person means: by the Mesos id, the Docker id or the task's id, or the beginning of one of them that no
// other container's has.

import type { MesosContainerId } from '../container/identity.ts';
import { escapeControl, Fault } from '../fault.ts';
import { readFact } from '../host/facts.ts';
import { type ContainerPaths, containerPaths } from './layout.ts';
import { dockerIds, listIds } from './store.ts';

const NAMED_MAX = 5;

/** A state below a root. */
export interface PlacedState {
  readonly root: string;
  readonly id: MesosContainerId;
  readonly paths: ContainerPaths;
}

export function statesIn(roots: readonly string[]): readonly PlacedState[] {
  return roots.flatMap((root) =>
    listIds(root).ids.map((id) => ({ root, id, paths: containerPaths(root, id) })),
  );
}

/** Throws Fault `not-found` if there is none, `conflict` with the ids of some if there are several. */
export function resolveState(roots: readonly string[], word: string): PlacedState {
  const docker = new Map(roots.flatMap((root) => [...dockerIds(root)]));
  const namesOf = ({ id, paths }: PlacedState): readonly string[] =>
    [id, docker.get(id), taskIdOf(paths)].filter((name) => name !== undefined);
  const states = statesIn(roots);
  // What is meant word for word comes before what begins so, and names of directories before files of ten thousand states.
  const ways: readonly ((state: PlacedState) => boolean)[] = [
    ({ id }) => id === word,
    (state) => namesOf(state).includes(word),
    (state) => word !== '' && namesOf(state).some((name) => name.startsWith(word)),
  ];
  for (const way of ways) {
    const found = states.filter(way);
    const [first, ...others] = found;
    if (first === undefined) continue;
    if (others.length === 0) return first;
    const named = found
      .slice(0, NAMED_MAX)
      .map(({ id, paths }) => `${id} (task ${taskIdOf(paths) ?? 'unknown'})`);
    if (found.length > NAMED_MAX) named.push(`${found.length - NAMED_MAX} more`);
    throw new Fault('conflict', `${word} may be ${found.length} containers: ${named.join(', ')}`);
  }
  throw new Fault(
    'not-found',
    `no container or task here has the id ${escapeControl(word)}, in full or in short`,
  );
}

/** An executor's id, where the framework brought one of its own. */
function taskIdOf(paths: ContainerPaths): string | undefined {
  return readFact(paths.executorId)?.trim();
}

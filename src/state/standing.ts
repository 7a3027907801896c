// Where a container stands, as its state directory tells it to people: one word, since when, and how it ended. Reads only, and
// asks nobody: what Docker knows and nobody has noted yet is not in it.

import type { DockerId } from '../container/identity.ts';
import type { Outcome } from '../container/termination.ts';
import { readFact, readJsonFact } from '../host/facts.ts';
import { isNotedAlive, type NotedProcess, parseNoted } from '../host/processes.ts';
import type { ContainerPaths } from './layout.ts';
import { parseOutcome } from './records.ts';
import { launchedAt, modifiedMs } from './retention.ts';
import { admission, hasFact, readDockerId, readTermination } from './store.ts';

/**
 * launching  its launch has not come to its end yet
 * starting   accepted: fetching, pulling, creating
 * running    its init lives
 * ending     its init lives, and its end is wanted
 * ended      it runs no more, or never ran; nobody has been told yet
 * told       its slave knows how it ended: nothing is left to do
 * withdrawn  its launch was given up: it never runs
 * foreign    no state of this Deimos: of the one of 2014, or nobody's we know
 */
export type StandingName =
  | 'launching'
  | 'starting'
  | 'running'
  | 'ending'
  | 'ended'
  | 'told'
  | 'withdrawn'
  | 'foreign';

export interface Standing {
  readonly name: StandingName;
  /** Since when, milliseconds since the epoch; undefined where it is not noted. */
  readonly sinceMs: number | undefined;
  /** ISO 8601; undefined where it is not noted. */
  readonly launchedAt: string | undefined;
  /** The task's id, for an executor task the executor's; undefined where it is not noted. */
  readonly taskId: string | undefined;
  readonly dockerId: DockerId | undefined;
  /** The container's init while it lives. */
  readonly init: NotedProcess | undefined;
  /** undefined while it has not ended, or it is not known how. */
  readonly outcome: Outcome | undefined;
  /** The sentence that the framework has been or will be told; undefined before the end. */
  readonly message: string | undefined;
}

/** What nobody waits for any more, by the cheapest means: of ten thousand states nearly all are over. */
export function isOver(paths: ContainerPaths): boolean {
  return hasFact(paths.delivered) || hasFact(paths.withdrawn);
}

/** undefined if there is no such state (any more). */
export function standingOf(paths: ContainerPaths): Standing | undefined {
  const found = admission(paths);
  if (found === 'absent') return undefined;
  const noted = parseNoted(readJsonFact(paths.init));
  const init = noted !== undefined && isNotedAlive(noted) ? noted : undefined;
  const message = readTermination(paths)?.message;
  const [name, since] = nameOf(paths, { found, wasStarted: noted !== undefined, init, message });
  return {
    name,
    sinceMs: modifiedMs(since),
    launchedAt: launchedAt(paths),
    taskId: readFact(paths.executorId)?.trim(),
    dockerId: readDockerId(paths),
    init,
    outcome: parseOutcome(readJsonFact(paths.outcome)),
    message,
  };
}

interface Signs {
  readonly found: ReturnType<typeof admission>;
  readonly wasStarted: boolean;
  readonly init: NotedProcess | undefined;
  readonly message: string | undefined;
}

/** The word, and the fact whose writing was its beginning. */
function nameOf(
  paths: ContainerPaths,
  { found, wasStarted, init, message }: Signs,
): readonly [StandingName, string] {
  switch (found) {
    case 'foreign':
    case 'absent':
      return ['foreign', paths.directory];
    case 'withdrawn':
      return ['withdrawn', paths.withdrawn];
    case 'pending':
    case 'incomplete':
      return ['launching', paths.directory];
    case 'accepted':
      if (hasFact(paths.delivered)) return ['told', paths.delivered];
      if (init !== undefined)
        return hasFact(paths.wantedEnd) ? ['ending', paths.wantedEnd] : ['running', paths.init];
      if (message !== undefined) return ['ended', paths.termination];
      // Its supervisor has seen its end, or is about to.
      if (hasFact(paths.outcome)) return ['ended', paths.outcome];
      return wasStarted ? ['ended', paths.init] : ['starting', paths.accepted];
  }
}

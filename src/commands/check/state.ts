// The state root, what is kept in it, and whether a container that runs can be measured.

import { statfsSync } from 'node:fs';
import type { MesosContainerId } from '../../container/identity.ts';
import { isFault } from '../../fault.ts';
import { readUsage } from '../../host/cgroups.ts';
import { statesIn } from '../../state/resolve.ts';
import { finishedAtMs } from '../../state/retention.ts';
import { checkRecords, checkRoot, rootsToShow } from '../../state/root.ts';
import { isOver, type Standing, standingOf } from '../../state/standing.ts';
import { admission } from '../../state/store.ts';
import { bytesInWords } from '../../terminal/text.ts';
import type { Call } from '../call.ts';
import { type Finding, failure, ok, together, warning } from './finding.ts';

/** Where a host ages what it finds. */
const AGED = /^\/(?:var\/)?tmp(?:\/|$)/;
const KEPT_MS = 24 * 3_600_000;
/** A launch needs some kilobytes, a journal up to a megabyte. */
const SPACE = { few: 256 * 1024 ** 2, tooFew: 16 * 1024 ** 2 } as const;
const INODES = { few: 5_000, tooFew: 200 } as const;

/** The configured root's real path; undefined where no launch has made it yet. Fault `config`. */
function rootOf(call: Call): string | undefined {
  try {
    return checkRoot(call.configuredRoot());
  } catch (error) {
    if (!isFault(error, 'not-found')) throw error;
    return undefined;
  }
}

export function stateRoot(call: Call): Finding {
  const configured = call.configuredRoot();
  const root = rootOf(call);
  if (root !== undefined) checkRecords(root);
  const findings: Finding[] = AGED.test(configured)
    ? [
        warning(
          `${configured} lies where hosts delete what is old`,
          'set root: /run/deimos in [state] while no task runs',
        ),
      ]
    : [];
  return together(
    root === undefined ? `${configured}, which the first launch makes` : `${root}, ours alone`,
    findings,
  );
}

export function space(call: Call): Finding {
  const root = rootOf(call);
  if (root === undefined) return ok('the state root is not there yet');
  const { bavail, bsize, ffree, files } = statfsSync(root);
  const bytes = bavail * bsize;
  // Some file systems have no fixed number of inodes, and say 0.
  const inodes = files === 0 ? Number.POSITIVE_INFINITY : ffree;
  const said = `${bytesInWords(bytes)} free for ${root}${files === 0 ? '' : `, ${inodes} inodes`}`;
  const todo = 'make room there: without it no task can be launched';
  if (bytes < SPACE.tooFew || inodes < INODES.tooFew) return failure(said, todo);
  if (bytes < SPACE.few || inodes < INODES.few) return warning(said, todo);
  return ok(said);
}

export function states(call: Call): Finding {
  const now = Date.now();
  const counts = { all: 0, old: 0, foreign: 0 };
  for (const { paths } of statesIn(rootsToShow(call.configuredRoot(), call.options.root !== undefined))) {
    counts.all += 1;
    if (admission(paths) === 'foreign') counts.foreign += 1;
    const finished = finishedAtMs(paths, now);
    if (finished !== undefined && now - finished > KEPT_MS) counts.old += 1;
  }
  const findings: Finding[] = [];
  if (counts.old > 0)
    findings.push(
      warning(
        `${counts.old} states of ${counts.all} ended more than 24 h ago`,
        'remove them with `deimos state --rm --older-than 24h`',
      ),
    );
  if (counts.foreign > 0)
    findings.push(
      warning(
        `${counts.foreign} directories are no states of this deimos`,
        'see `deimos ps --all`; remove those of the Deimos of 2014 when their containers have ended',
      ),
    );
  return together(`${counts.all}, none older than 24 h`, findings);
}

/** The first container found that runs, as `usage` would measure it. */
export function usage(call: Call): Finding {
  for (const { id, paths } of statesIn(rootsToShow(call.configuredRoot(), call.options.root !== undefined))) {
    if (isOver(paths)) continue;
    const standing = standingOf(paths);
    if (standing?.init === undefined) continue;
    const finding = measured(id, standing, standing.init.pid);
    if (finding !== undefined) return finding;
  }
  return ok('no container runs');
}

/** undefined if it has ended meanwhile. */
function measured(id: MesosContainerId, { dockerId }: Standing, pid: number): Finding | undefined {
  try {
    const { memRssBytes, cpusUserTimeSecs, processes } = readUsage({ pid, name: dockerId });
    if (memRssBytes === undefined || cpusUserTimeSecs === undefined)
      return failure(
        `container ${id} cannot be measured: no ${memRssBytes === undefined ? 'memory' : 'cpu'} cgroup`,
        'mount the cgroup controllers cpu, cpuacct and memory',
      );
    return ok(`container ${id}: ${bytesInWords(memRssBytes)} of memory, ${processes ?? 'unknown'} processes`);
  } catch (error) {
    if (!isFault(error, 'not-found')) throw error;
    return undefined;
  }
}

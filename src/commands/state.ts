// `deimos state`: the states of this root, oldest first, a line each; with --rm those that are of no more use are removed.
// A time or an age narrows both.

import type { MesosContainerId } from '../container/identity.ts';
import { Fault } from '../fault.ts';
import { tryLock } from '../host/flock.ts';
import { containerPaths, rootPaths } from '../state/layout.ts';
import { finishedAtMs, launchedAt, removeFinished } from '../state/retention.ts';
import { checkRoot, rootsToShow } from '../state/root.ts';
import { launchTimes, listIds } from '../state/store.ts';
import type { Call } from './call.ts';

export interface StateOptions {
  readonly remove: boolean;
  /** `YYYY-MM-DDTHH:MM:SSZ`: only states launched before. */
  readonly before?: string;
  /** `24h`, `90m`, `30s`, `7d`: only states that ended longer ago. */
  readonly olderThan?: string;
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Exit status 0. Faults: `usage` for a time that is none, `locked` if another removal is under way, `config`. */
export async function state(
  call: Call,
  options: StateOptions,
  write: (text: string) => void,
): Promise<number> {
  const before = options.before === undefined ? undefined : parseTime(options.before);
  const olderThanMs = options.olderThan === undefined ? undefined : parseAge(options.olderThan);
  // No launch has made it yet: nothing is there to be removed, and cron asks from the first hour on.
  if (options.remove && rootsToShow(call.configuredRoot(), true).length === 0) return 0;
  const root = checkRoot(call.configuredRoot());
  const isBefore = (time: string | undefined): boolean =>
    before === undefined || (time !== undefined && Date.parse(time) < before);
  if (!options.remove) {
    const now = Date.now();
    const isOld = (id: MesosContainerId): boolean =>
      olderThanMs === undefined || now - (finishedAtMs(containerPaths(root, id), now) ?? now) > olderThanMs;
    const noted = launchTimes(root);
    // There may be ten thousand: the paths of one are only made where something has to be read.
    const times = listIds(root)
      .ids.filter(isOld)
      .map((id) => noted.get(id) ?? launchedAt(containerPaths(root, id)))
      .filter((time) => time !== undefined && isBefore(time));
    const { startTimes } = rootPaths(root);
    if (times.length > 0) write(`${startTimes}/${times.sort().join(`\n${startTimes}/`)}\n`);
    return 0;
  }
  using lock = await tryLock(rootPaths(root).cleanupLock);
  if (lock === undefined) throw new Fault('locked', 'another deimos removes states right now');
  const now = Date.now();
  const removed = removeFinished(
    root,
    now,
    (_id, finishedMs, paths) =>
      isBefore(launchedAt(paths)) && (olderThanMs === undefined || now - finishedMs > olderThanMs),
  );
  call.log.info('states removed', { count: removed.length });
  return 0;
}

function parseTime(text: string): number {
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?Z$/.test(text) ? Date.parse(text) : Number.NaN;
  // The runtime takes the 30th of February for the 2nd of March.
  const isDay = !Number.isNaN(time) && new Date(time).toISOString().slice(0, 10) === text.slice(0, 10);
  if (!isDay) throw new Fault('usage', `not a time like 2026-01-31T12:00:00Z: ${text}`);
  return time;
}

function parseAge(text: string): number {
  const match = /^(\d{1,9})([smhd])$/.exec(text);
  const unit = UNIT_MS[match?.[2] ?? ''];
  if (match === null || unit === undefined) throw new Fault('usage', `not an age like 24h: ${text}`);
  return Number(match[1]) * unit;
}

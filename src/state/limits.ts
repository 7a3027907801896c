// The limits that `update` asked for last, and when. Calls may overlap and none holds a lock: what names both resources,
// and what names one of them, is a fact of its own that its like replaces whole. So nobody has to read before it writes, no
// part is lost, and two that name both never mix.

import { readJsonFact, writeFactSync } from '../host/facts.ts';
import type { ContainerPaths } from './layout.ts';

export interface Limits {
  readonly cpus?: number;
  readonly memMb?: number;
}

/** What one call of `update` named. `atUs`: when, by the clock of `nowUs`. */
export type LimitsRecord = Limits & { readonly atUs: number };

type LimitsPaths = Pick<ContainerPaths, 'limits' | 'limitsCpus' | 'limitsMem'>;

/** Throws the system's errors. */
export function noteLimits(paths: LimitsPaths, { cpus, memMb }: Limits): void {
  if (cpus === undefined && memMb === undefined) return;
  const path = cpus === undefined ? paths.limitsMem : memMb === undefined ? paths.limitsCpus : paths.limits;
  writeFactSync(path, JSON.stringify({ cpus, memMb, atUs: nowUs() }));
}

/** Microseconds on the clock that all processes share since the boot, which no container outlives. */
export function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/** Each resource as the last call that named it wants it; undefined where there was none. */
export function readLimits(paths: LimitsPaths): Limits | undefined {
  const records = readRecords(paths);
  if (records.length === 0) return undefined;
  const wanted: Limits = {};
  for (const { atUs: _, ...limits } of records) Object.assign(wanted, limits);
  return wanted;
}

/** What the last call named; undefined where there was none. Throws the system's errors. */
export function lastUpdate(paths: LimitsPaths): LimitsRecord | undefined {
  return readRecords(paths).at(-1);
}

/** Oldest first. */
function readRecords(paths: LimitsPaths): readonly LimitsRecord[] {
  return [paths.limits, paths.limitsCpus, paths.limitsMem]
    .map((path) => parse(readJsonFact(path)))
    .filter((record) => record !== undefined)
    .sort((a, b) => a.atUs - b.atUs);
}

function parse(value: unknown): LimitsRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  return {
    // Releases that had one file for both wrote no time.
    atUs: 'atUs' in value && isAmount(value.atUs) ? value.atUs : 0,
    ...('cpus' in value && isAmount(value.cpus) ? { cpus: value.cpus } : {}),
    ...('memMb' in value && isAmount(value.memMb) ? { memMb: value.memMb } : {}),
  };
}

function isAmount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

// How far the tests of faults go, and what they tell of it at the end. Quick: some of the points, drawn by lot. All, hours
// if need be: DEIMOS_FAULTS=all, which is what `scripts/test --faults` sets. The same seed draws the same again.

import { appendFileSync } from 'node:fs';
import { lotOf } from './lot.ts';

export const ALL_FAULTS = process.env.DEIMOS_FAULTS === 'all';
export const FAULT_SEED = process.env.DEIMOS_FAULT_SEED ?? '1';
/** A bound against hanging, for a whole file. */
export const FAULT_FILE_TIMEOUT_MS = ALL_FAULTS ? 6 * 3_600_000 : 290_000;

/** What is enough at every change, or what it takes to be sure. */
export function extent<T>(quick: T, all: T): T {
  return ALL_FAULTS ? all : quick;
}

/** Numbers in [0, 1) that depend on the seed and the name alone. */
export function chances(name: string): () => number {
  let n = 0;
  return () => lotOf(`${FAULT_SEED} ${name} ${n++}`);
}

/** A line of the report: on the terminal, and where scripts/test collects them. */
export function tell(line: string): void {
  console.log(line);
  const file = process.env.DEIMOS_FAULT_REPORT;
  if (file !== undefined) appendFileSync(file, `${line}\n`);
}

// Lots that the same seed draws the same on every machine.

import { createHash } from 'node:crypto';

const DIGITS = 12;

/** A number in [0, 1) that depends on the words alone. */
export function lotOf(words: string): number {
  const hash = createHash('sha256').update(words).digest('hex').slice(0, DIGITS);
  return Number.parseInt(hash, 16) / 16 ** DIGITS;
}

/** `count` of them in the order of a lot that depends on the seed and their names; all, in their own order, if there are no more. */
export function drawn<T>(
  all: readonly T[],
  count: number,
  seed: string,
  name: (one: T) => string,
): readonly T[] {
  if (all.length <= count) return all;
  return all
    .map((one) => ({ one, lot: lotOf(`${seed} ${name(one)}`) }))
    .sort((a, b) => a.lot - b.lot)
    .slice(0, count)
    .map(({ one }) => one);
}

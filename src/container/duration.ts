// Durations as Mesos writes them into an executor's environment: a decimal number and a unit.

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  ms: 1,
  secs: 1000,
  mins: 60_000,
  hrs: 3_600_000,
  days: 86_400_000,
  weeks: 604_800_000,
};

/**
 * The longest time that anybody here waits for: timers take 2³¹ − 1 ms and make 1 ms of what is longer. Less an hour, for
 * the bounds that are added to a grace.
 */
export const LONGEST_MS = 2 ** 31 - 1 - 3_600_000;

/** `15mins`, `2.5secs` → milliseconds, at most LONGEST_MS; undefined for anything that is not such a duration. */
export function parseMesosDuration(text: string | undefined): number | undefined {
  const match = /^(\d+(?:\.\d+)?)([a-z]+)$/.exec(text ?? '');
  const unit = UNIT_MS[match?.[2] ?? ''];
  return match === null || unit === undefined ? undefined : Math.min(Number(match[1]) * unit, LONGEST_MS);
}

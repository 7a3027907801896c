// Statistics of what was measured: medians, their spread, and ratios of pairs. Pure.

export interface Spread {
  readonly median: number;
  /** A quarter of what was measured lies below, a quarter above. */
  readonly lower: number;
  readonly upper: number;
  readonly count: number;
}

/** Of at least one value. Quantiles between two values are interpolated. */
export function spread(values: readonly number[]): Spread {
  if (values.length === 0) throw new Error('no values');
  const sorted = [...values].sort((a, b) => a - b);
  const quantile = (share: number): number => {
    const at = (sorted.length - 1) * share;
    const [below = 0, above = 0] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
    return below + (above - below) * (at - Math.floor(at));
  };
  return { median: quantile(0.5), lower: quantile(0.25), upper: quantile(0.75), count: values.length };
}

/** The spread of each value divided by the base's of the same round. The lists are of one length; a base of 0 is an error. */
export function ratios(values: readonly number[], base: readonly number[]): Spread {
  if (values.length !== base.length) throw new Error(`${values.length} values beside ${base.length}`);
  return spread(
    values.map((value, at) => {
      const other = base[at] ?? 0;
      if (other === 0) throw new Error('a ratio to nothing');
      return value / other;
    }),
  );
}

export interface Line {
  readonly intercept: number;
  readonly slope: number;
  /** The largest distance of a point from the line, as a share of the largest value. */
  readonly bend: number;
}

/** The line of least squares through points of at least two places. */
export function line(points: readonly (readonly [x: number, y: number])[]): Line {
  const mean = (pick: (point: readonly [number, number]) => number): number =>
    points.reduce((sum, point) => sum + pick(point), 0) / points.length;
  const [x, y] = [mean(([at]) => at), mean(([, value]) => value)];
  const around = points.reduce((sum, [at]) => sum + (at - x) ** 2, 0);
  if (around === 0) throw new Error('no line through one place');
  const slope = points.reduce((sum, [at, value]) => sum + (at - x) * (value - y), 0) / around;
  const intercept = y - slope * x;
  const largest = Math.max(...points.map(([, value]) => Math.abs(value)));
  const farthest = Math.max(...points.map(([at, value]) => Math.abs(value - intercept - slope * at)));
  return { intercept, slope, bend: largest === 0 ? 0 : farthest / largest };
}

/** Three figures, and no more than the value has: 1,234  12.3  0.0123. */
export function figure(value: number): string {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** `1.04 (1.02 – 1.07)`. */
export function withSpread({ median, lower, upper, count }: Spread): string {
  return count === 1 ? figure(median) : `${figure(median)} (${figure(lower)} – ${figure(upper)})`;
}

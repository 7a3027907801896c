// The monotonic clock and a pause, for every call: `performance` and node:timers/promises would have to be loaded.

/** Milliseconds since some moment, never going back. */
export function elapsedMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

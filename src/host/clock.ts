// The monotonic clock, for what every call measures: `performance` is a part of the runtime that would have to be loaded.

/** Milliseconds since some moment, never going back. */
export function elapsedMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}

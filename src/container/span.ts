// The time in which output was written that was lost, or may be: in the words of a log's fields and of a sentence.

/** ms since 1970; `fromMs` 0: it is not known since when. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** As fields of a log line. */
export function timesOf({ fromMs, toMs }: Span): { readonly from?: string; readonly to: string } {
  return { ...(fromMs > 0 ? { from: isoTime(fromMs) } : {}), to: isoTime(toMs) };
}

/** `between … and …`, `before …`. */
export function formatSpan({ fromMs, toMs }: Span): string {
  return fromMs > 0 ? `between ${isoTime(fromMs)} and ${isoTime(toMs)}` : `before ${isoTime(toMs)}`;
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

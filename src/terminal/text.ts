// Words for people: widths as a terminal counts them, amounts and durations as they are said. Pure.

import { escapedInUnicode, replaceControl } from '../fault.ts';

const UNITS = ['', 'K', 'M', 'G', 'T', 'P'] as const;
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const WIDE =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]/u;
const WITHOUT_WIDTH = /^[\p{Mn}\p{Me}\p{Cf}]$/u;

/** Indented JSON that a terminal shows as it is: what it would obey is spelled as JSON can spell it, and means the same. */
export function jsonText(value: unknown): string {
  const text = JSON.stringify(value, undefined, 2);
  return replaceControl(text, (c) => (c === '\n' ? c : escapedInUnicode(c)));
}

/** How many cells of a terminal a text without control characters takes. */
export function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += cellsOf(character);
  return width;
}

function cellsOf(character: string): number {
  if (WITHOUT_WIDTH.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}

/** The text in at most `width` cells: what does not fit is cut off behind `mark`, which takes one. */
export function shorten(text: string, width: number, mark: string): string {
  if (widthOf(text) <= width) return text;
  let kept = '';
  let used = 1;
  for (const character of text) {
    used += cellsOf(character);
    if (used > width) break;
    kept += character;
  }
  return width < 1 ? '' : `${kept}${mark}`;
}

/** `512M`, `1.5G`: bytes in units of 1024, two or three digits. */
export function bytesInWords(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // What would be rounded up to 1024 is one of the next unit.
  while (Math.round(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number(value.toFixed(unit > 0 && value < 9.95 ? 1 : 0))}${UNITS[unit]}`;
}

/** `12s`, `3m`, `2h 5m`, `4d 3h`: at most two units, rounded down. */
export function durationInWords(ms: number): string {
  const left = Math.max(0, ms);
  const of = (unit: number, whole = Number.POSITIVE_INFINITY): number => Math.floor((left % whole) / unit);
  if (left < MINUTE_MS) return `${of(SECOND_MS)}s`;
  if (left < HOUR_MS) return `${of(MINUTE_MS)}m`;
  if (left < DAY_MS) return joined(`${of(HOUR_MS)}h`, of(MINUTE_MS, HOUR_MS), 'm');
  return joined(`${of(DAY_MS)}d`, of(HOUR_MS, DAY_MS), 'h');
}

function joined(whole: string, rest: number, unit: string): string {
  return rest === 0 ? whole : `${whole} ${rest}${unit}`;
}

// What the text of a value means: one function for each type of value, from text to a typed value, and for some of
// them the way back. Pure. Each throws Fault `config` that says what was expected; the caller adds file, line and key.

import { escapeControl, Fault } from '../fault.ts';
import type { LogLevel } from '../host/log.ts';
import { strip } from './ini-text.ts';

/** Called with one line about a value that is taken, but perhaps not meant. */
export type Note = (text: string) => void;

/** How much of a wrong value an error shows, in characters. */
const SHOWN_CHARS = 60;

const SIZE_UNITS: Readonly<Record<string, number>> = { k: 1024, m: 1024 ** 2, g: 1024 ** 3 };
const DURATION_UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

// The names of Python's logging, and its numbers.
const LEVELS: Readonly<Record<string, LogLevel>> = {
  debug: 'debug',
  info: 'info',
  warning: 'warning',
  warn: 'warning',
  error: 'error',
  critical: 'critical',
  fatal: 'critical',
  10: 'debug',
  20: 'info',
  30: 'warning',
  40: 'error',
  50: 'critical',
};

/** A plain value: one line, without the blanks around it; undefined where it is empty. Quotes are part of it. */
export function readText(text: string, note?: Note): string | undefined {
  const value = strip(text);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(value)) {
    throw wrong(value, 'one line without control characters; is the next line indented by mistake?');
  }
  if (value.includes('\ufffd')) throw wrong(value, 'UTF-8');
  if (/^(["']).*\1$/.test(value)) note?.('the quotes are taken as part of the value');
  return value === '' ? undefined : value;
}

export function readBoolean(text: string): boolean | undefined {
  const value = strip(text);
  if (value === '') return undefined;
  if (/^(?:true|yes|on|1)$/i.test(value)) return true;
  if (/^(?:false|no|off|0)$/i.test(value)) return false;
  throw wrong(value, 'true or false');
}

/** NOTSET is Python's word for "as if nothing was said". */
export function readLevel(text: string): LogLevel | undefined {
  const value = strip(text).toLowerCase();
  if (value === '' || value === 'notset') return undefined;
  const level = Object.hasOwn(LEVELS, value) ? LEVELS[value] : undefined;
  if (!level) throw wrong(strip(text), 'DEBUG, INFO, WARNING, ERROR or CRITICAL');
  return level;
}

/**
 * Words of a command line: a JSON list of strings (numbers are taken as they are written in JSON), or a text that does
 * not begin with `[`, which is one word, blanks and all, as it was in the first Deimos.
 */
export function readWords(text: string, note?: Note): readonly string[] | undefined {
  const value = strip(text);
  if (!value.startsWith('[')) {
    const word = readText(text, note);
    if (word === undefined) return undefined;
    if (/\s/.test(word)) note?.('taken as one word, blanks and all; a JSON list would be several');
    return [word];
  }
  // A list that ends early was most likely cut by the file format.
  const hint = value.endsWith(']')
    ? ''
    : ' (on the line of a key, a ; behind a blank begins a comment: write \\u003b)';
  const expected = `a JSON list of strings, like ["-e", "NAME=value"]${hint}`;
  let list: unknown;
  try {
    list = JSON.parse(value);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw wrong(value, expected);
  }
  if (!Array.isArray(list)) throw wrong(value, expected);
  return list.map((item: unknown) => {
    if (typeof item === 'number' && Number.isFinite(item)) return String(item);
    if (typeof item !== 'string') {
      // Deep enough, it could not be written as JSON again.
      const shown = typeof item === 'object' ? value : JSON.stringify(item);
      throw wrong(shown, `${expected}: only strings can be in it`);
    }
    if (item.includes('\0')) throw wrong(item, 'words without NUL');
    if (item.includes('\ufffd')) throw wrong(item, 'UTF-8');
    return item;
  });
}

/** Names of environment variables. */
export function readNames(text: string, note?: Note): readonly string[] | undefined {
  const names = readWords(text, note);
  const bad = names?.find((name) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name));
  if (bad !== undefined) throw wrong(bad, 'a JSON list of names of variables, like ["ROLE", "ZONE"]');
  return names;
}

/** Seconds, to the millisecond: `90`, `1.5`, `90s`, `15m`, `24h`, `7d`; at most `maxSeconds`. */
export function readDuration(text: string, maxSeconds: number): number | undefined {
  const value = strip(text);
  if (value === '') return undefined;
  const [, amount, unit = 's'] = /^(\d{1,12}(?:\.\d{1,9})?) ?([smhd]?)$/i.exec(value) ?? [];
  const factor = DURATION_UNITS[unit.toLowerCase() || 's'];
  if (amount === undefined || factor === undefined) {
    throw wrong(value, 'seconds, or a number followed by s, m, h or d');
  }
  const seconds = Math.round(Number(amount) * factor * 1000) / 1000;
  if (seconds > maxSeconds) throw wrong(value, `at most ${maxSeconds} seconds`);
  return seconds;
}

/** Bytes: `1048576`, `512k`, `100m`, `2g` (powers of 1024; `MB` and `MiB` as well), within the bounds given. */
export function readSize(text: string, minBytes: number, maxBytes: number): number | undefined {
  const value = strip(text);
  if (value === '') return undefined;
  const [, amount, unit = ''] = /^(\d{1,15}) ?([kmg]?)(?:i?b)?$/i.exec(value) ?? [];
  const factor = unit === '' ? 1 : SIZE_UNITS[unit.toLowerCase()];
  if (amount === undefined || factor === undefined) {
    throw wrong(value, 'bytes, or a whole number followed by k, m or g');
  }
  const bytes = Number(amount) * factor;
  if (bytes < minBytes || bytes > maxBytes) {
    throw wrong(value, `between ${formatSize(minBytes)} and ${formatSize(maxBytes)}`);
  }
  return bytes;
}

/** The shortest text that readSize() reads as `bytes`. */
export function formatSize(bytes: number): string {
  for (const unit of ['g', 'm', 'k']) {
    const factor = SIZE_UNITS[unit] ?? 1;
    if (bytes > 0 && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return String(bytes);
}

export function readPort(text: string): number | undefined {
  const value = strip(text);
  if (value === '') return undefined;
  const port = /^\d{1,5}$/.test(value) ? Number(value) : 0;
  if (port < 1 || port > 65_535) throw wrong(value, 'a port between 1 and 65535');
  return port;
}

/** The state root: an absolute path. A colon in it could not be given to Docker as the source of a volume. */
export function readRoot(text: string): string | undefined {
  const value = readText(text);
  if (value === undefined) return undefined;
  if (!value.startsWith('/')) throw wrong(value, 'an absolute path, without quotes');
  if (value.includes(':')) throw wrong(value, 'a path without a colon');
  if (/(?:^|\/)\.\.(?:\/|$)/.test(value)) throw wrong(value, 'a path without ..');
  // One spelling for one directory: locks and sockets below it are told apart by their names.
  return `/${value
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')}`;
}

/** What is thrown for a value that cannot be read. */
export function wrong(value: string, expected: string): Fault {
  const shown = value.length > SHOWN_CHARS ? `${value.slice(0, SHOWN_CHARS)}…` : value;
  return new Fault('config', `'${escapeControl(shown)}' cannot be read; expected: ${expected}`);
}

// Values of environment variables among a task's words for `docker run`. An argv can be read by everybody on the host while
// the docker CLI runs: it gets a random word in the place of each value, which is put back into what it asks for. What
// people are shown has a mask there. Where it is not sure that a word is a variable, it is taken for one: what is put back
// is exactly what was there.

import { randomUUID } from 'node:crypto';
import { escapeControl } from '../fault.ts';

/** `docker run`'s options that take no value; all others take the next word. A test holds them against the CLI's own help. */
export const FLAGS: ReadonlySet<string> = new Set([
  ...['--detach', '--disable-content-trust', '--help', '--init', '--interactive', '--no-healthcheck'],
  ...['--oom-kill-disable', '--privileged', '--publish-all', '--quiet', '--read-only', '--rm'],
  ...['--sig-proxy', '--tty', '--use-api-socket'],
]);
export const SHORT_FLAGS = 'diPqt';
/** Beside -e. */
export const SHORT_WITH_VALUE = 'achlmpuvw';

const MASK = '***';
/** What may be a variable's option, with and without its value, whatever stands before it. */
const MAYBE_OPTION = /^(?:-[A-Za-z]*e|--env)$/;
const MAYBE_WHOLE = /^(?:-[A-Za-z]*?e=?|--env=)[^=]+=/;

export interface HiddenValues {
  /** For an argv. */
  readonly words: readonly string[];
  /** A JSON text that was made of `words`, with the values back in its strings. */
  reveal(json: string): string;
  /** Any other text that was made of them, masked. */
  mask(text: string): string;
}

export function hideValues(options: readonly string[]): HiddenValues {
  const token = `v${randomUUID().replaceAll('-', '')}`;
  const values: string[] = [];
  const words = replaceValues(options, (value) => `${token}n${values.push(value) - 1}x`);
  const pattern = new RegExp(`${token}n(\\d+)x`, 'g');
  return {
    words,
    reveal: (json) =>
      json.replace(pattern, (_, n: string) => JSON.stringify(values[Number(n)] ?? '').slice(1, -1)),
    mask: (text) => text.replace(pattern, MASK),
  };
}

/** The options for a message, on one line, values masked. */
export function shownOptions(options: readonly string[]): string {
  return escapeControl(replaceValues(options, () => MASK).join(' '));
}

function replaceValues(options: readonly string[], replace: (value: string) => string): readonly string[] {
  let role: Role = 'option';
  return options.map((word, i) => {
    const { begin, next } = read(word, role, options[i - 1] ?? '');
    role = next;
    // One without a value says nothing.
    return begin === undefined || begin === word.length
      ? word
      : `${word.slice(0, begin)}${replace(word.slice(begin))}`;
  });
}

/** What a word is to the CLI: an option (or a stray word), the value of one, or a variable. */
type Role = 'option' | 'value' | 'variable';

interface Reading {
  /** Where a variable's value begins in it. */
  readonly begin?: number | undefined;
  readonly next: Role;
}

function read(word: string, role: Role, previous: string): Reading {
  if (role === 'variable') return { begin: behindEquals(word, 0), next: 'option' };
  const maybe = MAYBE_WHOLE.exec(word)?.[0].length;
  if (role === 'value') return { begin: maybe, next: 'option' };
  if (!word.startsWith('-') || word === '-' || word === '--') {
    // The CLI takes it for an image, unless the option before the last is one of a later CLI's that takes no value.
    return { begin: MAYBE_OPTION.test(previous) ? behindEquals(word, 0) : maybe, next: 'option' };
  }
  return word.startsWith('--') ? readLong(word) : readShort(word, maybe);
}

function readLong(word: string): Reading {
  const equals = word.indexOf('=');
  const name = equals < 0 ? word : word.slice(0, equals);
  if (equals >= 0)
    return { begin: name === '--env' ? behindEquals(word, equals + 1) : undefined, next: 'option' };
  if (name === '--env') return { next: 'variable' };
  return { next: FLAGS.has(name) ? 'option' : 'value' };
}

/** Several letters in one word; the first that takes a value has the rest for it, or the next word. */
function readShort(word: string, maybe: number | undefined): Reading {
  for (let at = 1; at < word.length; at++) {
    const letter = word.charAt(at);
    const isLast = at === word.length - 1;
    if (letter === 'e') {
      if (isLast) return { next: 'variable' };
      const begin = word[at + 1] === '=' && at + 2 < word.length ? at + 2 : at + 1;
      return { begin: behindEquals(word, begin), next: 'option' };
    }
    if (SHORT_WITH_VALUE.includes(letter)) return { next: isLast ? 'value' : 'option' };
    // One of a later CLI's.
    if (!SHORT_FLAGS.includes(letter)) return { begin: maybe, next: isLast ? 'value' : 'option' };
  }
  return { next: 'option' };
}

function behindEquals(word: string, from: number): number | undefined {
  const at = word.indexOf('=', from);
  return at < 0 ? undefined : at + 1;
}

// Looks a key up as SafeConfigParser does: in its section, else in [DEFAULT], with `%(name)s` replaced by the value of
// another key seen from the same section and `%%` by a per cent sign. Pure; knows no particular key.

import { Fault } from '../fault.ts';
import { DEFAULT_SECTION, type Entry, type Section, type Sections } from './ini-text.ts';

/** How deep `%(name)s` may lead on to values that contain `%(name)s`; Python's bound, which also ends a circle. */
const MAX_DEPTH = 10;
/** A value that names another one twice doubles it, ten times over: no file's references may bring in more than this. */
const BROUGHT_IN_CHARS_MAX = 1024 ** 2;

/** `-` and `_` are the same in a key. */
export function canonicalKey(key: string): string {
  return key.replaceAll('-', '_');
}

/**
 * The entry of that key, which must be given as canonicalKey() makes it; undefined where neither the section nor
 * [DEFAULT] has it. [DEFAULT] counts only for sections that the file names, as in Python.
 */
export function findEntry(sections: Sections, sectionName: string, key: string): Entry | undefined {
  const section = sections.get(sectionName);
  if (!section) return undefined;
  const fallback = sections.get(DEFAULT_SECTION);
  return findIn(section, key) ?? (fallback && findIn(fallback, key));
}

function findIn(section: Section, key: string): Entry | undefined {
  let found: Entry | undefined;
  // Written in both ways, the later one counts, as for a key that is written twice in one.
  for (const [name, entry] of section.entries) {
    if (canonicalKey(name) === key && (!found || entry.line > found.line)) found = entry;
  }
  return found;
}

/** A value of that section with all references replaced. Fault `config` for an unknown name, a bare `%`, a circle, or too much. */
export type Interpolate = (sectionName: string, value: string) => string;

/** For the values of one file, which have one bound together. */
export function interpolation(sections: Sections): Interpolate {
  let broughtIn = 0;
  return (sectionName, value) =>
    expand(value, 1, (name) => {
      const found = rawValue(sections, sectionName, name);
      // The reference counts, too: what is empty takes its time as well.
      broughtIn += name.length + (found?.length ?? 0);
      if (broughtIn > BROUGHT_IN_CHARS_MAX)
        throw new Fault('config', `%(name)s brings in more than ${BROUGHT_IN_CHARS_MAX} characters`);
      return found;
    });
}

function rawValue(sections: Sections, sectionName: string, name: string): string | undefined {
  const own = sections.get(sectionName)?.entries.get(name);
  if (own) return own.value;
  // Python keeps the section's own name under this key.
  if (name === '__name__') return sectionName;
  return sections.get(DEFAULT_SECTION)?.entries.get(name)?.value;
}

function expand(value: string, depth: number, lookUp: (name: string) => string | undefined): string {
  if (depth > MAX_DEPTH)
    throw new Fault('config', `%(name)s leads from one to the next more than ${MAX_DEPTH} times`);
  let result = '';
  let from = 0;
  for (let at = value.indexOf('%'); at >= 0; at = value.indexOf('%', from)) {
    result += value.slice(from, at);
    if (value.charAt(at + 1) === '%') {
      result += '%';
      from = at + 2;
      continue;
    }
    const [reference, name = ''] = /^%\(([^)]+)\)s/.exec(value.slice(at)) ?? [];
    if (reference === undefined)
      throw new Fault('config', 'a % that is neither %% nor %(name)s; write %% for a per cent sign');
    const found = lookUp(name.toLowerCase());
    if (found === undefined) {
      throw new Fault(
        'config',
        `%(${name})s names no key of this section or of [DEFAULT]; write %% for a per cent sign`,
      );
    }
    result += found.includes('%') ? expand(found, depth + 1, lookUp) : found;
    from = at + reference.length;
  }
  return result + value.slice(from);
}

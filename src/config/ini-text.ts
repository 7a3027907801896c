// The file format: sections, keys, continuation lines and comments as the SafeConfigParser of Python 2.7 reads them,
// for the files that operators have are written for it. Two results: the sections themselves (all that the verbs on
// the slave's hot path need), and the same as text that the `ini` package cannot misread.
// It knows no section and no key, and gives no value a meaning; a line that it cannot read is listed, never thrown.

export interface Entry {
  /** Not yet interpolated; continuation lines are joined by newlines. */
  readonly value: string;
  /** Where the key stands, counted from 1. */
  readonly line: number;
}

export interface Section {
  /** Where it is opened first. */
  readonly line: number;
  /** By key in lower case, as written otherwise (`-` and `_` differ here). */
  readonly entries: Map<string, Entry>;
}

export type Sections = Map<string, Section>;

export interface Malformed {
  readonly line: number;
  readonly text: string;
}

export interface IniText {
  readonly sections: Sections;
  /** Lines that are neither section, key, continuation nor comment, in order. Empty for a sound file. */
  readonly malformed: readonly Malformed[];
}

/** The section whose keys stand in for those that any other section lacks. */
export const DEFAULT_SECTION = 'DEFAULT';

/** Without the blanks around it, as Python's strip() of a byte string. Takes time in proportion to the length. */
export function strip(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(text.charCodeAt(from))) from += 1;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1;
  return text.slice(from, to);
}

// Python's byte strings know six blanks, space and \t \n \v \f \r, and no others; \s and trim() of JavaScript would
// take more. (No regular expression: to compile one takes longer than to read a usual file.)
function isBlank(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d);
}

/** Never throws, whatever the text. A key that comes twice has its last value, a section that comes twice is one. */
export function readIniText(text: string): IniText {
  const sections: Sections = new Map();
  const malformed: Malformed[] = [];
  let section: Section | undefined;
  let open: { key: string; line: number; values: string[] } | undefined;
  const close = () => {
    if (section && open) section.entries.set(open.key, { value: open.values.join('\n'), line: open.line });
    open = undefined;
  };

  let line = 0;
  for (const raw of text.split('\n')) {
    line += 1;
    if (isComment(raw)) continue;
    const stripped = strip(raw);
    if (stripped === '') continue;
    if (open && isBlank(raw.charCodeAt(0))) {
      // Neither comments nor keys here: what is indented under a key belongs to its value, word for word.
      open.values.push(stripped);
      continue;
    }
    const name = sectionName(raw);
    if (name !== undefined) {
      close();
      section = sections.get(name) ?? { line, entries: new Map() };
      sections.set(name, section);
      continue;
    }
    const separator = section ? separatorIn(raw) : -1;
    if (separator < 0) {
      malformed.push({ line, text: stripped });
      continue;
    }
    close();
    const key = strip(raw.slice(0, separator)).toLowerCase();
    open = { key, line, values: [firstLineValue(raw.slice(separator + 1))] };
  }
  close();
  return { sections, malformed };
}

function isComment(line: string): boolean {
  if (line.startsWith('#') || line.startsWith(';')) return true;
  return line.slice(0, 3).toLowerCase() === 'rem' && (line.length === 3 || isBlank(line.charCodeAt(3)));
}

/** What follows the bracket is ignored. */
function sectionName(line: string): string | undefined {
  const end = line.startsWith('[') ? line.indexOf(']') : -1;
  return end > 1 ? line.slice(1, end) : undefined;
}

/** Where the key ends; -1 if there is none, or if the line is indented. */
function separatorIn(line: string): number {
  if (isBlank(line.charCodeAt(0))) return -1;
  const colon = line.indexOf(':');
  const equals = line.indexOf('=');
  const first = colon < 0 || equals < 0 ? Math.max(colon, equals) : Math.min(colon, equals);
  return first === 0 ? -1 : first;
}

// A comment begins at the first `;` of the line, and only if a blank stands before it; a list with ";" in its strings
// is whole. (A value that begins with `;` is looked at from behind in Python: its last character counts.)
function firstLineValue(afterSeparator: string): string {
  let from = 0;
  while (isBlank(afterSeparator.charCodeAt(from))) from += 1;
  const value = afterSeparator.slice(from);
  const at = value.indexOf(';');
  const cut = at >= 0 && isBlank(value.charCodeAt(at === 0 ? value.length - 1 : at - 1));
  const kept = strip(cut ? value.slice(0, at) : value);
  return kept === '""' ? '' : kept;
}

/**
 * The sections as text for the `ini` package, in which nothing is left that it would take for its own: names and
 * values are JSON strings (so no comment, no blank, no `=` in them counts), dots in section names are escaped (it nests
 * at bare ones), and each name is led by its line number, which survives in this way and keeps `__proto__` whole. The
 * blank behind a key and the `=` before a value keep a trailing `[]` and words like `true` from being special.
 */
export function toIniPackageText({ sections }: IniText): string {
  const lines: string[] = [];
  for (const [name, { line, entries }] of sections) {
    lines.push(`[${quote(`${line} ${name}`.replaceAll('.', '\\.'))}]`);
    for (const [key, entry] of entries) {
      lines.push(`${quote(`${entry.line} ${key} `)}=${quote(`=${entry.value}`)}`);
    }
  }
  return lines.join('\n');
}

/** The way back from what `ini` made of toIniPackageText(). Anything that cannot have come from there is a bug: TypeError. */
export function fromIniPackage(parsed: Readonly<Record<string, unknown>>): Sections {
  const sections: Sections = new Map();
  for (const [title, content] of Object.entries(parsed)) {
    const { line, rest: name } = splitLine(title);
    if (typeof content !== 'object' || content === null) throw new TypeError(`ini: [${name}] is no section`);
    const entries = new Map<string, Entry>();
    for (const [label, value] of Object.entries(content)) {
      const { line: at, rest } = splitLine(label);
      if (typeof value !== 'string') throw new TypeError(`ini: line ${at} is no text`);
      entries.set(rest.slice(0, -1), { value: value.slice(1), line: at });
    }
    sections.set(name, { line, entries });
  }
  return sections;
}

function splitLine(text: string): { line: number; rest: string } {
  const [, digits = '', rest = ''] = /^(\d+) (.*)$/s.exec(text) ?? [];
  if (digits === '') throw new TypeError(`ini: ${JSON.stringify(text)} has lost its line`);
  return { line: Number(digits), rest };
}

// The package matches lines with `.`, which stops at these two although they are no line ends to it; and `]` ends a
// section name, `=` a key, whatever quotes stand around them.
function quote(text: string): string {
  return JSON.stringify(text).replace(
    /[\u2028\u2029\]=]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

// Pages cite tests as `file › title`: the file below test/ without `.test.ts`, and the title of a test in it. Here is how a
// table's cells are read, and whether a cited test is there. Works on text; it runs nothing.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** A test whose title is no plain string. */
const COMPUTED = /\b(?:it|test)\(\s*(?:[\w.]+\s*[,(]|`[^`]*\$\{)/;

const root = resolve(import.meta.dirname, '../..');

/** The cells of a line of a Markdown table; none where it is no such line. A bar with a backslash is text. */
export function cellsOf(line: string): readonly string[] {
  return /^\| ?(.*?) ?\|$/.exec(line)?.[1]?.split(/ *(?<!\\)\| */) ?? [];
}

/** What a cell cites, one each: they stand between line breaks. */
export function citedIn(cell: string): readonly string[] {
  return cell
    .split('<br>')
    .map((one) => one.trim().replaceAll('\\|', '|'))
    .filter((one) => one !== '');
}

/**
 * The text of a test file by its name below test/ without `.test.ts`, with those of support/ that it imports, which may have
 * the cases that its titles are made of; undefined where there is none.
 */
export function testText(name: string): string | undefined {
  const path = `${root}/test/${name}.test.ts`;
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path, 'utf8');
  const imported = [...text.matchAll(/from '((?:\.\.?\/)+support\/[\w/-]+\.ts)'/g)].map(
    ([, file = '']) => file,
  );
  return [text, ...imported.map((file) => readFileSync(resolve(dirname(path), file), 'utf8'))].join('\n');
}

/** What is wrong with a citation; undefined: nothing. `isIn` says whether a test of that title is in a text. */
export function wrongCitation(
  cited: string,
  textOf: (file: string) => string | undefined,
  isIn: (text: string, title: string) => boolean,
): string | undefined {
  const [, file = '', title = ''] = /^(\S+) › (.+)$/.exec(cited) ?? [];
  const text = textOf(file);
  if (text === undefined) return `there is no test file ${file || cited}`;
  return isIn(text, title) ? undefined : `${file} has no test '${title}'`;
}

/** Whether that is a whole string in the text, in the quotes that it happens to have. */
export function hasString(text: string, title: string): boolean {
  return quoted(title).some((one) => text.includes(one));
}

/**
 * Whether a test has that title, or, if it ends in `…`, one that begins so. Of a title that is computed only the pieces
 * between its commas and colons are looked for, anywhere.
 */
export function hasTest(text: string, title: string): boolean {
  const isBeginning = title.endsWith('…');
  const words = isBeginning ? title.slice(0, -1) : title;
  const isThere = quoted(words).some((whole) => {
    const wanted = isBeginning ? whole.slice(0, -1) : whole;
    return new RegExp(`\\b(?:it|test)\\(\\s*${wanted.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`).test(text);
  });
  if (isThere || !COMPUTED.test(text)) return isThere;
  return words
    .split(/: |, /)
    .filter((piece) => piece !== '')
    .every((piece) => piece.split(/\$\{[^}]*\}/).every((part) => text.includes(part)));
}

/** As a string may be written. */
function quoted(words: string): readonly string[] {
  return ["'", '"', '`'].map((quote) => `${quote}${words.replaceAll(quote, `\\${quote}`)}${quote}`);
}

/**
 * What is wrong with a page whose tables have these columns, tests in the last, a line each. A table is what has its
 * columns' names at its head.
 */
export function tableBreaches(
  page: string,
  columns: readonly string[],
  textOf: (file: string) => string | undefined,
): string[] {
  const found: string[] = [];
  const seen = new Set<string>();
  for (const line of page.split('\n')) {
    const cells = cellsOf(line);
    const [first = ''] = cells;
    if (cells.length === 0 || /^-+$/.test(first)) continue;
    if (first === columns[0]) {
      if (cells.join() !== columns.join()) found.push(`a table has the columns ${cells.join(' | ')}`);
      continue;
    }
    if (seen.has(first)) found.push(`${first}: has two rows`);
    seen.add(first);
    if (cells.length !== columns.length) found.push(`${first}: has ${cells.length} columns`);
    for (const [at, name] of columns.entries())
      if (cells[at]?.trim() === '') found.push(`${first || line}: nothing is said of '${name}'`);
    for (const cited of citedIn(cells[columns.length - 1] ?? '')) {
      const wrong = wrongCitation(cited, textOf, hasTest);
      if (wrong !== undefined) found.push(`${first}: ${wrong}`);
    }
  }
  if (seen.size === 0) found.push('there are no rows');
  return found;
}

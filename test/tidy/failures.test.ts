// Holds docs/failures.md: every row says what becomes of the task, who repairs it and what an operator sees, and cites a test
// that is there; and shows that each breach is found. What it cannot see: whether the test proves what the row says.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { cellsOf, citedIn, hasTest, testText, wrongCitation } from './citations.ts';

const COLUMNS = ['event', 'the task', 'who repairs it, when', 'what an operator sees', 'test'] as const;

/** What is wrong, a line each. A table is what has its columns' names at its head. */
function breaches(page: string, textOf: (file: string) => string | undefined): string[] {
  const found: string[] = [];
  const seen = new Set<string>();
  for (const line of page.split('\n')) {
    const cells = cellsOf(line);
    const [event = ''] = cells;
    if (cells.length === 0 || /^-+$/.test(event)) continue;
    if (event === COLUMNS[0]) {
      if (cells.join() !== COLUMNS.join()) found.push(`a table has the columns ${cells.join(' | ')}`);
      continue;
    }
    if (seen.has(event)) found.push(`${event}: has two rows`);
    seen.add(event);
    if (cells.length !== COLUMNS.length) found.push(`${event}: has ${cells.length} columns`);
    for (const [at, name] of COLUMNS.entries())
      if (cells[at]?.trim() === '') found.push(`${event || line}: nothing is said of '${name}'`);
    for (const cited of citedIn(cells[COLUMNS.length - 1] ?? '')) {
      const wrong = wrongCitation(cited, textOf, hasTest);
      if (wrong !== undefined) found.push(`${event}: ${wrong}`);
    }
  }
  if (seen.size === 0) found.push('there are no rows');
  return found;
}

test('every row of docs/failures.md is whole, and the tests that it cites are there', () => {
  const page = readFileSync(resolve(import.meta.dirname, '../../docs/failures.md'), 'utf8');
  assert.deepEqual(breaches(page, testText), []);
});

test('what is missing in a row, or not there any more, is found', () => {
  const text = `it('does a', () => {});\ntest(\n  "of b",);\nconst title = 'no test';`;
  const textOf = (file: string) => (file === 'fault/x' ? text : undefined);
  const head = `| ${COLUMNS.join(' | ')} |\n| --- | --- | --- | --- | --- |\n`;
  const check = (row: string) => breaches(`${head}${row}\n`, textOf);
  assert.deepEqual(check('| e | t | w | o | fault/x › does a |'), []);
  assert.deepEqual(check('| e | t | w | o | fault/x › does…<br>fault/x › of b |'), []);
  assert.deepEqual(check(''), ['there are no rows']);
  assert.deepEqual(check('| e | t |  | o | fault/x › does a |'), [
    "e: nothing is said of 'who repairs it, when'",
  ]);
  assert.deepEqual(check('| e | t | w | o |  |'), ["e: nothing is said of 'test'"]);
  assert.deepEqual(check('| e | t | w | fault/x › does a |'), ['e: has 4 columns']);
  assert.deepEqual(check('| e | t | w | o | fault/y › does a |'), ['e: there is no test file fault/y']);
  assert.deepEqual(check('| e | t | w | o | fault/x › does |'), ["e: fault/x has no test 'does'"]);
  assert.deepEqual(check('| e | t | w | o | fault/x › no test |'), ["e: fault/x has no test 'no test'"]);
  assert.deepEqual(check('| e | t | w | o | does a |'), ['e: there is no test file does a']);
  const row = '| e | t | w | o | fault/x › does a |';
  assert.deepEqual(check(`${row}\n${row}`), ['e: has two rows']);
  assert.deepEqual(breaches(`| event | test |\n${row}`, textOf), ['a table has the columns event | test']);
});

// Holds docs/failures.md and docs/security.md: every row says what is asked of it and cites a test that is there; and shows that
// each breach is found. What it cannot see: whether the test proves what the row says.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { tableBreaches, testText } from './citations.ts';

const COLUMNS = ['event', 'the task', 'who repairs it, when', 'what an operator sees', 'test'] as const;

const breaches = (page: string, textOf: (file: string) => string | undefined): string[] =>
  tableBreaches(page, COLUMNS, textOf);

test('every row of docs/failures.md is whole, and the tests that it cites are there', () => {
  const page = readFileSync(resolve(import.meta.dirname, '../../docs/failures.md'), 'utf8');
  assert.deepEqual(breaches(page, testText), []);
});

test('every row of the attacks in docs/security.md is whole, and the tests that it cites are there', () => {
  const page = readFileSync(resolve(import.meta.dirname, '../../docs/security.md'), 'utf8');
  const attacks = page.slice(page.indexOf('\n## What was tried'));
  assert.deepEqual(tableBreaches(attacks, ['attack', 'what becomes of it', 'before', 'test'], testText), []);
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

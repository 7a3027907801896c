// Holds docs/mesos-fields.md against the codec's tables and the tests that it cites: every field has a row, every row a
// field and a test that is there, or a reason why it is ignored; and shows that each breach is found. What it cannot see: a
// title is only looked for as a quoted string in its file, so that neither a test of that name nor what it asserts is
// checked; fields that the codec has not stand on the page as *ignored*, and nothing says whether all of those are there;
// *since* is compared with nothing.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';
import type { Fields, Message } from '../../src/mesos/codec.ts';
import * as messages from '../../src/mesos/messages.ts';
import { cellsOf, citedIn, hasString, testText, wrongCitation } from './citations.ts';

const root = resolve(import.meta.dirname, '../..');

interface Row {
  /** `Message.field`. */
  readonly field: string;
  readonly number: string;
  readonly does: string;
  /** `file › name`. */
  readonly tests: readonly string[];
}

type Tables = ReadonlyMap<string, ReadonlyMap<string, number>>;

/** What a message without fields has in a field's place. */
const NO_FIELD = '–';
const IGNORED = /^\*ignored\*: \S/;

/** Every row of every table, under the heading that names its message. */
function rowsOf(page: string): Row[] {
  const rows: Row[] = [];
  let message = '';
  for (const line of page.split('\n')) {
    message = /^### (\S+)$/.exec(line)?.[1] ?? message;
    const cells = cellsOf(line);
    const [field = '', number = '', , does = '', tests = ''] = cells;
    if (cells.length === 0 || field === 'field' || field === '---') continue;
    rows.push({ field: `${message}.${field}`, number, does, tests: citedIn(tests) });
  }
  return rows;
}

/** The codec's tables: message → field → number. */
function tablesOf(module: Readonly<Record<string, unknown>>): Tables {
  const tables = new Map<string, Map<string, number>>();
  for (const value of Object.values(module)) {
    if (!isMessage(value)) continue;
    const fields = Object.entries(value.fields).map(([name, [number]]) => [name, number] as const);
    tables.set(value.name, new Map(fields));
  }
  return tables;
}

function isMessage(value: unknown): value is Message<Fields> {
  return typeof value === 'object' && value !== null && 'fields' in value && 'index' in value;
}

interface Held {
  readonly rows: readonly Row[];
  readonly tables: Tables;
  readonly textOf: (file: string) => string | undefined;
}

/** What is wrong, a line each. */
function breaches({ rows, tables, textOf }: Held): string[] {
  const found: string[] = [];
  const seen = new Set<string>();
  for (const { field, number, does, tests } of rows) {
    if (seen.has(field)) found.push(`${field}: has two rows`);
    seen.add(field);
    const [, message = '', name = ''] = /^(.+)\.([^.]+)$/.exec(field) ?? [];
    const isIgnored = IGNORED.test(does);
    const known = tables.get(message)?.get(name);
    if (known === undefined && !isIgnored && name !== NO_FIELD)
      found.push(`${field}: is in no table of the codec`);
    if (known !== undefined && String(known) !== number) found.push(`${field}: is number ${known}`);
    if (does === '') found.push(`${field}: nothing is said of it`);
    if (tests.length === 0 && !isIgnored) found.push(`${field}: no test holds it`);
    for (const cited of tests) {
      const wrong = wrongCitation(cited, textOf, hasString);
      if (wrong !== undefined) found.push(`${field}: ${wrong}`);
    }
  }
  for (const [message, fields] of tables)
    for (const name of fields.keys())
      if (!seen.has(`${message}.${name}`)) found.push(`${message}.${name}: has no row`);
  return found;
}

const page = readFileSync(`${root}/docs/mesos-fields.md`, 'utf8');

test('every field of every message has a row, and every row a field and the tests that hold it', () => {
  const tables = tablesOf(messages);
  assert.ok(
    tables.size > 40 && rowsOf(page).length > 200,
    `${tables.size} tables, ${rowsOf(page).length} rows`,
  );
  assert.deepEqual(breaches({ rows: rowsOf(page), tables, textOf: testText }), []);
});

test('what is missing, unknown or not there any more is found', () => {
  const tables = new Map([['M', new Map([['a', 1]])]]);
  const textOf = (file: string) => (file === 'unit/x' ? "it('does a', () => {});\nit(`of b`);" : undefined);
  const check = (line: string) =>
    breaches({ rows: rowsOf(`### M\n| field | no. |\n| --- | --- |\n${line}\n`), tables, textOf });
  assert.deepEqual(check('| a | 1 | 0.19 | does | unit/x › does a<br>unit/x › of b |'), []);
  assert.deepEqual(check(''), ['M.a: has no row']);
  const row = '| a | 1 | 0.19 | does | unit/x › does a |';
  assert.deepEqual(check(`${row}\n${row}`), ['M.a: has two rows']);
  assert.deepEqual(check(`${row}\n| b | 2 | 0.19 | does | unit/x › does a |`), [
    'M.b: is in no table of the codec',
  ]);
  assert.deepEqual(check(`${row}\n| b | 2 | 0.19 | *ignored*: for a reason |  |`), []);
  assert.deepEqual(check(`${row}\n| – | – | 0.19 | does | unit/x › does a |`), []);
  assert.deepEqual(check('| a | 2 | 0.19 | does | unit/x › does a |'), ['M.a: is number 1']);
  assert.deepEqual(check('| a | 1 | 0.19 | does |  |'), ['M.a: no test holds it']);
  assert.deepEqual(check('| a | 1 | 0.19 | *ignored* |  |'), ['M.a: no test holds it']);
  assert.deepEqual(check('| a | 1 | 0.19 |  | unit/x › does a |'), ['M.a: nothing is said of it']);
  assert.deepEqual(check('| a | 1 | 0.19 | does | unit/x › does |'), ["M.a: unit/x has no test 'does'"]);
  assert.deepEqual(check('| a | 1 | 0.19 | does | unit/y › does a |'), ['M.a: there is no test file unit/y']);
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bar, type Cell, type Column, tableLines } from '../../../src/terminal/table.ts';
import { widthOf } from '../../../src/terminal/text.ts';

const COLUMNS: readonly Column[] = [
  { title: 'TASK', least: 6, expendable: 1 },
  { title: 'ID', expendable: 3 },
  { title: 'STATE' },
  { title: 'CPU', align: 'right', expendable: 2 },
];
const cells = (...texts: string[]): Cell[] => texts.map((text) => ({ text }));
const ROWS = [cells('a-long-task-id', '0123456789ab', 'running', '1.5'), cells('b', '', 'ended', '')];

describe('a table', () => {
  const lines = (width: number | undefined, colours = false) =>
    tableLines(COLUMNS, ROWS, { width, colours, mark: '…' });

  it('is as wide as what is in it, where there is no terminal', () => {
    assert.deepEqual(lines(undefined), [
      'TASK            ID            STATE    CPU',
      'a-long-task-id  0123456789ab  running  1.5',
      'b                             ended',
    ]);
  });

  it('is shortened where that is enough', () => {
    assert.deepEqual(lines(37), [
      'TASK       ID            STATE    CPU',
      'a-long-t…  0123456789ab  running  1.5',
      'b                        ended',
    ]);
  });

  it('leaves out what is least needed', () => {
    assert.deepEqual(lines(24), ['TASK    STATE    CPU', 'a-lon…  running  1.5', 'b       ended']);
    assert.deepEqual(lines(8), ['STATE', 'running', 'ended']);
  });

  it('fits every width that its last column fits', () => {
    for (let width = 7; width < 60; width++)
      for (const line of lines(width)) assert.ok(widthOf(line) <= width, `${width}: ${line}`);
  });

  it('has colours that take no room', () => {
    const row = [[{ text: 'x', style: 'bad' } as const, { text: '', style: 'good' } as const]];
    assert.deepEqual(
      tableLines([{ title: 'A' }, { title: 'BB' }], row, { width: undefined, colours: true, mark: '' }),
      ['\x1b[1mA\x1b[0m  \x1b[1mBB\x1b[0m', '\x1b[31mx\x1b[0m'],
    );
  });
});

it('a bar is as full as its share, and never fuller than full', () => {
  assert.equal(bar(0.5, 4, true), '██░░');
  assert.equal(bar(2, 4, false), '####');
  assert.equal(bar(-1, 4, false), '....');
});

// Foreign text on its way to a terminal or a log: one line, nothing that a terminal obeys, no wider than it may be.

import assert from 'node:assert/strict';
import { escapeControl, Fault, oneLine } from '../../src/fault.ts';
import { tableLines } from '../../src/terminal/table.ts';
import { bytesInWords, durationInWords, shorten, widthOf } from '../../src/terminal/text.ts';
import { ODD_CHARACTERS } from '../engine/random.ts';
import { checkShown, type Target } from '../engine/target.ts';

const WORDS = [
  'a',
  'task',
  ' ',
  '\x1b[2J',
  '\x1b]0;x\x07',
  '\u009b31m',
  '\r\n',
  '漢字',
  '😀',
  'e\u0301',
  '\u200b',
  '…',
  ...ODD_CHARACTERS,
];

/** The first byte: how wide it may be; then eight of a number; then the text. */
export function target(): Target {
  return {
    dictionary: WORDS,
    maxBytes: 1024,
    make: (random) => Buffer.concat([random.bytes(9), Buffer.from(random.text(WORDS, 20))]),
    run(input) {
      const width = input[0] ?? 0;
      const number = input.length < 9 ? 0 : input.readDoubleLE(1);
      const text = input.toString('utf8', 9);
      const escaped = escapeControl(text);
      checkShown(escaped);
      assert.equal(escapeControl(escaped), escaped, 'what is shown is changed again');
      for (const thrown of [new Error(text), new Fault('host', text), text, undefined, null])
        checkShown(oneLine(thrown));
      const short = shorten(escaped, width, '…');
      assert.ok(widthOf(short) <= width || short === escaped, 'wider than it may be');
      assert.ok(widthOf(short) <= Math.max(width, 0));
      checkTable(escaped, width);
      if (!Number.isFinite(number)) return;
      assert.match(durationInWords(number), /^[\de+.]+[smhd](?: \d+[mh])?$/);
      if (number >= 0) assert.match(bytesInWords(number), /^[\de+.]+[KMGTP]?$/);
    },
  };
}

function checkTable(text: string, width: number): void {
  const columns = [
    { title: 'ID', least: 4 },
    { title: 'NAME', least: 3, expendable: 1 },
    { title: 'N', align: 'right' as const },
  ];
  const rows = [[{ text }, { text: text.slice(0, 9), style: 'bad' as const }, { text: '7' }]];
  for (const line of tableLines(columns, rows, { width, colours: false, mark: '…' })) {
    checkShown(line);
    // Titles and the least that a column may be shortened to stay.
    assert.ok(widthOf(line) <= Math.max(width, 11), `a line of ${widthOf(line)} for ${width}`);
  }
}

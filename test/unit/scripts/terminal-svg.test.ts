// Pictures of terminals: every word in its place and colour, lines that come when they came, and nothing that would need a
// terminal to be understood.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { film, still } from '../../../scripts/terminal-svg.ts';

const TERMINAL = { label: 'a "terminal"', typed: 'program', columns: 20 };
const FILM = { ...TERMINAL, silenceMs: 1000, holdMs: 4000 };

const at = (atMs: number, text: string) => ({ atMs, text });

/** Words with their class and column, by line of the picture; the first line is what was typed. */
function words(svg: string): readonly string[] {
  const rows = new Map<number, string[]>();
  const runs = svg.matchAll(
    /<(text|rect)(?: class="([\w ]+)")? x="([\d.]+)" y="(\d+)" (?:textLength|width)="[\d.]+"(?: height="\d+"\/)?>([^<]*)/g,
  );
  for (const [, tag, style = '', x, y, text = ''] of runs) {
    const row = Math.round((Number(y) - 16 - (tag === 'rect' ? 3 : 14)) / 19);
    const column = Math.round((Number(x) - 16) / 7.8);
    const line = rows.get(row) ?? [];
    rows.set(row, [...line, `${column}:${tag === 'rect' ? 'bar' : text}${style === '' ? '' : `/${style}`}`]);
  }
  return [...rows].sort(([a], [b]) => a - b).map(([, line]) => line.join(' | '));
}

test('words stand where they stood, in the styles that they had, also where a sequence came in two pieces', () => {
  const svg = still(
    [at(0, 'TASK  \x1b[32mrun'), at(1, 'ning\x1b'), at(2, '[0m  a b\r\n\x1b[1;31m<&>\x1b[m')],
    TERMINAL,
  );
  assert.deepEqual(words(svg), [
    '0:#/faint | 2:program/strong',
    '0:TASK | 6:running/green | 15:a b',
    '0:&lt;&amp;&gt;/strong red',
  ]);
  assert.match(svg, /aria-label="a &quot;terminal&quot;"/);
});

test('a longer line goes on in the next, with its style; bars are drawn', () => {
  const svg = still([at(0, `\x1b[33m${'x'.repeat(18)} yz\x1b[0m\n██░ 1M\n`)], TERMINAL);
  assert.deepEqual(words(svg).slice(1), [
    `0:${'x'.repeat(18)} y/yellow`,
    '0:z/yellow',
    '0:bar | 2:bar/shaded | 4:1M',
  ]);
});

test('lines come when they came, long silences are shortened, and what has come stays to the end', () => {
  const svg = film([at(100, 'one\n'), at(600, 'two\nthree\n'), at(60_600, 'four\n')], FILM);
  const frames = [...svg.matchAll(/@keyframes (m\d) \{ 0% \{ opacity: 0 \} ([\d.]+)% \{ opacity: 1 \} \}/g)];
  // 100, 600 and 1600 ms of 5600.
  assert.deepEqual(
    frames.map(([, name, share]) => [name, share]),
    [
      ['m0', '1.79'],
      ['m1', '10.71'],
      ['m2', '28.57'],
    ],
  );
  const groups = [...svg.matchAll(/<g class="(m\d)"><text[^>]*>(\w+)/g)].map(
    ([, name, word]) => `${name} ${word}`,
  );
  assert.deepEqual(groups, ['m0 one', 'm1 two', 'm1 three', 'm2 four']);
  assert.match(svg, /5\.6s step-end infinite/);
  assert.match(svg, /prefers-reduced-motion/);
});

test('what is no line of text in colours is refused', () => {
  for (const text of ['\x1b[H', '\x1b[?1049h', 'a\rb', '\x07', '\x1b[38;5;1mx'])
    assert.throws(() => still([at(0, text)], TERMINAL), /no line of text|attribute/, JSON.stringify(text));
  assert.throws(() => still([], { ...TERMINAL, typed: 'x'.repeat(19) }), /longer than a line/);
});

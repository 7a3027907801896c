// What a program wrote to a terminal, as an SVG that is readable on light and on dark pages: a still, or a film in which each
// line comes when it came. Programs that write lines in colours are all that it knows: what would need a terminal's emulation
// (a cursor that moves, a screen that is cleared) is refused. Pure.

import { widthOf } from '../src/terminal/text.ts';
import type { Piece } from '../test/support/pty.ts';

export interface Terminal {
  /** For those who do not see it. */
  readonly label: string;
  /** What was typed; it stands in the first line. */
  readonly typed: string;
  /** Cells of a line: a longer one goes on in the next. */
  readonly columns: number;
}

export interface Film extends Terminal {
  /** A longer silence is shown as one of this length. */
  readonly silenceMs: number;
  /** So long the last line stands before the first comes again. */
  readonly holdMs: number;
}

interface Cell {
  readonly text: string;
  readonly style: string;
}

interface Line {
  /** Of its end: lines are written whole. */
  readonly atMs: number;
  readonly cells: readonly Cell[];
}

const FONT_PX = 13;
const CELL_PX = 7.8;
const LINE_PX = 19;
const MARGIN_PX = 16;
const PROMPT = '# ';

/** SGR parameters → classes of the style sheet; 0 ends them all. */
const STYLES: Readonly<Record<string, string>> = {
  '1': 'strong',
  '2': 'faint',
  '31': 'red',
  '32': 'green',
  '33': 'yellow',
};
const FULL = '█';
const SHADED = '░';

const SHEET = `
  text { font: ${FONT_PX}px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace }
  .back { fill: #ffffff; stroke: #d0d7de }
  text, rect { fill: #1f2328 }
  .strong { font-weight: 600 }
  .faint { fill: #6e7781 }
  .red { fill: #cf222e }
  .green { fill: #1a7f37 }
  .yellow { fill: #9a6700 }
  .shaded { opacity: .25 }
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117; stroke: #30363d }
    text, rect { fill: #e6edf3 }
    .faint { fill: #9198a1 }
    .red { fill: #ff7b72 }
    .green { fill: #3fb950 }
    .yellow { fill: #d29922 }
  }
`;

/** The whole file. Throws for what is no line of text in colours. */
export function still(pieces: readonly Piece[], terminal: Terminal): string {
  const lines = [typedLine(terminal), ...linesOf(pieces, terminal.columns)];
  return picture(lines, terminal, '', (_, drawn) => drawn);
}

/** The same, moving without an end. Whoever wants no motion, or cannot show it, has the still. */
export function film(pieces: readonly Piece[], { silenceMs, holdMs, ...terminal }: Film): string {
  const written = linesOf(pieces, terminal.columns);
  const shownAt = new Map<Line, number>();
  let shown = 0;
  let before = 0;
  for (const line of written) {
    shown += Math.min(line.atMs - before, silenceMs);
    before = line.atMs;
    shownAt.set(line, Math.round(shown / 10) * 10);
  }
  const lengthMs = Math.round(shown / 10) * 10 + holdMs;
  const moments = [...new Set(shownAt.values())];
  const sheet = [
    ...moments.map((at, n) => {
      const share = ((at / lengthMs) * 100).toFixed(2);
      return `  @keyframes m${n} { 0% { opacity: 0 } ${share}% { opacity: 1 } }\n  .m${n} { animation: m${n} ${lengthMs / 1000}s step-end infinite }\n`;
    }),
    '  @media (prefers-reduced-motion: reduce) { g { animation: none !important } }\n',
  ].join('');
  return picture([typedLine(terminal), ...written], terminal, sheet, (line, drawn) => {
    const at = shownAt.get(line);
    return at === undefined || drawn === '' ? drawn : `<g class="m${moments.indexOf(at)}">${drawn}</g>`;
  });
}

function typedLine({ typed, columns }: Terminal): Line {
  if (PROMPT.length + widthOf(typed) > columns) throw new Error(`longer than a line: ${typed}`);
  return { atMs: 0, cells: [...cellsIn(PROMPT, 'faint'), ...cellsIn(typed, 'strong')] };
}

function cellsIn(text: string, style: string): Cell[] {
  return [...text].map((character) => ({ text: character, style }));
}

function linesOf(pieces: readonly Piece[], columns: number): readonly Line[] {
  const lines: Line[] = [];
  let style = '';
  let cells: Cell[] = [];
  let used = 0;
  const end = (atMs: number): void => {
    lines.push({ atMs, cells });
    cells = [];
    used = 0;
  };
  const put = (character: string, atMs: number): void => {
    const width = widthOf(character);
    if (used + width > columns) end(atMs);
    cells.push({ text: character, style });
    // A wide one has the cell behind it as well; one without a width belongs to the cell before it.
    for (let more = 1; more < width; more++) cells.push({ text: '', style });
    used += width;
  };
  // A sequence may come in two pieces: the text is read whole, and each of its places knows its time.
  const text = pieces.map((piece) => piece.text).join('');
  const timeAt = clock(pieces);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what colours are made of
  for (const token of text.matchAll(/\x1b\[([\d;]*)m|\r?\n|[\s\S]/gu)) {
    const [whole, codes] = token;
    if (codes !== undefined) style = styleOf(codes, style);
    else if (whole.endsWith('\n')) end(timeAt(token.index));
    else if (/\p{Cc}/u.test(whole))
      throw new Error(`no line of text: ${JSON.stringify(text.slice(token.index, token.index + 20))}`);
    else put(whole, timeAt(token.index));
  }
  if (cells.length > 0) end(timeAt(text.length));
  return lines;
}

/** When the piece came that has this place of the text. Places are asked for in their order. */
function clock(pieces: readonly Piece[]): (place: number) => number {
  let at = 0;
  let end = pieces[0]?.text.length ?? 0;
  return (place) => {
    for (let next = pieces[at + 1]; place >= end && next !== undefined; next = pieces[at + 1]) {
      end += next.text.length;
      at += 1;
    }
    return pieces[at]?.atMs ?? 0;
  };
}

function styleOf(codes: string, before: string): string {
  let classes = before === '' ? [] : before.split(' ');
  for (const code of codes === '' ? ['0'] : codes.split(';')) {
    const name = STYLES[code];
    if (code === '0') classes = [];
    else if (name === undefined) throw new Error(`an attribute that is not known: ${code}`);
    else classes = [...classes.filter((one) => one !== name), name];
  }
  return classes.join(' ');
}

function picture(
  lines: readonly Line[],
  { label, columns }: Terminal,
  sheet: string,
  frame: (line: Line, drawn: string) => string,
): string {
  const width = Math.ceil(columns * CELL_PX + 2 * MARGIN_PX);
  const height = lines.length * LINE_PX + 2 * MARGIN_PX;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(label)}">`,
    `<style>${SHEET}${sheet}</style>`,
    `<rect class="back" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="6"/>`,
    ...lines.map((line, at) => frame(line, drawnLine(line.cells, MARGIN_PX + at * LINE_PX))),
    '</svg>',
    '',
  ]
    .filter((part, at, all) => part !== '' || at === all.length - 1)
    .join('\n');
}

/** Runs of cells that are alike: words in one style, and bars, which are drawn, since few fonts have them of the right size. */
function drawnLine(cells: readonly Cell[], top: number): string {
  let drawn = '';
  for (let at = 0; at < cells.length; ) {
    const first = cells[at] ?? { text: ' ', style: '' };
    let behind = at + 1;
    while (isAlike(cells, behind, first)) behind += 1;
    const run = cells.slice(at, behind);
    if (first.text !== ' ') drawn += drawnRun(run, MARGIN_PX + at * CELL_PX, top);
    at = behind;
  }
  return drawn;
}

/** Whether a cell goes on with the run that `first` begins. Single spaces belong to a run of words; two end it. */
function isAlike(cells: readonly Cell[], at: number, first: Cell): boolean {
  const cell = cells[at];
  if (cell === undefined || cell.style !== first.style) return false;
  if (isBar(first) || isBar(cell)) return cell.text === first.text;
  if (first.text === ' ') return cell.text === ' ';
  if (cell.text !== ' ') return true;
  const next = cells[at + 1];
  return next !== undefined && next.text !== ' ' && next.style === first.style && !isBar(next);
}

function isBar({ text }: Cell): boolean {
  return text === FULL || text === SHADED;
}

function drawnRun(run: readonly Cell[], x: number, top: number): string {
  const [first] = run;
  if (first === undefined) return '';
  const width = round(run.length * CELL_PX);
  if (isBar(first)) {
    const style = [first.style, first.text === SHADED ? 'shaded' : ''].filter((one) => one !== '').join(' ');
    return `<rect${classOf(style)} x="${round(x)}" y="${top + 3}" width="${width}" height="${LINE_PX - 6}"/>`;
  }
  const text = run.map((cell) => cell.text).join('');
  return `<text${classOf(first.style)} x="${round(x)}" y="${top + 14}" textLength="${width}">${escaped(text)}</text>`;
}

function classOf(style: string): string {
  return style === '' ? '' : ` class="${style}"`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

// A table that fits: columns as wide as what is in them, and where the terminal is narrower the less important ones are
// shortened first and left out next. Pure.

import { shorten, widthOf } from './text.ts';

export interface Cell {
  /** Without control characters. */
  readonly text: string;
  readonly style?: Style | undefined;
}

export type Style = 'good' | 'warning' | 'bad' | 'faint' | 'strong';

export interface Column {
  readonly title: string;
  readonly align?: 'right';
  /** It may be shortened to so many cells; absent: it may not. */
  readonly least?: number;
  /** Which go first where there is not room for all: the highest number. Absent: never. */
  readonly expendable?: number;
}

export interface TableOptions {
  /** Cells of the terminal; undefined: as wide as it gets, nothing shortened. */
  readonly width: number | undefined;
  readonly colours: boolean;
  /** What stands for the rest of a text that was cut off: one cell. */
  readonly mark: string;
}

const GAP = '  ';
const RESET = '\x1b[0m';
const CODES: Readonly<Record<Style, string>> = {
  good: '\x1b[32m',
  warning: '\x1b[33m',
  bad: '\x1b[31m',
  faint: '\x1b[2m',
  strong: '\x1b[1m',
};

/** The titles and a line for each row, which has a cell for each column. */
export function tableLines(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  options: TableOptions,
): readonly string[] {
  const widths = fitting(columns, rows, options.width);
  const line = (cells: readonly Cell[]): string =>
    cells
      .flatMap((cell, at) => {
        const width = widths[at];
        return width === undefined ? [] : [padded(cell, width, columns[at]?.align, options)];
      })
      .join(GAP)
      .trimEnd();
  const titles = columns.map(({ title }): Cell => ({ text: title, style: 'strong' }));
  return [titles, ...rows].map(line);
}

/** The width of each column; undefined for one that is left out. */
function fitting(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  width: number | undefined,
): (number | undefined)[] {
  const widths: (number | undefined)[] = columns.map(({ title }, at) =>
    Math.max(widthOf(title), ...rows.map((cells) => widthOf(cells[at]?.text ?? ''))),
  );
  if (width === undefined) return widths;
  const excess = (): number => {
    const shown = widths.filter((one) => one !== undefined);
    return shown.reduce((sum, one) => sum + one, GAP.length * (shown.length - 1)) - width;
  };
  const byNeed = columns
    .map(({ expendable = 0 }, at) => ({ expendable, at }))
    .sort((a, b) => b.expendable - a.expendable);
  const shrink = (): void => {
    for (const { at } of byNeed) {
      const { least, title } = columns[at] ?? {};
      const now = widths[at];
      if (least === undefined || title === undefined || now === undefined) continue;
      widths[at] = Math.max(Math.min(now, Math.max(least, widthOf(title))), now - Math.max(0, excess()));
    }
  };
  shrink();
  for (const { expendable, at } of byNeed) {
    if (excess() <= 0 || expendable === 0) break;
    widths[at] = undefined;
  }
  return widths;
}

function padded(cell: Cell, width: number, align: Column['align'], { colours, mark }: TableOptions): string {
  const text = shorten(cell.text, width, mark);
  const blanks = ' '.repeat(Math.max(0, width - widthOf(text)));
  const shown =
    colours && cell.style !== undefined && text !== '' ? `${CODES[cell.style]}${text}${RESET}` : text;
  return align === 'right' ? `${blanks}${shown}` : `${shown}${blanks}`;
}

/** `cells` cells of which the first are full; as ASCII for a terminal that may know no other. */
export function bar(share: number, cells: number, isUtf8: boolean): string {
  const full = Math.min(cells, Math.max(0, Math.round(share * cells)));
  const [on, off] = isUtf8 ? ['█', '░'] : ['#', '.'];
  return on.repeat(full) + off.repeat(cells - full);
}

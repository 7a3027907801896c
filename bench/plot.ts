// A series as an SVG: its points, and the straight line through them, so that whoever looks sees what bends. Pure.

import { figure, line } from './figures.ts';

export interface Plot {
  readonly title: string;
  /** What the values are, with their unit. */
  readonly unit: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** A value that is not to be passed. */
  readonly mark?: number;
}

const [WIDTH, HEIGHT] = [480, 280];
const MARGIN = { left: 52, right: 16, top: 44, bottom: 40 };
const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #57606a }
  .title { font-size: 14px; font-weight: 600; fill: #1f2328 }
  .grid { stroke: #d8dee4 }
  .fit { stroke: #8c959f; stroke-dasharray: 2 4 }
  .mark { stroke: #bc4c00; stroke-dasharray: 6 4 }
  .mark-text { fill: #bc4c00 }
  .values { stroke: #0969da; stroke-width: 2; fill: none }
  .dot { fill: #0969da }
  .back { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 }
    .title { fill: #f0f6fc }
    .grid { stroke: #30363d }
    .values { stroke: #4493f8 }
    .dot { fill: #4493f8 }
    .mark { stroke: #f0883e }
    .mark-text { fill: #f0883e }
    .back { fill: #0d1117 }
  }
`;

/** The whole file. At least two points, at different places; values from 0 on. */
export function plot({ title, unit, points, mark }: Plot): string {
  const xs = points.map(([x]) => x);
  const xTop = Math.max(...xs);
  const values = points.map(([, y]) => y);
  const step = stepOf(Math.max(...values, mark ?? 0));
  const yTop = Math.ceil((Math.max(...values, mark ?? 0) * 1.05) / step) * step;
  const x = (value: number) => round(MARGIN.left + (value / xTop) * (WIDTH - MARGIN.left - MARGIN.right));
  const y = (value: number) =>
    round(HEIGHT - MARGIN.bottom - (value / yTop) * (HEIGHT - MARGIN.top - MARGIN.bottom));
  const { slope, intercept } = line(points);
  const across = (value: number, name: string) =>
    `<line class="${name}" x1="${x(0)}" x2="${x(xTop)}" y1="${y(value)}" y2="${y(value)}"/>`;
  const grid = Array.from({ length: Math.round(yTop / step) + 1 }, (_, at) => at * step).map(
    (value) =>
      `${across(value, 'grid')}<text x="${MARGIN.left - 8}" y="${y(value) + 4}" text-anchor="end">${tick(value, step)}</text>`,
  );
  const below = [1, 20, 40, 60, 80, 100]
    .filter((value) => value <= xTop)
    .map((value) => `<text x="${x(value)}" y="${HEIGHT - 20}" text-anchor="middle">${value}</text>`);
  const marked =
    mark === undefined
      ? []
      : [
          across(mark, 'mark'),
          `<text class="mark-text" x="${x(xTop)}" y="${y(mark) - 5}" text-anchor="end">at most ${figure(mark)}</text>`,
        ];
  const first = Math.min(...xs);
  const fit = `<line class="fit" x1="${x(first)}" x2="${x(xTop)}" y1="${y(intercept + slope * first)}" y2="${y(intercept + slope * xTop)}"/>`;
  const path = points.map(([at, value], n) => `${n === 0 ? 'M' : 'L'}${x(at)} ${y(value)}`).join(' ');
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${escaped(`${title}, ${unit}, over the number of tasks`)}">`,
    `<style>${STYLE}</style>`,
    `<rect class="back" width="${WIDTH}" height="${HEIGHT}" rx="6"/>`,
    `<text class="title" x="${MARGIN.left - 36}" y="22">${escaped(title)}</text>`,
    `<text x="${MARGIN.left - 36}" y="38">${escaped(unit)}</text>`,
    ...grid,
    ...below,
    `<text x="${x(xTop)}" y="${HEIGHT - 6}" text-anchor="end">tasks running</text>`,
    fit,
    ...marked,
    `<path class="values" d="${path}"/>`,
    ...points.map(
      ([at, value]) =>
        `<circle class="dot" cx="${x(at)}" cy="${y(value)}" r="3"><title>${at}: ${figure(value)}</title></circle>`,
    ),
    '</svg>',
    '',
  ].join('\n');
}

/** 1, 2 or 5 times a power of ten, some four of them below the largest value. */
function stepOf(largest: number): number {
  const rough = largest / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const times = [1, 2, 5].find((one) => one * power >= rough) ?? 10;
  return times * power;
}

function tick(value: number, step: number): string {
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(step))));
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}

// Measures what Deimos costs, as ratios within one run, and holds it against its marks: prints a table, writes
// bench/results/<commit>.json, and draws docs/bench-*.svg where the part `memory` was run.
//
//   scripts/bench [calls] [start] [output] [supervisor] [memory] [stale] [size] [--against FILE]     all parts if none is named
//
// A verb is a name for the part that measures it. --against: an earlier results file, whose values stand beside. The status is
// 0 also where a mark is missed: a benchmark tells, a test fails. It is 1 where a part could not be measured.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { figure, withSpread } from '../bench/figures.ts';
import { calls } from '../bench/parts/calls.ts';
import { memory } from '../bench/parts/memory.ts';
import { output } from '../bench/parts/output.ts';
import { size } from '../bench/parts/size.ts';
import { stale } from '../bench/parts/stale.ts';
import { start } from '../bench/parts/start.ts';
import { supervisor } from '../bench/parts/supervisor.ts';
import { plot } from '../bench/plot.ts';
import type { Findings, Part, Row, Series } from '../bench/stage.ts';

const root = resolve(import.meta.dirname, '..');
const PARTS: Readonly<Record<string, Part>> = { calls, start, output, supervisor, memory, stale, size };
/** What a part is called for as well. */
const ALSO: Readonly<Record<string, readonly string[]>> = {
  usage: ['calls'],
  update: ['calls'],
  wait: ['calls'],
  containers: ['calls'],
  launch: ['calls', 'start'],
};
const PLOTS: Readonly<Record<Series['name'], { title: string; unit: string; mark?: number }>> = {
  usage: { title: 'A call of usage', unit: 'CPU, times that of an empty program', mark: 1.15 },
  memory: { title: 'Memory of all Deimos processes', unit: 'PSS, MB' },
  launch: { title: 'From launch to the task’s first instruction', unit: 'ms' },
  supervisor: { title: 'CPU of the supervisor, each task writing a line a second', unit: '% of a core' },
};

interface Results {
  readonly commit: string;
  readonly date: string;
  readonly machine: { readonly processors: number; readonly kernel: string; readonly memoryMb: number };
  readonly rows: readonly Row[];
  readonly series: readonly Series[];
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { against: { type: 'string' } },
});
const named = positionals.flatMap((word) => ALSO[word] ?? [word]);
const wanted = named.length > 0 ? [...new Set(named)] : Object.keys(PARTS);
for (const name of wanted) {
  if (PARTS[name] === undefined) {
    console.error(`scripts/bench: no part ${name}; there are ${Object.keys(PARTS).join(', ')}`);
    process.exit(1);
  }
}
const earlier = values.against === undefined ? undefined : readResults(values.against);

const rows: Row[] = [];
const series: Series[] = [];
for (const name of wanted) {
  const found = await played(name);
  for (const { what, value, unit } of found?.rows ?? [])
    console.log(`bench: ${what}: ${figure(value)} ${unit}`);
  rows.push(...(found?.rows ?? []));
  series.push(...(found?.series ?? []));
}
const results: Results = {
  commit: execFileSync('git', ['-C', root, 'describe', '--always', '--dirty', '--abbrev=12'], {
    encoding: 'utf8',
  }).trim(),
  date: new Date().toISOString(),
  machine: { processors: cpus().length, kernel: release(), memoryMb: Math.round(totalmem() / 1024 / 1024) },
  rows,
  series,
};
print(results, earlier);
mkdirSync(`${root}/bench/results`, { recursive: true });
const file = `bench/results/${results.commit}.json`;
writeFileSync(`${root}/${file}`, `${JSON.stringify(results, undefined, 2)}\n`);
console.log(`bench: written to ${file}`);
for (const { name, points } of series) {
  writeFileSync(`${root}/docs/bench-${name}.svg`, plot({ ...PLOTS[name], points }));
  console.log(`bench: drawn docs/bench-${name}.svg`);
}

/** A part that fails costs no other one its figures. */
async function played(name: string): Promise<Findings | undefined> {
  try {
    return await PARTS[name]?.((text) => console.log(`bench: ${text}`));
  } catch (error) {
    console.error(`bench: ${name} failed:`, error);
    process.exitCode = 1;
    return undefined;
  }
}

function readResults(path: string): Results {
  // A file that this program has written.
  return JSON.parse(readFileSync(path, 'utf8')) as Results;
}

/** As Markdown: it goes into documents as it is. */
function print({ commit, machine, rows: all }: Results, before: Results | undefined): void {
  console.log(`\n${commit}, ${machine.processors} processors, Linux ${machine.kernel}\n`);
  const earlierHead = before === undefined ? '' : ` ${before.commit} |`;
  console.log(`| what | against | at most | median (quarters) |${earlierHead} |`);
  console.log(`| --- | --- | --- | --- |${before === undefined ? '' : ' --- |'} --- |`);
  for (const row of all) {
    const { what, against, mark, value, unit, lower, upper, detail } = row;
    const isMissed = mark !== undefined && value > mark;
    const spreadText =
      lower === undefined || upper === undefined
        ? figure(value)
        : withSpread({ median: value, lower, upper, count: 2 });
    const then = before?.rows.find((one) => one.what === what);
    const thenText = before === undefined ? '' : ` ${then === undefined ? '' : figure(then.value)} |`;
    console.log(
      `| ${what} | ${against} | ${mark === undefined ? '' : `${figure(mark)} ${unit}`} | ${isMissed ? '**missed** ' : ''}${spreadText} ${unit} |${thenText} ${detail} |`,
    );
  }
  console.log('');
}

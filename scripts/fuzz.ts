// Plays the targets of fuzz/targets.ts, two at a time where there are two processors, and prints what came of each. How it is
// called says scripts/fuzz.

import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { readCorpus, readInput, writeCorpus } from '../fuzz/engine/corpus.ts';
import { removeScratch } from '../fuzz/engine/scratch.ts';
import { type Played, play } from '../fuzz/play.ts';
import { moduleOf, TARGETS } from '../fuzz/targets.ts';

const root = resolve(import.meta.dirname, '..');
const DEFAULT_TIME = '60s';
const PROGRESS_MS = 15_000;
/** Where failures are written. */
const FAILURES = 'dist/fuzz';
const TIME_UNITS_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };

interface Wanted {
  readonly targets: readonly string[];
  readonly seed: number;
  readonly timeMs: number | undefined;
  readonly cases: number | undefined;
  readonly json: string | undefined;
  readonly corpora: string;
}

interface Row {
  readonly target: string;
  readonly cases: number;
  readonly seconds: number;
  readonly casesPerSecond: number;
  readonly functionsPercent: number;
  readonly codePercent: number;
  readonly corpus: number;
  readonly found: number;
}

/** What is wrong with the words, on one line. */
class Usage extends Error {}

function wanted(words: readonly string[]): Wanted {
  const { values, positionals } = parsed(words);
  const unknown = positionals.find((name) => !Object.hasOwn(TARGETS, name));
  if (unknown !== undefined)
    throw new Usage(`no target ${unknown}; there are ${Object.keys(TARGETS).join(', ')}`);
  const cases = numberOf('--cases', values.cases);
  return {
    targets: positionals.length > 0 ? [...new Set(positionals)] : Object.keys(TARGETS),
    seed: numberOf('--seed', values.seed) ?? Date.now() % 2 ** 32,
    cases,
    timeMs:
      values.time === undefined && cases !== undefined
        ? undefined
        : milliseconds(values.time ?? DEFAULT_TIME),
    json: values.json,
    corpora: resolve(values.corpus ?? `${root}/fuzz/corpus`),
  };
}

function parsed(words: readonly string[]) {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...words],
      allowPositionals: true,
      options: { time: text, seed: text, cases: text, json: text, corpus: text },
    });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new Usage(error.message.split('\n')[0]);
  }
}

function numberOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw new Usage(`${option} ${text} is not a number`);
  return Number(text);
}

function milliseconds(text: string): number {
  const [, amount, unit = ''] = /^(\d{1,6})([smh])$/.exec(text) ?? [];
  const factor = TIME_UNITS_MS[unit];
  if (amount === undefined || factor === undefined)
    throw new Usage(`--time ${text} is no time like 60s, 10m or 1h`);
  return Number(amount) * factor;
}

async function main(words: readonly string[]): Promise<number> {
  const { targets, seed, timeMs, cases, json, corpora } = wanted(words);
  const lanes = Math.max(1, Math.min(availableParallelism(), targets.length));
  const each = timeMs === undefined ? undefined : (timeMs * lanes) / targets.length;
  console.log(`fuzz: seed ${seed}, ${targets.length} targets`);
  const began = performance.now();
  const underWay = new Map<string, number>();
  const rows = new Map<string, Row>();
  const progress = setInterval(() => {
    const now = [...underWay].map(([name, count]) => `${name} ${count}`).join(', ');
    console.log(
      `fuzz: ${rows.size} of ${targets.length} done after ${Math.round((performance.now() - began) / 1000)} s; ${now}`,
    );
  }, PROGRESS_MS);
  const left = [...targets];
  const lane = async (): Promise<void> => {
    for (let target = left.shift(); target !== undefined; target = left.shift()) {
      const name = target;
      underWay.set(name, 0);
      const corpus = `${corpora}/${name}.txt`;
      const order = {
        module: moduleOf(name),
        sources: TARGETS[name] ?? [],
        corpus,
        seed,
        timeMs: each,
        cases,
      };
      const played = await play(order, (count) => underWay.set(name, count));
      underWay.delete(name);
      rows.set(name, finished(name, { seed, corpora }, played));
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  clearInterval(progress);
  removeScratch();
  const inOrder = targets.flatMap((name) => rows.get(name) ?? []);
  print(inOrder);
  const found = inOrder.reduce((sum, row) => sum + row.found, 0);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify({ seed, rows: inOrder }, undefined, 2)}\n`);
  const total = inOrder.reduce((sum, row) => sum + row.cases, 0);
  console.log(
    `fuzz: ${total} cases in ${Math.round((performance.now() - began) / 1000)} s, seed ${seed}, ${found === 0 ? 'nothing found' : `${found} FOUND`}`,
  );
  return found === 0 ? 0 : 1;
}

/** Keeps what was reached, tells what was found. */
function finished(
  target: string,
  { seed, corpora }: { readonly seed: number; readonly corpora: string },
  played: Played,
): Row {
  const path = `${corpora}/${target}.txt`;
  const before = readCorpus(path);
  const kept = [...before, ...played.kept.map(readInput)];
  if (played.kept.length > 0) writeCorpus(path, kept);
  for (const [n, { input, error }] of played.failures.entries()) {
    const file = `${FAILURES}/${target}-${seed}-${n}.txt`;
    mkdirSync(`${root}/${FAILURES}`, { recursive: true });
    writeFileSync(`${root}/${file}`, `# ${error.replaceAll('\n', '\n# ')}\n${input}\n`);
    console.log(`fuzz: FOUND ${target}, seed ${seed}, in ${file}: ${error.split('\n')[0]}\n${input}`);
  }
  const { reached, cases, timeMs } = played;
  const percent = (part: number, whole: number): number =>
    whole === 0 ? 0 : Math.round((1000 * part) / whole) / 10;
  return {
    target,
    cases,
    seconds: Math.round(timeMs / 100) / 10,
    casesPerSecond: Math.round((1000 * cases) / Math.max(1, timeMs)),
    functionsPercent: percent(reached.functionsReached, reached.functions),
    codePercent: percent(reached.charactersReached, reached.characters),
    corpus: kept.length,
    found: played.failures.length,
  };
}

/** As Markdown: it goes into documents as it is. */
function print(rows: readonly Row[]): void {
  console.log('\n| target | cases | a second | functions | code | seconds | corpus | found |');
  console.log('| --- | --: | --: | --: | --: | --: | --: | --: |');
  for (const { target, cases, casesPerSecond, functionsPercent, codePercent, seconds, corpus, found } of rows)
    console.log(
      `| ${target} | ${cases} | ${casesPerSecond} | ${functionsPercent} % | ${codePercent} % | ${seconds} | ${corpus} | ${found} |`,
    );
  console.log('');
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Usage)) throw error;
  console.error(`scripts/fuzz: ${error.message}`);
  process.exitCode = 1;
}

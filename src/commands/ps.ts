// `deimos ps`: the containers of this host as a table for people, or as JSON for programs; once, or drawn again and again.

import { hostname } from 'node:os';
import type { Outcome } from '../container/termination.ts';
import { escapeControl, Fault, isFault } from '../fault.ts';
import { type CgroupUsage, readUsage } from '../host/cgroups.ts';
import { rest } from '../host/pauses.ts';
import type { RequestRecord } from '../state/records.ts';
import { type PlacedState, statesIn } from '../state/resolve.ts';
import { rootsToShow } from '../state/root.ts';
import { isOver, type Standing, type StandingName, standingOf } from '../state/standing.ts';
import { readRequest } from '../state/store.ts';
import { Picture, type Terminal, terminalOf } from '../terminal/screen.ts';
import { bar, type Cell, type Column, type Style, tableLines } from '../terminal/table.ts';
import { bytesInWords, durationInWords, jsonText } from '../terminal/text.ts';
import type { Call } from './call.ts';

export interface PsOptions {
  /** Those also of which nobody waits to hear any more. */
  readonly all: boolean;
  readonly json: boolean;
  readonly watch: boolean;
}

/** Processor time is measured over so long; drawn again as often. */
const MEASURE_MS = 300;
const WATCH_MS = 2_000;
const BAR_CELLS = 10;
const SHORT_DOCKER_ID = 12;
const LEAST_ID = 8;
const SHORT_OF_MEMORY = 0.9;
const NEAR_ITS_MEMORY = 0.75;

/** One container as people and programs are told of it. */
interface Row {
  readonly state: PlacedState;
  readonly standing: Standing;
  readonly used: CgroupUsage | undefined;
  /** Of one processor; undefined where it does not run, or was not measured twice. */
  readonly cpuPercent: number | undefined;
}

/** Exit status 0. Faults: `usage` for options that do not go together, `config` for a state root that is not ours. */
export async function ps(call: Call, options: PsOptions, write: (text: string) => void): Promise<number> {
  const terminal = (): Terminal => terminalOf(process.stdout, call.environment);
  if (options.watch && options.json) throw new Fault('usage', '--watch and --json do not go together');
  if (options.watch && terminal().height === undefined)
    throw new Fault('usage', '--watch needs a terminal to draw on');
  const look = new Look(options.all, () =>
    rootsToShow(call.configuredRoot(), call.options.root !== undefined),
  );
  look.measure();
  if (look.hasRunning()) await pause(MEASURE_MS);
  if (options.json) {
    write(`${jsonText(look.measure().map(jsonOf))}\n`);
    return 0;
  }
  if (!options.watch) {
    write(`${table(look.measure(), terminal()).join('\n')}\n`);
    return 0;
  }
  using picture = new Picture(process.stdout.fd);
  for (;;) {
    const { height = 0 } = terminal();
    picture.draw(screen(look.measure(), terminal(), height), height);
    await pause(WATCH_MS);
  }
}

async function pause(ms: number): Promise<void> {
  await rest(ms, new AbortController().signal);
}

/** The containers of the host, and what they have used since it was looked before. */
class Look {
  readonly #all: boolean;
  readonly #roots: () => readonly string[];
  #before = new Map<string, { readonly atMs: number; readonly seconds: number }>();

  constructor(all: boolean, roots: () => readonly string[]) {
    this.#all = all;
    this.#roots = roots;
  }

  hasRunning(): boolean {
    return this.#before.size > 0;
  }

  /** By the time of launch. */
  measure(): readonly Row[] {
    const before = this.#before;
    this.#before = new Map();
    const rows = statesIn(this.#roots()).flatMap((state): readonly Row[] => {
      if (!this.#all && isOver(state.paths)) return [];
      const standing = standingOf(state.paths);
      if (standing === undefined || (!this.#all && standing.name === 'foreign')) return [];
      const used = usedBy(standing);
      return [{ state, standing, used, cpuPercent: this.#cpuPercent(state, used, before.get(keyOf(state))) }];
    });
    const time = ({ standing }: Row): string => standing.launchedAt ?? '';
    return rows.sort((a, b) => (time(a) < time(b) ? -1 : 1));
  }

  #cpuPercent(
    state: PlacedState,
    used: CgroupUsage | undefined,
    before: { readonly atMs: number; readonly seconds: number } | undefined,
  ): number | undefined {
    if (used === undefined) return undefined;
    const now = {
      atMs: performance.now(),
      seconds: (used.cpusUserTimeSecs ?? 0) + (used.cpusSystemTimeSecs ?? 0),
    };
    this.#before.set(keyOf(state), now);
    if (before === undefined || now.atMs <= before.atMs) return undefined;
    return Math.max(0, ((now.seconds - before.seconds) / (now.atMs - before.atMs)) * 1000 * 100);
  }
}

function keyOf({ paths }: PlacedState): string {
  return paths.directory;
}

function usedBy({ init, dockerId }: Standing): CgroupUsage | undefined {
  if (init === undefined) return undefined;
  try {
    return readUsage({ pid: init.pid, name: dockerId });
  } catch (error) {
    // It has ended meanwhile.
    if (!isFault(error, 'not-found')) throw error;
    return undefined;
  }
}

const COLUMNS: readonly Column[] = [
  { title: 'TASK', least: 12, expendable: 1 },
  { title: 'CONTAINER', least: LEAST_ID, expendable: 4 },
  { title: 'DOCKER', expendable: 6 },
  { title: 'STATE' },
  { title: 'SINCE', align: 'right', expendable: 2 },
  { title: 'CPU %', align: 'right', expendable: 3 },
  { title: 'MEMORY', expendable: 5 },
  { title: 'EXIT' },
];

function table(rows: readonly Row[], terminal: Terminal): readonly string[] {
  const { width, colours, isUtf8 } = terminal;
  const now = Date.now();
  const lines = (hasBars: boolean): readonly string[] =>
    tableLines(
      COLUMNS,
      rows.map((row) => cellsOf(row, { now, hasBars, isUtf8 })),
      { width, colours, mark: isUtf8 ? '…' : '~' },
    );
  return lines(width !== undefined);
}

function screen(rows: readonly Row[], terminal: Terminal, height: number): readonly string[] {
  const counts = new Map<StandingName, number>();
  for (const { standing } of rows) counts.set(standing.name, (counts.get(standing.name) ?? 0) + 1);
  const said = [...counts].map(([name, count]) => `${count} ${name}`).join(', ');
  const head = `deimos on ${hostname()}, ${new Date().toTimeString().slice(0, 8)}: ${said === '' ? 'no containers' : said}`;
  const all = [head.slice(0, terminal.width), '', ...table(rows, terminal)];
  if (all.length <= height) return all;
  const hidden = all.length - height + 1;
  return [...all.slice(0, height - 1), `and ${hidden} more`];
}

interface CellOptions {
  readonly now: number;
  readonly hasBars: boolean;
  readonly isUtf8: boolean;
}

/** In the order of COLUMNS. */
function cellsOf({ state, standing, used, cpuPercent }: Row, options: CellOptions): readonly Cell[] {
  const { name, sinceMs, taskId = '', dockerId = '' } = standing;
  const exit = exitOf(standing);
  return [
    { text: escapeControl(taskId) },
    { text: state.id },
    { text: dockerId.slice(0, SHORT_DOCKER_ID) },
    { text: name, style: STYLES[name] },
    { text: sinceMs === undefined ? '' : durationInWords(options.now - sinceMs) },
    { text: cpuPercent === undefined ? '' : cpuPercent.toFixed(1) },
    memoryCell(used, options),
    { text: exit, style: exit === '' || exit === '0' ? undefined : 'bad' },
  ];
}

const STYLES: Readonly<Record<StandingName, Style | undefined>> = {
  launching: 'faint',
  starting: 'warning',
  running: 'good',
  ending: 'warning',
  ended: undefined,
  told: 'faint',
  withdrawn: 'faint',
  foreign: 'faint',
};

/** What cannot be taken from it without harm, of its limit: files that it has read do not count. */
function memoryCell(used: CgroupUsage | undefined, { hasBars, isUtf8 }: CellOptions): Cell {
  const { memRssBytes, memLimitBytes } = used ?? {};
  if (memRssBytes === undefined) return { text: '' };
  if (memLimitBytes === undefined) return { text: bytesInWords(memRssBytes) };
  const share = memRssBytes / memLimitBytes;
  const amount = `${bytesInWords(memRssBytes)}/${bytesInWords(memLimitBytes)}`;
  return {
    text: hasBars ? `${bar(share, BAR_CELLS, isUtf8)} ${amount}` : amount,
    style: share >= SHORT_OF_MEMORY ? 'bad' : share >= NEAR_ITS_MEMORY ? 'warning' : undefined,
  };
}

/** Empty before the end. */
function exitOf({ name, outcome }: Standing): string {
  switch (outcome?.kind) {
    case undefined:
      return name === 'ended' ? 'unknown' : '';
    case 'exited':
      return outcome.oomKilled ? `${outcome.exitCode} memory` : String(outcome.exitCode);
    case 'failed':
      return 'failed';
    case 'never-started':
      return 'never ran';
    case 'lost':
      return 'lost';
  }
}

/** Names and units are public: docs and man page list them. */
function jsonOf({ state, standing, used, cpuPercent }: Row) {
  const { name, sinceMs, launchedAt, taskId, dockerId, init, outcome, message } = standing;
  const task = requestOf(state)?.task;
  return {
    taskId: taskId ?? null,
    name: task?.name ?? null,
    frameworkId: task?.frameworkId ?? null,
    containerId: state.id,
    dockerId: dockerId ?? null,
    image: task?.container?.image ?? null,
    state: name,
    launchedAt: launchedAt ?? null,
    since: sinceMs === undefined ? null : new Date(sinceMs).toISOString(),
    pid: init?.pid ?? null,
    cpuPercent: cpuPercent === undefined ? null : Number(cpuPercent.toFixed(1)),
    cpusLimit: used?.cpusLimit ?? null,
    memoryBytes: used?.memRssBytes ?? null,
    memoryLimitBytes: used?.memLimitBytes ?? null,
    end: outcome === undefined ? null : endOf(outcome),
    message: message ?? null,
    sandbox: task?.sandbox ?? null,
    root: state.root,
  };
}

function endOf(outcome: Outcome) {
  return {
    kind: outcome.kind,
    exitCode: outcome.kind === 'exited' ? outcome.exitCode : null,
    oomKilled: outcome.kind === 'exited' && outcome.oomKilled,
  };
}

/** undefined also for another release's, which cannot be read. */
function requestOf({ paths }: PlacedState): RequestRecord | undefined {
  try {
    return readRequest(paths);
  } catch (error) {
    if (!isFault(error, 'protocol')) throw error;
    return undefined;
  }
}

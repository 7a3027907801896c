// The supervisor is killed, or refused something, at each of its steps, one run for each: what a run without faults showed as
// steps is what is tried. Quick: some of them by lot. DEIMOS_FAULTS=all: every one. What must be true of every run is in
// support/crash-run.ts.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { kindOf, nameOf, placeIn, pointNamed, pointsOf, type SinglePoint } from '../support/crash-points.ts';
import {
  INVARIANTS,
  type Lane,
  openLane,
  type Point,
  type Ran,
  type Scenario,
} from '../support/crash-run.ts';
import { SCENARIOS } from '../support/crash-scenarios.ts';
import { ALL_FAULTS, extent, FAULT_FILE_TIMEOUT_MS, FAULT_SEED, tell } from '../support/faults.ts';
import { drawn } from '../support/lot.ts';
import { stepsProgram } from '../support/steps.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { Tried } from '../support/tried.ts';

/** `a task ends by itself: kill@step 12`: only that one; `a task ends by itself`: only those of that scenario. */
const [ONLY_SCENARIO, ONLY_POINT] = process.env.DEIMOS_FAULT_ONLY?.split(': ') ?? [];
/** `kill@step,refuse@request`: points of these kinds alone. */
const KINDS = process.env.DEIMOS_FAULT_KINDS?.split(',');
/** So many of each scenario by lot, for whoever has not the hours for all. */
const POINTS = Number(process.env.DEIMOS_FAULT_POINTS ?? Number.POSITIVE_INFINITY);
/** In the quick part: kills of each scenario, and so many scenarios with another fault. */
const SAMPLE = { kills: 1, faults: 4 };
/** Everything that belongs to the form is run. */
const IS_WHOLE = ONLY_SCENARIO === undefined && KINDS === undefined;
/** So many steps at which a first supervisor is killed, and for each so many of the next one's. */
const TWICE = extent(
  { scenarios: 1, first: 1, second: 1 },
  { scenarios: SCENARIOS.length, first: Math.min(POINTS, 8), second: Math.min(POINTS, 4) },
);
/** Runs at once, each on a dockerd of its own. */
const LANES = Number(process.env.DEIMOS_FAULT_LANES ?? 2);

interface Told {
  readonly tried: Tried;
  readonly kinds: Map<string, number>;
}

/** Dockerds to run on, one run at a time each. */
class Lanes {
  readonly #all: Lane[] = [];
  readonly #free: Lane[] = [];
  readonly #waiting: ((lane: Lane) => void)[] = [];

  async open(): Promise<void> {
    // Compiled once, not by each.
    await stepsProgram();
    const openOne = async (): Promise<void> => {
      const lane = await openLane();
      this.#all.push(lane);
      this.#free.push(lane);
    };
    await Promise.all(Array.from({ length: LANES }, openOne));
  }

  async close(): Promise<void> {
    for (const lane of this.#all) await lane[Symbol.asyncDispose]();
  }

  async use<T>(work: (lane: Lane) => Promise<T>): Promise<T> {
    const lane = this.#free.pop() ?? (await new Promise<Lane>((resolve) => this.#waiting.push(resolve)));
    try {
      return await work(lane);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(lane);
      else next(lane);
    }
  }
}

describe('a supervisor, at every step', {
  skip: await skipWithoutTools(),
  timeout: FAULT_FILE_TIMEOUT_MS,
  // They share the lanes.
  concurrency: LANES,
}, () => {
  const lanes = new Lanes();
  const report: Told[] = [];
  const scenarios = SCENARIOS.filter(({ name }) => (ONLY_SCENARIO ?? name) === name);
  const alone = scenarios.filter(({ whenKilled }) => whenKilled === undefined);
  before(() => lanes.open());
  after(async () => {
    await lanes.close();
    for (const line of tableOf(report)) tell(line);
    const faults = report.filter(({ kinds }) => [...kinds.keys()].some((kind) => !isKillKind(kind)));
    // By lot, a few points of each may all be kills.
    if (IS_WHOLE && !ALL_FAULTS) assert.equal(faults.length, SAMPLE.faults, 'scenarios with a fault');
  });

  const killedTwice = drawn(alone, TWICE.scenarios, `${FAULT_SEED} twice`, ({ name }) => name);
  const faulted = drawn(alone, SAMPLE.faults, `${FAULT_SEED} faults`, ({ name }) => name);
  for (const scenario of scenarios) {
    it(scenario.name, { timeout: FAULT_FILE_TIMEOUT_MS }, async () => {
      const told: Told = { tried: new Tried(scenario.name), kinds: new Map() };
      report.push(told);
      const run: Run = async (point, place) =>
        await lanes.use((lane) => tryOne(lane, scenario, told, point, place));
      const only = pointNamed(ONLY_POINT ?? '');
      if (only !== undefined) await run(only);
      else {
        const ran = await lanes.use((lane) => told.tried.look('nothing', () => lane.run(scenario)));
        if (ran !== undefined) {
          const points = pointsOf(ran).filter((point) => isWanted(point, scenario));
          // Not every scenario has points of each kind.
          if (points.length === 0 && KINDS !== undefined) return;
          told.tried.addFound(points.length);
          const isFaulted = faulted.includes(scenario);
          const some = chosen(points, scenario, isFaulted);
          await Promise.all(some.map((point) => run(point, placeIn(ran, point))));
          if (killedTwice.includes(scenario)) await runPairs(ran, scenario, told.tried, run);
        }
      }
      told.tried.checkAll();
    });
  }
});

/** Where more is done when it is killed, it is killed. */
function isWanted(point: Point, { whenKilled }: Scenario): boolean {
  return (KINDS?.includes(kindOf(point)) ?? true) && (whenKilled === undefined || isKill(point));
}

function isKill(point: Point): boolean {
  return isKillKind(kindOf(point));
}

function isKillKind(kind: string): boolean {
  return kind.startsWith('kill');
}

function chosen(
  points: readonly SinglePoint[],
  { name }: Scenario,
  isFaulted: boolean,
): readonly SinglePoint[] {
  const seed = `${FAULT_SEED} ${name}`;
  if (ALL_FAULTS) return drawn(points, POINTS, seed, nameOf);
  const kills = points.filter(isKill);
  const faults = points.filter((point) => !isKill(point));
  return [...drawn(kills, SAMPLE.kills, seed, nameOf), ...drawn(faults, isFaulted ? 1 : 0, seed, nameOf)];
}

/** Tries a point that lay at this place of the run that showed it; undefined: it has failed, and the report says how. */
type Run = (point: Point, place?: number) => Promise<Ran | undefined>;

/** Which steps the next one takes depends on where the first was killed: a run without a second kill shows them. */
async function runPairs({ steps }: Ran, scenario: Scenario, tried: Tried, run: Run): Promise<void> {
  const { name } = scenario;
  const firsts = drawn(steps, TWICE.first, `${FAULT_SEED} ${name} first`, (step) => String(step.number));
  await Promise.all(
    firsts.map(async ({ number: first }) => {
      if (!isWanted({ kind: 'twice', first, second: 1 }, scenario)) return;
      const ran = await run({ kind: 'twice', first }, first / steps.length);
      const next = ran?.stepsOfNext ?? [];
      tried.addFound(next.length);
      const seconds = drawn(next, TWICE.second, `${FAULT_SEED} ${name} ${first}`, (step) =>
        String(step.number),
      );
      // What the next one finds to do depends on how far the task and Docker were in the moment of the first death: one that finds
      // the task ended does half of what one does that still sees it running. That the second is reached is chance.
      await Promise.all(seconds.map(({ number: second }) => run({ kind: 'twice', first, second })));
    }),
  );
}

async function tryOne(
  lane: Lane,
  scenario: Scenario,
  { tried, kinds }: Told,
  point: Point,
  place: number | undefined,
): Promise<Ran | undefined> {
  kinds.set(kindOf(point), (kinds.get(kindOf(point)) ?? 0) + 1);
  const one = {
    name: nameOf(point),
    isSure: ONLY_POINT !== undefined,
    ...(place === undefined ? {} : { place }),
  };
  return await tried.attempt(
    one,
    () => lane.run(scenario, point),
    ({ isReached }) => isReached,
  );
}

function tableOf(report: readonly Told[]): readonly string[] {
  const lines = report.map(({ tried, kinds }) => {
    const each = [...kinds].sort().map(([kind, count]) => `${kind} ${count}`);
    return `  ${tried} (${each.join(', ')})`;
  });
  return [
    `supervisor at every step, seed ${FAULT_SEED}:`,
    ...lines,
    `  held against each run: ${INVARIANTS.join('; ')}`,
  ];
}

// A run of one target: makes inputs by grammar, changes those that are known to lead somewhere, keeps those that reach code
// that none has reached before, and cuts down what fails. The same seed, corpus and number of cases give the same inputs.

import type { Coverage, Places } from './coverage.ts';
import { mutate, smaller } from './mutate.ts';
import { Random } from './random.ts';
import type { Target } from './target.ts';

/** Coverage is taken once for so many cases: more as less is found. */
const BATCH_MIN = 16;
const BATCH_MAX = 2048;
/** Tries to make one input smaller. */
const SHRINK_TRIES = 2000;
const TRIM_TRIES = 60;
/** Different failures; then it is time to look at them. */
const FAILURES_MAX = 20;
const INPUT_BYTES_MAX = 4096;
/** The processor's time for one input: none takes a hundredth of it. */
export const SLOW_MS = 1000;
/** An input that is kept is looked at for others to make of it so much more often than one made anew. */
const KEPT_OF_TEN = 6;

export interface Failure {
  readonly input: Buffer;
  readonly error: unknown;
}

export interface Outcome {
  readonly cases: number;
  /** Inputs that reached something new, in their order, each as small as it could be made. */
  readonly kept: readonly Buffer[];
  readonly failures: readonly Failure[];
}

export interface Plan {
  readonly seed: number;
  readonly corpus: readonly Buffer[];
  /** Undefined: nothing is kept. */
  readonly coverage: Coverage | undefined;
  /** Asked between two batches, with the cases so far. */
  goesOn(cases: number): boolean;
  /** Told before each case. */
  begins?(input: Buffer): void;
}

export async function campaign(target: Target, plan: Plan): Promise<Outcome> {
  const { coverage, seed } = plan;
  const random = new Random(seed);
  const dictionary = target.dictionary.map((word) => (typeof word === 'string' ? Buffer.from(word) : word));
  const maxBytes = target.maxBytes ?? INPUT_BYTES_MAX;
  const pool = [...plan.corpus];
  const kept: Buffer[] = [];
  const failures = new Map<string, Failure>();
  let cases = 0;

  const play = async (input: Buffer): Promise<unknown> => {
    cases += 1;
    plan.begins?.(input);
    return await failureOf(target, input);
  };
  const check = async (input: Buffer): Promise<void> => {
    const error = await play(input);
    if (error === undefined) return;
    const kind = signature(error);
    if (failures.has(kind)) return;
    failures.set(kind, await shrunk(input, error, kind, play));
  };
  const next = (): Buffer => {
    if (pool.length === 0 || random.below(10) >= KEPT_OF_TEN) {
      const made = target.make(random).subarray(0, maxBytes);
      if (!random.oneIn(3)) return made;
      return mutate(made, random, { dictionary, other: made, maxBytes });
    }
    return mutate(random.pick(pool), random, { dictionary, other: random.pick(pool), maxBytes });
  };

  for (const input of plan.corpus) await check(input);
  coverage?.take();
  let size = BATCH_MIN;
  while (failures.size < FAILURES_MAX && plan.goesOn(cases)) {
    const batch = Array.from({ length: size }, next);
    for (const input of batch) await check(input);
    if (coverage === undefined) continue;
    const places = coverage.take();
    if (places.size === 0) {
      size = Math.min(BATCH_MAX, size * 2);
      continue;
    }
    size = BATCH_MIN;
    for (const input of await reaching(batch, { places: new Set(places), coverage, play })) {
      pool.push(input);
      kept.push(input);
    }
  }
  return { cases, kept, failures: [...failures.values()] };
}

/** What the target throws for an input, or that it takes too long for it; undefined: all holds. */
export async function failureOf(target: Target, input: Buffer): Promise<unknown> {
  const began = process.threadCpuUsage();
  try {
    const running = target.run(input);
    if (running !== undefined) await running;
  } catch (error) {
    return error ?? new Error(`${String(error)} was thrown`);
  }
  const { user, system } = process.threadCpuUsage(began);
  const tookMs = (user + system) / 1000;
  return tookMs > SLOW_MS ? new Error(`took ${Math.round(tookMs)} ms of the processor's time`) : undefined;
}

/** Two failures are the same where the same place says the same, numbers and quoted words apart. */
function signature(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const place = error.stack?.split('\n').find((line) => /\/(?:src|fuzz\/targets)\//.test(line));
  const words = 'code' in error && error.code !== 'ERR_ASSERTION' ? error.code : plain(error.message);
  return `${error.name} ${words} ${place ?? ''}`;
}

function plain(message: string): string {
  return (message.split('\n')[0] ?? '').replace(/\d+|'[^']*'|"[^"]*"/g, '_');
}

type Play = (input: Buffer) => Promise<unknown>;

/** The smallest input found that fails in the same way. */
async function shrunk(input: Buffer, error: unknown, kind: string, play: Play): Promise<Failure> {
  let found = error;
  const least = await cutDown(input, SHRINK_TRIES, async (candidate) => {
    const other = await play(candidate);
    if (other === undefined || signature(other) !== kind) return false;
    found = other;
    return true;
  });
  return { input: least, error: found };
}

/** The smallest input found of which something still holds. */
async function cutDown(
  input: Buffer,
  triesMax: number,
  holds: (candidate: Buffer) => Promise<boolean>,
): Promise<Buffer> {
  let least = input;
  let tries = 0;
  for (let again = true; again; ) {
    again = false;
    for (const candidate of smaller(least)) {
      tries += 1;
      if (tries > triesMax) return least;
      if (!(await holds(candidate))) continue;
      least = candidate;
      again = true;
      break;
    }
  }
  return least;
}

interface Search {
  /** Not yet accounted for; those that an input reaches are taken out. */
  readonly places: Set<number>;
  readonly coverage: Coverage;
  readonly play: Play;
}

/** The inputs of a batch that reach the places, each with some of its own, cut down as far as they still do. */
async function reaching(batch: readonly Buffer[], search: Search): Promise<readonly Buffer[]> {
  const { places, coverage, play } = search;
  for (const input of batch) await play(input);
  const touched = coverage.touched(places);
  if (touched.size === 0) return [];
  const [only, second] = batch;
  if (only !== undefined && second === undefined) {
    for (const place of touched) places.delete(place);
    return [await trimmed(only, touched, search)];
  }
  const middle = Math.ceil(batch.length / 2);
  const first = await reaching(batch.slice(0, middle), search);
  return [...first, ...(await reaching(batch.slice(middle), search))];
}

function trimmed(input: Buffer, touched: Places, { coverage, play }: Search): Promise<Buffer> {
  return cutDown(input, TRIM_TRIES, async (candidate) => {
    await play(candidate);
    return coverage.touched(touched).size === touched.size;
  });
}

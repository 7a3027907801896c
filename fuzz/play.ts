// Plays one target in a thread of its own, and looks after it: an input that never comes back ends the thread, and is a failure
// like any other.

import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { inputLine } from './engine/corpus.ts';
import { Current } from './engine/current.ts';
import type { Order, Told } from './worker.ts';

/** Far above the slowest machine's time for one input. */
const HUNG_MS = 30_000;
const LOOK_MS = 1000;
const INPUT_BYTES_MAX = 65_536;

export type Played = Omit<Extract<Told, { type: 'done' }>, 'type'>;

/** Gives what came of it, also where the thread had to be ended. `tell`: how many cases so far. */
export async function play(
  order: Omit<Order, 'current'>,
  tell: (cases: number) => void,
  hungMs = HUNG_MS,
): Promise<Played> {
  const current = Current.of(INPUT_BYTES_MAX);
  const worker = new Worker(resolve(import.meta.dirname, 'worker.ts'), {
    workerData: { ...order, current: current.memory } satisfies Order,
  });
  const began = performance.now();
  let cases = 0;
  const broken = (error: string): Played => ({
    cases,
    timeMs: performance.now() - began,
    kept: [],
    failures: [{ input: inputLine(current.input), error }],
    reached: { functions: 0, functionsReached: 0, characters: 0, charactersReached: 0 },
  });
  const watch = { count: -1, sinceMs: performance.now() };
  let looking: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Played>((settle) => {
      worker.on('message', (told: Told) => {
        if (told.type === 'progress') {
          cases = told.cases;
          tell(cases);
        } else settle(told);
      });
      worker.on('error', (error) =>
        settle(broken(error instanceof Error ? (error.stack ?? error.message) : String(error))),
      );
      looking = setInterval(() => {
        const now = performance.now();
        // Before the first input the target is being loaded, on whatever machine.
        if (current.count === 0 || current.count !== watch.count)
          Object.assign(watch, { count: current.count, sinceMs: now });
        else if (now - watch.sinceMs > hungMs) settle(broken(`no end after ${hungMs / 1000} s`));
      }, LOOK_MS);
    });
  } finally {
    clearInterval(looking);
    await worker.terminate();
  }
}

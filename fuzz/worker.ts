// One thread of scripts/fuzz: plays one target and tells how it goes. The input at hand lies in memory that the main thread
// sees too, so that an input that never comes back is known.

import { resolve } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { campaign, type Failure } from './engine/campaign.ts';
import { inputLine, readCorpus } from './engine/corpus.ts';
import { Coverage, type Reached } from './engine/coverage.ts';
import { Current } from './engine/current.ts';
import { openTarget } from './engine/target.ts';

const PROGRESS_MS = 1000;

export interface Order {
  /** The file that exports the target. */
  readonly module: string;
  /** Whose coverage counts, from the project's root. */
  readonly sources: readonly string[];
  readonly seed: number;
  /** Undefined: no bound. */
  readonly timeMs: number | undefined;
  readonly cases: number | undefined;
  /** The file of inputs to begin with; it need not be there. */
  readonly corpus: string;
  readonly current: SharedArrayBuffer;
}

export type Told =
  | { readonly type: 'progress'; readonly cases: number }
  | {
      readonly type: 'done';
      readonly cases: number;
      readonly timeMs: number;
      /** As lines of a corpus. */
      readonly kept: readonly string[];
      readonly failures: readonly { readonly input: string; readonly error: string }[];
      readonly reached: Reached;
    };

const root = resolve(import.meta.dirname, '..');

async function obey(order: Order, tell: (told: Told) => void): Promise<void> {
  // Counters are there only in what is loaded from here on.
  using coverage = new Coverage(root, order.sources);
  const target = await openTarget(order.module);
  const current = new Current(order.current);
  const began = performance.now();
  let told = began;
  const { cases, kept, failures } = await campaign(target, {
    seed: order.seed,
    corpus: readCorpus(order.corpus),
    coverage,
    begins: (input) => current.set(input),
    goesOn: (sofar) => {
      const now = performance.now();
      if (now - told >= PROGRESS_MS) {
        told = now;
        tell({ type: 'progress', cases: sofar });
      }
      return sofar < (order.cases ?? Infinity) && now - began < (order.timeMs ?? Infinity);
    },
  });
  target.close?.();
  tell({
    type: 'done',
    cases,
    timeMs: performance.now() - began,
    kept: kept.map(inputLine),
    failures: failures.map(({ input, error }: Failure) => ({
      input: inputLine(input),
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    })),
    reached: coverage.reached,
  });
}

if (parentPort !== null) {
  const port = parentPort;
  // What the main thread has given it.
  await obey(workerData as Order, (told) => port.postMessage(told));
}

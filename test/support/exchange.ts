// A process of a user's without rights that exchanges names in a directory of his over and over (exchange.c).

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { compiled } from './compiled.ts';

/** The user that has no rights here. */
export const NOBODY = 65534;

export interface Exchanger extends AsyncDisposable {
  /** Resolves when each pair has been exchanged once. */
  readonly ready: Promise<void>;
}

/** `pairs`: names in `directory` that change places, from when they are there until it is disposed of. */
export async function startExchanger(
  directory: string,
  pairs: readonly (readonly [name: string, other: string])[],
): Promise<Exchanger> {
  const program = await compiled('exchange.c');
  const child = spawn(program, [String(NOBODY), directory, ...pairs.flat()], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const ready = new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    void ended.then(([code]) => reject(new Error(`the exchanger ended: ${code}`)));
  });
  // Nobody may be waiting for it.
  ready.catch(() => {});
  return {
    ready,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

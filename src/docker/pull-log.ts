// A pull in the log: a line every 10 s for as long as it goes on, also where nothing has moved, and one when it is done.
// One for each pull, however many tasks wait for it. That it failed is logged by those who waited.

import type { Log } from '../host/log.ts';
import type { Pull } from './pull-coordinator.ts';

const PULL_LOG_EVERY_MS = 10_000;

/** The same pull, logged: `pulling app:1: 3 of 7 layers, 12.5 of 80.1 MB durationMs=20004`. */
export function loggedPull(pull: Pull, log: Log): Pull {
  return async (wanted, onProgress, signal) => {
    const begin = Date.now();
    let words = `Pulling ${wanted.image}`;
    const timer = setInterval(
      () => log.info(words.replace(/^P/, 'p'), { durationMs: Date.now() - begin }),
      PULL_LOG_EVERY_MS,
    );
    try {
      await pull(
        wanted,
        (text) => {
          words = text;
          onProgress(text);
        },
        signal,
      );
    } finally {
      clearInterval(timer);
    }
    log.info('image pulled', { image: wanted.image, durationMs: Date.now() - begin });
  };
}

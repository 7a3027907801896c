// One pull for all who want the same image for the same platform at the same time. Its failure is everybody's who
// waited, and is forgotten with it: the next one tries again. It goes on as long as one of them still wants it.

import type { ImageRef } from '../container/image.ts';

export type Pull = (
  image: ImageRef,
  platform: string | undefined,
  onProgress: (words: string) => void,
  signal: AbortSignal,
) => Promise<void>;

interface SharedPull {
  readonly waiters: Set<(words: string) => void>;
  readonly controller: AbortController;
  readonly ended: Promise<void>;
  lastWords: string | undefined;
}

export class PullCoordinator {
  readonly #pull: Pull;
  readonly #running = new Map<string, SharedPull>();

  constructor(pull: Pull) {
    this.#pull = pull;
  }

  /**
   * Resolves when the image is there; rejects as the pull does, or with the signal's reason. The pull itself is
   * aborted when the last who waits for it is.
   */
  async pull(
    image: ImageRef,
    platform: string | undefined,
    onProgress: (words: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    const key = `${platform ?? ''} ${image}`;
    const shared = this.#running.get(key) ?? this.#start(key, image, platform);
    // A function of this waiter's own: two of them may have given the same one.
    const waiter = (words: string): void => onProgress(words);
    shared.waiters.add(waiter);
    if (shared.lastWords !== undefined) onProgress(shared.lastWords);
    const left = Promise.withResolvers<never>();
    const onAbort = (): void => left.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([shared.ended, left.promise]);
    } finally {
      signal.removeEventListener('abort', onAbort);
      shared.waiters.delete(waiter);
      if (shared.waiters.size === 0) {
        // Whoever comes now must not join one that is being given up.
        if (this.#running.get(key) === shared) this.#running.delete(key);
        shared.controller.abort();
      }
    }
  }

  #start(key: string, image: ImageRef, platform: string | undefined): SharedPull {
    const controller = new AbortController();
    const waiters = new Set<(words: string) => void>();
    const tell = (words: string): void => {
      shared.lastWords = words;
      for (const waiter of waiters) waiter(words);
    };
    const run = async (): Promise<void> => {
      try {
        // Not before the first waiter is entered.
        await Promise.resolve();
        await this.#pull(image, platform, tell, controller.signal);
      } finally {
        if (this.#running.get(key) === shared) this.#running.delete(key);
      }
    };
    const shared: SharedPull = { waiters, controller, ended: run(), lastWords: undefined };
    // When all have left, nobody is there to hear how it ended.
    shared.ended.catch(() => {});
    this.#running.set(key, shared);
    return shared;
  }
}

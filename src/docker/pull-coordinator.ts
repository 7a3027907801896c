// One pull for all who want the same image for the same platform with the same login at the same time: nobody's login
// lets another in or keeps another out. Its failure is everybody's who waited, and is forgotten with it: the next one
// tries again. It goes on as long as one of them still wants it.

import { createHmac, randomBytes } from 'node:crypto';
import type { ImageRef } from '../container/image.ts';
import type { RegistryLogin } from '../container/registry-login.ts';
import { unlessAborted } from '../host/pauses.ts';

export interface Wanted {
  readonly image: ImageRef;
  /** Absent: the daemon's own. */
  readonly platform?: string | undefined;
  /** The task's own; absent: what the operator has for that registry. */
  readonly login?: RegistryLogin | undefined;
}

export type Pull = (
  wanted: Wanted,
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
  /** Logins are told apart by a digest that nobody without this can check a guess against. */
  readonly #secret = randomBytes(32);

  constructor(pull: Pull) {
    this.#pull = pull;
  }

  /**
   * Resolves when the image is there; rejects as the pull does, or with the signal's reason. The pull itself is
   * aborted when the last who waits for it is.
   */
  async pull(wanted: Wanted, onProgress: (words: string) => void, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const key = this.#keyOf(wanted);
    const shared = this.#running.get(key) ?? this.#start(key, wanted);
    // A function of this waiter's own: two of them may have given the same one.
    const waiter = (words: string): void => onProgress(words);
    shared.waiters.add(waiter);
    if (shared.lastWords !== undefined) onProgress(shared.lastWords);
    try {
      await unlessAborted(shared.ended, signal);
    } finally {
      shared.waiters.delete(waiter);
      if (shared.waiters.size === 0) {
        // Whoever comes now must not join one that is being given up.
        if (this.#running.get(key) === shared) this.#running.delete(key);
        shared.controller.abort();
      }
    }
  }

  #keyOf({ image, platform = '', login }: Wanted): string {
    if (login === undefined) return `${platform} ${image}`;
    return `${platform} ${image} ${createHmac('sha256', this.#secret).update(JSON.stringify(login)).digest('hex')}`;
  }

  #start(key: string, wanted: Wanted): SharedPull {
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
        await this.#pull(wanted, tell, controller.signal);
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

// How much the URIs of one task may have on disk together, where the policy bounds it: each of those that are fetched or
// unpacked at once has a share, and all shares are one sum.

import { formatSize } from '../config/values.ts';
import type { WriteBound } from '../host/child.ts';

export class UriBudget {
  readonly #rule: string;
  readonly #maxBytes: number | undefined;
  readonly #used = new Map<number, number>();

  /** `maxBytes` undefined: no bound. */
  constructor(rule: 'max_uri_bytes' | 'max_unpacked_bytes', maxBytes: number | undefined) {
    this.#rule = rule;
    this.#maxBytes = maxBytes;
  }

  /** For the URI of that number. What it has been told last is its use. */
  share(n: number): WriteBound | undefined {
    const max = this.#maxBytes;
    if (max === undefined) return undefined;
    this.#used.set(n, 0);
    return {
      fileBytes: Math.max(0, max - this.#sum()),
      isOver: (bytes) => {
        this.#used.set(n, bytes);
        return this.#sum() > max;
      },
      words: `not allowed on this host: more than ${formatSize(max)} for all URIs of a task ([policy] ${this.#rule}: ${formatSize(max)})`,
    };
  }

  #sum(): number {
    return [...this.#used.values()].reduce((sum, bytes) => sum + bytes, 0);
  }
}

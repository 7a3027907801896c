// Chance that is read from an input: each byte decides something. So structures that are no text are made of bytes, and what
// changes the bytes changes the structure. At the end of the input every choice is the first, and nothing is oneIn so many.

import { Random } from './random.ts';

export class Choices extends Random {
  readonly #input: Buffer;
  #at = 0;

  constructor(input: Buffer) {
    super(0);
    this.#input = input;
  }

  get #left(): number {
    return this.#input.length - this.#at;
  }

  override bits(): number {
    return this.#take(4);
  }

  override below(bound: number): number {
    if (bound <= 1) return 0;
    return this.#take(bound <= 0x100 ? 1 : bound <= 0x1_0000 ? 2 : 4) % bound;
  }

  override oneIn(times: number): boolean {
    return this.#left > 0 && this.below(times) === 0;
  }

  #take(bytes: number): number {
    let value = 0;
    for (let left = bytes; left > 0; left--) {
      value = value * 256 + (this.#input[this.#at] ?? 0);
      this.#at += 1;
    }
    return value;
  }
}

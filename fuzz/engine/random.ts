// Chance that can be had again: the same seed gives the same numbers on every machine (sfc32 of PractRand). Not for secrets.

const WARM_UP_ROUNDS = 12;

export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** `stream` tells sources of one seed apart. */
  constructor(seed: number, stream = '') {
    this.#a = seed | 0;
    this.#b = Math.trunc(seed / 2 ** 32) | 0;
    this.#c = 0x9e37_79b9;
    for (const character of stream) this.#c = (Math.imul(this.#c, 31) + (character.codePointAt(0) ?? 0)) | 0;
    for (let round = 0; round < WARM_UP_ROUNDS; round++) this.#next();
  }

  /** 0 … 2^32 - 1. */
  bits(): number {
    return this.#next();
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum >>> 0;
  }

  /** 0 … `bound` - 1; 0 where the bound is not above 1. */
  below(bound: number): number {
    return bound <= 1 ? 0 : this.bits() % bound;
  }

  /** True once in so many times. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  /** `list` must not be empty. */
  pick<T>(list: readonly T[]): T {
    // An index below the length leads to an element.
    return list[this.below(list.length)] as T;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    for (let at = 0; at < length; at++) bytes[at] = this.bits();
    return bytes;
  }

  /** Up to `most` of what `make` makes; few more often than many. */
  several<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.below(this.below(most + 1) + 1) }, make);
  }

  /** Whole numbers as programs trip over them: small ones, powers of two and their neighbours, of either sign. */
  edge(): number {
    switch (this.below(5)) {
      case 0:
        return this.below(16);
      case 1:
        return this.below(70_000);
      case 2:
        return 2 ** this.below(66) - this.below(3) + 1;
      case 3:
        return -(2 ** this.below(65)) + this.below(3) - 1;
      default:
        return this.bits();
    }
  }

  /** A text of up to `most` pieces, of which some are words of a language and some are what comes. */
  text(words: readonly string[], most: number): string {
    return this.several(most, () => {
      if (words.length > 0 && !this.oneIn(4)) return this.pick(words);
      return this.oneIn(6) ? this.pick(ODD_CHARACTERS) : String.fromCharCode(0x20 + this.below(0x5f));
    }).join('');
  }
}

/** What texts have been broken with before: controls, line ends of all kinds, blanks that are none, marks, halves of pairs. */
export const ODD_CHARACTERS: readonly string[] = [
  ...[
    '\0',
    '\t',
    '\n',
    '\r',
    '\x0b',
    '\x1b',
    '\x7f',
    '\u0085',
    '\u009b',
    '\u00a0',
    '\u2028',
    '\u2029',
    '\ufeff',
  ],
  ...[
    '\u202e',
    '\u0301',
    '\ud83d',
    '\ude00',
    '\ufffd',
    '😀',
    '漢',
    'é',
    '"',
    "'",
    '\\',
    '%',
    '$',
    '`',
    '__proto__',
  ],
];

// The input that a thread is at, in memory that another one sees: should it never come back, it is known what it was.

const HEADER_BYTES = 8;
const COUNT = 0;
const LENGTH = 1;

export class Current {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.#words = new Int32Array(memory, 0, 2);
    this.#bytes = new Uint8Array(memory, HEADER_BYTES);
  }

  /** With room for inputs of so many bytes; of longer ones the beginning is kept. */
  static of(inputBytes: number): Current {
    return new Current(new SharedArrayBuffer(HEADER_BYTES + inputBytes));
  }

  set(input: Uint8Array): void {
    const kept = Math.min(input.length, this.#bytes.length);
    this.#bytes.set(input.length > kept ? input.subarray(0, kept) : input);
    this.#words[LENGTH] = kept;
    Atomics.add(this.#words, COUNT, 1);
  }

  /** Changes with each input. */
  get count(): number {
    return Atomics.load(this.#words, COUNT);
  }

  get input(): Buffer {
    return Buffer.from(this.#bytes.slice(0, this.#words[LENGTH]));
  }
}

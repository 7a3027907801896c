// The last bytes of a stream: what a program complains of stands at the end of what it writes. Bounded, and cheap however
// small the pieces are.

export class Tail {
  readonly #maxBytes: number;
  /** How many there were in all. */
  bytes = 0;
  #chunks: Buffer[] = [];
  #kept = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  take(chunk: Buffer): void {
    this.bytes += chunk.length;
    this.#chunks.push(chunk);
    this.#kept += chunk.length;
    if (this.#kept <= 2 * this.#maxBytes) return;
    const kept = Buffer.concat(this.#chunks).subarray(-this.#maxBytes);
    this.#chunks = [kept];
    this.#kept = kept.length;
  }

  text(): string {
    return Buffer.concat(this.#chunks).subarray(-this.#maxBytes).toString();
  }
}

// What became of the points of a scenario that were tried, and whether that shows anything. A test that finds no point, or
// whose faults never come about, fails here instead of passing for want of anything that could go wrong.

import assert from 'node:assert/strict';

/**
 * How much a scenario does varies from run to run with what happens to coincide: a point that was among the last of the run that
 * showed them may not come in another one. One of the first half always does, or what was counted is something else.
 */
const SURELY_REACHED = 0.5;
/** Of many, all but those few are reached; so many it takes for a share to say anything. */
const REACHED_SHARE_MIN = 0.9;
const MANY = 20;

export interface TriedPoint {
  /** By which it can be tried again. */
  readonly name: string;
  /** Where it lay in the run that showed it: its number by how many there were. undefined: whether it is reached is chance. */
  readonly place?: number;
  /** It is reached for sure, or it alone was asked for: then a run that does not reach it shows nothing. */
  readonly isSure?: boolean;
}

export class Tried {
  readonly name: string;
  readonly #failures: string[] = [];
  readonly #missed: TriedPoint[] = [];
  #found = 0;
  #run = 0;
  #reached = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** So many more were shown by a run in which nothing is done to anybody. */
  addFound(count: number): void {
    this.#found += count;
  }

  /** Runs it; `work` says whether the point was reached, and what it throws is a failure. undefined: it has failed. */
  async attempt<T>(
    point: TriedPoint,
    work: () => Promise<T>,
    isReached: (result: T) => boolean,
  ): Promise<T | undefined> {
    this.#run++;
    const result = await this.look(point.name, work);
    // What became of one that failed is not known.
    if (result === undefined) return undefined;
    if (isReached(result)) this.#reached++;
    else this.#missed.push(point);
    return result;
  }

  /** The same without a point: the run that shows them. */
  async look<T>(name: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      this.#failures.push(`${this.name}: ${name}: ${words}`);
      console.log(`✖ ${this.name}: ${name}\n${words}`);
      return undefined;
    }
  }

  /** For the report. */
  toString(): string {
    return `${this.name}: ${this.#found} points found, ${this.#run} run, ${this.#reached} reached, ${this.#failures.length} failed`;
  }

  /** Nothing failed; points were found, and tried, and reached as far as that can be said. */
  checkAll(): void {
    assert.deepEqual(this.#failures, []);
    assert.ok(this.#run > 0, `${this.name}: no point was tried, of ${this.#found}`);
    const wrongly = this.#missed.filter(
      ({ place, isSure }) => isSure || (place !== undefined && place <= SURELY_REACHED),
    );
    assert.deepEqual(
      wrongly.map(({ name }) => name),
      [],
      `${this.name}: not reached`,
    );
    if (this.#run >= MANY)
      assert.ok(this.#reached >= this.#run * REACHED_SHARE_MIN, `${this}: too few were reached`);
  }
}

// Which code of given files has run, as V8 itself counts it: block coverage, asked of the running thread through its
// inspector. Must be started before the files are loaded: what is compiled earlier has no counters.
// Node strips types by writing blanks over them, so V8's places are places in the source.

import { readFileSync } from 'node:fs';
import { type Profiler, Session } from 'node:inspector';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

export interface Reached {
  readonly functions: number;
  readonly functionsReached: number;
  /** Characters of code inside of functions. */
  readonly characters: number;
  readonly charactersReached: number;
}

interface KnownFunction {
  readonly index: number;
  readonly start: number;
  readonly end: number;
  ran: boolean;
}

interface File {
  /** Of its places. */
  readonly first: number;
  readonly reached: Uint8Array;
  /** For each character the index of the innermost function that it belongs to; -1: none. */
  readonly owner: Int32Array;
  readonly functions: Map<string, KnownFunction>;
}

/** Characters of code, each as its file's number × PLACES_A_FILE + its place. */
export type Places = ReadonlySet<number>;

const PLACES_A_FILE = 2 ** 24;

export class Coverage implements Disposable {
  readonly #session = new Session();
  readonly #files = new Map<string, File>();

  /** `sources`: paths from `root`. */
  constructor(root: string, sources: readonly string[]) {
    for (const source of sources) {
      const path = resolve(root, source);
      const { length } = readFileSync(path, 'utf8');
      this.#files.set(pathToFileURL(path).href, {
        first: this.#files.size * PLACES_A_FILE,
        reached: new Uint8Array(length),
        owner: new Int32Array(length).fill(-1),
        functions: new Map(),
      });
    }
    this.#session.connect();
    this.#post('Profiler.enable');
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** What has run since the last look and never before. */
  take(): Places {
    const found = new Set<number>();
    this.#look(({ first, reached }, at) => {
      if (reached[at] === 1) return;
      reached[at] = 1;
      found.add(first + at);
    });
    return found;
  }

  /** Which of these have run since the last look. */
  touched(places: Places): Places {
    const found = new Set<number>();
    this.#look(({ first }, at) => {
      if (places.has(first + at)) found.add(first + at);
    });
    return found;
  }

  get reached(): Reached {
    const sum = { functions: 0, functionsReached: 0, characters: 0, charactersReached: 0 };
    for (const { functions, owner, reached } of this.#files.values()) {
      sum.functions += functions.size;
      for (const { ran } of functions.values()) sum.functionsReached += ran ? 1 : 0;
      for (let at = 0; at < owner.length; at++) {
        if (owner[at] === -1) continue;
        sum.characters += 1;
        sum.charactersReached += reached[at] ?? 0;
      }
    }
    return sum;
  }

  [Symbol.dispose](): void {
    this.#post('Profiler.stopPreciseCoverage');
    this.#post('Profiler.disable');
    this.#session.disconnect();
  }

  #look(each: (file: File, at: number) => void): void {
    // A session with one's own thread answers before it returns.
    this.#session.post('Profiler.takePreciseCoverage', (error, answer) => {
      if (error !== null) throw error;
      for (const { url, functions } of answer.result) {
        const file = this.#files.get(url);
        if (file === undefined) continue;
        for (const { ranges } of functions) know(file, ranges[0]);
        for (const { ranges } of functions) ranIn(file, ranges, each);
      }
    });
  }

  #post(method: string, parameters: object = {}): void {
    this.#session.post(method, parameters, (error: Error | null) => {
      if (error !== null) throw error;
    });
  }
}

/** A function that is seen for the first time takes its characters from the one around it. */
function know(file: File, range: Profiler.CoverageRange | undefined): void {
  // The module itself is no function of its: it runs as it is loaded.
  if (range === undefined || range.startOffset === 0) return;
  const { startOffset: start, endOffset: end } = range;
  const key = `${start}-${end}`;
  if (file.functions.has(key)) return;
  file.functions.set(key, { index: file.functions.size, start, end, ran: false });
  const within = [...file.functions.values()].filter((one) => one.start >= start && one.end <= end);
  // The larger first, so that the innermost stays.
  for (const one of within.sort((a, b) => b.end - b.start - (a.end - a.start)))
    file.owner.fill(one.index, one.start, one.end);
}

/** Calls `each` for what has run of a function itself. Ranges come from the outside in, the inner one being right. */
function ranIn(
  file: File,
  ranges: readonly Profiler.CoverageRange[],
  each: (file: File, at: number) => void,
): void {
  const whole = ranges[0];
  const known = whole && file.functions.get(`${whole.startOffset}-${whole.endOffset}`);
  if (whole === undefined || known === undefined || whole.count === 0) return;
  known.ran = true;
  const ran = new Uint8Array(whole.endOffset - whole.startOffset);
  for (const { startOffset, endOffset, count } of ranges)
    ran.fill(count > 0 ? 1 : 0, startOffset - whole.startOffset, endOffset - whole.startOffset);
  for (let at = whole.startOffset; at < whole.endOffset; at++)
    if (file.owner[at] === known.index && ran[at - whole.startOffset] === 1) each(file, at);
}

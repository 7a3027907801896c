// What is fuzzed, one file for each in fuzz/targets: how well-formed inputs are made, and what must hold for any input.

import assert from 'node:assert/strict';
import { type Fault, type FaultKind, isFault, oneLine } from '../../src/fault.ts';
import type { Random } from './random.ts';

export interface Target {
  /** An input as those that come in earnest, or nearly. */
  make(random: Random): Buffer;
  /** Words of the language; strings are UTF-8. */
  readonly dictionary: readonly (string | Buffer)[];
  /** No input is longer; 4 KiB where nothing is said. */
  readonly maxBytes?: number;
  /** Throws where what must hold does not. */
  run(input: Buffer): void | Promise<void>;
  /** Gives back what it holds: files, descriptors. */
  close?(): void;
}

/** The target that a file exports. */
export async function openTarget(module: string): Promise<Target> {
  const { target } = (await import(module)) as { readonly target: () => Target };
  return target();
}

/** Words that are no text: each character is a byte. */
export function byteWords(...words: readonly string[]): readonly Buffer[] {
  return words.map((word) => Buffer.from(word, 'latin1'));
}

/** What a call gives, or the Fault that it throws: one of the kinds that it may. Anything else thrown is a finding. */
export function attempt<T>(
  kinds: readonly FaultKind[],
  call: () => T,
): { readonly value: T; readonly fault?: undefined } | { readonly fault: Fault; readonly value?: undefined } {
  try {
    return { value: call() };
  } catch (error) {
    if (!isFault(error, ...kinds)) throw error;
    checkShown(oneLine(error));
    return { fault: error };
  }
}

/** Holds a text that is shown to people to one line without anything that a terminal obeys. */
export function checkShown(text: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const found = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.exec(text);
  assert.equal(found, null, `a control character is shown: ${JSON.stringify(text)}`);
}

/** Holds a value to what JSON keeps of it, since it is kept as JSON. */
export function checkKept(value: unknown): void {
  assert.deepStrictEqual(JSON.parse(JSON.stringify(value)), value);
}

// Inputs as they are kept in the tree: one file for each target, one input a line, as a JSON string whose characters are
// bytes. So a person reads a text as a text, and any bytes stay what they are. A line that begins with # is a comment.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';

export function readCorpus(path: string): readonly Buffer[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map(readInput);
}

export function writeCorpus(path: string, inputs: readonly Buffer[]): void {
  const comments = existsSync(path)
    ? readFileSync(path, 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('#'))
    : [];
  writeFileSync(path, [...comments, ...inputs.map(inputLine)].map((line) => `${line}\n`).join(''));
}

export function inputLine(input: Buffer): string {
  return JSON.stringify(input.toString('latin1')).replace(
    /[\u007f-\u00ff]/g,
    (character) => `\\u00${character.charCodeAt(0).toString(16)}`,
  );
}

/** The way back. SyntaxError or TypeError for anything else. */
export function readInput(line: string): Buffer {
  const text: unknown = JSON.parse(line);
  if (typeof text !== 'string') throw new TypeError(`no input: ${line.slice(0, 80)}`);
  return Buffer.from(text, 'latin1');
}

// Small tools of the tests that are written in C, compiled when they are first needed and kept for later runs.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TEST_CACHE } from './cache.ts';
import { output } from './command.ts';

/** The path of the program made of a source of this directory; `options` are gcc's. */
export async function compiled(source: string, options: readonly string[] = []): Promise<string> {
  return await compiledFile(new URL(source, import.meta.url), options);
}

/** The same of any source. */
export async function compiledFile(source: URL, options: readonly string[] = []): Promise<string> {
  const path = fileURLToPath(source);
  const version = createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 16);
  const program = `${TEST_CACHE}/${basename(path, '.c')}-${version}`;
  if (existsSync(program)) return program;
  mkdirSync(TEST_CACHE, { recursive: true });
  const made = `${program}.${process.pid}`;
  await output(['gcc', '-O2', '-Wall', '-Wextra', '-Werror', ...options, '-o', made, path]);
  renameSync(made, program);
  return program;
}

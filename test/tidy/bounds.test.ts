// Bounds in time that a document promises, held against the constants that are obeyed.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { PULL_STALL_MS } from '../../src/docker/pull.ts';
import { FETCH_STALL_MS } from '../../src/host/fetch.ts';
import { HOOK_BOUND_MS } from '../../src/supervisor/hooks.ts';

const root = resolve(import.meta.dirname, '../..');
const CONFIGURATION = 'docs/deimos.cfg.5.md';
const MINUTE_MS = 60_000;

const promises: readonly [document: string, words: string, promisedMs: number, obeyedMs: number][] = [
  [CONFIGURATION, 'A hook that takes longer than a minute is killed', MINUTE_MS, HOOK_BOUND_MS],
  ['ARCHITECTURE.md', 'A hook that fails or hangs (60 s)', MINUTE_MS, HOOK_BOUND_MS],
  [CONFIGURATION, 'or that has sent nothing for a minute, fails the task', MINUTE_MS, FETCH_STALL_MS],
  [CONFIGURATION, 'has told nothing new for two minutes fails', 2 * MINUTE_MS, PULL_STALL_MS],
];
for (const [document, words, promisedMs, obeyedMs] of promises) {
  test(`${document} is right in saying: ${words}`, () => {
    const text = readFileSync(resolve(root, document), 'utf8').replace(/\s+/g, ' ');
    assert.ok(text.includes(words));
    assert.equal(obeyedMs, promisedMs);
  });
}

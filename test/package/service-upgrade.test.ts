// The package comes, changes and goes under systemd, in whose unit the supervisor runs, while tasks do.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { buildOf } from '../support/builds.ts';
import { debianPackage, repacked } from '../support/package.ts';
import { PROGRAM, ROOT, ServiceGuest } from '../support/service-guest.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';

describe('the package under systemd', { timeout: 580_000 }, () => {
  let directory: TempDirectory;
  let host: ServiceGuest;
  before(async () => {
    directory = await tempDirectory('unit-');
    const next = directory.at('next.deb');
    const other = { binary: await buildOf({ version: '1.0.1' }), version: '1.0.1' };
    await repacked(await debianPackage(), directory.at('next'), next, other);
    host = await ServiceGuest.start(directory, { 'next.deb': next });
  });
  after(async () => {
    await host?.guest.machine.stop();
    await directory?.remove();
  });

  it('is the new release’s after an upgrade, with tasks running', async () => {
    const before = await host.served();
    const task = await host.running();
    await host.sh('dpkg -i /host/next.deb');
    const pid = await host.served();
    assert.notEqual(pid, before);
    assert.equal(
      await host.sh(`readlink /proc/${pid}/exe; ${PROGRAM} --version | cut -d ' ' -f 2`),
      `${PROGRAM}\n1.0.1`,
    );
    await host.tell(task);
    await host.assertWhole(task);
    assert.deepEqual(await host.slave.complaints(), []);
  });

  it('stays when the package is removed while tasks run, and is the next one’s when that comes; nothing is left of a purged one', async () => {
    const task = await host.running();
    const before = await host.served();
    await host.sh('dpkg -r deimos');
    assert.equal(await host.served(), before);
    await host.sh('dpkg -i /host/this.deb');
    assert.notEqual(await host.served(), before);
    await host.tell(task);
    await host.assertWhole(task);
    await host.running();
    await host.slave.stop();
    await host.sh('dpkg -P deimos');
    assert.deepEqual(await host.supervisors(), []);
    assert.equal(
      await host.sh(`ls -d ${ROOT} /run/deimos.roots ${PROGRAM} /etc/deimos.cfg /var/lib/deimos \\
  /etc/systemd/system/*/deimos.service /lib/systemd/system/deimos.service 2>/dev/null || true`),
      '',
    );
  });
});

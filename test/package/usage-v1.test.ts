// `usage` on cgroup version 1 with systemd's cgroup driver, which needs systemd as init: in a machine of its own.

import { after, before, describe, it } from 'node:test';
import { assertUsageOfFiles, BUSY_THEN_QUIET, Guest, type Launched } from '../support/guest.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';

describe('on cgroup v1 with the driver systemd', { timeout: 290_000 }, () => {
  let directory: TempDirectory;
  let guest: Guest;
  let task: Launched;
  before(async () => {
    directory = await tempDirectory('v1-');
    guest = await Guest.start(directory, { kernelArguments: ['systemd.unified_cgroup_hierarchy=0'] });
    await guest.startDocker('systemd');
    task = await guest.launch({ value: BUSY_THEN_QUIET, cpus: 0.5, mem: 64 }, 'quota');
  });
  after(async () => {
    await guest?.machine.stop();
    await directory?.remove();
  });

  it('usage says what the files say', async () => {
    await assertUsageOfFiles(guest, task, 'systemd', 'v1-systemd');
  });
});

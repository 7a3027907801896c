// deimos.service under systemd as init, installed by the Debian package, beside a slave's unit: what the unit takes away from the
// supervisor must not be missed by any task, and neither of the two units harms the other.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { IMAGE } from '../support/guest.ts';
import { PROGRAM, ServiceGuest, SLAVE_CGROUP, UNTIL_TOLD } from '../support/service-guest.ts';
import { commandTask } from '../support/tasks.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';

describe('deimos.service', { timeout: 580_000 }, () => {
  let directory: TempDirectory;
  let host: ServiceGuest;
  before(async () => {
    directory = await tempDirectory('unit-');
    host = await ServiceGuest.start(directory);
  });
  after(async () => {
    await host?.guest.machine.stop();
    await directory?.remove();
  });

  it('runs from the installation on, in a cgroup of its own, bound by its unit', async () => {
    const pid = await host.served();
    const status = await host.sh(`cat /proc/${pid}/status`);
    assert.match(status, /^NoNewPrivs:\t1$/m);
    assert.match(status, /^Seccomp:\t2$/m);
    assert.equal(await host.sh(`cat /proc/${pid}/oom_score_adj`), '-900');
    assert.equal(
      await host.sh('systemd-analyze verify --man=no /lib/systemd/system/deimos.service 2>&1'),
      '',
    );
    assert.equal(await host.sh('systemctl is-enabled deimos.service'), 'enabled');
    const said = await host.sh(`${PROGRAM} check --look service`);
    assert.equal(JSON.parse(said).level, 'ok', said);
    const elsewhere = await host.sh(`${PROGRAM} --root /run/elsewhere check --look service`);
    assert.equal(JSON.parse(elsewhere).level, 'warning', elsewhere);
  });

  it('lets a task have all that it may ask for: URIs of other users’ files, archives, a hook, health, its memory’s end', async () => {
    await host.sh(`mkdir -p /home/files/deep && echo kept >/home/files/deep/one && chmod 600 /home/files/deep/one
tar -C /home/files -cJf /home/files/packed.tar.xz deep && chown -R daemon /home/files`);
    const uris = [{ value: '/home/files/packed.tar.xz' }, { value: 'file:///home/files/deep/one' }];
    const task = await host.running({
      name: 'asks-for-all',
      uris,
      user: 'daemon',
      healthCheck: { command: { value: 'test -e one' }, delay_seconds: 0, interval_seconds: 0.5 },
      value: `cat one deep/one; ${UNTIL_TOLD}`,
    });
    await host.until('its health was told', async () =>
      (await host.slave.updates(task)).some(({ healthy }) => healthy === true),
    );
    await host.tell(task);
    assert.equal((await host.slave.gone(task))?.status, 3 << 8);
    assert.equal(await host.sh(`cat ${task.sandbox}/stdout`), 'kept\nkept\nbegun\nover');
    assert.equal(await host.sh('cat /run/hooked.asks-for-all'), '0\n0');
    const greedy = await host.slave.launch(
      commandTask({ image: IMAGE, mem: 40, cpus: 0.5, value: 'exec tail /dev/zero' }),
    );
    const end = await host.slave.gone(greedy);
    assert.deepEqual([end?.killed, end?.state], [true, TaskState.FAILED]);
    assert.match(end?.message ?? '', /40 MB/);
  });

  it('stays when the slave’s unit is restarted, or stopped for a while: tasks go on', async () => {
    const pid = await host.served();
    const task = await host.running();
    await host.slave.restart();
    assert.equal(await host.served(), pid);
    const killed = await host.running();
    await host.slave.stop();
    await host.tell(task);
    await host.slave.restart();
    await host.assertWhole(task);
    await host.slave.kill(killed);
    await host.slave.reached(killed, TaskState.KILLED);
    assert.equal(await host.served(), pid);
  });

  it('is back when it was killed, and takes over from one that was started on demand meanwhile', async () => {
    const before = await host.served();
    const task = await host.running();
    await host.sh(`kill -9 ${before}`);
    assert.notEqual(await host.served(), before);
    await host.sh('systemctl stop deimos');
    const onDemand = await host.until(
      'a sleeping wait has started one',
      async () =>
        (await host.supervisors()).find(({ serves, cgroup }) => serves && cgroup === SLAVE_CGROUP)?.pid,
    );
    const other = await host.running();
    await host.sh('systemctl start deimos');
    assert.notEqual(await host.served(), onDemand);
    await host.tell(task);
    await host.tell(other);
    await host.assertWhole(task);
    await host.assertWhole(other);
    assert.deepEqual(await host.slave.complaints(), []);
  });
});

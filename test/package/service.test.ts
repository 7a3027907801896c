// deimos.service under systemd as init, installed by the Debian package: in a machine of its own, with a stand-in slave as a
// unit beside it. What the unit takes away from the supervisor must not be missed by any task.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { buildOf } from '../support/builds.ts';
import { Guest, IMAGE } from '../support/guest.ts';
import { MachineSlave, type MachineTask, machineSlaveFiles } from '../support/machine-slave.ts';
import { debianPackage, repacked } from '../support/package.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';
import { until } from '../support/until.ts';

const PROGRAM = '/usr/local/bin/deimos';
const ROOT = '/run/deimos';
const SLOW_MS = 60_000;
const SERVICE_CGROUP = '0::/system.slice/deimos.service';
const SLAVE_CGROUP = '0::/system.slice/mesos-slave.service';
const UNTIL_TOLD = 'echo begun; until [ -e go ]; do sleep 0.1; done; echo over; exit 3';

describe('deimos.service', { timeout: 290_000 }, () => {
  let directory: TempDirectory;
  let guest: Guest;
  let slave: MachineSlave;

  before(async () => {
    directory = await tempDirectory('unit-');
    const deb = await debianPackage();
    const [plain, next] = [directory.at('this.deb'), directory.at('next.deb')];
    await repacked(deb, directory.at('plain'), plain);
    const other = { binary: await buildOf({ version: '1.0.1' }), version: '1.0.1' };
    await repacked(deb, directory.at('other'), next, other);
    guest = await Guest.start(directory, {
      files: {
        ...{ 'this.deb': plain, 'next.deb': next },
        ...(await machineSlaveFiles(directory.at('slave.mjs'))),
      },
    });
    await guest.startDocker('systemd');
    slave = new MachineSlave(guest);
  });
  after(async () => {
    await guest?.machine.stop();
    await directory?.remove();
  });

  /** Supervisors, where they live, and whether calls reach them. Asked without deimos, whose start takes long here. */
  const supervisors = async () => {
    const text = await guest.sh(`for one in $(grep -lsa '^${PROGRAM}.supervise' /proc/[0-9]*/cmdline); do
  one=\${one%/cmdline}
  ls -l $one/fd 2>/dev/null | grep -q ' ${ROOT}/supervisor/requests$' && serves=yes || serves=no
  echo "\${one#/proc/} $serves $(cat $one/cgroup 2>/dev/null)"
done`);
    return text.split('\n').flatMap((line) => {
      const [pid, serves, cgroup] = line.split(' ');
      return cgroup === undefined ? [] : [{ pid: Number(pid), serves: serves === 'yes', cgroup }];
    });
  };
  /** The service looks after the root, and nobody stands beside it: its pid. */
  const served = async (): Promise<number> =>
    await until(
      'the service looks after the root',
      async () => {
        const [one, ...others] = await supervisors();
        return others.length === 0 && one?.serves && one.cgroup === SERVICE_CGROUP && one.pid;
      },
      { timeoutMs: SLOW_MS, everyMs: 300 },
    );
  const running = async (options: TaskOptions = { value: UNTIL_TOLD }): Promise<MachineTask> => {
    const task = await slave.launch(commandTask({ image: IMAGE, ...options }));
    await slave.reached(task, TaskState.RUNNING);
    return task;
  };
  const tell = async (task: MachineTask) => await guest.sh(`touch ${task.sandbox}/fs/go`);
  /** Its whole life, as the framework and the slave have to hear of it. */
  const assertWhole = async (task: MachineTask) => {
    const termination = await slave.gone(task);
    assert.equal(termination?.status, 3 << 8);
    const states = new Map((await slave.updates(task)).map(({ uuid, state }) => [uuid, state]));
    assert.deepEqual([...states.values()], [TaskState.RUNNING, TaskState.FAILED]);
    assert.equal(await guest.sh(`cat ${task.sandbox}/stdout`), 'begun\nover');
  };

  it('runs from the installation on, in a cgroup of its own, bound by its unit', async () => {
    await guest.sh(`dpkg -i /host/this.deb
cat >/root/hook <<'HOOK'
#!/bin/sh
{ id -u; grep -s . /proc/self/oom_score_adj; } >"/run/hooked.$TASK_INFO"
HOOK
chmod 755 /root/hook
printf '[docker]\\nhost: unix:///run/docker.sock\\n[state]\\nroot: ${ROOT}\\n[hooks]\\nonlaunch: ["/root/hook"]\\n' >/etc/deimos.cfg
systemctl restart deimos`);
    const pid = await served();
    const status = await guest.sh(`cat /proc/${pid}/status`);
    assert.match(status, /^NoNewPrivs:\t1$/m);
    assert.match(status, /^Seccomp:\t2$/m);
    assert.equal(await guest.sh(`cat /proc/${pid}/oom_score_adj`), '-900');
    assert.equal(
      await guest.sh('systemd-analyze verify --man=no /lib/systemd/system/deimos.service 2>&1'),
      '',
    );
    assert.equal(await guest.sh('systemctl is-enabled deimos.service'), 'enabled');
    const said = await guest.sh(`${PROGRAM} check --look service`);
    assert.equal(JSON.parse(said).level, 'ok', said);
    await slave.install(PROGRAM);
  });

  it('lets a task have all that it may ask for: URIs of other users’ files, archives, a hook, health, its memory’s end', async () => {
    await guest.sh(`mkdir -p /home/files/deep && echo kept >/home/files/deep/one && chmod 600 /home/files/deep/one
tar -C /home/files -cJf /home/files/packed.tar.xz deep && chown -R daemon /home/files`);
    const uris = [{ value: '/home/files/packed.tar.xz' }, { value: 'file:///home/files/deep/one' }];
    const task = await running({
      name: 'asks-for-all',
      uris,
      user: 'daemon',
      healthCheck: { command: { value: 'test -e one' }, delay_seconds: 0, interval_seconds: 0.5 },
      value: `cat one deep/one; ${UNTIL_TOLD}`,
    });
    await until(
      'its health was told',
      async () => (await slave.updates(task)).some(({ healthy }) => healthy === true),
      { timeoutMs: SLOW_MS, everyMs: 300 },
    );
    await tell(task);
    assert.equal((await slave.gone(task))?.status, 3 << 8);
    assert.equal(await guest.sh(`cat ${task.sandbox}/stdout`), 'kept\nkept\nbegun\nover');
    assert.equal(await guest.sh('cat /run/hooked.asks-for-all'), '0\n0');
    const greedy = await slave.launch(
      commandTask({ image: IMAGE, mem: 40, cpus: 0.5, value: 'exec tail /dev/zero' }),
    );
    const end = await slave.gone(greedy);
    assert.deepEqual([end?.killed, end?.state], [true, TaskState.FAILED]);
    assert.match(end?.message ?? '', /40 MB/);
  });

  it('stays when the slave’s unit is restarted, or stopped for a while: tasks go on', async () => {
    const pid = await served();
    const task = await running();
    await slave.restart();
    assert.equal(await served(), pid);
    const killed = await running();
    await slave.stop();
    await tell(task);
    await slave.restart();
    await assertWhole(task);
    await slave.kill(killed);
    await slave.reached(killed, TaskState.KILLED);
    assert.equal(await served(), pid);
  });

  it('is back when it was killed, and takes over from one that was started on demand meanwhile', async () => {
    const before = await served();
    const task = await running();
    await guest.sh(`kill -9 ${before}`);
    assert.notEqual(await served(), before);
    await guest.sh('systemctl stop deimos');
    const onDemand = await until(
      'a sleeping wait has started one',
      async () => (await supervisors()).find(({ serves, cgroup }) => serves && cgroup === SLAVE_CGROUP)?.pid,
      { timeoutMs: SLOW_MS, everyMs: 300 },
    );
    const other = await running();
    await guest.sh('systemctl start deimos');
    assert.notEqual(await served(), onDemand);
    await tell(task);
    await tell(other);
    await assertWhole(task);
    await assertWhole(other);
  });

  it('is the new release’s after an upgrade, with tasks running', async () => {
    const before = await served();
    const task = await running();
    await guest.sh('dpkg -i /host/next.deb');
    const pid = await served();
    assert.notEqual(pid, before);
    assert.equal(
      await guest.sh(`readlink /proc/${pid}/exe; ${PROGRAM} --version | cut -d ' ' -f 2`),
      `${PROGRAM}\n1.0.1`,
    );
    await tell(task);
    await assertWhole(task);
    assert.deepEqual(await slave.complaints(), []);
  });

  it('goes with the package, while tasks live on; nothing is left when that is purged', async () => {
    const task = await running();
    await guest.sh('dpkg -r deimos');
    assert.equal(await guest.sh('systemctl is-active deimos.service || true'), 'inactive');
    assert.equal(await guest.sh('docker ps -q | wc -l'), '1');
    await guest.sh('dpkg -i /host/this.deb');
    await served();
    await tell(task);
    await assertWhole(task);
    await slave.stop();
    await guest.sh('dpkg -P deimos');
    assert.deepEqual(await supervisors(), []);
    assert.equal(
      await guest.sh(`ls -d ${ROOT} /run/deimos.roots ${PROGRAM} /etc/deimos.cfg /var/lib/deimos \\
  /etc/systemd/system/*/deimos.service /lib/systemd/system/deimos.service 2>/dev/null || true`),
      '',
    );
  });
});

// A machine of the tests' own in which the package is installed: deimos.service under systemd as init, and a stand-in slave as a
// unit beside it.

import assert from 'node:assert/strict';
import { TaskState } from '../../src/mesos/messages.ts';
import { Guest, IMAGE } from './guest.ts';
import { MachineSlave, type MachineTask, machineSlaveFiles } from './machine-slave.ts';
import { debianPackage, repacked } from './package.ts';
import { commandTask, type TaskOptions } from './tasks.ts';
import type { TempDirectory } from './temp.ts';
import { until } from './until.ts';

export const PROGRAM = '/usr/local/bin/deimos';
export const ROOT = '/run/deimos';
export const SLAVE_CGROUP = '0::/system.slice/mesos-slave.service';
const SERVICE_CGROUP = '0::/system.slice/deimos.service';
/** Everything takes long in a machine that is emulated. */
const SLOW = { timeoutMs: 60_000, everyMs: 300 };
export const UNTIL_TOLD = 'echo begun; until [ -e go ]; do sleep 0.1; done; echo over; exit 3';

interface Supervisor {
  readonly pid: number;
  /** Whether calls reach it. */
  readonly serves: boolean;
  readonly cgroup: string;
}

export class ServiceGuest {
  readonly guest: Guest;
  readonly slave: MachineSlave;

  private constructor(guest: Guest, slave: MachineSlave) {
    this.guest = guest;
    this.slave = slave;
  }

  /** Boots it with Docker and installs the package; `files` is for below /host, where /host/this.deb is the package. */
  static async start(
    directory: TempDirectory,
    files: Readonly<Record<string, string>> = {},
  ): Promise<ServiceGuest> {
    const deb = directory.at('this.deb');
    await repacked(await debianPackage(), directory.at('this'), deb);
    const slaveFiles = await machineSlaveFiles(directory.at('slave.mjs'));
    const guest = await Guest.start(directory, { files: { ...files, ...slaveFiles, 'this.deb': deb } });
    try {
      await guest.startDocker('systemd');
      const slave = new MachineSlave(guest);
      await guest.sh(`dpkg -i /host/this.deb
cat >/root/hook <<'HOOK'
#!/bin/sh
{ id -u; grep -s . /proc/self/oom_score_adj; } >"/run/hooked.$TASK_INFO"
HOOK
chmod 755 /root/hook
printf '[docker]\\nhost: unix:///run/docker.sock\\n[state]\\nroot: ${ROOT}\\n[hooks]\\nonlaunch: ["/root/hook"]\\n' >/etc/deimos.cfg
systemctl restart deimos`);
      await slave.install(PROGRAM);
      return new ServiceGuest(guest, slave);
    } catch (error) {
      await guest.machine.stop();
      throw error;
    }
  }

  async sh(script: string): Promise<string> {
    return await this.guest.sh(script);
  }

  /** Asked without deimos, whose start takes long here. */
  async supervisors(): Promise<readonly Supervisor[]> {
    const text = await this.sh(`for one in $(grep -lsa '^${PROGRAM}.supervise' /proc/[0-9]*/cmdline); do
  one=\${one%/cmdline}
  ls -l $one/fd 2>/dev/null | grep -q ' ${ROOT}/supervisor/requests$' && serves=yes || serves=no
  echo "\${one#/proc/} $serves $(cat $one/cgroup 2>/dev/null)"
done`);
    return text.split('\n').flatMap((line) => {
      const [pid, serves, cgroup] = line.split(' ');
      return cgroup === undefined ? [] : [{ pid: Number(pid), serves: serves === 'yes', cgroup }];
    });
  }

  /** Waits until the service looks after the root, and nobody stands beside it: its pid. */
  async served(): Promise<number> {
    return await until(
      'the service looks after the root',
      async () => {
        const [one, ...others] = await this.supervisors();
        return others.length === 0 && one?.serves && one.cgroup === SERVICE_CGROUP && one.pid;
      },
      SLOW,
    );
  }

  async until<T>(what: string, probe: () => Promise<T | undefined | false>): Promise<T> {
    return await until(what, probe, SLOW);
  }

  async running(options: TaskOptions = { value: UNTIL_TOLD }): Promise<MachineTask> {
    const task = await this.slave.launch(commandTask({ image: IMAGE, ...options }));
    await this.slave.reached(task, TaskState.RUNNING);
    return task;
  }

  async tell(task: MachineTask): Promise<void> {
    await this.sh(`touch ${task.sandbox}/fs/go`);
  }

  /** The whole life of one of UNTIL_TOLD, as the framework and the slave have to hear of it. */
  async assertWhole(task: MachineTask): Promise<void> {
    assert.equal((await this.slave.gone(task))?.status, 3 << 8);
    const states = new Map((await this.slave.updates(task)).map(({ uuid, state }) => [uuid, state]));
    assert.deepEqual([...states.values()], [TaskState.RUNNING, TaskState.FAILED]);
    assert.equal(await this.sh(`cat ${task.sandbox}/stdout`), 'begun\nover');
  }
}

// Deimos in a machine of the tests' own, as an operator would have it there: Debian's docker.service, the built binary, and
// calls as a slave makes them, but with no slave that is told how tasks go.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { decode } from '../../src/mesos/codec.ts';
import { ResourceStatistics } from '../../src/mesos/messages.ts';
import { keepFixture } from './cgroup-fixtures.ts';
import { busyboxTar } from './images.ts';
import { BINARY, containerRecord, launchRecord } from './installation.ts';
import { type Machine, type MachineOptions, startMachine } from './machine.ts';
import { commandTask, type TaskOptions } from './tasks.ts';
import type { TempDirectory } from './temp.ts';
import { assertBetween, busyThenQuiet, FILES_SCRIPT, factsOf, parseFiles } from './usage-facts.ts';

const MB = 2 ** 20;
export const IMAGE = 'busybox:test';
const ROOT = '/var/lib/deimos';
/** Everything is several times slower where the machine is emulated, and the host may be busy. */
const STEP_TIMEOUT_S = 180;
/** So short a loop, since the machine may be emulated. */
export const BUSY_THEN_QUIET = busyThenQuiet(20_000);

export class Guest {
  readonly machine: Machine;
  readonly #sandboxes: string;

  private constructor(machine: Machine, sandboxes: string) {
    this.machine = machine;
    this.#sandboxes = sandboxes;
  }

  /** Boots the machine, with the built binary and an image in it, and what `options` has beside. */
  static async start(directory: TempDirectory, options: MachineOptions = {}): Promise<Guest> {
    await writeFile(directory.at('busybox.tar'), await busyboxTar());
    const files = { deimos: BINARY, 'busybox.tar': directory.at('busybox.tar'), ...options.files };
    return new Guest(await startMachine({ ...options, files }), directory.at('sandboxes'));
  }

  async sh(script: string): Promise<string> {
    return await this.machine.run(script, STEP_TIMEOUT_S);
  }

  /** Debian's own docker.service with this cgroup driver, and a configuration for it. */
  async startDocker(driver: string): Promise<void> {
    // Nothing goes out of the machine, and rules for that take an emulated one half a minute.
    const daemon = { 'exec-opts': [`native.cgroupdriver=${driver}`], iptables: false, ip6tables: false };
    const configuration = `[docker]\nhost: unix:///run/docker.sock\n[state]\nroot: ${ROOT}\n`;
    await this.sh(`mkdir -p /etc/docker && systemctl stop docker.service docker.socket containerd
echo '${JSON.stringify(daemon)}' >/etc/docker/daemon.json
printf '${configuration}' >/root/shares.cfg
printf '${configuration}[containers.limits]\ncfs: true\n' >/root/quota.cfg
systemctl start docker
docker image inspect ${IMAGE} >/dev/null 2>&1 || docker import - ${IMAGE} </host/busybox.tar`);
  }

  /** A verb with its record: the status, and the answer without its length. */
  async verb(
    verb: string,
    record: Buffer,
    configuration = 'shares',
  ): Promise<{ code: number; answer: Buffer }> {
    const script = `printf %s ${record.toString('base64')} | base64 -d |
/host/deimos --config /root/${configuration}.cfg ${verb} >/run/answer
status=$?; base64 -w 0 /run/answer; exit $status`;
    const { code, stdout, stderr } = await this.machine.outcome(script, STEP_TIMEOUT_S);
    assert.equal(stderr, '', verb);
    return { code, answer: Buffer.from(stdout, 'base64').subarray(4) };
  }

  /** Launches, and waits until the task has written `ready`. */
  async launch(options: Omit<TaskOptions, 'image'>, configuration: 'shares' | 'quota'): Promise<Launched> {
    const { containerId, sandbox, stdin } = await launchRecord(
      commandTask({ image: IMAGE, ...options }),
      this.#sandboxes,
    );
    await this.sh(`mkdir -p ${sandbox}`);
    assert.equal((await this.verb('launch', stdin, configuration)).code, 0);
    const state = `${ROOT}/mesos/${containerId}`;
    const pid = await this.sh(`until [ -e ${sandbox}/fs/ready ] && [ -e ${state}/init ]; do
  [ -e ${state}/outcome ] && cat ${state}/outcome >&2 && exit 1
  sleep 0.2
done; cat ${state}/pid`);
    return { containerId, sandbox, pid: Number(pid) };
  }

  async files(pid: number) {
    return parseFiles(await this.sh(`set -- ${pid}\n${FILES_SCRIPT}`));
  }

  async usage(containerId: string) {
    const { code, answer } = await this.verb('usage', containerRecord(containerId));
    assert.equal(code, 0);
    return decode(ResourceStatistics, answer);
  }
}

export interface Launched {
  readonly containerId: string;
  readonly sandbox: string;
  readonly pid: number;
}

/**
 * Holds usage of a container of BUSY_THEN_QUIET with 0.5 CPUs by quota and 64 MB against its files, which lie where this
 * driver has them; keeps them as a fixture where that is asked for.
 */
export async function assertUsageOfFiles(
  guest: Guest,
  task: Launched,
  driver: string,
  name: string,
): Promise<void> {
  const { pid, containerId } = task;
  const earlier = await guest.files(pid);
  const path =
    driver === 'systemd' ? /:\/system\.slice\/docker-[0-9a-f]{64}\.scope$/m : /:\/docker\/[0-9a-f]{64}$/m;
  assert.match(earlier[`proc/${pid}/cgroup`] ?? '', path);
  const answer = await guest.usage(containerId);
  const later = await guest.files(pid);
  assertBetween(factsOf(earlier, pid), answer, factsOf(later, pid));
  assert.deepEqual(
    [answer.cpus_limit, answer.mem_limit_bytes, answer.mem_soft_limit_bytes, answer.processes],
    [0.5, 64 * MB, 64 * MB, 2],
  );
  assert.ok((answer.cpus_user_time_secs ?? 0) > 0 && (answer.net_tx_packets ?? 0) >= 2);
  await keepFixture(name, pid, later);
}

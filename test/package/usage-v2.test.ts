// `usage`, `update` and the end for want of memory on cgroup version 2, with both of Docker's cgroup drivers, and on version
// 1 with systemd's: in a machine of its own, where systemd is init and Docker is Debian's.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { decode, encode } from '../../src/mesos/codec.ts';
import {
  Reason,
  ResourceStatistics,
  TaskState,
  Termination,
  Update,
  ValueType,
} from '../../src/mesos/messages.ts';
import { keepFixture } from '../support/cgroup-fixtures.ts';
import { busyboxTar } from '../support/images.ts';
import { BINARY, containerRecord, framed, launchRecord } from '../support/installation.ts';
import { type Machine, startMachine } from '../support/machine.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';
import { assertBetween, assertGrowing, FILES_SCRIPT, factsOf, parseFiles } from '../support/usage-facts.ts';

const MB = 2 ** 20;
const IMAGE = 'busybox:test';
const ROOT = '/var/lib/deimos';
/** The status of a usage that has nothing to say any more. */
const ENDED = 4;
/** Everything is several times slower where the machine is emulated, and the host may be busy. */
const STEP_TIMEOUT_S = 180;
const BUSY_THEN_QUIET = [
  'dd if=/dev/zero of=/dev/shm/ballast bs=1M count=4 2>/dev/null',
  'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done',
  'sleep 1000 & gw=$(ip route | awk \'/^default/ { print $3 }\'); ping -c 2 "$gw" >/dev/null',
  'touch ready; wait',
].join('; ');
const GROWING = 'touch ready; until [ -e go ]; do sleep 0.1; done; exec tail /dev/zero';

class Guest {
  readonly machine: Machine;
  readonly #sandboxes: string;

  constructor(machine: Machine, sandboxes: string) {
    this.machine = machine;
    this.#sandboxes = sandboxes;
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

interface Launched {
  readonly containerId: string;
  readonly sandbox: string;
  readonly pid: number;
}

function updateRecord(containerId: string, cpus: number, mem: number): Buffer {
  const scalar = (name: string, value: number) => ({
    name,
    type: ValueType.SCALAR,
    scalar: { value },
    role: '*',
  });
  const resources = [scalar('cpus', cpus), scalar('mem', mem)];
  return framed(encode(Update, { container_id: { value: containerId }, resources }));
}

const HIERARCHIES = [
  { version: 'v2', drivers: ['systemd', 'cgroupfs'], kernelArguments: [] },
  { version: 'v1', drivers: ['systemd'], kernelArguments: ['systemd.unified_cgroup_hierarchy=0'] },
] as const;

for (const { version, drivers, kernelArguments } of HIERARCHIES) {
  describe(`on cgroup ${version}`, { timeout: 900_000 }, () => {
    let directory: TempDirectory;
    let guest: Guest;
    before(async () => {
      directory = await tempDirectory('v2-');
      await writeFile(directory.at('busybox.tar'), await busyboxTar());
      const files = { deimos: BINARY, 'busybox.tar': directory.at('busybox.tar') };
      guest = new Guest(await startMachine({ files, kernelArguments }), directory.at('sandboxes'));
    });
    after(async () => {
      await guest?.machine.stop();
      await directory?.remove();
    });

    for (const driver of drivers) {
      describe(`with the driver ${driver}`, () => {
        let task: Launched;
        before(async () => {
          await guest.startDocker(driver);
          task = await guest.launch({ value: BUSY_THEN_QUIET, cpus: 0.5, mem: 64 }, 'quota');
        });

        it('usage says what the files say', async () => {
          const { pid, containerId } = task;
          const earlier = await guest.files(pid);
          const path =
            driver === 'systemd'
              ? /:\/system\.slice\/docker-[0-9a-f]{64}\.scope$/m
              : /:\/docker\/[0-9a-f]{64}$/m;
          assert.match(earlier[`proc/${pid}/cgroup`] ?? '', path);
          const answer = await guest.usage(containerId);
          const later = await guest.files(pid);
          assertBetween(factsOf(earlier, pid), answer, factsOf(later, pid));
          assert.deepEqual(
            [answer.cpus_limit, answer.mem_limit_bytes, answer.mem_soft_limit_bytes, answer.processes],
            [0.5, 64 * MB, 64 * MB, 2],
          );
          assert.ok((answer.cpus_user_time_secs ?? 0) > 0 && (answer.net_tx_packets ?? 0) >= 2);
          await keepFixture(`${version}-${driver}`, pid, later);
        });

        it('update raises the memory, and no counter goes back over it', async () => {
          const { pid, containerId } = task;
          const earlier = await guest.usage(containerId);
          // With the allowance that slaves add.
          assert.equal((await guest.verb('update', updateRecord(containerId, 0.6, 160))).code, 0);
          const later = await guest.usage(containerId);
          assert.deepEqual([later.mem_limit_bytes, later.mem_soft_limit_bytes], [128 * MB, 128 * MB]);
          assert.equal(factsOf(await guest.files(pid), pid).mem_limit_bytes, 128 * MB);
          assertGrowing([earlier, later]);
        });

        it('usage says nothing of the host’s network', async () => {
          const onHosts = await guest.launch(
            { value: 'touch ready; sleep 1000', options: ['--net', 'host'] },
            'shares',
          );
          const answer = await guest.usage(onHosts.containerId);
          assert.deepEqual(
            Object.keys(answer).filter((name) => name.startsWith('net_')),
            [],
          );
          assert.ok((answer.mem_total_bytes ?? 0) > 0);
          assert.equal((await guest.verb('destroy', containerRecord(onHosts.containerId))).code, 0);
        });

        it('the end for want of memory is told as one', async () => {
          const { containerId, sandbox, pid } = await guest.launch(
            { value: GROWING, cpus: 0.1, mem: 40 },
            'shares',
          );
          const facts = factsOf(await guest.files(pid), pid);
          assert.equal((await guest.usage(containerId)).cpus_limit, facts.cpus_limit);
          await guest.sh(`touch ${sandbox}/fs/go`);
          const { code, answer } = await guest.verb('wait', containerRecord(containerId));
          assert.equal(code, 0);
          const { killed, status, state, reasons, message } = decode(Termination, answer);
          assert.deepEqual(
            { killed, status, state, reasons },
            {
              killed: true,
              status: 137 << 8,
              state: TaskState.FAILED,
              reasons: [Reason.CONTAINER_LIMITATION_MEMORY],
            },
          );
          assert.match(message ?? '', /40 MB/);
        });

        it('usage of a container that has ended is no number', async () => {
          const record = containerRecord(task.containerId);
          assert.equal((await guest.verb('destroy', record)).code, 0);
          assert.equal((await guest.verb('usage', record)).code, ENDED);
        });
      });
    }
  });
}

// `usage`, `update` and the end for want of memory on cgroup version 2, with both of Docker's cgroup drivers: in a machine of
// its own, where systemd is init and Docker is Debian's.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { decode, encode } from '../../src/mesos/codec.ts';
import { Reason, TaskState, Termination, Update, ValueType } from '../../src/mesos/messages.ts';
import { assertUsageOfFiles, BUSY_THEN_QUIET, Guest, type Launched } from '../support/guest.ts';
import { containerRecord, framed } from '../support/installation.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';
import { assertGrowing, factsOf } from '../support/usage-facts.ts';

const MB = 2 ** 20;
/** The status of a usage that has nothing to say any more. */
const ENDED = 4;
const GROWING = 'touch ready; until [ -e go ]; do sleep 0.1; done; exec tail /dev/zero';

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

describe('on cgroup v2', { timeout: 290_000 }, () => {
  let directory: TempDirectory;
  let guest: Guest;
  before(async () => {
    directory = await tempDirectory('v2-');
    guest = await Guest.start(directory);
  });
  after(async () => {
    await guest?.machine.stop();
    await directory?.remove();
  });

  for (const driver of ['systemd', 'cgroupfs']) {
    describe(`with the driver ${driver}`, () => {
      let task: Launched;
      before(async () => {
        await guest.startDocker(driver);
        task = await guest.launch({ value: BUSY_THEN_QUIET, cpus: 0.5, mem: 64 }, 'quota');
      });

      it('usage says what the files say', async () => {
        await assertUsageOfFiles(guest, task, driver, `v2-${driver}`);
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

      it('usage of a container that has ended is no number', async () => {
        const record = containerRecord(task.containerId);
        assert.equal((await guest.verb('destroy', record)).code, 0);
        assert.equal((await guest.verb('usage', record)).code, ENDED);
      });
    });
  }

  // Whatever the driver: that of the last.
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
});

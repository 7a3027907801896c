// A task that cannot be started says why, in one line and the same everywhere: in its sandbox, in TASK_FAILED and in the
// Termination; at once, and nothing of it stays behind.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Reason, TaskState } from '../../src/mesos/messages.ts';
import { HOSTILE, OBEYED } from '../support/control.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, executorTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const { FAILED } = TaskState;
const { CONTAINER_LAUNCH_FAILED } = Reason;
const LONG_MS = 90_000;

interface Failing {
  readonly what: string;
  readonly options: (registry: string) => TaskOptions;
  /** What the line has to name, that a person knows what to mend. */
  readonly says: RegExp;
}

const DOWN = '127.0.0.1:5999';
const FAILING: readonly Failing[] = [
  {
    what: 'an image that the registry does not have',
    options: (registry) => ({ image: `${registry}/no/such:thing` }),
    says: /no\/such:thing.*(not found|unknown)/,
  },
  {
    what: 'an image that the registry does not have, new form',
    options: (registry) => ({ image: `${registry}/no/such`, form: 'new' }),
    says: /no\/such:latest.*(not found|unknown)/,
  },
  {
    what: 'a registry that is down',
    options: () => ({ image: `${DOWN}/app` }),
    says: /127\.0\.0\.1:5999\/app.*connection refused/,
  },
  {
    what: 'a URL of http',
    options: () => ({ image: 'http://example.com/image' }),
    says: /http:\/\/example\.com\/image/,
  },
  { what: 'a URL of another scheme', options: () => ({ image: 'oci://x/y' }), says: /oci:\/\/x\/y/ },
  { what: 'a name with capitals', options: () => ({ image: 'docker:///Not/A/Name' }), says: /Not\/A\/Name/ },
  {
    what: 'a name that looks like an option',
    options: () => ({ image: 'docker:///--privileged' }),
    says: /--privileged/,
  },
  { what: 'a name with a line end', options: () => ({ image: 'docker:///a\nb' }), says: /a\\nb/ },
  {
    what: 'a name for a terminal',
    options: () => ({ image: `docker:///${HOSTILE}` }),
    says: /\\x1b.*\\x9b.*\\n.*\\u202e/,
  },
  { what: 'a bad reference in the new form', options: () => ({ image: 'b@d', form: 'new' }), says: /b@d/ },
  {
    what: 'a volume that is relative',
    options: () => ({ image: IMAGES.busybox, options: ['-v', './here:/there'] }),
    says: /absolute/,
  },
  {
    what: 'a program that the image does not have',
    options: () => ({ image: IMAGES.busybox, value: '/no/such/program', shell: false }),
    says: /\/no\/such\/program/,
  },
];

describe('a task that cannot be started', { skip: await skipWithoutTools() }, () => {
  let host: Host;
  let slave: StandInSlave;
  let registry: Registry;

  before(async () => {
    host = await startHost();
    registry = await startRegistry(host.dockerd);
    slave = await host.slave();
  });
  after(async () => {
    await registry?.stop();
    await host[Symbol.asyncDispose]();
  });

  const assertSaid = async (task: LaunchedTask, from: 'executor' | 'slave', says: RegExp): Promise<void> => {
    const update = await task.ended(LONG_MS);
    const termination = await task.gone(LONG_MS);
    const { message = '' } = update;
    assert.match(message, says);
    assert.doesNotMatch(message, OBEYED);
    assert.deepEqual(
      { state: update.state, reason: update.reason, from: update.from },
      { state: FAILED, reason: CONTAINER_LAUNCH_FAILED, from },
    );
    assert.deepEqual(
      { ...termination, receivedAt: 0 },
      {
        ...{ containerId: task.containerId, killed: false, message, status: undefined, state: FAILED },
        ...{ reasons: [CONTAINER_LAUNCH_FAILED], receivedAt: 0 },
      },
    );
    assert.equal(await sandboxFile(task, 'stderr'), `deimos: ${message}\n`);
    assert.equal(await sandboxFile(task, 'stdout'), '');
    // Nothing ever ran, and nothing but the end was told.
    assert.deepEqual(
      task.updates().filter(({ state }) => state !== 0),
      [update],
    );
  };

  for (const { what, options, says } of FAILING) {
    it(`${what}: a command task`, async () => {
      const task = await slave.launch(commandTask({ value: 'true', ...options(registry.address) }));
      await assertSaid(task, 'executor', says);
    });
    it(`${what}: an executor task`, async () => {
      const task = await slave.launch(executorTask({ value: 'true', ...options(registry.address) }));
      await assertSaid(task, 'slave', says);
    });
  }

  it('and slaves that know no reasons are told the same', async () => {
    for (const version of ['0.19.1', '0.22.2', '1.0.4'] as const) {
      const other = await host.slave({ version });
      const task = await other.launch(commandTask({ value: 'true', image: `${DOWN}/app` }));
      await assertSaid(task, 'executor', /connection refused/);
      assert.deepEqual(other.violations, []);
      await other.stop();
    }
  });

  it('the port that is offered is taken: it fails in docker’s words, and the created container is removed', async () => {
    const ports = [[31005, 31005]] as const;
    const holder = await slave.launch(commandTask({ value: 'sleep 600', image: IMAGES.busybox, ports }));
    await holder.reached(1, LONG_MS);
    const task = await slave.launch(commandTask({ value: 'true', image: IMAGES.busybox, ports }));
    await assertSaid(task, 'executor', /31005/);
    await slave.killTask(holder);
    await holder.gone(LONG_MS);
  });

  it('leaves nothing behind', async () => {
    assert.deepEqual(await host.leftovers(), []);
    assert.deepEqual(slave.violations, []);
    const calls = () => slave.calls.filter(({ verb }) => verb !== 'wait');
    await until('every call has ended', () => calls().every(({ end }) => end !== undefined));
    for (const call of calls()) assert.equal(call.end?.code, 0, `${call.verb}: ${call.end?.stderr}`);
    assert.equal(host.processes().length, 1);
  });
});

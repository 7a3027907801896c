// What a task leaves open and the operator decides: which image, as whom, under which limits; for tasks of both forms, held
// against what Docker has and what the task sees.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { TaskState, ValueType } from '../../src/mesos/messages.ts';
import { output } from '../support/command.ts';
import { inspectTask } from '../support/docker-facts.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { derive, IMAGES } from '../support/images.ts';
import { launchRecord } from '../support/installation.ts';
import { assertContent } from '../support/on-host.ts';
import { startRegistry } from '../support/registry.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, executorTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';

const MB = 1024 * 1024;
const LONG_MS = 60_000;
const INDEX = 'index.test:5000';

describe('what the operator decides', { skip: await skipWithoutTools() }, () => {
  let host: Host;
  let slave: StandInSlave;
  before(async () => {
    host = await startHost();
    slave = await host.slave();
  });
  after(async () => {
    try {
      assert.deepEqual(await host.leftovers(), []);
      assertContent(slave);
    } finally {
      await host?.[Symbol.asyncDispose]();
    }
  });

  const shown = async (task: LaunchedTask): Promise<string> => {
    await task.gone(LONG_MS);
    const [out, err] = [await sandboxFile(task, 'stdout'), await sandboxFile(task, 'stderr')];
    return `${out}${err}`.trim();
  };

  describe('which image', () => {
    /** An image, only here, whose content says which one it is. */
    const known = async (...names: readonly string[]) => {
      for (const name of names)
        await derive(host.dockerd, name, [`RUN echo ${name} > /which`, 'CMD ["cat","/which"]']);
    };
    const config = (image: string, index = '') =>
      host.configure(`[containers.image]\n${image}\n[docker.index]\n${index}`);
    /** What ran: with one of its own in each form; with none in each, and as an executor. */
    const ran = async (by: StandInSlave, own = 'own.test/task:1') =>
      await Promise.all(
        [
          commandTask({ image: own }),
          commandTask({ form: 'new', image: own, shell: false }),
          commandTask({}),
          commandTask({ form: 'new', shell: false }),
          executorTask({}),
        ].map(async (task) => await shown(await by.launch(task))),
      );
    let distribution: string;
    before(async () => {
      distribution = await output(['sh', '-c', '. /etc/os-release; echo "$ID:$VERSION_ID"']);
      await known('own.test/task:1', 'own.test/operator:1', 'own.test/slave:latest');
      for (const account of ['', 'libmesos/', 'us/', 'us-libmesos/'])
        await known(`${INDEX}/${account}${distribution}`);
    });
    after(async () => await host.configure(''));

    it('the task’s own, else the operator’s, else the slave’s, else that of the host’s distribution', async () => {
      const task = 'own.test/task:1';
      const [operators, slaves] = ['own.test/operator:1', 'own.test/slave:latest'];
      const launchEnvironment = { MESOS_DEFAULT_CONTAINER_IMAGE: 'docker:///own.test/slave' };
      const other = await host.slave({ launchEnvironment });
      await config('default: docker:///own.test/operator:1');
      assert.deepEqual(await ran(other), [task, task, operators, operators, operators]);
      await config('');
      assert.deepEqual(await ran(other), [task, task, slaves, slaves, slaves]);
      await config('', `index: ${INDEX}`);
      const guess = `${INDEX}/${distribution}`;
      const executors = `${INDEX}/libmesos/${distribution}`;
      assert.deepEqual(await ran(slave), [task, task, guess, guess, executors]);
      await config('', `index: ${INDEX}\naccount: us\naccount_libmesos: us-libmesos`);
      const ours = `${INDEX}/us/${distribution}`;
      assert.deepEqual(await ran(slave), [task, task, ours, ours, `${INDEX}/us-libmesos/${distribution}`]);
      assertContent(other);
    });

    it('the task’s own is passed over where it is to be ignored, whatever it says', async () => {
      await config('default: own.test/operator:1\nignore: true');
      const all = Array.from({ length: 5 }, () => 'own.test/operator:1');
      assert.deepEqual(await ran(slave), all);
      assert.deepEqual(await ran(slave, '--not/An/Image'), all);
    });

    it('of a registry with a port: by no tag, by tag, by digest, by both; never another digest', async () => {
      await config('');
      await using registry = await startRegistry(host.dockerd);
      await known('to-push:1');
      const tagged = await registry.push('to-push:1', 'pinned');
      await host.dockerd.run(['pull', '--quiet', tagged]);
      const digested = await host.dockerd.run(['inspect', '--format={{index .RepoDigests 0}}', tagged]);
      const [name, digest] = digested.split('@');
      assert.match(digest ?? '', /^sha256:/);
      for (const image of [name, tagged, digested, `${tagged}@${digest}`]) {
        assert.ok(image !== undefined);
        for (const form of ['old', 'new'] as const) {
          await host.dockerd.run(['rmi', '--force', tagged, digested]);
          const url = form === 'old' ? `docker://${image}` : image;
          const task = commandTask({ form, image: url, shell: false });
          assert.equal(await shown(await slave.launch(task)), 'to-push:1', `${form} ${image}`);
        }
      }
      const other = `${name}@sha256:${'0'.repeat(64)}`;
      const said = await shown(await slave.launch(commandTask({ image: other })));
      assert.match(said, /^deimos: [^\n]*sha256:0000[^\n]*(not found|unknown)[^\n]*$/);
    });
  });

  describe('as whom', () => {
    const whoami = (user?: string): TaskOptions => ({
      value: 'id -u; id -g',
      image: IMAGES.busybox,
      ...(user === undefined ? {} : { user }),
    });
    after(async () => await host.configure(''));

    it('root, whatever the task says, unless the user is to be switched', async () => {
      assert.equal(await shown(await slave.launch(commandTask(whoami('nobody')))), '0\n0');
      await host.configure('[containers]\nswitch_user: true');
      for (const form of ['old', 'new'] as const) {
        for (const task of [commandTask, executorTask])
          assert.equal(await shown(await slave.launch(task({ ...whoami('nobody'), form }))), '65534\n65534');
      }
      // Options go first.
      const root = commandTask({ ...whoami('nobody'), options: ['--user=7:8'] });
      assert.equal(await shown(await slave.launch(root)), '7\n8');
    });

    it('the framework’s user where the command names none', async () => {
      await host.configure('[containers]\nswitch_user: true');
      const other = await host.slave({ user: 'nobody' });
      assert.equal(await shown(await other.launch(commandTask(whoami()))), '65534\n65534');
      assertContent(other);
    });

    it('somebody whom the host does not know: the task fails in words', async () => {
      await host.configure('[containers]\nswitch_user: true');
      // A slave asks the host itself, for the sandbox; its own may be gone by the time that we do.
      const task = commandTask(whoami('no-such-user'));
      const record = await launchRecord(task, host.directory.at('by-hand'));
      const { code, stderr } = await host.deimos(['launch', '--no-fork'], record.stdin);
      assert.notEqual(code, 0);
      assert.match(stderr, /this host has no user no-such-user\n$/);
      assert.equal(await sandboxFile(record, 'stderr'), 'deimos: this host has no user no-such-user\n');
    });
  });

  describe('under which limits', () => {
    const scalar = (name: string, value: number, role = '*') => ({
      name,
      type: ValueType.SCALAR,
      scalar: { value },
      role,
    });
    /** What Docker has of a task with these resources alone. */
    const limitsOf = async (resources: NonNullable<TaskOptions['resources']>, options: TaskOptions = {}) => {
      const all = { image: IMAGES.busybox, value: 'until [ -e go ]; do sleep 0.1; done', ...options };
      const task = await slave.launch(commandTask({ ...all, more: { resources } }));
      await task.reached(TaskState.RUNNING, LONG_MS);
      const { HostConfig } = await inspectTask(host.dockerd, task);
      await writeFile(`${task.sandbox}/fs/go`, '');
      assert.equal((await task.ended(LONG_MS)).state, TaskState.FINISHED);
      await task.gone(LONG_MS);
      const { CpuShares, CpuPeriod, CpuQuota, Memory, MemoryReservation, MemorySwap } = HostConfig;
      return [CpuShares, CpuPeriod, CpuQuota, Memory / MB, MemoryReservation / MB, MemorySwap / MB];
    };
    after(async () => await host.configure(''));

    const roles = [
      ...[scalar('cpus', 0.25), scalar('mem', 40), scalar('cpus', 0.5, 'prod'), scalar('mem', 24, 'prod')],
      // Nothing of these is Docker's to limit.
      ...[scalar('disk', 1024), scalar('gpus', 2), scalar('something', -1)],
    ];
    const table: readonly (readonly [string, NonNullable<TaskOptions['resources']>, readonly number[]])[] = [
      ['resources of several roles, and names that nobody knows', roles, [768, 0, 0, 64, 64, 128]],
      ['zero: the least there is', [scalar('cpus', 0), scalar('mem', 0)], [2, 0, 0, 32, 32, 64]],
      ['less than the least', [scalar('cpus', 0.0001), scalar('mem', 1)], [2, 0, 0, 32, 32, 64]],
      ['fractions', [scalar('cpus', 1.9999), scalar('mem', 32.5)], [2047, 0, 0, 32.5, 32.5, 65]],
      ['none at all', [], [0, 0, 0, 0, 0, 0]],
    ];
    for (const [what, resources, expected] of table)
      it(what, async () => assert.deepEqual(await limitsOf(resources), expected));

    it('without swap', async () => {
      await host.configure('[containers.limits]\nswap: false');
      assert.deepEqual(await limitsOf(roles), [768, 0, 0, 64, 64, 64]);
    });

    it('with a quota, at least 1 ms; the task’s own --cpus gives way', async () => {
      await host.configure('[containers.limits]\ncfs: true');
      assert.deepEqual(await limitsOf(roles), [768, 100_000, 75_000, 64, 64, 128]);
      assert.deepEqual(await limitsOf([scalar('cpus', 0)]), [2, 100_000, 1000, 0, 0, 0]);
      const limits = await limitsOf(roles, { options: ['--cpus=3', '--memory=1g', '--memory-swap=2g'] });
      assert.deepEqual(limits, [768, 100_000, 75_000, 64, 64, 128]);
    });

    it('ranges of ports in pieces, of several roles, overlapping: each port once, in their order', async () => {
      await host.configure('');
      const ports = (role: string, ...range: { begin: number; end: number }[]) => ({
        name: 'ports',
        type: ValueType.RANGES,
        ranges: { range },
        role,
      });
      const resources = [
        ports('*', { begin: 31_705, end: 31_706 }, { begin: 31_700, end: 31_700 }),
        ports('prod', { begin: 31_706, end: 31_707 }),
      ];
      for (const form of ['old', 'new'] as const) {
        const options = { form, image: IMAGES.busybox, value: 'echo $PORT $PORTS $PORT3' };
        const task = await slave.launch(commandTask({ ...options, more: { resources } }));
        assert.equal(await shown(task), '31705 31705,31706,31700,31707 31707');
      }
    });

    for (const [what, value] of [
      ['negative', -1],
      ['not a number', Number.NaN],
    ] as const) {
      it(`cpus that are ${what}: the launch fails and says which`, async () => {
        const record = await launchRecord(
          commandTask({ image: IMAGES.busybox, value: 'true', more: { resources: [scalar('cpus', value)] } }),
          host.directory.at('by-hand'),
        );
        const { code, stderr } = await host.deimos(['launch'], record.stdin);
        assert.equal(code, 4);
        assert.match(stderr, /^deimos launch: [^\n]*resources\[0\] \(cpus\) is not a usable number[^\n]*\n$/);
      });
    }
  });
});

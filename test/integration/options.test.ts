// A task's options reach its container, what they say wrong reaches the framework in the docker client's own words, and
// no value of a task's environment is ever seen outside the container: in no argv, environment, log, or file that others may read.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Reason, TaskState } from '../../src/mesos/messages.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { derive, IMAGES } from '../support/images.ts';
import { framed, launchRecord } from '../support/installation.ts';
import { startSampler } from '../support/processes.ts';
import { startRegistry } from '../support/registry.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, executorTask } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const { FINISHED, FAILED } = TaskState;
const { CONTAINER_LAUNCH_FAILED } = Reason;
const OPTIONS = ['-c', '10240', '--label', 'a=b', '-v', '/etc:/etc-host:ro', '--cap-add=NET_ADMIN'];
/** CAP_NET_ADMIN is number 12. */
const NET_ADMIN = 1n << 12n;
const LONG_MS = 60_000;

describe('options and secrets', { skip: await skipWithoutTools() }, () => {
  let host: Host;
  let slave: StandInSlave;

  before(async () => {
    host = await startHost();
    slave = await host.slave();
  });
  after(async () => await host[Symbol.asyncDispose]());

  /** `docker inspect` of a container that runs. */
  const inspect = async (task: LaunchedTask) => {
    const id = readFileSync(`${host.root}/mesos/${task.containerId}/cid`, 'utf8').trim();
    return JSON.parse(await host.dockerd.run(['inspect', id]))[0];
  };

  for (const form of ['old', 'new'] as const) {
    it(`reach the container (${form} form)`, async () => {
      // What the container shows of itself; then it waits until it was looked at from outside.
      const value =
        'cat /etc-host/hostname; touch /etc-host/x 2>&1; grep CapEff /proc/self/status; until [ -e go ]; do sleep 0.1; done';
      const image = IMAGES.busybox;
      const parameters = [
        ['cpu-shares', '10240'],
        ['label', 'a=b'],
        ['volume', '/etc:/etc-host:ro'],
        ['cap-add', 'NET_ADMIN'],
      ].map(([key = '', text = '']) => ({ key, value: text }));
      // Without cpus of Mesos the shares are the task's own to say.
      const mem = { name: 'mem', type: 0, scalar: { value: 64 }, role: '*' };
      const more = { resources: [mem] };
      const task = await slave.launch(
        form === 'old'
          ? commandTask({ value, image, options: OPTIONS, more })
          : commandTask({
              value: `cd /mnt/mesos/sandbox; ${value}`,
              image,
              form,
              docker: { parameters },
              more,
            }),
      );
      await task.reached(1, LONG_MS);
      const { Config, HostConfig } = await inspect(task);
      assert.equal(HostConfig.CpuShares, 10240);
      assert.equal(HostConfig.Memory, 64 * 1024 * 1024);
      assert.equal(Config.Labels.a, 'b');
      assert.ok(HostConfig.Binds.includes('/etc:/etc-host:ro'), JSON.stringify(HostConfig.Binds));
      assert.deepEqual(
        HostConfig.CapAdd.map((name: string) => name.replace('CAP_', '')),
        ['NET_ADMIN'],
      );

      writeFileSync(form === 'old' ? `${task.sandbox}/fs/go` : `${task.sandbox}/go`, '');
      assert.equal((await task.ended(LONG_MS)).state, FINISHED);
      await task.gone(LONG_MS);
      const [hostname, readOnly, capabilities] = (await sandboxFile(task, 'stdout')).split('\n');
      assert.equal(hostname, readFileSync('/etc/hostname', 'utf8').trim());
      assert.match(readOnly ?? '', /Read-only file system/);
      const effective = BigInt(`0x${/CapEff:\s*([0-9a-f]+)/.exec(capabilities ?? '')?.[1]}`);
      assert.notEqual(effective & NET_ADMIN, 0n);
      assert.equal(await sandboxFile(task, 'stderr'), '');
    });
  }

  it('are overruled where Mesos has allocated: shares and memory are the offer’s', async () => {
    const options = [...OPTIONS, '--memory', '1g'];
    const task = await slave.launch(
      commandTask({ value: 'sleep 60', image: IMAGES.busybox, options, cpus: 0.5, mem: 48 }),
    );
    await task.reached(1, LONG_MS);
    const { Config, HostConfig } = await inspect(task);
    assert.deepEqual([HostConfig.CpuShares, HostConfig.Memory], [512, 48 * 1024 * 1024]);
    assert.equal(Config.Labels.a, 'b');
    await slave.killTask(task);
    assert.equal((await task.ended(LONG_MS)).state, 4);
    await task.gone(LONG_MS);
  });

  it('that docker does not know fail the task in docker’s own words', async () => {
    const tasks = [
      await slave.launch(commandTask({ value: 'true', image: IMAGES.busybox, options: ['--bogus'] })),
      await slave.launch(
        commandTask({
          value: 'true',
          image: IMAGES.busybox,
          form: 'new',
          docker: { parameters: [{ key: 'bogus', value: 'x' }] },
        }),
      ),
      await slave.launch(executorTask({ value: 'true', image: IMAGES.busybox, options: ['--bogus'] })),
    ];
    for (const task of tasks) {
      const update = await task.ended(LONG_MS);
      const { message = '' } = update;
      assert.match(message, /^[^\n]*unknown flag: --bogus[^\n]*$/);
      assert.deepEqual([update.state, update.reason], [FAILED, CONTAINER_LAUNCH_FAILED]);
      const termination = await task.gone(LONG_MS);
      assert.deepEqual(termination && { ...termination, receivedAt: 0 }, {
        ...{ containerId: task.containerId, killed: false, message, status: undefined, state: FAILED },
        ...{ reasons: [CONTAINER_LAUNCH_FAILED], receivedAt: 0 },
      });
      assert.equal(await sandboxFile(task, 'stderr'), `deimos: ${message}\n`);
      assert.equal(await sandboxFile(task, 'stdout'), '');
    }
    assert.deepEqual(await host.leftovers(), []);
  });

  it('no value of a task’s environment is seen outside of its container, in whole runs and over a crash', async () => {
    // All that can be logged, on the calls' stderr as well.
    await host.configure('[log]\nsyslog: DEBUG\nconsole: DEBUG\n');
    await using registry = await startRegistry(host.dockerd);
    await derive(host.dockerd, 'pulled:test', ['ENV FROM_IMAGE=yes']);
    const pulled = await registry.push('pulled:test', 'pulled');
    const [first, second, third, fourth, fifth] = Array.from({ length: 5 }, () =>
      randomBytes(12).toString('hex'),
    );
    const secrets = [first, second, third, fourth, fifth].map(String);
    const env = (secret: string | undefined) => ({
      PASSWORD: `${secret}`,
      LD_PRELOAD: `/lib/${secret}.so`,
      PATH: `/bin:/${secret}`,
    });
    await using sampler = await startSampler(secrets);
    const untilGo = 'echo $PASSWORD | sha1sum; until [ -e go ]; do sleep 0.1; done; exit 5';
    const polled = await host.slave({ version: '0.22.2', usageEveryMs: 300 });
    const tasks = [
      await slave.launch(
        commandTask({
          value: untilGo,
          image: pulled,
          options: ['--label', 'x=y', '-e', 'EMPTY'],
          env: env(first),
        }),
      ),
      await slave.launch(
        commandTask({
          value: `cd /mnt/mesos/sandbox; ${untilGo}`,
          image: IMAGES.busybox,
          form: 'new',
          env: env(second),
        }),
      ),
      await polled.launch(executorTask({ value: untilGo, image: IMAGES.busybox, env: env(third) })),
      await slave.launch(
        commandTask({ value: 'true', image: IMAGES.busybox, options: ['--bogus'], env: env(fourth) }),
      ),
    ];
    const [one, two, executor, refused] = tasks;
    assert.ok(one && two && executor && refused);
    await Promise.all([one.reached(1, LONG_MS), two.reached(1, LONG_MS), refused.gone(LONG_MS)]);
    await until('the executor runs', async () => (await sandboxFile(executor, 'stdout')) !== '', {
      timeoutMs: LONG_MS,
    });
    const record = await launchRecord(
      commandTask({
        value: 'true',
        image: IMAGES.busybox,
        options: ['--cap-add=NET_ADMIN'],
        env: env(fifth),
      }),
      host.directory.at('by-hand'),
    );
    const plan = await host.deimos(['plan'], record.stdin);
    assert.equal(plan.code, 0, plan.stderr);
    const said = [`${plan.stdout}${plan.stderr}`];
    said.push(`${(await host.deimos(['launch'], framed(Buffer.from(`${fifth}`)))).stderr}`);

    // Nothing is acknowledged any more: TASK_RUNNING with docker's inspection stays on disk.
    const silent = await host.slave({ acks: 'drop' });
    const unheard = await silent.launch(
      commandTask({ value: 'sleep 60', image: IMAGES.busybox, env: env(fifth) }),
    );
    await unheard.reached(1, LONG_MS);
    assertKept(filesWith(secrets, [host.directory.path, '/run']), /\/container\.json$|\/updates\/[^/]+$/);

    await host.killSupervisor();
    await until('another supervisor', () => host.supervisor(), { timeoutMs: LONG_MS });
    for (const task of [one, executor]) writeGo(`${task.sandbox}/fs`);
    writeGo(two.sandbox);
    for (const task of [one, two]) assert.match((await task.ended(LONG_MS)).message ?? '', /status 5/);
    for (const task of tasks) await task.gone(LONG_MS);
    await silent.setAcks('send');
    await silent.destroy(unheard);

    const { hits, scans } = await sampler.stop();
    assert.ok(scans > 20, `${scans} scans`);
    assert.deepEqual(hits, []);
    for (const task of tasks) {
      for (const { end } of task.calls())
        said.push(`${end?.stderr}`, Buffer.from(end?.stdout ?? []).toString('latin1'));
      for (const { message } of task.updates()) said.push(`${message}`);
    }
    for (const text of said) assert.ok(!secrets.some((secret) => text.includes(secret)), text);

    assertKept(filesWith(secrets, [host.directory.path, '/run']), /\/container\.json$|\/updates\/[^/]+$/);
    assert.deepEqual(silent.violations, []);
    assert.deepEqual(slave.violations, []);
    assert.deepEqual(polled.violations, []);
  });
});

function writeGo(directory: string): void {
  writeFileSync(`${directory}/go`, '');
}

/** Secrets are where they have to be kept, and nobody else may read that. */
function assertKept(files: readonly FoundFile[], where: RegExp): void {
  assert.ok(files.length > 0);
  for (const { path, mode } of files) {
    assert.match(path, where, `${path} holds a secret`);
    assert.equal(mode & 0o077, 0, `${path} holds a secret and has mode ${mode.toString(8)}`);
  }
}

interface FoundFile {
  readonly path: string;
  readonly mode: number;
}

/** '' where it is gone meanwhile: below /run others come and go, too. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}

/** Every regular file below `directories` in which one of `secrets` stands. */
function filesWith(secrets: readonly string[], directories: readonly string[]): FoundFile[] {
  return directories.flatMap((directory) => {
    let names: string[];
    try {
      names = readdirSync(directory);
    } catch {
      // Gone meanwhile, or not a directory that can be listed.
      return [];
    }
    return names.flatMap((name) => {
      const path = join(directory, name);
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (stat?.isDirectory()) return filesWith(secrets, [path]);
      // Larger ones are the machine's own.
      if (!stat?.isFile() || stat.size > 64 * 1024 * 1024) return [];
      const text = textOf(path);
      return secrets.some((secret) => text.includes(secret)) ? [{ path, mode: stat.mode }] : [];
    });
  });
}

// Slaves as they really are: they never close stdin, write slowly, call verbs at the same moment, lack PATH and HOME, have
// their own port in the environment and let descriptors leak. All works all the same, and nothing of it gets into what stays.

import assert from 'node:assert/strict';
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { allPids, procFile, statOf } from '../support/proc.ts';
import type { LaunchedTask } from '../support/slave.ts';
import { commandTask, executorTask } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const { RUNNING, FINISHED, FAILED, KILLED } = TaskState;
const LONG_MS = 60_000;
/** Goes on until it is asked to end. */
const LONG = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
const VERSIONS = ['0.19.1', '0.22.2', '0.28.3', '1.0.4'] as const;

/** No PATH, no HOME, and things that are nobody's but the slave's. */
const ENVIRONMENT = {
  LIBPROCESS_PORT: '5051',
  LIBPROCESS_IP: '127.0.0.1',
  LD_LIBRARY_PATH: '/nonexistent/of-the-slave',
  SLAVE_ONLY: 'of-the-slave',
  DOCKER_HOST: 'tcp://127.0.0.1:1',
};
const MANNERS = { environment: ENVIRONMENT, stdinByteMs: 1, leakDescriptors: true, checkpoint: true };

/** Descriptors of a process by number: what they are open on. */
function descriptorsOf(pid: number): Map<number, string> {
  const found = new Map<number, string>();
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    try {
      found.set(Number(name), readlinkSync(`/proc/${pid}/fd/${name}`));
    } catch {
      // Closed meanwhile.
    }
  }
  return found;
}

describe('a slave with bad manners', { skip: await skipWithoutTools() }, () => {
  let host: Host;

  before(async () => {
    host = await startHost();
  });
  after(async () => await host[Symbol.asyncDispose]());

  const assertInOrder = (task: LaunchedTask): void => {
    const [launch] = task.calls('launch');
    const [wait] = task.calls('wait');
    const [update] = task.calls('update');
    assert.ok(launch?.end && wait?.end && update?.end);
    assert.deepEqual([launch.end.code, update.end.code, wait.end.code], [0, 0, 0]);
    // Both follow the end of launch, and neither waits for the other.
    for (const { startedAt } of [wait, update]) assert.ok(startedAt >= launch.end.endedAt);
    assert.ok(update.startedAt < wait.end.endedAt && update.end.endedAt < wait.end.endedAt);
  };

  describe('of every version at once', { concurrency: true }, () => {
    for (const version of VERSIONS) {
      it(`${version}: a task runs, is looked at, and ends as it should`, async () => {
        const slave = await host.slave({ ...MANNERS, version });
        const task = await slave.launch(
          commandTask({
            value: 'env > environment; echo out; echo err >&2; until [ -e go ]; do sleep 0.1; done; exit 9',
            image: IMAGES.busybox,
            env: { OWN: 'x' },
          }),
        );
        await task.reached(RUNNING, LONG_MS);
        const usage = await slave.usage(task);
        assert.ok(usage && usage.byteLength > 0);
        writeFileSync(`${task.sandbox}/fs/go`, '');
        assert.equal((await task.ended(LONG_MS)).state, FAILED);
        assert.equal((await task.gone(LONG_MS))?.status, 9 << 8);
        assert.deepEqual(
          [await sandboxFile(task, 'stdout'), await sandboxFile(task, 'stderr')],
          ['out\n', 'err\n'],
        );
        const environment = await sandboxFile(task, 'fs/environment');
        assert.match(environment, /^OWN=x$/m);
        assert.doesNotMatch(environment, /LIBPROCESS|of-the-slave|DOCKER_HOST/);
        assertInOrder(task);

        const killed = await slave.launch(commandTask({ value: LONG, image: IMAGES.busybox }));
        await killed.reached(RUNNING, LONG_MS);
        await slave.killTask(killed);
        assert.equal((await killed.ended(LONG_MS)).state, KILLED);
        await killed.gone(LONG_MS);
        const destroyed = await slave.launch(commandTask({ value: LONG, image: IMAGES.busybox }));
        await destroyed.reached(RUNNING, LONG_MS);
        await slave.destroy(destroyed);
        assert.deepEqual(slave.violations, []);
        await slave.stop();
      });
    }
  });

  it('an executor gets what describes its slave, and nothing else of the slave', async () => {
    const slave = await host.slave(MANNERS);
    const task = await slave.launch(executorTask({ value: 'env', image: IMAGES.busybox }));
    await task.gone(LONG_MS);
    const environment = await sandboxFile(task, 'stdout');
    for (const name of [
      'SLAVE_ID',
      'SLAVE_PID',
      'FRAMEWORK_ID',
      'EXECUTOR_ID',
      'CHECKPOINT',
      'RECOVERY_TIMEOUT',
    ])
      assert.match(environment, new RegExp(`^MESOS_${name}=.+$`, 'm'));
    assert.match(environment, /^MESOS_DIRECTORY=\/tmp\/mesos-sandbox$/m);
    assert.doesNotMatch(environment, /5051|of-the-slave|DOCKER_HOST/);
    assert.deepEqual(slave.violations, []);
    await slave.stop();
  });

  it('nothing of the slave is in the supervisor, in its children, or in a wait that sleeps', async () => {
    await host.killSupervisor();
    // Started by a launch of this slave, and again by a wait that it called.
    const slave = await host.slave(MANNERS);
    const task = await slave.launch(
      commandTask({ value: 'until [ -e go ]; do sleep 0.1; done', image: IMAGES.busybox }),
    );
    await task.reached(RUNNING, LONG_MS);
    const asleep = async () =>
      await until('the wait asleep', () => host.processes().find(({ kind }) => kind === 'flock'), {
        timeoutMs: LONG_MS,
      });
    for (const starter of ['launch', 'wait']) {
      const supervisor = await until('a supervisor', () => host.supervisor(), { timeoutMs: LONG_MS });
      const sleeper = await asleep();
      const [call] = task.calls('wait');
      assert.ok(call);
      const family = [supervisor, ...allPids().filter((pid) => statOf(pid)?.parent === supervisor)];
      const pipes = `${slave.options.workDirectory}/pipes/`;
      for (const pid of family) {
        const stdio = [...descriptorsOf(pid)].filter(([, target]) => target.startsWith(pipes));
        assert.deepEqual(stdio, [], `${starter}: ${pid} holds pipes of the slave`);
        assert.equal(readlinkSync(`/proc/${pid}/cwd`), '/');
        for (const entry of environmentOf(pid))
          assert.match(entry, /^(PATH|LC_ALL|MALLOC_[A-Z_]+)=/, `${pid}: ${entry}`);
      }
      assert.notEqual(statOf(supervisor)?.session, call.pid);
      assert.notEqual(statOf(supervisor)?.parent, slave.pid);

      const held = descriptorsOf(sleeper.pid);
      const locks = `${host.root}/mesos/${task.containerId}/lock/wait`;
      for (const [fd, target] of held)
        if (fd > 2) assert.equal(target, locks, `${starter}: descriptor ${fd} of the sleeping wait`);
      for (const fd of [0, 1, 2]) assert.ok(held.get(fd)?.startsWith(pipes), `${fd}: ${held.get(fd)}`);
      for (const entry of sleeper.environ)
        assert.doesNotMatch(entry, /^(LIBPROCESS|MESOS|LD_|DOCKER)|of-the-slave/, entry);
      if (starter === 'launch') await host.killSupervisor();
    }
    writeFileSync(`${task.sandbox}/fs/go`, '');
    assert.equal((await task.ended(LONG_MS)).state, FINISHED);
    await task.gone(LONG_MS);
    assert.deepEqual(slave.violations, []);
    await slave.stop();
  });

  it('leaves nothing behind', async () => {
    assert.deepEqual(await host.leftovers(), []);
  });
});

function environmentOf(pid: number): readonly string[] {
  return (procFile(pid, 'environ') ?? '').split('\0').filter((entry) => entry !== '');
}

// A disk that is really full, or read-only: that of the state root, and that of the sandboxes. Tasks that run do not notice;
// a call that cannot do its work says why in one line; what waited goes on when there is room again. The same at every
// single write of the supervisor's is in crash-points.test.ts (`no space`, `read-only`).

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { after, afterEach, before, describe, it } from 'node:test';
import { decode, encode } from '../../src/mesos/codec.ts';
import * as messages from '../../src/mesos/messages.ts';
import { startDockerd } from '../support/dockerd.ts';
import { extent, FAULT_FILE_TIMEOUT_MS, tell } from '../support/faults.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { mountSmallDisk, roomOn, type SmallDisk } from '../support/small-disk.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { Web } from '../support/web.ts';

const { RUNNING, FINISHED, FAILED, KILLED } = messages.TaskState;
const PATIENCE_MS = 90_000;
const PATIENTLY = { timeoutMs: PATIENCE_MS };
/** Below what a page of the file system needs. */
const NO_ROOM_BYTES = 4096;
/** More than the disk of the sandboxes has room for beside what fills it. */
const FLOOD_LINES = 100_000;

/** The gate is in the container: a disk that is full or read-only does not keep it closed. */
const WAITS = 'while [ ! -e /go ]; do sleep 0.1; done';
/** Numbered lines on both streams until the gate opens; its last line says how many. */
const WRITER = `i=0; while [ ! -e /go ]; do echo "out $i"; echo "err $i" >&2; i=$((i+1)); sleep 0.05; done; echo "end $i"; exit 3`;
const FLOOD = `echo begun; ${WAITS}; i=0; while [ $i -lt ${FLOOD_LINES} ]; do echo "a line of the flood, number $i"; i=$((i+1)); done; echo end`;

const line = (says: string): RegExp =>
  new RegExp(`^deimos launch: cannot (write|make|open) \\S+: ${says}\n$`);
const FULL = 'no space left on device';
const READ_ONLY = 'read-only file system';

describe('a disk that takes nothing', {
  skip: await skipWithoutTools(),
  timeout: FAULT_FILE_TIMEOUT_MS,
}, () => {
  let directory: TempDirectory;
  let sandboxes: SmallDisk;
  let root: SmallDisk;
  let host: Host;
  let slave: StandInSlave;
  const done: string[] = [];

  before(async () => {
    directory = await tempDirectory('dk-');
    // Before dockerd, which would not see it otherwise. What the slave itself keeps lies beside it.
    sandboxes = await mountSmallDisk(directory.at('work', 'slaves'), 'size=12m');
    host = await startHost({ dockerd: await startDockerd() });
    root = await mountSmallDisk(host.root, 'size=12m');
    slave = await host.slave({ workDirectory: directory.at('work') });
  });
  // For the next test, whatever became of this one.
  afterEach(async () => {
    for (const disk of [root, sandboxes]) {
      await disk.setWritable();
      disk.empty();
    }
  });
  after(async () => {
    // Lies in the host's own directory.
    await root[Symbol.asyncDispose]();
    await host[Symbol.asyncDispose]();
    await host.dockerd.stop();
    await sandboxes[Symbol.asyncDispose]();
    await directory.remove();
    tell(`disk: ${done.join('; ')}`);
  });

  const run = async (value: string, more: TaskOptions = {}): Promise<LaunchedTask> =>
    await slave.launch(commandTask({ image: IMAGES.busybox, value, ...more }));
  const running = async (values: readonly string[]): Promise<readonly LaunchedTask[]> => {
    const tasks = await Promise.all(values.map((value) => run(value)));
    await Promise.all(tasks.map((task) => task.reached(RUNNING, PATIENCE_MS)));
    await until(
      'acknowledged',
      () => tasks.every(({ containerId }) => updatesOf(containerId).length === 0),
      PATIENTLY,
    );
    return tasks;
  };
  const updatesOf = (id: string): readonly string[] => readdirSync(`${host.root}/mesos/${id}/updates`);
  const openGate = async ({ containerId }: LaunchedTask): Promise<void> => {
    // The task may end before the program that touched it has.
    await host.dockerd.outcome(['exec', nameOf(containerId), 'touch', '/go']);
  };
  const isRunning = async ({ containerId }: LaunchedTask): Promise<boolean> =>
    (await host.dockerd.run(['ps', '-q', '--filter', `name=${nameOf(containerId)}`])) !== '';
  const nameOf = (id: string): string => `deimos-${id}`;

  /** What the slave asks of a task that runs is answered. */
  const answers = async (task: LaunchedTask, all: readonly LaunchedTask[]): Promise<void> => {
    const container_id = { value: task.containerId };
    const usage = (await slave.usage(task)) ?? assert.fail('usage failed');
    const { mem_limit_bytes, cpus_user_time_secs } = decode(messages.ResourceStatistics, usage);
    assert.equal(mem_limit_bytes, 32 * 1024 * 1024);
    assert.ok(cpus_user_time_secs !== undefined);
    const cpus = { name: 'cpus', type: messages.ValueType.SCALAR, scalar: { value: 0.1 }, role: '*' };
    const update = encode(messages.Update, { container_id, resources: [cpus] });
    assert.equal((await slave.call('update', update)).code, 0);
    const containers = await slave.call('containers');
    const listed = decode(messages.Containers, containers.answer ?? assert.fail('no Containers')).containers;
    for (const { containerId } of all) assert.ok(listed.some(({ value }) => value === containerId));
    assert.equal((await slave.call('recover')).code, 0);
    const state = await host.deimos(['state']);
    assert.deepEqual([state.code, state.stderr], [0, '']);
    assert.ok(state.stdout.toString().split('\n').length > all.length);
  };
  /** A launch that the disk does not take: status 4, one line, nothing of it left. */
  const failsToLaunch = async (says: string): Promise<void> => {
    const before = readdirSync(`${host.root}/mesos`);
    const task = await run('true');
    const { state } = await task.ended(PATIENCE_MS);
    assert.equal(state, FAILED);
    const [{ end } = assert.fail()] = task.calls('launch');
    assert.equal(end?.code, 4);
    assert.match(end.stderr, line(says));
    assert.deepEqual(readdirSync(`${host.root}/mesos`), before);
  };
  const endsRightly = async (task: LaunchedTask, state: number, exitCode: number): Promise<void> => {
    const termination = await task.gone(PATIENCE_MS);
    assert.deepEqual(
      task.updates().map((update) => [update.from, update.state]),
      [
        ['executor', RUNNING],
        ['executor', state],
      ],
    );
    assert.deepEqual([termination?.state, termination?.status], [state, exitCode << 8]);
    assert.equal(termination?.message, task.updates().at(-1)?.message);
  };
  /** Every line that a WRITER wrote, once and in order. */
  const hasWrittenAll = async (task: LaunchedTask): Promise<void> => {
    const stdout = await sandboxFile(task, 'stdout');
    const count = Number(/\nend (\d+)\n$/.exec(stdout)?.[1]);
    const lines = (word: string): string =>
      Array.from({ length: count }, (_, n) => `${word} ${n}\n`).join('');
    assert.equal(stdout, `${lines('out')}end ${count}\n`);
    assert.equal(await sandboxFile(task, 'stderr'), lines('err'));
  };
  const nothingIsLeft = async (): Promise<void> => {
    assert.deepEqual(slave.violations, []);
    assert.deepEqual(await host.leftovers(), []);
  };

  it('the state root is full: what runs goes on, a launch says so, ends are told rightly when there is room, by the next supervisor, too', async () => {
    await withSupervisorLog(host, async () => {
      const tasks = await running([WRITER, `${WAITS}; exit 5`, WAITS]);
      const [writer = assert.fail(), ends = assert.fail(), killed = assert.fail()] = tasks;
      root.fill('names too');
      await failsToLaunch(FULL);
      await answers(writer, tasks);
      const written = statSync(`${writer.sandbox}/stdout`).size;
      await openGate(ends);
      await slave.killTask(killed);
      await until(
        'both have ended',
        async () => !(await isRunning(ends)) && !(await isRunning(killed)),
        PATIENTLY,
      );
      // The output of what runs needs no room there.
      await until('more is written', () => statSync(`${writer.sandbox}/stdout`).size > written, PATIENTLY);
      await answers(writer, tasks);
      assert.ok([ends, killed].every((task) => task.updates().length === 1));
      root.empty();
      // Why its end was wanted was to be written first.
      await until(
        'an outcome',
        () => existsSync(`${host.root}/mesos/${killed.containerId}/outcome`),
        PATIENTLY,
      );
      await host.killSupervisor();
      await endsRightly(ends, FAILED, 5);
      await endsRightly(killed, KILLED, 137);
      await openGate(writer);
      await endsRightly(writer, FAILED, 3);
      await hasWrittenAll(writer);
      await endsRightly(await run('true'), FINISHED, 0);
      await nothingIsLeft();
    });
    done.push('state root full: 3 tasks and a launch');
  });

  const name =
    'the state root is full, and the supervisor dies: the next one comes when there is room, nothing is lost';
  const alone = async (): Promise<void> => {
    await withSupervisorLog(host, async () => {
      const tasks = await running([WRITER, `${WAITS}; exit 5`]);
      const [writer = assert.fail(), ends = assert.fail()] = tasks;
      root.fill('names too');
      await host.killSupervisor();
      await failsToLaunch(FULL);
      await answers(writer, tasks);
      await openGate(ends);
      await until('it has ended', async () => !(await isRunning(ends)), PATIENTLY);
      root.empty();
      await endsRightly(ends, FAILED, 5);
      await openGate(writer);
      await endsRightly(writer, FAILED, 3);
      await hasWrittenAll(writer);
      await nothingIsLeft();
    });
    done.push('state root full without a supervisor: 2 tasks and a launch');
  };
  // The read-only disks show the same.
  if (extent(false, true)) it(name, alone);

  it('the sandboxes are full: a task that writes is slowed and loses nothing, others end as ever', async () => {
    await withSupervisorLog(host, async () => {
      const web = new Web();
      await web.start();
      try {
        const gate = Promise.withResolvers<void>();
        web.pages.set('/large', (_, response) => {
          void gate.promise.then(() => response.end('x'.repeat(1_000_000)));
        });
        const uris = [{ value: `http://${web.address}/large` }];
        const fetching = await run('true', { uris });
        const tasks = await running([FLOOD, `${WAITS}; exit 5`]);
        const [flood = assert.fail(), ends = assert.fail()] = tasks;
        await until(
          'it has begun',
          async () => (await sandboxFile(flood, 'stdout')) === 'begun\n',
          PATIENTLY,
        );
        sandboxes.fill();
        await openGate(flood);
        await until('the task is held up', () =>
          readFileSync(`${host.root}/supervisor/log`, 'utf8').includes(
            'output cannot be written, the task is held up',
          ),
        );
        await answers(flood, tasks);
        await openGate(ends);
        await endsRightly(ends, FAILED, 5);
        assert.equal(await sandboxFile(ends, 'stderr'), '');
        // What cannot be fetched is said in one line.
        gate.resolve();
        const { message, state } = await fetching.ended(PATIENCE_MS);
        assert.equal(state, FAILED);
        assert.match(message ?? '', /^uri http:\S+\/large: .*(writ|space)/i);
        assert.doesNotMatch(message ?? '', /\n/);
        assert.equal((await fetching.gone(PATIENCE_MS))?.message, message);
        assert.equal(await isRunning(flood), true);
        sandboxes.empty();
        await endsRightly(flood, FINISHED, 0);
        const lines = Array.from({ length: FLOOD_LINES }, (_, n) => `a line of the flood, number ${n}\n`);
        assert.ok((await sandboxFile(flood, 'stdout')) === `begun\n${lines.join('')}end\n`);
        assert.equal(await sandboxFile(flood, 'stderr'), '');
        await nothingIsLeft();
      } finally {
        web.close();
      }
    });
    done.push(`sandboxes full: ${FLOOD_LINES} lines held up, 2 tasks and a launch`);
  });

  it('both are read-only, and no supervisor lives: calls say so, and all goes on when they can be written', async () => {
    await withSupervisorLog(host, async () => {
      const tasks = await running([WRITER, `${WAITS}; echo last; exit 5`]);
      const [writer = assert.fail(), ends = assert.fail()] = tasks;
      // The kernel refuses while the supervisor has files open, and waits start another one at once.
      for (const disk of [root, sandboxes])
        await until(
          'read-only',
          async () => {
            host.killSupervisorNow();
            return await disk.setReadOnly();
          },
          PATIENTLY,
        );
      await failsToLaunchByHand(host, READ_ONLY);
      await answers(writer, tasks);
      const removal = await host.deimos(['state', '--rm']);
      assert.deepEqual(
        [removal.code, removal.stderr],
        [4, `deimos state: cannot open ${host.root}/cleanup: ${READ_ONLY}\n`],
      );
      await openGate(ends);
      await until('it has ended', async () => !(await isRunning(ends)), PATIENTLY);
      for (const disk of [root, sandboxes]) await disk.setWritable();
      await endsRightly(ends, FAILED, 5);
      assert.equal(await sandboxFile(ends, 'stdout'), 'last\n');
      await openGate(writer);
      await endsRightly(writer, FAILED, 3);
      await hasWrittenAll(writer);
      await endsRightly(await run('true'), FINISHED, 0);
      await nothingIsLeft();
    });
    done.push('both read-only without a supervisor: 2 tasks and a launch');
  });

  it('there is room on both when all have ended', () => {
    for (const disk of [root, sandboxes]) assert.ok(roomOn(disk) > NO_ROOM_BYTES);
  });
});

/** A slave could not make a sandbox on such a disk: a person's launch. */
async function failsToLaunchByHand(host: Host, says: string): Promise<void> {
  const task = commandTask({ image: IMAGES.busybox, value: 'true' });
  const launch = encode(messages.Launch, {
    container_id: { value: 'by-hand' },
    task_info: decode(messages.TaskInfo, task.encode('S0')),
    directory: '/tmp',
    checkpoint: false,
  });
  const length = Buffer.alloc(4);
  length.writeUInt32LE(launch.length);
  const { code, stderr } = await host.deimos(['launch'], Buffer.concat([length, launch]));
  assert.equal(code, 4);
  assert.match(stderr, line(says));
}

// The binary is replaced while tasks run, as dpkg does it, by hand, or by one that lies elsewhere: the next call has the new
// one take over, and nothing is lost. An older one in its place refuses, in one line, and harms nothing. Quick: the new
// binary is another copy of this build. DEIMOS_FAULTS=all: builds of other versions, too.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { encode } from '../../src/mesos/codec.ts';
import { TaskState, Update, ValueType } from '../../src/mesos/messages.ts';
import { buildOf } from '../support/builds.ts';
import { outcomeOf } from '../support/command.ts';
import { inspectTask, removeContainers } from '../support/docker-facts.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { ALL_FAULTS, FAULT_FILE_TIMEOUT_MS, FAULT_SEED, tell } from '../support/faults.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { BINARY, type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES, makeImages } from '../support/images.ts';
import { containerRecord, launchRecord } from '../support/installation.ts';
import { drawn } from '../support/lot.ts';
import { isAlive, killAll, signalPid } from '../support/proc.ts';
import { processesOf } from '../support/processes.ts';
import { makeSlowImage, startRegistry } from '../support/registry.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const { RUNNING, FINISHED } = TaskState;
/** Only the case of that name. */
const ONLY = process.env.DEIMOS_FAULT_ONLY;
const PATIENCE_MS = 60_000;
/** Cases of the quick part. */
const QUICK = 3;
const LAST_LINE = 400;
/** Numbers its lines, never quiet, until the gate opens; then some more. */
const VALUE = `i=0; until [ -e go ]; do i=$((i+1)); echo $i; echo $i >&2; sleep 0.01; done; while [ $i -lt ${LAST_LINE} ]; do i=$((i+1)); echo $i; echo $i >&2; done`;
const LATER =
  /^deimos \w+: the state root \S+ is in use by a later release \(records of version 2, this deimos reads 1\): install that one again\n$/;

interface Installed {
  readonly host: Host;
  readonly slave: StandInSlave;
  /** The path of the binary that the slave calls. */
  readonly binary: string;
}

type Way = (from: string, to: string) => void;

const WAYS: Readonly<Record<string, Way>> = {
  'by a rename, as dpkg does it': (from, to) => {
    copyFileSync(from, `${to}.dpkg-new`);
    renameSync(`${to}.dpkg-new`, to);
  },
  'deleted, and written anew': (from, to) => {
    rmSync(to);
    copyFileSync(from, to);
  },
};

describe('an upgrade in place', { skip: await skipWithoutTools(), timeout: FAULT_FILE_TIMEOUT_MS }, () => {
  let dockerd: Dockerd;
  const told: string[] = [];
  const cases: (readonly [name: string, body: () => Promise<void>])[] = [];
  const byLot = (...one: (typeof cases)[number]): void => void cases.push(one);
  const inAll = (...one: (typeof cases)[number]): void => {
    if (ALL_FAULTS || ONLY !== undefined) cases.push(one);
  };
  before(async () => {
    dockerd = await startDockerd();
    await makeImages(dockerd);
  });
  after(async () => {
    await dockerd.stop();
    tell('upgrades in place:');
    for (const line of told) tell(`  ${line}`);
  });

  /** A host whose slave calls a copy of `first`, which may be replaced. */
  async function on(first: string, body: (installed: Installed) => Promise<void>): Promise<void> {
    await using host = await startHost({ dockerd, images: false });
    const binary = host.directory.at('deimos');
    copyFileSync(first, binary);
    await using _clean = { [Symbol.asyncDispose]: async () => await removeContainers(dockerd) };
    await using _gone = {
      [Symbol.asyncDispose]: async () => await killAll(processesOf(binary).map(({ pid }) => pid)),
    };
    await withSupervisorLog(host, async () => {
      const slave = await host.slave({ containerizer: `${binary} --config ${host.configFile}` });
      await body({ host, slave, binary });
      assert.deepEqual(slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
    });
  }

  const launchNumbered = async (slave: StandInSlave): Promise<LaunchedTask> => {
    const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: VALUE }), {
      checkpoint: true,
    });
    await task.reached(RUNNING, PATIENCE_MS);
    await until('lines', async () => (await sandboxFile(task, 'stderr')).includes('5\n'));
    return task;
  };

  const endsWhole = async (task: LaunchedTask): Promise<void> => {
    openGate(task);
    await task.ended(PATIENCE_MS);
    const termination = await task.gone(PATIENCE_MS);
    const states = new Map(task.updates().map(({ uuid, state }) => [uuid, state]));
    assert.deepEqual([...states.values()], [RUNNING, FINISHED]);
    assert.deepEqual([termination?.state, termination?.status], [FINISHED, 0]);
    for (const name of ['stdout', 'stderr']) {
      const lines = (await sandboxFile(task, name)).trimEnd().split('\n');
      assert.deepEqual(
        lines,
        lines.map((_, n) => String(n + 1)),
      );
      assert.ok(lines.length >= LAST_LINE);
    }
    // As a slave's: each call but one that its slave kills.
    for (const { verb, end } of task.calls()) assert.equal(end?.code ?? 0, 0, `${verb}: ${end?.stderr}`);
  };

  /** The one supervisor runs the file that is at the path now. */
  const isNew = ({ host, binary }: Installed): boolean => {
    const pid = host.supervisor();
    return pid !== undefined && statSync(`/proc/${pid}/exe`).ino === statSync(binary).ino;
  };

  /** Any call that needs a supervisor. */
  const update = async (slave: StandInSlave, task: LaunchedTask): Promise<void> => {
    const resources = [{ name: 'cpus', type: ValueType.SCALAR, scalar: { value: 0.5 } }];
    const record = encode(Update, { container_id: { value: task.containerId }, resources });
    assert.equal((await slave.call('update', record)).code, 0);
  };

  for (const [way, replace] of Object.entries(WAYS))
    byLot(`${way}: the next call has the new one take over two running tasks and a pull`, async () => {
      await on(BINARY, async (installed) => {
        const { host, slave, binary } = installed;
        await using registry = await startRegistry(dockerd);
        const how = { megabytes: 3, bytesPerSecond: 1_000_000 };
        const slow = await makeSlowImage(dockerd, registry, `pulled-${Date.now()}`, how);
        await using _throttle = slow.throttle;
        const tasks = [await launchNumbered(slave), await launchNumbered(slave)];
        const pulled = await slave.launch(commandTask({ image: slow.image, value: AT_GATE }));
        // All its calls have begun: where no file is none can.
        const asleep = () => processesOf(binary).filter(({ kind }) => kind === 'flock').length === 3;
        await until('three waits asleep', asleep, { timeoutMs: PATIENCE_MS });
        const old = host.supervisor() ?? assert.fail();
        replace(BINARY, binary);
        assert.equal(host.supervisor(), old);
        assert.ok(!isNew(installed));
        const [one = assert.fail()] = tasks;
        await update(slave, one);
        assert.ok(isNew(installed));
        assert.ok(!isAlive(old));
        // What was asked was done by it, and nothing else was.
        assert.equal((await inspectTask(dockerd, one)).HostConfig.CpuShares, 409);
        const taken = host.supervisor();
        const next = await launchNumbered(slave);
        assert.equal(host.supervisor(), taken);
        for (const task of [...tasks, next]) await endsWhole(task);
        openGate(pulled);
        assert.equal((await pulled.ended(PATIENCE_MS)).state, FINISHED);
        await pulled.gone(PATIENCE_MS);
        // Those that slept meanwhile were woken once, and sleep in the new one.
        assert.equal(slave.calls.filter(({ verb }) => verb === 'wait').length, 4);
        told.push(`${way}: 2 running tasks, a pull and 4 waits taken over`);
      });
    });

  byLot('the slave comes back with the new binary: recover has it take over', async () => {
    await on(BINARY, async (installed) => {
      const { slave, binary } = installed;
      const task = await launchNumbered(slave);
      await until('acknowledged', () => slave.acknowledged.length > 0);
      await slave.kill();
      WAYS['by a rename, as dpkg does it']?.(BINARY, binary);
      await slave.start();
      assert.ok(isNew(installed));
      await slave.reregistered(task, PATIENCE_MS);
      await endsWhole(task);
    });
  });

  byLot('while nobody calls the old one goes on; killed, the sleeping waits start the new one', async () => {
    await on(BINARY, async (installed) => {
      const { host, slave, binary } = installed;
      const task = await launchNumbered(slave);
      const old = host.supervisor() ?? assert.fail();
      WAYS['by a rename, as dpkg does it']?.(BINARY, binary);
      signalPid(old, 'SIGKILL');
      await until('the new one', () => isNew(installed), { timeoutMs: PATIENCE_MS });
      await endsWhole(task);
    });
  });

  byLot(
    'a call that is started in the moment of the replacement hands on the path that there is',
    async () => {
      await on(BINARY, async ({ host, binary }) => {
        // Run by a descriptor of the file that has gone meanwhile, as if the kernel had opened it just before.
        const record = await launchRecord(
          commandTask({ image: IMAGES.busybox, value: AT_GATE }),
          host.directory.at('boxes'),
        );
        const input = host.directory.at('record');
        writeFileSync(input, record.stdin);
        const script = `exec 9<"$0" && rm "$0" && cp "$1" "$0" && exec /proc/self/fd/9 --config "$2" launch <"$3"`;
        const launched = await outcomeOf(['sh', '-c', script, binary, BINARY, host.configFile, input]);
        assert.deepEqual([launched.code, launched.stderr], [0, '']);
        openGate(record);
        const exit = `${host.root}/mesos/${record.containerId}/exit`;
        await until('ended', () => existsSync(exit), { timeoutMs: PATIENCE_MS });
        assert.equal(readFileSync(exit, 'utf8'), '0\n');
        assert.equal((await host.deimos(['destroy'], containerRecord(record.containerId))).code, 0);
      });
    },
  );

  /** What an older binary may do where a later release has been: nothing, in one line, and no harm. */
  const refuses = async ({ host, slave }: Installed, task: LaunchedTask): Promise<void> => {
    const call = async (verb: string, input?: Uint8Array) =>
      await outcomeOf([BINARY, '--config', host.configFile, verb], {
        ...(input === undefined ? {} : { input }),
        env: { MESOS_WORK_DIRECTORY: slave.options.workDirectory },
      });
    const another = await launchRecord(
      commandTask({ image: IMAGES.busybox, value: 'true' }),
      host.directory.at('boxes'),
    );
    const launched = await call('launch', another.stdin);
    assert.equal(launched.code, 4);
    assert.match(launched.stderr, LATER);
    assert.ok(!existsSync(`${host.root}/mesos/${another.containerId}`));
    for (const verb of ['recover', 'containers']) assert.equal((await call(verb)).code, 0, verb);
    assert.equal((await call('usage', containerRecord(task.containerId))).code, 0);
    assert.ok((await inspectTask(dockerd, task)).State.Running);
  };

  byLot(
    'an older one, no supervisor running: it refuses in one line, and the running task waits for the later one',
    async () => {
      await on(BINARY, async (installed) => {
        const { host, slave } = installed;
        const task = await launchNumbered(slave);
        // What a release with other records leaves in the root.
        const records = `${host.root}/supervisor/records`;
        writeFileSync(records, '2\n');
        await host.killSupervisor();
        await refuses(installed, task);
        const destroyed = await host.deimos(['destroy'], containerRecord(task.containerId));
        assert.equal(destroyed.code, 4);
        assert.match(destroyed.stderr, LATER);
        assert.equal(host.supervisor(), undefined);
        // The later one is back.
        rmSync(records);
        assert.equal((await host.deimos(['recover'])).code, 0);
        await endsWhole(task);
        told.push('a downgrade: refused with status 4, the running task unharmed');
      });
    },
  );

  inAll(
    'a build of a later version that lies elsewhere takes over, one of an older version does not',
    async () => {
      const [later, older] = [await buildOf({ version: '1.1.0' }), await buildOf({ version: '0.9.0' })];
      await on(BINARY, async ({ host, slave, binary: own }) => {
        const task = await launchNumbered(slave);
        const running = (): string =>
          readFileSync(`/proc/${host.supervisor() ?? assert.fail()}/cmdline`, 'utf8');
        const recover = async (binary: string): Promise<void> => {
          assert.equal((await outcomeOf([binary, '--config', host.configFile, 'recover'])).code, 0);
        };
        await recover(older);
        assert.ok(running().startsWith(own));
        await recover(later);
        assert.ok(running().startsWith(later));
        await update(slave, task);
        assert.ok(running().startsWith(later));
        await endsWhole(task);
        await killAll(processesOf(later).map(({ pid }) => pid));
        told.push('a later version elsewhere: taken over');
      });
    },
  );

  inAll(
    'an older one in place of one with other records: that one goes on, and the older refuses',
    async () => {
      const future = await buildOf({ version: '2.0.0', records: 2 });
      await on(future, async (installed) => {
        const { host, slave, binary } = installed;
        const task = await launchNumbered(slave);
        const supervisor = host.supervisor();
        WAYS['by a rename, as dpkg does it']?.(BINARY, binary);
        await update(slave, task);
        assert.equal(host.supervisor(), supervisor);
        await refuses(installed, task);
        assert.equal(host.supervisor(), supervisor);
        const doomed = await slave.destroy(task);
        assert.equal(doomed, undefined);
        assert.deepEqual(
          task.calls('destroy').map(({ end }) => [end?.code, end?.stderr]),
          [[0, '']],
        );
        told.push('a real build with other records, replaced by an older one: it goes on, the older refuses');
      });
    },
  );

  const named = cases.filter(([name]) => name === ONLY);
  const chosen =
    ONLY !== undefined ? named : ALL_FAULTS ? cases : drawn(cases, QUICK, FAULT_SEED, ([name]) => name);
  for (const [name, checkCase] of chosen)
    it(name, { timeout: FAULT_FILE_TIMEOUT_MS }, async () => await checkCase());
});

// Slaves with SSL switched on: every message of the executor protocol goes over TLS, in both directions, whoever dies
// and comes back meanwhile; and where that cannot be, the task fails in words.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readFileSync, renameSync } from 'node:fs';
import { after, before, describe } from 'node:test';
import { Reason, TaskState } from '../../src/mesos/messages.ts';
import { rootPaths } from '../../src/state/layout.ts';
import { type Authority, type Certificate, makeAuthority, sslEnvironment } from '../support/certificates.ts';
import { startDockerd } from '../support/dockerd.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { assertContent, supervisorLog, testOn } from '../support/on-host.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import type { MesosVersion } from '../support/slave-protocol.ts';
import { commandTask } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const { RUNNING, FINISHED, FAILED, KILLED } = TaskState;
const { CONTAINER_LAUNCH_FAILED: LAUNCH_FAILED } = Reason;
/** A bound against hanging: the machine may be busy with other suites. */
const PATIENCE_MS = 60_000;
/** With what the names of its variables begin. */
const VERSIONS: readonly (readonly [MesosVersion, string])[] = [
  ['0.28.3', 'SSL_'],
  ['1.0.4', 'LIBPROCESS_SSL_'],
];

type Environment = Record<string, string>;

describe('a slave with SSL', { skip: await skipWithoutTools(), timeout: 400_000 }, () => {
  let shared: Host;
  let authority: Authority;
  let stranger: Authority;
  let own: Certificate;
  before(async () => {
    shared = await startHost({
      dockerd: await startDockerd(),
      configuration: '[containers]\nstop_timeout: 1',
    });
    authority = await makeAuthority(shared.directory.at('ca'));
    stranger = await makeAuthority(shared.directory.at('stranger'));
    own = await authority.issue('IP:127.0.0.1', 'slave');
  });
  after(async () => {
    await shared?.[Symbol.asyncDispose]();
    await shared?.dockerd.stop();
  });
  const on = (name: string, body: (host: Host) => Promise<void>) => testOn(() => shared, name, body);

  const gated = (): ReturnType<typeof commandTask> =>
    commandTask({ image: IMAGES.busybox, value: `echo begun; ${AT_GATE}; echo over` });
  const running = async (slave: StandInSlave): Promise<LaunchedTask> => {
    const task = await slave.launch(gated());
    await task.reached(RUNNING, PATIENCE_MS);
    // Both sides have it that RUNNING was acknowledged: whoever dies now says it no second time.
    await until('acknowledged', () => existsSync(`${shared.root}/mesos/${task.containerId}/acknowledged`));
    return task;
  };
  const told = (task: LaunchedTask) => task.updates().map(({ from, state }) => `${from} ${state}`);
  const finishes = async (task: LaunchedTask) => {
    openGate(task);
    assert.equal((await task.ended(PATIENCE_MS)).state, FINISHED);
    const termination = await task.gone(PATIENCE_MS);
    assert.deepEqual([termination?.state, termination?.status], [FINISHED, 0]);
    assert.deepEqual(told(task), ['executor 1', 'executor 2']);
    assert.equal(await sandboxFile(task, 'stdout'), 'begun\nover\n');
  };
  const killed = async (slave: StandInSlave, task: LaunchedTask) => {
    await slave.killTask(task);
    assert.equal((await task.ended(PATIENCE_MS)).state, KILLED);
    await task.gone(PATIENCE_MS);
    assert.deepEqual(told(task), ['executor 1', 'executor 4']);
  };
  /** Tasks run, one to its end; the other is killed. */
  const runsTwo = async (slave: StandInSlave) => {
    const [first, second] = await Promise.all([running(slave), running(slave)]);
    await finishes(first);
    await killed(slave, second);
  };
  /** How messages went: to the slave, and its connections to us. */
  const ways = (slave: StandInSlave, since = 0) => ({
    toSlave: [
      ...new Set(
        slave.messages
          .slice(since)
          .filter(({ direction }) => direction === 'to-slave')
          .map(({ secure }) => secure),
      ),
    ],
    toExecutors: [...new Set(slave.dialled)],
  });
  const SECURE = { toSlave: [true], toExecutors: [true] };
  const PLAIN = { toSlave: [false], toExecutors: [false] };
  const settled = async (slave: StandInSlave, host: Host) => {
    assertContent(slave);
    assert.deepEqual(await host.leftovers(), []);
  };

  for (const [version, prefix] of VERSIONS) {
    on(`${version} has its tasks run, finish and be killed, all of it over TLS`, async (host) => {
      const entries = Object.entries(sslEnvironment(own));
      const environment = Object.fromEntries(
        entries.map(([name, value]) => [name.replace(/^SSL_/, prefix), value]),
      );
      const slave = await host.slave({ version, environment });
      await runsTwo(slave);
      assert.deepEqual(ways(slave), SECURE);
      await settled(slave, host);
    });
  }

  on('reaches its executors when their supervisor was killed', async (host) => {
    const slave = await host.slave({ environment: sslEnvironment(own) });
    const tasks = await Promise.all([running(slave), running(slave)]);
    const before = host.supervisor();
    await host.killSupervisor();
    await until('another one', () => host.supervisor() !== undefined && host.supervisor() !== before, {
      timeoutMs: PATIENCE_MS,
    });
    const [first, second] = tasks;
    await finishes(first);
    await killed(slave, second);
    assert.deepEqual(ways(slave), SECURE);
    await settled(slave, host);
  });

  on('finds its tasks running when it comes back, also if their supervisor dies meanwhile', async (host) => {
    const slave = await host.slave({ checkpoint: true, environment: sslEnvironment(own) });
    const tasks = await Promise.all([running(slave), running(slave)]);
    const [first, second] = tasks;
    await slave.restart();
    await Promise.all(tasks.map((task) => slave.reregistered(task, PATIENCE_MS)));
    await finishes(first);
    await Promise.all([slave.kill(), host.killSupervisor()]);
    const since = slave.messages.length;
    await slave.start();
    await until(
      'reregistered once more',
      () => slave.messages.slice(since).some(({ name }) => name === 'ExecutorReregisteredMessage'),
      { timeoutMs: PATIENCE_MS },
    );
    await finishes(second);
    assert.deepEqual(ways(slave), SECURE);
    await settled(slave, host);
  });

  on('that did not checkpoint and dies has its task stopped', async (host) => {
    const slave = await host.slave({ environment: sslEnvironment(own) });
    const task = await running(slave);
    await slave.kill();
    await until('stopped', async () => (await host.dockerd.run(['ps', '-aq'])) === '', {
      timeoutMs: PATIENCE_MS,
    });
    const termination = JSON.parse(
      readFileSync(`${host.root}/mesos/${task.containerId}/termination`, 'utf8'),
    );
    assert.match(termination.message, /^Stopped because the slave went away/);
    await slave.start();
    await task.gone(PATIENCE_MS);
    await settled(slave, host);
  });

  on('and SSL_REQUIRE_CERT sees certificates, and finds them at its own address', async (host) => {
    const ip = '127.0.0.2';
    const certificate = await authority.issue(`IP:${ip}`, 'requiring');
    const environment = { ...sslEnvironment(certificate, authority), SSL_REQUIRE_CERT: 'true' };
    const slave = await host.slave({ ip, checkpoint: true, environment });
    const tasks = await Promise.all([running(slave), running(slave)]);
    const [first, second] = tasks;
    const executors = slave.messages.map(({ upid }) => upid.split('@')[1]?.split(':')[0]);
    assert.deepEqual([...new Set(executors)], [ip]);
    await finishes(first);
    await host.killSupervisor();
    await slave.restart();
    await slave.reregistered(second, PATIENCE_MS);
    await killed(slave, second);
    assert.deepEqual(ways(slave), SECURE);
    await settled(slave, host);
  });

  /** A task that cannot be reported: it never runs, and `wait` says why. */
  const failsInWords = async (slave: StandInSlave, words: RegExp) => {
    const task = await slave.launch(gated());
    const termination = await task.gone(PATIENCE_MS);
    assert.match(termination?.message ?? '', words);
    assert.deepEqual([termination?.state, termination?.reasons], [FAILED, [LAUNCH_FAILED]]);
    assert.deepEqual(told(task), ['slave 3']);
    assert.equal(task.updates()[0]?.message, termination?.message);
    assert.ok((await sandboxFile(task, 'stderr')).includes(termination?.message ?? '-'));
    assert.equal(await sandboxFile(task, 'stdout'), '');
  };

  on('and SSL_VERIFY_CERT is not taken with a certificate of others, and the task says so', async (host) => {
    const environment = { ...sslEnvironment(own, stranger), SSL_VERIFY_CERT: '1' };
    const slave = await host.slave({ environment });
    await failsInWords(
      slave,
      /^the certificate of the slave .* is not trusted by the authorities in .*ca\.pem/,
    );
    assert.ok(supervisorLog(host).includes('no TLS with the slave'));
    await settled(slave, host);
  });

  on('whose key cannot be read fails tasks with the name of the file, until it is mended', async (host) => {
    const [mended, strange] = await Promise.all(
      ['mended', 'strange'].map((name) => authority.issue('IP:127.0.0.1', name)),
    );
    assert.ok(mended !== undefined && strange !== undefined);
    const slave = await host.slave({ environment: sslEnvironment(mended) });
    const another = await host.slave({ environment: sslEnvironment(strange) });
    renameSync(mended.keyFile, `${mended.keyFile}.away`);
    copyFileSync(own.keyFile, strange.keyFile);
    await Promise.all([
      failsInWords(slave, /^cannot read SSL_KEY_FILE of the slave, .*mended\.key: ENOENT$/),
      failsInWords(another, /^SSL_KEY_FILE of the slave, .*strange\.key, is no key for its SSL_CERT_FILE/),
    ]);
    renameSync(`${mended.keyFile}.away`, mended.keyFile);
    await finishes(await running(slave));
    assert.ok(!supervisorLog(host).includes('PRIVATE KEY'));
    assertContent(another);
    await settled(slave, host);
  });

  on('and downgrade is spoken with over TLS where it can', async (host) => {
    const environment = { ...sslEnvironment(own), SSL_SUPPORT_DOWNGRADE: '1' };
    const slave = await host.slave({ environment });
    await runsTwo(slave);
    assert.deepEqual(ways(slave), SECURE);
    await settled(slave, host);
  });

  on('in its environment, but not in its build: plain with downgrade, else a word', async (host) => {
    const environment = { ...sslEnvironment(own), SSL_SUPPORT_DOWNGRADE: '1' };
    const slave = await host.slave({ environment, withoutSsl: true });
    await runsTwo(slave);
    assert.deepEqual(ways(slave), PLAIN);
    await settled(slave, host);
    const strict = await host.slave({ environment: sslEnvironment(own), withoutSsl: true });
    await failsInWords(
      strict,
      /does not speak TLS, which its SSL_ENABLED without SSL_SUPPORT_DOWNGRADE demands$/,
    );
    await settled(strict, host);
  });

  for (const switched of ['on', 'off'] as const) {
    on(`switched ${switched} at a restart finds its tasks, and new ones go the new way`, async (host) => {
      const plain: Environment = {
        LIBPROCESS_IP: '127.0.0.1',
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      };
      const lives = [plain, sslEnvironment(own)];
      if (switched === 'off') lives.reverse();
      const [first = {}, second = {}] = lives;
      // Read at each start.
      const environment = { ...first };
      const slave = await host.slave({ checkpoint: true, environment });
      const tasks = await Promise.all([running(slave), running(slave)]);
      await slave.kill();
      for (const name of Object.keys(environment)) delete environment[name];
      Object.assign(environment, second);
      const since = slave.messages.length;
      slave.dialled.length = 0;
      await slave.start();
      await Promise.all(tasks.map((task) => slave.reregistered(task, PATIENCE_MS)));
      // Noted once, however many it has.
      const { slave: note } = rootPaths(host.root);
      assert.equal(JSON.parse(readFileSync(note(slave.options.workDirectory), 'utf8')).pid, slave.pid);
      const another = await running(slave);
      for (const task of tasks) await finishes(task);
      await killed(slave, another);
      assert.deepEqual(ways(slave, since), switched === 'on' ? SECURE : PLAIN);
      await settled(slave, host);
    });
  }
});

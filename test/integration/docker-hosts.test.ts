// Which Docker daemon is meant, with the built binary: real daemons behind TLS on loopback TCP in a network namespace of
// their own, in which the slave and Deimos run, too; several hosts of which some refuse or hang; and a daemon of the
// test's own, declared as such, where only what it is asked matters.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { after, before, describe, it } from 'node:test';
import { encode } from '../../src/mesos/codec.ts';
import { TaskState, Update, ValueType } from '../../src/mesos/messages.ts';
import { outcomeOf } from '../support/command.ts';
import { type Certificates, makeCertificates } from '../support/docker-certificates.ts';
import { DOCKER_CLI, type Dockerd, startDockerd } from '../support/dockerd.ts';
import { openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { derive, IMAGES, makeImages } from '../support/images.ts';
import { framed, type Installation, install, launchRecord } from '../support/installation.ts';
import { assertContent, supervisorLog, testOn } from '../support/on-host.ts';
import type { LaunchedTask } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const skip = await skipWithoutTools();
const { RUNNING, FINISHED, FAILED, KILLED } = TaskState;
/** A bound against hanging: the machine may be busy with other suites. */
const PATIENCE_MS = 120_000;
/** Nobody listens there, in no namespace of the tests'. */
const NOBODY = 'tcp://127.0.0.1:1';

const MUCH_BYTES = 8 * 1024 * 1024;

/** Numbered lines until the gate opens, then how many, and the status 3. */
const WRITER =
  'i=0; while [ ! -e /tmp/mesos-sandbox/go ]; do echo "out $i"; echo "err $i" >&2; i=$((i+1)); sleep 0.05; done; echo "end $i"; exit 3';

async function checkWriter(task: LaunchedTask): Promise<void> {
  const stdout = await sandboxFile(task, 'stdout');
  const lines = Number(/\nend (\d+)\n$/.exec(stdout)?.[1]);
  assert.ok(lines > 0, stdout.slice(-200));
  const all = (word: string): string => Array.from({ length: lines }, (_, i) => `${word} ${i}\n`).join('');
  assert.equal(stdout, `${all('out')}end ${lines}\n`);
  assert.equal(await sandboxFile(task, 'stderr'), all('err'));
}

/** [docker] as a certificate's owner would write it. */
function section(host: string, certificates: Certificates): string {
  const { ca, client } = certificates;
  const files = `tlscacert: ${ca}\ntlscert: ${client.cert}\ntlskey: ${client.key}`;
  return `host: ${host}\ntlsverify: true\n${files}`;
}

const killSupervisor = async (host: Host): Promise<void> => {
  const old = host.supervisor();
  await host.killSupervisor();
  await until('another supervisor', () => ![undefined, old].includes(host.supervisor()), {
    timeoutMs: PATIENCE_MS,
  });
};

async function planOn(
  host: Host,
  options: TaskOptions,
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number | null; text: string; stderr: string }> {
  const record = await launchRecord(commandTask(options), host.directory.at('sandboxes'));
  const { code, stdout, stderr } = await host.deimos(['plan'], record.stdin, env);
  return { code, text: stdout.toString(), stderr };
}

describe('a daemon behind TLS', { skip, timeout: 600_000 }, () => {
  let directory: TempDirectory;
  let certificates: Certificates;
  let dockerd: Dockerd;
  let host: Host;
  let tcp: NonNullable<Dockerd['tcp']>;
  before(async () => {
    directory = await tempDirectory('tls-');
    certificates = await makeCertificates(directory.path);
    dockerd = await startDockerd({ tls: certificates });
    tcp = dockerd.tcp ?? assert.fail('no TCP');
    host = await startHost({ dockerd, inNetns: true });
    await host.configure('', section(tcp.v4, certificates));
  });
  after(async () => {
    await host?.[Symbol.asyncDispose]();
    await dockerd?.stop();
    await directory?.[Symbol.asyncDispose]();
  });
  const test = (name: string, body: (host: Host) => Promise<void>) => testOn(() => host, name, body);

  test('a task runs from its launch to its end, with its options, output, limits and usage', async () => {
    const slave = await host.slave();
    const task = await slave.launch(
      commandTask({
        image: IMAGES.busybox,
        value: WRITER,
        options: ['--hostname', 'far', '-v', '/etc:/e:ro'],
      }),
    );
    await task.reached(RUNNING, PATIENCE_MS);
    assert.equal(readFileSync(`${host.root}/mesos/${task.containerId}/docker-host`, 'utf8'), `${tcp.v4}\n`);
    assert.ok(((await slave.usage(task)) ?? []).length > 0);
    openGate(task);
    const termination = await task.gone(PATIENCE_MS);
    assert.deepEqual(
      task.updates().map(({ state }) => state),
      [RUNNING, FAILED],
    );
    assert.equal(termination?.status, 3 << 8);
    await checkWriter(task);
    assertContent(slave);
    assert.deepEqual(await host.leftovers(), []);
  });

  test('a task is killed', async () => {
    const slave = await host.slave();
    const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'exec sleep 1000' }));
    await task.reached(RUNNING, PATIENCE_MS);
    await slave.killTask(task);
    assert.equal((await task.ended(PATIENCE_MS)).state, KILLED);
    await task.gone(PATIENCE_MS);
    assertContent(slave);
    assert.deepEqual(await host.leftovers(), []);
  });

  test('the supervisor is killed while a task writes: no byte is lost, none comes twice', async () => {
    const slave = await host.slave();
    const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: WRITER }));
    await task.reached(RUNNING, PATIENCE_MS);
    for (let n = 0; n < 2; n++) {
      const before = (await sandboxFile(task, 'stdout')).length;
      await killSupervisor(host);
      await until('more output', async () => (await sandboxFile(task, 'stdout')).length > before + 100, {
        timeoutMs: PATIENCE_MS,
      });
    }
    openGate(task);
    assert.equal((await task.gone(PATIENCE_MS))?.status, 3 << 8);
    await checkWriter(task);
    assertContent(slave);
    assert.deepEqual(await host.leftovers(), []);
  });

  test('much output is whole, too', async () => {
    const slave = await host.slave();
    const value = `yes 0123456789abcde | head -c ${MUCH_BYTES}`;
    const task = await slave.launch(commandTask({ image: IMAGES.busybox, value }));
    assert.equal((await task.ended(PATIENCE_MS)).state, FINISHED);
    await task.gone(PATIENCE_MS);
    const expected = Buffer.alloc(MUCH_BYTES, '0123456789abcde\n');
    assert.ok(readFileSync(`${task.sandbox}/stdout`).equals(expected));
    assert.equal(await sandboxFile(task, 'stderr'), '');
    assertContent(slave);
  });

  test('plan and launch --no-fork ask the same daemon', async () => {
    const planned = await planOn(host, { image: IMAGES.ports, value: 'true', options: ['--init'] });
    assert.deepEqual([planned.code, planned.stderr], [0, '']);
    assert.match(planned.text, /"Init": true/);
    const record = await launchRecord(
      commandTask({ image: IMAGES.busybox, value: 'echo shown; exit 5' }),
      host.directory.at('sandboxes'),
    );
    const ran = await host.deimos(['launch', '--no-fork'], record.stdin, {});
    assert.equal(ran.code, 5, ran.stderr);
    assert.match(ran.stdout.toString(), /^shown\n/);
    assert.deepEqual(await host.leftovers(), []);
  });

  describe('is meant by the environment where the configuration says nothing', () => {
    const environment = (): Record<string, string> => ({
      DOCKER_HOST: tcp.v4,
      DOCKER_TLS_VERIFY: '1',
      DOCKER_CERT_PATH: certificates.directory,
    });
    after(async () => await host.configure('', section(tcp.v4, certificates)));

    test('of the slave, also for the supervisor that takes over', async () => {
      await host.configure('', '');
      const slave = await host.slave({ environment: { ...environment(), PATH: '/usr/bin:/bin' } });
      const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: WRITER }));
      await task.reached(RUNNING, PATIENCE_MS);
      await killSupervisor(host);
      openGate(task);
      assert.equal((await task.gone(PATIENCE_MS))?.status, 3 << 8);
      await checkWriter(task);
      assertContent(slave);
      assert.deepEqual(await host.leftovers(), []);
    });

    test('of a plan, whatever way it is written', async () => {
      await host.configure('', '');
      const { DOCKER_HOST, ...tls } = environment();
      const config = { DOCKER_TLS_VERIFY: '0', DOCKER_CONFIG: certificates.directory };
      for (const env of [
        { ...tls, DOCKER_HOST: DOCKER_HOST ?? '' },
        { ...tls, DOCKER_HOST: '127.0.0.1:2376' },
        { ...tls, DOCKER_HOST: '127.0.0.1' },
        { ...tls, DOCKER_HOST: tcp.v6 },
        { ...tls, DOCKER_HOST: '[::1]:2376' },
        { ...tls, DOCKER_HOST: 'tcp://localhost' },
        { ...config, DOCKER_HOST: tcp.v4 },
        { ...tls, DOCKER_HOST: dockerd.host },
      ]) {
        const { code, stderr } = await planOn(host, { image: IMAGES.busybox, value: 'true' }, env);
        assert.deepEqual([code, stderr], [0, ''], JSON.stringify(env));
      }
    });

    test('but not where it says something', async () => {
      await host.configure('', `host: ${dockerd.host}`);
      for (const env of [
        { DOCKER_HOST: NOBODY, DOCKER_CERT_PATH: '/nonexistent' },
        { DOCKER_HOST: 'ssh://nobody', DOCKER_TLS_VERIFY: '1' },
      ]) {
        const { code, stderr } = await planOn(host, { image: IMAGES.busybox, value: 'true' }, env);
        assert.deepEqual([code, stderr], [0, ''], JSON.stringify(env));
      }
      await host.configure('', section(tcp.v4, certificates));
      const env = { DOCKER_HOST: NOBODY, DOCKER_CERT_PATH: '/nonexistent' };
      const { code, stderr } = await planOn(host, { image: IMAGES.busybox, value: 'true' }, env);
      assert.deepEqual([code, stderr], [0, '']);
    });
  });

  test('takes and refuses what the docker CLI does, and says which file it is', async () => {
    const { ca, client, stranger, otherCa, directory: at } = certificates;
    const garbage = `${at}/garbage`;
    writeFileSync(garbage, 'no PEM\n');
    const none = directory.at('none');
    mkdirSync(none, { recursive: true });
    const pair = { tlscert: client.cert, tlskey: client.key };
    const cases: readonly [options: Record<string, string>, says: RegExp][] = [
      [{ tlsverify: 'true', tlscacert: ca, ...pair }, /never/],
      [{ tls: 'true', tlscacert: ca, ...pair }, /never/],
      [{ tls: 'true', tlscacert: otherCa, ...pair }, /never/],
      [{ tlsverify: 'false', tlscacert: otherCa, ...pair }, /never/],
      [{ tls: 'true', ...pair }, /cannot read \S+\/none\/ca\.pem \(DOCKER_CONFIG\).*: ENOENT$/],
      [
        { tls: 'true', tlscacert: ca },
        /does not accept us: (bad certificate|certificate required);.* \S+cert\.pem/,
      ],
      [
        { tlsverify: 'true', tlscacert: otherCa, ...pair },
        /prove who it is: .*other-ca\/ca\.pem \(tlscacert in \[docker\]\)$/,
      ],
      [{ tlsverify: 'true', tlscacert: ca }, /does not accept us: (bad certificate|certificate required);/],
      [
        { tlsverify: 'true', tlscacert: ca, tlscert: stranger.cert, tlskey: stranger.key },
        /does not accept us: .*stranger\.pem \(tlscert in \[docker\]\)/,
      ],
      [
        { tlsverify: 'true', tlscacert: ca, tlscert: client.cert },
        /does not accept us: .*key\.pem \(DOCKER_CONFIG\)/,
      ],
      [
        { tlsverify: 'true', tlscacert: ca, tlscert: client.cert, tlskey: stranger.key },
        /stranger\.key \(tlskey in \[docker\]\), .* is not the key of the certificate in \S+\/cert\.pem$/,
      ],
      [
        { tlsverify: 'true', tlscacert: garbage, ...pair },
        /garbage \(tlscacert in \[docker\]\), .* is not a certificate$/,
      ],
      [
        { tlsverify: 'true', tlscacert: ca, tlscert: garbage, tlskey: client.key },
        /garbage \(tlscert .* is not a certificate$/,
      ],
      [
        { tlsverify: 'true', tlscacert: ca, tlscert: client.cert, tlskey: garbage },
        /garbage \(tlskey .* is not the key/,
      ],
      [
        { tlsverify: 'true', tlscacert: '/nope', ...pair },
        /cannot read \/nope \(tlscacert in \[docker\]\).*: ENOENT$/,
      ],
      [
        { tlsverify: 'true', tlscacert: ca, tlscert: '/nope', tlskey: client.key },
        /cannot read \/nope \(tlscert in/,
      ],
      [
        { tlsverify: 'true', tlscacert: ca, tlscert: client.cert, tlskey: at },
        /cannot read \S+ \(tlskey in .*: EISDIR$/,
      ],
      [{ tlscacert: ca, ...pair }, /HTTPS server/],
    ];
    for (const [options, says] of cases) {
      const lines = Object.entries(options).map(([name, value]) => `${name}: ${value}`);
      await host.configure('', [`host: ${tcp.v4}`, ...lines].join('\n'));
      const flags = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
      const env = { PATH: '/usr/bin', DOCKER_CONFIG: none };
      const cli = await outcomeOf(
        dockerd.inNetns([
          DOCKER_CLI,
          '--host',
          tcp.v4,
          ...flags,
          'version',
          '--format',
          '{{.Server.Version}}',
        ]),
        { env },
      );
      const ours = await planOn(host, { image: IMAGES.busybox, value: 'true' }, { DOCKER_CONFIG: none });
      assert.equal(ours.code === 0, cli.code === 0, `${lines}: ${ours.stderr}; the CLI: ${cli.stderr}`);
      if (ours.code === 0) continue;
      assert.match(ours.stderr, /^deimos plan: [^\n]+\n$/);
      assert.match(ours.stderr.trimEnd(), says);
    }
    await host.configure('', section(tcp.v4, certificates));
  });

  test('that cannot be trusted fails a task at once, in the words that a plan has', async () => {
    await host.configure('', section(tcp.v4, { ...certificates, ca: certificates.otherCa }));
    const slave = await host.slave();
    const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'true' }));
    const { state, message } = await task.ended(PATIENCE_MS);
    assert.equal(state, FAILED);
    assert.match(message ?? '', /does not prove who it is: .*other-ca\/ca\.pem \(tlscacert in \[docker\]\)/);
    await task.gone(PATIENCE_MS);
    await host.configure('', section(tcp.v4, certificates));
    assertContent(slave);
  });

  test('is asked with the certificate as it lies there: one that was renewed, one that came late', async () => {
    const own = directory.at('own');
    mkdirSync(own, { recursive: true });
    const client = { cert: `${own}/cert.pem`, key: `${own}/key.pem` };
    await host.configure('', section(tcp.v4, { ...certificates, client }));
    const slave = await host.slave();
    const run = async (): Promise<number> => {
      const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'true' }));
      const { state } = await task.ended(PATIENCE_MS);
      await task.gone(PATIENCE_MS);
      return state;
    };
    const early = run();
    await until('it is missed', () => /needed for TLS to Docker: ENOENT/.test(supervisorLog(host)));
    const supervisor = host.supervisor();
    copyFileSync(certificates.client.cert, client.cert);
    copyFileSync(certificates.client.key, client.key);
    assert.equal(await early, FINISHED);
    copyFileSync(certificates.stranger.cert, client.cert);
    copyFileSync(certificates.stranger.key, client.key);
    assert.equal(await run(), FAILED);
    copyFileSync(certificates.client.cert, client.cert);
    const between = run();
    await until('the key does not fit', () => /is not the key of the certificate/.test(supervisorLog(host)));
    copyFileSync(certificates.client.key, client.key);
    assert.equal(await between, FINISHED);
    assert.equal(host.supervisor(), supervisor);
    await host.configure('', section(tcp.v4, certificates));
  });
});

describe('several hosts', { skip, timeout: 600_000 }, () => {
  let directory: TempDirectory;
  let certificates: Certificates;
  /** Comes first in the configuration. */
  let first: Dockerd;
  let second: Dockerd;
  let host: Host;
  let hosts: readonly string[];
  const ONLY_SECOND = 'only-second:test';
  before(async () => {
    directory = await tempDirectory('hosts-');
    certificates = await makeCertificates(directory.path);
    [first, second] = await Promise.all([startDockerd(), startDockerd({ tls: certificates })]);
    await makeImages(first);
    host = await startHost({ dockerd: second, inNetns: true });
    await derive(second, ONLY_SECOND, ['LABEL only=second']);
    hosts = [NOBODY, first.host, second.tcp?.v4 ?? ''];
    await configure();
  });
  after(async () => {
    await host?.[Symbol.asyncDispose]();
    await Promise.all([first?.stop(), second?.stop()]);
    await directory?.[Symbol.asyncDispose]();
  });
  const test = (name: string, body: (host: Host) => Promise<void>) => testOn(() => host, name, body);
  const configure = (more = ''): Promise<void> =>
    host.configure(more, section(JSON.stringify(hosts), certificates));
  const containersOn = async (dockerd: Dockerd): Promise<number> =>
    (await dockerd.run(['ps', '-aq'])).split('\n').filter(Boolean).length;
  const chosen = (task: LaunchedTask): string =>
    readFileSync(`${host.root}/mesos/${task.containerId}/docker-host`, 'utf8').trim();

  test('the first that answers has the task, behind one that refuses', async () => {
    const slave = await host.slave();
    const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'echo hello' }));
    assert.equal((await task.ended(PATIENCE_MS)).state, FINISHED);
    await task.gone(PATIENCE_MS);
    assert.equal(chosen(task), first.host);
    assert.equal(await sandboxFile(task, 'stdout'), 'hello\n');
    assertContent(slave);
  });

  test('one that hangs is passed over, and a task stays where it was created when that one is back', async () => {
    const slave = await host.slave();
    first.freeze();
    const [task, killed, destroyed] = await Promise.all(
      ['writes', 'killed', 'destroyed'].map((taskId) =>
        slave.launch(commandTask({ taskId, image: IMAGES.busybox, value: WRITER, cpus: 0.1, mem: 64 })),
      ),
    );
    assert.ok(task && killed && destroyed);
    const tasks = [task, killed, destroyed];
    await Promise.all(tasks.map((one) => one.reached(RUNNING, PATIENCE_MS)));
    assert.deepEqual(
      tasks.map(chosen),
      Array.from(tasks, () => hosts[2]),
    );
    first.thaw();
    await killSupervisor(host);
    assert.ok(((await slave.usage(task)) ?? []).length > 0);
    const cpus = { name: 'cpus', type: ValueType.SCALAR, scalar: { value: 2 }, role: '*' };
    const update = encode(Update, { container_id: { value: task.containerId }, resources: [cpus] });
    assert.equal((await host.deimos(['update'], framed(update))).code, 0);
    const id = readFileSync(`${host.root}/mesos/${task.containerId}/cid`, 'utf8').trim();
    const shares = ['inspect', '--format', '{{.HostConfig.CpuShares}}', id];
    await until('the limits changed', async () => Number(await second.run(shares)) > 1024);
    await slave.killTask(killed);
    assert.equal((await killed.ended(PATIENCE_MS)).state, KILLED);
    await killed.gone(PATIENCE_MS);
    await slave.destroy(destroyed);
    openGate(task);
    assert.equal((await task.gone(PATIENCE_MS))?.status, 3 << 8);
    await checkWriter(task);
    assert.equal(await containersOn(first), 0);
    assert.deepEqual(await host.leftovers(), []);
  });

  test('what was made ready on one daemon is created there, though an earlier one is back by then', async () => {
    const gate = host.directory.at('gate');
    const hook = ['/bin/sh', '-c', `while [ ! -e ${gate} ]; do sleep 0.1; done`];
    await configure(`[hooks]\nonlaunch: ${JSON.stringify(hook)}`);
    const slave = await host.slave();
    first.freeze();
    const task = await slave.launch(commandTask({ image: ONLY_SECOND, value: 'true' }));
    await until('the hook runs', () => existsSync(`${host.root}/mesos/${task.containerId}/onlaunch`), {
      timeoutMs: PATIENCE_MS,
    });
    first.thaw();
    writeFileSync(gate, '');
    assert.equal((await task.ended(PATIENCE_MS)).state, FINISHED);
    assert.equal(chosen(task), hosts[2]);
    await task.gone(PATIENCE_MS);
    await configure();
    assertContent(slave);
    assert.deepEqual(await host.leftovers(), []);
  });

  test('where none answers, each is named with what is wrong with it', async () => {
    await first.halt();
    const stranger = { ...certificates, ca: certificates.otherCa };
    await host.configure('', section(JSON.stringify(hosts), stranger));
    const { code, stderr } = await planOn(host, { image: IMAGES.busybox, value: 'true' });
    await first.start();
    await configure();
    assert.equal(code, 4);
    assert.match(stderr, /^deimos plan: none of the Docker hosts answers: [^\n]+\n$/);
    for (const [at, why] of [
      [hosts[0], 'ECONNREFUSED'],
      [hosts[1], 'Docker does not answer'],
      [hosts[2], 'does not prove who it is'],
    ])
      assert.match(stderr, new RegExp(`${at}: [^;]*${why}`));
  });

  test('a plan is of the same daemon, whether a socket hangs or TLS', async () => {
    const { code, stderr } = await planOn(host, { image: IMAGES.busybox, value: 'true' });
    assert.deepEqual([code, stderr], [0, '']);
    first.freeze();
    const far = await planOn(host, { image: ONLY_SECOND, value: 'true' });
    first.thaw();
    assert.deepEqual([far.code, far.stderr], [0, '']);
    await host.configure('', section(JSON.stringify([hosts[2], hosts[1]]), certificates));
    second.freeze();
    const near = await planOn(host, { image: IMAGES.busybox, value: 'true' });
    second.thaw();
    await configure();
    assert.deepEqual([near.code, near.stderr], [0, '']);
  });
});

/** Answers as a daemon of an old API would, and keeps what it was asked; every image is absent, every pull is denied. */
interface StandInDaemon extends AsyncDisposable {
  readonly host: string;
  /** `METHOD path`, with X-Registry-Auth decoded where there is one. */
  readonly asked: { readonly what: string; readonly auth?: unknown }[];
}

const OLD_API = '1.30';

async function startStandInDaemon(certificates: Certificates): Promise<StandInDaemon> {
  const asked: { what: string; auth?: unknown }[] = [];
  const { ca, server } = certificates;
  const files = { ca: readFileSync(ca), cert: readFileSync(server.cert), key: readFileSync(server.key) };
  const listening = createServer(
    { ...files, requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      const auth = request.headers['x-registry-auth'];
      asked.push({
        what: `${request.method} ${request.url?.replace(/\?.*/, '')}`,
        ...(typeof auth === 'string' ? { auth: JSON.parse(Buffer.from(auth, 'base64url').toString()) } : {}),
      });
      const is = (path: string): boolean => request.url === path;
      response.writeHead(is('/_ping') || is('/info') ? 200 : 404, {
        'Api-Version': OLD_API,
        Ostype: 'linux',
        'Content-Type': 'application/json',
      });
      response.end(is('/_ping') ? 'OK' : is('/info') ? '{}' : '{"message":"denied by the stand-in"}');
    },
  );
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  const address = listening.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    host: `tcp://localhost:${address.port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      listening.closeAllConnections();
      await new Promise<void>((resolve) => listening.close(() => resolve()));
    },
  };
}

describe('what a far daemon is asked, with a stand-in for it', { skip, timeout: 120_000 }, () => {
  let directory: TempDirectory;
  let certificates: Certificates;
  let installation: Installation;
  let daemon: StandInDaemon;
  before(async () => {
    directory = await tempDirectory('far-');
    certificates = await makeCertificates(directory.path);
    installation = await install();
    daemon = await startStandInDaemon(certificates);
    for (const name of ['of-environment', 'of-section']) {
      mkdirSync(directory.at(name));
      const auth = Buffer.from(`${name}:secret`).toString('base64');
      writeFileSync(
        directory.at(name, 'config.json'),
        JSON.stringify({ auths: { 'registry.invalid': { auth } } }),
      );
    }
  });
  after(async () => {
    await daemon?.[Symbol.asyncDispose]();
    await installation?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  const plan = async (options: TaskOptions, more = '', env: Record<string, string> = {}) => {
    const docker = `[docker]\n${section(daemon.host, certificates)}\n${more}\n`;
    await installation.configure(`${docker}[state]\nroot: ${installation.root}\n`, true);
    const record = await launchRecord(
      commandTask({ value: 'true', ...options }),
      installation.at('sandboxes'),
    );
    daemon.asked.splice(0);
    return await installation.run(['plan'], record.stdin, env);
  };

  it('the CLI that translates is told which API that daemon speaks', async () => {
    const { code, stderr } = await plan({
      image: 'registry.invalid/x',
      options: ['--platform', 'linux/amd64'],
    });
    assert.equal(code, 4);
    assert.match(
      stderr,
      /"--platform" requires API version 1\.32, but the Docker daemon API version is 1\.30/,
    );
  });

  it('credentials come from DOCKER_CONFIG, and from config in [docker] before that', async () => {
    const env = { DOCKER_CONFIG: directory.at('of-environment') };
    for (const [more, name] of [
      ['', 'of-environment'],
      [`config: ${directory.at('of-section')}`, 'of-section'],
    ] as const) {
      const { code, stderr } = await plan({ image: 'registry.invalid/x' }, more, env);
      assert.equal(code, 4);
      assert.match(stderr, /denied by the stand-in/);
      const pull = daemon.asked.find(({ what }) => what === 'POST /images/create');
      assert.deepEqual(
        [pull?.auth].map(
          (auth) => auth !== null && typeof auth === 'object' && Reflect.get(auth, 'username'),
        ),
        [name],
      );
      assert.ok(!stderr.includes('secret'));
    }
  });

  it('a daemon that shows the certificate of another name is not asked anything', async () => {
    await using elsewhere = await startStandInDaemon({ ...certificates, server: certificates.elsewhere });
    await installation.configure(`[docker]\n${section(elsewhere.host, certificates)}\n`, true);
    const record = await launchRecord(
      commandTask({ value: 'true', image: 'x' }),
      installation.at('sandboxes'),
    );
    const { code, stderr } = await installation.run(['plan'], record.stdin);
    assert.equal(code, 4);
    assert.match(stderr, /does not prove who it is: .*elsewhere\.invalid/);
    assert.deepEqual(elsewhere.asked, []);
  });
});

describe('what cannot be meant', { skip, timeout: 120_000 }, () => {
  let installation: Installation;
  before(async () => {
    installation = await install();
  });
  after(async () => await installation?.[Symbol.asyncDispose]());

  const state = (): string => `[state]\nroot: ${installation.root}\n`;
  const calls = async (env: Record<string, string> = {}) => {
    const record = await launchRecord(
      commandTask({ value: 'true', image: 'x' }),
      installation.at('sandboxes'),
    );
    return [
      await installation.run(['config'], undefined, env),
      await installation.run(['plan'], record.stdin, env),
      await installation.run(['launch'], record.stdin, env),
    ];
  };

  it('is refused with status 16, in one line that names who said it, and leaves nothing', async () => {
    for (const [docker, env, says] of [
      ['host: ssh://h', {}, /host in \[docker\]: 'ssh:\/\/h': ssh:\/\/ is not supported/],
      [
        'host: ["unix:///a", "npipe://x"]',
        {},
        /host in \[docker\]: 'npipe:\/\/x': only unix:\/\/ and tcp:\/\//,
      ],
      ['H: tcp://h:99999', {}, /host in \[docker\]: 'tcp:\/\/h:99999': not a port/],
      ['context: far', {}, /context in \[docker\] is not supported: name the host/],
      [
        'host: tcp://h\ntlsverify: perhaps',
        {},
        /tlsverify in \[docker\]: 'perhaps' is neither true nor false/,
      ],
      [
        'host: tcp://h\ntls: yes\ntlscacert: ca.pem',
        {},
        /tlscacert in \[docker\]: the path 'ca\.pem' is not absolute/,
      ],
      ['config: here', {}, /config in \[docker\]: the path 'here' is not absolute/],
      ['', { DOCKER_HOST: 'ssh://h' }, /DOCKER_HOST: 'ssh:\/\/h': ssh:\/\/ is not supported/],
      ['', { DOCKER_HOST: 'npipe:////./pipe/x' }, /DOCKER_HOST: 'npipe:.*only unix:\/\/ and tcp:\/\//],
      ['', { DOCKER_HOST: 'h:0' }, /DOCKER_HOST: 'h:0': not a port/],
      ['', { DOCKER_HOST: '::1:2375' }, /DOCKER_HOST: '::1:2375': not a host and a port/],
      [
        '',
        { DOCKER_HOST: 'h', DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: 'certs' },
        /DOCKER_CERT_PATH: the path 'certs'/,
      ],
      ['', { DOCKER_CONFIG: 'cfg' }, /DOCKER_CONFIG: the path 'cfg' is not absolute/],
    ] as const) {
      await installation.configure(`[docker]\n${docker}\n${state()}`, true);
      for (const { code, stdout, stderr } of await calls(env)) {
        assert.deepEqual([code, stdout.toString()], [16, ''], `${docker} ${JSON.stringify(env)}`);
        assert.match(stderr, /^deimos \w+: [^\n]+\n$/);
        assert.match(stderr, says);
      }
    }
    assert.deepEqual(installation.traces(), []);
  });

  it('options without an effect are warned of, and files that cannot be read', async () => {
    const docker = 'host: unix:///nobody\nD: true\nlog_level: debug\nbogus: 1\ntlscacert: /ca.pem';
    await installation.configure(`[docker]\n${docker}\n${state()}`, true);
    const shown = (await installation.run(['config'])).stdout.toString();
    for (const name of ['debug', 'log-level', 'bogus', 'tlscacert'])
      assert.ok(shown.includes(`# warning: [docker] ${name} has no effect\n`), shown);
    assert.ok(!shown.includes('host has no effect'));
    await installation.configure(`[docker]\nhost: tcp://h\ntls: on\ntlscacert: /ca.pem\n${state()}`, true);
    const doubtful = (await installation.run(['config'])).stdout.toString();
    assert.match(doubtful, /^# warning: cannot read \/ca\.pem \(tlscacert in \[docker\]\), [^\n]+: ENOENT\n/);
  });
});

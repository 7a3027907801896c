// What a framework may say of its container in the new form, ContainerInfo{DOCKER}, each held against what Docker has
// created and what the task itself sees; and which of two forms counts. What cannot be is refused in one line.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { after, before, describe } from 'node:test';
import { Network, TaskState } from '../../src/mesos/messages.ts';
import { output } from '../support/command.ts';
import { containersOf, type InspectedContainer, inspectTask } from '../support/docker-facts.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { derive, IMAGES } from '../support/images.ts';
import { launchRecord } from '../support/installation.ts';
import { assertContent, testOn } from '../support/on-host.ts';
import { startRegistry } from '../support/registry.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, executorTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { wrap } from '../support/wrapped.ts';

const SANDBOX = '/mnt/mesos/sandbox';
const LONG_MS = 90_000;
/** A user-defined network of the test's dockerd. */
const OWN_NETWORK = 'own-network';
/** ENTRYPOINT that shows each of its arguments by itself, CMD `by default`, a work directory of its own. */
const ARGUMENTS = 'forms-arguments:test';
const UNTIL_GO = `until [ -e ${SANDBOX}/go ]; do sleep 0.1; done`;
const NEW = { form: 'new', image: IMAGES.busybox } as const;

const volume = (container_path: string, host_path?: string, mode = 1) => ({
  container_path,
  mode,
  ...(host_path === undefined ? {} : { host_path }),
});
const parameter = (key: string, value: string) => ({ key, value });

describe('the new form of container', {
  skip: await skipWithoutTools(),
  concurrency: 4,
  timeout: 280_000,
}, () => {
  let shared: Host;
  let slave: StandInSlave;
  before(async () => {
    shared = await startHost();
    slave = await shared.slave({ version: '1.0.4' });
    await shared.dockerd.run(['network', 'create', OWN_NETWORK]);
    const show = 'for word; do echo "<$word>"; done';
    await derive(shared.dockerd, ARGUMENTS, [
      'WORKDIR /of/the/image',
      `ENTRYPOINT ${JSON.stringify(['sh', '-c', show, 'show'])}`,
      'CMD ["by","default"]',
    ]);
  });
  after(async () => {
    try {
      assert.deepEqual(await shared.leftovers(), []);
      assertContent(slave);
    } finally {
      await shared?.[Symbol.asyncDispose]();
    }
  });
  const on = (name: string, body: (host: Host) => Promise<void>) => testOn(() => shared, name, body);

  /** Runs it; `value` shows what the task sees. What Docker has is looked at while it runs. */
  const seen = async (
    options: TaskOptions,
    running: (inspected: InspectedContainer, task: LaunchedTask) => Promise<void> | void = () => {},
    on: StandInSlave = slave,
  ) => {
    const task = await on.launch(
      commandTask({ ...NEW, ...options, value: `${options.value ?? 'true'}; ${UNTIL_GO}` }),
    );
    await Promise.race([task.reached(TaskState.RUNNING, LONG_MS), failure(task)]);
    await running(await inspectTask(shared.dockerd, task), task);
    await writeFile(`${task.sandbox}/go`, '');
    assert.equal((await task.ended(LONG_MS)).state, TaskState.FINISHED);
    await task.gone(LONG_MS);
    return { task, stdout: await sandboxFile(task, 'stdout'), stderr: await sandboxFile(task, 'stderr') };
  };
  const failure = async (task: LaunchedTask): Promise<void> => {
    const { state, message } = await task.ended(LONG_MS);
    if (state !== TaskState.FINISHED) throw new Error(`it ended before it was looked at: ${message}`);
  };
  /** The one line with which it fails. */
  const said = async (options: TaskOptions, kind: 'command' | 'executor' = 'command'): Promise<string> => {
    const all = { ...NEW, value: 'true', ...options };
    const task = await slave.launch(kind === 'command' ? commandTask(all) : executorTask(all));
    const { state, reason, message = '' } = await task.ended(LONG_MS);
    const termination = await task.gone(LONG_MS);
    assert.deepEqual([state, reason, termination?.message], [TaskState.FAILED, 21, message]);
    assert.equal(await sandboxFile(task, 'stderr'), `deimos: ${message}\n`);
    assert.match(message, /^[^\n]+$/);
    return message;
  };
  const refuses = (what: string, options: TaskOptions, says: RegExp) =>
    on(`${what}: refused in one line`, async () => assert.match(await said(options), says));

  // Networks.

  const namespaceOf = async (pid: number | 'self', host: Host) =>
    pid === 'self'
      ? await output(['readlink', host.dockerd.netns])
      : await output(['readlink', `/proc/${pid}/ns/net`]);
  const interfaces = 'ls /sys/class/net; hostname';

  on('network HOST is the host’s, and the default', async (host) => {
    for (const network of [Network.HOST, undefined]) {
      const { stdout } = await seen({ value: interfaces, docker: { network } }, async (container) => {
        assert.equal(container.HostConfig.NetworkMode, 'host');
        assert.equal(await namespaceOf(container.State.Pid, host), await namespaceOf('self', host));
      });
      assert.match(stdout, /^docker0$/m);
    }
  });

  on('network BRIDGE, with a hostname', async () => {
    const { stdout } = await seen(
      { value: interfaces, docker: { network: Network.BRIDGE }, container: { hostname: 'called.so' } },
      ({ HostConfig, Config, NetworkSettings }) => {
        assert.equal(HostConfig.NetworkMode, 'bridge');
        assert.equal(Config.Hostname, 'called.so');
        assert.match(NetworkSettings.IPAddress, /^\d+\.\d+\.\d+\.\d+$/);
      },
    );
    assert.equal(stdout, 'eth0\nlo\ncalled.so\n');
  });

  on('network NONE', async () => {
    const { stdout } = await seen(
      { value: 'ls /sys/class/net', docker: { network: Network.NONE } },
      ({ HostConfig }) => assert.equal(HostConfig.NetworkMode, 'none'),
    );
    assert.equal(stdout, 'lo\n');
  });

  const inOwnNetwork: readonly (readonly [string, TaskOptions])[] = [
    [
      'network USER by the name of network_infos',
      { docker: { network: Network.USER }, container: { network_infos: [{ name: OWN_NETWORK }] } },
    ],
    ['a parameter net instead of BRIDGE', { docker: { parameters: [parameter('net', OWN_NETWORK)] } }],
    [
      'a parameter network instead of the default',
      { docker: { network: undefined, parameters: [parameter('network', OWN_NETWORK)] } },
    ],
  ];
  for (const [what, options] of inOwnNetwork) {
    on(what, async () => {
      await seen(options, ({ HostConfig, NetworkSettings }) => {
        assert.equal(HostConfig.NetworkMode, OWN_NETWORK);
        assert.deepEqual(Object.keys(NetworkSettings.Networks), [OWN_NETWORK]);
      });
    });
  }

  const user = { docker: { network: Network.USER } };
  refuses('network USER without a name', user, /network USER needs the name of a network in network_infos/);
  refuses(
    'network USER with two names',
    { ...user, container: { network_infos: [{ name: 'one' }, { name: 'two' }] } },
    /one network, not several: one, two/,
  );
  refuses(
    'a network that Docker does not have',
    { ...user, container: { network_infos: [{ name: 'no-such-network' }] } },
    /no-such-network.*not found/,
  );
  refuses('a network of a kind that nobody knows', { docker: { network: 9 } }, /network 9 .*not known/);
  refuses(
    'a hostname on the network of the host',
    { docker: { network: Network.HOST }, container: { hostname: 'h' } },
    /hostname cannot be set on the network of the host/,
  );

  // Ports.

  on('port mappings: tcp, udp and none said; what listens there is reached', async (host) => {
    const port_mappings = [
      { host_port: 31_300, container_port: 80 },
      { host_port: 31_301, container_port: 8080, protocol: 'TCP' },
      { host_port: 31_310, container_port: 53, protocol: 'udp' },
    ];
    const { stdout } = await seen(
      {
        image: IMAGES.ports,
        docker: { image: IMAGES.ports, port_mappings },
        // In two pieces; 31302 is offered and mapped to nothing.
        ports: [
          [31_300, 31_302],
          [31_310, 31_310],
        ],
        value: `echo served > /tmp/page; httpd -p 80 -h /tmp; env | grep PORT | sort; touch ${SANDBOX}/listens`,
      },
      async ({ HostConfig }, task) => {
        assert.deepEqual(HostConfig.PortBindings, {
          '80/tcp': [{ HostIp: '', HostPort: '31300' }],
          '8080/tcp': [{ HostIp: '', HostPort: '31301' }],
          '53/udp': [{ HostIp: '', HostPort: '31310' }],
        });
        await until('it listens', () => existsSync(`${task.sandbox}/listens`));
        const page = host.dockerd.inNetns(['curl', '-sS', '--max-time', '20', 'http://127.0.0.1:31300/page']);
        assert.equal(await output(page), 'served');
      },
    );
    assert.deepEqual(stdout.trim().split('\n'), [
      ...['PORT0=31300', 'PORT1=31301', 'PORT2=31302', 'PORT3=31310'],
      ...['PORT=31300', 'PORTS=31300,31301,31302,31310'],
    ]);
  });

  on('port mappings of a network of its own', async () => {
    const port_mappings = [{ host_port: 31_320, container_port: 80 }];
    await seen(
      {
        ports: [[31_320, 31_320]],
        docker: { network: Network.USER, port_mappings },
        container: { network_infos: [{ name: OWN_NETWORK }] },
      },
      ({ HostConfig }) =>
        assert.deepEqual(HostConfig.PortBindings, { '80/tcp': [{ HostIp: '', HostPort: '31320' }] }),
    );
  });

  on('PORT, PORT0 and PORTS that the framework sets itself stay its own', async () => {
    const { stdout } = await seen(
      {
        ports: [[31_330, 31_331]],
        env: { PORT: '80', PORTS: '80' },
        docker: { parameters: [parameter('env', 'PORT1=8080')] },
        value: 'env | grep PORT | sort',
      },
      // Offered and not mapped.
      ({ HostConfig }) => assert.deepEqual(HostConfig.PortBindings ?? {}, {}),
    );
    assert.equal(stdout, 'PORT0=31330\nPORT1=8080\nPORT=80\nPORTS=80\n');
  });

  on('no ports offered: no PORT, no binding, though the image exposes some', async () => {
    const { stdout } = await seen({ image: IMAGES.ports, value: 'env | grep PORT' }, ({ HostConfig }) =>
      assert.deepEqual(HostConfig.PortBindings ?? {}, {}),
    );
    assert.equal(stdout, '');
  });

  const mapped = (host_port: number, more: object = {}): TaskOptions => ({
    ports: [[31_400, 31_401]],
    docker: { port_mappings: [{ host_port, container_port: 80, ...more }] },
  });
  refuses('a host port beside the offer', mapped(31_402), /host port 31402 .*not among the ports offered/);
  refuses('what is no host port', mapped(99_999), /host port 99999 .*not among the ports offered/);
  refuses(
    'a host port where none are offered',
    { docker: { port_mappings: [{ host_port: 31_400, container_port: 80 }] } },
    /host port 31400 .*not among the ports offered/,
  );
  refuses('what is no container port', mapped(31_400, { container_port: 70_000 }), /70000/);
  refuses('a protocol of a mapping that is none', mapped(31_400, { protocol: 'icmp' }), /'icmp'/);
  for (const [name, network] of [
    ['HOST', Network.HOST],
    ['NONE', Network.NONE],
  ] as const) {
    const options = mapped(31_400);
    refuses(
      `port mappings on network ${name}`,
      { ...options, docker: { ...options.docker, network } },
      new RegExp(`port mappings need network BRIDGE or USER, not ${name}`),
    );
  }

  // Parameters.

  on('parameters, some of one key', async () => {
    const parameters = [
      ...[parameter('env', 'A=1 one'), parameter('env', 'B=-x'), parameter('label', 'a=b')],
      ...[parameter('label', 'c=d e'), parameter('cap-add', 'NET_ADMIN'), parameter('cap-add', 'SYS_TIME')],
      ...[parameter('hostname', 'by-parameter'), parameter('workdir', '/by/parameter')],
    ];
    const { stdout } = await seen(
      {
        docker: { parameters },
        container: { hostname: 'by-field' },
        env: { B: 'the task’s goes first' },
        value: 'echo "$A,$B"; hostname; pwd',
      },
      ({ Config, HostConfig }) => {
        assert.equal(Config.Labels.a, 'b');
        assert.equal(Config.Labels.c, 'd e');
        const names = (HostConfig.CapAdd ?? []).map((name) => name.replace('CAP_', ''));
        assert.deepEqual(names.sort(), ['NET_ADMIN', 'SYS_TIME']);
      },
    );
    assert.equal(stdout, '1 one,the task’s goes first\nby-parameter\n/by/parameter\n');
  });

  refuses(
    'a parameter without the value that it needs',
    { docker: { parameters: [{ key: 'init' }] } },
    /docker run .*--init=: invalid argument "" for "--init"/,
  );
  refuses(
    'a parameter that docker does not know',
    { docker: { parameters: [parameter('no-such-thing', '1')] } },
    /unknown flag: --no-such-thing/,
  );
  refuses(
    'a parameter that is no option',
    { docker: { parameters: [parameter('a b', '1')] } },
    /'a b' is not the name of a docker run option/,
  );

  on('privileged', async (host) => {
    // Not every machine on which tests run can start one: what would be created says it as well.
    for (const privileged of [false, true, undefined]) {
      const task = commandTask({ ...NEW, value: 'true', docker: { privileged } });
      const record = await launchRecord(task, host.directory.at('planned'));
      const { code, stdout, stderr } = await host.deimos(['plan'], record.stdin);
      assert.equal(code, 0, stderr);
      assert.equal(stdout.toString().includes('"Privileged": true'), privileged === true);
    }
  });

  on('privileged is what Docker is asked to create', async (host) => {
    const wrapped = wrap(host, 'privileged');
    const its = await host.slave({ version: '1.0.4', containerizer: wrapped.containerizer });
    // Without an answer no RunTask comes: the container is there and is not started, which not every machine can do.
    wrapped.hold('update');
    const asked: readonly (readonly [expected: boolean, options: TaskOptions])[] = [
      [true, { ...NEW, docker: { privileged: true } }],
      [false, { ...NEW, docker: { privileged: false } }],
      [true, { image: IMAGES.busybox, options: ['--privileged'] }],
    ];
    for (const [expected, options] of asked) {
      const task = await its.launch(commandTask({ ...options, value: 'true' }));
      await until('it is created', async () => (await containersOf(host.dockerd, task)).length > 0, {
        timeoutMs: LONG_MS,
      });
      assert.equal((await inspectTask(host.dockerd, task)).HostConfig.Privileged, expected);
      await its.destroy(task);
      assert.deepEqual(await containersOf(host.dockerd, task), []);
    }
    wrapped.letGo('update');
    assertContent(its);
  });

  on('force_pull_image: the newest of the registry, though an older one is here', async (host) => {
    await using registry = await startRegistry(host.dockerd);
    const version = async (number: number) => {
      await derive(host.dockerd, `forced-${number}:test`, [`RUN echo ${number} > /version`]);
      return await registry.push(`forced-${number}:test`, 'forced');
    };
    const image = await version(1);
    await host.dockerd.run(['pull', '--quiet', image]);
    const old = await host.dockerd.run(['inspect', '--format={{.Id}}', image]);
    // The new one replaces the local name too: that is given back to the old one.
    await version(2);
    await host.dockerd.run(['pull', '--quiet', image]);
    await host.dockerd.run(['tag', old, image]);
    const run = async (force_pull_image: boolean) =>
      (await seen({ image, value: 'cat /version', docker: { force_pull_image } })).stdout;
    assert.equal(await run(false), '1\n');
    assert.equal(await run(true), '2\n');
  });

  on('force_pull_image of an image that is only here: it fails in words', async () => {
    assert.match(
      await said({ docker: { force_pull_image: true } }),
      /busybox:test.*(denied|not found|unknown|lookup|dial|registry)/,
    );
  });

  // Volumes.

  on('volumes: writable, read-only, relative, made where they are missing, without a place', async (host) => {
    const data = host.directory.at('volumes', 'data');
    await mkdir(data, { recursive: true });
    await writeFile(`${data}/there`, 'was there\n');
    const missing = host.directory.at('volumes', 'missing');
    const value = [
      'cat /ro/there; echo x > /ro/x; echo written > /rw/written; echo new > /missing/new',
      `echo inside > /inside/file; echo nested > ${SANDBOX}/nested/file; echo gone > /anonymous/file`,
    ].join('; ');
    const anonymous: string[] = [];
    const { task, stdout, stderr } = await seen(
      {
        value,
        container: {
          volumes: [
            ...[volume('/ro', data, 2), volume('/rw', data), volume('/missing', missing)],
            ...[volume('/inside', 'sub/directory'), volume('nested', `${data}/..`), volume('/anonymous')],
          ],
        },
      },
      ({ Mounts }) => {
        const at = (path: string) => Mounts.find(({ Destination }) => Destination === path);
        assert.deepEqual([at('/ro')?.RW, at('/rw')?.RW], [false, true]);
        assert.equal(at('/rw')?.Source, data);
        assert.equal(at('/anonymous')?.Type, 'volume');
        anonymous.push(at('/anonymous')?.Name ?? '');
      },
    );
    assert.equal(stdout, 'was there\n');
    assert.match(stderr, /\/ro\/x: Read-only file system/);
    assert.equal(await readFile(`${data}/written`, 'utf8'), 'written\n');
    assert.equal(await readFile(`${missing}/new`, 'utf8'), 'new\n');
    assert.equal(await sandboxFile(task, 'sub/directory/file'), 'inside\n');
    assert.equal(await readFile(host.directory.at('volumes', 'file'), 'utf8'), 'nested\n');
    // What belongs to nobody goes with the container.
    assert.ok(!(await host.dockerd.run(['volume', 'ls', '--quiet'])).includes(anonymous.join()));
  });

  refuses(
    'a volume that leads out of the sandbox',
    { container: { volumes: [volume('/x', 'a/../../b')] } },
    /the host path a\/\.\.\/\.\.\/b of a volume contains '\.\.'/,
  );
  refuses(
    'a volume of a source that nobody knows',
    { container: { volumes: [{ ...volume('/x'), source: { type: 7 } }] } },
    /the source of the volume at \/x is of a type not known here/,
  );

  on('a sandbox whose path has colons: it is mounted, and relative volumes with it', async (host) => {
    const workDirectory = host.directory.at('work:with:colons');
    await mkdir(workDirectory);
    const other = await host.slave({ version: '0.28.3', workDirectory });
    const { task, stdout } = await seen(
      {
        value: `echo here > ${SANDBOX}/made; echo a > /a/file; echo b 2>/dev/null > /b/file || echo read-only`,
        container: { volumes: [volume('/a', 'not/there/yet'), volume('/b', 'sub', 2)] },
      },
      () => {},
      other,
    );
    assert.ok(task.sandbox.includes(':'), task.sandbox);
    assert.equal(await sandboxFile(task, 'made'), 'here\n');
    assert.equal(await sandboxFile(task, 'not/there/yet/file'), 'a\n');
    assert.equal(stdout, 'read-only\n');
    assertContent(other);
  });

  on('Docker volumes of 1.0: driver, name and options, read-only', async (host) => {
    await host.dockerd.run(['volume', 'create', 'kept-volume']);
    const docker_volume = {
      driver: 'local',
      name: 'tmpfs-volume',
      driver_options: {
        parameter: [
          parameter('type', 'tmpfs'),
          parameter('device', 'tmpfs'),
          parameter('o', 'size=1m,uid=7'),
        ],
      },
    };
    const volumes = [
      { ...volume('/v'), source: { type: 1, docker_volume } },
      { ...volume('/kept', undefined, 2), source: { type: 1, docker_volume: { name: 'kept-volume' } } },
    ];
    const { stdout, stderr } = await seen(
      {
        value: "grep ' /v ' /proc/mounts; echo x > /v/x; cat /v/x; echo x > /kept/x",
        container: { volumes },
      },
      ({ Mounts }) => {
        const at = (path: string) => Mounts.find(({ Destination }) => Destination === path);
        assert.deepEqual([at('/v')?.Name, at('/v')?.Driver], ['tmpfs-volume', 'local']);
        assert.deepEqual([at('/kept')?.Name, at('/kept')?.RW], ['kept-volume', false]);
      },
    );
    assert.match(stdout, /^tmpfs \/v tmpfs rw.*size=1024k.*uid=7.*\nx\n$/);
    assert.match(stderr, /\/kept\/x: Read-only file system/);
    // A volume with a name is the framework's: it stays.
    const left = (await host.dockerd.run(['volume', 'ls', '--quiet'])).split('\n');
    assert.ok(left.includes('tmpfs-volume') && left.includes('kept-volume'), left.join());
  });

  on('volume_driver of DockerInfo: host paths are names of its volumes', async () => {
    await seen(
      {
        docker: { volume_driver: 'local' },
        container: {
          volumes: [
            volume('/data', 'driven-volume'),
            { ...volume('/more'), source: { type: 1, docker_volume: { name: 'driven-too' } } },
          ],
        },
      },
      ({ HostConfig, Mounts }) => {
        assert.equal(HostConfig.VolumeDriver, 'local');
        for (const name of ['driven-volume', 'driven-too'])
          assert.equal(Mounts.find(({ Name }) => Name === name)?.Driver, 'local', name);
      },
    );
  });

  refuses(
    'a volume driver that Docker does not have',
    {
      docker: { volume_driver: 'no-such-driver' },
      container: { volumes: [{ ...volume('/v'), source: { type: 1, docker_volume: { name: 'vol' } } }] },
    },
    /no-such-driver/,
  );

  // What it sees of itself, and what runs.

  on('the whole sandbox, its place and the name of the container are known inside', async () => {
    const { task, stdout } = await seen(
      { value: 'env | grep ^MESOS_ | sort; echo made > $MESOS_SANDBOX/made', name: 'the task' },
      ({ Name, Mounts }, { containerId, sandbox }) => {
        assert.equal(Name, `/deimos-${containerId}`);
        const [mount, ...more] = Mounts;
        assert.deepEqual(more, []);
        assert.deepEqual([mount?.Source, mount?.Destination, mount?.RW], [sandbox, SANDBOX, true]);
      },
    );
    assert.equal(stdout, `MESOS_CONTAINER_NAME=deimos-${task.containerId}\nMESOS_SANDBOX=${SANDBOX}\n`);
    assert.equal(await sandboxFile(task, 'made'), 'made\n');
  });

  on('a shell goes before the image’s own entrypoint, its work directory stays', async () => {
    const { stdout } = await seen({ image: ARGUMENTS, value: 'pwd; echo "$0"' }, ({ Config }) => {
      assert.deepEqual(Config.Entrypoint, ['/bin/sh']);
      assert.equal(Config.Cmd?.[0], '-c');
      assert.equal(Config.WorkingDir, '/of/the/image');
    });
    assert.equal(stdout, '/of/the/image\n/bin/sh\n');
  });

  on('without a shell a value and arguments are words for the entrypoint', async () => {
    const table = [
      {
        options: { value: 'a value', arguments: ['$HOME', '', '--x'] },
        words: ['a value', '$HOME', '', '--x'],
      },
      { options: { arguments: ['only', 'arguments'] }, words: ['only', 'arguments'] },
      { options: { value: 'alone' }, words: ['alone'] },
      { options: {}, words: ['by', 'default'] },
      { options: { value: '' }, words: ['by', 'default'] },
    ];
    const other = await shared.slave({ version: '0.28.3' });
    await Promise.all(
      table.flatMap(({ options, words }) =>
        (['new', 'old'] as const).map(async (form) => {
          const task = await other.launch(commandTask({ form, image: ARGUMENTS, shell: false, ...options }));
          assert.equal((await task.ended(LONG_MS)).state, TaskState.FINISHED);
          await task.gone(LONG_MS);
          assert.equal(await sandboxFile(task, 'stdout'), words.map((word) => `<${word}>\n`).join(''), form);
        }),
      ),
    );
    assertContent(other);
  });

  on('a shell without a command is refused, absent or empty', async () => {
    for (const value of [undefined, '']) {
      const options = value === undefined ? {} : { value };
      const task = await slave.launch(commandTask({ ...NEW, ...options }));
      const { state, message } = await task.ended(LONG_MS);
      assert.deepEqual(
        [state, message],
        [TaskState.FAILED, 'the task asks for a shell and gives it no command'],
      );
      await task.gone(LONG_MS);
    }
  });

  // Which form.

  const OLD_OF_BOTH = { image: 'docker:///no/such', options: ['--no-such-option'] };
  on('both forms at once: the new one counts', async () => {
    const container = { type: 1, docker: { image: IMAGES.busybox, network: Network.NONE } };
    const both = { ...OLD_OF_BOTH, form: 'old', value: 'ls /sys/class/net; pwd', container } as const;
    for (const version of ['0.22.2', '0.28.3'] as const) {
      const other = await shared.slave({ version });
      for (const task of [await other.launch(commandTask(both)), await other.launch(executorTask(both))]) {
        await task.gone(LONG_MS);
        assert.equal(await sandboxFile(task, 'stdout'), 'lo\n/\n', await sandboxFile(task, 'stderr'));
      }
      assertContent(other);
    }
  });

  for (const [what, container, says] of [
    ['type MESOS', { type: 2 }, /a container of type MESOS is not run here, only DOCKER/],
    ['a type that nobody knows', { type: 7 }, /a container of type unknown is not run here, only DOCKER/],
    ['type DOCKER without DockerInfo', { type: 1 }, /the container has type DOCKER and no DockerInfo/],
  ] as const) {
    on(`${what}: refused in one line, though the old form is there too`, async () => {
      const options = { form: 'old', image: IMAGES.busybox, value: 'true', container } as const;
      for (const kind of ['command', 'executor'] as const) assert.match(await said(options, kind), says);
    });
  }

  on('a container of executor_info has all that a task’s has', async () => {
    const task = await slave.launch(
      executorTask({
        ...NEW,
        ports: [[31_500, 31_500]],
        docker: {
          port_mappings: [{ host_port: 31_500, container_port: 80 }],
          parameters: [parameter('label', 'a=b')],
        },
        container: { hostname: 'executor', volumes: [volume('/made', 'made')] },
        value: `hostname; echo "$MESOS_DIRECTORY $PORT0"; touch /made/by-the-executor; ${UNTIL_GO}`,
      }),
    );
    await until('it runs', () => existsSync(`${task.sandbox}/made/by-the-executor`), { timeoutMs: LONG_MS });
    const { Config, HostConfig } = await inspectTask(shared.dockerd, task);
    assert.deepEqual([Config.Labels.a, Config.Hostname], ['b', 'executor']);
    assert.deepEqual(HostConfig.PortBindings, { '80/tcp': [{ HostIp: '', HostPort: '31500' }] });
    await writeFile(`${task.sandbox}/go`, '');
    assert.equal((await task.gone(LONG_MS))?.status, 0);
    assert.equal(await sandboxFile(task, 'stdout'), `executor\n${SANDBOX} 31500\n`);
    assert.deepEqual(await readdir(`${task.sandbox}/made`), ['by-the-executor']);
  });
});

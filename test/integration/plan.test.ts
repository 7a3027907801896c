// `deimos plan` shows what a launch would create, and creates nothing: the very request, as JSON, and a line for a person who
// knows docker run, values of the environment masked in both. What an app of Marathon is planned as is held against what a launch
// of the task that Marathon would send asks Docker for.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { after, before, describe, it } from 'node:test';
import type { CreateRequest } from '../../src/container/create-request.ts';
import { dockerRunLine } from '../../src/container/docker-run-line.ts';
import { output } from '../support/command.ts';
import { type DockerRecorder, recordDocker } from '../support/docker-recorder.ts';
import { type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { launchRecord } from '../support/installation.ts';
import type { StandInSlave } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';

const SECRET = randomBytes(12).toString('hex');

describe('plan', { skip: await skipWithoutTools() }, () => {
  let host: Host;
  before(async () => {
    host = await startHost();
  });
  after(async () => await host[Symbol.asyncDispose]());

  const plan = async (options: TaskOptions) => {
    const record = await launchRecord(commandTask(options), host.directory.at('sandboxes'));
    const { code, stdout, stderr } = await host.deimos(['plan'], record.stdin);
    const text = stdout.toString();
    const end = text.indexOf('\n}\n') + 2;
    return {
      record,
      code,
      stderr,
      json: code === 0 ? JSON.parse(text.slice(0, end)) : undefined,
      rest: text.slice(end).trim(),
      text,
    };
  };

  it('is the request that the options, the task and the image make', async () => {
    const { record, code, stderr, json, rest } = await plan({
      value: 'echo hello "world"',
      image: IMAGES.ports,
      options: ['-v', '/etc:/etc-host:ro', '--cap-add=NET_ADMIN', '--label', 'a=b', '-e', `ALSO=${SECRET}`],
      env: { PASSWORD: SECRET, EMPTY: '' },
      cpus: 0.5,
      mem: 64,
      ports: [[31000, 31001]],
    });
    assert.deepEqual([code, stderr], [0, '']);
    const { body } = json;
    assert.equal(body.Image, IMAGES.ports);
    assert.deepEqual(body.Cmd, ['sh', '-c', 'echo hello "world"']);
    assert.deepEqual([body.HostConfig.CpuShares, body.HostConfig.Memory], [512, 64 * 1024 * 1024]);
    assert.deepEqual(body.HostConfig.Binds, ['/etc:/etc-host:ro']);
    assert.equal(body.Labels.a, 'b');
    assert.equal(body.Labels['deimos.container'], record.containerId);
    // 53/udp, 8080, 9090 are exposed; two are offered.
    assert.deepEqual(body.HostConfig.PortBindings, {
      '53/udp': [{ HostPort: '31000' }],
      '8080/tcp': [{ HostPort: '31001' }],
    });
    for (const name of ['PASSWORD', 'EMPTY', 'ALSO', 'TASK_INFO', 'MESOS_SANDBOX'])
      assert.ok(body.Env.includes(`${name}=***`), name);
    assert.match(rest, /^docker run /);
    for (const word of ['--cpu-shares 512', '-v /etc:/etc-host:ro', '--label a=b', IMAGES.ports])
      assert.ok(rest.includes(word), `${word} in ${rest}`);
    assert.match(rest, /NET_ADMIN/);
    assert.match(rest, /31001:8080/);
  });

  it("runs as the task's user where the operator wants it so, and never as somebody whom the host does not know", async () => {
    await host.configure('[containers]\nswitch_user: true');
    try {
      const known = await plan({ value: 'id', image: IMAGES.busybox, user: 'nobody' });
      assert.equal(known.json.body.User, '65534:65534');
      const unknown = await plan({ value: 'id', image: IMAGES.busybox, user: 'no-such-user' });
      assert.equal(unknown.code, 4);
      assert.match(unknown.stderr, /^deimos plan: this host has no user no-such-user\n$/);
    } finally {
      await host.configure('');
    }
  });

  it('shows no value of the environment, in no form', async () => {
    for (const options of [
      { env: { PASSWORD: SECRET, 'A B': SECRET, MULTI: `one\n${SECRET}\nthree` } },
      { options: ['-e', `X=${SECRET}`, `--env=Y=${SECRET}`] },
      { options: ['-e', `X=${SECRET}`, '--bogus'] },
      {
        form: 'new' as const,
        env: { PASSWORD: SECRET },
        docker: { parameters: [{ key: 'env', value: `Z=${SECRET}` }] },
      },
    ]) {
      const { text, stderr } = await plan({ value: 'true', image: IMAGES.busybox, ...options });
      assert.ok(!`${text}${stderr}`.includes(SECRET), `${text}${stderr}`);
    }
  });

  it('is a line that a shell takes apart into the same words', async () => {
    const { rest, code } = await plan({
      value: "printf '%s|' \"$HOSTNAME\" 'a b' \"it's\" '$x'",
      image: IMAGES.busybox,
      options: ['--hostname', 'planned'],
    });
    assert.equal(code, 0);
    const line = rest.split('\n')[0] ?? '';
    const words = await shellWords(line);
    const at = words.indexOf(IMAGES.busybox);
    assert.deepEqual(words.slice(at + 1), ['sh', '-c', "printf '%s|' \"$HOSTNAME\" 'a b' \"it's\" '$x'"]);
    assert.ok(words.slice(0, at).join(' ').includes('--hostname planned'));
  });

  it('ends as the launch would: one line, status 4', async () => {
    for (const [options, says] of [
      [{ image: 'http://x/y' }, /http:\/\/x\/y/],
      [{ image: IMAGES.busybox, options: ['--bogus'] }, /unknown flag: --bogus/],
      [{ image: '127.0.0.1:5999/none' }, /connection refused/],
    ] as const) {
      const { code, text, stderr } = await plan({ value: 'true', ...options });
      assert.deepEqual([code, text], [4, '']);
      assert.match(stderr, /^deimos plan: [^\n]+\n$/);
      assert.match(stderr, says);
    }
  });

  it('creates nothing: no container, no state, no supervisor', async () => {
    assert.equal(await host.dockerd.run(['ps', '-aq']), '');
    assert.equal(host.processes().length, 0);
    assert.deepEqual(existsSync(host.root) ? readdirSync(host.root) : [], []);
  });
});

/** The words of a line as sh takes them apart. */
async function shellWords(line: string): Promise<readonly string[]> {
  const text = await output(['sh', '-c', `set -- ${line}\nfor word; do printf '%s\\0' "$word"; done`]);
  return text.split('\0').slice(0, -1);
}

/** What Marathon tells every task of such an app, in its order. */
function marathonVariables(id: string, docker: string | undefined, ports: Record<string, string>) {
  return {
    ...{ MESOS_TASK_ID: `${id}.1`, MARATHON_APP_ID: `/${id}`, MARATHON_APP_VERSION: 'v' },
    ...(docker === undefined ? {} : { MARATHON_APP_DOCKER_IMAGE: docker }),
    ...{
      MARATHON_APP_RESOURCE_CPUS: '0.5',
      MARATHON_APP_RESOURCE_MEM: '64.0',
      MARATHON_APP_RESOURCE_DISK: '0.0',
    },
    ...{ MARATHON_APP_LABELS: '', ...ports, HOST: 'slave-1' },
  };
}

interface MarathonCase {
  readonly what: string;
  readonly app: object;
  /** The same as Marathon would have the slave launch it. */
  readonly sent: TaskOptions;
}

const SIZE = { cpus: 0.5, mem: 64 } as const;
const MARATHON_CASES: readonly MarathonCase[] = [
  {
    what: 'on a bridge, with port mappings, volumes, parameters and a user',
    app: {
      ...{ id: '/web', cmd: 'echo "$PORT0"', ...SIZE, env: { GREETING: 'a b' }, user: 'nobody' },
      container: {
        type: 'DOCKER',
        docker: {
          ...{ image: IMAGES.ports, network: 'BRIDGE', privileged: true },
          portMappings: [
            { containerPort: 8080, hostPort: 0, servicePort: 10_000, protocol: 'tcp' },
            { containerPort: 0, hostPort: 31_500, protocol: 'udp,tcp' },
          ],
          parameters: [
            { key: 'label', value: 'a=b c' },
            { key: 'cap-add', value: 'NET_ADMIN' },
          ],
        },
        volumes: [
          { containerPath: '/etc-host', hostPath: '/etc', mode: 'RO' },
          { containerPath: '/data', hostPath: 'data', mode: 'RW' },
        ],
      },
    },
    sent: {
      ...{ name: 'web', value: 'echo "$PORT0"', ...SIZE, user: 'nobody', image: IMAGES.ports, form: 'new' },
      env: {
        ...marathonVariables('web', IMAGES.ports, {
          ...{ PORT0: '31000', PORT1: '31500', PORT_8080: '31000', PORT_31500: '31500' },
          ...{ PORT: '31000', PORTS: '31000,31500' },
        }),
        GREETING: 'a b',
      },
      ports: [
        [31_000, 31_000],
        [31_500, 31_500],
      ],
      docker: {
        ...{ network: 2, privileged: true },
        port_mappings: [
          { host_port: 31_000, container_port: 8080, protocol: 'tcp' },
          { host_port: 31_500, container_port: 31_500, protocol: 'udp' },
          { host_port: 31_500, container_port: 31_500, protocol: 'tcp' },
        ],
        parameters: [
          { key: 'label', value: 'a=b c' },
          { key: 'cap-add', value: 'NET_ADMIN' },
        ],
      },
      container: {
        volumes: [
          { container_path: '/etc-host', host_path: '/etc', mode: 2 },
          { container_path: '/data', host_path: 'data', mode: 1 },
        ],
      },
    },
  },
  {
    what: 'of the old form, with options and the ports of the image',
    app: {
      ...{ id: '/old', cmd: 'true', ...SIZE, ports: [8080, 9090] },
      container: {
        image: `docker:///${IMAGES.ports}`,
        options: ['-v', '/etc:/etc-host:ro', '--label', 'a=b'],
      },
    },
    sent: {
      ...{ name: 'old', value: 'true', ...SIZE, image: IMAGES.ports, ports: [[31_000, 31_001]] },
      options: ['-v', '/etc:/etc-host:ro', '--label', 'a=b'],
      env: marathonVariables('old', undefined, {
        ...{ PORT0: '31000', PORT1: '31001', PORT_8080: '31000', PORT_9090: '31001' },
        ...{ PORT: '31000', PORTS: '31000,31001' },
      }),
    },
  },
  {
    what: "on the host's network, with arguments for the image's entrypoint",
    app: {
      ...{ id: '/args', args: ['a b', '$x'], ...SIZE, ports: [] },
      container: { docker: { image: IMAGES.entrypoint, network: 'HOST' } },
    },
    sent: {
      ...{
        name: 'args',
        shell: false,
        arguments: ['a b', '$x'],
        ...SIZE,
        image: IMAGES.entrypoint,
        form: 'new',
      },
      ...{ docker: { network: 1 }, env: marathonVariables('args', IMAGES.entrypoint, {}) },
    },
  },
  {
    what: "on a network of the user's, without a command",
    app: {
      ...{ id: '/user', ...SIZE, ipAddress: { networkName: 'dev' } },
      container: {
        docker: { image: IMAGES.entrypoint, network: 'USER', portMappings: [{ containerPort: 80 }] },
      },
    },
    sent: {
      ...{
        name: 'user',
        shell: false,
        ...SIZE,
        image: IMAGES.entrypoint,
        form: 'new',
        docker: { network: 4 },
      },
      container: { network_infos: [{ name: 'dev' }] },
      env: marathonVariables('user', IMAGES.entrypoint, { PORT0: '80', PORT_80: '80', PORTS: '' }),
    },
  },
  {
    what: 'without a container',
    app: { id: '/bare', cmd: 'true', ...SIZE },
    sent: {
      ...{ name: 'bare', value: 'true', ...SIZE, ports: [[31_000, 31_000]] },
      env: marathonVariables('bare', undefined, {
        ...{ PORT0: '31000', PORT_31000: '31000', PORT: '31000', PORTS: '31000' },
      }),
    },
  },
];

describe('a plan of a Marathon app', { skip: await skipWithoutTools() }, () => {
  let host: Host;
  let docker: DockerRecorder;
  let slave: StandInSlave;
  before(async () => {
    host = await startHost();
    docker = await recordDocker(host.dockerd);
    await host.dockerd.run(['network', 'create', 'dev']);
    const image = `[containers.image]\ndefault: docker:///${IMAGES.busybox}`;
    await writeFile(
      host.configFile,
      `[docker]\nhost: ${docker.host}\n[state]\nroot: ${host.root}\n${image}\n`,
    );
    slave = await host.slave();
  });
  after(async () => {
    try {
      assert.deepEqual(await host.leftovers(), []);
    } finally {
      await host?.[Symbol.asyncDispose]();
      await docker?.[Symbol.asyncDispose]();
    }
  });

  const plan = async (app: object | string) => {
    const text = typeof app === 'string' ? app : JSON.stringify(app);
    const { code, stdout, stderr } = await host.deimos(['plan'], Buffer.from(text));
    return { code, stderr, text: stdout.toString(), ...(code === 0 ? planned(stdout.toString()) : {}) };
  };

  for (const { what, app, sent } of MARATHON_CASES) {
    it(`is what a launch of its task creates, to the word: ${what}`, async () => {
      const { code, stderr, request, line } = await plan(app);
      assert.deepEqual([code, stderr], [0, '']);
      const task = await slave.launch(commandTask({ ...sent, taskId: `${sent.name}.1` }));
      await task.ended(60_000);
      await task.gone(60_000);
      const created = docker.creates().filter(({ name }) => name === `deimos-${task.containerId}`);
      assert.equal(created.length, 1);
      const asked = JSON.stringify({ query: { name: created[0]?.name }, body: created[0]?.body })
        .replaceAll(task.sandbox, '/var/lib/mesos/sandbox')
        .replaceAll(task.containerId, 'planned');
      const launched: CreateRequest = JSON.parse(asked);
      const Env = launched.body.Env?.map((entry) => entry.replace(/=.*/s, '=***'));
      assert.deepEqual(request, { ...launched, body: { ...launched.body, Env } });
      assert.equal(line, dockerRunLine(launched).line);
    });
  }

  it('says what it assumes: container, sandbox, slave, and the ports of an offer', async () => {
    const { text } = await plan(MARATHON_CASES[0]?.app ?? {});
    const assumed = text.split('\n').filter((one) => one.startsWith('# assumed: '));
    assert.deepEqual(assumed, [
      `# assumed: container id planned, sandbox /var/lib/mesos/sandbox, slave on ${hostname()}`,
      '# assumed: ports 31000, of an offer of 31000-32000',
    ]);
  });

  it('comes from a file as well, and so does that of a Launch record', async () => {
    const app = MARATHON_CASES[0]?.app ?? {};
    const file = host.directory.at('app.json');
    await writeFile(file, `\n${JSON.stringify(app, undefined, 2)}\n`);
    const { code, stdout } = await host.deimos(['plan', file]);
    assert.deepEqual([code, stdout.toString()], [0, (await plan(app)).text]);
    const record = await launchRecord(
      commandTask({ value: 'true', image: IMAGES.busybox }),
      host.directory.at('s'),
    );
    const recorded = host.directory.at('launch.record');
    await writeFile(recorded, record.stdin);
    const ofRecord = await host.deimos(['plan', recorded]);
    assert.equal(ofRecord.code, 0, ofRecord.stderr);
    assert.deepEqual(ofRecord.stdout, (await host.deimos(['plan'], record.stdin)).stdout);
    assert.ok(!ofRecord.stdout.includes('# assumed'));
  });

  it('is refused in one line that names the place, before Docker is asked, without a value of the environment', async () => {
    const asked = docker.creates().length;
    for (const [app, says] of [
      [
        { id: 'a', container: { docker: { image: 'x', netwrok: 'HOST' } } },
        /container\.docker\.netwrok: is not a field/,
      ],
      [{ id: 'a', env: { PASSWORD: [SECRET] } }, /env\.PASSWORD: is not a string/],
      [`{"id": "a", "env": {"PASSWORD": "${SECRET}" }`, /the JSON cannot be read: line 1 column \d+/],
      [{ id: '/group', apps: [{ id: 'a' }] }, /apps: this is a group of apps/],
      [[{ id: 'a' }], /list of apps/],
      ['id: a', /neither a Launch record nor a Marathon app/],
      ['', /neither a Launch record nor a Marathon app/],
      [Buffer.from([0x7b, 0xff, 0xfe, 0x80, 0x80]).toString('latin1'), /cannot be read/],
      [{ id: 'a', container: { type: 'MESOS' }, cmd: 'true' }, /type MESOS/],
      [
        { id: 'a', container: { docker: { image: IMAGES.busybox, portMappings: [{ containerPort: 80 }] } } },
        /port mappings need network BRIDGE or USER/,
      ],
    ] as const) {
      const { code, text, stderr } = await plan(app);
      assert.deepEqual([code, text], [4, ''], JSON.stringify(app));
      assert.match(stderr, /^deimos plan: [^\n]+\n$/);
      assert.match(stderr, says);
      assert.ok(!stderr.includes(SECRET), stderr);
    }
    const nowhere = await host.deimos(['plan', host.directory.at('nowhere.json')]);
    assert.equal(nowhere.code, 4);
    assert.match(nowhere.stderr, /^deimos plan: cannot read \S*nowhere\.json: ENOENT\n$/);
    assert.equal(docker.creates().length, asked);
  });
});

/** The request and the line in what `plan` prints. */
function planned(text: string): { readonly request: unknown; readonly line: string | undefined } {
  const end = text.indexOf('\n}\n') + 2;
  return { request: JSON.parse(text.slice(0, end)), line: text.slice(end).trim().split('\n')[0] };
}

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { DEFAULT_CONFIG } from '../../../src/config/schema.ts';
import type { CreateBody, CreateRequest, HostConfig } from '../../../src/container/create-request.ts';
import { dockerRunLine, quote } from '../../../src/container/docker-run-line.ts';
import { parseReference } from '../../../src/container/image.ts';
import { type PlanInput, plan } from '../../../src/container/plan.ts';
import { newContainer, taskRequest } from './task-request.ts';

const reference = parseReference('app:1');
assert.ok(reference.ok);
const image = reference.image;

const input = (changes: Partial<PlanInput> = {}): PlanInput => ({
  task: taskRequest({ command: { value: 'true' } }),
  config: DEFAULT_CONFIG,
  image,
  options: { options: [], appended: 0, operators: [], granted: [], warnings: [] },
  imageFacts: { exposedPorts: [], entrypoint: [], cmd: [] },
  slaveEnvironment: {},
  ...changes,
});
const planned = (changes: Partial<PlanInput> = {}) => {
  const answer = plan(input(changes));
  assert.ok(answer.ok);
  return { body: answer.request.body, host: answer.request.body.HostConfig ?? {}, ...answer };
};
const translated = (
  host: HostConfig,
  body: Partial<CreateBody> = {},
  query: CreateRequest['query'] = {},
) => ({
  query,
  body: { Image: image, ...body, HostConfig: host },
});

describe('what runs', () => {
  const facts = { exposedPorts: [], entrypoint: ['/entry'], cmd: ['default'] };
  const cmd = (
    command: NonNullable<Parameters<typeof taskRequest>[0]>['command'],
    argv?: readonly string[],
  ) => {
    const task = taskRequest(command === undefined ? {} : { command });
    const options = {
      options: [],
      operators: [],
      granted: [],
      appended: 0,
      warnings: [],
      ...(argv === undefined ? {} : { argv }),
    };
    return planned({ task, options, imageFacts: facts });
  };

  test("a value is a shell's, none the image's own, an argv is as it is", () => {
    assert.deepEqual(cmd({ value: 'echo $A' }).body.Cmd, ['sh', '-c', 'echo $A']);
    assert.equal(cmd({}).body.Cmd, undefined);
    assert.deepEqual(cmd({}, ['-x', '$A']).body.Cmd, ['-x', '$A']);
    assert.equal(cmd({}, []).body.Cmd, undefined);
    assert.deepEqual(cmd({ value: '/bin/ls', shell: false, arguments: ['-l', 'a b'] }).body.Cmd, [
      '/bin/ls',
      '-l',
      'a b',
    ]);
  });

  test('an argv behind // goes before a value, which is told', () => {
    const both = cmd({ value: 'not run' }, ['run']);
    assert.deepEqual(both.body.Cmd, ['run']);
    assert.equal(both.warnings.length, 1);
  });

  test('the new form takes the shell for its entrypoint', () => {
    const task = taskRequest({ container: newContainer(), command: { value: 'echo' } });
    const { body, host } = planned({ task });
    assert.deepEqual([body.Entrypoint, body.Cmd], [['/bin/sh'], ['-c', 'echo']]);
    assert.equal(body.WorkingDir, undefined);
    assert.deepEqual(host.Mounts, [{ Type: 'bind', Source: '/sandbox', Target: '/mnt/mesos/sandbox' }]);
    assert.ok(!plan(input({ task: taskRequest({ container: newContainer() }) })).ok);
  });

  test('nothing at all is refused', () => {
    assert.ok(!plan(input({ task: taskRequest() })).ok);
    const entrypoint = translated({}, { Entrypoint: ['/x'] });
    assert.ok(plan(input({ task: taskRequest(), translated: entrypoint })).ok);
  });
});

describe('the sandbox', () => {
  test('is a mount, so that its path may have a colon, and the work directory', () => {
    const { body, host } = planned({ task: taskRequest({ sandbox: '/a:b', command: { value: 'x' } }) });
    assert.deepEqual(host.Mounts, [{ Type: 'bind', Source: '/a:b/fs', Target: '/tmp/mesos-sandbox' }]);
    assert.equal(body.WorkingDir, '/tmp/mesos-sandbox');
  });

  test("the options' work directory and mounts stay", () => {
    const mount = { Type: 'bind', Source: '/etc', Target: '/e' };
    const { body, host } = planned({ translated: translated({ Mounts: [mount] }, { WorkingDir: '/w' }) });
    assert.equal(body.WorkingDir, '/w');
    assert.deepEqual(host.Mounts?.[0], mount);
    assert.equal(host.Mounts?.length, 2);
  });

  test('binds, which the CLI gives in any order, are the same in every plan', () => {
    for (const Binds of [
      ['/b:/b', '/a:/z:ro'],
      ['/a:/z:ro', '/b:/b'],
    ])
      assert.deepEqual(planned({ translated: translated({ Binds }) }).host.Binds, ['/a:/z:ro', '/b:/b']);
  });
});

describe('ports', () => {
  const exposedPorts = [
    { port: 8080, protocol: 'tcp' },
    { port: 53, protocol: 'udp' },
  ];
  const task = taskRequest({
    command: { value: 'x' },
    resources: { ports: [{ begin: 31000, end: 31002 }] },
  });
  const with_ = (host: HostConfig, facts = exposedPorts) =>
    planned({
      task,
      translated: translated(host),
      imageFacts: { exposedPorts: facts, entrypoint: [], cmd: [] },
    });

  test('offered and exposed ports are paired on a bridge', () => {
    for (const NetworkMode of ['', 'default', 'bridge', 'my-network']) {
      const { body, host } = with_({ NetworkMode });
      assert.deepEqual(host.PortBindings, {
        '53/udp': [{ HostPort: '31000' }],
        '8080/tcp': [{ HostPort: '31001' }],
        '31002/tcp': [{ HostPort: '31002' }],
      });
      assert.deepEqual(Object.keys(body.ExposedPorts ?? {}).sort(), ['31002/tcp', '53/udp', '8080/tcp']);
    }
  });

  test('not where the network is not bridged, or the task mapped its own', () => {
    const own = { '1/tcp': [{ HostPort: '2' }] };
    for (const host of [
      { NetworkMode: 'host' },
      { NetworkMode: 'none' },
      { NetworkMode: 'container:x' },
      { PortBindings: own },
      { PublishAllPorts: true },
    ]) {
      assert.deepEqual(with_(host).host.PortBindings, host.PortBindings);
    }
  });

  test('more exposed than offered is a warning, an offer of none is not', () => {
    const many = [80, 81, 82, 83].map((port) => ({ port, protocol: 'tcp' }));
    assert.match(with_({}, many).warnings.join(), /83\/tcp/);
    assert.deepEqual(planned({ imageFacts: { exposedPorts: many, entrypoint: [], cmd: [] } }).warnings, []);
  });

  test('two ways to one container port are both kept', () => {
    const { host } = with_({}, [{ port: 31001, protocol: 'tcp' }]);
    assert.deepEqual(host.PortBindings?.['31001/tcp'], [{ HostPort: '31000' }, { HostPort: '31001' }]);
  });
});

describe('ours and the options', () => {
  test('what Mesos allocated, removal, restarts and the name are ours, each with a warning', () => {
    const task = taskRequest({ command: { value: 'x' }, resources: { cpus: 1, memMb: 64, ports: [] } });
    const { host, request, warnings, body } = planned({
      task,
      translated: translated(
        {
          CpuShares: 10240,
          Memory: 1e9,
          AutoRemove: true,
          RestartPolicy: { Name: 'always', MaximumRetryCount: 0 },
        },
        { OpenStdin: true, AttachStdin: true, Labels: { 'deimos.root': '/forged', mine: 'x' } },
        { name: 'theirs', platform: 'linux/arm64' },
      ),
    });
    assert.deepEqual(
      [
        host.CpuShares,
        host.Memory,
        host.AutoRemove,
        host.RestartPolicy?.Name,
        body.OpenStdin,
        body.AttachStdin,
      ],
      [1024, 64 * 1024 * 1024, false, 'no', false, false],
    );
    assert.deepEqual(request.query, { name: 'deimos-c-1', platform: 'linux/arm64' });
    assert.deepEqual(body.Labels, { 'deimos.container': 'c-1', 'deimos.root': '/tmp/deimos', mine: 'x' });
    assert.deepEqual(planned({ bootId: 'b-1' }).body.Labels, {
      'deimos.container': 'c-1',
      'deimos.root': '/tmp/deimos',
      'deimos.boot': 'b-1',
    });
    assert.equal(warnings.length, 6, warnings.join('\n'));
  });

  test('what Mesos did not allocate is the options', () => {
    const { host, warnings } = planned({
      translated: translated({ CpuShares: 10240, CapAdd: ['NET_ADMIN'] }),
    });
    assert.deepEqual([host.CpuShares, host.CapAdd, warnings], [10240, ['NET_ADMIN'], []]);
  });

  test('the log is local and bounded unless somebody chose', () => {
    const log = (chosen?: HostConfig['LogConfig']) =>
      planned(chosen === undefined ? {} : { translated: translated({ LogConfig: chosen }) }).host.LogConfig;
    const half = String(DEFAULT_CONFIG.containers.logSizeBytes / 2);
    assert.deepEqual(log(), { Type: 'local', Config: { 'max-size': half, 'max-file': '2' } });
    assert.equal(log({ Type: '', Config: {} })?.Type, 'local');
    assert.deepEqual(log({ Type: 'syslog', Config: {} }), { Type: 'syslog', Config: {} });
    assert.deepEqual(log({ Type: '', Config: { tag: 'x' } }), { Type: '', Config: { tag: 'x' } });
  });

  test("-e of the options is merged, a variable of the image's taken away stays away", () => {
    const { body } = planned({ translated: translated({}, { Env: ['A=1', 'GONE'] }) });
    assert.ok(body.Env?.includes('A=1'));
    assert.ok(body.Env?.includes('GONE'));
  });

  test("a user is the options', else the one given", () => {
    assert.equal(planned({ user: '7:7' }).body.User, '7:7');
    assert.equal(planned({ user: '7:7', translated: translated({}, { User: 'web' }) }).body.User, 'web');
    assert.equal(planned().body.User, undefined);
  });

  test('a refused variable refuses the plan', () => {
    const task = taskRequest({ command: { value: 'x', environment: [['A=B', '']] } });
    assert.ok(!plan(input({ task })).ok);
  });
});

describe('as a docker run line', () => {
  test('what was planned stands there, values of variables do not', () => {
    const task = taskRequest({
      command: { value: "echo 'it is'", environment: [['SECRET', 'hunter2']] },
      resources: { cpus: 1, memMb: 64, ports: [{ begin: 31000, end: 31000 }] },
    });
    const { request } = planned({
      task,
      translated: translated({ Binds: ['/etc:/e:ro'], Privileged: true }),
    });
    const { line, notShown } = dockerRunLine(request);
    assert.match(line, /^docker run --detach --name deimos-c-1 /);
    for (const part of [
      '-e SECRET=***',
      '-v /etc:/e:ro',
      '--privileged',
      '--cpu-shares 1024',
      '-p 31000:31000/tcp',
      '--mount type=bind,source=/sandbox/fs,target=/tmp/mesos-sandbox',
      '--log-driver local',
    ]) {
      assert.ok(line.includes(part) || line.includes(part.replace(/(\S+\*\*\*)/, "'$1'")), part);
    }
    assert.ok(line.endsWith(`app:1 sh -c 'echo '\\''it is'\\'''`), line);
    assert.doesNotMatch(line, /hunter2/);
    assert.deepEqual(notShown, []);
  });

  test('what has no option is named', () => {
    const request = {
      query: {},
      body: { Image: 'app:1', HostConfig: { BlkioDeviceReadBps: [{ Path: '/x' }] } },
    };
    assert.deepEqual(dockerRunLine(request).notShown, ['HostConfig.BlkioDeviceReadBps']);
  });

  test('what a body has in the place of a word is shown as JSON', () => {
    const body = {
      Image: 'app:1',
      User: { toString: 1 },
      HostConfig: { CpusetCpus: { a: 1 }, CapAdd: [['b']] },
    };
    const { line } = dockerRunLine({ query: {}, body });
    assert.equal(
      line,
      `docker run --detach --user '{"toString":1}' --cpuset-cpus '{"a":1}' --cap-add '["b"]' app:1`,
    );
  });

  test('what a terminal would obey is spelled as bash spells it, and means the same to bash', () => {
    for (const word of [
      "a\nb\r'c\\d",
      '\x1b]0;title\x07\x7f',
      'C1 \u009b31m',
      'turned \u202etxt.exe\u2066 \u200f\u061c',
      'a\u2028b\u2029',
    ]) {
      const quoted = quote(word);
      assert.match(quoted, /^[\x20-\x7e]+$/);
      const { stdout } = spawnSync('bash', ['-c', `printf %s ${quoted}`], { env: { LC_ALL: 'C.UTF-8' } });
      assert.equal(stdout.toString(), word);
    }
  });

  test('words are quoted only where a shell would change them', () => {
    assert.deepEqual(['a=b', '', '$x', "it's", '-v', 'a b'].map(quote), [
      'a=b',
      "''",
      "'$x'",
      `'it'\\''s'`,
      '-v',
      "'a b'",
    ]);
  });
});

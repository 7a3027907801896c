import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DEFAULT_CONFIG, type Policy } from '../../../src/config/schema.ts';
import type { CreateBody, HostConfig } from '../../../src/container/create-request.ts';
import { isRestricting, judge, pathsToResolve } from '../../../src/container/policy.ts';
import { isImageAllowed } from '../../../src/container/policy-images.ts';
import type { Translated } from '../../../src/container/policy-options.ts';

const STRICT: Policy = {
  ...{ privileged: false, hostNetwork: false, hostPid: false, hostIpc: false, hostUts: false },
  ...{ devices: false, capabilities: ['NET_ADMIN'], volumes: ['/srv'], images: ['app'], options: [] },
};

const input = (policy: Policy, host: HostConfig, links: Readonly<Record<string, string>> = {}) => ({
  policy,
  request: { query: {}, body: { Image: 'app:1', HostConfig: host } },
  operator: undefined as CreateBody | undefined,
  words: undefined as { all: Translated; granted: Translated } | undefined,
  sandbox: '/sandbox',
  resolved: new Map(Object.entries(links)),
});
const why = (policy: Partial<Policy>, host: HostConfig, links?: Readonly<Record<string, string>>) => {
  const answer = judge(input({ ...DEFAULT_CONFIG.policy, ...policy }, host, links));
  return answer.ok ? undefined : answer.why;
};

test('without rules nothing is refused and nothing changed', () => {
  const host = { Privileged: true, CapAdd: ['ALL'], Binds: ['/:/x'], PidMode: 'host', Unheard: { of: true } };
  const asked = input(DEFAULT_CONFIG.policy, host);
  assert.equal(isRestricting(DEFAULT_CONFIG.policy), false);
  assert.deepEqual(judge(asked), { ok: true, request: asked.request });
  assert.deepEqual(pathsToResolve(asked), []);
});

test('every rule by itself restricts', () => {
  for (const [key, value] of Object.entries(STRICT))
    assert.ok(isRestricting({ ...DEFAULT_CONFIG.policy, [key]: value }), key);
});

describe('what each rule refuses', () => {
  const table: readonly (readonly [rule: string, policy: Partial<Policy>, host: HostConfig, what: string])[] =
    [
      ['privileged: false', { privileged: false }, { Privileged: true }, '--privileged'],
      [
        'privileged: false',
        { privileged: false },
        { SecurityOpt: ['seccomp={"a":1}'] },
        '--security-opt seccomp=…',
      ],
      [
        'privileged: false',
        { privileged: false },
        { SecurityOpt: [], MaskedPaths: [] },
        '--security-opt systempaths',
      ],
      ['privileged: false', { privileged: false }, { ReadonlyPaths: [] }, '--security-opt systempaths'],
      ['privileged: false', { privileged: false }, { UsernsMode: 'host' }, '--userns host'],
      ['capabilities: none', { capabilities: [] }, { CapAdd: ['CAP_CHOWN'] }, 'capability CHOWN'],
      ['capabilities: A, B', { capabilities: ['A', 'B'] }, { CapAdd: ['A', 'all'] }, 'capability ALL'],
      [
        'capabilities: A',
        { capabilities: ['A'] },
        { Privileged: true },
        '--privileged, which is every capability',
      ],
      ['host_network: false', { hostNetwork: false }, { NetworkMode: 'host' }, 'network host'],
      ['host_network: false', { hostNetwork: false }, { NetworkMode: 'container:x' }, 'network container:x'],
      ['host_pid: false', { hostPid: false }, { PidMode: 'host' }, '--pid host'],
      ['host_ipc: false', { hostIpc: false }, { IpcMode: 'container:x' }, '--ipc container:x'],
      ['host_uts: false', { hostUts: false }, { UTSMode: 'host' }, '--uts host'],
      ['host_pid: false', { hostPid: false }, { PidMode: 'of a later\nDocker' }, '--pid of a later\\nDocker'],
      ['devices: false', { devices: false }, { Devices: [{ PathOnHost: '/dev/null' }] }, '--device'],
      ['devices: false', { devices: false }, { DeviceCgroupRules: ['a'] }, '--device-cgroup-rule'],
      ['devices: false', { devices: false }, { DeviceRequests: [{}] }, '--gpus or a device of a driver'],
      ['devices: false', { devices: false }, { Privileged: true }, '--privileged, which is every device'],
      ['volumes: /srv', { volumes: ['/srv'] }, { Binds: ['/srvx:/x'] }, 'host path /srvx'],
      ['volumes: none', { volumes: [] }, { Binds: ['/:/x'] }, 'host path /'],
      [
        'volumes: /srv',
        { volumes: ['/srv'] },
        { Mounts: [{ Type: 'bind', Source: '/etc', Target: '/x' }] },
        'host path /etc',
      ],
      [
        'volumes: /srv',
        { volumes: ['/srv'] },
        { VolumesFrom: ['x'] },
        "--volumes-from, which is another container's",
      ],
      ['volumes: /srv', { volumes: ['/srv'] }, { VolumeDriver: 'x' }, 'volume driver x'],
      [
        'volumes: /srv',
        { volumes: ['/srv'] },
        {
          Mounts: [
            { Type: 'volume', Target: '/x', VolumeOptions: { DriverConfig: { Options: { device: '/' } } } },
          ],
        },
        'volume-opt of a local volume',
      ],
      [
        'volumes: /srv',
        { volumes: ['/srv'] },
        { Mounts: [{ Type: 'cluster', Target: '/x' }] },
        'a mount of type cluster',
      ],
    ];
  for (const [rule, policy, host, what] of table)
    test(`${rule}: ${JSON.stringify(host)}`, () =>
      assert.equal(why(policy, host), `not allowed on this host: ${what} ([policy] ${rule})`));
});

test('what Docker has for nothing said, and what keeps a container in, is no breach', () => {
  const host: HostConfig = {
    ...{
      Privileged: false,
      CapAdd: null,
      CapDrop: ['ALL'],
      NetworkMode: 'default',
      PidMode: '',
      UTSMode: '',
    },
    ...{ IpcMode: 'private', Devices: [], DeviceCgroupRules: null, DeviceRequests: null, Binds: null },
    ...{ SecurityOpt: ['no-new-privileges'], MaskedPaths: null, ReadonlyPaths: null, VolumeDriver: '' },
    ...{ VolumesFrom: null, UsernsMode: '', Tmpfs: { '/x': '' } },
  };
  assert.equal(why(STRICT, host), undefined);
});

test('an allowed path is one behind its links, as are the paths that allow it; Docker gets what was looked at', () => {
  const links = { '/srv': '/mnt/srv', '/srv/a': '/mnt/srv/a', '/a:b': '/mnt/srv/c', '/srv/out': '/etc' };
  const policy = { ...DEFAULT_CONFIG.policy, volumes: ['/srv'] };
  const asked = input(
    policy,
    {
      Binds: ['/srv/a:/x:ro', 'name:/y'],
      Mounts: [
        { Type: 'bind', Source: '/a:b', Target: '/z' },
        { Type: 'volume', Source: '/srv', Target: '/w' },
        { Type: 'bind', Source: '/sandbox/fs', Target: '/s' },
      ],
    },
    links,
  );
  const answer = judge(asked);
  assert.ok(answer.ok);
  assert.deepEqual(answer.request.body.HostConfig, {
    Binds: ['/mnt/srv/a:/x:ro', 'name:/y'],
    Mounts: [
      { Type: 'bind', Source: '/mnt/srv/c', Target: '/z' },
      { Type: 'volume', Source: '/srv', Target: '/w' },
      { Type: 'bind', Source: '/sandbox/fs', Target: '/s' },
    ],
  });
  assert.deepEqual(pathsToResolve(asked), ['/srv/a', '/a:b', '/srv', '/sandbox/fs', '/sandbox']);
  assert.equal(
    why(policy, { Binds: ['/srv/out:/x'] }, links),
    'not allowed on this host: host path /srv/out, which is /etc ([policy] volumes: /srv)',
  );
  assert.equal(
    why(policy, { Binds: ['/srv/colon:/x'] }, { '/srv/colon': '/srv/a:/b' }),
    'not allowed on this host: host path /srv/colon, which has a colon behind its links ([policy] volumes: /srv)',
  );
  // The sandbox's own directory became a link.
  assert.match(
    `${why(policy, { Mounts: [{ Type: 'bind', Source: '/sandbox/fs', Target: '/s' }] }, { '/sandbox/fs': '/etc' })}`,
    /host path \/sandbox\/fs, which is \/etc/,
  );
});

test('volumes of a driver that is allowed, and everything below the root of the host', () => {
  const mount = { Type: 'volume', Source: 'v', Target: '/x', VolumeOptions: { DriverConfig: { Name: 'x' } } };
  assert.equal(why({ volumes: ['driver:x'] }, { VolumeDriver: 'x', Mounts: [mount] }), undefined);
  assert.equal(why({ volumes: ['/'] }, { Binds: ['/etc:/x', '/:/y'] }), undefined);
});

test('a mounted image is an image', () => {
  const host = { Mounts: [{ Type: 'image', Source: 'other:1', Target: '/x' }] };
  assert.equal(
    why({ volumes: [], images: ['app'] }, host),
    'not allowed on this host: image other:1 ([policy] images: app)',
  );
  assert.equal(
    why({ images: ['app'] }, host),
    'not allowed on this host: image other:1 ([policy] images: app)',
  );
});

test('what the operator’s own options say is no task’s, element by element', () => {
  const operator = {
    Image: 'app:1',
    HostConfig: { NetworkMode: 'host', CapAdd: ['SYS_ADMIN'], Binds: ['/etc:/x'], Privileged: false },
  };
  const answer = (host: HostConfig) =>
    judge({ ...input({ ...STRICT, options: undefined as never }, host), operator });
  assert.ok(
    answer({ NetworkMode: 'host', CapAdd: ['SYS_ADMIN', 'NET_ADMIN'], Binds: ['/etc:/x', '/srv/a:/b'] }).ok,
  );
  for (const [host, rule] of [
    [{ NetworkMode: 'container:x' }, 'host_network'],
    [{ CapAdd: ['SYS_ADMIN', 'SYS_PTRACE'] }, 'capabilities'],
    [{ Binds: ['/etc:/x', '/etc:/y'] }, 'volumes'],
    [{ Privileged: true }, 'privileged'],
  ] as const) {
    const found = answer(host);
    assert.match(found.ok ? '' : found.why, new RegExp(`\\[policy\\] ${rule}:`));
  }
});

test('options by what they set, in whatever order; one that nobody knows by its key', () => {
  const translated = (host: HostConfig, body: Partial<CreateBody> = {}): Translated => ({
    request: { query: {}, body: { Image: 'app:1', ...body, HostConfig: { Binds: null, ...host } } },
    pull: 'missing',
  });
  const refused = (options: readonly string[], all: Translated, granted = translated({})) => {
    const policy = { ...DEFAULT_CONFIG.policy, options };
    const answer = judge({ ...input(policy, {}), words: { all, granted } });
    return answer.ok ? undefined : /: (.*) \(\[policy\]/.exec(answer.why)?.[1];
  };
  assert.equal(refused([], translated({})), undefined);
  assert.equal(refused([], translated({ Binds: ['a', 'b'] }), translated({ Binds: ['b', 'a'] })), undefined);
  assert.equal(refused(['env'], translated({ Binds: ['a'] }, { Env: ['A=b'] })), 'option --volume');
  assert.equal(refused(['env', 'volume'], translated({ Binds: ['a'] }, { Env: ['A=b'] })), undefined);
  assert.equal(refused([], translated({ Younger: 1 })), 'what sets HostConfig.Younger');
  assert.equal(refused(['HostConfig.Younger'], translated({ Younger: 1 })), undefined);
  assert.equal(
    refused(['log-opt'], translated({ LogConfig: { Type: 'x', Config: { a: 'b' } } })),
    'option --log-driver',
  );
  const endpoints = (value: Readonly<Record<string, Readonly<Record<string, string>>>>) =>
    translated({}, { NetworkingConfig: { EndpointsConfig: value } });
  assert.equal(refused(['ip'], endpoints({ 'a.b': { Younger: 'x' } })), 'option --network');
  assert.equal(refused(['mac-address'], endpoints({ 'a.b': { MacAddress: 'x' } })), undefined);
  assert.equal(refused(['ip'], { ...translated({}), pull: 'always' }), 'option --pull');
});

test('images: registries and globs, held against the name as Docker completes it', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const table: readonly (readonly [image: string, pattern: string, isAllowed: boolean])[] = [
    ['debian:12', 'debian', true],
    ['debian:12', 'debian:12', true],
    ['debian:13', 'debian:12', false],
    ['debian:latest', 'debian:1*', false],
    ['docker.io/library/debian:12', 'debian', true],
    ['index.docker.io/debian:12', 'debian', true],
    ['evil/debian:12', 'debian', false],
    ['debian.evil.org/debian:12', 'debian', false],
    ['registry.example.com/a/b:1', 'registry.example.com', true],
    ['registry.example.com/a/b:1', 'registry.example.com/*', false],
    ['registry.example.com/a/b:1', 'registry.example.com/**', true],
    ['registry.example.com:5000/a:1', 'registry.example.com', false],
    ['registry.example.com.evil.org/a:1', 'registry.example.com', false],
    ['evil.org/registry.example.com/a:1', '**.example.com/**', true],
    ['evil.org/registry.example.com/a:1', '*.example.com/**', false],
    ['a.example.com/b/c:1', '*.example.com/**', true],
    ['localhost:5000/x:1', 'localhost:5000', true],
    ['localhost/x:1', 'localhost:5000', false],
    ['registry:5000/x:1', 'registry:5000/', true],
    ['team/x:1', 'team/*', true],
    ['other.org/team/x:1', 'team/*', false],
    ['team/x/y:1', 'team/*', false],
    ['team/xy:1', 'team/x?', true],
    ['x:1', 'docker.io', true],
    ['x:1', '**', true],
    [`debian:12@${digest}`, 'debian:12', false],
    [`debian:12@${digest}`, 'debian', true],
    [`debian@${digest}`, `debian@${digest}`, true],
    [`debian@${digest}`, `debian@sha256:b*`, false],
    ['sha256:abcdef', '**', false],
    [digest, 'docker.io', false],
  ];
  for (const [image, pattern, isAllowed] of table)
    assert.equal(isImageAllowed(image, [pattern]), isAllowed, `${image} by ${pattern}`);
  assert.equal(isImageAllowed('debian:12', []), false);
});

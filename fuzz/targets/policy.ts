// The operator's policy against create requests of every shape: what is let through asks for nothing of the host that the rules
// do not allow, looked at here a second time; to ask for more never helps; and an image is the same under all of its names.

import assert from 'node:assert/strict';
import { DEFAULT_CONFIG, type Policy } from '../../src/config/schema.ts';
import type { HostConfig, Json, Mount } from '../../src/container/create-request.ts';
import { isRestricting, judge, pathsToResolve } from '../../src/container/policy.ts';
import { isImageAllowed, isImagePattern } from '../../src/container/policy-images.ts';
import { Choices } from '../engine/choices.ts';
import type { Random } from '../engine/random.ts';
import { checkShown, type Target } from '../engine/target.ts';

const SANDBOX = '/sandbox';
const RULE =
  /^not allowed on this host: .+ \(\[policy\] (?:privileged|capabilities|host_network|host_pid|host_ipc|host_uts|devices|volumes|images|options): .+\)$/;
const PATHS = [
  '/',
  '/srv',
  '/srv/a',
  '/srvx',
  '/etc',
  '/sandbox',
  '/sandbox/fs',
  '/srv/../etc',
  '/srv/link',
  'name',
  '',
];
const MODES = [
  '',
  'default',
  'host',
  'none',
  'private',
  'shareable',
  'container:x',
  'container:',
  'Host',
  'bridge',
];
const CAPABILITIES = [
  'CHOWN',
  'NET_ADMIN',
  'CAP_NET_ADMIN',
  'net_admin',
  'ALL',
  'CAP_ALL',
  'SYS_ADMIN',
  'x\n',
];
const SECURITY = [
  'no-new-privileges',
  'no-new-privileges:true',
  'seccomp=unconfined',
  'seccomp={}',
  'label=disable',
];
const IMAGES = [
  'a',
  'a:1',
  'team/a',
  'docker.io/a',
  'r.org/a',
  'r.org:5000/team/a',
  'sha256:abc',
  `a@sha256:${'0'.repeat(64)}`,
];
const PATTERNS = [
  'a',
  'a:1',
  'team/*',
  '**',
  '*/a',
  'r.org',
  'r.org/**',
  'r.org:5000/',
  'docker.io',
  'r?org/a',
  '*.org/*',
];

export function target(): Target {
  return {
    dictionary: [],
    maxBytes: 256,
    make: (random) => random.bytes(8 + random.below(120)),
    run(input) {
      const from = new Choices(input);
      checkImages(from);
      const policy = somePolicy(from);
      const host = someHost(from);
      const answer = held(policy, host);
      if (!answer.ok) {
        assert.match(answer.why, RULE);
        checkShown(answer.why);
        const more = { ...host, ...only(someHost(from), (key) => !(key in host)) };
        assert.ok(!held(policy, more).ok, 'to ask for more was of help');
        return;
      }
      if (isRestricting(policy)) checkAllowed(policy, host);
      else assert.deepEqual(answer.request.body.HostConfig, host);
    },
  };
}

function held(policy: Policy, host: HostConfig) {
  const asked = {
    ...{ policy, request: { query: {}, body: { Image: 'a:1', HostConfig: host } }, sandbox: SANDBOX },
    ...{ operator: undefined, words: undefined },
  };
  const resolved = new Map(pathsToResolve(asked).map((path) => [path, leads(path)]));
  return judge({ ...asked, resolved });
}

function leads(path: string): string {
  return path === '/srv/link' || path === '/srv/../etc' ? '/etc' : path;
}

/** Nothing that the rules are about is there but what they allow. */
function checkAllowed(policy: Policy, host: HostConfig): void {
  const is = (key: string): boolean => {
    const value = host[key];
    return Array.isArray(value) ? value.length > 0 : Boolean(value);
  };
  if (!policy.privileged) {
    assert.ok(
      !is('Privileged') && !is('MaskedPaths') && host.MaskedPaths == null && host.UsernsMode !== 'host',
    );
    for (const one of (host.SecurityOpt ?? []) as readonly string[]) assert.match(one, /^no-new-privileges/);
  }
  const { capabilities, volumes } = policy;
  if (capabilities !== undefined && !capabilities.includes('ALL')) {
    assert.ok(!is('Privileged'));
    const added = ((host.CapAdd ?? []) as readonly string[]).map((name) =>
      name.toUpperCase().replace('CAP_', ''),
    );
    assert.ok(added.every((name) => capabilities.includes(name)));
  }
  for (const [allowed, mode] of [
    [policy.hostNetwork, host.NetworkMode],
    [policy.hostPid, host.PidMode],
    [policy.hostIpc, host.IpcMode],
    [policy.hostUts, host.UTSMode],
  ] as const)
    if (!allowed) assert.ok(!/^(?:host$|container:)/.test(String(mode ?? '')), String(mode));
  if (!policy.devices) assert.ok(!['Privileged', 'Devices', 'DeviceCgroupRules', 'DeviceRequests'].some(is));
  if (volumes === undefined) return;
  const isOpen = (path: string): boolean =>
    [...volumes, SANDBOX].some(
      (root) => root === '/' || leads(path) === root || leads(path).startsWith(`${root}/`),
    );
  for (const bind of host.Binds ?? []) {
    const source = bind.slice(0, bind.indexOf(':'));
    assert.ok(!source.startsWith('/') || isOpen(source), bind);
  }
  for (const mount of host.Mounts ?? []) {
    assert.ok(['bind', 'volume', 'tmpfs', 'image'].includes(mount.Type));
    if (mount.Type === 'bind') assert.ok(isOpen(mount.Source ?? ''), mount.Source);
    if (mount.Type === 'volume') assert.doesNotMatch(JSON.stringify(mount), /device|"other"/);
  }
  assert.ok(!is('VolumesFrom') && ['', 'local', undefined].includes(host.VolumeDriver as string | undefined));
}

function checkImages(from: Random): void {
  const image = from.text(IMAGES, 2);
  const patterns = from.several(3, () => from.text(PATTERNS, 2)).filter(isImagePattern);
  const isAllowed = isImageAllowed(image, patterns);
  if (patterns.length === 0) assert.ok(!isAllowed);
  // One more pattern allows no less.
  if (isAllowed) assert.ok(isImageAllowed(image, [...patterns, 'b']));
  if (/^[a-z]+$/.test(image) && !image.startsWith('sha'))
    for (const name of [
      `library/${image}`,
      `docker.io/${image}`,
      `docker.io/library/${image}`,
      `${image}:latest`,
    ])
      assert.equal(isImageAllowed(name, patterns), isAllowed, `${name} by ${patterns}`);
}

function somePolicy(from: Random): Policy {
  const list = (words: readonly string[]): readonly string[] => from.several(3, () => from.pick(words));
  const flag = (): boolean => !from.oneIn(2);
  return {
    ...DEFAULT_CONFIG.policy,
    ...{ privileged: flag(), devices: flag(), hostNetwork: flag(), hostPid: flag() },
    ...{ hostIpc: flag(), hostUts: flag() },
    ...(from.oneIn(2) ? { capabilities: list(['NET_ADMIN', 'CHOWN', 'ALL']) } : {}),
    ...(from.oneIn(2) ? { volumes: list(['/srv', '/srv/a', '/', '/etc/x']) } : {}),
  };
}

function someHost(from: Random): HostConfig {
  const list = (words: readonly string[]): readonly string[] => from.several(3, () => from.pick(words));
  const all: Readonly<Record<string, () => Json>> = {
    Privileged: () => from.oneIn(2),
    CapAdd: () => list(CAPABILITIES),
    SecurityOpt: () => list(SECURITY),
    MaskedPaths: () => (from.oneIn(2) ? null : []),
    UsernsMode: () => from.pick(MODES),
    NetworkMode: () => from.pick(MODES),
    PidMode: () => from.pick(MODES),
    IpcMode: () => from.pick(MODES),
    UTSMode: () => from.pick(MODES),
    Devices: () => from.several(2, () => ({ PathOnHost: '/dev/null' })),
    DeviceCgroupRules: () => (from.oneIn(2) ? null : list(['c 1:3 r'])),
    DeviceRequests: () => from.several(2, () => ({ Count: -1 })),
    Binds: () => (from.oneIn(8) ? null : from.several(3, () => `${from.pick(PATHS)}:/x`)),
    Mounts: () => from.several(3, () => someMount(from)),
    VolumesFrom: () => list(['other']),
    VolumeDriver: () => from.pick(['', 'local', 'other']),
    Younger: () => from.edge(),
  };
  const keys = from.several(8, () => from.pick(Object.keys(all)));
  return Object.fromEntries(keys.map((key) => [key, all[key]?.() ?? null]));
}

function someMount(from: Random): Mount {
  const Type = from.pick(['bind', 'volume', 'tmpfs', 'image', 'npipe', 'BIND', '']);
  const config = from.pick([
    null,
    {},
    { Name: 'other' },
    { Name: 'local', Options: { device: '/' } },
    { Options: {} },
  ]);
  return {
    ...{ Type, Target: '/x', Source: from.pick(PATHS) },
    ...(from.oneIn(2) ? { VolumeOptions: from.oneIn(3) ? null : { DriverConfig: config } } : {}),
  };
}

function only(host: HostConfig, isWanted: (key: string) => boolean): HostConfig {
  return Object.fromEntries(Object.entries(host).filter(([key]) => isWanted(key)));
}

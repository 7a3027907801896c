// Which options of `docker run` a create request shows: not the words that were given but what came of them, so that no
// spelling of an option is another option. Two requests of the same CLI are held against each other. Pure.

import type { CreateBody, CreateRequest, Json } from './create-request.ts';

/** What the docker CLI made of a task's words. */
export interface Translated {
  readonly request: CreateRequest;
  readonly pull: string;
}

/** Something that one request says and another does not. */
export interface Said {
  /** In the request: `HostConfig.Binds`. */
  readonly key: string;
  /** The options that can have said it, by their long names; none: of a CLI that knows more than this file. */
  readonly options: readonly string[];
}

/** Objects of the request whose parts are of different options. `*` stands for any name. */
const TAKEN_APART: readonly string[] = [
  'HostConfig',
  'HostConfig.LogConfig',
  'Healthcheck',
  'NetworkingConfig',
  'NetworkingConfig.EndpointsConfig',
  'NetworkingConfig.EndpointsConfig.*',
  'NetworkingConfig.EndpointsConfig.*.IPAMConfig',
];

/** What only matters to the client that attaches, or is ours whatever the options say. */
const WITHOUT_EFFECT: readonly string[] = [
  ...['AttachStdin', 'AttachStdout', 'AttachStderr', 'StdinOnce'],
  ...['HostConfig.ConsoleSize', 'HostConfig.ContainerIDFile'],
];

const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  Hostname: ['hostname'],
  Domainname: ['domainname'],
  User: ['user'],
  Tty: ['tty'],
  OpenStdin: ['interactive'],
  Env: ['env', 'env-file'],
  Entrypoint: ['entrypoint'],
  Volumes: ['volume'],
  WorkingDir: ['workdir'],
  MacAddress: ['mac-address'],
  Labels: ['label', 'label-file'],
  StopSignal: ['stop-signal'],
  StopTimeout: ['stop-timeout'],
  ExposedPorts: ['expose', 'publish'],
  'Healthcheck.Test': ['health-cmd', 'no-healthcheck'],
  'Healthcheck.Interval': ['health-interval'],
  'Healthcheck.Timeout': ['health-timeout'],
  'Healthcheck.Retries': ['health-retries'],
  'Healthcheck.StartPeriod': ['health-start-period'],
  'Healthcheck.StartInterval': ['health-start-interval'],
  'HostConfig.Annotations': ['annotation'],
  'HostConfig.AutoRemove': ['rm'],
  'HostConfig.Binds': ['volume'],
  'HostConfig.BlkioDeviceReadBps': ['device-read-bps'],
  'HostConfig.BlkioDeviceReadIOps': ['device-read-iops'],
  'HostConfig.BlkioDeviceWriteBps': ['device-write-bps'],
  'HostConfig.BlkioDeviceWriteIOps': ['device-write-iops'],
  'HostConfig.BlkioWeight': ['blkio-weight'],
  'HostConfig.BlkioWeightDevice': ['blkio-weight-device'],
  'HostConfig.CapAdd': ['cap-add'],
  'HostConfig.CapDrop': ['cap-drop'],
  'HostConfig.CgroupParent': ['cgroup-parent'],
  'HostConfig.CgroupnsMode': ['cgroupns'],
  'HostConfig.CpuPeriod': ['cpu-period'],
  'HostConfig.CpuQuota': ['cpu-quota'],
  'HostConfig.CpuRealtimePeriod': ['cpu-rt-period'],
  'HostConfig.CpuRealtimeRuntime': ['cpu-rt-runtime'],
  'HostConfig.CpuShares': ['cpu-shares'],
  'HostConfig.CpusetCpus': ['cpuset-cpus'],
  'HostConfig.CpusetMems': ['cpuset-mems'],
  'HostConfig.DeviceCgroupRules': ['device-cgroup-rule'],
  'HostConfig.DeviceRequests': ['gpus', 'device'],
  'HostConfig.Devices': ['device'],
  'HostConfig.Dns': ['dns'],
  'HostConfig.DnsOptions': ['dns-option'],
  'HostConfig.DnsSearch': ['dns-search'],
  'HostConfig.ExtraHosts': ['add-host'],
  'HostConfig.GroupAdd': ['group-add'],
  'HostConfig.Init': ['init'],
  'HostConfig.IpcMode': ['ipc'],
  'HostConfig.Isolation': ['isolation'],
  'HostConfig.KernelMemory': ['kernel-memory'],
  'HostConfig.Links': ['link'],
  'HostConfig.LogConfig.Type': ['log-driver'],
  'HostConfig.LogConfig.Config': ['log-opt'],
  'HostConfig.MaskedPaths': ['security-opt'],
  'HostConfig.Memory': ['memory'],
  'HostConfig.MemoryReservation': ['memory-reservation'],
  'HostConfig.MemorySwap': ['memory-swap'],
  'HostConfig.MemorySwappiness': ['memory-swappiness'],
  'HostConfig.Mounts': ['mount'],
  'HostConfig.NanoCpus': ['cpus'],
  'HostConfig.NetworkMode': ['network'],
  'HostConfig.OomKillDisable': ['oom-kill-disable'],
  'HostConfig.OomScoreAdj': ['oom-score-adj'],
  'HostConfig.PidMode': ['pid'],
  'HostConfig.PidsLimit': ['pids-limit'],
  'HostConfig.PortBindings': ['publish'],
  'HostConfig.Privileged': ['privileged'],
  'HostConfig.PublishAllPorts': ['publish-all'],
  'HostConfig.ReadonlyPaths': ['security-opt'],
  'HostConfig.ReadonlyRootfs': ['read-only'],
  'HostConfig.RestartPolicy': ['restart'],
  'HostConfig.Runtime': ['runtime'],
  'HostConfig.SecurityOpt': ['security-opt'],
  'HostConfig.ShmSize': ['shm-size'],
  'HostConfig.StorageOpt': ['storage-opt'],
  'HostConfig.Sysctls': ['sysctl'],
  'HostConfig.Tmpfs': ['tmpfs'],
  'HostConfig.UTSMode': ['uts'],
  'HostConfig.Ulimits': ['ulimit'],
  'HostConfig.UsernsMode': ['userns'],
  'HostConfig.VolumeDriver': ['volume-driver'],
  'HostConfig.VolumesFrom': ['volumes-from'],
  'NetworkingConfig.EndpointsConfig.*.Aliases': ['network-alias'],
  'NetworkingConfig.EndpointsConfig.*.IPAMConfig.IPv4Address': ['ip'],
  'NetworkingConfig.EndpointsConfig.*.IPAMConfig.IPv6Address': ['ip6'],
  'NetworkingConfig.EndpointsConfig.*.IPAMConfig.LinkLocalIPs': ['link-local-ip'],
  'NetworkingConfig.EndpointsConfig.*.Links': ['link'],
  'NetworkingConfig.EndpointsConfig.*.MacAddress': ['mac-address'],
};
const OF_THE_QUERY: Readonly<Record<string, readonly string[]>> = { name: ['name'], platform: ['platform'] };
const NETWORK: readonly string[] = ['network'];

/** Other names that the CLI has for some of them. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  ...{ a: 'attach', c: 'cpu-shares', d: 'detach', e: 'env', h: 'hostname', i: 'interactive', l: 'label' },
  ...{ m: 'memory', p: 'publish', P: 'publish-all', q: 'quiet', t: 'tty', u: 'user', v: 'volume' },
  ...{ w: 'workdir', net: 'network', 'net-alias': 'network-alias', 'dns-opt': 'dns-option' },
};

/** The name by which lists and messages have an option: long, without dashes. */
export function optionName(text: string): string {
  const name = text.replace(/^--?/, '');
  return OTHER_NAMES[name] ?? name;
}

/** What `wanted` says beyond `granted`, both of the same CLI. An option that has no effect on a container is not in it. */
export function saidBeyond(wanted: Translated, granted: Translated): readonly Said[] {
  const before = new Map(leaves(granted.request.body));
  const said = leaves(wanted.request.body)
    .filter(([path, value]) => !WITHOUT_EFFECT.includes(path) && before.get(path) !== value)
    .map(([path]) => path);
  const query = Object.entries(wanted.request.query).flatMap(([key, value]) =>
    value === granted.request.query[key as keyof CreateRequest['query']] ? [] : [key],
  );
  return [
    ...said.map((path) => ({ key: path, options: optionsOf(path) })),
    ...query.map((key) => ({ key, options: OF_THE_QUERY[key] ?? [] })),
    ...(wanted.pull === granted.pull ? [] : [{ key: 'pull', options: ['pull'] }]),
  ];
}

function optionsOf(path: string): readonly string[] {
  const pattern = path.replace(/^(NetworkingConfig\.EndpointsConfig)\.[^.]*/, '$1.*');
  const isOfNetwork = pattern.startsWith('NetworkingConfig.');
  return OPTIONS[pattern] ?? (isOfNetwork ? NETWORK : []);
}

/** Each part that an option can have said, its name and its value as text; of a list the order does not count. */
function leaves(body: CreateBody): readonly (readonly [string, string])[] {
  const visit = (path: string, value: Json | undefined): readonly (readonly [string, string])[] => {
    if (value === undefined) return [];
    if (!TAKEN_APART.includes(patternOf(path)) || !isObject(value)) return [[path, textOf(value)]];
    const inside = Object.entries(value).flatMap(([key, one]) =>
      visit(`${path}.${isEndpoint(path) ? encodeURIComponent(key).replaceAll('.', '%2E') : key}`, one),
    );
    // An endpoint of nothing is one all the same.
    return inside.length > 0 ? inside : [[path, textOf(value)]];
  };
  return Object.entries(body).flatMap(([key, value]) => (key === 'Image' ? [] : visit(key, value)));
}

function isEndpoint(path: string): boolean {
  return path === 'NetworkingConfig.EndpointsConfig';
}

function patternOf(path: string): string {
  return path.replace(/^(NetworkingConfig\.EndpointsConfig)\.[^.]*/, '$1.*');
}

function isObject(value: Json): value is { readonly [key: string]: Json | undefined } {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function textOf(value: Json): string {
  if (Array.isArray(value))
    return `[${value
      .map((one) => JSON.stringify(one))
      .sort()
      .join()}]`;
  return JSON.stringify(value);
}

// A create request shown as the `docker run` command line that would ask for the same: for people only, never run.
// Values of environment variables are masked. Pure. What has no place on such a line is named beside it, not dropped.

import { escapedInUnicode, replaceControl } from '../fault.ts';
import type { CreateBody, CreateRequest, HostConfig, Json } from './create-request.ts';

export interface RunLine {
  readonly line: string;
  /** Keys of the body that say something and that the line does not show. */
  readonly notShown: readonly string[];
}

/** Keys that a `docker run` line says by itself, or that only matter to the client that attaches. */
const IMPLIED = new Set(['AttachStdin', 'AttachStdout', 'AttachStderr', 'ConsoleSize', 'NetworkingConfig']);

type Render = (value: Json) => readonly string[];

const each =
  (option: string): Render =>
  (value) =>
    strings(value).flatMap((item) => [option, item]);
const one =
  (option: string): Render =>
  (value) => [option, word(value)];
const flag =
  (option: string): Render =>
  (value) =>
    value === true ? [option] : [];
const pairs =
  (option: string): Render =>
  (value) =>
    entries(value).flatMap(([key, item]) => [option, `${key}=${word(item)}`]);

const HOST: Readonly<Record<string, Render>> = {
  Binds: each('-v'),
  Mounts: (value) => list(value).flatMap((mount) => ['--mount', mountText(mount)]),
  NetworkMode: (value) => (value === 'default' ? [] : ['--network', word(value)]),
  PortBindings: (value) =>
    entries(value).flatMap(([port, hosts]) => list(hosts).flatMap((host) => publish(port, host))),
  PublishAllPorts: flag('-P'),
  CpuShares: one('--cpu-shares'),
  CpuPeriod: one('--cpu-period'),
  CpuQuota: one('--cpu-quota'),
  NanoCpus: (value) => ['--cpus', word(typeof value === 'number' ? value / 1e9 : value)],
  CpusetCpus: one('--cpuset-cpus'),
  CpusetMems: one('--cpuset-mems'),
  Memory: one('--memory'),
  MemoryReservation: one('--memory-reservation'),
  MemorySwap: one('--memory-swap'),
  MemorySwappiness: (value) => (value === -1 ? [] : ['--memory-swappiness', word(value)]),
  PidsLimit: one('--pids-limit'),
  BlkioWeight: one('--blkio-weight'),
  OomScoreAdj: one('--oom-score-adj'),
  OomKillDisable: flag('--oom-kill-disable'),
  ShmSize: one('--shm-size'),
  LogConfig: (value) => {
    const driver = field(value, 'Type');
    return [
      ...(driver ? ['--log-driver', word(driver)] : []),
      ...pairs('--log-opt')(field(value, 'Config') ?? null),
    ];
  },
  AutoRemove: flag('--rm'),
  RestartPolicy: (value) => {
    const name = field(value, 'Name');
    return name === 'no' || name === '' ? [] : ['--restart', word(name)];
  },
  Privileged: flag('--privileged'),
  ReadonlyRootfs: flag('--read-only'),
  Init: flag('--init'),
  CapAdd: each('--cap-add'),
  CapDrop: each('--cap-drop'),
  Dns: each('--dns'),
  DnsOptions: each('--dns-option'),
  DnsSearch: each('--dns-search'),
  ExtraHosts: each('--add-host'),
  GroupAdd: each('--group-add'),
  Links: each('--link'),
  SecurityOpt: each('--security-opt'),
  VolumesFrom: each('--volumes-from'),
  VolumeDriver: one('--volume-driver'),
  Tmpfs: (value) => entries(value).flatMap(([path, how]) => ['--tmpfs', how ? `${path}:${word(how)}` : path]),
  Sysctls: pairs('--sysctl'),
  Ulimits: (value) =>
    list(value).flatMap((one) => [
      '--ulimit',
      `${word(field(one, 'Name'))}=${word(field(one, 'Soft'))}:${word(field(one, 'Hard'))}`,
    ]),
  Runtime: one('--runtime'),
  IpcMode: one('--ipc'),
  PidMode: one('--pid'),
  UTSMode: one('--uts'),
  UsernsMode: one('--userns'),
  CgroupParent: one('--cgroup-parent'),
};

const BODY: Readonly<Record<string, Render>> = {
  Hostname: one('--hostname'),
  Domainname: one('--domainname'),
  MacAddress: one('--mac-address'),
  User: one('--user'),
  WorkingDir: one('--workdir'),
  Tty: flag('--tty'),
  OpenStdin: flag('--interactive'),
  StopSignal: one('--stop-signal'),
  StopTimeout: one('--stop-timeout'),
  Env: (value) => strings(value).flatMap((entry) => ['-e', entry.replace(/=.*$/s, '=***')]),
  Labels: pairs('--label'),
  ExposedPorts: (value) => entries(value).flatMap(([port]) => ['--expose', port]),
  Volumes: (value) => entries(value).flatMap(([path]) => ['-v', path]),
};

export function dockerRunLine(request: CreateRequest): RunLine {
  const { Image, Cmd, Entrypoint, HostConfig, ...rest } = request.body;
  const notShown: string[] = [];
  const words = ['docker', 'run', '--detach'];
  if (request.query.name) words.push('--name', request.query.name);
  if (request.query.platform) words.push('--platform', request.query.platform);
  words.push(...render(rest, BODY, '', notShown));
  words.push(...render(HostConfig ?? {}, HOST, 'HostConfig.', notShown));
  const [program, ...entryArgs] = Entrypoint ?? [];
  if (program !== undefined) words.push('--entrypoint', program);
  words.push(Image, ...entryArgs, ...(Cmd ?? []));
  return { line: words.map(quote).join(' '), notShown };
}

function render(
  object: Omit<CreateBody, 'Image'> | HostConfig,
  table: Readonly<Record<string, Render>>,
  prefix: string,
  notShown: string[],
): string[] {
  return Object.entries(object).flatMap(([key, value]) => {
    if (value === undefined || isEmpty(value) || IMPLIED.has(key)) return [];
    const words = table[key]?.(value);
    if (words === undefined) notShown.push(`${prefix}${key}`);
    return words ?? [];
  });
}

/** One word for a shell, quoted only where it must be; bash's own way of quoting has a spelling for what no terminal may be sent. */
export function quote(word: string): string {
  const escaped = replaceControl(word.replace(/[\\']/g, '\\$&'), (c) =>
    c < '\x80' ? `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}` : escapedInUnicode(c),
  );
  if (replaceControl(word, () => '') !== word) return `$'${escaped}'`;
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** What Docker reads as "not set". */
function isEmpty(value: Json): boolean {
  if (value === null || value === false || value === 0 || value === '') return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

/** As it stands on a line; what is no single word is JSON. */
function word(value: Json | undefined): string {
  return typeof value === 'object' ? JSON.stringify(value) : `${value}`;
}

function list(value: Json): readonly Json[] {
  return Array.isArray(value) ? value : [];
}

function strings(value: Json): readonly string[] {
  return list(value).map(word);
}

function entries(value: Json): readonly (readonly [string, Json])[] {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return [];
  return Object.entries(value).map(([key, item]) => [key, item ?? null]);
}

function field(value: Json, key: string): Json | undefined {
  return entries(value).find(([name]) => name === key)?.[1];
}

function publish(port: string, binding: Json): readonly string[] {
  const ip = field(binding, 'HostIp');
  const hostPort = field(binding, 'HostPort');
  return ['-p', `${ip ? `${word(ip)}:` : ''}${word(hostPort ?? '')}:${port}`];
}

function mountText(mount: Json): string {
  const parts = [`type=${word(field(mount, 'Type'))}`];
  const source = field(mount, 'Source');
  if (source) parts.push(`source=${word(source)}`);
  parts.push(`target=${word(field(mount, 'Target'))}`);
  if (field(mount, 'ReadOnly') === true) parts.push('readonly');
  return parts.join(',');
}

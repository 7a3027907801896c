// The verbs' records as the rest of Deimos sees them: one TaskRequest whatever the Mesos version that sent the Launch,
// and the small records in and out. Everything that comes from the wire is checked here and nowhere later:
// what is wrong is a Fault 'protocol' that names the field. Pure.

import { HEALTH_DEFAULTS } from '../container/health.ts';
import { type MesosContainerId, mesosContainerId } from '../container/identity.ts';
import { LARGEST_PORT } from '../container/ports.ts';
import type {
  Command,
  HealthCheck,
  NewContainer,
  OldContainer,
  PortMapping,
  PortRange,
  Resources,
  TaskRequest,
  Volume,
} from '../container/task.ts';
import { Fault } from '../fault.ts';
import { decode, encode, type Infer, type Input } from './codec.ts';
import {
  type CommandInfo,
  type ContainerInfo,
  Containers,
  ContainerType,
  Destroy,
  type DockerVolume,
  type DurationInfo,
  type HealthCheck as HealthCheckInfo,
  Launch,
  Network,
  type OldHealthCheck,
  type Parameter,
  type Reason,
  type Resource,
  ResourceStatistics,
  type TaskState,
  Termination,
  Update,
  Usage,
  VolumeMode,
  VolumeSourceType,
  Wait,
} from './messages.ts';

const NANOSECONDS_PER_MS = 1e6;

/** What the slave says in launch's environment, for records that leave it out. */
/** Number of Launch.task_info, for whoever needs its bytes as they came. */
export const LAUNCH_TASK_INFO = Launch.fields.task_info[0];

export interface LaunchDefaults {
  readonly frameworkId?: string;
  readonly executorId?: string;
  readonly slaveId?: string;
  readonly slavePid?: string;
}

/**
 * The task of a Launch record. Ids that neither the record nor `defaults` name are '' (slaves always send them, people
 * who call launch by hand do not): such a task can run, but not be registered. Fault 'protocol' naming the field.
 */
export function decodeLaunch(record: Uint8Array, defaults: LaunchDefaults = {}): TaskRequest {
  const launch = decode(Launch, record);
  const containerId = checkedContainerId('Launch', launch.container_id);
  const sandbox = launch.directory ?? '';
  if (sandbox === '') throw malformed('Launch.directory', 'is missing');
  if (!sandbox.startsWith('/')) throw malformed('Launch.directory', 'is not an absolute path');

  const task = launch.task_info;
  const executor = launch.executor_info;
  const work = task ?? executor;
  if (work === undefined) throw malformed('Launch', 'has neither task_info nor executor_info');
  const where = task === undefined ? 'Launch.executor_info' : 'Launch.task_info';

  const taskId = task?.task_id?.value;
  if (task !== undefined && !taskId) throw malformed('Launch.task_info.task_id', 'is missing');
  const executorId = executor?.executor_id?.value || defaults.executorId || taskId || '';
  return compact<TaskRequest>({
    kind: task === undefined ? 'executor' : 'command',
    containerId,
    frameworkId: executor?.framework_id?.value || defaults.frameworkId || '',
    executorId,
    taskId,
    name: work.name || executorId,
    sandbox,
    user: launch.user || undefined,
    slaveId: launch.slave_id?.value || task?.slave_id?.value || defaults.slaveId || '',
    slavePid: launch.slave_pid || defaults.slavePid || undefined,
    checkpoint: launch.checkpoint ?? false,
    command: commandOf(work.command),
    container: containerOf(work.container, work.command, where),
    resources: resourcesOf(work.resources, where),
    healthCheck: task && taskHealthCheck(task),
    killGraceMs: milliseconds(task?.kill_policy?.grace_period),
    shutdownGraceMs: milliseconds(executor?.shutdown_grace_period),
  });
}

/** The container and its new limits. Fault 'protocol' as with Launch. */
export function decodeUpdate(record: Uint8Array): { containerId: MesosContainerId; resources: Resources } {
  const update = decode(Update, record);
  return {
    containerId: checkedContainerId('Update', update.container_id),
    resources: resourcesOf(update.resources, 'Update'),
  };
}

const BY_VERB = { wait: Wait, destroy: Destroy, usage: Usage } as const;

/** The container that the record of `verb` names. Fault 'protocol' if it names none that can be one. */
export function decodeContainerId(verb: keyof typeof BY_VERB, record: Uint8Array): MesosContainerId {
  const type = BY_VERB[verb];
  return checkedContainerId(type.name, decode(type, record).container_id);
}

export interface Ending {
  /** Left out where the slave itself is to decide: an executor that simply ended. */
  readonly state?: TaskState;
  readonly message: string;
  /** As waitpid(2) gives it: the exit code × 256, or a signal's number. Left out where nothing ever ran. */
  readonly status?: number;
  /** A resource limit had to be enforced (out of memory); nothing else. */
  readonly killed: boolean;
  readonly reasons: readonly Reason[];
}

/** `wait`'s answer, readable for slaves of every version. */
export function encodeTermination(ending: Ending): Buffer {
  return encode(Termination, ending);
}

export function encodeContainers(ids: readonly MesosContainerId[]): Buffer {
  return encode(Containers, { containers: ids.map((value) => ({ value })) });
}

/** `timestamp` in seconds since the epoch; it is the one field that slaves require. */
export function encodeResourceStatistics(
  statistics: Input<typeof ResourceStatistics> & { readonly timestamp: number },
): Buffer {
  return encode(ResourceStatistics, statistics);
}

function malformed(field: string, what: string): Fault {
  return new Fault('protocol', `${field} ${what}`);
}

/** Without the properties that are undefined: a TaskRequest is kept as JSON, where they cannot be. */
function compact<T>(value: { [K in keyof T]: T[K] | (undefined extends T[K] ? undefined : never) }): T {
  // What is left has no undefined values, which is all that separates the two types.
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T;
}

function checkedContainerId(type: string, sent: { readonly value?: string } | undefined): MesosContainerId {
  if (!sent?.value) throw malformed(`${type}.container_id`, 'is missing');
  const id = mesosContainerId(sent.value);
  if (id === undefined) {
    throw malformed(
      `${type}.container_id`,
      `is not a usable name: ${JSON.stringify(sent.value.slice(0, 80))}`,
    );
  }
  return id;
}

function milliseconds(duration: Infer<typeof DurationInfo> | undefined): number | undefined {
  if (duration?.nanoseconds === undefined) return undefined;
  return Math.max(0, Math.round(duration.nanoseconds / NANOSECONDS_PER_MS));
}

function commandOf(info: CommandInfo | undefined): Command {
  return compact<Command>({
    value: info?.value || undefined,
    shell: info?.shell ?? true,
    arguments: info?.arguments ?? [],
    environment: (info?.environment?.variables ?? []).map(
      ({ name, value }) => [name ?? '', value ?? ''] as const,
    ),
    uris: (info?.uris ?? []).map((uri) =>
      compact<Command['uris'][number]>({
        value: uri.value ?? '',
        executable: uri.executable ?? false,
        extract: uri.extract ?? true,
        cache: uri.cache ?? false,
        outputFile: uri.output_file || undefined,
      }),
    ),
    user: info?.user || undefined,
  });
}

/** Where a record has both forms, the new one is meant: the old one is then there for older slaves. */
function containerOf(
  info: ContainerInfo | undefined,
  command: CommandInfo | undefined,
  where: string,
): OldContainer | NewContainer | undefined {
  if (info !== undefined) return newContainer(info, `${where}.container`);
  const old = command?.container;
  if (old === undefined) return undefined;
  return compact<OldContainer>({ form: 'old', image: old.image || undefined, options: old.options });
}

function newContainer(info: ContainerInfo, where: string): NewContainer {
  const docker = info.docker;
  const network = nameOf(Network, docker?.network ?? Network.HOST);
  return compact<NewContainer>({
    form: 'new',
    type: nameOf(ContainerType, info.type) ?? 'unknown',
    image: docker?.image || undefined,
    // What is not known must not fall back to the host's network, the most powerful there is.
    network: network ?? 'NONE',
    networkName: info.network_infos.find(({ name }) => name)?.name,
    unusable: whyUnusable(info),
    portMappings: (docker?.port_mappings ?? []).map((mapping, i) =>
      compact<PortMapping>({
        hostPort: present(mapping.host_port, `${where}.docker.port_mappings[${i}].host_port`),
        containerPort: present(mapping.container_port, `${where}.docker.port_mappings[${i}].container_port`),
        protocol: mapping.protocol || undefined,
      }),
    ),
    privileged: docker?.privileged ?? false,
    parameters: pairs(docker?.parameters),
    forcePull: docker?.force_pull_image ?? false,
    volumeDriver: docker?.volume_driver || undefined,
    volumes: info.volumes.map((volume, i) => volumeOf(volume, `${where}.volumes[${i}]`)),
    hostname: info.hostname || undefined,
  });
}

/** What decodes well and cannot be run is no malformed record: the task is to fail with these words, not the launch. */
function whyUnusable(info: ContainerInfo): string | undefined {
  const { docker } = info;
  if (info.type !== ContainerType.DOCKER) return undefined;
  if (docker === undefined) return 'the container has type DOCKER and no DockerInfo';
  const network = nameOf(Network, docker.network ?? Network.HOST);
  if (network === undefined) return `network ${docker.network} of the container is not known here`;
  const names = info.network_infos.flatMap(({ name }) => name || []);
  if (network === 'USER' && names.length > 1)
    return `a container has one network, not several: ${names.join(', ')}`;
  const strange = info.volumes.find((volume) => sourceOf(volume) === 'unknown');
  return strange && `the source of the volume at ${strange.container_path} is of a type not known here`;
}

function nameOf<T extends Readonly<Record<string, number>>>(
  names: T,
  value: number | undefined,
): keyof T | undefined {
  return Object.keys(names).find((name) => names[name] === value);
}

type VolumeInfo = ContainerInfo['volumes'][number];

/** A path of the host goes before a source, as in Mesos. */
function sourceOf({ host_path, source }: VolumeInfo): Infer<typeof DockerVolume> | 'unknown' | undefined {
  if (host_path || source === undefined) return undefined;
  return source.type === VolumeSourceType.DOCKER_VOLUME ? (source.docker_volume ?? {}) : 'unknown';
}

function volumeOf(volume: VolumeInfo, field: string): Volume {
  if (!volume.container_path) throw malformed(`${field}.container_path`, 'is missing');
  const sourced = sourceOf(volume);
  const source = sourced === 'unknown' ? undefined : sourced;
  if (source !== undefined && !source.name)
    throw malformed(`${field}.source.docker_volume.name`, 'is missing');
  const mode = nameOf(VolumeMode, volume.mode ?? VolumeMode.RW);
  if (mode === undefined) throw malformed(`${field}.mode`, `is unknown: ${volume.mode}`);
  return compact<Volume>({
    containerPath: volume.container_path,
    hostPath: volume.host_path || undefined,
    mode,
    dockerVolume:
      source &&
      compact<NonNullable<Volume['dockerVolume']>>({
        driver: source.driver || undefined,
        name: source.name ?? '',
        driverOptions: pairs(source.driver_options?.parameter),
      }),
  });
}

function pairs(parameters: readonly Infer<typeof Parameter>[] = []): readonly (readonly [string, string])[] {
  return parameters.map(({ key, value }) => [key ?? '', value ?? ''] as const);
}

function present(value: number | undefined, field: string): number {
  if (value === undefined) throw malformed(field, 'is missing');
  return value;
}

function port(sent: number | undefined, field: string): number {
  const value = present(sent, field);
  if (value > LARGEST_PORT) throw malformed(field, `is not a port: ${value}`);
  return value;
}

function resourcesOf(resources: readonly Resource[], where: string): Resources {
  let cpus: number | undefined;
  let memMb: number | undefined;
  const ports: PortRange[] = [];
  for (const [i, resource] of resources.entries()) {
    const field = `${where}.resources[${i}] (${resource.name ?? 'no name'})`;
    if (resource.name === 'cpus') cpus = sum(cpus, resource, field);
    else if (resource.name === 'mem') memMb = sum(memMb, resource, field);
    else if (resource.name === 'ports') {
      for (const range of resource.ranges?.range ?? []) {
        const begin = port(range.begin, `${field}.begin`);
        const end = port(range.end, `${field}.end`);
        if (begin > end) throw malformed(field, `begins after its end: ${begin}-${end}`);
        ports.push({ begin, end });
      }
    }
  }
  return compact<Resources>({ cpus, memMb, ports });
}

/** A resource comes once for each role; a container gets them all. */
function sum(sofar: number | undefined, resource: Resource, field: string): number | undefined {
  const value = resource.scalar?.value;
  if (value === undefined) return sofar;
  return notNegative((sofar ?? 0) + notNegative(value, field), field);
}

function notNegative(value: number, field: string): number {
  if (!Number.isFinite(value) || value < 0) throw malformed(field, `is not a usable number: ${value}`);
  return value;
}

/**
 * Numbers that make no sense are kept: a task is not refused for its health check, container/health.ts says what becomes
 * of it.
 */
function taskHealthCheck(task: NonNullable<Launch['task_info']>): HealthCheck | undefined {
  const old = task.command?.health_check;
  if (task.health_check) return healthCheckOf(task.health_check);
  return old && oldHealthCheckOf(old);
}

/** What a record leaves out has the default that mesos.proto gives it. */
function healthCheckOf(info: HealthCheckInfo): HealthCheck {
  return compact<HealthCheck>({
    ...commonChecks(info),
    command: info.command && commandOf(info.command),
    consecutiveFailures: info.consecutive_failures ?? HEALTH_DEFAULTS.consecutiveFailures,
    gracePeriodSeconds: seconds(info.grace_period_seconds, HEALTH_DEFAULTS.gracePeriodSeconds),
  });
}

/** That of 0.19: no command, no grace period. */
function oldHealthCheckOf(info: OldHealthCheck): HealthCheck {
  return compact<HealthCheck>({
    ...commonChecks(info),
    consecutiveFailures: info.failures ?? HEALTH_DEFAULTS.consecutiveFailures,
    gracePeriodSeconds: 0,
  });
}

function commonChecks(info: HealthCheckInfo | OldHealthCheck) {
  return {
    http: info.http && {
      port: info.http.port ?? 0,
      path: info.http.path || '/',
      statuses: info.http.statuses,
    },
    delaySeconds: seconds(info.delay_seconds, HEALTH_DEFAULTS.delaySeconds),
    intervalSeconds: seconds(info.interval_seconds, HEALTH_DEFAULTS.intervalSeconds),
    timeoutSeconds: seconds(info.timeout_seconds, HEALTH_DEFAULTS.timeoutSeconds),
  };
}

function seconds(value: number | undefined, standard: number): number | null {
  if (value === undefined) return standard;
  return Number.isFinite(value) ? value : null;
}

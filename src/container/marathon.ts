// A Marathon app definition (0.5 – 1.1) as the task that Marathon would make of it and a slave hand to launch: for
// `deimos plan`. Pure. Whatever only an offer, a slave or Marathon itself decides is assumed, and named as such.
// A field that is unknown or has the wrong type is refused: a plan that left it out would be a lie.

import type { MesosContainerId } from './identity.ts';
import { JsonFields, wrong } from './json-fields.ts';
import { appContainer } from './marathon-container.ts';
import { appPorts } from './marathon-ports.ts';
import type { Command, HealthCheck, PortRange, TaskRequest, Uri } from './task.ts';

/** What the app does not say. */
export interface Assumed {
  readonly containerId: MesosContainerId;
  readonly sandbox: string;
  /** The slave's name: HOST. */
  readonly host: string;
  /** From which ports are assigned. */
  readonly offer: PortRange;
  /** ISO time: MARATHON_APP_VERSION, where the app has none. */
  readonly now: string;
}

export interface MarathonTask {
  readonly task: TaskRequest;
  /** Ports taken from the assumed offer. */
  readonly assignedPorts: readonly number[];
}

type Variables = readonly (readonly [name: string, value: string])[];

const DEFAULT_CPUS = 1;
const DEFAULT_MEM_MB = 128;
const DEFAULT_CHECK = { grace: 300, interval: 60, timeout: 20, failures: 3 } as const;
/** What Mesos waits before the first check where Marathon says nothing. */
const CHECK_DELAY_SECONDS = 15;
/** Labels longer than this are no variables. */
const VARIABLE_CHARS_MAX = 512;
const ARCHIVE = /\.(?:tgz|tar\.gz|tbz2|tar\.bz2|txz|tar\.xz|zip)$/;
const SECONDS = { min: 0 } as const;

/** Where, when and how often it runs, and what Marathon's own API adds to an answer: nothing that a container has. */
const NOT_THE_TASKS = [
  ...['acceptedResourceRoles', 'backoffFactor', 'backoffSeconds', 'constraints', 'dependencies', 'instances'],
  ...[
    'maxLaunchDelaySeconds',
    'readinessChecks',
    'upgradeStrategy',
    'deployments',
    'lastTaskFailure',
    'taskStats',
  ],
  ...[
    'tasks',
    'tasksHealthy',
    'tasksRunning',
    'tasksStaged',
    'tasksUnhealthy',
    'versionInfo',
    'readinessCheckResults',
  ],
];

/** The task of the app in `text`. Fault `protocol` naming the place of what is wrong; `refused` for what is no single app. */
export function marathonTask(text: string, assumed: Assumed): MarathonTask {
  const app = appOf(parse(text));
  const id = appId(app);
  const taskId = `${id.slice(1).replaceAll('/', '_')}.planned`;
  const docker = app.object('container')?.object('docker');
  const ports = appPorts(app, docker, assumed.offer);
  const container = appContainer(app, ports);
  const cpus = app.number('cpus', { min: 0 }) ?? DEFAULT_CPUS;
  const memMb = app.number('mem', { min: 0 }) ?? DEFAULT_MEM_MB;
  const environment = [
    ...contextVariables(app, { id, taskId, cpus, memMb, image: docker?.string('image'), now: assumed.now }),
    ...ports.variables,
    ['HOST', assumed.host] as const,
    ...app.texts('env'),
  ];
  const command = commandOf(app, environment);
  const healthCheck = healthCheckOf(app);
  const killGrace = app.number('taskKillGracePeriodSeconds', SECONDS);
  refuseOthers(app);
  app.pass(...NOT_THE_TASKS);
  app.end();
  const task: TaskRequest = {
    kind: 'command',
    containerId: assumed.containerId,
    frameworkId: 'marathon',
    executorId: taskId,
    taskId,
    name: id.slice(1).split('/').reverse().join('.'),
    sandbox: assumed.sandbox,
    user: command.user ?? 'root',
    slaveId: 'planned',
    checkpoint: true,
    command,
    ...(container === undefined ? {} : { container }),
    resources: { cpus, memMb, ports: ports.ranges },
    ...(healthCheck === undefined ? {} : { healthCheck }),
    ...(killGrace === undefined ? {} : { killGraceMs: killGrace * 1000 }),
  };
  return { task, assignedPorts: ports.assigned };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    // The engine's own words may quote the text, and with it a value of the environment.
    const [, place] = /at position \d+ \((line \d+ column \d+)\)/.exec(error.message) ?? [];
    throw wrong('', place === undefined ? 'cannot be read' : `cannot be read: ${place}`);
  }
}

/** The app itself, or what Marathon's API answers about one. What holds several is refused. */
function appOf(value: unknown): JsonFields {
  if (Array.isArray(value)) throw wrong('', 'is a list of apps: give one of them');
  const outer = new JsonFields(value, '');
  for (const name of ['apps', 'groups'])
    if (outer.has(name)) throw wrong(outer.at(name), 'this is a group of apps: give one of them');
  for (const name of ['containers', 'pods'])
    if (outer.has(name)) throw wrong(outer.at(name), 'this is a pod: it has no single container to plan');
  const inner = outer.object('app');
  if (inner === undefined) return outer;
  outer.end();
  return inner;
}

function appId(app: JsonFields): string {
  const id = app.string('id')?.replace(/^\/+|\/+$/g, '');
  if (!id) throw wrong(app.at('id'), 'is missing');
  if (!/^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/.test(id))
    throw wrong(app.at('id'), 'is not the path of an app');
  return `/${id}`;
}

/** What would change the task and cannot be told from here. */
function refuseOthers(app: JsonFields): void {
  const executor = app.string('executor') ?? '';
  if (executor !== '' && executor !== '//cmd')
    throw wrong(app.at('executor'), "a framework's own executor is not planned, only //cmd");
  if ((app.strings('storeUrls') ?? []).length > 0)
    throw wrong(app.at('storeUrls'), 'only Marathon knows its artifact store: name the files in fetch');
  if (app.has('residency')) throw wrong(app.at('residency'), 'persistent volumes are not planned');
  app.pass('residency');
}

interface Context {
  readonly id: string;
  readonly taskId: string;
  readonly cpus: number;
  readonly memMb: number;
  readonly image: string | undefined;
  readonly now: string;
}

function contextVariables(app: JsonFields, { id, taskId, cpus, memMb, image, now }: Context): Variables {
  const disk = app.number('disk', { min: 0 }) ?? 0;
  const labels = app
    .texts('labels')
    .filter(([name, value]) => name.length < VARIABLE_CHARS_MAX && value.length < VARIABLE_CHARS_MAX)
    .map(([name, value]) => [name.replace(/[^A-Za-z0-9_]+/g, '_').toUpperCase(), value] as const);
  return [
    ['MESOS_TASK_ID', taskId],
    ['MARATHON_APP_ID', id],
    ['MARATHON_APP_VERSION', app.string('version') ?? now],
    ...(image === undefined ? [] : [['MARATHON_APP_DOCKER_IMAGE', image] as const]),
    ['MARATHON_APP_RESOURCE_CPUS', decimal(cpus)],
    ['MARATHON_APP_RESOURCE_MEM', decimal(memMb)],
    ['MARATHON_APP_RESOURCE_DISK', decimal(disk)],
    ['MARATHON_APP_LABELS', labels.map(([name]) => name).join(' ')],
    ...labels.map(([name, value]) => [`MARATHON_APP_LABEL_${name}`, value] as const),
  ];
}

/** Marathon writes 1 as 1.0. */
function decimal(value: number): string {
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}

function commandOf(app: JsonFields, environment: Variables): Command {
  const cmd = app.string('cmd') || undefined;
  const args = app.strings('args');
  if (cmd !== undefined && args !== undefined)
    throw wrong(app.at('args'), 'the app has a cmd already: Marathon takes one of them');
  const user = app.string('user');
  return {
    ...(cmd === undefined ? {} : { value: cmd }),
    shell: cmd !== undefined,
    arguments: args ?? [],
    environment,
    uris: urisOf(app),
    ...(user ? { user } : {}),
  };
}

function urisOf(app: JsonFields): readonly Uri[] {
  const fetched = app.objects('fetch')?.map((entry): Uri => {
    const value = entry.string('uri');
    if (value === undefined) throw wrong(entry.at('uri'), 'is missing');
    const outputFile = entry.string('outputFile') ?? entry.string('destPath');
    const uri = {
      value,
      executable: entry.boolean('executable') ?? false,
      extract: entry.boolean('extract') ?? true,
      cache: entry.boolean('cache') ?? false,
      ...(outputFile ? { outputFile } : {}),
    };
    entry.end();
    return uri;
  });
  const uris = app.strings('uris');
  // Marathon's API answers with both, the one derived from the other.
  if (fetched !== undefined && fetched.length > 0) return fetched;
  return (uris ?? []).map((value) => ({
    value,
    executable: false,
    extract: ARCHIVE.test(value),
    cache: false,
  }));
}

/** Marathon checks by HTTP and TCP itself; the first check by a command is the task's. */
function healthCheckOf(app: JsonFields): HealthCheck | undefined {
  const checks = (app.objects('healthChecks') ?? []).map((check) => {
    const protocol = check.word('protocol', ['HTTP', 'HTTPS', 'TCP', 'COMMAND']) ?? 'HTTP';
    const command = check.object('command');
    const value = command?.string('value');
    command?.end();
    const seconds = (name: string, absent: number): number => check.number(name, SECONDS) ?? absent;
    const read = {
      delaySeconds: CHECK_DELAY_SECONDS,
      gracePeriodSeconds: seconds('gracePeriodSeconds', DEFAULT_CHECK.grace),
      intervalSeconds: seconds('intervalSeconds', DEFAULT_CHECK.interval),
      timeoutSeconds: seconds('timeoutSeconds', DEFAULT_CHECK.timeout),
      consecutiveFailures:
        check.number('maxConsecutiveFailures', { min: 0, whole: true }) ?? DEFAULT_CHECK.failures,
    };
    check.pass('path', 'port', 'portIndex', 'ignoreHttp1xx');
    check.end();
    if (protocol !== 'COMMAND') return undefined;
    if (!value) throw wrong(check.at('command'), 'has no value');
    return { ...read, command: { value, shell: true, arguments: [], environment: [], uris: [] } };
  });
  return checks.find((check) => check !== undefined);
}

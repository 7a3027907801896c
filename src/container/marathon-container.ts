// The container of a Marathon app, as Marathon puts it into a task: today's form (docker, volumes, networks) or that of 0.5 and
// 0.6 (an image's URL and options). Pure. What it means is said elsewhere, the same as for a task of any framework.

import { type JsonFields, wrong } from './json-fields.ts';
import type { AppPorts } from './marathon-ports.ts';
import type { NewContainer, OldContainer, Volume } from './task.ts';

const NETWORKS = ['HOST', 'BRIDGE', 'NONE', 'USER'] as const;

const EMPTY: NewContainer = {
  form: 'new',
  type: 'DOCKER',
  network: 'HOST',
  portMappings: [],
  privileged: false,
  parameters: [],
  forcePull: false,
  volumes: [],
};

/** The app's container in either form; undefined: none. `ports` are those of the app. Faults of JsonFields. */
export function appContainer(app: JsonFields, ports: AppPorts): NewContainer | OldContainer | undefined {
  const networkName = networkNameOf(app);
  const container = app.object('container');
  if (container === undefined) {
    return app.has('ipAddress') ? { ...EMPTY, type: 'MESOS' } : undefined;
  }
  if (container.has('image') || container.has('options')) {
    const image = container.string('image');
    const options = container.strings('options') ?? [];
    container.end();
    return { form: 'old', ...(image === undefined ? {} : { image }), options };
  }
  const type = container.word('type', ['DOCKER', 'MESOS']) ?? 'DOCKER';
  const docker = container.object('docker');
  if (docker === undefined && type === 'DOCKER') throw wrong(container.at('docker'), 'is missing');
  const volumes = (container.objects('volumes') ?? []).map(volumeOf);
  container.end();
  const drivers = [...new Set(volumes.flatMap(({ driver }) => driver ?? []))];
  if (drivers.length > 1) throw wrong(container.at('volumes'), 'a container has one volume driver');
  const image = docker?.string('image');
  const network = docker?.word('network', NETWORKS) ?? 'HOST';
  const parameters = (docker?.objects('parameters') ?? []).map(parameterOf);
  const described: NewContainer = {
    ...EMPTY,
    type,
    ...(image === undefined ? {} : { image }),
    network,
    ...(networkName === undefined ? {} : { networkName }),
    portMappings: ports.mappings,
    privileged: docker?.boolean('privileged') ?? false,
    parameters,
    forcePull: docker?.boolean('forcePullImage') ?? false,
    ...(drivers[0] === undefined ? {} : { volumeDriver: drivers[0] }),
    volumes: volumes.map(({ volume }) => volume),
  };
  docker?.pass('portMappings');
  docker?.end();
  return described;
}

function networkNameOf(app: JsonFields): string | undefined {
  const address = app.object('ipAddress');
  const name = address?.string('networkName') || undefined;
  address?.pass('groups', 'labels', 'discovery');
  address?.end();
  return name;
}

function parameterOf(parameter: JsonFields): readonly [string, string] {
  const key = parameter.string('key');
  const value = parameter.string('value');
  if (!key) throw wrong(parameter.at('key'), 'is missing');
  if (value === undefined) throw wrong(parameter.at('value'), 'is missing');
  parameter.end();
  return [key, value];
}

/** An external volume is one of the container's volume driver: its name stands where the host's path would. */
function volumeOf(fields: JsonFields): { readonly volume: Volume; readonly driver?: string } {
  const containerPath = fields.string('containerPath');
  if (!containerPath) throw wrong(fields.at('containerPath'), 'is missing');
  const hostPath = fields.string('hostPath') || undefined;
  const mode = fields.word('mode', ['RW', 'RO']) ?? 'RW';
  if (fields.has('persistent')) throw wrong(fields.at('persistent'), 'persistent volumes are not planned');
  const external = fields.object('external');
  fields.pass('persistent');
  fields.end();
  if (external === undefined) return { volume: { containerPath, ...(hostPath ? { hostPath } : {}), mode } };
  const name = external.string('name');
  if (!name) throw wrong(external.at('name'), 'is missing');
  external.word('provider', ['dvdi']);
  external.pass('size');
  const driver = external.object('options')?.string('dvdi/driver');
  if (!driver) throw wrong(external.at('options'), 'has no dvdi/driver');
  external.end();
  return { volume: { containerPath, hostPath: name, mode }, driver };
}

// Which ports a task of a Marathon app gets, and the variables that tell it: what Marathon decides when it takes an offer.
// Pure. The offer is assumed, so the same app always gets the same ports.

import type { JsonFields } from './json-fields.ts';
import { LARGEST_PORT } from './ports.ts';
import type { PortMapping, PortRange } from './task.ts';

const PORT = { min: 0, max: LARGEST_PORT, whole: true } as const;
const PROTOCOLS = ['tcp', 'udp', 'udp,tcp', 'tcp,udp'] as const;

/** A port that an app asks for. */
interface Wanted {
  /** The host's; 0: any of the offer, undefined: none. */
  readonly hostPort: number | undefined;
  /** The container's, or without mappings the app's; 0: the same as the host's. */
  readonly declared: number;
  readonly protocols: readonly string[];
  readonly name: string | undefined;
}

export interface AppPorts {
  readonly ranges: readonly PortRange[];
  /** None where the app gives none. */
  readonly mappings: readonly PortMapping[];
  /** PORT, PORT0, PORTS, PORT_8080, PORT_NAME… */
  readonly variables: readonly (readonly [name: string, value: string])[];
  /** Those that the offer was asked for, as opposed to those that the app names. */
  readonly assigned: readonly number[];
}

/** `docker` is the app's container.docker; its port mappings go before ports and portDefinitions. Faults of JsonFields. */
export function appPorts(app: JsonFields, docker: JsonFields | undefined, offer: PortRange): AppPorts {
  const isUserNetwork = docker?.string('network') === 'USER';
  const mapped = docker?.objects('portMappings')?.map((mapping) => wantedMapping(mapping, isUserNetwork));
  const plain = wantedPlain(app);
  const wanted = mapped ?? plain;
  const fixed = new Set(wanted.map(({ hostPort }) => hostPort));
  const free: number[] = [];
  for (let port = offer.begin; port <= offer.end && free.length < wanted.length; port++)
    if (!fixed.has(port)) free.push(port);

  const assigned: number[] = [];
  const take = (): number => {
    const port = free.shift() ?? LARGEST_PORT;
    assigned.push(port);
    return port;
  };
  const given = wanted.map((want) => ({ ...want, host: want.hostPort === 0 ? take() : want.hostPort }));
  const hostPorts = given.flatMap(({ host }) => host ?? []);
  // A container port of 0 is the same as the host's; without a host's it is any.
  const ports = given.map((one) => ({ ...one, inside: one.declared || (one.host ?? take()) }));
  return {
    ranges: ranges(hostPorts),
    mappings:
      mapped === undefined
        ? []
        : ports.flatMap(({ host, inside, protocols }) =>
            host === undefined
              ? []
              : protocols.map((protocol) => ({ hostPort: host, containerPort: inside, protocol })),
          ),
    variables: variables(ports),
    assigned,
  };
}

function wantedMapping(mapping: JsonFields, isUserNetwork: boolean): Wanted {
  const hostPort = mapping.number('hostPort', PORT);
  const want = {
    // On a network of the user's a mapping may have no port of the host at all.
    hostPort: hostPort ?? (isUserNetwork ? undefined : 0),
    declared: mapping.number('containerPort', PORT) ?? 0,
    protocols: protocolsOf(mapping),
    name: mapping.string('name'),
  };
  mapping.pass('servicePort', 'labels');
  mapping.end();
  return want;
}

/** Without mappings. An app that says nothing about ports gets one. */
function wantedPlain(app: JsonFields): readonly Wanted[] {
  const required = app.boolean('requirePorts') ?? false;
  const definitions = app.objects('portDefinitions')?.map((definition) => {
    const want = {
      declared: definition.number('port', PORT) ?? 0,
      protocols: protocolsOf(definition),
      name: definition.string('name'),
    };
    definition.pass('labels');
    definition.end();
    return want;
  });
  const numbers = app
    .numbers('ports', PORT)
    ?.map((declared) => ({ declared, protocols: ['tcp'], name: undefined }));
  const one = app.has('ipAddress') ? [] : [{ declared: 0, protocols: ['tcp'], name: undefined }];
  // What the app calls its port is a service's; it is the host's only where the app insists.
  return (definitions ?? numbers ?? one).map((want) => ({ ...want, hostPort: required ? want.declared : 0 }));
}

function protocolsOf(fields: JsonFields): readonly string[] {
  return (fields.word('protocol', PROTOCOLS) ?? 'tcp').split(',');
}

/** Neighbours become one range; the order stays, since it pairs ports with those of the image. */
function ranges(ports: readonly number[]): readonly PortRange[] {
  const found: { begin: number; end: number }[] = [];
  for (const port of ports) {
    const last = found.at(-1);
    if (last !== undefined && port === last.end + 1) last.end = port;
    else found.push({ begin: port, end: port });
  }
  return found;
}

interface Given extends Wanted {
  readonly host: number | undefined;
  readonly inside: number;
}

function variables(ports: readonly Given[]): readonly (readonly [string, string])[] {
  if (ports.length === 0) return [];
  const seen = ports.map(({ host, inside }) => String(host ?? inside));
  const all = ports.flatMap(({ host, declared, inside }) => host ?? (declared === 0 ? inside : []));
  return [
    ...seen.map((port, i) => [`PORT${i}`, port] as const),
    ...ports.map(
      ({ declared, host, inside }, i) => [`PORT_${declared || (host ?? inside)}`, `${seen[i]}`] as const,
    ),
    ...ports.flatMap(({ name }, i) =>
      name === undefined ? [] : [[`PORT_${name.toUpperCase()}`, `${seen[i]}`] as const],
    ),
    ...(all[0] === undefined ? [] : [['PORT', String(all[0])] as const]),
    ['PORTS', all.join(',')],
  ];
}

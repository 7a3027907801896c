// Which Docker daemon is meant: from the [docker] section and the environment to endpoints for the API. Reads no file and
// connects to nothing.

import type { Config } from '../config/schema.ts';
import { Fault } from '../fault.ts';

/** Paths of the files that TLS needs, as the CLI's --tls* options name them. */
export interface TlsFiles {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Whether the daemon must prove who it is. */
  readonly verify: boolean;
}

export type Endpoint =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly tls?: TlsFiles };

export interface Connection {
  /** At least one. With several, the first that answers is meant. */
  readonly endpoints: readonly [Endpoint, ...Endpoint[]];
  /** Where the CLI finds credentials; undefined: `.docker` in the home of our user. */
  readonly configDirectory?: string;
  /** A file with credentials, `.dockercfg` or `config.json`, that goes before the config directory for pulls. */
  readonly dockercfg?: string;
  /** Names of [docker] that say nothing about which daemon is meant, and have no effect. */
  readonly ignored: readonly string[];
}

const DEFAULT_HOST = 'unix:///var/run/docker.sock';
const PORT = { plain: 2375, tls: 2376 } as const;

/** What decides which daemon is meant, and with which credentials. */
const KNOWN = new Set(['host', 'config', 'tls', 'tlsverify', 'tlscacert', 'tlscert', 'tlskey']);

/** One-letter options of the docker CLI and their names. */
const LETTERS: Readonly<Record<string, string>> = { H: 'host', D: 'debug', l: 'log-level', c: 'context' };

/**
 * What the configuration says goes before DOCKER_HOST, DOCKER_CONFIG, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH of the
 * environment. `dockercfg` is the key of that name in [docker.index]. Throws Fault `config` for what cannot be used (ssh://,
 * contexts, a host that is not an address).
 */
export function connectionOf(
  section: Config['docker'],
  environment: Readonly<Record<string, string | undefined>>,
  dockercfg?: string,
): Connection {
  const options = new Map<string, readonly string[]>();
  for (const [key, values] of Object.entries(section)) {
    const name = LETTERS[key] ?? key;
    options.set(name, [...(options.get(name) ?? []), ...values]);
  }
  if (options.has('context')) {
    throw new Fault('config', 'context in [docker] is not supported: name the host');
  }
  const tls = tlsOf(options, environment);
  const named = options.get('host') ?? [environment.DOCKER_HOST || DEFAULT_HOST];
  const [first, ...others] = named.map((host) => parseHost(host, tls));
  if (first === undefined) throw new Fault('config', 'host in [docker] names no host');
  const configDirectory = options.get('config')?.at(-1) ?? (environment.DOCKER_CONFIG || undefined);
  const ignored = [...options.keys()].filter((name) => !KNOWN.has(name));
  return {
    endpoints: [first, ...others],
    ...(configDirectory === undefined ? {} : { configDirectory }),
    ...(dockercfg === undefined ? {} : { dockercfg }),
    ignored,
  };
}

function tlsOf(
  options: ReadonlyMap<string, readonly string[]>,
  environment: Readonly<Record<string, string | undefined>>,
): TlsFiles | undefined {
  const last = (name: string): string | undefined => options.get(name)?.at(-1);
  const isOn = (name: string): boolean => ['true', '1', 'True'].includes(last(name) ?? '');
  const verify = last('tlsverify') === undefined ? Boolean(environment.DOCKER_TLS_VERIFY) : isOn('tlsverify');
  if (!verify && !isOn('tls')) return undefined;
  const directory = environment.DOCKER_CERT_PATH;
  const file = (option: string, name: string): string | undefined =>
    last(option) ?? (directory ? `${directory}/${name}` : undefined);
  const ca = file('tlscacert', 'ca.pem');
  const cert = file('tlscert', 'cert.pem');
  const key = file('tlskey', 'key.pem');
  return {
    verify,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

function parseHost(text: string, tls: TlsFiles | undefined): Endpoint {
  const refuse = (why: string): Fault => new Fault('config', `Docker host '${text}': ${why}`);
  const match = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/.exec(text);
  const [scheme, rest] = match === null ? ['tcp', text] : [match[1], match[2] ?? ''];
  if (scheme === 'unix') {
    const path = rest || '/var/run/docker.sock';
    if (!path.startsWith('/')) throw refuse('the path of the socket is not absolute');
    return { kind: 'unix', path };
  }
  if (scheme === 'ssh') throw refuse('ssh:// is not supported, only unix:// and tcp://');
  if (scheme !== 'tcp') throw refuse('only unix:// and tcp:// are supported');
  const address = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?\/?$/.exec(rest);
  if (address?.[1] === undefined) throw refuse('not a host and a port');
  const port = address[2] === undefined ? (tls === undefined ? PORT.plain : PORT.tls) : Number(address[2]);
  if (port < 1 || port > 65535) throw refuse('not a port');
  const host = address[1].replace(/^\[|\]$/g, '');
  return tls === undefined ? { kind: 'tcp', host, port } : { kind: 'tcp', host, port, tls };
}

/** An endpoint as people and the CLI write it. */
export function formatEndpoint(endpoint: Endpoint): string {
  if (endpoint.kind === 'unix') return `unix://${endpoint.path}`;
  return `tcp://${endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host}:${endpoint.port}`;
}

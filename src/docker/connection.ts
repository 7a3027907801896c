// Which Docker daemon is meant: from the [docker] section and the environment to endpoints for the API. Reads no file and
// connects to nothing.

import type { Config } from '../config/schema.ts';
import { escapeControl, Fault } from '../fault.ts';

/** A file that TLS needs. */
export interface TlsFile {
  /** Absolute; `~/` at its begin is the home of our user. */
  readonly path: string;
  /** For messages: `tlscacert in [docker]`, or the variable that names its directory. */
  readonly namedBy: string;
  /** Nobody named the file itself: where it does not exist it is done without. */
  readonly mayBeAbsent: boolean;
}

/** As the CLI's --tls* options name them. */
export interface TlsFiles {
  readonly ca: TlsFile;
  readonly cert: TlsFile;
  readonly key: TlsFile;
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
  /** Names of [docker] that have no effect: they say nothing about which daemon is meant, or nothing without TLS. */
  readonly ignored: readonly string[];
}

const DEFAULT_HOST = 'unix:///var/run/docker.sock';
const PORT = { plain: 2375, tls: 2376 } as const;

/** What decides about TLS: the first two whether it is used, the others with which files. */
const TLS_FLAGS = ['tls', 'tlsverify'];
const TLS_FILES = ['tlscacert', 'tlscert', 'tlskey'];
/** What decides which daemon is meant, and with which credentials. */
const KNOWN = new Set(['host', 'config', ...TLS_FLAGS, ...TLS_FILES]);
/** As in the rest of the configuration. */
const FLAGS: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  1: true,
  false: false,
  no: false,
  off: false,
  0: false,
};

/** One-letter options of the docker CLI and their names. */
const LETTERS: Readonly<Record<string, string>> = { H: 'host', D: 'debug', l: 'log-level', c: 'context' };

/**
 * What the configuration says goes before DOCKER_HOST, DOCKER_CONFIG, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH of the
 * environment. `dockercfg` is the key of that name in [docker.index]. Throws Fault `config` for what cannot be used (ssh://,
 * contexts, a host that is not an address).
 */
export function connectionOf(
  section: Config['docker'],
  environment: Environment,
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
  const hosts = options.get('host');
  const namedBy = hosts === undefined ? 'DOCKER_HOST' : named('host');
  const [first, ...others] = (hosts ?? [environment.DOCKER_HOST || DEFAULT_HOST]).map((host) =>
    parseHost(host, namedBy, tls),
  );
  if (first === undefined) throw new Fault('config', 'host in [docker] names no host');
  const endpoints = [first, ...others] as const;
  const configDirectory = directoryOf('config', 'DOCKER_CONFIG', options, environment);
  const usesTls = endpoints.some((endpoint) => endpoint.kind === 'tcp' && endpoint.tls !== undefined);
  const idle = usesTls ? [] : [...(tls === undefined ? [] : TLS_FLAGS), ...TLS_FILES];
  return {
    endpoints,
    ...(configDirectory === undefined ? {} : { configDirectory }),
    ...(dockercfg === undefined ? {} : { dockercfg }),
    ignored: [...options.keys()].filter((name) => !KNOWN.has(name) || idle.includes(name)),
  };
}

type Options = ReadonlyMap<string, readonly string[]>;
type Environment = Readonly<Record<string, string | undefined>>;

function named(option: string): string {
  return `${option} in [docker]`;
}

/** What the option says, else the variable; a relative path would mean another place in each process. */
function directoryOf(
  option: string,
  variable: string,
  options: Options,
  environment: Environment,
): string | undefined {
  const said = options.get(option)?.at(-1);
  if (said !== undefined) return absolute(said, named(option));
  const path = environment[variable];
  return path ? absolute(path, variable) : undefined;
}

function absolute(path: string, namedBy: string): string {
  if (path.startsWith('/')) return path;
  throw new Fault('config', `${namedBy}: the path '${escapeControl(path)}' is not absolute`);
}

/** Undefined where TLS is not asked for. As in the CLI, `tlsverify` asks for it whatever its value. */
function tlsOf(options: Options, environment: Environment): TlsFiles | undefined {
  const verifying = flag('tlsverify', options) ?? Boolean(environment.DOCKER_TLS_VERIFY);
  const asked =
    Boolean(flag('tls', options)) || options.has('tlsverify') || Boolean(environment.DOCKER_TLS_VERIFY);
  if (!asked) return undefined;
  const variable = ['DOCKER_CERT_PATH', 'DOCKER_CONFIG'].find((name) => environment[name]);
  const file = (option: string, name: string, mayBeAbsent: boolean): TlsFile => {
    const path = options.get(option)?.at(-1);
    if (path !== undefined)
      return { path: absolute(path, named(option)), namedBy: named(option), mayBeAbsent: false };
    if (variable === undefined) return { path: `~/.docker/${name}`, namedBy: named(option), mayBeAbsent };
    const directory = absolute(environment[variable] ?? '', variable);
    return { path: `${directory}/${name}`, namedBy: variable, mayBeAbsent };
  };
  return {
    verify: verifying,
    ca: file('tlscacert', 'ca.pem', false),
    cert: file('tlscert', 'cert.pem', true),
    key: file('tlskey', 'key.pem', true),
  };
}

function flag(option: string, options: Options): boolean | undefined {
  const word = options.get(option)?.at(-1);
  if (word === undefined) return undefined;
  const value = Object.hasOwn(FLAGS, word.toLowerCase()) ? FLAGS[word.toLowerCase()] : undefined;
  if (value !== undefined) return value;
  throw new Fault('config', `${named(option)}: '${escapeControl(word)}' is neither true nor false`);
}

function parseHost(text: string, namedBy: string, tls: TlsFiles | undefined): Endpoint {
  const refuse = (why: string): Fault => new Fault('config', `${namedBy}: '${escapeControl(text)}': ${why}`);
  const match = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/.exec(text);
  const [scheme, rest] = match === null ? ['tcp', text] : [match[1], match[2] ?? ''];
  if (scheme === 'unix') {
    const path = rest || '/var/run/docker.sock';
    if (!path.startsWith('/')) throw refuse('the path of the socket is not absolute');
    return { kind: 'unix', path };
  }
  if (scheme === 'ssh') throw refuse('ssh:// is not supported, only unix:// and tcp://');
  if (scheme !== 'tcp') throw refuse('only unix:// and tcp:// are supported');
  const address = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(?::(\d{1,5}))?\/?$/.exec(rest);
  // An empty host text is nobody's wish; `tcp://` and `:2375` are docker's words for this host.
  if (address?.[1] === undefined || text === '') throw refuse('not a host and a port');
  const port = address[2] === undefined ? (tls === undefined ? PORT.plain : PORT.tls) : Number(address[2]);
  if (port < 1 || port > 65535) throw refuse('not a port');
  const host = address[1].replace(/^\[|\]$/g, '') || 'localhost';
  return tls === undefined ? { kind: 'tcp', host, port } : { kind: 'tcp', host, port, tls };
}

/** An endpoint as people and the CLI write it. */
export function formatEndpoint(endpoint: Endpoint): string {
  if (endpoint.kind === 'unix') return `unix://${endpoint.path}`;
  return `tcp://${endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host}:${endpoint.port}`;
}

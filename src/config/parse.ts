// From the text of a configuration file to a Config: the only module that knows which section and key fills which
// field, and the only one that imports the `ini` package. Pure: no file is opened here (load.ts does that).
// What it does not know is a warning, what it cannot read an error; both name file and line.

import ini from 'ini';
import { escapeControl, Fault, isFault, oneLine } from '../fault.ts';
import {
  DEFAULT_SECTION,
  type Entry,
  fromIniPackage,
  readIniText,
  type Sections,
  toIniPackageText,
} from './ini-text.ts';
import { canonicalKey, findEntry, interpolation } from './interpolate.ts';
import { openKeys, readCapabilities, readImages, readOptionNames, readPrefixes } from './policy-values.ts';
import {
  CONFIG_KEYS,
  type Config,
  type ConfigWarning,
  DEFAULT_CONFIG,
  type KeyName,
  type Policy,
  type SectionName,
} from './schema.ts';
import {
  type Note,
  readBoolean,
  readDuration,
  readLevel,
  readNames,
  readPort,
  readRoot,
  readSize,
  readText,
  readWords,
} from './values.ts';

/** A longer wait for a stopping task than a day is a slip of the pen. */
const MAX_STOP_TIMEOUT_SECONDS = 86_400;
const MAX_KEEP_SECONDS = 3650 * 86_400;
/** Below this Docker's log could not hold what is held back while it is joined to the output after a crash. */
const MIN_LOG_SIZE_BYTES = 1024 ** 2;
const MAX_LOG_SIZE_BYTES = 1024 ** 4;
/** Of [policy]; more is no bound. */
const MAX_BOUND_BYTES = 1024 ** 5;

// The short forms that the docker CLI knows. Keys have no case, so -D and -H are d and h here.
const DOCKER_SHORT: Readonly<Record<string, string>> = {
  h: 'host',
  d: 'debug',
  l: 'log-level',
  c: 'context',
};

export interface ParsedConfig {
  readonly config: Config;
  readonly warnings: readonly ConfigWarning[];
}

/** Fault `config`, one line that begins with `file:line:`, for the first thing that cannot be read. */
export function parseConfig(text: string, file: string): ParsedConfig {
  const source = readIniText(text);
  const [bad] = source.malformed;
  if (bad) {
    const expected =
      source.sections.size === 0 ? 'a [section] first' : 'key: value, or a continuation of it, indented';
    throw new Fault(
      'config',
      `${file}:${bad.line}: ${shorten(bad.text)}: cannot be read; expected: ${expected}`,
    );
  }
  const sections = fromIniPackage(ini.parse(toIniPackageText(source)));
  const warnings: ConfigWarning[] = [];
  const warn = (line: number, warning: string) => {
    warnings.push({ file, line, text: warning });
  };
  const value = reader(sections, file, warn);
  const config = assemble(value, readDocker(sections, value));
  refuseUnknownRules(sections, file);
  warnUnknown(sections, warn);
  warnOpen(sections, config.policy, warn);
  return { config, warnings: warnings.sort((a, b) => a.line - b.line) };
}

type Read<T> = (text: string, note: Note) => T;

interface ValueReader {
  /** Undefined where the key is not in the file. */
  <S extends SectionName, T>(section: S, key: KeyName<S>, read: Read<T>): T | undefined;
  entry<T>(section: string, key: string, entry: Entry, read: Read<T>): T;
}

function reader(sections: Sections, file: string, warn: (line: number, text: string) => void): ValueReader {
  const interpolate = interpolation(sections);
  const entry = <T>(section: string, key: string, at: Entry, read: Read<T>): T => {
    const where = escapeControl(`${section}.${key}`);
    try {
      return read(interpolate(section, at.value), (note) => warn(at.line, `${where}: ${note}`));
    } catch (error) {
      if (!isFault(error, 'config')) throw error;
      throw new Fault('config', `${file}:${at.line}: ${where}: ${oneLine(error)}`, error);
    }
  };
  const known = <S extends SectionName, T>(section: S, key: KeyName<S>, read: Read<T>): T | undefined => {
    const at = findEntry(sections, section, key);
    return at && entry(section, key, at, read);
  };
  return Object.assign(known, { entry });
}

function assemble(value: ValueReader, docker: Config['docker']): Config {
  const d = DEFAULT_CONFIG;
  // An empty text is "none" even where there is a default; of other types it is the default.
  const text = <S extends SectionName>(
    section: S,
    key: KeyName<S>,
    otherwise?: string,
  ): string | undefined => {
    const found = value(section, key, (raw, note) => ({ text: readText(raw, note) }));
    return found ? found.text : otherwise;
  };
  return {
    docker,
    index: given({
      index: text('docker.index', 'index', d.index.index),
      account: text('docker.index', 'account', d.index.account),
      accountLibmesos: text('docker.index', 'account_libmesos', d.index.accountLibmesos),
      dockercfg: text('docker.index', 'dockercfg', d.index.dockercfg),
    }),
    image: {
      ...given({ default: text('containers.image', 'default', d.image.default) }),
      ignore: value('containers.image', 'ignore', readBoolean) ?? d.image.ignore,
    },
    options: {
      default: value('containers.options', 'default', readWords) ?? d.options.default,
      append: value('containers.options', 'append', readWords) ?? d.options.append,
      ignore: value('containers.options', 'ignore', readBoolean) ?? d.options.ignore,
    },
    limits: {
      cfs: value('containers.limits', 'cfs', readBoolean) ?? d.limits.cfs,
      swap: value('containers.limits', 'swap', readBoolean) ?? d.limits.swap,
    },
    containers: {
      stopTimeoutSeconds:
        value('containers', 'stop_timeout', (raw) => readDuration(raw, MAX_STOP_TIMEOUT_SECONDS)) ??
        d.containers.stopTimeoutSeconds,
      logSizeBytes:
        value('containers', 'log_size', (raw) => readSize(raw, MIN_LOG_SIZE_BYTES, MAX_LOG_SIZE_BYTES)) ??
        d.containers.logSizeBytes,
      switchUser: value('containers', 'switch_user', readBoolean) ?? d.containers.switchUser,
    },
    executor: given({ port: value('executor', 'port', readPort) ?? d.executor.port }),
    hooks: {
      onlaunch: value('hooks', 'onlaunch', readWords) ?? d.hooks.onlaunch,
      ondestroy: value('hooks', 'ondestroy', readWords) ?? d.hooks.ondestroy,
      environment: value('hooks', 'environment', readNames) ?? d.hooks.environment,
    },
    uris: { unpack: value('uris', 'unpack', readBoolean) ?? d.uris.unpack },
    policy: assemblePolicy(value),
    log: given({
      console: value('log', 'console', readLevel) ?? d.log.console,
      syslog: value('log', 'syslog', readLevel) ?? d.log.syslog,
    }),
    state: {
      root: value('state', 'root', readRoot) ?? d.state.root,
      keepSeconds:
        value('state', 'keep', (raw) => readDuration(raw, MAX_KEEP_SECONDS)) ?? d.state.keepSeconds,
    },
  };
}

function assemblePolicy(value: ValueReader): Policy {
  const d = DEFAULT_CONFIG.policy;
  const bytes = (text: string): number | undefined => readSize(text, 0, MAX_BOUND_BYTES);
  return {
    privileged: value('policy', 'privileged', readBoolean) ?? d.privileged,
    hostNetwork: value('policy', 'host_network', readBoolean) ?? d.hostNetwork,
    hostPid: value('policy', 'host_pid', readBoolean) ?? d.hostPid,
    hostIpc: value('policy', 'host_ipc', readBoolean) ?? d.hostIpc,
    hostUts: value('policy', 'host_uts', readBoolean) ?? d.hostUts,
    devices: value('policy', 'devices', readBoolean) ?? d.devices,
    ...given({
      capabilities: value('policy', 'capabilities', readCapabilities),
      volumes: value('policy', 'volumes', readPrefixes),
      images: value('policy', 'images', readImages),
      options: value('policy', 'options', readOptionNames),
      maxUriBytes: value('policy', 'max_uri_bytes', bytes),
      maxUnpackedBytes: value('policy', 'max_unpacked_bytes', bytes),
    }),
  };
}

// Only keys of the section itself: those of [DEFAULT] are there for interpolation, and as options of the docker CLI
// none of them would make sense.
function readDocker(sections: Sections, value: ValueReader): Config['docker'] {
  const options = new Map<string, readonly string[]>();
  for (const [key, entry] of sections.get('docker')?.entries ?? []) {
    const plain = canonicalKey(key)
      .replaceAll('_', '-')
      .replace(/^-{1,2}/, '');
    const name = (Object.hasOwn(DOCKER_SHORT, plain) ? DOCKER_SHORT[plain] : undefined) ?? plain;
    const values = value.entry('docker', key, entry, (text, note) => {
      if (!/^[a-z0-9][a-z0-9-]*$/.test(name)) {
        throw new Fault('config', "no name of an option of docker; expected: one as in 'docker --help'");
      }
      return readDockerValue(text, note);
    });
    if (values.length > 0) options.set(name, [...(options.get(name) ?? []), ...values]);
  }
  return Object.fromEntries(options);
}

function readDockerValue(text: string, note: Note): readonly string[] {
  const words = readWords(text, note) ?? [];
  return words.map((word) => (/^(?:true|false)$/i.test(word) ? word.toLowerCase() : word));
}

/** A rule that has a slip of the pen in its name would be one that nobody keeps. */
function refuseUnknownRules(sections: Sections, file: string): void {
  for (const [key, { line }] of sections.get('policy')?.entries ?? []) {
    if (CONFIG_KEYS.policy.some((known) => known === canonicalKey(key))) continue;
    throw new Fault(
      'config',
      `${file}:${line}: policy: there is no rule ${shorten(key)}; known are ${CONFIG_KEYS.policy.join(', ')}`,
    );
  }
}

function warnOpen(sections: Sections, policy: Policy, warn: (line: number, text: string) => void): void {
  const open = openKeys(policy);
  const section = sections.get('policy');
  if (section === undefined || open.length === 0) return;
  warn(section.line, `[policy] can be got round by tasks while it has no rule for: ${open.join(', ')}`);
}

function warnUnknown(sections: Sections, warn: (line: number, text: string) => void): void {
  for (const [name, { line, entries }] of sections) {
    if (name === 'docker' || name === DEFAULT_SECTION) continue;
    const keys = isSectionName(name) ? CONFIG_KEYS[name] : undefined;
    if (!keys) {
      warn(line, `unknown section ${shorten(name)}: it has no effect`);
      continue;
    }
    for (const [key, entry] of entries) {
      if (keys.some((known) => known === canonicalKey(key))) continue;
      warn(
        entry.line,
        `unknown key ${shorten(key)} in [${name}]: it has no effect; known are ${keys.join(', ')}`,
      );
    }
  }
}

function isSectionName(name: string): name is SectionName {
  return Object.hasOwn(CONFIG_KEYS, name);
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without the fields that are undefined. */
function given<T extends object>(fields: T): Given<T> {
  const kept = Object.entries(fields).filter(([, value]) => value !== undefined);
  // fromEntries forgets the names of the fields; they are those of `fields`, less the undefined ones.
  return Object.fromEntries(kept) as Given<T>;
}

function shorten(text: string): string {
  return `'${escapeControl(text.length > 60 ? `${text.slice(0, 60)}…` : text)}'`;
}

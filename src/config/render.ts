// The way back: a Config as the text of a file that parses to the same Config. Pure. Every section and key is shown,
// those without a value as a comment.

import { escapeControl } from '../fault.ts';
import { readIniText } from './ini-text.ts';
import type { Config, KeyName, SectionName } from './schema.ts';
import { formatSize } from './values.ts';

type Value = string | number | boolean | readonly string[] | undefined;
type Values = { readonly [S in SectionName]: { readonly [K in KeyName<S>]: Value } };

/** Ends with a newline. `path`: where the configuration came from; undefined: nowhere, all is at its default. */
export function renderConfig(config: Config, path?: string): string {
  const origin =
    path === undefined
      ? 'No configuration file was found: these are the defaults.'
      : `From ${escapeControl(path)}`;
  const docker = Object.entries(config.docker).map(([name, values]) => line(name, values));
  const sections: string[] = [[`# ${origin}`, '', '[docker]', ...docker].join('\n')];
  for (const [section, values] of Object.entries(valuesOf(config))) {
    const lines = Object.entries<Value>(values).map(([key, value]) => line(key, value));
    sections.push([`[${section}]`, ...lines].join('\n'));
  }
  return `${sections.join('\n\n')}\n`;
}

function valuesOf(config: Config): Values {
  const { index, image, options, limits, containers, executor, hooks, uris, policy, log, state } = config;
  return {
    'docker.index': {
      index: index.index,
      account: index.account,
      // Has a default, so that "none" must be said.
      account_libmesos: index.accountLibmesos ?? '',
      dockercfg: index.dockercfg,
    },
    'containers.image': { default: image.default, ignore: image.ignore },
    'containers.options': { default: options.default, append: options.append, ignore: options.ignore },
    'containers.limits': { cfs: limits.cfs, swap: limits.swap },
    containers: {
      stop_timeout: containers.stopTimeoutSeconds,
      log_size: formatSize(containers.logSizeBytes),
      switch_user: containers.switchUser,
    },
    executor: { port: executor.port },
    hooks: { onlaunch: hooks.onlaunch, ondestroy: hooks.ondestroy, environment: hooks.environment },
    uris: { unpack: uris.unpack },
    policy: {
      privileged: policy.privileged,
      capabilities: policy.capabilities,
      host_network: policy.hostNetwork,
      host_pid: policy.hostPid,
      host_ipc: policy.hostIpc,
      host_uts: policy.hostUts,
      devices: policy.devices,
      volumes: policy.volumes,
      images: policy.images,
      options: policy.options,
      max_uri_bytes: sizeText(policy.maxUriBytes),
      max_unpacked_bytes: sizeText(policy.maxUnpackedBytes),
    },
    log: { console: log.console?.toUpperCase(), syslog: log.syslog?.toUpperCase() },
    state: { root: state.root, keep: state.keepSeconds },
  };
}

function sizeText(bytes: number | undefined): string | undefined {
  return bytes === undefined ? undefined : formatSize(bytes);
}

function line(key: string, value: Value): string {
  if (value === undefined) return `# ${key}:`;
  if (value === '') return `${key}:`;
  const text = Array.isArray(value) ? listText(value) : String(value);
  const escaped = text.replaceAll('%', '%%');
  const inline = `${key}: ${escaped}`;
  // On the key's own line a `;` after a blank begins a comment; on the next line, indented, nothing does.
  const read = readIniText(`[s]\n${inline}`).sections.get('s')?.entries.get(key.toLowerCase());
  return read?.value === escaped ? inline : `${key}:\n  ${escaped}`;
}

function listText(words: readonly string[]): string {
  return `[${words.map((word) => JSON.stringify(word)).join(', ')}]`;
}

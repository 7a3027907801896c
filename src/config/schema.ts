// The configuration as the rest of the program sees it: typed, complete, every default in one place; and the names
// of all sections and keys. Data only: it never reads a file, and nothing but types is imported.

import type { LogLevel } from '../host/log.ts';

export interface Config {
  /** Options of the docker CLI that stand before the command: name without dashes → its values, in order; a flag has the value `true`. */
  readonly docker: Readonly<Record<string, readonly string[]>>;
  readonly index: {
    readonly index?: string;
    readonly account?: string;
    readonly accountLibmesos?: string;
    readonly dockercfg?: string;
  };
  readonly image: { readonly default?: string; readonly ignore: boolean };
  readonly options: {
    readonly default: readonly string[];
    readonly append: readonly string[];
    readonly ignore: boolean;
  };
  readonly limits: { readonly cfs: boolean; readonly swap: boolean };
  readonly containers: {
    readonly stopTimeoutSeconds: number;
    readonly logSizeBytes: number;
    readonly switchUser: boolean;
  };
  readonly executor: { readonly port?: number };
  /** Each hook is an argv; empty: none. */
  readonly hooks: {
    readonly onlaunch: readonly string[];
    readonly ondestroy: readonly string[];
    readonly environment: readonly string[];
  };
  readonly uris: { readonly unpack: boolean };
  readonly policy: Policy;
  readonly log: { readonly console?: LogLevel; readonly syslog?: LogLevel };
  readonly state: { readonly root: string; readonly keepSeconds: number };
}

/** What tasks may ask for. An absent list or bound allows everything, an empty list nothing. */
export interface Policy {
  readonly privileged: boolean;
  /** Those that a task may have beyond Docker's own, without CAP_; ALL stands for all. */
  readonly capabilities?: readonly string[];
  readonly hostNetwork: boolean;
  readonly hostPid: boolean;
  readonly hostIpc: boolean;
  readonly hostUts: boolean;
  readonly devices: boolean;
  /** Paths of the host, without a slash at the end, at or below which a mount's source may lie; `driver:NAME`: that driver's volumes. */
  readonly volumes?: readonly string[];
  /** Registries and globs: see container/policy-images.ts. */
  readonly images?: readonly string[];
  /** Options of `docker run`, by their long names without dashes. */
  readonly options?: readonly string[];
  /** For all files of a task together. */
  readonly maxUriBytes?: number;
  /** For all archives of a task together. */
  readonly maxUnpackedBytes?: number;
}

export const DEFAULT_CONFIG: Config = {
  docker: {},
  // What the first Deimos used for tasks that bring their own executor; an empty value in the file means none.
  index: { accountLibmesos: 'libmesos' },
  image: { ignore: false },
  options: { default: [], append: [], ignore: false },
  limits: { cfs: false, swap: true },
  containers: { stopTimeoutSeconds: 2, logSizeBytes: 100 * 1024 * 1024, switchUser: false },
  executor: {},
  hooks: { onlaunch: [], ondestroy: [], environment: [] },
  uris: { unpack: true },
  policy: {
    privileged: true,
    hostNetwork: true,
    hostPid: true,
    hostIpc: true,
    hostUts: true,
    devices: true,
  },
  log: {},
  state: { root: '/tmp/deimos', keepSeconds: 24 * 60 * 60 },
};

/**
 * The keys of each section, in the order in which they are shown. `[docker]` is not among them: it takes any key.
 * In a file `-` and `_` are the same and case does not count.
 */
export const CONFIG_KEYS = {
  'docker.index': ['index', 'account', 'account_libmesos', 'dockercfg'],
  'containers.image': ['default', 'ignore'],
  'containers.options': ['default', 'append', 'ignore'],
  'containers.limits': ['cfs', 'swap'],
  containers: ['stop_timeout', 'log_size', 'switch_user'],
  executor: ['port'],
  hooks: ['onlaunch', 'ondestroy', 'environment'],
  uris: ['unpack'],
  policy: [
    ...['privileged', 'capabilities', 'host_network', 'host_pid', 'host_ipc', 'host_uts', 'devices'],
    ...['volumes', 'images', 'options', 'max_uri_bytes', 'max_unpacked_bytes'],
  ],
  log: ['console', 'syslog'],
  state: ['root', 'keep'],
} as const;

export type SectionName = keyof typeof CONFIG_KEYS;
export type KeyName<S extends SectionName> = (typeof CONFIG_KEYS)[S][number];

/** Something in a file that has no effect, or perhaps not the one that was meant. `text` is one line. */
export interface ConfigWarning {
  readonly file: string;
  /** Counted from 1; 0 where the warning is about the file as a whole. */
  readonly line: number;
  readonly text: string;
}

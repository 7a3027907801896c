// The configuration as the rest of the program sees it: typed, complete, every default in one place.

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
  readonly log: { readonly console?: LogLevel; readonly syslog?: LogLevel };
  readonly state: { readonly root: string; readonly keepSeconds: number };
}

export const DEFAULT_CONFIG: Config = {
  docker: {},
  index: {},
  image: { ignore: false },
  options: { default: [], append: [], ignore: false },
  limits: { cfs: false, swap: true },
  containers: { stopTimeoutSeconds: 2, logSizeBytes: 100 * 1024 * 1024, switchUser: false },
  executor: {},
  hooks: { onlaunch: [], ondestroy: [], environment: [] },
  uris: { unpack: true },
  log: {},
  state: { root: '/tmp/deimos', keepSeconds: 24 * 60 * 60 },
};

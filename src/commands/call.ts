// One call of deimos: what it was given, and the log of it. Built once, in main.ts, from the real process; commands get
// everything from here.

import { existsSync } from 'node:fs';
import type { SearchPlace } from '../config/find.ts';
import { type LenientRoot, lenientRoot } from '../config/root.ts';
import { Fault } from '../fault.ts';
import { type Log, type LogFields, type LogLevel, levelsInForce, RANK } from '../host/log.ts';

export interface GlobalOptions {
  /** `--config FILE`: this file and no other. */
  readonly config?: string;
  /** `--root DIRECTORY`: whatever the configuration says. */
  readonly root?: string;
}

type Entry = readonly ['debug' | 'info' | 'warning' | 'error', string, LogFields | undefined];

export class Call {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Our own executable, to be started again by others. */
  readonly executable: string;
  readonly version: string;
  readonly options: GlobalOptions;
  /** A person at a terminal, not a slave. */
  readonly interactive: boolean;
  readonly log: Log;
  readonly #place: SearchPlace;
  /** Kept until flush(): most calls log nothing, and what writes logs is not loaded for them. */
  readonly #entries: Entry[] = [];
  #lenient: LenientRoot | undefined;

  constructor(parts: {
    readonly environment: Readonly<Record<string, string | undefined>>;
    readonly executable: string;
    readonly version: string;
    readonly options: GlobalOptions;
    readonly interactive: boolean;
    readonly place: SearchPlace;
  }) {
    this.environment = parts.environment;
    this.executable = parts.executable;
    this.version = parts.version;
    this.options = parts.options;
    this.interactive = parts.interactive;
    const { config } = parts.options;
    if (config !== undefined && !existsSync(config))
      throw new Fault('config', `there is no configuration file ${config}`);
    this.#place =
      config === undefined
        ? parts.place
        : { cwd: '/nonexistent', home: undefined, uid: parts.place.uid, systemPaths: [config] };
    const each =
      (level: Entry[0]) =>
      (event: string, fields?: LogFields): void =>
        void this.#entries.push([level, event, fields]);
    this.log = { debug: each('debug'), info: each('info'), warning: each('warning'), error: each('error') };
  }

  /** Where configuration files are looked for. */
  get place(): SearchPlace {
    return this.#place;
  }

  /** The state root and the log settings, whatever else is wrong with the configuration. Read once. */
  lenient(): LenientRoot {
    if (this.#lenient === undefined) {
      const found = lenientRoot(this.#place);
      this.#lenient = this.options.root === undefined ? found : { ...found, root: this.options.root };
      // Said at each call, a file in a task's own sandbox could fill the log: launch says it as a warning.
      for (const { file, line, text } of found.warnings)
        this.log.debug('configuration', { file, line, text });
      if (found.problem !== undefined) this.log.error('configuration', { problem: found.problem });
    }
    return this.#lenient;
  }

  /** The configured state root; Fault `config` if it cannot be told: no default may stand in for it. */
  configuredRoot(): string {
    const { root, problem } = this.lenient();
    if (root === undefined) throw new Fault('config', problem ?? 'the state root cannot be told');
    return root;
  }

  /** How the supervisor is started from this call. */
  supervisorStart(): { executable: string; version: string; options: string[] } {
    const { syslog } = this.lenient().log;
    const { executable, version } = this;
    return { executable, version, options: syslog === undefined ? [] : ['--syslog', syslog] };
  }

  /** Writes what was logged so far. Repeatable; never throws. */
  async flush(): Promise<void> {
    if (this.#entries.length === 0) return;
    const { console, syslog } = levelsInForce(this.lenient().log, this.interactive);
    const isWanted = (own: LogLevel, from?: LogLevel): boolean =>
      from !== undefined && RANK[own] >= RANK[from];
    const entries = this.#entries.splice(0);
    if (!entries.some(([level]) => isWanted(level, console) || isWanted(level, syslog))) return;
    const sinks = await import('../host/log-sinks.ts');
    const log = sinks.combined(
      ...(console === undefined ? [] : [sinks.consoleLog(console)]),
      ...(syslog === undefined ? [] : [sinks.syslogLog(syslog)]),
    );
    for (const [level, event, fields] of entries) log[level](event, fields);
    await log.close();
  }
}

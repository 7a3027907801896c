// What a log line is. The writers (console, syslog) are made in log-sinks.ts; most code only needs this type.

export type LogLevel = 'debug' | 'info' | 'warning' | 'error' | 'critical';

/** Their order. */
export const RANK: Readonly<Record<LogLevel, number>> = {
  debug: 0,
  info: 1,
  warning: 2,
  error: 3,
  critical: 4,
};

/** Facts beside the fixed words of an event. Never a value of a task's environment. Durations end in Ms, sizes in Bytes. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** A log line is an event: fixed words plus fields, written once, by the layer that decides. */
export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warning(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

/** The same log with further fields on every line: which container it is about. */
export function withFields(log: Log, fixed: LogFields): Log {
  const each =
    (level: 'debug' | 'info' | 'warning' | 'error') =>
    (event: string, fields?: LogFields): void =>
      log[level](event, { ...fixed, ...fields });
  return { debug: each('debug'), info: each('info'), warning: each('warning'), error: each('error') };
}

/**
 * The levels in force: what the configuration says, else syslog from INFO on for a call of the slave's, and the
 * console from WARNING on for a person at a terminal. A sink that is undefined is off.
 */
export function levelsInForce(
  log: { readonly console?: LogLevel; readonly syslog?: LogLevel },
  interactive: boolean,
): { console: LogLevel | undefined; syslog: LogLevel | undefined } {
  return {
    console: log.console ?? (interactive ? 'warning' : undefined),
    syslog: log.syslog ?? (interactive ? undefined : 'info'),
  };
}

// What a log line is. The writers (console, syslog) are made in log-sinks.ts; most code only needs this type.

export type LogLevel = 'debug' | 'info' | 'warning' | 'error' | 'critical';

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

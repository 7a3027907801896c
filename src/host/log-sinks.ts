// Where log lines go: the console, syslog through logger(1), a file. Logging is a courtesy: nothing here ever throws,
// waits beyond its bound or fails a verb, and what cannot be written is given up. Foreign text cannot break out of
// its line. No value of a task's environment may be given to it (the caller's duty).

import type { ChildProcess } from 'node:child_process';
import { closeSync, constants, existsSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import { escapeControl } from '../fault.ts';
import { elapsedMs } from './clock.ts';
import { type Log, type LogFields, type LogLevel, RANK } from './log.ts';
import { CHILD_ENVIRONMENT } from './programs.ts';

/** A Log that can be ended, and has the level for bugs of our own. */
export interface LogSink extends Log {
  critical(event: string, fields?: LogFields): void;
  /** Resolves, within CLOSE_BOUND_MS, when what was logged has been handed over. Twice is harmless. */
  close(): Promise<void>;
}

/** Enough for a message of docker's; rsyslog cuts at this length unless told otherwise. */
const MAX_LINE_CHARS = 8000;
/** How long a verb that logs can be held up by a logger(1) that hangs; after that it is not asked again. */
const LOGGER_BOUND_MS = 2000;
const CLOSE_BOUND_MS = 2000;
/** What is kept for a logger(1) that does not read; more is dropped, and the number of lines lost is logged. */
const MAX_PENDING_BYTES = 1024 ** 2;
/** A logger(1) that dies at once is not started more often than this. */
const RESTART_PAUSE_MS = 1000;
/** The supervisor's own log starts anew at this size; the one before is kept as `<path>.1`. */
const MAX_LOG_FILE_BYTES = 8 * 1024 ** 2;

const SYSLOG_SOCKET = '/dev/log';
const PRIORITY: Readonly<Record<LogLevel, string>> = {
  debug: 'debug',
  info: 'info',
  warning: 'warning',
  error: 'err',
  critical: 'crit',
};
/** Facility `user` (1) times eight, plus the severity: syslog(3). */
const PRIORITY_CODE: Readonly<Record<LogLevel, number>> = {
  debug: 15,
  info: 14,
  warning: 12,
  error: 11,
  critical: 10,
};

/**
 * `event key=value key="quoted value"`, on one line, led by the level from warning on (syslog files seldom show it).
 * Fields that are undefined are left out; a line that is too long ends in `…`.
 */
export function formatEvent(level: LogLevel, event: string, fields: LogFields = {}): string {
  const mark = RANK[level] >= RANK.warning ? `${level}: ` : '';
  let text = `${mark}${escapeControl(event)}`;
  for (const [key, value] of Object.entries(fields)) {
    if (value !== undefined) text += ` ${escapeControl(key)}=${formatValue(value)}`;
  }
  const whole = text.toWellFormed();
  return whole.length > MAX_LINE_CHARS ? `${whole.slice(0, MAX_LINE_CHARS).toWellFormed()}…` : whole;
}

function formatValue(value: string | number | boolean): string {
  if (typeof value !== 'string') return String(value);
  const escaped = escapeControl(value.replace(/[\\"]/g, '\\$&'));
  return escaped === value && /^[^\s=]+$/.test(value) ? value : `"${escaped}"`;
}

/** To a terminal, or the sandbox's stderr: `09:31:56.123 deimos: event key=value`, local time. */
export function consoleLog(level: LogLevel, fd = 2): LogSink {
  return sink(level, (_, line) => {
    const now = new Date();
    const time = `${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, '0')}`;
    tryWrite(fd, `${time} deimos: ${line}\n`);
  });
}

/**
 * For short-lived verbs: each line is with syslog when the call returns, at 2–4 ms a line, so that the process may
 * exit, or become another program, right behind it. Silent where no syslog daemon listens.
 */
export function syslogLog(level: LogLevel, pid: number = process.pid): LogSink {
  let usable = true;
  return sink(level, (at, line) => {
    if (!usable || !syslogListens()) return;
    const result = programs().spawnSync(
      'logger',
      ['-t', `deimos[${pid}]`, '-p', `user.${PRIORITY[at]}`, '-S', '32768'],
      {
        input: `${line}\n`,
        cwd: '/',
        env: CHILD_ENVIRONMENT,
        stdio: ['pipe', 'ignore', 'ignore'],
        timeout: LOGGER_BOUND_MS,
        killSignal: 'SIGKILL',
      },
    );
    // Missing or hanging: once is enough. A status ≠ 0 may be a daemon that restarts at this moment.
    if (result.error) usable = false;
  });
}

/**
 * For the supervisor: one logger(1), started with the first line and again when it has died, does not keep the process
 * alive, and delivers what it was given even if this process is killed.
 */
export function syslogStream(level: LogLevel, pid: number = process.pid): LogSink {
  return new SyslogStream(level, pid).sink;
}

/** Appends to `path` (0600, never through a symbolic link): `2026-11-22T09:31:56.123Z deimos[pid]: event key=value`. */
export function fileLog(path: string, level: LogLevel, maxBytes: number = MAX_LOG_FILE_BYTES): LogSink {
  const { O_APPEND, O_CREAT, O_WRONLY, O_NOFOLLOW } = constants;
  const open = () => attempt(() => openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600));
  let fd = open();
  let size = fd === undefined ? 0 : (attempt(() => fstatSync(Number(fd)).size) ?? 0);
  const shut = () => {
    const old = fd;
    fd = undefined;
    if (old !== undefined) attempt(() => closeSync(old));
  };
  const write = (_: LogLevel, line: string) => {
    const text = `${new Date().toISOString()} deimos[${process.pid}]: ${line}\n`;
    const bytes = Buffer.byteLength(text);
    if (size > 0 && size + bytes > maxBytes) {
      shut();
      attempt(() => renameSync(path, `${path}.1`));
      size = 0;
    }
    fd ??= open();
    if (fd === undefined) return;
    tryWrite(fd, text);
    size += bytes;
  };
  return sink(level, write, async () => shut());
}

/** One log for several; an empty list logs nothing. close() closes all. */
export function combined(...logs: readonly LogSink[]): LogSink {
  const each = (method: LogLevel) => (event: string, fields?: LogFields) => {
    for (const log of logs) log[method](event, fields);
  };
  return {
    debug: each('debug'),
    info: each('info'),
    warning: each('warning'),
    error: each('error'),
    critical: each('critical'),
    close: async () => {
      await Promise.all(logs.map((log) => log.close()));
    },
  };
}

class SyslogStream {
  readonly sink: LogSink;
  private readonly arguments: readonly string[];
  private child: ChildProcess | undefined;
  private startedAtMs = Number.NEGATIVE_INFINITY;
  private lost = 0;
  private closing: Promise<void> | undefined;

  constructor(level: LogLevel, pid: number) {
    // The priority of each line stands before it, as <14>; --prio-prefix takes the first and leaves the text alone.
    this.arguments = ['-t', `deimos[${pid}]`, '-p', 'user.notice', '--prio-prefix', '-S', '32768'];
    this.sink = sink(
      level,
      (at, line) => this.write(`<${PRIORITY_CODE[at]}>${line}\n`, true),
      () => this.close(),
    );
  }

  /** `again`: whether the line may be given to a new logger if this one turns out to be dead. */
  private write(text: string, again: boolean): void {
    const child = this.closing ? undefined : this.running();
    if (!child?.stdin || child.stdin.writableLength + text.length > MAX_PENDING_BYTES) {
      this.lost += 1;
      return;
    }
    const { lost } = this;
    this.lost = 0;
    const note = lost === 0 ? '' : `<${PRIORITY_CODE.warning}>warning: log lines lost count=${lost}\n`;
    child.stdin.write(note + text, (error) => {
      if (!error) return;
      if (this.child === child) this.child = undefined;
      this.lost += lost;
      if (again) this.write(text, false);
      else this.lost += 1;
    });
  }

  private running(): ChildProcess | undefined {
    if (this.child) return this.child;
    const now = elapsedMs();
    if (now - this.startedAtMs < RESTART_PAUSE_MS || !syslogListens()) return undefined;
    this.startedAtMs = now;
    const child = attempt(() =>
      programs().spawn('logger', this.arguments, {
        cwd: '/',
        env: CHILD_ENVIRONMENT,
        stdio: ['pipe', 'ignore', 'ignore'],
      }),
    );
    if (!child) return undefined;
    const gone = () => {
      if (this.child === child) this.child = undefined;
    };
    child.on('error', gone);
    child.on('exit', gone);
    // Out of descriptors the runtime starts nothing, and gives no streams.
    if (child.pid === undefined) return undefined;
    // The callback of the write that met it has been told already; unheard, the event would end the process.
    child.stdin.on('error', gone);
    child.unref();
    if ('unref' in child.stdin && typeof child.stdin.unref === 'function') child.stdin.unref();
    this.child = child;
    return child;
  }

  private close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    const child = this.child;
    this.child = undefined;
    if (!child?.stdin || child.exitCode !== null || child.signalCode !== null) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
    // Not unref()ed: it is what keeps the process until the last lines are through.
    const bound = setTimeout(() => {
      child.kill('SIGKILL');
      resolve();
    }, CLOSE_BOUND_MS);
    child.stdin.end();
    await promise;
    clearTimeout(bound);
  }
}

function sink(
  level: LogLevel,
  write: (level: LogLevel, line: string) => void,
  close: () => Promise<void> = async () => {},
): LogSink {
  const at = (own: LogLevel) =>
    RANK[own] < RANK[level]
      ? () => {}
      : (event: string, fields?: LogFields) => write(own, formatEvent(own, event, fields));
  return {
    debug: at('debug'),
    info: at('info'),
    warning: at('warning'),
    error: at('error'),
    critical: at('critical'),
    close,
  };
}

/** Loaded where a line goes to syslog: it costs a call a tenth of its time. */
function programs(): typeof import('node:child_process') {
  return process.getBuiltinModule('node:child_process');
}

function syslogListens(): boolean {
  return existsSync(SYSLOG_SOCKET);
}

/** What cannot be written now (a full pipe, a closed terminal, a full disk) is given up. */
function tryWrite(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  let done = 0;
  while (done < bytes.length) {
    const from = done;
    const count = attempt(() => writeSync(fd, bytes, from));
    if (count === undefined) return;
    done += count;
  }
}

/** Undefined if the operating system refused; whatever is not its refusal is a bug and passes through. */
function attempt<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) return undefined;
    throw error;
  }
}

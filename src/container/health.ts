// Health checks of a command task: what a HealthCheck comes to in milliseconds, and what the result of one check means
// for the task. Pure. A check that cannot be carried out leaves the task unchecked, as Mesos does, and says so in words:
// nothing of a HealthCheck is left out in silence.

import { LONGEST_MS } from './duration.ts';
import { LARGEST_PORT } from './ports.ts';
import type { Command, HealthCheck } from './task.ts';

/** What a HealthCheck says that leaves these out (mesos.proto); the form of 0.19 has no grace. */
export const HEALTH_DEFAULTS = {
  delaySeconds: 15,
  intervalSeconds: 10,
  timeoutSeconds: 20,
  consecutiveFailures: 3,
  gracePeriodSeconds: 10,
} as const;

/** Checks of one task follow one another no faster: each costs Docker a process. */
export const INTERVAL_MS_MIN = 200;
/** No check can be answered in less. */
export const TIMEOUT_MS_MIN = 100;
/** Of what a check said so much gets into a status update, in characters. */
const WORDS_MAX = 200;

export type Probe =
  | {
      readonly kind: 'http';
      readonly port: number;
      /** Fit for a request line. */
      readonly path: string;
      /** Those that are fine; none: 200 – 399. */
      readonly statuses: readonly number[];
    }
  | {
      readonly kind: 'command';
      readonly argv: readonly [string, ...string[]];
      /** `NAME=value`, added to the container's own. */
      readonly environment: readonly string[];
    };

export interface HealthTerms {
  readonly probe: Probe;
  /** From the container's start to the first check. */
  readonly delayMs: number;
  /** From the end of a check to the next. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** So long after the container's start failures do not count. */
  readonly graceMs: number;
  /** So many failures in a row end the task; at least 1. */
  readonly failuresMax: number;
}

export type HealthPlan =
  /** `remarks`: what was bounded or not believed, a line each. */
  | { readonly ok: true; readonly terms: HealthTerms; readonly remarks: readonly string[] }
  /** The task runs unchecked. */
  | { readonly ok: false; readonly why: string };

/** What a task's HealthCheck comes to. */
export function planHealth(check: HealthCheck): HealthPlan {
  const probe = probeOf(check);
  if (typeof probe === 'string') return { ok: false, why: probe };
  const remarks: string[] = [];
  if (check.http !== undefined && check.command !== undefined)
    remarks.push('http and command are both there: http is checked, command is not');
  const read = (field: SecondsField, leastMs: number): number => milliseconds(check, field, leastMs, remarks);
  const terms: HealthTerms = {
    probe,
    delayMs: read('delaySeconds', 0),
    intervalMs: read('intervalSeconds', INTERVAL_MS_MIN),
    timeoutMs: read('timeoutSeconds', TIMEOUT_MS_MIN),
    graceMs: read('gracePeriodSeconds', 0),
    failuresMax: Math.max(1, check.consecutiveFailures),
  };
  return { ok: true, terms, remarks };
}

type SecondsField = 'delaySeconds' | 'intervalSeconds' | 'timeoutSeconds' | 'gracePeriodSeconds';

/** As mesos.proto calls them. */
const FIELD_NAMES: Readonly<Record<SecondsField, string>> = {
  delaySeconds: 'delay_seconds',
  intervalSeconds: 'interval_seconds',
  timeoutSeconds: 'timeout_seconds',
  gracePeriodSeconds: 'grace_period_seconds',
};

function milliseconds(check: HealthCheck, field: SecondsField, leastMs: number, remarks: string[]): number {
  const seconds = check[field];
  const standard = HEALTH_DEFAULTS[field];
  // Later versions of Mesos take a timeout of 0 for none at all: never for one that no check can keep.
  const isMeant =
    seconds !== null &&
    Number.isFinite(seconds) &&
    seconds >= 0 &&
    !(field === 'timeoutSeconds' && seconds === 0);
  if (!isMeant) {
    const said = seconds === null || !Number.isFinite(seconds) ? 'no finite number' : String(seconds);
    remarks.push(`${FIELD_NAMES[field]} is ${said}: ${standard} is used`);
    return standard * 1000;
  }
  // Whole ones: some timers take no others.
  const meant = Math.round(seconds * 1000);
  const ms = Math.min(Math.max(meant, leastMs), LONGEST_MS);
  if (ms !== meant) remarks.push(`${FIELD_NAMES[field]} is ${seconds}: ${ms / 1000} is used`);
  return ms;
}

function probeOf({ http, command }: HealthCheck): Probe | string {
  if (http !== undefined) {
    const { port, path, statuses } = http;
    if (!Number.isInteger(port) || port < 1 || port > LARGEST_PORT) return `http.port is not a port: ${port}`;
    return { kind: 'http', port, path: requestPath(path), statuses };
  }
  if (command !== undefined) return commandProbe(command);
  return 'it has neither http nor command';
}

function commandProbe({ value, shell, arguments: words, environment }: Command): Probe | string {
  if (value === undefined) return `command.value is missing (shell is ${shell})`;
  const argv = shell ? (['/bin/sh', '-c', value] as const) : ([value, ...words] as const);
  if (argv.some((word) => word.includes('\0'))) return 'command contains a NUL';
  for (const [name, content] of environment) {
    if (name === '' || /[=\0]/.test(name))
      return `${JSON.stringify(name)} in command.environment cannot be the name of a variable`;
    if (content.includes('\0')) return `${name} in command.environment contains a NUL`;
  }
  return { kind: 'command', argv, environment: environment.map(([name, content]) => `${name}=${content}`) };
}

/** What would end the request line, or its target, is written as %XX. */
function requestPath(path: string): string {
  const absolute = path.startsWith('/') ? path : `/${path}`;
  return absolute.toWellFormed().replace(/[^\x21-\x7e]/gu, encodeURIComponent);
}

/** Whether a status is one of those that are fine. */
export function isFine(statuses: readonly number[], status: number): boolean {
  return statuses.length > 0 ? statuses.includes(status) : status >= 200 && status <= 399;
}

/** What is known of a task's health, and what its slave was told last: the one changes only with the other. */
export interface Health {
  readonly healthy: boolean;
  /** In a row, up to now; 0 while healthy. */
  readonly failures: number;
}

export type CheckResult =
  | { readonly kind: 'passed' }
  | { readonly kind: 'failed'; readonly why: string }
  /** Docker could not be asked, the host had no descriptor left: it says nothing about the task. */
  | {
      readonly kind: 'unknown';
      readonly why: string;
      /** It was asked, and answers nothing that could be used: the next check may find the same. */
      readonly mayLast?: true;
    };

export interface Verdict {
  readonly health: Health;
  /** What the framework is told. */
  readonly text: string;
  readonly kill: boolean;
}

/**
 * What a check means; undefined: nothing that anybody has to be told. `before` is undefined before the first verdict,
 * `sinceStartMs` the time from the container's start to the end of the check.
 */
export function judge(
  terms: Pick<HealthTerms, 'graceMs' | 'failuresMax'>,
  before: Health | undefined,
  result: CheckResult,
  sinceStartMs: number,
): Verdict | undefined {
  switch (result.kind) {
    case 'unknown':
      return undefined;
    case 'passed':
      if (before?.healthy === true) return undefined;
      return { health: { healthy: true, failures: 0 }, text: 'health check passed', kill: false };
    case 'failed': {
      if (terms.graceMs > 0 && sinceStartMs <= terms.graceMs) return undefined;
      const failures = (before?.failures ?? 0) + 1;
      return {
        health: { healthy: false, failures },
        text: `health check failed ${failures} of ${terms.failuresMax} times: ${result.why}`,
        kill: failures >= terms.failuresMax,
      };
    }
  }
}

/** How long to wait for the first check. `resumed`: after a crash of ours they go on in their old rhythm. */
export function firstPauseMs(
  { delayMs, intervalMs }: Pick<HealthTerms, 'delayMs' | 'intervalMs'>,
  sinceStartMs: number,
  resumed: boolean,
): number {
  if (sinceStartMs <= delayMs || !resumed) return Math.max(0, delayMs - sinceStartMs);
  return intervalMs - ((sinceStartMs - delayMs) % intervalMs);
}

/** Foreign words, already on one line, as much of them as a status update takes. */
export function boundedWords(words: string): string {
  const some = [...words.slice(0, 2 * WORDS_MAX + 2)];
  return some.length <= WORDS_MAX ? words : `${some.slice(0, WORDS_MAX).join('')}…`;
}

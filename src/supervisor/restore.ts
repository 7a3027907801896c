// The life of a container as its state directory tells it: what a supervisor that has just started begins with.
// Reads only; what Docker knows is looked up afterwards, by the first step of the life itself.

import { parseMesosDuration } from '../container/duration.ts';
import { planHealth } from '../container/health.ts';
import { type Life, type LifeTerms, newLife, type WantedEnd } from '../container/life.ts';
import type { EndCause, Outcome } from '../container/termination.ts';
import { readJsonFact } from '../host/facts.ts';
import type { ContainerPaths } from '../state/layout.ts';
import { parseOutcome, parseRegistered, type RequestRecord } from '../state/records.ts';
import { hasFact, readTermination } from '../state/store.ts';

/** The slave's --recovery_timeout where it does not say. */
const RECOVERY_TIMEOUT_MS = 15 * 60_000;
/** The slave's --executor_shutdown_grace_period where it does not say. */
const SHUTDOWN_GRACE_MS = 5_000;
/** Kept of that grace for the last output and the acknowledgement. */
const SHUTDOWN_MARGIN_MS = 2_500;

/** What never changes in the life of a container, from its request. */
export function termsOf(request: RequestRecord): LifeTerms {
  const { task, slaveEnvironment, config } = request;
  const shutdownGraceMs =
    task.shutdownGraceMs ?? parseMesosDuration(slaveEnvironment.MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD);
  // Without a framework's id nothing can be registered: a person calls launch by hand.
  const reporting =
    task.kind === 'command' &&
    task.slavePid !== undefined &&
    task.taskId !== undefined &&
    task.frameworkId !== '';
  return {
    reporting,
    checked: reporting && task.healthCheck !== undefined && planHealth(task.healthCheck).ok,
    checkpoint: task.checkpoint,
    recoveryTimeoutMs: parseMesosDuration(slaveEnvironment.MESOS_RECOVERY_TIMEOUT) ?? RECOVERY_TIMEOUT_MS,
    stopGraceMs: config.containers.stopTimeoutSeconds * 1000,
    ...(task.killGraceMs === undefined ? {} : { killGraceMs: task.killGraceMs }),
    shutdownGraceMs: Math.max(0, (shutdownGraceMs ?? SHUTDOWN_GRACE_MS) - SHUTDOWN_MARGIN_MS),
  };
}

/** The life as far as the state directory tells; `resume` is the event to begin with. */
export function restoreLife(paths: ContainerPaths, request: RequestRecord): Life {
  const registered = parseRegistered(readJsonFact(paths.registered));
  const outcome = parseOutcome(readJsonFact(paths.outcome));
  const wantedEnd = parseWantedEnd(readJsonFact(paths.wantedEnd));
  const fresh = newLife(termsOf(request));
  return {
    ...fresh,
    phase: phaseOf(paths, outcome),
    registration: registered === undefined ? 'asked' : 'done',
    takesKilling: registered?.takesKilling ?? false,
    runTask: hasFact(paths.runTask),
    ...(outcome === undefined ? {} : { outcome }),
    ...(wantedEnd === undefined ? {} : { wantedEnd }),
    ...(hasFact(paths.destroyed) ? { dismissed: 'destroy' } : {}),
  };
}

function phaseOf(paths: ContainerPaths, outcome: Outcome | undefined): Life['phase'] {
  if (readTermination(paths) !== undefined) return 'reported';
  return outcome === undefined ? 'looking' : 'reporting';
}

const CAUSES: readonly EndCause[] = [
  'kill',
  'shutdown',
  'destroy',
  'refused',
  'slave-lost',
  'no-run-task',
  'forgotten',
  'unhealthy',
  'unreachable',
];

function parseWantedEnd(value: unknown): WantedEnd | undefined {
  if (typeof value !== 'object' || value === null || !('cause' in value) || !('graceMs' in value))
    return undefined;
  const cause = CAUSES.find((name) => name === value.cause);
  if (cause === undefined || typeof value.graceMs !== 'number') return undefined;
  const unhealthy = 'unhealthy' in value ? parseUnhealthy(value.unhealthy) : undefined;
  return {
    cause,
    graceMs: value.graceMs,
    ...(unhealthy === undefined ? {} : { unhealthy }),
    ...('why' in value && typeof value.why === 'string' ? { why: value.why } : {}),
  };
}

function parseUnhealthy(value: unknown): WantedEnd['unhealthy'] {
  if (typeof value !== 'object' || value === null || !('failures' in value) || !('text' in value))
    return undefined;
  const { failures, text } = value;
  return typeof failures === 'number' && typeof text === 'string' ? { failures, text } : undefined;
}

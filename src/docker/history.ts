// What a daemon remembers of the end of a container: its events, which it keeps in memory, the last few hundred of all
// containers. A daemon that has been restarted remembers nothing from before: since when it runs is told by what it makes
// anew at each start. Asking changes nothing.

import type { ContainerEvent, ContainerHistory } from '../container/end-evidence.ts';
import type { DockerId } from '../container/identity.ts';
import { isFault } from '../fault.ts';
import { readText } from './client.ts';
import { type Engine, REQUEST_TIMEOUT_MS } from './engine.ts';
import { dockerFault } from './faults.ts';

/** So many events Docker keeps (since 1.x); with fewer than these it has forgotten none. */
const EVENTS_KEPT = 256;
const TELLING = ['start', 'die', 'kill', 'oom', 'destroy'];

/** One try. `isComplete` is false unless asked for, which costs Docker more. */
export async function containerHistory(
  engine: Engine,
  id: DockerId,
  wholeMemory: boolean,
  signal: AbortSignal,
): Promise<ContainerHistory> {
  const filters = JSON.stringify({ container: [id], event: TELLING });
  const events = (await askEvents(engine, { filters }, signal)).flatMap(parseEvent);
  const isComplete = wholeMemory && (await askEvents(engine, {}, signal)).length < EVENTS_KEPT;
  return { events, isComplete };
}

/**
 * When this daemon began to serve, ms since 1970 by its own clock, the one of its containers' times: it makes its default
 * bridge anew at each start, before it serves. undefined where it is told to have none. A daemon that lets containers
 * live keeps the bridge with them: then it is the time of an earlier one.
 */
export async function daemonSince(engine: Engine, signal: AbortSignal): Promise<number | undefined> {
  try {
    const answer = await engine.askOnce('asking for the bridge', 'GET', '/networks/bridge', signal);
    const created = answer !== null && typeof answer === 'object' && 'Created' in answer && answer.Created;
    const sinceMs = typeof created === 'string' ? Date.parse(created) : Number.NaN;
    return sinceMs > 0 ? sinceMs : undefined;
  } catch (error) {
    if (isFault(error, 'not-found')) return undefined;
    throw error;
  }
}

async function askEvents(
  engine: Engine,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]);
  // Both ends are given: the answer is what is remembered, and ends.
  const window = { since: '1', until: (Date.now() / 1000).toFixed(6) };
  try {
    const response = await engine.client.open('GET', '/events', bounded, { query: { ...query, ...window } });
    const text = await readText(response, bounded);
    return text.split('\n').filter((line) => line !== '');
  } catch (error) {
    signal.throwIfAborted();
    throw dockerFault(error, 'events');
  }
}

/** None for what is no event that tells anything. */
function parseEvent(line: string): ContainerEvent[] {
  // Docker's own answer in Docker's own shape: what is read of it is checked below.
  const {
    Action: action,
    Actor: actor,
    time,
    timeNano,
  } = JSON.parse(line) as {
    Action?: unknown;
    time?: unknown;
    timeNano?: unknown;
    Actor?: { Attributes?: Readonly<Record<string, unknown>> };
  };
  const attributes = actor?.Attributes ?? {};
  const atMs = typeof timeNano === 'number' ? timeNano / 1e6 : Number(time) * 1000;
  switch (action) {
    case 'start':
    case 'oom':
    case 'destroy':
      return [{ action }];
    case 'die': {
      const exitCode = Number(attributes.exitCode);
      return Number.isInteger(exitCode) ? [{ action, exitCode, atMs }] : [];
    }
    case 'kill': {
      const signal = Number(attributes.signal);
      return Number.isInteger(signal) ? [{ action, signal, atMs }] : [];
    }
    default:
      return [];
  }
}

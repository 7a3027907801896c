// What a daemon remembers of the end of a container: its events, which it keeps in memory, the last few hundred of all
// containers. A daemon that has been restarted remembers nothing from before. Asking changes nothing.

import type { ContainerEvent, ContainerHistory } from '../container/end-evidence.ts';
import type { DockerId } from '../container/identity.ts';
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
  const { Action: action, Actor: actor } = JSON.parse(line) as {
    Action?: unknown;
    Actor?: { Attributes?: Readonly<Record<string, unknown>> };
  };
  const attributes = actor?.Attributes ?? {};
  switch (action) {
    case 'start':
    case 'oom':
    case 'destroy':
      return [{ action }];
    case 'die': {
      const exitCode = Number(attributes.exitCode);
      return Number.isInteger(exitCode) ? [{ action, exitCode }] : [];
    }
    case 'kill': {
      const signal = Number(attributes.signal);
      return Number.isInteger(signal) ? [{ action, signal }] : [];
    }
    default:
      return [];
  }
}

// Waiting for the end of a container without relying on Docker's answer alone: a daemon that hangs at that one request, or
// a connection that is half open, would keep an end from being noticed for ever. The kernel tells when the init is dead.

import type { DockerId } from '../container/identity.ts';
import type { Engine } from '../docker/engine.ts';
import { readJsonFact } from '../host/facts.ts';
import { rest } from '../host/pauses.ts';
import { isNotedAlive, parseNoted } from '../host/processes.ts';

/** The init is looked at this often; Docker, which hears of an end at once, is left that long to say so. */
const LOOK_EVERY_MS = 15_000;
const DEAD_LOOKS = 2;

/**
 * Docker's answer, that the container has ended or is not there; undefined if it has not said so long after its init died:
 * look then. `init` is the fact that names it; without one only Docker is asked. Faults as Engine.wait.
 */
export async function untilEnded(
  engine: Engine,
  id: DockerId,
  init: string,
  signal: AbortSignal,
): Promise<Awaited<ReturnType<Engine['wait']>> | undefined> {
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const seenDead = untilDead(init, either);
  const told = engine.wait(id, 'not-running', either);
  // Whichever comes second is called off.
  seenDead.catch(() => {});
  told.catch(() => {});
  try {
    return await Promise.race([told, seenDead]);
  } finally {
    over.abort();
  }
}

async function untilDead(init: string, signal: AbortSignal): Promise<undefined> {
  for (let deadLooks = 0; deadLooks < DEAD_LOOKS; ) {
    await rest(LOOK_EVERY_MS, signal);
    const noted = parseNoted(readJsonFact(init));
    deadLooks = noted === undefined || isNotedAlive(noted) ? 0 : deadLooks + 1;
  }
  return undefined;
}

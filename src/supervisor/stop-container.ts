// The one place where a container is ended: gently, then through Docker, then its init itself, which works with a Docker
// that hangs, too.

import type { DockerId } from '../container/identity.ts';
import type { Engine } from '../docker/engine.ts';
import { oneLine } from '../fault.ts';
import { readJsonFact } from '../host/facts.ts';
import type { Log } from '../host/log.ts';
import { rest } from '../host/pauses.ts';
import { isNotedAlive, parseNoted } from '../host/processes.ts';

/** After the grace: until SIGKILL is sent through Docker once more, and then to the pid itself. */
const KILL_AFTER_MS = 10_000;
const KILL_PID_AFTER_MS = 5_000;

export interface Stopping {
  readonly id: DockerId;
  /** The fact that names the container's init. */
  readonly init: string;
  /** Asks Docker, with repetition where it is away. */
  readonly ask: (what: string, work: (engine: Engine) => Promise<unknown>) => Promise<unknown>;
  readonly log: Log;
}

/**
 * Its stop signal, after the grace SIGKILL. `signal` is aborted when the container has ended; the promise rejects with its
 * reason then. May be called again, with a shorter grace.
 */
export async function stopContainer(
  { id, init, ask, log }: Stopping,
  graceMs: number,
  signal: AbortSignal,
): Promise<void> {
  const failed = (what: string, error: unknown): void => {
    if (!signal.aborted) log.warning(`${what} failed`, { error: oneLine(error) });
  };
  const begin = (what: string, work: (engine: Engine) => Promise<unknown>): void => {
    void ask(what, work).catch((error: unknown) => failed(what, error));
  };
  if (graceMs % 1000 === 0) {
    begin('stopping the container', (engine) => engine.stop(id, graceMs / 1000, signal));
    await rest(graceMs + KILL_AFTER_MS, signal);
  } else {
    // Docker counts whole seconds. The grace begins when the signal is sent; a Docker that hangs is not waited for long.
    const sent = ask('stopping the container', (engine) => engine.sendStopSignal(id, signal));
    await Promise.race([
      sent.catch((error: unknown) => failed('stopping the container', error)),
      rest(KILL_AFTER_MS, signal),
    ]);
    await rest(graceMs, signal);
    begin('killing the container', (engine) => engine.kill(id, 'SIGKILL', signal));
    await rest(KILL_AFTER_MS, signal);
  }
  log.warning('the container does not end, killing it', { graceMs });
  begin('killing the container', (engine) => engine.kill(id, 'SIGKILL', signal));
  await rest(KILL_PID_AFTER_MS, signal);
  const found = parseNoted(readJsonFact(init));
  if (found !== undefined && isNotedAlive(found)) {
    log.warning('Docker does not end the container, killing its init', { pid: found.pid });
    process.kill(found.pid, 'SIGKILL');
  }
}

// The one place where a container is ended: gently, then through Docker, then its init itself, which works with a Docker
// that hangs, too.

import type { DockerId } from '../container/identity.ts';
import type { Engine } from '../docker/engine.ts';
import { errnoOf, oneLine } from '../fault.ts';
import { readJsonFact } from '../host/facts.ts';
import type { Log } from '../host/log.ts';
import { pauseMs, rest } from '../host/pauses.ts';
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
 * Its stop signal, after the grace SIGKILL, again and again. `signal` is aborted when the container has ended; the promise rejects with its
 * reason then. May be called again, with a shorter grace.
 */
export async function stopContainer(
  { id, init, ask, log }: Stopping,
  graceMs: number,
  signal: AbortSignal,
): Promise<void> {
  const said = new Set<string>();
  const failed = (what: string, error: unknown): void => {
    if (signal.aborted || said.has(what)) return;
    said.add(what);
    log.warning(`${what} failed`, { error: oneLine(error) });
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
  for (let n = 0; ; n++) {
    begin('killing the container', (engine) => engine.kill(id, 'SIGKILL', signal));
    await rest(KILL_PID_AFTER_MS, signal);
    tryKillInit({ init, log }, n === 0, failed);
    // It may be the host that lacks something just now, or a kernel that waits for a disk.
    await rest(pauseMs(n), signal);
  }
}

/**
 * For a container of which Docker has not yet said anything: its noted init is killed once the bounds of stopContainer are
 * over. `signal` is aborted when Docker has answered; the promise rejects with its reason then.
 */
export async function killUnseen(
  { init, log, onKill }: Pick<Stopping, 'init' | 'log'> & { readonly onKill: () => void },
  graceMs: number,
  signal: AbortSignal,
): Promise<never> {
  await rest(graceMs + KILL_AFTER_MS + KILL_PID_AFTER_MS, signal);
  onKill();
  for (let n = 0; ; n++) {
    tryKillInit({ init, log }, n === 0, (what, error) => {
      if (n === 0) log.warning(`${what} failed`, { error: oneLine(error) });
    });
    await rest(pauseMs(n), signal);
  }
}

function tryKillInit(
  { init, log }: Pick<Stopping, 'init' | 'log'>,
  isFirst: boolean,
  failed: (what: string, error: unknown) => void,
): void {
  try {
    const pid = killInit(init);
    if (pid !== undefined && isFirst)
      log.warning('Docker does not end the container, killing its init', { pid });
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    failed('killing the init of the container', error);
  }
}

/** The one that was noted, if it still lives: its pid. */
function killInit(init: string): number | undefined {
  const found = parseNoted(readJsonFact(init));
  if (found === undefined || !isNotedAlive(found)) return undefined;
  process.kill(found.pid, 'SIGKILL');
  return found.pid;
}

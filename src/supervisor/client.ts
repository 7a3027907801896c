// How a verb reaches the supervisor of a state root, and starts it where none lives. Whoever starts it does not matter: one
// caller at a time may, the others wait for what comes of it; the lock in supervise.ts decides should there be several.

import { Fault } from '../fault.ts';
import { pause } from '../host/clock.ts';
import { REQUEST_VERSION } from '../state/records.ts';
import { checkRecords } from '../state/root.ts';
import { askByFile } from './ask-by-file.ts';
import { noAnswer, type Request } from './protocol.ts';
import type { Starter, SupervisorStart } from './starter.ts';

/** A supervisor that was just started needs some 60 ms to bind its socket; looked for with these pauses. */
const START_PAUSE_MS = 10;
const START_PAUSE_MS_MAX = 200;

export interface AskOptions {
  /** Bound on the whole call, starting included. */
  readonly timeoutMs: number;
  /** How to start a supervisor where none answers. */
  readonly start: SupervisorStart;
}

/**
 * Asks the supervisor of `root`, one of our own build if one has to be started. Throws Fault `timeout` if the answer did
 * not come in time, with what one that could not start has said of it, `refused` with the supervisor's own words,
 * `protocol` if a later release has been here.
 */
export async function ask(root: string, request: Request, options: AskOptions): Promise<void> {
  const deadline = Date.now() + options.timeoutMs;
  const by = { version: options.start.version, records: REQUEST_VERSION };
  using started = new DisposableStack();
  let starter: Starter | undefined;
  let wait = START_PAUSE_MS;
  for (;;) {
    const left = deadline - Date.now();
    if (left <= 0) throw noAnswer(options.timeoutMs, starter?.said());
    const reply =
      (await askByFile(root, request, by, left)) ??
      (await (await import('./ask-by-socket.ts')).askBySocket(root, request, by, left));
    if (reply !== undefined) {
      if (reply.ok) return;
      throw new Fault('refused', reply.detail);
    }
    checkRecords(root);
    starter ??= started.use(new (await import('./starter.ts')).Starter(root, options.start));
    if (await starter.start()) wait = START_PAUSE_MS;
    await pause(Math.min(wait, Math.max(deadline - Date.now(), 1)));
    wait = Math.min(wait * 2, START_PAUSE_MS_MAX);
  }
}

/** Whether a supervisor of `root` answers; none is started. Fault `timeout`, `protocol`, `host` where one is there and does not. */
export async function isAnswering(root: string, version: string, timeoutMs: number): Promise<boolean> {
  const { askBySocket } = await import('./ask-by-socket.ts');
  const by = { version, records: REQUEST_VERSION };
  return (await askBySocket(root, { op: 'ready' }, by, timeoutMs)) !== undefined;
}

// `deimos launch --no-fork`: the same launch, and then staying with it: output and end are shown, and the exit status is the
// task's own. The supervisor does the work as ever, so that an interrupted terminal loses nothing; Ctrl-C ends the task.

import { onExit } from 'signal-exit';
import { escapeControl, Fault, oneLine } from '../fault.ts';
import { writeFactSync } from '../host/facts.ts';
import { FollowedFile } from '../host/followed-file.ts';
import { rest } from '../host/pauses.ts';
import type { TerminationRecord } from '../state/records.ts';
import { readTermination } from '../state/store.ts';
import { ask } from '../supervisor/client.ts';
import type { Call } from './call.ts';
import { copyOn } from './copy-on.ts';
import { launchRecord } from './launch.ts';

/** How often new output is looked for. */
const LOOK_MS = 50;
const DESTROY_TIMEOUT_MS = 60_000;

/** The task's exit status; 4 where it could not be started, 128 + n where a signal ended it. Faults as `launch`. */
export async function foreground(call: Call, write: (text: string) => void): Promise<number> {
  const { root, paths, request } = await launchRecord(call);
  const id = request.task.containerId;
  const start = call.supervisorStart();
  // Whoever launches by hand waits by being here.
  writeFactSync(paths.waitSeen, '{}');
  const end = (): void => {
    call.log.info('ending the task', { mesosId: id });
    const request = { op: 'destroy', container: id } as const;
    void ask(root, request, { timeoutMs: DESTROY_TIMEOUT_MS, start }).catch((error: unknown) => {
      process.stderr.write(`deimos launch: the task does not end: ${oneLine(error)}\n`);
    });
  };
  // Each asks anew: the first may have failed.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, end);
  const unregister = onExit(() => {
    // Ended by something else than our own return: say what goes on without us.
    process.stderr.write(`deimos launch: the task goes on; its state is ${paths.directory}\n`);
  });
  using files = new DisposableStack();
  const streams = (['stdout', 'stderr'] as const).map((name) => ({
    file: files.use(new FollowedFile(`${request.task.sandbox}/${name}`)),
    to: process[name],
  }));
  let termination: TerminationRecord | undefined;
  for (;;) {
    termination = readTermination(paths);
    for (const { file, to } of streams) await copyOn(file, to);
    if (termination !== undefined) break;
    // A supervisor that died is started again by whoever waits.
    await ask(root, { op: 'ready' }, { timeoutMs: DESTROY_TIMEOUT_MS, start });
    await rest(LOOK_MS, new AbortController().signal);
  }
  unregister();
  writeFactSync(paths.delivered, '');
  if (termination.status === undefined) throw new Fault('docker', termination.message);
  write(`deimos: ${escapeControl(termination.message)}\n`);
  return (termination.status >> 8) & 0xff;
}

// `deimos launch --no-fork`: the same launch, and then staying with it: output and end are shown, and the exit status is the
// task's own. The supervisor does the work as ever, so that an interrupted terminal loses nothing; Ctrl-C ends the task.

import { closeSync, constants, openSync, readSync } from 'node:fs';
import { onExit } from 'signal-exit';
import { errnoOf, Fault, oneLine } from '../fault.ts';
import { writeFactSync } from '../host/facts.ts';
import { rest } from '../host/pauses.ts';
import type { TerminationRecord } from '../state/records.ts';
import { readTermination } from '../state/store.ts';
import { ask } from '../supervisor/client.ts';
import type { Call } from './call.ts';
import { launchRecord } from './launch.ts';

/** How often new output is looked for. */
const LOOK_MS = 50;
const DESTROY_TIMEOUT_MS = 60_000;
const CHUNK_BYTES = 64 * 1024;

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
  const tails = [
    { path: `${request.task.sandbox}/stdout`, to: process.stdout },
    { path: `${request.task.sandbox}/stderr`, to: process.stderr },
  ].map(({ path, to }) => new Tail(path, to));
  let termination: TerminationRecord | undefined;
  for (;;) {
    termination = readTermination(paths);
    for (const tail of tails) tail.copy();
    if (termination !== undefined) break;
    // A supervisor that died is started again by whoever waits.
    await ask(root, { op: 'ready' }, { timeoutMs: DESTROY_TIMEOUT_MS, start });
    await rest(LOOK_MS, new AbortController().signal);
  }
  unregister();
  for (const tail of tails) tail.close();
  writeFactSync(paths.delivered, '');
  if (termination.status === undefined) throw new Fault('docker', termination.message);
  write(`deimos: ${termination.message}\n`);
  return (termination.status >> 8) & 0xff;
}

/** Copies what is appended to a file. */
class Tail {
  readonly #path: string;
  readonly #to: NodeJS.WritableStream;
  readonly #buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  #fd: number | undefined;
  #position = 0;

  constructor(path: string, to: NodeJS.WritableStream) {
    this.#path = path;
    this.#to = to;
  }

  copy(): void {
    this.#fd ??= this.#open();
    if (this.#fd === undefined) return;
    for (;;) {
      const length = readSync(this.#fd, this.#buffer, 0, this.#buffer.length, this.#position);
      if (length === 0) return;
      this.#position += length;
      this.#to.write(Buffer.from(this.#buffer.subarray(0, length)));
    }
  }

  #open(): number | undefined {
    try {
      return openSync(this.#path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

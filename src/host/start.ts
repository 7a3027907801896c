// Starts programs. The runtime tells what the kernel refuses now by an event, now by throwing, and now without the streams
// that were asked for; here it is one Fault `host` that says what is lacking, and what is returned runs.

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { errnoOf, Fault, oneLine } from '../fault.ts';
import { CHILD_ENVIRONMENT } from './programs.ts';

/** For a program that answers at once; this bounds a host that cannot even start a process. */
const AT_ONCE_MS = 10_000;

const LACKING: Readonly<Record<string, string>> = {
  EAGAIN: 'no more processes may be started here',
  ENOMEM: 'there is not enough memory',
  EMFILE: 'this process may not open any more files',
  ENFILE: 'this host may not open any more files',
};

/**
 * The process of `argv`; `what` names it for people. Fault `host` if it cannot be started. Its events come after that of
 * the start: who listens to them at once, when this has resolved, misses none.
 */
export async function startProgram(
  what: string,
  argv: readonly [file: string, ...words: string[]],
  options: SpawnOptions,
): Promise<ChildProcess> {
  const [file, ...words] = argv;
  try {
    const child = spawn(file, words, options);
    await once(child, 'spawn');
    return child;
  } catch (error) {
    const code = errnoOf(error);
    if (code === undefined) throw error;
    const lacking = LACKING[code];
    const why = lacking === undefined ? oneLine(error) : `${lacking} (${code})`;
    throw new Fault('host', `cannot start ${what}: ${why}`, error);
  }
}

/**
 * The exit status of a program that has only that to say; null if a signal ended it, as ours does at the bound. Fault `host`
 * as startProgram.
 */
export async function statusOf(
  what: string,
  argv: readonly [file: string, ...words: string[]],
  stdio: SpawnOptions['stdio'],
): Promise<number | null> {
  const child = await startProgram(what, argv, {
    ...{ stdio, cwd: '/', env: CHILD_ENVIRONMENT },
    ...{ timeout: AT_ONCE_MS, killSignal: 'SIGKILL' },
  });
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code));
  });
}

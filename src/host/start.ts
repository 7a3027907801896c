// Starts programs. The runtime tells what the kernel refuses now by an event, now by throwing, and now without the streams
// that were asked for; here it is one Fault `host` that says what is lacking, and what is returned runs.

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { errnoOf, Fault, oneLine } from '../fault.ts';

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

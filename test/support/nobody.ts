// A user of this host with no rights: a process of its own as uid 65534, which connects where it is told, or listens there. What it
// finds it prints, a line each.

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { NobodyTask } from './nobody-process.ts';
import { killAll } from './proc.ts';
import { until } from './until.ts';

const PROCESS = fileURLToPath(new URL('nobody-process.ts', import.meta.url));
export const NOBODY = 65_534;

export interface Nobody extends AsyncDisposable {
  /** All that it has printed. */
  heard(): string;
  /** Waits until that has a place like this, and gives it. */
  said(words: RegExp): Promise<RegExpExecArray>;
}

/** For setpriv(1). */
export const AS_NOBODY = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'] as const;

export async function asNobody(task: NobodyTask): Promise<Nobody> {
  const words = [...AS_NOBODY, '--pdeathsig', 'KILL', '--', process.execPath, PROCESS, JSON.stringify(task)];
  const child: ChildProcess = spawn('setpriv', words, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  const said = async (words: RegExp): Promise<RegExpExecArray> =>
    await until(`${words} of ${task.do}`, () => words.exec(text) ?? undefined, { timeoutMs: 60_000 });
  const nobody: Nobody = {
    heard: () => text,
    said,
    [Symbol.asyncDispose]: async () => {
      if (child.pid !== undefined && child.exitCode === null) await killAll([child.pid]);
    },
  };
  await said(/^ready$/m);
  return nobody;
}

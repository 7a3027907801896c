// A program on a terminal of its own, of a size that a test chooses: what it draws is what came out, and keys can be pressed.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Argv } from './command.ts';

/** What came out at once, and when: milliseconds since the program's start. */
export interface Piece {
  readonly atMs: number;
  readonly text: string;
}

export interface OnTerminal extends AsyncDisposable {
  /** All that came out so far, control sequences included. */
  drawn(): string;
  /** The same as it came. */
  pieces(): readonly Piece[];
  press(keys: string): void;
  /** Its end, as the status that script(1) makes of it. */
  ended(): Promise<number | null>;
}

export const CTRL_C = '\x03';

/** Through script(1), which has the terminal. Words of `argv` may contain anything but a single quote. */
export function onTerminal(
  argv: Argv,
  size: { readonly columns: number; readonly rows: number },
  environment: Readonly<Record<string, string>> = { TERM: 'xterm', LANG: 'C.UTF-8' },
): OnTerminal {
  const words = argv.map((word) => `'${word}'`).join(' ');
  const command = `stty cols ${size.columns} rows ${size.rows}; exec ${words}`;
  const child: ChildProcess = spawn('script', ['-qefc', command, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', SHELL: '/bin/sh', ...environment },
  });
  const ended = once(child, 'close');
  const startedAt = performance.now();
  const pieces: Piece[] = [];
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    pieces.push({ atMs: performance.now() - startedAt, text });
  });
  return {
    drawn: () => pieces.map(({ text }) => text).join(''),
    pieces: () => pieces,
    press: (keys) => void child.stdin?.write(keys),
    ended: async () => {
      await ended;
      return child.exitCode;
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

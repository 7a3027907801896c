// Runs a program under steps.c, which counts the steps by which it changes files, and kills it or has it fail at one of
// them. The tool is compiled when it is first needed.

import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { Argv } from './command.ts';
import { compiled } from './compiled.ts';

export interface Step {
  readonly number: number;
  /** `create`, `write`, `rename` …: the name of a system call without its variants. */
  readonly call: string;
  readonly path: string;
  readonly failed: boolean;
}

/** What is done at step `at`. */
export type StepFault =
  | { readonly at: number; readonly kill: true }
  /** Calls fail with this errno from there on, for so long. */
  | { readonly at: number; readonly errno: number; readonly forMs: number };

/** What is written to sockets, and the starts of other processes, as further places of steps. */
export const SOCKETS = 'socket:';
export const PROCESSES = 'process:';

export const ENOSPC = 28;
export const EROFS = 30;

export interface StepsOptions {
  /** Changes below these are steps; also SOCKETS and PROCESSES. */
  readonly under: readonly string[];
  /** Made, and appended to. */
  readonly log: string;
  readonly fault?: StepFault;
}

/** The tool's program. */
export async function stepsProgram(): Promise<string> {
  return await compiled('steps.c');
}

/** `argv` so that its steps are counted; `program` is `stepsProgram()`. */
export function underSteps(program: string, options: StepsOptions, argv: Argv): Argv {
  const under = options.under.flatMap((directory) => ['--under', directory]);
  return [program, '--log', options.log, ...under, ...faultWords(options.fault), '--', ...argv];
}

/** As options of the tool. */
export function faultWords(fault: StepFault | undefined): readonly string[] {
  if (fault === undefined) return [];
  const at = ['--at', String(fault.at)];
  if ('kill' in fault) return [...at, '--kill'];
  return [...at, '--fail', String(fault.errno), '--for', String(fault.forMs)];
}

/** The steps that a log tells of, so far. */
export function stepsIn(log: string): readonly Step[] {
  if (!existsSync(log)) return [];
  return readFileSync(log, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const match = /^(\d+) (\w+) (.*?)( failed)?$/.exec(line);
      if (match === null) return [];
      const [, number, call = '', path = '', failed] = match;
      return [{ number: Number(number), call, path, failed: failed !== undefined }];
    });
}

/** Starts it in the background, without descriptors of ours, as its own session. */
export function startDetached(argv: Argv): { readonly pid: number; readonly ended: Promise<number | null> } {
  const [file, ...rest] = argv;
  const child = spawn(file, rest, {
    cwd: '/',
    stdio: 'ignore',
    detached: true,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code));
  });
  if (child.pid === undefined) throw new Error(`${file} could not be started`);
  return { pid: child.pid, ended };
}

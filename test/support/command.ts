// Runs a real program to its end and gives back all that it said. For the tests' own tools (docker, tar, ip); the
// program under test goes through slave.ts, which treats it as a slave would. Never through a shell.

import { Buffer } from 'node:buffer';
import { spawn } from 'node:child_process';

const DEFAULT_TIMEOUT_MS = 120_000;

export type Argv = readonly [file: string, ...rest: string[]];

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
  readonly durationMs: number;
}

export interface CommandOptions {
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Then the program is SIGKILLed and the promise rejects; 120 s unless told. */
  readonly timeoutMs?: number;
}

/** Runs `argv`; any exit status is an answer. Rejects only if it cannot be started or runs out of time. */
export async function outcomeOf(argv: Argv, options: CommandOptions = {}): Promise<Outcome> {
  const [file, ...rest] = argv;
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const startedAt = performance.now();
  return await new Promise<Outcome>((resolve, reject) => {
    const child = spawn(file, rest, {
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.env === undefined ? {} : { env: options.env }),
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${argv.join(' ')}: still running after ${timeoutMs} ms`));
    }, timeoutMs);
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    // A program that ends without reading its input is no failure of ours.
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({
        code,
        signal,
        stdout: Buffer.concat(stdout),
        stderr: Buffer.concat(stderr).toString(),
        durationMs: performance.now() - startedAt,
      });
    });
  });
}

/** Runs `argv` and gives its stdout without the last line end; rejects with its stderr when the status is not 0. */
export async function output(argv: Argv, options: CommandOptions = {}): Promise<string> {
  const outcome = await outcomeOf(argv, options);
  if (outcome.code !== 0) {
    const how = outcome.signal ?? `status ${outcome.code}`;
    throw new Error(
      `${argv.join(' ')}: ${how}: ${outcome.stderr.trim() || outcome.stdout.toString().trim()}`,
    );
  }
  return outcome.stdout.toString().replace(/\r?\n$/, '');
}

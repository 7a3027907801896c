// What the program under test runs, as /proc shows it: its processes with their memory, and whether a secret ever
// stood in some argv or environment. Looks only.

import { spawn } from 'node:child_process';
import { readlinkSync, realpathSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { allPids, argvOf, procFile, statOf } from './proc.ts';
import { readyOf } from './registry.ts';

const SAMPLER = fileURLToPath(new URL('sampler-process.ts', import.meta.url));

export interface FoundProcess {
  readonly pid: number;
  readonly parent: number;
  /** `program`: it executes the binary itself. `flock`: a flock(1) that will start it. */
  readonly kind: 'program' | 'flock';
  readonly argv: readonly string[];
  readonly environ: readonly string[];
  /** Proportional set size: shared pages divided among those who share them. */
  readonly pssBytes: number;
}

/** Every process that executes `binary`, and every flock(1) that names it as the command to start. */
export function processesOf(binary: string): FoundProcess[] {
  const path = realpathSync(binary);
  return allPids().flatMap((pid) => {
    const executable = executableOf(pid);
    const argv = argvOf(pid);
    const parent = statOf(pid)?.parent;
    if (executable === undefined || argv === undefined || parent === undefined) return [];
    const waiting = basename(executable) === 'flock' && (argv.includes(binary) || argv.includes(path));
    if (executable !== path && !waiting) return [];
    const environ = (procFile(pid, 'environ') ?? '').split('\0').filter((entry) => entry !== '');
    return [{ pid, parent, kind: waiting ? 'flock' : 'program', argv, environ, pssBytes: pssOf(pid) }];
  });
}

/** 0 if the process has gone. */
export function pssOf(pid: number): number {
  return rollupOf(pid, /^Pss:\s+(\d+) kB$/m);
}

/** Of it what no file has, and so nobody shares whoever else runs the program; 0 if the process has gone. */
export function anonymousOf(pid: number): number {
  return rollupOf(pid, /^Pss_Anon:\s+(\d+) kB$/m);
}

function rollupOf(pid: number, line: RegExp): number {
  return Number(line.exec(procFile(pid, 'smaps_rollup') ?? '')?.[1] ?? 0) * 1024;
}

function executableOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, '');
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}

export interface SecretHit {
  readonly pid: number;
  readonly argv: readonly string[];
  readonly where: 'argv' | 'environ';
  readonly secret: string;
}

export interface SamplerResult {
  /** One for each process, place and secret. */
  readonly hits: readonly SecretHit[];
  /** How often all of /proc was read. */
  readonly scans: number;
}

export interface Sampler extends AsyncDisposable {
  stop(): Promise<SamplerResult>;
}

/**
 * Reads every process's argv and environ over and over (some hundred times a second), in a process of its own, until
 * stopped. Processes in another pid namespace are containers and are passed over. The secrets go over IPC: the sampler
 * has them in neither place itself.
 */
export async function startSampler(secrets: readonly string[]): Promise<Sampler> {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', process.execPath, SAMPLER], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  child.send(secrets);
  await readyOf(child);
  const stop = async () =>
    await new Promise<SamplerResult>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the sampler ended with ${code}`)));
      // Our own two programs agree on this shape.
      child.once('message', (result) => resolve(result as SamplerResult));
      child.send('stop');
    }).finally(() => child.kill('SIGKILL'));
  return {
    stop,
    [Symbol.asyncDispose]: async () => void child.kill('SIGKILL'),
  };
}

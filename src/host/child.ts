// Programs that the supervisor runs: each leads a session and process group of its own, dies with the supervisor, is
// bounded, can be called off, and is gone with its whole group when runChild returns. What the kernel does not end for
// us when the supervisor dies (grandchildren) is noted in a directory, for the next supervisor to end.

import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { errnoOf, escapeControl } from '../fault.ts';
import { makeDirectory, readJsonFact, removeIfPossible, removeSync, writeFactSync } from './facts.ts';
import { bootId, identify, isAlive, noted, parseNoted, processStat } from './processes.ts';
import { findProgram, underSetpriv } from './programs.ts';
import { startProgram } from './start.ts';
import { Tail } from './tail.ts';

/** Of what a program writes the last part is kept: its complaint stands at the end. */
const WORDS_MAX_BYTES = 16 * 1024;
/** How often it is looked whether something moves. */
const LOOK_MS = 1_000;
/** And whether it has written too much. */
const LOOK_AT_MOST_MS = 100;
/** Once killed, a process is gone at once unless the kernel waits for a disk or a file server. */
const GONE_MS = 5_000;
/** A grandchild in a session of its own may hold our end of a pipe open. */
const CLOSE_MS = 1_000;

/** How much a child may write to disk. */
export interface WriteBound {
  /** No file that it writes becomes larger: the kernel ends it with SIGXFSZ, or refuses with EFBIG. */
  readonly fileBytes: number;
  /** Told what it has written so far, in bytes: whether that is too much. */
  isOver(bytes: number): boolean;
  /** What is said then. */
  readonly words: string;
}

export interface ChildOptions {
  readonly cwd: string;
  /** In full. */
  readonly env: Readonly<Record<string, string>>;
  /** Options of setpriv(1): as whom it runs. Absent: as we are. */
  readonly as?: readonly string[];
  /** For stdin; absent: /dev/null. */
  readonly input?: string;
  /** Open files for stdout and stderr; absent: pipes, read by us. */
  readonly output?: { readonly stdout: number; readonly stderr: number };
  readonly onStdout?: (chunk: Buffer) => void;
  /** The directory in which the process group is noted while it runs; made if absent, not so the one that it lies in. */
  readonly noteIn: string;
  /** Ends it when aborted: with SIGKILL, and with its group. */
  readonly signal: AbortSignal;
  /** It may take no longer than this. */
  readonly boundMs?: number;
  /** It may not go without progress for longer than this; `bytes` grows while there is some, and so does its stdout. */
  readonly stall?: { readonly ms: number; readonly bytes: (pid: number) => number };
  /** It may write no more than this; `bytes` is what it has written, asked ten times a second. */
  readonly most?: { readonly bound: WriteBound; readonly bytes: (pid: number) => number };
}

export interface ChildEnd {
  /** By itself, or ended by us since a bound was over. */
  readonly how: 'ended' | 'late' | 'stalled' | 'over';
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last 16 KiB of each; empty where `output` was given. */
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program to its end. Any exit status is an answer. Rejects with the signal's reason when aborted, and with
 * Fault `host` if it cannot be started (setpriv itself exits with 127 where it does not find the program).
 */
export async function runChild(argv: readonly string[], options: ChildOptions): Promise<ChildEnd> {
  const { signal, output } = options;
  signal.throwIfAborted();
  makeDirectory(options.noteIn);
  const fileBytes = options.most?.bound.fileBytes;
  const bounded =
    fileBytes === undefined
      ? argv
      : [findProgram('prlimit'), `--fsize=${fileBytes}:${fileBytes}`, '--', ...argv];
  const words = underSetpriv([...(options.as ?? []), '--pdeathsig', 'KILL', '--', ...bounded]);
  const child = await startProgram(argv[0] ?? '', words, {
    cwd: options.cwd,
    env: options.env,
    stdio: [
      options.input === undefined ? 'ignore' : 'pipe',
      output?.stdout ?? 'pipe',
      output?.stderr ?? 'pipe',
    ],
    detached: true,
  });
  const exited = exitOf(child);
  const stdout = new Tail(WORDS_MAX_BYTES);
  const stderr = new Tail(WORDS_MAX_BYTES);
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout.take(chunk);
    options.onStdout?.(chunk);
  });
  child.stderr?.on('data', (chunk: Buffer) => stderr.take(chunk));
  // A program that ends without reading its input says why by its status.
  child.stdin?.on('error', () => {});
  child.stdin?.end(options.input);
  const watch = watchOver(child, options, () => stdout.bytes);
  let note: string | undefined;
  try {
    note = noteGroup(options.noteIn, child.pid);
    const how = await Promise.race([exited.then(() => 'ended' as const), watch.over]);
    killGroup(child);
    await atMost(exited, GONE_MS);
    await atMost(closeOf(child), CLOSE_MS);
    signal.throwIfAborted();
    return {
      how,
      code: child.exitCode,
      signal: child.signalCode,
      stdout: stdout.text(),
      stderr: stderr.text(),
    };
  } catch (error) {
    killGroup(child);
    throw error;
  } finally {
    watch.end();
    child.stdout?.destroy();
    child.stderr?.destroy();
    // What is left of it on a read-only disk names a process that is gone, and the next supervisor takes it for that.
    if (note !== undefined) removeIfPossible(note);
  }
}

/** The last line that a program wrote, on one line, control characters escaped; undefined where it wrote none. */
export function lastLine(words: string): string | undefined {
  const line = words
    .split(/[\r\n]/)
    .map((one) => one.trim())
    .findLast((one) => one !== '');
  return line === undefined ? undefined : escapeControl(line);
}

/** How a program ended that said nothing about it. */
export function endInWords({ how, code, signal }: ChildEnd): string {
  if (how === 'late') return 'ended at its bound';
  if (how === 'stalled') return 'ended since nothing moved';
  if (how === 'over') return 'ended since it wrote too much';
  return signal === null ? `ended with status ${code}` : `ended by ${signal}`;
}

/** What a process has written so far, to files as well as to pipes; 0 once it is gone. */
export function bytesWrittenBy(pid: number): number {
  return writtenAt(`/proc/${pid}/io`);
}

/** The same by its first thread alone, without what children of it wrote that have ended. */
export function bytesWrittenByItself(pid: number): number {
  return writtenAt(`/proc/${pid}/task/${pid}/io`);
}

function writtenAt(path: string): number {
  try {
    return Number(/^wchar: (\d+)$/m.exec(readFileSync(path, 'utf8'))?.[1] ?? 0);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return 0;
  }
}

/**
 * Ends what is left of the programs that were noted in `directory` by a supervisor that died, and forgets them. Returns
 * the number of processes killed. A number that meanwhile belongs to somebody else is left alone. Repeatable.
 */
export function endLeftovers(directory: string): number {
  let killed = 0;
  for (const name of namesIn(directory)) {
    const leader = parseNoted(readJsonFact(`${directory}/${name}`));
    if (leader !== undefined && leader.bootId === bootId())
      killed += killSession(leader.pid, leader.startTime);
    removeSync(`${directory}/${name}`);
  }
  return killed;
}

function noteGroup(directory: string, pid: number | undefined): string | undefined {
  const identity = pid === undefined ? undefined : identify(pid);
  if (identity === undefined) return undefined;
  const path = `${directory}/${identity.pid}`;
  writeFactSync(path, JSON.stringify(noted(identity)));
  return path;
}

/** A session keeps its leader's number taken for as long as a member lives. */
function killSession(leader: number, startTime: number): number {
  const now = identify(leader);
  if (now !== undefined && now.startTime !== startTime) return 0;
  let killed = 0;
  for (const name of namesIn('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const pid = Number(name);
    const stat = processStat(pid);
    if (stat === undefined || stat.session !== leader || stat.startTime < startTime) continue;
    if (!isAlive({ pid, startTime: stat.startTime })) continue;
    killed += kill(pid) ? 1 : 0;
  }
  return killed;
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

function killGroup(child: ChildProcess): void {
  if (child.pid !== undefined) kill(-child.pid);
}

function kill(pid: number): boolean {
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ESRCH') return false;
    throw error;
  }
}

function exitOf(child: ChildProcess): Promise<void> {
  const exited = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => resolve());
  });
  // Whoever raced against it may have lost interest.
  exited.catch(() => {});
  return exited;
}

function closeOf(child: ChildProcess): Promise<void> {
  const streams = [child.stdout, child.stderr].filter((stream) => stream !== null);
  return Promise.all(
    streams.map((stream) =>
      stream.closed ? undefined : new Promise<void>((resolve) => stream.once('close', () => resolve())),
    ),
  ).then(() => undefined);
}

async function atMost(work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const bound = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, bound]).finally(() => clearTimeout(timer));
}

interface Watch {
  /** Fulfilled when a bound is over, or with `late` when aborted. */
  readonly over: Promise<'late' | 'stalled' | 'over'>;
  end(): void;
}

function watchOver(child: ChildProcess, options: ChildOptions, stdoutBytes: () => number): Watch {
  const { signal, boundMs, stall, most } = options;
  const { promise, resolve } = Promise.withResolvers<'late' | 'stalled' | 'over'>();
  const onAbort = (): void => resolve('late');
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  const bound = boundMs === undefined ? undefined : setTimeout(() => resolve('late'), boundMs);
  let last = 0;
  let movedAt = performance.now();
  const look =
    stall === undefined
      ? undefined
      : setInterval(
          () => {
            const bytes = stall.bytes(child.pid ?? 0) + stdoutBytes();
            if (bytes !== last) movedAt = performance.now();
            else if (performance.now() - movedAt >= stall.ms) resolve('stalled');
            last = bytes;
          },
          Math.min(LOOK_MS, stall.ms),
        );
  const lookAtMost =
    most === undefined
      ? undefined
      : setInterval(() => {
          if (most.bound.isOver(most.bytes(child.pid ?? 0))) resolve('over');
        }, LOOK_AT_MOST_MS);
  return {
    over: promise,
    end: () => {
      signal.removeEventListener('abort', onAbort);
      clearTimeout(bound);
      clearInterval(look);
      clearInterval(lookAtMost);
    },
  };
}

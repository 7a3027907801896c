// One call of the containerizer as a slave makes it: a process of its own session under /bin/sh, over real pipes, its
// record on stdin, which then stays open, its answer on stdout. What the process does wrong is told, never mended.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync, unlinkSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { allPids, isAlive, signalPid, statOf, treeOf } from './proc.ts';
import type { Call, CallEnd } from './slave-protocol.ts';

/** After a call has ended nobody may hold its stdout and stderr; the kernel needs a moment to say so. */
const HELD_OPEN_MS = 1_000;

export interface VerbOptions {
  /** Unique in the life of the slave. */
  readonly number: number;
  readonly containerizer: string;
  readonly verb: string;
  readonly containerId: string | undefined;
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
  /** The message, without its length; undefined: nothing on stdin, which is open all the same. */
  readonly record: Uint8Array | undefined;
  /** Where stderr is appended; undefined: thrown away. */
  readonly sandbox: string | undefined;
  /** Whether a record is expected on stdout. */
  readonly answers: boolean;
  readonly stdinByteMs: number | undefined;
  readonly leakDescriptors: boolean;
  /** Where its pipes have their names for a moment. */
  readonly pipeDirectory: string;
}

export interface VerbSinks {
  readonly started: (call: Call) => void;
  readonly ended: (end: CallEnd) => void;
  readonly violation: (text: string) => void;
}

export interface VerbResult {
  readonly code: number | null;
  readonly signal: string | null;
  /** The record on stdout without its length; undefined unless the status was 0 and it was whole. */
  readonly answer: Uint8Array | undefined;
}

export interface RunningVerb {
  readonly pid: number;
  readonly done: Promise<VerbResult>;
  /** SIGKILL to the process, its whole tree, its group and its session. */
  killTree(): void;
}

/** Starts a call; `sinks` hear how it goes. */
export async function startVerb(options: VerbOptions, sinks: VerbSinks): Promise<RunningVerb> {
  const { number, pipeDirectory } = options;
  const [stdin, stdout, stderr, leaked] = await makePipes(pipeDirectory, number);
  const leaks = options.leakDescriptors ? [leaked.read, leaked.write] : [];
  // env: SIGPIPE stays ignored, as a slave leaves it; it becomes sh, with the same pid.
  const child = spawn(
    '/usr/bin/env',
    ['--ignore-signal=PIPE', '/bin/sh', '-c', `${options.containerizer} ${options.verb}`],
    {
      cwd: options.cwd,
      env: options.environment,
      detached: true,
      stdio: [stdin.read, stdout.write, stderr.write, ...leaks],
    },
  );
  for (const descriptor of [stdin.read, stdout.write, stderr.write, leaked.read, leaked.write])
    closeSync(descriptor);
  const input = new Socket({ fd: stdin.write, readable: false, writable: true });
  input.on('error', () => {});
  const { pid } = child;
  if (pid === undefined) {
    input.destroy();
    closeSync(stdout.read);
    closeSync(stderr.read);
    throw new Error(`no process for ${options.verb} in ${options.cwd}`);
  }
  sinks.started({
    number,
    verb: options.verb,
    containerId: options.containerId,
    cwd: options.cwd,
    pid,
    startTicks: statOf(pid)?.startTicks ?? 0,
    startedAt: Date.now(),
  });
  const out = collect(stdout.read, () => {});
  const errorFile = options.sandbox === undefined ? undefined : join(options.sandbox, 'stderr');
  const err = collect(stderr.read, async (chunk) => {
    if (errorFile !== undefined) await appendFile(errorFile, chunk);
  });
  void feed(input, options.record, options.stdinByteMs);
  const finished = finish(child, { options, sinks, out, err, input });
  return { pid, done: finished, killTree: () => killSession(pid) };
}

/** Whether it comes in time. Asked twice: a slave that was busy sees its timer before what had come long ago. */
async function within(promise: Promise<void>, timeoutMs: number): Promise<boolean> {
  for (const pauseMs of [timeoutMs, timeoutMs / 4]) {
    const first = await Promise.race([promise.then(() => 'in time'), sleep(pauseMs, 'late', { ref: false })]);
    if (first === 'in time') return true;
  }
  return false;
}

interface Collected {
  readonly chunks: Buffer[];
  readonly ended: Promise<void>;
  readonly socket: Socket;
}

function collect(descriptor: number, onChunk: (chunk: Buffer) => unknown): Collected {
  const chunks: Buffer[] = [];
  const socket = new Socket({ fd: descriptor, readable: true, writable: false });
  const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const writes = { last: Promise.resolve() as Promise<unknown> };
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    writes.last = writes.last.then(() => onChunk(chunk));
  });
  return { chunks, ended: ended.then(async () => void (await writes.last)), socket };
}

interface Ending {
  readonly options: VerbOptions;
  readonly sinks: VerbSinks;
  readonly out: Collected;
  readonly err: Collected;
  readonly input: Socket;
}

async function finish(child: ChildProcess, ending: Ending): Promise<VerbResult> {
  const { options, sinks, out, err, input } = ending;
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    child.once('exit', (status, by) => resolve([status, by])),
  );
  const name = `${options.verb} ${options.containerId ?? ''}`.trim();
  for (const [stream, collected] of Object.entries({ stdout: out, stderr: err })) {
    if (!(await within(collected.ended, HELD_OPEN_MS)))
      sinks.violation(`${name}: somebody holds its ${stream} open after its end`);
    collected.socket.destroy();
  }
  input.destroy();
  const stdout = Buffer.concat(out.chunks);
  const stderr = Buffer.concat(err.chunks).toString();
  sinks.ended({ number: options.number, code, signal, stdout, stderr, endedAt: Date.now() });
  return { code, signal, answer: code === 0 ? answerOf(options, stdout, name, sinks) : undefined };
}

function answerOf(
  options: VerbOptions,
  stdout: Buffer,
  name: string,
  sinks: VerbSinks,
): Uint8Array | undefined {
  if (!options.answers) {
    if (stdout.length > 0) sinks.violation(`${name}: ${stdout.length} bytes on stdout, none expected`);
    return undefined;
  }
  const length = stdout.length < 4 ? -1 : stdout.readUInt32LE(0);
  if (stdout.length - 4 === length) return stdout.subarray(4);
  sinks.violation(
    `${name}: not one record on stdout: ${stdout.subarray(0, 64).toString('hex') || 'nothing'}`,
  );
  return undefined;
}

async function feed(
  input: Socket,
  record: Uint8Array | undefined,
  byteMs: number | undefined,
): Promise<void> {
  if (record === undefined) return;
  const length = Buffer.alloc(4);
  length.writeUInt32LE(record.byteLength);
  const bytes = Buffer.concat([length, record]);
  if (byteMs === undefined) {
    input.write(bytes);
    return;
  }
  for (const byte of bytes) {
    if (input.destroyed) return;
    input.write(Buffer.of(byte));
    await sleep(byteMs);
  }
}

interface Pipe {
  readonly read: number;
  readonly write: number;
}

/** Real pipes: what spawn makes by itself are sockets, which cannot be opened again through /dev/stderr. */
async function makePipes(directory: string, number: number): Promise<[Pipe, Pipe, Pipe, Pipe]> {
  const path = (at: number) => join(directory, `${process.pid}-${number}-${at}`);
  await promisify(execFile)('/usr/bin/mkfifo', [0, 1, 2, 3].map(path));
  const open = (at: number): Pipe => {
    // Opening one end waits for the other: a third descriptor stands in for it.
    const both = openSync(path(at), 'r+');
    const pipe = { read: openSync(path(at), 'r'), write: openSync(path(at), 'w') };
    closeSync(both);
    unlinkSync(path(at));
    return pipe;
  };
  return [open(0), open(1), open(2), open(3)];
}

function killSession(leader: number): void {
  const members = allPids().filter((pid) => {
    const stat = statOf(pid);
    return stat !== undefined && (stat.session === leader || stat.group === leader);
  });
  for (const pid of new Set([...treeOf([leader]), ...members])) if (isAlive(pid)) signalPid(pid, 'SIGKILL');
}

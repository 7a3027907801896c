// The built binary with a configuration and a state root of its own and no Docker at all: what the contract tests need,
// and Launch records for verbs that a test calls itself. Nothing is mounted, nothing outside its directory is written but the
// note of the root in /run, which goes with it.

import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { decode, encode, type Input } from '../../src/mesos/codec.ts';
import { Launch, TaskInfo, Wait } from '../../src/mesos/messages.ts';
import { type Outcome, outcomeOf } from './command.ts';
import { killAll } from './proc.ts';
import { type FoundProcess, processesOf } from './processes.ts';
import { forgetRoots, notedRoots } from './roots.ts';
import type { TaskToRun } from './tasks.ts';
import { tempDirectory } from './temp.ts';

export const BINARY = fileURLToPath(new URL('../../dist/deimos', import.meta.url));

export interface Installation extends AsyncDisposable {
  /** A path in its directory. */
  at(...names: string[]): string;
  readonly root: string;
  readonly configFile: string;
  /** Runs `deimos --config … ARGS` with nothing in the environment but `env`; `input` goes to stdin, which is then closed. */
  run(args: readonly string[], input?: Uint8Array, env?: Readonly<Record<string, string>>): Promise<Outcome>;
  /** Replaces the configuration's text; [docker] and [state] are in front of it unless `whole`. */
  configure(text: string, whole?: boolean): Promise<void>;
  /** Its supervisor and its sleeping waits. */
  processes(): readonly FoundProcess[];
  /** What calls have left behind: processes, states, a noted root. Empty if nothing ever ran. */
  traces(): readonly string[];
}

/** Docker's host in its configuration is a socket that nobody listens on. */
export async function install(): Promise<Installation> {
  if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: run ./scripts/build`);
  const directory = await tempDirectory('in-');
  const root = directory.at('state');
  const configFile = directory.at('deimos.cfg');
  const processes = () =>
    processesOf(BINARY).filter(({ argv }) => argv.some((word) => word.includes(directory.path)));
  const installation: Installation = {
    at: directory.at,
    root,
    configFile,
    run: async (args, input, env = {}) =>
      await outcomeOf([BINARY, '--config', configFile, ...args], {
        cwd: directory.path,
        env,
        ...(input === undefined ? {} : { input }),
      }),
    configure: async (text, whole = false) => {
      const front = `[docker]\nhost: unix://${directory.at('no-docker')}\n[state]\nroot: ${root}\n`;
      await writeFile(configFile, whole ? text : `${front}${text}\n`);
      await chmod(configFile, 0o600);
    },
    processes,
    traces: () => [
      ...processes().map(({ argv }) => `process: ${argv.join(' ')}`),
      ...['mesos', 'docker', 'start-time'].flatMap((name) =>
        existsSync(`${root}/${name}`)
          ? readdirSync(`${root}/${name}`).map((entry) => `${name}/${entry}`)
          : [],
      ),
      ...notedRoots(directory.path).map((name) => `noted: ${name}`),
    ],
    [Symbol.asyncDispose]: async () => {
      await killAll(processes().map(({ pid }) => pid));
      forgetRoots(directory.path);
      await directory[Symbol.asyncDispose]();
    },
  };
  await installation.configure('');
  return installation;
}

export interface LaunchRecord {
  readonly containerId: string;
  readonly sandbox: string;
  /** With its length in front: what goes to stdin. */
  readonly stdin: Buffer;
}

/** A Launch of a command task as a slave at `slavePid` would write it (undefined: nobody is to be told), with its sandbox. */
export async function launchRecord(
  task: TaskToRun,
  sandboxes: string,
  slavePid?: string,
): Promise<LaunchRecord> {
  const containerId = randomUUID();
  const sandbox = `${sandboxes}/${containerId}`;
  await mkdir(sandbox, { recursive: true });
  const slaveId = 'slave-of-the-test';
  const record: Input<typeof Launch> = {
    container_id: { value: containerId },
    task_info: decode(TaskInfo, task.encode(slaveId)),
    executor_info: {
      executor_id: { value: task.executorId },
      framework_id: { value: 'framework-of-the-test' },
    },
    directory: sandbox,
    user: 'root',
    slave_id: { value: slaveId },
    ...(slavePid === undefined ? {} : { slave_pid: slavePid }),
    checkpoint: false,
  };
  return { containerId, sandbox, stdin: framed(encode(Launch, record)) };
}

/** The record of wait, usage and destroy, which are alike, and an update without resources. */
export function containerRecord(containerId: string): Buffer {
  return framed(encode(Wait, { container_id: { value: containerId } }));
}

/** `payload` as the slave writes it: its length first. */
export function framed(payload: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(payload.byteLength);
  return Buffer.concat([length, payload]);
}

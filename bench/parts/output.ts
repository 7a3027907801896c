// Output: 500 MB of lines as fast as they are taken, beside an attached `docker run` with the same log driver; and fifty tasks
// with a thousand lines a second each.

import { mkdir, stat } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { TaskState } from '../../src/mesos/messages.ts';
import { DOCKER_CLI } from '../../test/support/dockerd.ts';
import type { Host } from '../../test/support/host.ts';
import type { StandInSlave } from '../../test/support/slave.ts';
import { commandTask, type TaskToRun } from '../../test/support/tasks.ts';
import { cpuMsOf, cpuPercentOf } from '../cpu.ts';
import { dockerRunWords, type RunWords } from '../docker-run-words.ts';
import { spread } from '../figures.ts';
import { measured } from '../measure.ts';
import {
  beganMs,
  type Findings,
  IMAGE,
  NOTE,
  nowMs,
  PATH,
  type Row,
  ratioRow,
  type Say,
  stage,
} from '../stage.ts';

const BYTES = 500_000_000;
const ROUNDS = 3;
const TASKS = 50;
const LINES_PER_SECOND = 1000;
const SECONDS = 20;
const PATIENCE_MS = 300_000;

interface Copied {
  readonly wallMs: number;
  readonly cpuMs: number;
}

export async function output(say: Say): Promise<Findings> {
  await using host = await stage();
  const slave = await host.slave();
  const words = await dockerRunWords(host, floodTask());
  const [own, dockers]: [Copied[], Copied[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    say(`output: ${BYTES / 1e6} MB, ${round + 1} of ${ROUNDS}`);
    own.push(await throughDeimos(host, slave));
    dockers.push(await throughDocker(host, words, round));
  }
  say(`output: ${TASKS} tasks at ${LINES_PER_SECOND} lines a second for ${SECONDS} s`);
  const share = await manyLines(host, slave);
  return {
    rows: [
      row(
        'wall',
        own.map((one) => one.wallMs),
        dockers.map((one) => one.wallMs),
      ),
      row(
        'CPU',
        own.map((one) => one.cpuMs),
        dockers.map((one) => one.cpuMs),
      ),
      {
        what: `output of ${TASKS} tasks at ${LINES_PER_SECOND} lines/s each, CPU of the supervisor`,
        against: 'one core',
        ...{ mark: 10, value: share.median, unit: '%', lower: share.lower, upper: share.upper },
        detail: `lines of 64 bytes, ${SECONDS} s`,
      },
    ],
  };
}

function row(kind: 'wall' | 'CPU', own: readonly number[], dockers: readonly number[]): Row {
  const what = `${BYTES / 1e6} MB of lines into the sandbox, ${kind}`;
  return ratioRow({ what, against: 'docker run, attached, same log driver', mark: 1.1 }, own, dockers);
}

function floodTask(): TaskToRun {
  return commandTask({ image: IMAGE, value: `exec began ${NOTE} bytes ${BYTES}` });
}

/** From the task's first instruction until the slave has its end, which follows its last byte; the supervisor's CPU. */
async function throughDeimos(host: Host, slave: StandInSlave): Promise<Copied> {
  const task = await slave.launch(floodTask());
  await task.reached(TaskState.RUNNING, PATIENCE_MS);
  const before = cpuMsOf(host.supervisor());
  const { receivedAt } = await task.ended(PATIENCE_MS);
  const cpuMs = cpuMsOf(host.supervisor()) - before;
  await check(`${task.sandbox}/stdout`);
  const began = await beganMs(`${task.sandbox}/fs/began`);
  await task.gone(PATIENCE_MS);
  return { wallMs: receivedAt - began, cpuMs };
}

/** From the first instruction until the client has ended, its output in a file; the client's CPU. */
async function throughDocker(host: Host, words: RunWords, round: number): Promise<Copied> {
  const name = `flood-${round}`;
  const sandbox = host.directory.at('docker-run', name);
  await mkdir(`${sandbox}/fs`, { recursive: true });
  const attached = words.for(name, sandbox).filter((word) => word !== '--detach');
  const file = host.directory.at(name);
  const argv = [DOCKER_CLI, '-H', host.dockerd.host, ...attached] as const;
  const { cpuMs } = await measured({ argv: [...argv], stdout: file, env: { PATH, HOME: '/nonexistent' } });
  const ended = nowMs();
  await check(file);
  await host.dockerd.run(['rm', `deimos-${name}`]);
  return { wallMs: ended - (await beganMs(`${sandbox}/fs/began`)), cpuMs };
}

async function check(file: string): Promise<void> {
  const { size } = await stat(file);
  if (size !== BYTES) throw new Error(`${file} has ${size} bytes`);
}

/** The supervisor's share of a core, second by second. */
async function manyLines(host: Host, slave: StandInSlave) {
  const value = `exec began ${NOTE} lines ${LINES_PER_SECOND}`;
  const tasks = await Promise.all(
    Array.from(
      { length: TASKS },
      async () => await slave.launch(commandTask({ image: IMAGE, value, mem: 32 })),
    ),
  );
  await Promise.all(tasks.map(async (task) => await task.reached(TaskState.RUNNING, PATIENCE_MS)));
  await pause(3_000);
  const shares: number[] = [];
  for (let second = 0; second < SECONDS; second++) {
    shares.push(await cpuPercentOf(host.supervisor(), 1_000));
  }
  await Promise.all(tasks.map(async (task) => await slave.killTask(task)));
  await Promise.all(tasks.map(async (task) => await task.gone(PATIENCE_MS)));
  return spread(shares);
}

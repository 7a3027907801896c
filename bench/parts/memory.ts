// What running tasks cost the host, over their number: memory of all that is Deimos, CPU of the supervisor, one call of
// `usage`, one launch.

import { statfsSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { TaskState } from '../../src/mesos/messages.ts';
import type { Host } from '../../test/support/host.ts';
import type { LaunchedTask, StandInSlave } from '../../test/support/slave.ts';
import { commandTask } from '../../test/support/tasks.ts';
import { cpuPercentOf } from '../cpu.ts';
import { figure, line, spread } from '../figures.ts';
import {
  beganMs,
  type Findings,
  IMAGE,
  NOTE,
  nowMs,
  type Row,
  type Say,
  type Series,
  stage,
} from '../stage.ts';
import { usageRatio } from '../usage-ratio.ts';

const STEPS = [1, 2, 5, 10, 20, 40, 60, 80, 100];
const USAGE_ROUNDS = 15;
const LAUNCHES = 5;
const WATCHED_MS = 10_000;
/** Until what a launch needed for a moment is given back. */
const SETTLE_MS = 3_000;
const PATIENCE_MS = 120_000;
const MB = 1024 * 1024;
/** The original had a watcher, `observe`, `wait`, `docker run` and `docker wait` for each task. */
const MARK_MB_PER_TASK = 1.2;

interface Step {
  readonly tasks: number;
  readonly memoryMb: number;
  /** What the state root takes of its file system in memory. */
  readonly stateMb: number;
  readonly usage: number;
  readonly launchMs: number;
  readonly supervisorPercent: number;
}

export async function memory(say: Say): Promise<Findings> {
  await using host = await stage();
  const slave = await host.slave();
  const tasks: LaunchedTask[] = [];
  const steps: Step[] = [];
  for (const count of STEPS) {
    while (tasks.length < count) {
      const more = Math.min(count - tasks.length, 10);
      tasks.push(...(await Promise.all(Array.from({ length: more }, async () => await running(slave)))));
    }
    steps.push(await step(host, slave, tasks));
    say(`memory: ${JSON.stringify(steps.at(-1))}`);
  }
  await Promise.all(tasks.map(async (task) => await slave.killTask(task)));
  await Promise.all(tasks.map(async (task) => await task.gone(PATIENCE_MS)));
  return { rows: [perTask(steps)], series: seriesOf(steps) };
}

/** A task that says something every second. */
async function running(slave: StandInSlave): Promise<LaunchedTask> {
  const value = `exec began ${NOTE} lines 1`;
  const task = await slave.launch(commandTask({ image: IMAGE, value }));
  await task.reached(TaskState.RUNNING, PATIENCE_MS);
  return task;
}

async function step(host: Host, slave: StandInSlave, tasks: readonly LaunchedTask[]): Promise<Step> {
  const launches: number[] = [];
  for (let n = 0; n < LAUNCHES; n++) launches.push(await launchMs(slave));
  await pause(SETTLE_MS);
  const memoryMb = host.processes().reduce((sum, { pssBytes }) => sum + pssBytes, 0) / MB;
  const supervisorPercent = await cpuPercentOf(host.supervisor(), WATCHED_MS);
  const middle = tasks[Math.floor(tasks.length / 2)];
  if (middle === undefined) throw new Error('no task');
  const usage = await usageRatio(host, middle.containerId, USAGE_ROUNDS);
  const { blocks, bfree, bsize } = statfsSync(host.root);
  const stateMb = ((blocks - bfree) * bsize) / MB;
  return {
    tasks: tasks.length,
    memoryMb,
    stateMb,
    usage,
    launchMs: spread(launches).median,
    supervisorPercent,
  };
}

async function launchMs(slave: StandInSlave): Promise<number> {
  const begin = nowMs();
  const task = await slave.launch(commandTask({ image: IMAGE, value: `began ${NOTE}` }));
  await task.gone(PATIENCE_MS);
  return (await beganMs(`${task.sandbox}/fs/began`)) - begin;
}

function perTask(steps: readonly Step[]): Row {
  const last = steps.at(-1);
  if (last === undefined) throw new Error('no step');
  const { slope, intercept } = line(steps.map(({ tasks, memoryMb }) => [tasks, memoryMb] as const));
  return {
    what: `memory with ${last.tasks} command tasks running, PSS of all Deimos processes, for each task`,
    against: '59 MB: the original, its mesos-executor not counted',
    ...{ mark: MARK_MB_PER_TASK, value: last.memoryMb / last.tasks, unit: 'MB' },
    detail: `${figure(last.memoryMb)} MB in all; ${figure(intercept)} MB, and ${figure(slope)} MB more with each task; its state takes another ${figure(last.stateMb)} MB of tmpfs`,
  };
}

function seriesOf(steps: readonly Step[]): readonly Series[] {
  const points = (pick: (one: Step) => number) => steps.map((one) => [one.tasks, pick(one)] as const);
  return [
    { name: 'usage', points: points((one) => one.usage) },
    { name: 'memory', points: points((one) => one.memoryMb) },
    { name: 'launch', points: points((one) => one.launchMs) },
    { name: 'supervisor', points: points((one) => one.supervisorPercent) },
  ];
}

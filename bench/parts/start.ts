// From calling `launch` to the task's first instruction, beside `docker run --detach` with the same options, one at a time
// and fifty at once; and from a container's end to the terminal status update, beside `docker wait`.

import { existsSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { TaskState } from '../../src/mesos/messages.ts';
import { containersOf } from '../../test/support/docker-facts.ts';
import type { Dockerd } from '../../test/support/dockerd.ts';
import { AT_GATE, openGate } from '../../test/support/gated.ts';
import type { Host } from '../../test/support/host.ts';
import type { LaunchedTask, StandInSlave } from '../../test/support/slave.ts';
import { commandTask, type TaskToRun } from '../../test/support/tasks.ts';
import { until } from '../../test/support/until.ts';
import { dockerRunWords, type RunWords } from '../docker-run-words.ts';
import { spread } from '../figures.ts';
import { beganMs, type Findings, IMAGE, NOTE, nowMs, type Row, ratioRow, type Say, stage } from '../stage.ts';

const ROUNDS = 20;
const WARM_UP = 2;
const AT_ONCE = 50;
const STORMS = 3;
const PATIENCE_MS = 120_000;

interface Pair {
  readonly own: number;
  readonly dockers: number;
}

export async function start(say: Say): Promise<Findings> {
  await using host = await stage();
  const slave = await host.slave();
  const words = await dockerRunWords(host, beganTask());
  const sandbox = (name: string): string => host.directory.at('docker-run', name);
  say(`start: ${ROUNDS} launches, one at a time`);
  const pairs: Pair[] = [];
  for (let round = 0; round < ROUNDS + WARM_UP; round++) {
    const own = await deimosStorm(host, slave, 1);
    const name = `one-${round}`;
    const pair = {
      own,
      dockers: await dockerStorm(host.dockerd, words, 1, (at) => sandbox(`${name}-${at}`)),
    };
    if (round >= WARM_UP) pairs.push(pair);
  }
  say(`start: ${STORMS} times ${AT_ONCE} at once`);
  const storms: Pair[] = [];
  for (let round = 0; round < STORMS; round++) {
    const own = await deimosStorm(host, slave, AT_ONCE);
    const name = `storm-${round}`;
    const dockers = await dockerStorm(host.dockerd, words, AT_ONCE, (at) => sandbox(`${name}-${at}`));
    storms.push({ own, dockers });
  }
  say(`start: ${ROUNDS} ends`);
  const ends: number[] = [];
  for (let round = 0; round < ROUNDS; round++) ends.push(await behindDockerWait(host, slave));
  return {
    rows: [
      pairsRow('launch, to the first instruction, wall', 'docker run --detach', 1.3, pairs),
      pairsRow(`${AT_ONCE} launches at once, wall`, `${AT_ONCE} docker run --detach at once`, 1.15, storms),
      endRow(ends),
    ],
  };
}

function beganTask(): TaskToRun {
  // It runs on: what an end costs is not to be in it.
  return commandTask({ image: IMAGE, value: `began ${NOTE} && exec sleep 100000` });
}

/** From the first launch to the last task's first instruction. */
async function deimosStorm(host: Host, slave: StandInSlave, count: number): Promise<number> {
  const begin = nowMs();
  const tasks = await Promise.all(Array.from({ length: count }, async () => await slave.launch(beganTask())));
  await Promise.all(tasks.map((task) => task.reached(TaskState.RUNNING, PATIENCE_MS)));
  const latest = await latestBegin(tasks.map((task) => task.sandbox));
  const ids = await Promise.all(tasks.map(async (task) => await containersOf(host.dockerd, task)));
  await host.dockerd.run(['kill', ...ids.flat()], { timeoutMs: PATIENCE_MS });
  await Promise.all(tasks.map((task) => task.gone(PATIENCE_MS)));
  return latest - begin;
}

async function dockerStorm(
  dockerd: Dockerd,
  words: RunWords,
  count: number,
  sandbox: (at: number) => string,
): Promise<number> {
  const runs = Array.from({ length: count }, (_, at) => ({
    name: sandbox(at).replace(/^.*\//, ''),
    sandbox: sandbox(at),
  }));
  for (const run of runs) await mkdir(`${run.sandbox}/fs`, { recursive: true });
  const begin = nowMs();
  const ids = await Promise.all(
    runs.map(async (run) => await dockerd.run(words.for(run.name, run.sandbox), { timeoutMs: PATIENCE_MS })),
  );
  const latest = await latestBegin(runs.map((run) => run.sandbox));
  await dockerd.run(['rm', '--force', ...ids], { timeoutMs: PATIENCE_MS });
  return latest - begin;
}

/** When the last of those had begun whose sandboxes these are, ms since 1970. */
async function latestBegin(sandboxes: readonly string[]): Promise<number> {
  const begins = sandboxes.map(async (sandbox) => {
    const note = `${sandbox}/fs/began`;
    await until('its first instruction', () => existsSync(note) && statSync(note).size > 0);
    return await beganMs(note);
  });
  return Math.max(...(await Promise.all(begins)));
}

/** How long after `docker wait` of the same container the slave has the terminal status update. */
async function behindDockerWait(host: Host, slave: StandInSlave): Promise<number> {
  const task: LaunchedTask = await slave.launch(commandTask({ image: IMAGE, value: AT_GATE }));
  await task.reached(TaskState.RUNNING, PATIENCE_MS);
  const [id = ''] = await containersOf(host.dockerd, task);
  const waited = host.dockerd.run(['wait', id]).then(nowMs);
  openGate(task);
  const [{ receivedAt }, dockersMs] = await Promise.all([task.ended(PATIENCE_MS), waited]);
  await task.gone(PATIENCE_MS);
  return receivedAt - dockersMs;
}

function pairsRow(what: string, against: string, mark: number, pairs: readonly Pair[]): Row {
  const [own, dockers] = [pairs.map((pair) => pair.own), pairs.map((pair) => pair.dockers)];
  return ratioRow({ what, against, mark }, own, dockers);
}

function endRow(ends: readonly number[]): Row {
  const { median, lower, upper } = spread(ends);
  return {
    what: 'end of a container to the terminal status update, wall',
    against: 'docker wait of the same container',
    ...{ mark: 50, value: median, unit: 'ms', lower, upper },
    detail: 'later than docker wait returns',
  };
}

// What tests of the slave's calls, at each of their steps, have in common: a task that is let go at a gate, another one beside it
// that has nothing to fear, and what has to be true at the end.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, utimesSync } from 'node:fs';
import { encode } from '../../src/mesos/codec.ts';
import { TaskState, Update, ValueType } from '../../src/mesos/messages.ts';
import { AT_GATE, openGate } from './gated.ts';
import { type Host, sandboxFile } from './host.ts';
import { IMAGES } from './images.ts';
import { statOf } from './proc.ts';
import type { LaunchedTask, StandInSlave } from './slave.ts';
import { commandTask } from './tasks.ts';
import { until } from './until.ts';

const { RUNNING, FAILED, STARTING } = TaskState;
/** A bound against hanging. */
export const PATIENCE_MS = 60_000;
export const VALUE = `echo s >>/tmp/mesos-sandbox/starts; echo out; ${AT_GATE}; echo last; exit 3`;
/** A launch that was killed half way counts as under way for ten minutes. */
const UNDER_WAY_MS = 11 * 60_000;
/** What `launch` says of a container that a launch before it has had accepted. */
export const LAUNCHED_ALREADY =
  /^deimos launch: container \S+ has been launched already \(its state is [^\n]+\)\n$/;
/** What half a processor and 96 MB come to when the slave's share for an executor is taken off. */
export const LIMITS_OF_UPDATE = [64 * 1024 * 1024, 409];

/** An `update` to these limits. */
export function limitsRecord({ containerId }: { readonly containerId: string }): Uint8Array {
  const scalar = (name: string, value: number) => ({ name, type: ValueType.SCALAR, scalar: { value } });
  const resources = [scalar('cpus', 0.5), scalar('mem', 96)];
  return encode(Update, { container_id: { value: containerId }, resources });
}

export const simple = (mem?: number) =>
  commandTask({ image: IMAGES.busybox, value: VALUE, ...(mem === undefined ? {} : { mem }) });

export async function startedOnce(task: LaunchedTask): Promise<void> {
  await until('started', async () => (await sandboxFile(task, 'fs/starts')) !== '', {
    timeoutMs: PATIENCE_MS,
  });
  assert.equal(await sandboxFile(task, 'fs/starts'), 's\n');
}

export async function isRunning(task: LaunchedTask): Promise<void> {
  await task.reached(RUNNING, PATIENCE_MS);
  await startedOnce(task);
}

/** Lets it end, and holds all that is told of it against what it did. */
export async function endsRightly(task: LaunchedTask): Promise<void> {
  openGate(task);
  await task.ended(PATIENCE_MS);
  const termination = await task.gone(PATIENCE_MS);
  await startedOnce(task);
  const told = new Map(task.updates().map(({ uuid, state }) => [uuid, state]));
  // While an image is pulled that is told, too.
  const states = [...told.values()].filter((state) => state !== STARTING);
  assert.deepEqual(states, [RUNNING, FAILED]);
  assert.deepEqual([termination?.state, termination?.status], [FAILED, 3 << 8]);
  assert.equal(await sandboxFile(task, 'stdout'), 'out\nlast\n');
}

/** Of another task of the same slave, which has nothing to fear. */
export async function withNeighbour(slave: StandInSlave, body: () => Promise<void>): Promise<void> {
  const neighbour = await slave.launch(simple(), { checkpoint: true });
  await isRunning(neighbour);
  await until('acknowledged', () => slave.acknowledged.length > 0);
  await body();
  await endsRightly(neighbour);
}

/** Accepted, and not at its end. */
export function isUnderWay(host: Host, { containerId }: { readonly containerId: string }): boolean {
  const directory = `${host.root}/mesos/${containerId}`;
  return existsSync(`${directory}/accepted`) && !existsSync(`${directory}/removed`);
}

/** What nobody has waited for is told to the next slave, which gives it up; what was not accepted goes when it is old. */
export async function checkNothingLeft(host: Host, slave: StandInSlave): Promise<void> {
  await slave.restart();
  // Of a slave that was killed no end is heard.
  const runs = ({ pid, startTicks }: { pid: number; startTicks: number }): boolean =>
    statOf(pid)?.startTicks === startTicks;
  await until('asked for all', () => !slave.calls.some(runs), { timeoutMs: PATIENCE_MS });
  assert.deepEqual(await host.leftovers(), []);
  const states = `${host.root}/mesos`;
  const ids = existsSync(states) ? readdirSync(states) : [];
  const longAgo = (Date.now() - UNDER_WAY_MS) / 1000;
  for (const id of ids) {
    assert.ok(!isUnderWay(host, { containerId: id }), id);
    utimesSync(`${states}/${id}`, longAgo, longAgo);
  }
  if (existsSync(host.root)) {
    const { code, stderr } = await host.deimos(['state', '--rm']);
    assert.deepEqual([code, stderr], [0, '']);
  }
  for (const name of ['mesos', 'docker', 'start-time'])
    if (existsSync(`${host.root}/${name}`)) assert.deepEqual(readdirSync(`${host.root}/${name}`), [], name);
}

// How a task has to have come out, whatever died meanwhile: what its framework was told, what `wait` answered, in full.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { TaskState } from '../../src/mesos/messages.ts';
import type { Host } from './host.ts';
import { isOpen } from './ports.ts';
import type { LaunchedTask, StandInSlave } from './slave.ts';
import type { Update } from './slave-protocol.ts';
import { until } from './until.ts';

/** A bound against hanging: the machine may be busy with other suites. */
export const PATIENCE_MS = 120_000;
/** Where a supervisor died while Register was under way it cannot know whether that arrived: repeated, it harms nothing. */
export const REPEATED = /^a second (Register|Reregister)ExecutorMessage/;

/** Each update once: one whose acknowledgement was lost comes again, the same. */
function once(task: LaunchedTask): readonly Update[] {
  return [
    ...new Map(task.updates().map((update) => [update.uuid ?? `slave ${update.state}`, update])).values(),
  ];
}

/** The framework has heard that it ran, unless it ended unseen, and of one end; `wait` has answered with the same. */
export async function checkEnd(
  task: LaunchedTask,
  state: number,
  status: number | undefined,
  ranUnseen = false,
): Promise<void> {
  const termination = await task.gone(PATIENCE_MS);
  const told = once(task);
  const story = JSON.stringify(told.map((one) => [one.from, one.state, one.message]));
  const states = told.map((one) => one.state).filter((one) => one !== TaskState.STARTING);
  const expected = [[TaskState.RUNNING, state].join(), ...(ranUnseen ? [String(state)] : [])];
  assert.ok(expected.includes(states.join()), `${task.taskId}: ${story}`);
  for (const { from } of told) assert.equal(from, 'executor', `${task.taskId}: ${story}`);
  assert.deepEqual(
    [termination?.state, termination?.status, termination?.killed, termination?.message],
    [state, status, false, told.at(-1)?.message],
    task.taskId,
  );
}

/**
 * Nothing that a real slave would have suffered from, and no call but those that were killed with their slave, and those of
 * the verbs in `mayFail`, has failed.
 */
export function checkCalm(slave: StandInSlave, mayFail: readonly string[] = []): void {
  assert.deepEqual(
    slave.violations.filter((text) => !REPEATED.test(text)),
    [],
  );
  for (const { verb, end } of slave.calls)
    if (end !== undefined && end.signal === null && !mayFail.includes(verb))
      assert.deepEqual([end.code, end.stderr], [0, ''], verb);
}

/** What nobody was left to acknowledge is no leftover: the answer of `wait` has told the end instead, and the slave knows no more of the task. */
export function dropUnheard(host: Host, tasks: readonly LaunchedTask[]): void {
  for (const { containerId } of tasks)
    rmSync(`${host.root}/mesos/${containerId}/updates`, { recursive: true, force: true });
}

/** Another supervisor than `old` listens to slaves. */
export async function nextSupervisor(host: Host, old: number | undefined): Promise<number> {
  return await until(
    'another supervisor listens',
    async () => {
      const pid = host.supervisor();
      if (pid === undefined || pid === old) return undefined;
      return (await isOpen(executorPort(host))) ? pid : undefined;
    },
    { timeoutMs: PATIENCE_MS },
  );
}

/** The port on which slaves reach this host's supervisor. */
export function executorPort(host: Host): number {
  return Number(readFileSync(`${host.root}/supervisor/port`, 'utf8'));
}

/** Until the supervisor has taken the acknowledgement of all that it has told of them: a slave that dies takes what it has sent along. */
export async function acknowledgementsTaken(host: Host, tasks: readonly LaunchedTask[]): Promise<void> {
  const isTaken = ({ containerId }: LaunchedTask): boolean =>
    readdirSync(`${host.root}/mesos/${containerId}/updates`).length === 0;
  await until('acknowledgements taken', () => tasks.every(isTaken), { timeoutMs: PATIENCE_MS });
}

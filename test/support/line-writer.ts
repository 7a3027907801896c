// A command task whose output and end tell whether anything was lost or doubled on the way: numbered lines on both streams until
// its gate opens, and an exit code of its own.

import assert from 'node:assert/strict';
import { TaskState } from '../../src/mesos/messages.ts';
import { sandboxFile } from './host.ts';
import type { LaunchedTask } from './slave.ts';

/** A bound against hanging: the machine may be busy with other suites. */
const PATIENCE_MS = 120_000;

/** Writes numbered lines to both streams until the gate opens, then says how many, and ends with its own number. */
export const writer = (n: number): string =>
  `i=0; while [ ! -e /tmp/mesos-sandbox/go ]; do echo "out ${n} $i"; echo "err ${n} $i" >&2; i=$((i+1)); sleep 0.05; done; echo "end $i"; exit ${n}`;

/** Every line once, in order, to the last byte. */
export async function checkOutput(task: LaunchedTask, n: number, minLines = 1): Promise<void> {
  const stdout = await sandboxFile(task, 'stdout');
  const lines = Number(/\nend (\d+)\n$/.exec(stdout)?.[1]);
  assert.ok(lines >= minLines, `${lines} lines: ${stdout.slice(-200)}`);
  const expected = (word: string) => Array.from({ length: lines }, (_, i) => `${word} ${n} ${i}\n`).join('');
  assert.equal(stdout, `${expected('out')}end ${lines}\n`);
  assert.equal(await sandboxFile(task, 'stderr'), expected('err'));
}

/** The framework saw it run and end, once each; its one wait answered with the same. */
export async function checkEnd(task: LaunchedTask, state: number, exitCode: number): Promise<void> {
  const termination = await task.gone(PATIENCE_MS);
  assert.deepEqual(
    task.updates().map((update) => [update.from, update.state]),
    [
      ['executor', TaskState.RUNNING],
      ['executor', state],
    ],
  );
  assert.deepEqual(
    [termination?.state, termination?.status, termination?.killed],
    [state, exitCode << 8, false],
  );
  assert.equal(termination?.message, task.updates().at(-1)?.message);
  const waits = task.calls('wait');
  assert.deepEqual(
    waits.map(({ end }) => [end?.code, end?.stderr]),
    [[0, '']],
  );
}

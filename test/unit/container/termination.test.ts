// How an end is put into words, states and a waitpid status: the table that frameworks see.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EndCause, ending, type Outcome } from '../../../src/container/termination.ts';

const MB = 1024 * 1024;

const TABLE: readonly {
  readonly name: string;
  readonly outcome: Outcome;
  readonly cause?: EndCause;
  readonly state: number;
  readonly message: string;
  readonly status?: number;
  readonly killed?: boolean;
  readonly reason?: number;
}[] = [
  {
    name: 'exit 0 is FINISHED',
    outcome: { kind: 'exited', exitCode: 0, oomKilled: false },
    state: 2,
    message: 'Container exited with status 0',
    status: 0,
  },
  {
    name: 'another exit code is FAILED with that code in the upper byte',
    outcome: { kind: 'exited', exitCode: 3, oomKilled: false },
    state: 3,
    message: 'Container exited with status 3',
    status: 3 << 8,
  },
  {
    name: 'a signal is named',
    outcome: { kind: 'exited', exitCode: 139, oomKilled: false },
    state: 3,
    message: 'Container was ended by SIGSEGV (status 139)',
    status: 139 << 8,
  },
  {
    name: 'out of memory is the one case of killed, and names the limit',
    outcome: { kind: 'exited', exitCode: 137, oomKilled: true, memoryLimitBytes: 64 * MB },
    state: 3,
    message:
      'Memory limit exceeded: 64 MB allowed, killed by the kernel; the container was ended by SIGKILL (status 137)',
    status: 137 << 8,
    killed: true,
    reason: 8,
  },
  {
    name: 'a child killed for memory while the task exits 0 is FINISHED with a note',
    outcome: { kind: 'exited', exitCode: 0, oomKilled: true, memoryLimitBytes: 1.5 * MB },
    state: 2,
    message:
      'Container exited with status 0 (a process in it was killed by the kernel, memory limit exceeded: 1.5 MB allowed)',
    status: 0,
  },
  {
    name: 'a kill that the framework wanted is KILLED, whatever the exit code',
    outcome: { kind: 'exited', exitCode: 0, oomKilled: false },
    cause: 'kill',
    state: 4,
    message: 'Killed by the framework; the container exited with status 0',
    status: 0,
  },
  {
    name: 'a kill before the start is KILLED without a status',
    outcome: { kind: 'never-started' },
    cause: 'kill',
    state: 4,
    message: 'Killed by the framework, before it ran',
  },
  {
    name: 'a task that the slave refused is told so once',
    outcome: { kind: 'never-started' },
    cause: 'refused',
    state: 4,
    message: 'The slave refused the task: it was killed before it began',
  },
  {
    name: 'a task that was never handed over is told so once',
    outcome: { kind: 'never-started' },
    cause: 'no-run-task',
    state: 4,
    message: 'Not started: the slave never handed the task over',
  },
  {
    name: 'what could not be started is FAILED with reason 21 and the line itself',
    outcome: { kind: 'failed', why: 'pull x: unauthorized' },
    state: 3,
    message: 'pull x: unauthorized',
    reason: 21,
  },
  {
    name: 'what nobody can tell is LOST',
    outcome: { kind: 'lost', why: 'The container was removed by somebody else' },
    state: 5,
    message: 'The container was removed by somebody else',
  },
];

test('an end for the health of a task is KILLED whatever its status, in the words of the check', () => {
  for (const exitCode of [0, 1, 137]) {
    const outcome: Outcome = { kind: 'exited', exitCode, oomKilled: exitCode === 137 };
    const { state, message, status, killed } = ending(outcome, 'unhealthy', 'Killed: it is sick');
    assert.deepEqual([state, status, killed], [4, exitCode << 8, false]);
    assert.match(message, /^Killed: it is sick; the container /);
  }
  const outcome: Outcome = { kind: 'exited', exitCode: 0, oomKilled: false };
  assert.match(ending(outcome, 'unhealthy').message, /^Killed because its health check failed; /);
});

for (const { name, outcome, cause, state, message, status, killed, reason } of TABLE) {
  test(name, () => {
    assert.deepEqual(ending(outcome, cause), {
      state,
      message,
      killed: killed ?? false,
      ...(status === undefined ? {} : { status }),
      ...(reason === undefined ? {} : { reason }),
    });
  });
}

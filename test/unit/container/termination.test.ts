// How an end is put into words, states and a waitpid status: the table that frameworks see.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EndCause, ending, type Outcome, signalNumber } from '../../../src/container/termination.ts';

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
  readonly outside?: boolean;
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
    state: 5,
    message: 'Not started: the slave never handed the task over',
  },
  {
    name: 'a task whose slave went away is LOST: nobody wanted its end',
    outcome: { kind: 'exited', exitCode: 143, oomKilled: false },
    cause: 'slave-lost',
    state: 5,
    message: 'Stopped because the slave went away; the container was ended by SIGTERM (status 143)',
    status: 143 << 8,
  },
  {
    name: 'so is one that had not begun',
    outcome: { kind: 'never-started' },
    cause: 'slave-lost',
    state: 5,
    message: 'Stopped because the slave went away, before it ran',
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
    outside: true,
  },
  {
    name: 'the same, when its end was wanted anyway, is that end',
    outcome: { kind: 'lost', why: 'The container was removed by somebody else' },
    cause: 'kill',
    state: 4,
    message: 'Killed by the framework. The container was removed by somebody else',
  },
  {
    name: 'an exit after a kill for memory of a child names both',
    outcome: { kind: 'exited', exitCode: 3, oomKilled: true, memoryLimitBytes: 64 * MB },
    state: 3,
    message:
      'Memory limit exceeded: 64 MB allowed, a process in it was killed by the kernel; the container exited with status 3',
    status: 3 << 8,
    killed: true,
    reason: 8,
  },
  {
    name: 'a kill for memory without a limit that is known names none',
    outcome: { kind: 'exited', exitCode: 137, oomKilled: true },
    state: 3,
    message: 'Memory limit exceeded, killed by the kernel; the container was ended by SIGKILL (status 137)',
    status: 137 << 8,
    killed: true,
    reason: 8,
  },
  {
    name: 'an end through Docker by somebody else is FAILED, and no success with status 0',
    outcome: { kind: 'exited', exitCode: 0, oomKilled: false, outside: 'docker-signal' },
    state: 3,
    message:
      'Ended by somebody else through Docker (docker stop, docker kill); the container exited with status 0',
    outside: true,
  },
  {
    name: 'an end with Docker is LOST',
    outcome: { kind: 'exited', exitCode: 143, oomKilled: false, outside: 'docker-stopped' },
    state: 5,
    message:
      'Ended while Docker was stopped or restarted, which ends its containers; the container was ended by SIGTERM (status 143)',
    status: 143 << 8,
    outside: true,
  },
  {
    name: 'an end with the host is LOST',
    outcome: { kind: 'exited', exitCode: 255, oomKilled: false, outside: 'host-restarted' },
    state: 5,
    message: 'Ended with the host, which was restarted; the container exited with status 255',
    status: 255 << 8,
    outside: true,
  },
  {
    name: 'an end that was wanted is so, whoever brought it about',
    outcome: { kind: 'exited', exitCode: 137, oomKilled: true, outside: 'docker-stopped' },
    cause: 'shutdown',
    state: 4,
    message:
      'Stopped because the slave asked the executor to shut down; the container was ended by SIGKILL (status 137)',
    status: 137 << 8,
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

for (const { name, outcome, cause, state, message, status, killed, reason, outside } of TABLE) {
  test(name, () => {
    assert.deepEqual(ending(outcome, cause), {
      state,
      message,
      killed: killed ?? false,
      ...(status === undefined ? {} : { status }),
      ...(reason === undefined ? {} : { reason }),
      ...(outside === undefined ? {} : { outside }),
    });
  });
}

const EXITS: readonly (readonly [exitCode: number, says: string])[] = [
  [0, 'exited with status 0'],
  [1, 'exited with status 1'],
  [125, 'exited with status 125'],
  [126, 'exited with status 126 (a command cannot be executed)'],
  [127, 'exited with status 127 (a command was not found)'],
  [128, 'exited with status 128'],
  [129, 'was ended by SIGHUP (status 129)'],
  [130, 'was ended by SIGINT (status 130)'],
  [134, 'was ended by SIGABRT (status 134)'],
  [135, 'was ended by SIGBUS (status 135)'],
  [136, 'was ended by SIGFPE (status 136)'],
  [137, 'was ended by SIGKILL (status 137)'],
  [139, 'was ended by SIGSEGV (status 139)'],
  [141, 'was ended by SIGPIPE (status 141)'],
  [143, 'was ended by SIGTERM (status 143)'],
  [159, 'was ended by SIGSYS (status 159)'],
  [160, 'exited with status 160'],
  [255, 'exited with status 255'],
];

test('every exit status has its sentence', () => {
  for (const [exitCode, says] of EXITS)
    assert.equal(
      ending({ kind: 'exited', exitCode, oomKilled: false }, undefined).message,
      `Container ${says}`,
    );
});

test('a signal is known in every way that Docker writes it', () => {
  const written: readonly (readonly [string, number])[] = [
    ['SIGTERM', 15],
    ['quit', 3],
    ['9', 9],
    ['SIGRTMIN+3', 37],
    ['RTMIN', 34],
    ['', 15],
    ['SIGNOTHING', 15],
  ];
  for (const [text, number] of written) assert.equal(signalNumber(text), number, text);
});

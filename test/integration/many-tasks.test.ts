// Many tasks at once: each comes to its own end, nothing is doubled, lost or left over, and while they run there is one
// Node process on the host.

import assert from 'node:assert/strict';
import { existsSync, readlinkSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { isOpen } from '../support/ports.ts';
import { allPids, argvOf, signalPid, statOf, treeOf } from '../support/proc.ts';
import { pssOf } from '../support/processes.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const skip = await skipWithoutTools();
const { RUNNING, FINISHED, FAILED } = TaskState;
/** A bound against hanging: the machine may be busy with other suites. */
const PATIENCE_MS = 150_000;
const MB = 1024 * 1024;

const ALL_AT_ONCE = 30;
const AT_A_TIME = 20;
const LINES = 200;

/** What task number n writes, and how it ends: with its own number. */
const script = (n: number): string =>
  `i=0; while [ $i -lt ${LINES} ]; do echo "task ${n} line $i"; i=$((i+1)); done; echo "task ${n} error" >&2; exit ${n}`;
const stdoutOf = (n: number): string =>
  Array.from({ length: LINES }, (_, i) => `task ${n} line ${i}\n`).join('');

describe('many tasks', { skip, timeout: 400_000 }, () => {
  let host: Host;
  before(async () => {
    host = await startHost();
  });
  after(async () => {
    await host[Symbol.asyncDispose]();
  });

  it('30 launched at once each end with their own status and output, and nothing is left over', async () => {
    await withSupervisorLog(host, async () => {
      const slave = await host.slave();
      const tasks = await Promise.all(
        Array.from({ length: ALL_AT_ONCE }, (_, n) =>
          slave.launch(commandTask({ taskId: `many-${n}`, image: IMAGES.busybox, value: script(n) })),
        ),
      );
      await Promise.all(tasks.map((task) => task.ended(PATIENCE_MS)));
      const terminations = await Promise.all(tasks.map((task) => task.gone(PATIENCE_MS)));
      for (const [n, task] of tasks.entries()) {
        const state = n === 0 ? FINISHED : FAILED;
        const message = `Container exited with status ${n}`;
        const updates = task.updates().map((update) => [update.from, update.state]);
        assert.deepEqual(updates, [
          ['executor', RUNNING],
          ['executor', state],
        ]);
        assert.equal(task.updates().at(-1)?.message, message);
        const {
          receivedAt: _,
          containerId,
          ...termination
        } = terminations[n] ?? assert.fail('no Termination');
        assert.equal(containerId, task.containerId);
        assert.deepEqual(termination, { killed: false, message, status: n << 8, state, reasons: [] });
        assert.equal(await sandboxFile(task, 'stdout'), stdoutOf(n));
        assert.equal(await sandboxFile(task, 'stderr'), `task ${n} error\n`);
      }
      checkCalls(tasks);
      checkAcknowledgements(slave);
      assert.deepEqual(slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
      await slave.stop();
      await supervisorEnds(host);
    });
  });

  it('while 20 run there is one Node process: the supervisor; each task costs a sleeping flock', async (t) => {
    await withSupervisorLog(host, async () => {
      const slave = await host.slave();
      const tasks = await Promise.all(
        Array.from({ length: AT_A_TIME }, () =>
          slave.launch(commandTask({ image: IMAGES.busybox, value: AT_GATE })),
        ),
      );
      await Promise.all(tasks.map((task) => task.reached(RUNNING, PATIENCE_MS)));
      const found = await until(
        'every other call has ended, every wait sleeps',
        () => {
          const all = processesOf(host, slave);
          return all.filter(({ program }) => program === 'deimos').length === 1 && all;
        },
        { timeoutMs: PATIENCE_MS },
      );
      for (const { pid, program, pssBytes, argv } of found)
        t.diagnostic(`${pid} ${program} ${(pssBytes / MB).toFixed(2)} MB ${argv.slice(0, 90)}`);
      const [supervisor, ...others] = found.filter(({ program }) => program === 'deimos');
      assert.deepEqual(others, []);
      assert.equal(supervisor?.pid, host.supervisor());
      // logger(1) carries the log to syslog; everything else belongs to a wait.
      const rest = found.filter(({ pid }) => pid !== supervisor?.pid);
      for (const { program, argv } of rest) assert.match(program, /^(flock|sh|dash|logger)$/, argv);
      assert.equal(rest.filter(({ program }) => program === 'flock').length, AT_A_TIME);
      assert.ok(rest.filter(({ program }) => program === 'logger').length <= 1);
      for (const { pssBytes, argv } of rest) assert.ok(pssBytes < MB, `${pssBytes} bytes: ${argv}`);
      for (const task of tasks) openGate(task);
      for (const task of tasks) assert.equal((await task.ended(PATIENCE_MS)).state, FINISHED);
      await Promise.all(tasks.map((task) => task.gone(PATIENCE_MS)));
      checkCalls(tasks);
      checkAcknowledgements(slave);
      assert.deepEqual(slave.violations, []);
      assert.deepEqual(await host.leftovers(), []);
    });
  });
});

/** launch, wait, and the two updates (registered, ended) of each task: once each, all with status 0. */
function checkCalls(tasks: readonly LaunchedTask[]): void {
  for (const task of tasks) {
    const calls = task.calls();
    assert.deepEqual(calls.map(({ verb }) => verb).sort(), ['launch', 'update', 'update', 'wait']);
    for (const { verb, end } of calls) {
      // The last update is asked for when the end is reported, and may outlive the wait.
      if (end === undefined) assert.equal(verb, 'update');
      else assert.deepEqual([end.code, end.stderr], [0, ''], verb);
    }
  }
}

/** Every update was sent once and acknowledged once. */
function checkAcknowledgements(slave: StandInSlave): void {
  const made = slave.updates.map(({ taskId, uuid }) => `${taskId} ${uuid}`).sort();
  assert.equal(new Set(made).size, made.length);
  assert.deepEqual([...slave.acknowledged].sort(), made);
  const sent = slave.messages.filter(({ name }) => name === 'StatusUpdateMessage');
  assert.equal(sent.length, made.length);
}

interface Found {
  readonly pid: number;
  readonly program: string;
  readonly argv: string;
  readonly pssBytes: number;
}

/** Every process on this host that is there because of deimos: by its executable, by its caller's session, by its parent. */
function processesOf(host: Host, slave: StandInSlave): readonly Found[] {
  const supervisor = host.supervisor();
  const leaders = slave.calls.filter(({ end }) => end === undefined).map(({ pid }) => pid);
  const pids = new Set([
    ...host.processes().map(({ pid }) => pid),
    ...allPids().filter((pid) => leaders.includes(statOf(pid)?.session ?? 0)),
    ...treeOf(supervisor === undefined ? [] : [supervisor]),
  ]);
  return [...pids].flatMap((pid) => {
    try {
      const program = basename(readlinkSync(`/proc/${pid}/exe`));
      return [{ pid, program, argv: (argvOf(pid) ?? []).join(' '), pssBytes: pssOf(pid) }];
    } catch {
      // Gone meanwhile.
      return [];
    }
  });
}

/** Asked to end, an idle supervisor leaves no process, socket, port or lock. */
async function supervisorEnds(host: Host): Promise<void> {
  const pid = host.supervisor();
  assert.ok(pid !== undefined);
  const port = Number(await readFile(`${host.root}/supervisor/port`, 'utf8'));
  assert.ok(await isOpen(port));
  signalPid(pid, 'SIGTERM');
  await until('the supervisor has ended', () => host.supervisor() === undefined);
  assert.deepEqual(host.processes(), []);
  assert.ok(!existsSync(`${host.root}/supervisor/socket`));
  assert.ok(!(await isOpen(port)));
  const locks = (await host.deimos(['locks'])).stdout.toString().trim().split('\n');
  assert.ok(locks.length > ALL_AT_ONCE);
  for (const line of locks) assert.match(line, /\tfree\t/);
}

// Slaves that live and do what no slave should, each kind by itself (in the long form) and all at once: what that costs is
// bounded, it is said once for each slave, harms no task of a slave that is well, and when they are well again all their own
// tasks end as they should.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TaskState } from '../../src/mesos/messages.ts';
import { checkCalm, checkEnd, dropUnheard, executorPort, PATIENCE_MS } from '../support/endings.ts';
import { ALL_FAULTS, extent, FAULT_FILE_TIMEOUT_MS, tell } from '../support/faults.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { anonymousOf } from '../support/processes.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { openSlaveDoor, type SlaveConduct, type SlaveDoor } from '../support/slave-door.ts';
import { encodePost } from '../support/slave-wire.ts';
import { commandTask } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const { RUNNING, FAILED } = TaskState;
const MB = 1024 * 1024;
/** Of each slave: the first ends when it is well again, the others while it is not. */
const TASKS = extent(2, 5);
/** How long it behaves like that. It decides what is tested, not whether it passes. */
const ILL_MS = extent(1_500, 90_000);
/** Of connections to a slave, and of messages of each of its tasks: with pauses of 0.2 s, growing, they are fewer. */
const TRIES_MAX = 20 + ILL_MS / 1_000;
const STRANGE_MESSAGES = extent(200, 20_000);
/** Beyond what it was before: garbage that is collected when there is a need. */
const GROWTH_MAX_BYTES = 48 * MB;

const CONDUCTS: readonly (readonly [string, SlaveConduct])[] = [
  ['answers 404 to everything', { kind: 'answers', status: 404 }],
  ['closes every connection', { kind: 'closes' }],
  ['takes connections and never reads', { kind: 'reads-nothing' }],
  ['sends garbage', { kind: 'garbage' }],
  ['takes 30 s to answer', { kind: 'late', ms: 30_500 }],
];

interface Patient {
  readonly what: string;
  readonly conduct: SlaveConduct;
  readonly door: SlaveDoor;
  readonly slave: StandInSlave;
  readonly tasks: readonly LaunchedTask[];
}

describe('a slave that misbehaves', {
  skip: await skipWithoutTools(),
  timeout: FAULT_FILE_TIMEOUT_MS,
}, () => {
  let host: Host;
  let well: StandInSlave;
  before(async () => {
    host = await startHost();
    well = await host.slave();
  });
  after(async () => {
    await host[Symbol.asyncDispose]();
  });

  const gated = (slave: StandInSlave): Promise<LaunchedTask> =>
    slave.launch(commandTask({ image: IMAGES.busybox, value: `${AT_GATE}; exit 5` }));
  const pid = (): number => host.supervisor() ?? assert.fail('no supervisor');
  const descriptors = (): number => readdirSync(`/proc/${pid()}/fd`).length;
  /** Lines of the supervisor's log with these words, about this slave or task. */
  const said = (words: string, about: string): number =>
    readFileSync(`${host.root}/supervisor/log`, 'utf8')
      .split('\n')
      .filter((line) => line.includes(words) && line.includes(about)).length;

  async function misbehave(conducts: typeof CONDUCTS): Promise<void> {
    await withSupervisorLog(host, async () => {
      const patients: Patient[] = [];
      await using doors = new AsyncDisposableStack();
      for (const [what, conduct] of conducts) {
        const door = doors.use(await openSlaveDoor());
        const slave = await host.slave({ checkpoint: true, doorPort: door.port });
        door.leadTo(slave.port);
        const tasks = await Promise.all(Array.from({ length: TASKS }, () => gated(slave)));
        patients.push({ what, conduct, door, slave, tasks });
      }
      const other = await gated(well);
      for (const { slave, tasks } of patients) {
        await Promise.all([...tasks, other].map((task) => task.reached(RUNNING, PATIENCE_MS)));
        await until('acknowledged', () => slave.acknowledged.length === TASKS);
      }
      const before = { descriptors: descriptors(), bytes: anonymousOf(pid()) };
      const connectionsBefore = patients.map(({ door }) => door.connections);
      for (const { door, conduct } of patients) door.behave(conduct);
      for (const { tasks } of patients) for (const task of tasks.slice(1)) openGate(task);
      // Meanwhile all is as ever for a slave that is well.
      openGate(other);
      await checkEnd(other, FAILED, 5 << 8);
      const next = await gated(well);
      await next.reached(RUNNING, PATIENCE_MS);
      openGate(next);
      await checkEnd(next, FAILED, 5 << 8);
      await sleep(ILL_MS);
      const grown = {
        descriptors: descriptors() - before.descriptors,
        bytes: anonymousOf(pid()) - before.bytes,
      };
      for (const [n, { what, door, slave }] of patients.entries()) {
        const connections = door.connections - (connectionsBefore[n] ?? 0);
        tell(
          `slave that ${what}, ${ILL_MS} ms: ${connections} connections, ${door.answered} messages for nothing, ${said('do not reach', slave.upid)} line`,
        );
        assert.ok(connections <= TRIES_MAX, `${what}: ${connections} connections`);
        assert.ok(door.answered <= TRIES_MAX * TASKS, `${what}: ${door.answered} messages`);
        // What is slow only is not wrong yet.
        const lines = said('messages do not reach the slave', slave.upid);
        assert.ok(lines <= 1 && (lines === 1 || /reads|30 s/.test(what)), `${what}: ${lines} lines`);
      }
      assert.ok(grown.descriptors <= 2, `${grown.descriptors} descriptors more`);
      assert.ok(grown.bytes <= GROWTH_MAX_BYTES, `${grown.bytes} bytes more`);
      for (const { door } of patients) door.behave({ kind: 'well' });
      for (const { what, slave, tasks } of patients) {
        const [first, ...others] = tasks;
        assert.ok(first);
        openGate(first);
        await checkEnd(first, FAILED, 5 << 8);
        for (const task of others) {
          if (!ALL_FAULTS) await checkEnd(task, FAILED, 5 << 8);
          // After so long without an acknowledgement the answer of `wait` speaks for itself.
          else await checkAnswered(task);
        }
        if (ALL_FAULTS) dropUnheard(host, others);
        // Or what it had not read before then.
        const overtaken =
          /answered (without a terminal update of|before .* was acknowledged)|unknown executor or task/;
        if (ALL_FAULTS)
          slave.violations.splice(0, Infinity, ...slave.violations.filter((text) => !overtaken.test(text)));
        checkCalm(slave);
        assert.ok(said('messages reach the slave again', slave.upid) <= 1, what);
        await slave.stop();
      }
      assert.deepEqual(await host.leftovers(), []);
    });
  }

  async function checkAnswered(task: LaunchedTask): Promise<void> {
    const termination = await task.gone(PATIENCE_MS);
    assert.deepEqual(
      [termination?.state, termination?.status, termination?.message],
      [FAILED, 5 << 8, 'Container exited with status 5'],
    );
    assert.deepEqual(
      task.updates().map(({ state }) => state),
      [RUNNING, FAILED],
    );
  }

  it('in every way at once', async () => await misbehave(CONDUCTS));

  if (ALL_FAULTS) {
    for (const [what, conduct] of CONDUCTS) it(what, async () => await misbehave([[what, conduct]]));

    it('never acknowledges: the answer of wait speaks for itself, and nothing is sent twice', async () => {
      await withSupervisorLog(host, async () => {
        const slave = await host.slave({ acks: 'drop' });
        const tasks = await Promise.all(Array.from({ length: TASKS }, () => gated(slave)));
        await Promise.all(tasks.map((task) => task.reached(RUNNING, PATIENCE_MS)));
        for (const task of tasks) openGate(task);
        for (const task of tasks) await checkEnd(task, FAILED, 5 << 8);
        const sent = slave.messages.filter(({ name }) => name === 'StatusUpdateMessage');
        assert.equal(sent.length, 2 * TASKS);
        checkCalm(slave);
        dropUnheard(host, tasks);
        assert.deepEqual(await host.leftovers(), []);
        await slave.stop();
      });
    });
  }

  it('sends messages for a name that nobody has, and such as cannot be read: nothing happens, and is said once', async () => {
    await withSupervisorLog(host, async () => {
      const task = await gated(well);
      await task.reached(RUNNING, PATIENCE_MS);
      const own = readFileSync(`${host.root}/mesos/${task.containerId}/executor`, 'utf8').trim();
      const before = { descriptors: descriptors(), bytes: anonymousOf(pid()) };
      const port = executorPort(host);
      const post = (name: string, message: string) =>
        encodePost(
          '0.28.3',
          well.upid,
          `${name}@127.0.0.1:${port}`,
          message,
          Buffer.from('\xff no protobuf'),
        );
      const talk = await connected(port);
      for (let n = 0; n < STRANGE_MESSAGES; n++) {
        talk.write(post('deimos-nobody', 'KillTaskMessage'));
        talk.write(post(own, 'KillTaskMessage'));
        talk.write(post(own, 'StatusUpdateAcknowledgementMessage'));
        talk.write(post(own, 'NoSuchMessage'));
        if (talk.writableNeedDrain) await new Promise((resolve) => talk.once('drain', resolve));
      }
      // The same slave has something to say as ever, and what comes behind it on this connection is read.
      const garbage = await connected(port);
      const closed = new Promise((resolve) => garbage.once('close', resolve));
      garbage.write('\u0000 no HTTP\n'.repeat(1_000));
      await closed;
      await until('the last is read', () => said('could not be used', task.containerId) === 2);
      const grown = descriptors() - before.descriptors;
      assert.ok(grown <= 1, `${grown} descriptors more`);
      assert.ok(anonymousOf(pid()) - before.bytes <= GROWTH_MAX_BYTES);
      await well.killTask(task);
      await checkEnd(task, TaskState.KILLED, 137 << 8);
      talk.destroy();
      tell(`strange messages from a slave: ${4 * STRANGE_MESSAGES}, 2 lines`);
      assert.equal(said('could not be used', task.containerId), 2);
      checkCalm(well);
      assert.deepEqual(await host.leftovers(), []);
    });
  });
});

async function connected(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.resume();
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
}

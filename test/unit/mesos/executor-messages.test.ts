import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Fault } from '../../../src/fault.ts';
import { decode, encode, rawField } from '../../../src/mesos/codec.ts';
import {
  parseSlaveMessage,
  registerExecutor,
  reregisterExecutor,
  statusUpdate,
  statusUpdateMessage,
} from '../../../src/mesos/executor-messages.ts';
import {
  ExecutorRegisteredMessage,
  KillTaskMessage,
  Launch,
  Reason,
  ReregisterExecutorMessage,
  RunTaskMessage,
  StatusUpdate,
  StatusUpdateMessage,
  TaskState,
} from '../../../src/mesos/messages.ts';
import { CALLS, FILES, only, SAID, SENT } from './recordings.ts';

const UUID = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');

const facts = {
  frameworkId: 'f',
  executorId: 'e',
  slaveId: 's',
  taskId: 't',
  state: TaskState.RUNNING,
  uuid: UUID,
  timestampSeconds: 1.25,
  pid: 'deimos-1@127.0.0.1:20000',
};

describe('messages to the slave', () => {
  it('registers with the very bytes that real slaves accepted', () => {
    const registers = SENT.filter(({ message }) => message === 'RegisterExecutorMessage');
    const launches = CALLS.filter(({ verb, file }) => verb === 'launch' && file !== 'executor-task');
    assert.ok(registers.length >= 6);
    for (const { file, body } of registers) {
      const { executor_info } = decode(
        Launch,
        only(launches.filter((call) => call.file === file)).stdin.subarray(4),
      );
      const frameworkId = executor_info?.framework_id?.value ?? '';
      const executorId = executor_info?.executor_id?.value ?? '';
      assert.deepEqual(registerExecutor({ frameworkId, executorId }), body);
    }
  });

  it('reregisters with the very bytes that a real slave accepted', () => {
    const { body } = only(SENT.filter(({ message }) => message === 'ReregisterExecutorMessage'));
    const ids = { frameworkId: '430a044f-24a2-4fd6-94fc-7384daa09fab-0002', executorId: 'recover-0' };
    assert.deepEqual(reregisterExecutor({ ...ids, tasks: [], updates: [] }), body);
  });

  it('writes the very status updates that real slaves accepted', () => {
    const updates = SENT.filter(({ message }) => message === 'StatusUpdateMessage');
    assert.ok(updates.length >= 10);
    for (const { body, from } of updates) {
      const { update: raw = Buffer.alloc(0), pid } = decode(StatusUpdateMessage, body);
      const update = decode(StatusUpdate, raw);
      const { status } = update;
      assert.equal(pid, from);
      const state = Object.values(TaskState).find((value) => value === status?.state);
      assert.ok(state !== undefined && update.uuid && update.timestamp);
      const written = statusUpdate({
        frameworkId: update.framework_id?.value ?? '',
        executorId: update.executor_id?.value ?? '',
        slaveId: update.slave_id?.value ?? '',
        taskId: status?.task_id?.value ?? '',
        state,
        message: status?.message,
        data: status?.data,
        uuid: update.uuid,
        timestampSeconds: update.timestamp,
        pid: from,
      });
      assert.deepEqual(written.message, body);
      assert.deepEqual(written.update, raw);
    }
  });

  it('tells the address of the container in a label and in its status, and health and reason if given', () => {
    const { update } = statusUpdate({
      ...facts,
      ipAddress: '172.17.0.2',
      healthy: false,
      reason: Reason.CONTAINER_LAUNCH_FAILED,
    });
    const { status } = decode(StatusUpdate, update);
    assert.deepEqual(status?.labels, {
      labels: [{ key: 'Docker.NetworkSettings.IPAddress', value: '172.17.0.2' }],
    });
    assert.deepEqual(status?.container_status?.network_infos, [
      { ip_address: '172.17.0.2', ip_addresses: [{ protocol: 1, ip_address: '172.17.0.2' }] },
    ]);
    assert.equal(status?.healthy, false);
    assert.equal(status?.reason, 21);
    const bare = decode(StatusUpdate, statusUpdate(facts).update).status;
    assert.equal(bare?.labels, undefined);
    assert.equal(bare?.container_status, undefined);
    assert.equal('healthy' in (bare ?? {}), false);
  });

  it('names the slave, the time and the uuid in the update and in the status: newer slaves compare them', () => {
    const update = decode(StatusUpdate, statusUpdate(facts).update);
    assert.equal(update.slave_id?.value, 's');
    assert.equal(update.status?.slave_id?.value, 's');
    assert.deepEqual(update.status?.uuid, update.uuid);
    assert.equal(update.status?.timestamp, 1.25);
    assert.equal(update.status?.source, 2);
  });

  it('sends a stored update again from another address, unchanged', () => {
    const { update, message } = statusUpdate(facts);
    assert.deepEqual(statusUpdateMessage(update, facts.pid), message);
    const again = statusUpdateMessage(update, 'deimos-1@127.0.0.1:20001');
    assert.deepEqual(rawField(again, 1), update);
    assert.equal(decode(StatusUpdateMessage, again).pid, 'deimos-1@127.0.0.1:20001');
  });

  it('gives tasks and updates back byte by byte, with fields that it does not know', () => {
    const task = Buffer.concat([Buffer.from('120312017a', 'hex'), Buffer.from('9a0f03616263', 'hex')]);
    const { update } = statusUpdate(facts);
    const body = reregisterExecutor({
      frameworkId: 'f',
      executorId: 'e',
      tasks: [task, task],
      updates: [update],
    });
    const sent = decode(ReregisterExecutorMessage, body);
    assert.deepEqual(sent.tasks, [task, task]);
    assert.deepEqual(sent.updates, [update]);
  });

  it('refuses a uuid that is none', () => {
    assert.throws(() => statusUpdate({ ...facts, uuid: Buffer.alloc(15) }), RangeError);
  });
});

describe('messages from the slave', () => {
  it('understands every recorded one', () => {
    const seen = new Map<string, number>();
    for (const { message, body } of SAID) {
      const said = parseSlaveMessage(message, body);
      seen.set(said.type, (seen.get(said.type) ?? 0) + 1);
    }
    assert.deepEqual(
      [...seen.keys()].sort(),
      [
        'acknowledgement',
        'kill-task',
        'reconnect',
        'registered',
        'reregistered',
        'run-task',
        'shutdown',
      ].sort(),
    );
  });

  const said = (file: (typeof FILES)[number], message: string) =>
    SAID.filter((one) => one.file === file && one.message === message).map(({ body }) => body);

  it('reads the values of the recorded ones', () => {
    const slaveId = '430a044f-24a2-4fd6-94fc-7384daa09fab-S1';
    const registered = parseSlaveMessage(
      'ExecutorRegisteredMessage',
      only(said('kill-task', 'ExecutorRegisteredMessage')),
    );
    assert.deepEqual(registered, { type: 'registered', slaveId, wantsKilling: false });
    const kill = parseSlaveMessage('KillTaskMessage', only(said('kill-task', 'KillTaskMessage')));
    assert.deepEqual(kill, { type: 'kill-task', taskId: 'kill-0' });
    const reconnect = parseSlaveMessage(
      'ReconnectExecutorMessage',
      only(said('slave-restart', 'ReconnectExecutorMessage')),
    );
    assert.deepEqual(reconnect, { type: 'reconnect', slaveId: '430a044f-24a2-4fd6-94fc-7384daa09fab-S2' });
    assert.deepEqual(parseSlaveMessage('ShutdownExecutorMessage', Buffer.alloc(0)), { type: 'shutdown' });
  });

  it('finds in each acknowledgement the uuid of an update that was sent', () => {
    for (const file of FILES) {
      const sent = SENT.filter((one) => one.file === file && one.message === 'StatusUpdateMessage').map(
        ({ body }) => {
          const { update = Buffer.alloc(0) } = decode(StatusUpdateMessage, body);
          return decode(StatusUpdate, update).uuid?.toString('hex');
        },
      );
      for (const body of said(file, 'StatusUpdateAcknowledgementMessage')) {
        const one = parseSlaveMessage('StatusUpdateAcknowledgementMessage', body);
        assert.equal(one.type, 'acknowledgement');
        assert.ok(sent.includes(one.uuid.toString('hex')));
      }
    }
  });

  it('keeps the TaskInfo of RunTask exactly as it came: that of launch', () => {
    for (const file of FILES) {
      for (const body of said(file, 'RunTaskMessage')) {
        const run = parseSlaveMessage('RunTaskMessage', body);
        const launch = only(
          CALLS.filter((call) => call.file === file && call.verb === 'launch'),
        ).stdin.subarray(4);
        assert.equal(run.type, 'run-task');
        assert.equal(run.taskId, decode(Launch, launch).task_info?.task_id?.value);
        assert.deepEqual(run.task, rawField(body, 4));
        assert.deepEqual(run.task, rawField(launch, 2));
      }
    }
  });

  it('sees whether the framework knows TASK_KILLING', () => {
    const body = (types: number[]) =>
      encode(ExecutorRegisteredMessage, {
        slave_id: { value: 's' },
        framework_info: { capabilities: types.map((type) => ({ type })) },
      });
    const wants = (types: number[]) => {
      const one = parseSlaveMessage('ExecutorRegisteredMessage', body(types));
      return one.type === 'registered' && one.wantsKilling;
    };
    assert.equal(wants([1, 2]), true);
    assert.equal(wants([1, 3]), false);
    assert.equal(wants([]), false);
  });

  it('reads the grace that a KillTask of 1.0 brings', () => {
    const body = encode(KillTaskMessage, {
      task_id: { value: 't' },
      kill_policy: { grace_period: { nanoseconds: 1_500_000_000 } },
    });
    assert.deepEqual(parseSlaveMessage('KillTaskMessage', body), {
      type: 'kill-task',
      taskId: 't',
      graceMs: 1500,
    });
  });

  it('leaves alone what an executor of one task has no use for', () => {
    const other = parseSlaveMessage('FrameworkToExecutorMessage', Buffer.from('garbage'));
    assert.deepEqual(other, { type: 'other', message: 'FrameworkToExecutorMessage' });
  });

  it('refuses a message without what it is about', () => {
    for (const message of [
      'ExecutorRegisteredMessage',
      'ExecutorReregisteredMessage',
      'RunTaskMessage',
      'KillTaskMessage',
      'StatusUpdateAcknowledgementMessage',
      'ReconnectExecutorMessage',
    ]) {
      assert.throws(
        () => parseSlaveMessage(message, Buffer.alloc(0)),
        (error) =>
          error instanceof Fault && error.kind === 'protocol' && error.message.startsWith(`${message}.`),
      );
    }
    const withoutId = encode(RunTaskMessage, { task: { name: 'x' } });
    assert.throws(() => parseSlaveMessage('RunTaskMessage', withoutId), Fault);
  });
});

// What a slave says to an executor, and the addresses in it.

import assert from 'node:assert/strict';
import { decode, type Fields, type Message } from '../../src/mesos/codec.ts';
import { parseSlaveMessage } from '../../src/mesos/executor-messages.ts';
import * as messages from '../../src/mesos/messages.ts';
import { formatUpid, parseUpid } from '../../src/mesos/upid.ts';
import { attempt, byteWords, type Target } from '../engine/target.ts';
import { makeMessage } from '../protobuf-grammar.ts';

const SAID: readonly (readonly [string, Message<Fields>])[] = [
  ['RunTaskMessage', messages.RunTaskMessage],
  ['KillTaskMessage', messages.KillTaskMessage],
  ['ExecutorRegisteredMessage', messages.ExecutorRegisteredMessage],
  ['ExecutorReregisteredMessage', messages.ExecutorReregisteredMessage],
  ['StatusUpdateAcknowledgementMessage', messages.StatusUpdateAcknowledgementMessage],
  ['ReconnectExecutorMessage', messages.ReconnectExecutorMessage],
  ['ShutdownExecutorMessage', messages.ReconnectExecutorMessage],
  ['toString', messages.ReconnectExecutorMessage],
];
const HABITS = {
  words: { other: ['a', '', 'slave(1)@127.0.0.1:5051', 'x@256.0.0.1:1', 'x@1.2.3.4:65536'] },
  usual: [
    ...[
      'RunTaskMessage.task',
      'TaskInfo.task_id',
      'TaskID.value',
      'SlaveID.value',
      'KillTaskMessage.task_id',
    ],
    ...['StatusUpdateAcknowledgementMessage.task_id', 'StatusUpdateAcknowledgementMessage.uuid'],
    ...['ExecutorRegisteredMessage.slave_id', 'ExecutorReregisteredMessage.slave_id'],
  ],
};
const GRACE_MS_MAX = 2 ** 63 / 1e6;

/** The first byte of an input says which message it is. */
export function target(): Target {
  return {
    dictionary: byteWords('\x0a', '\x22\x00', '\x0a\x03\x0a\x01a', '127.0.0.1', ':5051', '@'),
    make(random) {
      const number = random.below(SAID.length);
      return Buffer.concat([Buffer.of(number), makeMessage(saidAt(number)[1], random, HABITS)]);
    },
    run(input) {
      const body = input.subarray(1);
      const [name] = saidAt(input[0] ?? 0);
      const { value } = attempt(['protocol'], () => parseSlaveMessage(name, body));
      checkUpid(body.toString('latin1'));
      if (value === undefined) return;
      if (value.type === 'run-task')
        assert.equal(
          decode(messages.TaskInfo, value.task).task_id?.value,
          value.taskId,
          'another task is passed on',
        );
      if (value.type === 'kill-task' && value.graceMs !== undefined)
        assert.ok(Number.isInteger(value.graceMs) && value.graceMs >= 0 && value.graceMs <= GRACE_MS_MAX);
      if (value.type === 'other') assert.equal(value.message, 'toString');
    },
  };
}

function saidAt(number: number): readonly [string, Message<Fields>] {
  // An index below the length leads to an element.
  return SAID[number % SAID.length] as readonly [string, Message<Fields>];
}

function checkUpid(text: string): void {
  const upid = parseUpid(text);
  if (upid === undefined) return;
  assert.ok(upid.port > 0 && upid.port < 65_536);
  assert.deepEqual(parseUpid(formatUpid(upid)), upid);
}

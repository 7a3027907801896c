import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { environment, portVariables } from '../../../src/container/environment.ts';
import type { TaskRequest } from '../../../src/container/task.ts';
import { newContainer, taskRequest } from './task-request.ts';

function variables(
  task: TaskRequest,
  slave: Record<string, string> = {},
  ports: readonly number[] = [],
  fromOptions: readonly string[] = [],
): Record<string, string> {
  const answer = environment(task, slave, ports, 'deimos-c-1', fromOptions);
  assert.ok(answer.ok);
  assert.equal(new Set(answer.variables.map(([name]) => name)).size, answer.variables.length);
  return Object.fromEntries(answer.variables);
}

test('ports are PORT, PORT0… and PORTS', () => {
  assert.deepEqual(Object.fromEntries(portVariables([31005, 31000])), {
    PORT: '31005',
    PORT0: '31005',
    PORT1: '31000',
    PORTS: '31005,31000',
  });
  assert.deepEqual(portVariables([]), []);
});

describe('the environment of a command task', () => {
  test('the task and its sandbox, and nothing of the slave', () => {
    const slave = {
      PATH: '/x',
      MESOS_SLAVE_ID: 's',
      MESOS_RECOVERY_TIMEOUT: '15mins',
      LIBPROCESS_PORT: '5051',
    };
    assert.deepEqual(variables(taskRequest(), slave), {
      TASK_INFO: 'the task',
      MESOS_SANDBOX: '/tmp/mesos-sandbox',
    });
  });

  test("a later variable wins over an earlier one, the task's over the offer's and over -e", () => {
    const task = taskRequest({
      command: {
        environment: [
          ['A', '1'],
          ['A', '2'],
          ['PORT', '80'],
          ['B', 'task'],
        ],
      },
    });
    const found = variables(task, {}, [31000], ['B=option', 'C=option', 'PORT0=option', 'PORTS']);
    assert.deepEqual([found.A, found.B, found.C], ['2', 'task', 'option']);
    assert.deepEqual([found.PORT, found.PORT0, found.PORTS], ['80', 'option', undefined]);
  });

  test('what is ours stands whatever the task says', () => {
    const task = taskRequest({ command: { environment: [['MESOS_SANDBOX', '/elsewhere']] } });
    assert.equal(variables(task).MESOS_SANDBOX, '/tmp/mesos-sandbox');
  });

  test('the new form: the whole sandbox, the name, the ports as in the old', () => {
    const task = taskRequest({
      container: newContainer(),
      command: { environment: [['PORT0', 'the task’s']] },
    });
    assert.deepEqual(variables(task, {}, [31000], ['PORTS=an option’s']), {
      PORT: '31000',
      PORT0: 'the task’s',
      PORTS: 'an option’s',
      TASK_INFO: 'the task',
      MESOS_SANDBOX: '/mnt/mesos/sandbox',
      MESOS_CONTAINER_NAME: 'deimos-c-1',
    });
  });

  for (const [name, value] of [
    ['', 'x'],
    ['A=B', 'x'],
    ['A\0', 'x'],
    ['A', 'x\0y'],
  ] as const) {
    test(`${JSON.stringify(name)}=${JSON.stringify(value)} is refused without its value`, () => {
      const answer = environment(taskRequest({ command: { environment: [[name, value]] } }), {}, [], 'n', []);
      assert.ok(!answer.ok);
      assert.doesNotMatch(answer.why, /x|\n|\0/);
    });
  }
});

test('an id with a NUL is refused, which no variable can hold', () => {
  const task = taskRequest({ kind: 'executor', executorId: 'a\0b' });
  assert.deepEqual(environment(task, {}, [], 'n', []), {
    ok: false,
    why: 'the environment variable "MESOS_EXECUTOR_ID" would contain a NUL',
  });
});

test('an executor task knows its slave, from the record where the record says it', () => {
  const slave = {
    MESOS_CHECKPOINT: 'true',
    MESOS_SLAVE_ID: 'wrong',
    MESOS_DIRECTORY: '/host/sandbox',
    MESOS_WORK_DIRECTORY: '/var/mesos',
    MESOS_NATIVE_JAVA_LIBRARY: '/usr/lib/libmesos.so',
    MESOS_RECOVERY_TIMEOUT: '15mins',
    MESOS_AGENT_ENDPOINT: '10.0.0.1:5051',
    LIBPROCESS_PORT: '5051',
    LIBPROCESS_IP: '10.0.0.1',
  };
  assert.deepEqual(variables(taskRequest({ kind: 'executor', checkpoint: true }), slave), {
    TASK_INFO: 'the task',
    MESOS_SANDBOX: '/tmp/mesos-sandbox',
    MESOS_FRAMEWORK_ID: 'framework',
    MESOS_EXECUTOR_ID: 'executor',
    MESOS_SLAVE_ID: 'slave',
    MESOS_SLAVE_PID: 'slave(1)@127.0.0.1:5051',
    MESOS_CHECKPOINT: '1',
    MESOS_DIRECTORY: '/tmp/mesos-sandbox',
    MESOS_RECOVERY_TIMEOUT: '15mins',
    MESOS_AGENT_ENDPOINT: '10.0.0.1:5051',
  });
});

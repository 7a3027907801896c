// A plain task for the tests of the pure parts; each test says only what it is about.

import assert from 'node:assert/strict';
import { mesosContainerId } from '../../../src/container/identity.ts';
import type { Command, NewContainer, TaskRequest } from '../../../src/container/task.ts';

export function taskRequest(
  changes: Partial<Omit<TaskRequest, 'command'>> & { readonly command?: Partial<Command> } = {},
): TaskRequest {
  const containerId = mesosContainerId('c-1');
  assert.ok(containerId !== undefined);
  const { command, ...rest } = changes;
  return {
    kind: 'command',
    containerId,
    frameworkId: 'framework',
    executorId: 'executor',
    taskId: 'task',
    name: 'the task',
    sandbox: '/sandbox',
    slaveId: 'slave',
    slavePid: 'slave(1)@127.0.0.1:5051',
    checkpoint: false,
    resources: { ports: [] },
    ...rest,
    command: { shell: true, arguments: [], environment: [], uris: [], ...command },
  };
}

export function newContainer(changes: Partial<NewContainer> = {}): NewContainer {
  return {
    form: 'new',
    type: 'DOCKER',
    image: 'app',
    network: 'HOST',
    portMappings: [],
    privileged: false,
    parameters: [],
    forcePull: false,
    volumes: [],
    ...changes,
  };
}

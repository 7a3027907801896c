// States of containers as launches write them, in a root of a test's own.

import assert from 'node:assert/strict';
import { DEFAULT_CONFIG } from '../../src/config/schema.ts';
import { type MesosContainerId, mesosContainerId } from '../../src/container/identity.ts';
import type { TaskRequest } from '../../src/container/task.ts';
import type { ContainerPaths } from '../../src/state/layout.ts';
import { REQUEST_VERSION, type RequestRecord } from '../../src/state/records.ts';
import { createState, writeRequest } from '../../src/state/store.ts';

export function id(text: string): MesosContainerId {
  const made = mesosContainerId(text);
  assert.ok(made !== undefined);
  return made;
}

export function requestOf(name: string, taskId = 't'): RequestRecord {
  const task: TaskRequest = {
    kind: 'command',
    containerId: id(name),
    frameworkId: 'f',
    executorId: taskId,
    taskId,
    name: 't',
    sandbox: '/nowhere',
    slaveId: 's',
    checkpoint: false,
    command: { value: 'true', shell: true, arguments: [], environment: [], uris: [] },
    resources: { ports: [] },
  };
  return {
    version: REQUEST_VERSION,
    task,
    slaveEnvironment: {},
    config: DEFAULT_CONFIG,
    launchedAt: '2026-01-02T03:04:05.678Z',
  };
}

/** A request that nobody has accepted yet. */
export function launched(root: string, name: string, taskId?: string): ContainerPaths {
  const paths = createState(root, id(name));
  writeRequest(root, paths, requestOf(name, taskId));
  return paths;
}

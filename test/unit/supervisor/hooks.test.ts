// Which of a task's variables a hook is given and which it must ask for, and that a hook has its bound.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { DEFAULT_CONFIG } from '../../../src/config/schema.ts';
import { identify } from '../../../src/host/processes.ts';
import { containerPaths } from '../../../src/state/layout.ts';
import type { RequestRecord } from '../../../src/state/records.ts';
import { Hooks, hookVariables } from '../../../src/supervisor/hooks.ts';
import { tempDirectory } from '../../support/temp.ts';
import { until } from '../../support/until.ts';
import { taskRequest } from '../container/task-request.ts';

function record(
  environment: readonly (readonly [string, string])[],
  hooks: Partial<RequestRecord['config']['hooks']>,
): RequestRecord {
  return {
    version: 1,
    task: taskRequest({ resources: { ports: [{ begin: 31000, end: 31001 }] }, command: { environment } }),
    slaveEnvironment: {},
    config: { ...DEFAULT_CONFIG, hooks: { ...DEFAULT_CONFIG.hooks, ...hooks } },
    launchedAt: '2026-01-01T00:00:00Z',
  };
}

const variables = (environment: readonly (readonly [string, string])[], named: readonly string[]) =>
  hookVariables(record(environment, { environment: named }));

const PORTS = { PORT: '31000', PORT0: '31000', PORT1: '31001', PORTS: '31000,31001' };

describe('the variables of a hook', () => {
  it('are name and ports of the task, and those the operator names', () => {
    const { given, all } = variables(
      [
        ['ROLE', 'old'],
        ['LD_PRELOAD', '/evil.so'],
        ['ROLE', 'new'],
      ],
      ['ROLE', 'ABSENT'],
    );
    assert.deepEqual(Object.fromEntries(given), { ...PORTS, ROLE: 'new', TASK_INFO: 'the task' });
    assert.deepEqual(Object.fromEntries(all), {
      ...PORTS,
      ROLE: 'new',
      LD_PRELOAD: '/evil.so',
      TASK_INFO: 'the task',
    });
  });

  it('are not what a task says of ours, unless the operator takes its word', () => {
    const claims = [
      ['TASK_INFO', 'somebody else'],
      ['PORT', '22'],
    ] as const;
    assert.deepEqual(Object.fromEntries(variables(claims, []).given), { ...PORTS, TASK_INFO: 'the task' });
    const { given } = variables(claims, ['PORT', 'TASK_INFO']);
    assert.equal(given.get('PORT'), '22');
    assert.equal(given.get('TASK_INFO'), 'the task');
  });

  it('are none that would run into the next record', () => {
    const { all } = variables(
      [
        ['A', 'x\0B=y'],
        ['C=D', 'z'],
        ['', 'z'],
      ],
      [],
    );
    assert.deepEqual(Object.fromEntries(all), { ...PORTS, TASK_INFO: 'the task' });
  });
});

describe('a hook that hangs', () => {
  it('is ended at its bound with all that it started, and counts as run; the next one waits for that', async () => {
    await using temp = await tempDirectory('hk-');
    const script = (name: string, rest: string) => ['/bin/sh', '-c', `echo ${name} >> calls; ${rest}`];
    const request = record([], {
      onlaunch: script('onlaunch', 'echo $$ > leader; sleep 1000 & echo $! > pid; wait'),
      ondestroy: script('ondestroy', 'kill -0 $(cat leader) 2>/dev/null && echo both >> calls; true'),
    });
    const paths = containerPaths(temp.path, request.task.containerId);
    await mkdir(paths.directory, { recursive: true });
    const said: string[] = [];
    const take = (event: string): void => void said.push(event);
    const log = { debug: () => {}, info: () => {}, warning: take, error: take };
    const hooks = new Hooks({ request, paths, log, boundMs: 1_000 });
    const both = [hooks.onlaunch(), hooks.onlaunch(), hooks.ondestroy()];
    await Promise.all(both);
    const calls = readFileSync(`${paths.directory}/calls`, 'utf8');
    assert.equal(calls, 'onlaunch\nondestroy\n');
    const pid = Number(readFileSync(`${paths.directory}/pid`, 'utf8'));
    await until('what it started is gone', () => identify(pid) === undefined);
    assert.equal(said.length, 1);
    assert.ok(!existsSync(paths.hookEnvironment));
    assert.deepEqual(readdirSync(paths.children), []);
    // Another supervisor.
    const again = new Hooks({ request, paths, log });
    await again.onlaunch();
    await again.ondestroy();
    assert.equal(readFileSync(`${paths.directory}/calls`, 'utf8'), calls);
  });
});

// RunTask that is late: counted from the slave's last `update` on, which says whether the task is still to run.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { mesosContainerId } from '../../../src/container/identity.ts';
import type { LifeEvent } from '../../../src/container/life.ts';
import type { Resources } from '../../../src/container/task.ts';
import { type ContainerPaths, containerPaths } from '../../../src/state/layout.ts';
import { noteLimits } from '../../../src/state/limits.ts';
import { RunTaskWait } from '../../../src/supervisor/run-task-wait.ts';
import { tempDirectory } from '../../support/temp.ts';
import { until } from '../../support/until.ts';

const OWN: Resources = { cpus: 0.5, memMb: 64, ports: [] };
const WITH_TASK = { cpus: 0.6, memMb: 96 };
const ALLOWANCE = { cpus: 0.1, memMb: 32 };
const MS = 10;

interface Scene {
  readonly paths: ContainerPaths;
  readonly wait: RunTaskWait;
  readonly told: LifeEvent[];
  /** What is told first. */
  first(): Promise<LifeEvent>;
}

async function scene(body: (given: Scene) => Promise<void>): Promise<void> {
  await using temp = await tempDirectory();
  const id = mesosContainerId('c1') ?? assert.fail('no id');
  const paths = containerPaths(temp.path, id);
  mkdirSync(paths.directory, { recursive: true });
  const told: LifeEvent[] = [];
  const wait = new RunTaskWait(paths, OWN, (event) => told.push(event));
  await body({ paths, wait, told, first: async () => await until('something is told', () => told[0]) });
  wait.end();
}

describe('RunTask that is late', () => {
  it('is not before the slave has called update', async () => {
    await scene(async ({ paths, wait, told, first }) => {
      wait.begin(MS, false);
      const another = new RunTaskWait(paths, OWN, () => told.push({ type: 'progress' }));
      noteLimits(paths, WITH_TASK);
      another.begin(MS, true);
      assert.deepEqual(await first(), { type: 'run-task-late', task: 'active' });
      // One that takes no earlier call has nothing to go by.
      assert.equal(told.length, 1);
      noteLimits(paths, ALLOWANCE);
      await until('told', () => told.length === 2);
      another.end();
    });
  });

  it('says whether the slave still has the task among those that are to run', async () => {
    await scene(async ({ paths, wait, first }) => {
      noteLimits(paths, WITH_TASK);
      noteLimits(paths, ALLOWANCE);
      wait.begin(MS, false);
      assert.deepEqual(await first(), { type: 'run-task-late', task: 'ended' });
    });
  });

  it('takes what the slave called in its life before for nothing, however often it is begun', async () => {
    await scene(async ({ paths, wait, told, first }) => {
      noteLimits(paths, WITH_TASK);
      wait.begin(MS, true);
      wait.begin(MS, false);
      noteLimits(paths, ALLOWANCE);
      assert.deepEqual(await first(), { type: 'run-task-late', task: 'ended' });
      assert.equal(told.length, 1);
    });
  });
});

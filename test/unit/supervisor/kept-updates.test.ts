import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { describe, it } from 'node:test';
import type { Health } from '../../../src/container/health.ts';
import { mesosContainerId } from '../../../src/container/identity.ts';
import { TaskState, type TaskStateNumber } from '../../../src/container/termination.ts';
import { encode } from '../../../src/mesos/codec.ts';
import { StatusUpdate } from '../../../src/mesos/messages.ts';
import { containerPaths } from '../../../src/state/layout.ts';
import { HEALTH_UPDATES_MAX, KeptUpdates } from '../../../src/supervisor/kept-updates.ts';
import { tempDirectory } from '../../support/temp.ts';

const WELL: Health = { healthy: true, failures: 0 };
const sick = (failures: number): Health => ({ healthy: false, failures });

async function withState(body: (paths: ReturnType<typeof containerPaths>) => Promise<void>): Promise<void> {
  await using directory = await tempDirectory('ku-');
  const id = mesosContainerId('c-1');
  assert.ok(id !== undefined);
  const paths = containerPaths(directory.path, id);
  await mkdir(paths.directory, { recursive: true });
  await body(paths);
}

async function keep(kept: KeptUpdates, state: TaskStateNumber, health?: Health): Promise<Buffer> {
  const uuid = randomBytes(16);
  await kept.keep(state, uuid, encode(StatusUpdate, { uuid }), health);
  return uuid;
}

const statesOf = (kept: KeptUpdates) => kept.pending.map(({ state, health }) => [state, health]);

describe('kept updates about health', () => {
  it('come behind RUNNING and before what follows it, and each change counts as new', async () => {
    await withState(async (paths) => {
      const kept = new KeptUpdates(paths);
      assert.equal(kept.standing(TaskState.RUNNING, WELL), 'overtaken');
      await keep(kept, TaskState.STARTING);
      assert.equal(kept.standing(TaskState.RUNNING, WELL), 'overtaken');
      await keep(kept, TaskState.RUNNING);
      assert.equal(kept.standing(TaskState.RUNNING, WELL), 'new');
      await keep(kept, TaskState.RUNNING, WELL);
      assert.equal(kept.standing(TaskState.RUNNING, WELL), 'kept');
      assert.equal(kept.standing(TaskState.RUNNING), 'kept');
      assert.equal(kept.standing(TaskState.RUNNING, sick(1)), 'new');
      await keep(kept, TaskState.RUNNING, sick(1));
      assert.equal(kept.standing(TaskState.RUNNING, sick(1)), 'kept');
      assert.equal(kept.standing(TaskState.RUNNING, sick(2)), 'new');
      await keep(kept, TaskState.KILLING, sick(2));
      assert.equal(kept.standing(TaskState.RUNNING, sick(3)), 'overtaken');
      assert.equal(kept.standing(TaskState.KILLED, sick(3)), 'new');
      await keep(kept, TaskState.KILLED, sick(3));
      assert.equal(kept.standing(TaskState.RUNNING, WELL), 'overtaken');
      assert.equal(kept.standing(TaskState.KILLED, sick(3)), 'kept');
    });
  });

  it('are there in their order, with what was said last, for the next supervisor', async () => {
    await withState(async (paths) => {
      const kept = new KeptUpdates(paths);
      await keep(kept, TaskState.RUNNING);
      const well = await keep(kept, TaskState.RUNNING, WELL);
      await keep(kept, TaskState.RUNNING, sick(1));
      const again = new KeptUpdates(paths);
      assert.deepEqual(statesOf(again), [
        [TaskState.RUNNING, undefined],
        [TaskState.RUNNING, WELL],
        [TaskState.RUNNING, sick(1)],
      ]);
      assert.deepEqual(again.health, sick(1));
      for (const { uuid } of again.pending) again.acknowledge(uuid);
      assert.equal(again.acknowledge(well), undefined);
      const last = new KeptUpdates(paths);
      assert.deepEqual([statesOf(last), last.health], [[], sick(1)]);
      assert.equal(last.standing(TaskState.RUNNING, sick(1)), 'acknowledged');
      assert.equal(last.standing(TaskState.RUNNING), 'acknowledged');
      assert.equal(last.standing(TaskState.RUNNING, sick(2)), 'new');
    });
  });

  it('that nobody acknowledges give way to later ones, those of other states never', async () => {
    await withState(async (paths) => {
      const kept = new KeptUpdates(paths);
      await keep(kept, TaskState.RUNNING);
      const made = HEALTH_UPDATES_MAX + 20;
      for (let n = 1; n <= made; n++) await keep(kept, TaskState.RUNNING, sick(n));
      await keep(kept, TaskState.KILLED, sick(made));
      for (const one of [kept, new KeptUpdates(paths)]) {
        const [running, ...others] = statesOf(one);
        assert.deepEqual(running, [TaskState.RUNNING, undefined]);
        assert.deepEqual(others.at(-1), [TaskState.KILLED, undefined]);
        assert.deepEqual(others.at(-2), [TaskState.RUNNING, sick(made)]);
        assert.equal(others.length, HEALTH_UPDATES_MAX + 1);
      }
      assert.equal(readdirSync(paths.updates).length, HEALTH_UPDATES_MAX + 2);
    });
  });

  it('keep their order past a million', async () => {
    await withState(async (paths) => {
      await mkdir(paths.updates, { recursive: true });
      const { writeFile } = await import('node:fs/promises');
      const uuid = randomBytes(16);
      for (const name of ['999999-1-h0', '1000000-1-u1'])
        await writeFile(`${paths.updates}/${name}`, encode(StatusUpdate, { uuid }));
      const kept = new KeptUpdates(paths);
      assert.deepEqual([statesOf(kept).at(-1), kept.health], [[TaskState.RUNNING, sick(1)], sick(1)]);
      await keep(kept, TaskState.RUNNING, sick(2));
      assert.deepEqual(new KeptUpdates(paths).health, sick(2));
    });
  });
});

it('one that cannot be read counts as never made, until another has come behind it', async () => {
  await withState(async (paths) => {
    const { RUNNING, FAILED } = TaskState;
    const before = new KeptUpdates(paths);
    await keep(before, RUNNING);
    await keep(before, FAILED);
    writeFileSync(`${paths.updates}/000002-3`, 'torn');
    const kept = new KeptUpdates(paths);
    assert.deepEqual([kept.unreadable, statesOf(kept)], [1, [[RUNNING, undefined]]]);
    assert.deepEqual([kept.standing(RUNNING), kept.standing(FAILED)], ['kept', 'new']);
    await keep(kept, FAILED);
    assert.deepEqual(readdirSync(paths.updates).sort(), ['000001-1', '000002-3', '000003-3']);
    assert.equal(new KeptUpdates(paths).standing(FAILED), 'kept');
  });
});

it('one that was acknowledged and could not be removed is removed later', async () => {
  await withState(async (paths) => {
    const kept = new KeptUpdates(paths);
    const first = await keep(kept, TaskState.RUNNING);
    const path = `${paths.updates}/000001-1`;
    // No file: it cannot be unlinked, whoever asks.
    rmSync(path);
    mkdirSync(path);
    assert.ok(kept.acknowledge(first) !== undefined);
    assert.equal(kept.anyAcknowledged, true);
    assert.deepEqual(kept.pending, []);
    rmdirSync(path);
    writeFileSync(path, '');
    kept.removeForgotten();
    assert.deepEqual(readdirSync(paths.updates), []);
  });
});

it('one that was kept and not noted before a crash is not made anew once it is acknowledged', async () => {
  await withState(async (paths) => {
    const uuid = await keep(new KeptUpdates(paths), TaskState.RUNNING);
    rmSync(paths.reported);
    const second = new KeptUpdates(paths);
    assert.equal(second.standing(TaskState.RUNNING), 'kept');
    second.acknowledge(uuid);
    assert.equal(new KeptUpdates(paths).standing(TaskState.RUNNING), 'acknowledged');
  });
});

// A slave that calls everything at once: destroy, twice, while a task's URIs are fetched, while its container is created or
// started, in the moment in which it ends; with update, usage and a second wait meanwhile. Each call ends well, all that wait
// hear the same, and nothing is left.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { decode, encode } from '../../src/mesos/codec.ts';
import { Termination, Update, ValueType, Wait } from '../../src/mesos/messages.ts';
import { type DockerDoor, openDoor } from '../support/docker-door.ts';
import { containersOf } from '../support/docker-facts.ts';
import { startDockerd } from '../support/dockerd.ts';
import { checkCalm, PATIENCE_MS } from '../support/endings.ts';
import { chances, extent, FAULT_FILE_TIMEOUT_MS, FAULT_SEED, tell } from '../support/faults.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import type { VerbResult } from '../support/slave-verbs.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { Web } from '../support/web.ts';

/** Of a call for what is not there (any more). */
const ABSENT_STATUS = 4;
/** How many tasks are met in the moment in which they end. */
const MOMENTS = extent(3, 120);
/** What lies between the open gate and the calls. It decides what is tested, not whether it passes. */
const AROUND_MS = 400;

describe('destroy, and all other calls', {
  skip: await skipWithoutTools(),
  timeout: FAULT_FILE_TIMEOUT_MS,
}, () => {
  let host: Host;
  let door: DockerDoor;
  let slave: StandInSlave;
  const web = new Web();
  before(async () => {
    await web.start();
    const dockerd = await startDockerd();
    door = await openDoor(dockerd);
    host = await startHost({ dockerd });
    await host.configure('[containers]\nstop_timeout: 1', `host: ${door.host}`);
    slave = await host.slave();
  });
  after(async () => {
    web.close();
    await host?.[Symbol.asyncDispose]();
    await door?.[Symbol.asyncDispose]();
    await host?.dockerd.stop();
  });

  const launch = (options: TaskOptions): Promise<LaunchedTask> =>
    slave.launch(commandTask({ image: IMAGES.busybox, value: 'echo s >>starts; sleep 600', ...options }));
  const recordOf = ({ containerId }: LaunchedTask) => encode(Wait, { container_id: { value: containerId } });

  const isEndWanted = ({ containerId }: LaunchedTask): boolean =>
    existsSync(`${host.root}/mesos/${containerId}/wanted-end`);

  /** destroy by the slave, and beside it each of these twice, as the same record for each but update. */
  async function everything(task: LaunchedTask): Promise<readonly VerbResult[]> {
    const record = recordOf(task);
    const cpus = { name: 'cpus', type: ValueType.SCALAR, scalar: { value: 0.2 }, role: '*' };
    const update = encode(Update, { container_id: { value: task.containerId }, resources: [cpus] });
    const waits = Promise.all([slave.call('wait', record), slave.call('wait', record)]);
    const usages = Promise.all([slave.call('usage', record), slave.call('usage', record)]);
    const others = Promise.all([
      ...[1, 2].map(() => slave.call('update', update)),
      slave.call('destroy', record),
    ]);
    await slave.destroy(task);
    assert.deepEqual(await containersOf(host.dockerd, task), []);
    for (const { code } of await others) assert.equal(code, 0);
    // Whole, or the word that there is nothing any more.
    for (const { code, answer } of await usages) assert.equal(code, answer === undefined ? ABSENT_STATUS : 0);
    return await waits;
  }

  async function checkAfter(task: LaunchedTask, waits: readonly VerbResult[]): Promise<void> {
    const [first, second] = waits;
    assert.deepEqual([first?.code, second?.code], [0, 0]);
    assert.ok(first?.answer !== undefined);
    assert.deepEqual(first.answer, second?.answer);
    const again = await slave.call('wait', recordOf(task));
    assert.deepEqual(again.answer, first.answer);
    const destroyed = await slave.call('destroy', recordOf(task));
    assert.equal(destroyed.code, 0);
    for (const { verb, end } of task.calls('destroy'))
      assert.deepEqual([end?.code, end?.stderr], [0, ''], verb);
    const ends = task.updates().filter(({ state }) => state > 1 && state !== 6);
    assert.equal(new Set(ends.map(({ uuid, state }) => uuid ?? state)).size, 1);
  }

  it('while its URIs are fetched: what fetches is ended, nothing runs', async () => {
    await withSupervisorLog(host, async () => {
      const page = web.hanging('/hangs');
      const task = await launch({ uris: [{ value: page.url }] });
      await until('it is fetched', () => page.open() === 1, { timeoutMs: PATIENCE_MS });
      const waits = await everything(task);
      await until('nobody fetches', () => page.open() === 0);
      await checkAfter(task, waits);
      assert.equal(await sandboxFile(task, 'fs/starts'), '');
    });
  });

  for (const [what, route] of [
    ['created', 'POST /containers/create'],
    ['started', 'POST /containers/{}/start'],
  ] as const)
    it(`while its container is ${what}: it is gone when destroy returns`, async () => {
      await withSupervisorLog(host, async () => {
        const facts = { asked: 0 };
        const wanted = Promise.withResolvers<void>();
        door.setRule((request, answered) => {
          if (answered || request.route !== route) return { kind: 'pass' };
          facts.asked += 1;
          return { kind: 'delay-until', ready: wanted.promise };
        });
        try {
          const task = await launch({});
          await until('Docker is asked', () => facts.asked > 0, { timeoutMs: PATIENCE_MS, everyMs: 5 });
          const isWanted = until('its end is wanted', () => isEndWanted(task), { timeoutMs: PATIENCE_MS });
          const [waits] = await Promise.all([everything(task), isWanted.finally(wanted.resolve)]);
          await checkAfter(task, waits);
          assert.equal(facts.asked, 1);
          assert.match(await sandboxFile(task, 'fs/starts'), what === 'created' ? /^$/ : /^(s\n)?$/);
        } finally {
          wanted.resolve();
          door.setRule(undefined);
        }
      });
    });

  it('while its end is recorded: what it has written comes first, its own end stays, and nobody waits for more', async () => {
    await withSupervisorLog(host, async () => {
      const task = await launch({ value: `echo s >>starts; echo first; ${AT_GATE}; echo last; exit 5` });
      const stdout = async (): Promise<string> => await sandboxFile(task, 'stdout');
      await until('output', async () => (await stdout()) === 'first\n', { timeoutMs: PATIENCE_MS });
      await task.reached(1, PATIENCE_MS);
      const facts = { asked: 0 };
      const noted = Promise.withResolvers<void>();
      door.setRule((request, answered) => {
        if (answered || request.route !== 'GET /containers/{}/logs') return { kind: 'pass' };
        facts.asked += 1;
        return { kind: 'delay-until', ready: noted.promise };
      });
      try {
        // Of a slave that has forgotten the container nothing is to be expected.
        await slave.setAcks('drop');
        openGate(task);
        const isRecorded = `mesosId=${task.containerId} from=running to=recording`;
        const log = (): string => readFileSync(`${host.root}/supervisor/log`, 'utf8');
        await until('its end is recorded', () => facts.asked > 0 && log().includes(isRecorded), {
          timeoutMs: PATIENCE_MS,
        });
        const path = `${host.root}/mesos/${task.containerId}/destroyed`;
        const isNoted = until('it is noted', () => existsSync(path), { timeoutMs: PATIENCE_MS });
        const record = recordOf(task);
        const asked = Promise.all([slave.call('wait', record), slave.call('wait', record)]);
        // Once: another one, later, would end what this one may have to wait for.
        await Promise.all([slave.destroy(task), isNoted.finally(noted.resolve)]);
        const waits = await asked;
        await checkAfter(task, waits);
        const { status } = decode(Termination, waits[0]?.answer ?? assert.fail());
        assert.equal(status, 5 << 8);
        assert.equal(await stdout(), 'first\nlast\n');
      } finally {
        noted.resolve();
        door.setRule(undefined);
        await slave.setAcks('send');
      }
    });
  });

  it('in the moment in which it ends: the end is one, whoever made it', async () => {
    await withSupervisorLog(host, async () => {
      const chance = chances('moments');
      const ends = new Map<number | undefined, number>();
      for (let n = 0; n < MOMENTS; n += 3) {
        const tasks = await Promise.all(
          [0, 1, 2].map(() =>
            launch({ value: 'echo s >>starts; until [ -e go ]; do sleep 0.05; done; exit 5' }),
          ),
        );
        await Promise.all(tasks.map((task) => task.reached(1, PATIENCE_MS)));
        await Promise.all(
          tasks.map(async (task) => {
            openGate(task);
            await sleep(chance() * AROUND_MS);
            const waits = await everything(task);
            await checkAfter(task, waits);
            assert.equal(await sandboxFile(task, 'fs/starts'), 's\n');
            const state = task.updates().at(-1)?.state;
            ends.set(state, (ends.get(state) ?? 0) + 1);
          }),
        );
      }
      tell(
        `destroy, usage, update and wait around the end, seed ${FAULT_SEED}: ${MOMENTS} times; ends ${[...ends].map(([state, count]) => `${state}: ${count}`).join(', ')}`,
      );
      checkCalm(slave, ['usage']);
    });
  });

  it('leaves nothing behind', async () => {
    const left = await host.leftovers();
    // The slave has thrown away who could have been told.
    assert.deepEqual(
      left.filter((text) => !text.startsWith('update not acknowledged')),
      [],
    );
  });
});

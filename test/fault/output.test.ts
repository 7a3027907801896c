// Output exactly once: tasks write all that output can be, as fast as tasks may, while the supervisor is killed again and
// again, dockerd too, or the disk is slow. What Docker keeps no log of, or not for long enough, is reported and not doubled.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TaskState } from '../../src/mesos/messages.ts';
import { inspectTask } from '../support/docker-facts.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { chances, extent, FAULT_FILE_TIMEOUT_MS, FAULT_SEED, tell } from '../support/faults.ts';
import { openGate } from '../support/gated.ts';
import { type Host, startHost } from '../support/host.ts';
import { IMAGES, makeImages } from '../support/images.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { makeSlowDisk } from '../support/slow-disk.ts';
import { tempDirectory } from '../support/temp.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { wrap } from '../support/wrapped.ts';
import {
  type Hole,
  holesIn,
  type Manner,
  noticesApart,
  type Writing,
  writerProgram,
  writingTask,
  writtenTo,
} from '../support/writer.ts';

const skip = await skipWithoutTools();
const { FINISHED, RUNNING } = TaskState;
/** A bound against hanging. */
const PATIENCE_MS = 120_000;
const KILLS = 10;
const KILL_EVERY_MS_MAX = extent(1_400, 2_500);
/** dockerd's buffers for one stream: 1 MB for its log, as much for whoever is attached. */
const IN_HAND_BYTES_MAX = 2 * 1024 * 1024;
const SLOW_BYTES_PER_SECOND = 300_000;
const FAST_BYTES_PER_SECOND = 2_000_000;
/** dockerd's, ours and the kernel's, for two streams. */
const BUFFERED_BYTES_MAX = 6 * 1024 * 1024;
/** Longer than lines wait to be copied together. */
const NOT_COPIED_MS_MAX = 1_000;
const EXACT = { out: [], err: [], notices: [] };

/** docker run's options for a log of its own. */
const logOptions = (driver: string, ...options: readonly string[]): readonly string[] => [
  ...['--log-driver', driver],
  ...options.flatMap((option) => ['--log-opt', option]),
];
/** Rotates with every 6 MB, and keeps more than is written while nobody copies. */
const ROTATING = logOptions('local', 'max-size=6m', 'max-file=10');

/** Keeps text only; rotates as well. */
const JSON_FILE = logOptions('json-file', 'max-size=6m', 'max-file=10');

interface Writer {
  readonly name: string;
  readonly task: LaunchedTask;
  readonly writing: Writing;
}

interface Found {
  readonly out: readonly Hole[];
  readonly err: readonly Hole[];
  readonly notices: readonly string[];
}

describe('output, whatever dies', { skip, timeout: FAULT_FILE_TIMEOUT_MS }, () => {
  let program: string;
  let dockerd: Dockerd;
  const told = { bytes: 0, supervisorKills: 0, dockerdEnds: 0, tasks: 0, losses: 0, inHand: 0 };
  before(async () => {
    program = await writerProgram();
    dockerd = await startDockerd({ liveRestore: true });
    await makeImages(dockerd);
  });
  after(async () => {
    await dockerd.stop();
    const { tasks, bytes, supervisorKills, dockerdEnds, losses, inHand } = told;
    const megabytes = Math.round(bytes / 1e6);
    tell(
      `output once, seed ${FAULT_SEED}: ${tasks} tasks wrote ${megabytes} MB, the supervisor was killed ${supervisorKills} times,`,
    );
    tell(
      `  dockerd ended ${dockerdEnds} times, and lost what it had in hand ${inHand} times; ${losses} gaps that no log had, all reported`,
    );
  });

  const start = async (
    slave: StandInSlave,
    name: string,
    writing: Writing,
    options: readonly string[] = [],
  ): Promise<Writer> => {
    const task = await slave.launch(writingTask(program, IMAGES.busybox, writing, options));
    await task.reached(RUNNING, PATIENCE_MS);
    return { name, task, writing };
  };

  /** Ends it, and says what the sandbox lacks. The framework saw it run and finish. */
  const finish = async ({ task, writing }: Writer): Promise<Found> => {
    openGate(task);
    return await found({ task, writing });
  };
  const found = async ({ task, writing }: Pick<Writer, 'task' | 'writing'>): Promise<Found> => {
    const termination = await task.gone(PATIENCE_MS);
    assert.deepEqual([termination?.state, termination?.status], [FINISHED, 0]);
    assert.deepEqual(
      task.updates().map(({ state }) => state),
      [RUNNING, FINISHED],
    );
    const expected = {
      out: await writtenTo(program, task, writing, 'out'),
      err: await writtenTo(program, task, writing, 'err'),
    };
    const { own, notices } = noticesApart(readFileSync(`${task.sandbox}/stderr`));
    told.tasks += 1;
    told.bytes += expected.out.length + expected.err.length;
    return {
      out: holesIn(readFileSync(`${task.sandbox}/stdout`), expected.out),
      err: holesIn(own, expected.err),
      notices,
    };
  };

  /** Whether the driver `local` has begun another file. */
  const hasRotated = async ({ task }: Writer): Promise<boolean> => {
    const { Id } = await inspectTask(dockerd, task);
    return readdirSync(`${dockerd.dataRoot}/containers/${Id}/local-logs`).length > 1;
  };

  const killSupervisor = async (host: Host): Promise<void> => {
    await until('a supervisor', () => host.supervisor(), { timeoutMs: PATIENCE_MS });
    host.killSupervisorNow();
    told.supervisorKills += 1;
  };

  const wellEnded = async (host: Host, slave: StandInSlave): Promise<void> => {
    assert.deepEqual(slave.violations, []);
    assert.deepEqual(await host.leftovers(), []);
  };

  // Each round other manners, other bytes, other moments.
  for (const round of Array.from({ length: extent(1, 10) }, (_, n) => n)) {
    it(`is exact though the supervisor is killed ten times, also in a log that rotates (${round})`, async () => {
      await using host = await startHost({ dockerd, images: false });
      await withSupervisorLog(host, async () => {
        const slave = await host.slave();
        const chance = chances(`output ${round}`);
        // One after the other, so that a single round has each of them; `steady` is what rotates.
        const manners: readonly Manner[] = ['open', 'mixed', 'bursts', 'steady'];
        const next = { manner: round };
        const manner = (): Manner => manners[next.manner++ % manners.length] ?? 'mixed';
        const seed = (): number => Math.floor(chance() * 1e9);
        const writers = await Promise.all([
          start(slave, 'as configured', { seed: seed(), out: manner(), err: manner() }),
          start(slave, 'rotating', { seed: seed(), out: 'steady', err: manner(), rate: 1_000_000 }, ROTATING),
          ...extent([], [JSON_FILE]).map((options) =>
            start(
              slave,
              'json-file',
              { seed: seed(), out: manner(), err: manner(), rate: 500_000, text: true },
              options,
            ),
          ),
        ]);
        const [, rotating] = writers;
        for (let kills = 0; kills < KILLS; kills++) {
          await sleep(chance() * KILL_EVERY_MS_MAX);
          if (kills === KILLS - 1) await until('its log has rotated', () => hasRotated(rotating));
          await killSupervisor(host);
        }
        await sleep(chance() * KILL_EVERY_MS_MAX);
        for (const writer of writers) {
          assert.deepEqual(await finish(writer), EXACT, `${writer.name} ${JSON.stringify(writer.writing)}`);
        }
        await wellEnded(host, slave);
      });
    });
  }

  it('has the last write before the end, though the supervisor is killed in that moment', async () => {
    await using host = await startHost({ dockerd, images: false });
    await withSupervisorLog(host, async () => {
      const slave = await host.slave();
      const chance = chances('last write');
      for (let round = 0; round < extent(1, 20); round++) {
        const writers = await Promise.all(
          Array.from({ length: 5 }, (_, n) =>
            start(slave, `last ${n}`, { seed: round * 10 + n, out: 'bursts', err: 'open', rate: 300_000 }),
          ),
        );
        for (const { task } of writers) openGate(task);
        await sleep(chance() * 400);
        await killSupervisor(host);
        for (const writer of writers)
          assert.deepEqual(await found(writer), EXACT, JSON.stringify(writer.writing));
      }
      await wellEnded(host, slave);
    });
  });

  it('lacks nothing but what dockerd had in hand when it ended, killed or restarted', async () => {
    await using host = await startHost({ dockerd, images: false });
    await withSupervisorLog(host, async () => {
      const slave = await host.slave();
      const chance = chances('dockerd');
      for (let round = 0; round < extent(1, 5); round++) {
        const writers = await Promise.all([
          start(slave, 'steady', { seed: 200 + round, out: 'steady', err: 'bursts', rate: 1_000_000 }),
          start(slave, 'open', { seed: 300 + round, out: 'open', err: 'mixed', rate: 500_000 }),
        ]);
        const ends = extent(['kill', 'restart'], ['kill', 'restart', 'kill', 'both', 'restart', 'both']);
        for (const end of ends) {
          await sleep(chance() * KILL_EVERY_MS_MAX);
          if (end === 'restart') await dockerd.halt();
          else await dockerd.kill();
          if (end === 'both') await killSupervisor(host);
          await dockerd.start();
          told.dockerdEnds += 1;
          // Attached again: what is written from now on reaches us before the next end.
          const sizes = writers.map((writer) => sizeOf(writer));
          await until('all go on', () => writers.every((one, n) => sizeOf(one) > (sizes[n] ?? 0)), {
            timeoutMs: PATIENCE_MS,
          });
        }
        for (const writer of writers) {
          const { out, err } = await finish(writer);
          for (const holes of [out, err]) {
            const story = `${writer.name} ${JSON.stringify(holes)}`;
            assert.ok(holes.length <= ends.length, story);
            for (const { bytes } of holes) assert.ok(bytes <= IN_HAND_BYTES_MAX, story);
            told.inHand += holes.length;
          }
        }
      }
      await wellEnded(host, slave);
    });
  });

  it('is slowed by a disk that takes less than the task writes, and whole', async () => {
    await using directory = await tempDirectory('slow-');
    await using disk = await makeSlowDisk(directory.at('disk'), SLOW_BYTES_PER_SECOND);
    // Its dockerd sees the mounts that were there before it.
    await using host = await startHost();
    await withSupervisorLog(host, async () => {
      const slave = await host.slave({ workDirectory: disk.path });
      const writer = await start(slave, 'slowed', {
        seed: 7,
        out: 'steady',
        err: 'steady',
        rate: FAST_BYTES_PER_SECOND,
      });
      const began = performance.now();
      disk.slowFor(host.supervisor() ?? assert.fail());
      await sleep(extent(2_500, 60_000));
      // It writes until its gate opens. What comes to the disk after that was taken before the disk had room for it.
      const seconds = (performance.now() - began) / 1000;
      assert.deepEqual(await finish(writer), EXACT);
      // What it has written free of the disk is what lay between: in Docker's buffers and ours.
      const written =
        statSync(`${writer.task.sandbox}/stdout`).size + statSync(`${writer.task.sandbox}/stderr`).size;
      assert.ok(
        written <= SLOW_BYTES_PER_SECOND * seconds + BUFFERED_BYTES_MAX,
        `${written} bytes in ${seconds} s`,
      );
      await wellEnded(host, slave);
      // It works in the disk's cgroup.
      await slave.stop();
      host.killSupervisorNow();
      await until('no supervisor', () => host.supervisor() === undefined);
    });
  });

  it('is reported as lost, with the time in which it was written, where no log has it, and right from there on', async () => {
    await using host = await startHost({ dockerd, images: false });
    await withSupervisorLog(host, async () => {
      const wrapped = wrap(host, 'wrapped');
      const slave = await host.slave({ containerizer: wrapped.containerizer });
      // The supervisor comes back when the test calls, not before.
      wrapped.hold('wait');
      const chance = chances('no log');
      const small = logOptions('local', 'max-size=64k', 'max-file=2');
      const writers = await Promise.all([
        start(slave, 'no log', { seed: 1, out: 'steady', err: 'mixed' }, logOptions('none')),
        start(slave, 'a small log', { seed: 2, out: 'steady', err: 'bursts' }, small),
        start(
          slave,
          'a small log, little written',
          { seed: 3, out: 'open', err: 'bursts', rate: 100_000 },
          small,
        ),
      ]);
      const gaps: { readonly fromMs: number; readonly toMs: number }[] = [];
      for (let n = 0; n < extent(2, 10); n++) {
        await sleep(500 + chance() * 1_000);
        await killSupervisor(host);
        const fromMs = Date.now();
        await sleep(500 + chance() * 1_000);
        gaps.push({ fromMs, toMs: Date.now() });
        assert.equal((await host.deimos(['recover'])).code, 0);
      }
      await sleep(500 + chance() * 1_000);
      wrapped.letGo('wait');
      for (const writer of writers) {
        const { out, err, notices } = await finish(writer);
        for (const [stream, holes] of [
          ['stdout', out],
          ['stderr', err],
        ] as const) {
          const spans = notices.filter((line) => line.startsWith(`deimos: ${stream}: `)).map(spanOf);
          const story = `${writer.name} ${stream} ${JSON.stringify(holes)} ${notices.join('')}`;
          // Each gap may have a hole, and where there is one it is told, with times that meet the gap's, or lie just before it:
          // what the supervisor had not copied yet when it was killed.
          assert.ok(holes.length <= gaps.length, story);
          assert.ok(holes.length <= spans.length, story);
          const told = gaps.filter(({ fromMs }) =>
            spans.some((span) => span.fromMs <= fromMs && fromMs - NOT_COPIED_MS_MAX <= span.toMs),
          );
          assert.ok(told.length >= holes.length, story);
          const log = readFileSync(`${host.root}/supervisor/log`, 'utf8').split('\n');
          const logged = log.filter(
            (line) =>
              line.includes('output lost ') &&
              line.includes(`mesosId=${writer.task.containerId} `) &&
              line.includes(`stream=${stream} lostBytes=`),
          );
          assert.equal(logged.length, spans.length, logged.join('\n'));
        }
        told.losses += out.length + err.length;
        assert.ok(out.length > 0, `${writer.name}: nothing was lost`);
      }
      await wellEnded(host, slave);
    });
  });
});

function sizeOf({ task }: Writer): number {
  return statSync(`${task.sandbox}/stdout`).size;
}

/** The times that a notice names. */
function spanOf(notice: string): { readonly fromMs: number; readonly toMs: number } {
  const [, from = '', to = ''] = /between (\S+Z) and (\S+Z): /.exec(notice) ?? assert.fail(notice);
  return { fromMs: Date.parse(from), toMs: Date.parse(to) };
}

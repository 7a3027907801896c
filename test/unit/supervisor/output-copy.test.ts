// The copier against a model of Docker, over generated streams: closed and taken up again at any moment, with gaps in
// which nobody copies, the file ends up with exactly the stream's bytes, or what is missing is reported.

import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, readFileSync, symlinkSync, truncateSync } from 'node:fs';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { TlsFileError } from '../../../src/docker/faults.ts';
import type { LogQuery, OutputSource } from '../../../src/docker/output.ts';
import { Fault, isFault } from '../../../src/fault.ts';
import type { Log } from '../../../src/host/log.ts';
import {
  type CopyOptions,
  type OutputCopy,
  type OutputReport,
  startCopy,
  untilBeatMs,
} from '../../../src/supervisor/output-copy.ts';
import { Journal } from '../../../src/supervisor/output-journal.ts';
import { output } from '../../support/command.ts';
import { ModelDocker } from '../../support/model-docker.ts';
import { mountSmallDisk } from '../../support/small-disk.ts';
import { streams } from '../../support/streams.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';
import { until } from '../../support/until.ts';
import { holesIn } from '../../support/writer.ts';

const SILENT: Log = { debug: () => {}, info: () => {}, warning: () => {}, error: () => {} };

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('emit' as const), share: fc.integer({ min: 1, max: 30 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('kill' as const), share: fc.constant(0) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('resume' as const), share: fc.constant(0) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('wait' as const), share: fc.integer({ min: 0, max: 300 }) }),
  },
);

/** So many bytes on both sides of a hole may agree by chance. */
const CHANCE_BYTES = 8;

/** Lines of which no two pieces of 24 bytes are the same, some of them short, some cut by Docker. */
function lettered(seed: number, length: number): Buffer {
  const lines: string[] = [];
  let state = seed;
  const lot = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  for (let size = 0; size < length; ) {
    const words = lot(100) === 0 ? 2_000 + lot(3_000) : lot(24);
    const line = `${[lines.length, ...Array.from({ length: words }, () => lot(0xff_ffff).toString(36))].join(' ')}\n`;
    lines.push(line);
    size += line.length;
  }
  // Of a long last line it is not known whether it was ended.
  return Buffer.from(`${lines.join('')}the last one\n`);
}

function numbered(lines: number): string {
  return Array.from({ length: lines }, (_, n) => `number ${n}\n`).join('');
}

it('streams that are gathered for long are read at one beat, 50 to 250 ms away', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e9, noNaN: true }), (nowMs) => {
      const ms = untilBeatMs(nowMs);
      assert.ok(ms >= 50 && ms <= 250, `${ms}`);
      const beats = (nowMs + ms) / 200;
      assert.ok(Math.abs(beats - Math.round(beats)) < 1e-6, `${beats}`);
    }),
  );
  assert.deepEqual([0, 1, 149, 150, 151, 199, 200].map(untilBeatMs), [200, 199, 51, 50, 249, 201, 200]);
});

describe('the copy of a stream', { timeout: 120_000 }, () => {
  it('is exact, however often it is interrupted', async () => {
    await using directory = await tempDirectory();
    const run = fc.asyncProperty(streams(), fc.array(step, { maxLength: 16 }), async (stream, steps) => {
      const world = new World(directory, stream);
      await world.play(steps);
      const { report, file } = await world.finish();
      const lostBytes = report.lost.map(({ bytes }) => bytes);
      if (lostBytes.length === 0) assert.ok(file.equals(stream), `${file.length} of ${stream.length}`);
      // More than may be held back, of the same line again and again.
      else if (stream.length > 1024 * 1024) assert.ok(isWithin(file, stream, lostBytes));
      // The one thing that Docker 20.10's log does not tell.
      else {
        assert.deepEqual(lostBytes, [1]);
        assert.ok(file.equals(stream) || Buffer.concat([file, Buffer.from('\n')]).equals(stream));
      }
    });
    // The steps are mostly waiting: many at a time.
    await Promise.all(
      [1, 2, 3, 4, 5, 6, 7, 8].map((seed) => fc.assert(run, { numRuns: 12, seed: seed * 77_777 })),
    );
  });

  it('of a line repeated for ever is exact as soon as it pauses', async () => {
    await using directory = await tempDirectory();
    const stream = Buffer.from('ok\n'.repeat(4000));
    const world = new World(directory, stream);
    await world.diesAfter(3000);
    world.docker.emit(1500);
    await world.open();
    world.docker.emit(300);
    await until('all of it', () => world.size() === 4800);
    world.docker.emit(6);
    await until('the rest', () => world.size() === 4806);
    const { report, file } = await world.finish();
    assert.deepEqual(report, { lost: [] });
    assert.ok(file.equals(stream));
  });

  it('loses nothing of a flood while the place is looked for, and holds back no more than it may', async () => {
    await using directory = await tempDirectory();
    const lines = numbered(400_000);
    const world = new World(directory, Buffer.from(lines));
    await world.open();
    world.docker.emit(1_000_000);
    await until('some of it', () => world.size() > 0);
    await world.kill();
    world.docker.emit(1_000_000);
    await world.open();
    world.docker.emit(3_000_000);
    await until('the flood', () => world.size() === 5_000_000);
    const { report, file } = await world.finish();
    assert.deepEqual(report, { lost: [] });
    assert.ok(file.equals(Buffer.from(lines)));
  });

  it('says how much it may lack where a flood repeats itself, and doubles nothing', async () => {
    await using directory = await tempDirectory();
    const stream = Buffer.from('the same 16 char\n'.repeat(150_000));
    const world = new World(directory, stream);
    await world.open();
    world.docker.emit(10_000);
    await until('some of it', () => world.size() > 0);
    await world.kill();
    world.docker.emit(10_000);
    await world.open();
    world.docker.emit(2_000_000);
    await sleep(50);
    const { report, file } = await world.finish();
    const lost = report.lost.reduce((sum, { bytes }) => sum + Number(bytes), 0);
    assert.ok(
      file.length <= stream.length && file.length + lost >= stream.length,
      `${file.length} + ${lost}`,
    );
  });

  it('goes on behind its place in a log that has lost its beginning', async () => {
    await using directory = await tempDirectory();
    const lines = numbered(3000);
    const world = new World(directory, Buffer.from(lines));
    await world.diesAfter(20_000);
    world.docker.emit(2000);
    world.docker.rotate(500);
    const { report, file } = await world.finish();
    assert.deepEqual(report, { lost: [] });
    assert.equal(file.toString(), lines);
  });

  it('attaches before it reads the log, so that the task is held up and not its log rotated away', async () => {
    await using directory = await tempDirectory();
    const lines = numbered(60_000);
    const world = new World(directory, Buffer.from(lines));
    const { docker } = world;
    await world.diesAfter(20_000);
    const [attach, readLog] = [docker.attach.bind(docker), docker.readLog.bind(docker)];
    let isFree = true;
    docker.attach = async () => {
      isFree = false;
      return await attach();
    };
    docker.readLog = (query) => {
      if (isFree) {
        docker.emit(300_000);
        docker.rotate(500);
      }
      return readLog(query);
    };
    docker.emit(10_000);
    await world.open();
    docker.emit(10_000);
    await until('what came meanwhile', () => world.size() === 40_000);
    const { report, file } = await world.finish();
    assert.deepEqual(report, { lost: [] });
    assert.equal(file.toString(), lines);
  });

  it('finds what Docker passes over in a log of several files', async () => {
    await using directory = await tempDirectory();
    const lines = numbered(3000);
    const world = new World(directory, Buffer.from(lines));
    await world.open();
    for (const size of [5000, 10_000]) {
      world.docker.emit(5000);
      await until('some of it', () => world.size() === size);
      await world.kill();
      await world.open();
    }
    await world.kill();
    world.docker.emit(10_000);
    world.docker.passOver(500);
    const { report, file } = await world.finish();
    assert.deepEqual(report, { lost: [] });
    assert.equal(file.toString(), lines);
  });

  it('has the rest of a line that was open when dockerd was killed, and says that something may be missing', async () => {
    await using directory = await tempDirectory();
    const lines = numbered(300);
    for (const isSupervisorKilled of [false, true]) {
      const world = new World(directory, Buffer.from(lines));
      await world.open();
      world.docker.emit(2006);
      await until('some of it', () => world.size() === 2006);
      if (isSupervisorKilled) await world.kill();
      world.docker.crash();
      world.docker.emit(500);
      await world.open();
      world.docker.emit(300);
      await until('what came then', () => world.size() >= 2500);
      const { report, file } = await world.finish();
      assert.equal(file.toString(), lines);
      assert.deepEqual(
        report.lost.map(({ bytes }) => bytes),
        ['unknown'],
      );
      assert.match(world.stderr(), /Docker was restarted/);
    }
  });

  it('lacks nothing but what dockerd had in hand whenever it was killed, and doubles nothing', async () => {
    await using directory = await tempDirectory();
    const crashed = fc.record({
      do: fc.constantFrom('crash' as const, 'both' as const),
      share: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 30 })),
    });
    // Never so little that it could not be recognised between two holes.
    const written = step.map((act) => (act.do === 'emit' ? { ...act, share: act.share + 2 } : act));
    const steps = fc.array(fc.oneof({ weight: 3, arbitrary: crashed }, { weight: 10, arbitrary: written }), {
      minLength: 4,
      maxLength: 24,
    });
    const run = fc.asyncProperty(fc.integer({ min: 1, max: 1e9 }), steps, async (seed, acts) => {
      const stream = lettered(seed, 300_000);
      const world = new World(directory, stream);
      await world.play([{ do: 'emit', share: 10 }, ...acts]);
      const { report, file } = await world.finish();
      let lacking = 0;
      for (const { at, bytes } of holesIn(file, stream)) {
        // What the file did not have yet when a dockerd was killed, and that one had.
        const isInHand = world.crashes.some(
          (crash) =>
            crash.fileBytes <= at - lacking + CHANCE_BYTES && at + bytes <= crash.emitted + CHANCE_BYTES,
        );
        assert.ok(isInHand, JSON.stringify([at, bytes, world.crashes, report]));
        lacking += bytes;
      }
    });
    await Promise.all(
      [1, 2, 3, 4, 5, 6, 7, 8].map((seed) => fc.assert(run, { numRuns: 12, seed: seed * 77_777 })),
    );
  });

  it('takes what the attach has from the attach where the log begins behind it', async () => {
    await using directory = await tempDirectory();
    const lines = numbered(3000);
    const world = new World(directory, Buffer.from(lines));
    const { docker } = world;
    await world.diesAfter(5000);
    await sleep(1100);
    docker.emit(5000);
    const attach = docker.attach.bind(docker);
    docker.attach = async () => {
      const attachment = await attach();
      docker.emit(10_000);
      docker.rotate(200);
      return attachment;
    };
    await world.open();
    await until('what was attached to', () => world.size() >= 15_000);
    docker.emit(1000);
    await until('what came then', () => world.size() >= 16_000);
    const { report, file } = await world.finish();
    assert.deepEqual(
      report.lost.map(({ bytes }) => bytes),
      ['unknown'],
    );
    assert.equal(file.toString(), lines.slice(0, 5000) + lines.slice(10_000));
  });

  it('waits for a log that cannot be read for a while, however much is held back', async () => {
    await using directory = await tempDirectory();
    const lines = numbered(200_000);
    const world = new World(directory, Buffer.from(lines));
    const { docker } = world;
    await world.diesAfter(5000);
    const readLog = docker.readLog.bind(docker);
    let failures = 12;
    docker.readLog = (query) => {
      if (failures-- > 0) throw new Fault('docker', 'away');
      return readLog(query);
    };
    docker.emit(5000);
    await world.open();
    docker.emit(1_500_000);
    await until('all of it', () => world.size() === 1_510_000);
    const { report, file } = await world.finish();
    assert.deepEqual(report, { lost: [] });
    assert.equal(file.toString(), lines);
  });

  it('lets go of an attach that is not read while Docker, ending the container, waits for that and says nothing of its log', async () => {
    await using directory = await tempDirectory();
    const lines = numbered(400_000);
    const world = new World(directory, Buffer.from(lines));
    const { docker } = world;
    await world.diesAfter(5000);
    const [attach, readLog] = [docker.attach.bind(docker), docker.readLog.bind(docker)];
    const ending = { waitsForReader: false };
    docker.attach = async () => {
      const attachment = await attach();
      const close = () => {
        attachment.close();
        if (ending.waitsForReader) docker.end();
        ending.waitsForReader = false;
      };
      return { ...attachment, close };
    };
    docker.readLog = (query) => {
      if (ending.waitsForReader) throw new Fault('timeout', 'Docker says nothing more');
      return readLog(query);
    };
    ending.waitsForReader = true;
    docker.emit(1_500_000);
    await world.open();
    docker.emit(1_500_000);
    const { report, file } = await world.finish();
    assert.deepEqual(report, { lost: [] });
    assert.equal(file.toString(), lines);
  });

  it('of one stream is not said to lack anything because the place of the other one is still looked for', async () => {
    await using directory = await tempDirectory();
    const world = new World(directory, Buffer.from(numbered(1_000)));
    const { docker } = world;
    await world.open();
    docker.emit(5000);
    docker.makeNoise();
    await until('both', () => world.size() === 5000 && world.stderr() === 'noise\n');
    await world.kill();
    truncateSync(`${world.paths.stateDir}/stderr.copied`);
    const [attach, readLog] = [docker.attach.bind(docker), docker.readLog.bind(docker)];
    let isOver = false;
    docker.attach = async () => {
      const attachment = await attach();
      const read = async () => {
        const bytes = await attachment.read();
        isOver ||= bytes === undefined;
        return bytes;
      };
      return { ...attachment, read };
    };
    docker.readLog = (query) => {
      if (!isOver) throw new Fault('docker', 'away');
      return readLog(query);
    };
    await world.open();
    docker.makeNoise();
    await until('what comes now', () => /lost.*\nnoise\n$/.test(world.stderr()));
    const { report, file } = await world.finish();
    assert.equal(file.toString(), numbered(1_000));
    assert.deepEqual(
      report.lost.map(({ stream, reason }) => [stream, reason]),
      [['stderr', 'what had been copied is not known any more']],
    );
  });

  it('of a stream that has long been silent lacks nothing though another one has filled the log since', async (t) => {
    await using directory = await tempDirectory();
    const lines = numbered(300);
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
    const world = new World(directory, Buffer.from(lines));
    const { docker } = world;
    const noise = async (lines: number): Promise<void> => {
      t.mock.timers.tick(20_000);
      docker.makeNoise();
      await until('the noise', () => world.stderr() === 'noise\n'.repeat(lines));
    };
    await world.open();
    docker.emit(1000);
    await until('some of it', () => world.size() === 1000);
    for (const count of [1, 2, 3]) await noise(count);
    await world.kill();
    docker.rotate(0);
    // Silent still, and for longer than the log reaches back to the crash.
    await world.open();
    await noise(4);
    await world.kill();
    await world.open();
    for (const count of [5, 6]) await noise(count);
    docker.emit(1000);
    await until('what came then', () => world.size() === 2000);
    const { report, file } = await world.finish();
    assert.deepEqual(report, { lost: [] });
    assert.equal(file.toString(), lines);
  });

  describe('at the end of a flood', () => {
    const lines = numbered(200_000);
    /** Lets the attach break off where `isOver` says so, before the container's end is known. */
    async function breakOff(world: World, isOver: (frame: Buffer) => boolean): Promise<() => boolean> {
      const { docker } = world;
      const attach = docker.attach.bind(docker);
      let hasBroken = false;
      docker.attach = async () => {
        const attachment = await attach();
        const read = async (): Promise<Buffer | undefined> => {
          const frame = hasBroken ? undefined : await attachment.read();
          hasBroken ||= frame === undefined || isOver(frame);
          return hasBroken ? undefined : frame;
        };
        return { ...attachment, read };
      };
      await world.open();
      return () => hasBroken;
    }
    function asked(docker: ModelDocker): LogQuery[] {
      const queries: LogQuery[] = [];
      const readLog = docker.readLog.bind(docker);
      docker.readLog = (query) => {
        queries.push(query);
        return readLog(query);
      };
      return queries;
    }
    for (const noise of [0, 1])
      it(`has the end of its log checked alone, though the other stream has had ${noise} lines`, async () => {
        await using directory = await tempDirectory();
        const world = new World(directory, Buffer.from(lines));
        await world.open();
        for (let n = 0; n < noise; n++) world.docker.makeNoise();
        world.docker.emit(lines.length - 1000);
        await until('most of it', () => world.size() >= lines.length - 1000);
        const queries = asked(world.docker);
        const { report, file } = await world.finish();
        assert.deepEqual(report, { lost: [] });
        assert.equal(file.toString(), lines);
        assert.equal(world.stderr(), 'noise\n'.repeat(noise));
        assert.ok(queries.length > 0 && queries.every(({ tail }) => tail !== undefined));
      });

    it('has what an attach that broke off lacks of it', async () => {
      await using directory = await tempDirectory();
      const world = new World(directory, Buffer.from(lines));
      await breakOff(world, (frame) => frame.includes('number 199000\n'));
      world.docker.emit(100_000);
      await until('some of it', () => world.size() >= 100_000);
      const { report, file } = await world.finish();
      assert.deepEqual(report, { lost: [] });
      assert.equal(file.toString(), lines);
    });

    for (const [what, before] of [
      ['the only line', 0],
      ['the last line', 1],
    ] as const)
      it(`has ${what} of the other stream, which an attach that broke off lacks`, async () => {
        await using directory = await tempDirectory();
        const world = new World(directory, Buffer.from(lines));
        let noise = 0;
        await breakOff(world, (frame) => frame[0] === 2 && ++noise > before);
        for (let n = 0; n < before; n++) world.docker.makeNoise();
        world.docker.emit(lines.length);
        await until('all of it', () => world.size() === lines.length);
        await until('the noise', () => world.stderr() === 'noise\n'.repeat(before));
        // The log's stamp, to the millisecond, is what tells it from the one before.
        await sleep(2);
        world.docker.makeNoise();
        const { report, file } = await world.finish();
        assert.deepEqual(report, { lost: [] });
        assert.equal(file.toString(), lines);
        assert.equal(world.stderr(), 'noise\n'.repeat(before + 1));
      });

    it('has what an attach that broke off lacks of the other stream, though more of it came then than is looked at', async (t) => {
      await using directory = await tempDirectory();
      t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
      const world = new World(directory, Buffer.from(lines));
      const hasBroken = await breakOff(world, (frame) => frame[0] === 2);
      world.docker.emit(2_000_000);
      await until('most of it', () => world.size() === 2_000_000);
      t.mock.timers.tick(1000);
      world.docker.makeNoise();
      await until('the break', hasBroken);
      t.mock.timers.tick(1000);
      const { report, file } = await world.finish();
      assert.deepEqual(report, { lost: [] });
      assert.equal(file.toString(), lines);
      assert.equal(world.stderr(), 'noise\n');
    });

    it('is asked for the end of all its log where Docker passes over that which is newer', async () => {
      await using directory = await tempDirectory();
      const world = new World(directory, Buffer.from(lines));
      await world.open();
      world.docker.emit(lines.length);
      await until('all of it', () => world.size() === lines.length);
      const queries = asked(world.docker);
      const readLog = world.docker.readLog.bind(world.docker);
      world.docker.readLog = async function* (query) {
        if (query.sinceNs === undefined) yield* readLog(query);
        else queries.push(query);
      };
      const { report, file } = await world.finish();
      assert.deepEqual(report, { lost: [] });
      assert.equal(file.toString(), lines);
      assert.ok(queries.every(({ tail }) => tail !== undefined));
    });
  });

  it('says how many bytes a log that keeps text only has replaced', async () => {
    await using directory = await tempDirectory();
    const world = new World(
      directory,
      Buffer.from('first\ncaf\xe9 au lait\n\xff\nlast\n', 'latin1'),
      'json-file',
    );
    world.keepText();
    await world.open();
    world.docker.emit(6);
    await until('the first line', () => world.size() === 6);
    await world.kill();
    const { report, file } = await world.finish();
    assert.equal(file.toString(), 'first\ncaf\u{fffd} au lait\n\u{fffd}\nlast\n');
    assert.deepEqual(
      report.lost.map(({ bytes }) => bytes),
      [2],
    );
    assert.match(world.stderr(), /^deimos: stdout: up to 2 bytes lost: json-file keeps text only/);
  });

  it('doubles nothing that a log that keeps text only has otherwise than the file', async () => {
    await using directory = await tempDirectory();
    const later = numbered(100).replaceAll('number', 'later');
    const lines = Buffer.from(`${numbered(100)}caf\xe9\n${later}`, 'latin1');
    const world = new World(directory, lines, 'json-file');
    world.keepText();
    await world.diesAfter(1_500);
    await sleep(5);
    world.docker.emit(200);
    await world.open();
    world.docker.emit(100);
    const { report, file } = await world.finish();
    assert.equal(file.toString('latin1'), lines.toString('latin1'));
    assert.deepEqual(
      report.lost.map(({ bytes }) => bytes),
      ['unknown'],
    );
  });

  it('reads the log for one stream at a time', async () => {
    await using directory = await tempDirectory();
    const world = new World(directory, Buffer.from('one\ntwo\n'));
    const readLog = world.docker.readLog.bind(world.docker);
    const readers = { now: 0, most: 0 };
    world.docker.readLog = async function* (query) {
      readers.now += 1;
      readers.most = Math.max(readers.most, readers.now);
      await sleep(20);
      yield* readLog(query);
      readers.now -= 1;
    };
    await world.open();
    world.docker.emit(4);
    await until('one', () => world.size() === 4);
    await world.kill();
    const { report } = await world.finish();
    assert.deepEqual(report, { lost: [] });
    assert.equal(readers.most, 1);
  });

  it('reports what a log has lost, and goes on with the next line that it has', async () => {
    await using directory = await tempDirectory();
    const lines = numbered(3000);
    const world = new World(directory, Buffer.from(lines));
    await world.open();
    const began = Date.now();
    world.docker.emit(6000);
    await until('some of it', () => world.size() === 6000);
    await world.kill();
    await sleep(1100);
    world.docker.end();
    world.docker.rotate(100);
    const { report, file } = await world.finish();
    assert.deepEqual(
      report.lost.map(({ stream, bytes }) => ({ stream, bytes })),
      [{ stream: 'stdout', bytes: 'unknown' }],
    );
    // The line that was open begins as that one does: what is lost ends in the middle of it.
    const ended = lines.slice(0, lines.lastIndexOf('\n', 6000) + 1);
    assert.equal(file.toString(), ended + lines.slice(lines.indexOf('number 2900\n')));
    assert.match(
      world.stderr(),
      /^deimos: stdout: an unknown number of bytes lost of what was written between \S+Z and \S+Z: .+\n$/,
    );
    const [{ span } = assert.fail()] = report.lost;
    assert.ok(
      span !== undefined && began <= span.fromMs && span.fromMs < span.toMs && span.toMs <= Date.now(),
    );
  });

  it('does not double the beginning of a line that was open, where the log goes on with that line', async () => {
    await using directory = await tempDirectory();
    const lines = numbered(3000);
    const open = lines.indexOf('number 700\n') + 'nu'.length;
    const world = new World(directory, Buffer.from(lines));
    await world.diesAfter(open);
    await sleep(1100);
    world.docker.end();
    world.docker.rotate(3000 - 700);
    const { report, file } = await world.finish();
    assert.deepEqual(
      report.lost.map(({ bytes }) => bytes),
      ['unknown'],
    );
    assert.equal(file.toString(), lines);
  });

  it('has the end of a line of which the log has only the last piece', async () => {
    await using directory = await tempDirectory();
    const [before, long] = [numbered(100), `${'x'.repeat(20_000)}\n`];
    const after = numbered(2100).slice(before.length);
    const world = new World(directory, Buffer.from(before + long + after));
    await world.diesAfter(before.length);
    await sleep(1100);
    world.docker.end();
    world.docker.rotate(2001);
    const { report, file } = await world.finish();
    assert.equal(report.lost.length, 1);
    assert.equal(file.toString(), before + long.slice(16_384) + after);
  });

  it('begins with what an attach that came late has missed', async () => {
    await using directory = await tempDirectory();
    const world = new World(directory, Buffer.from('first\n'));
    const attach = world.docker.attach.bind(world.docker);
    world.docker.attach = async () => {
      world.docker.emit(6);
      return await attach();
    };
    await world.open();
    const { report, file } = await world.finish();
    assert.deepEqual(report, { lost: [] });
    assert.equal(file.toString(), 'first\n');
  });

  it('reports what was written while nobody copied if there is no log', async () => {
    await using directory = await tempDirectory();
    const world = new World(directory, Buffer.from('one\ntwo\nthree\n'), 'none');
    world.docker.readLog = () => {
      throw new Fault('refused', 'no log');
    };
    await world.open();
    world.docker.emit(4);
    await until('one', () => world.size() === 4);
    await world.kill();
    world.docker.emit(4);
    await world.open();
    world.docker.emit(6);
    await until('three', () => world.size() === 10);
    const { report, file } = await world.finish();
    assert.equal(file.toString(), 'one\nthree\n');
    assert.ok(report.lost.some(({ stream, bytes }) => stream === 'stdout' && bytes === 'unknown'));
  });

  for (const logDriver of ['local', 'none'])
    for (const goesOn of [true, false])
      it(`names what it could not write on a full disk, though it is taken up again before there is room (${logDriver}, ${goesOn ? 'the task goes on' : 'the task ends'})`, async () => {
        await using directory = await tempDirectory();
        const stream = Buffer.from(numbered(10_000));
        const world = new World(directory, stream, logDriver, { writePatienceMs: 200 });
        if (logDriver === 'none')
          world.docker.readLog = () => {
            throw new Fault('refused', 'no log');
          };
        await using disk = await mountSmallDisk(world.paths.stateDir);
        await world.open();
        world.docker.emit(9);
        await until('written', () => world.size() === 9);
        disk.fill();
        // Not the end of a line.
        const before = 50_003;
        world.docker.emit(before - 9);
        await until('dropped', () => world.position() === before);
        await world.kill();
        const kept = world.size();
        assert.ok(kept < before);
        // It is so for the next one, too.
        await world.open();
        await world.kill();
        assert.equal(world.stderr(), '');
        disk.empty();
        if (!goesOn) world.docker.shorten(before);
        await world.open();
        const rest = goesOn ? stream.subarray(before) : Buffer.alloc(0);
        const { report, file } = await world.finish();
        assert.ok(file.equals(Buffer.concat([stream.subarray(0, kept), rest])));
        const counted = report.lost.filter(({ reason }) => /could not be written/.test(reason));
        assert.deepEqual(
          counted.map(({ bytes }) => bytes),
          [before - kept],
        );
        const named = [
          ...world.stderr().matchAll(/^deimos: stdout: up to (\d+) bytes lost: could not be written/gm),
        ];
        assert.deepEqual(
          named.map(([, bytes]) => Number(bytes)),
          [before - kept],
        );
      });

  it('outlives files of TLS that do not fit each other for a while, whatever they keep from being asked', async () => {
    await using directory = await tempDirectory();
    const lines = numbered(300);
    const world = new World(directory, Buffer.from(lines));
    const { docker } = world;
    const [attach, isAlive, readLog] = [
      docker.attach.bind(docker),
      docker.isAlive.bind(docker),
      docker.readLog.bind(docker),
    ];
    const failed: string[] = [];
    // Each first try fails, in whichever phase it comes.
    const exchanged = (what: string): void => {
      if (failed.includes(what)) return;
      failed.push(what);
      throw new Fault('config', `${what}: not the key of the certificate`, new TlsFileError('mismatch'));
    };
    await world.diesAfter(1000);
    docker.isAlive = async () => {
      exchanged('isAlive');
      return await isAlive();
    };
    docker.attach = async () => {
      exchanged('attach');
      return await attach();
    };
    docker.readLog = (query) => {
      exchanged('readLog');
      return readLog(query);
    };
    docker.emit(500);
    await world.open();
    docker.emit(700);
    await until('what came meanwhile', () => world.size() === 2200);
    docker.emit(300);
    await until('what comes then', () => world.size() === 2500);
    const { report, file } = await world.finish();
    assert.deepEqual(report, { lost: [] });
    assert.equal(file.toString(), lines);
    assert.deepEqual(failed.sort(), ['attach', 'isAlive', 'readLog']);
  });

  it('is refused where the file is a link or a FIFO', async () => {
    await using directory = await tempDirectory();
    const link = new World(directory, Buffer.alloc(0));
    symlinkSync('/etc/passwd', link.file);
    await assert.rejects(link.open(), (error) => isFault(error, 'host'));
    const fifo = new World(directory, Buffer.alloc(0));
    await output(['mkfifo', fifo.file]);
    await assert.rejects(fifo.open(), (error) => isFault(error, 'host'));
  });

  it('ends with the reason of its signal, and may be taken up', async () => {
    await using directory = await tempDirectory();
    const world = new World(directory, Buffer.from('all\n'));
    const abort = new AbortController();
    const copy = await startCopy(world.deps(abort.signal), world.paths, world.options(true));
    abort.abort(new Fault('timeout', 'enough'));
    await assert.rejects(copy.drained, (error) => isFault(error, 'timeout'));
    await copy.close();
    const { file } = await world.finish();
    assert.equal(file.toString(), 'all\n');
  });
});

/** Not longer than the stream, and not shorter than what is said to be lost. */
function isWithin(file: Buffer, stream: Buffer, lost: readonly (number | 'unknown')[]): boolean {
  const most = lost.reduce<number>((sum, bytes) => sum + Number(bytes), 0);
  return file.length <= stream.length && file.length + most >= stream.length;
}

/** A container of the model with its sandbox, and a copier that is opened and closed. */
class World {
  readonly docker: ModelDocker;
  readonly crashes: { readonly fileBytes: number; readonly emitted: number }[] = [];
  readonly file: string;
  readonly paths: { readonly stdoutFile: string; readonly stderrFile: string; readonly stateDir: string };
  readonly #logDriver: string;
  readonly #more: { readonly writePatienceMs?: number };
  #copy: OutputCopy | undefined;
  #wasOpen = false;

  constructor(
    directory: TempDirectory,
    stream: Buffer,
    logDriver = 'local',
    more: { readonly writePatienceMs?: number } = {},
  ) {
    const path = directory.at(`${process.hrtime.bigint()}`);
    mkdirSync(path);
    this.docker = new ModelDocker(stream);
    this.file = `${path}/stdout`;
    this.paths = { stdoutFile: this.file, stderrFile: `${path}/stderr`, stateDir: path };
    this.#logDriver = logDriver;
    this.#more = more;
  }

  deps(signal: AbortSignal): { source: OutputSource; log: Log; signal: AbortSignal } {
    return { source: this.docker, log: SILENT, signal };
  }

  options(fresh: boolean): CopyOptions {
    return { tty: false, logDriver: this.#logDriver, fresh, ...this.#more };
  }

  async open(): Promise<void> {
    if (this.#copy !== undefined) return;
    const signal = new AbortController().signal;
    this.#copy = await startCopy(this.deps(signal), this.paths, this.options(!this.#wasOpen));
    this.#wasOpen = true;
    this.#copy.drained.catch(() => undefined);
  }

  /** Stops it where it is. That no moment is special is the matter of the counter file's tests and of the real SIGKILLs. */
  async kill(): Promise<void> {
    await this.#copy?.close();
    this.#copy = undefined;
  }

  async play(
    steps: readonly { do: 'emit' | 'kill' | 'resume' | 'wait' | 'crash' | 'both'; share: number }[],
  ): Promise<void> {
    await this.open();
    for (const { do: what, share } of steps) {
      if (what === 'emit') this.docker.emit(share ** 3 + share);
      else if (what === 'kill') await this.kill();
      else if (what === 'resume') await this.open();
      else if (what === 'crash') this.#crash(share);
      else if (what === 'both') {
        await this.kill();
        this.#crash(share);
        await this.open();
      } else await sleep(share);
    }
  }

  /** What is no text is another in its log. */
  keepText(): void {
    const readLog = this.docker.readLog.bind(this.docker);
    this.docker.readLog = async function* (query) {
      for await (const batch of readLog(query))
        yield batch.map(({ bytes, stampNs }) => ({ bytes: Buffer.from(bytes.toString('utf8')), stampNs }));
    };
  }

  #crash(lines: number): void {
    this.crashes.push({ fileBytes: this.size(), emitted: this.docker.emitted });
    this.docker.crash(lines);
  }

  /** The container writes so many bytes, and the process that has copied them is killed. */
  async diesAfter(bytes: number): Promise<void> {
    await this.open();
    this.docker.emit(bytes);
    await until('some of it', () => this.size() === bytes);
    await this.kill();
  }

  async finish(): Promise<{ report: OutputReport; file: Buffer }> {
    this.docker.end();
    await this.open();
    const report = await this.#copy?.drained;
    assert.ok(report !== undefined);
    return { report, file: readFileSync(this.file) };
  }

  size(): number {
    return readFileSync(this.file).length;
  }

  /** As the next process would find it. */
  position(): number | undefined {
    const journal = new Journal(`${this.paths.stateDir}/stdout.copied`);
    const output = openSync(this.file, 'r');
    try {
      return journal.recover(output)?.state.position;
    } finally {
      closeSync(output);
      journal.close();
    }
  }

  stderr(): string {
    return readFileSync(this.paths.stderrFile, 'utf8');
  }
}

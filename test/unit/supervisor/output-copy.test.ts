// The copier against a model of Docker, over generated streams: closed and taken up again at any moment, with gaps in
// which nobody copies, the file ends up with exactly the stream's bytes, or what is missing is reported.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { TlsFileError } from '../../../src/docker/faults.ts';
import type { OutputSource } from '../../../src/docker/output.ts';
import { Fault, isFault } from '../../../src/fault.ts';
import type { Log } from '../../../src/host/log.ts';
import { type OutputCopy, type OutputReport, startCopy } from '../../../src/supervisor/output-copy.ts';
import { output } from '../../support/command.ts';
import { ModelDocker } from '../../support/model-docker.ts';
import { streams } from '../../support/streams.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';
import { until } from '../../support/until.ts';

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
    await world.open();
    world.docker.emit(3000);
    await until('some of it', () => world.size() === 3000);
    await world.kill();
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
    const lines = Array.from({ length: 400_000 }, (_, n) => `number ${n}\n`).join('');
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
    const lines = Array.from({ length: 3000 }, (_, n) => `number ${n}\n`).join('');
    const world = new World(directory, Buffer.from(lines));
    await world.open();
    world.docker.emit(20_000);
    await until('some of it', () => world.size() === 20_000);
    await world.kill();
    world.docker.emit(2000);
    world.docker.rotate(500);
    const { report, file } = await world.finish();
    assert.deepEqual(report, { lost: [] });
    assert.equal(file.toString(), lines);
  });

  it('reports what a log has lost, and goes on with the next line that it has', async () => {
    await using directory = await tempDirectory();
    const lines = Array.from({ length: 3000 }, (_, n) => `number ${n}\n`).join('');
    const world = new World(directory, Buffer.from(lines));
    await world.open();
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
    assert.equal(file.toString(), lines.slice(0, 6000) + lines.slice(lines.indexOf('number 2900\n')));
    assert.match(world.stderr(), /^deimos: stdout: an unknown number of bytes lost: .+\n$/);
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

  it('outlives files of TLS that do not fit each other for a while, whatever they keep from being asked', async () => {
    await using directory = await tempDirectory();
    const lines = Array.from({ length: 300 }, (_, n) => `number ${n}\n`).join('');
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
    await world.open();
    docker.emit(1000);
    await until('some of it', () => world.size() === 1000);
    await world.kill();
    let isAttached = false;
    docker.isAlive = async () => {
      exchanged('isAlive');
      return await isAlive();
    };
    docker.attach = async () => {
      exchanged('attach');
      isAttached = true;
      return await attach();
    };
    docker.readLog = (query) => {
      exchanged(isAttached ? 'readLog of a handover' : 'readLog');
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
    assert.deepEqual(failed.sort(), ['attach', 'isAlive', 'readLog', 'readLog of a handover']);
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
  readonly file: string;
  readonly paths: { readonly stdoutFile: string; readonly stderrFile: string; readonly stateDir: string };
  readonly #logDriver: string;
  #copy: OutputCopy | undefined;
  #wasOpen = false;

  constructor(directory: TempDirectory, stream: Buffer, logDriver = 'local') {
    const path = directory.at(`${process.hrtime.bigint()}`);
    mkdirSync(path);
    this.docker = new ModelDocker(stream);
    this.file = `${path}/stdout`;
    this.paths = { stdoutFile: this.file, stderrFile: `${path}/stderr`, stateDir: path };
    this.#logDriver = logDriver;
  }

  deps(signal: AbortSignal): { source: OutputSource; log: Log; signal: AbortSignal } {
    return { source: this.docker, log: SILENT, signal };
  }

  options(fresh: boolean): { tty: boolean; logDriver: string; fresh: boolean } {
    return { tty: false, logDriver: this.#logDriver, fresh };
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

  async play(steps: readonly { do: 'emit' | 'kill' | 'resume' | 'wait'; share: number }[]): Promise<void> {
    await this.open();
    for (const { do: what, share } of steps) {
      if (what === 'emit') this.docker.emit(share ** 3 + share);
      else if (what === 'kill') await this.kill();
      else if (what === 'resume') await this.open();
      else await sleep(share);
    }
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

  stderr(): string {
    return readFileSync(this.paths.stderrFile, 'utf8');
  }
}

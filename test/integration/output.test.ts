// Output of real containers, copied by a process that is SIGKILLed at any moment and started again: the sandbox's files
// have every byte once.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { chown, mkdir } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { dockerId } from '../../src/container/identity.ts';
import { dockerOutput } from '../../src/docker/output.ts';
import { isFault } from '../../src/fault.ts';
import type { Log } from '../../src/host/log.ts';
import { type OutputCopy, type OutputReport, startCopy } from '../../src/supervisor/output-copy.ts';
import { output } from '../support/command.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { IMAGES, makeImages } from '../support/images.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const skip = await skipWithoutTools();
const COPIER = fileURLToPath(new URL('../support/copier-process.ts', import.meta.url));
const SILENT: Log = { debug: () => {}, info: () => {}, warning: () => {}, error: () => {} };
const KILLS = 5;
const NOTHING_LOST = { lost: [] };

describe('the output of a container', { skip, timeout: 120_000 }, () => {
  const world = {} as { dockerd: Dockerd; directory: TempDirectory };
  before(async () => {
    world.dockerd = await startDockerd({ liveRestore: true });
    world.directory = await tempDirectory('out-');
    await makeImages(world.dockerd);
  });
  after(async () => {
    await world.dockerd.stop();
    await world.directory.remove();
  });
  const task = (name: string, script: string, options: readonly string[] = []): Promise<Task> =>
    Task.create(world.dockerd, world.directory, name, script, options);

  it('is whole though the copier is killed again and again', async () => {
    // Flows, with pauses in which nothing moves, on both streams, until it is told to stop.
    const block =
      'n=0; while [ $n -lt 4000 ]; do n=$((n+1)); i=$((i+1)); echo "out $i"; echo "err $i" >&2; done';
    const script = `i=0; until [ -e /stop ]; do ${block}; usleep 500000; done; printf "end $i"`;
    const it = await task('killed', script);
    let copier = await Copier.start(it, 'fresh');
    await it.start();
    for (let kills = 0; kills < KILLS; kills++) {
      await sleep(30 + Math.random() * 500);
      await copier.kill();
      await sleep(Math.random() * 200);
      copier = await Copier.start(it, 'resume');
    }
    await world.dockerd.run(['exec', it.id, 'touch', '/stop']);
    assert.deepEqual(await copier.report(), NOTHING_LOST);
    const count = Number(/end (\d+)$/.exec(it.read('stdout'))?.[1]);
    const lines = (word: string): string =>
      Array.from({ length: count }, (_, n) => `${word} ${n + 1}\n`).join('');
    const expected = { stdout: `${lines('out')}end ${count}`, stderr: lines('err') };
    assert.ok(it.read('stdout') === expected.stdout, firstDifference(it.read('stdout'), expected.stdout));
    assert.ok(it.read('stderr') === expected.stderr, firstDifference(it.read('stderr'), expected.stderr));
  });

  it('has the last write before the end, and belongs to the owner of the sandbox', async () => {
    const tasks = await Promise.all(
      [1, 2, 3, 4].map((n) => task(`last-${n}`, `echo begun; printf "last ${n}" >&2`)),
    );
    for (const it of tasks) {
      await chown(it.sandbox, 1234, 1235);
      const copy = await it.copy(true);
      await it.start();
      assert.deepEqual(await copy.drained, NOTHING_LOST);
    }
    for (const [n, it] of tasks.entries()) {
      assert.equal(it.read('stdout'), 'begun\n');
      assert.equal(it.read('stderr'), `last ${n + 1}`);
      assert.equal(statSync(it.at('stdout')).uid, 1234);
      assert.equal(statSync(it.at('stderr')).gid, 1235);
    }
  });

  it('is whole if the container ended while nobody copied', async () => {
    const it = await task(
      'alone',
      'echo one; usleep 500000; echo two; head -c 50000 /dev/zero; echo; echo three; printf open',
    );
    const copier = await Copier.start(it, 'fresh');
    await it.start();
    await until('one', () => it.read('stdout') === 'one\n');
    await copier.kill();
    await it.ended();
    const copy = await it.copy(false);
    assert.deepEqual(await copy.drained, NOTHING_LOST);
    assert.equal(it.read('stdout'), `one\ntwo\n${'\0'.repeat(50_000)}\nthree\nopen`);
  });

  it('is whole where a line was open when the copier was killed', async () => {
    const it = await task(
      'open',
      'printf first-; usleep 600000; printf second-; usleep 900000; echo third; usleep 500000; echo x; echo y',
    );
    const copier = await Copier.start(it, 'fresh');
    await it.start();
    await until('the beginning of the line', () => it.read('stdout') === 'first-');
    await copier.kill();
    await sleep(700);
    const again = await Copier.start(it, 'resume');
    assert.deepEqual(await again.report(), NOTHING_LOST);
    assert.equal(it.read('stdout'), 'first-second-third\nx\ny\n');
  });

  it('is whole over a tty', async () => {
    const it = await task(
      'tty',
      'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; usleep 200000; done',
      ['--tty'],
    );
    const copier = await Copier.start(it, 'fresh');
    await it.start();
    await until('some lines', () => it.read('stdout').includes('line 3'));
    await copier.kill();
    await sleep(500);
    const again = await Copier.start(it, 'resume');
    assert.deepEqual(await again.report(), NOTHING_LOST);
    assert.equal(it.read('stdout'), Array.from({ length: 12 }, (_, n) => `line ${n + 1}\r\n`).join(''));
  });

  it('is whole though dockerd is restarted', async () => {
    const it = await task(
      'live-restore',
      'i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; usleep 150000; done',
    );
    const copy = await it.copy(true);
    await it.start();
    await until('some lines', () => it.read('stdout').includes('line 5\n'));
    await world.dockerd.restart();
    assert.deepEqual(await copy.drained, NOTHING_LOST);
    assert.equal(it.read('stdout'), Array.from({ length: 40 }, (_, n) => `line ${n + 1}\n`).join(''));
  });

  it('is reported as lost where there is no log', async () => {
    const gate = (name: string): string => `until [ -e /${name} ]; do usleep 50000; done`;
    const script = `echo one; ${gate('a')}; echo two; touch /two; ${gate('b')}; echo three`;
    const it = await task('no-log', script, ['--log-driver', 'none']);
    const inside = (...words: string[]) => world.dockerd.outcome(['exec', it.id, ...words]);
    const copier = await Copier.start(it, 'fresh');
    await it.start();
    await until('one', () => it.read('stdout') === 'one\n');
    await copier.kill();
    await inside('touch', '/a');
    await until('two', async () => (await inside('test', '-e', '/two')).code === 0);
    const again = await Copier.start(it, 'resume');
    await inside('touch', '/b');
    const report = await again.report();
    assert.deepEqual(
      report.lost.map(({ stream, bytes }) => [stream, bytes]),
      [
        ['stdout', 'unknown'],
        ['stderr', 'unknown'],
      ],
    );
    assert.equal(it.read('stdout'), 'one\nthree\n');
    assert.match(
      it.read('stderr'),
      /^deimos: stdout: an unknown number of bytes lost of what was written between .+\ndeimos: stderr: /,
    );
  });

  it('holds the task up for a bounded time where the disk is full, and says what was lost', async () => {
    const it = await task('full', 'yes 0123456789012345678901234567890 | head -c 4000000');
    await output(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', it.sandbox]);
    try {
      const copy = await it.copy(true, { writePatienceMs: 300 });
      await it.start();
      const { lost } = await copy.drained;
      assert.equal(lost.length, 1);
      const size = statSync(it.at('stdout')).size;
      assert.ok(size > 0 && size < 1024 * 1024 + 1);
      assert.equal(size + Number(lost[0]?.bytes), 4_000_000);
      assert.equal(it.read('stdout'), '0123456789012345678901234567890\n'.repeat(125_000).slice(0, size));
    } finally {
      await output(['umount', it.sandbox]);
    }
  });

  it('slows the task down instead of filling the memory', async () => {
    const it = await task('slow', 'yes 0123456789012345678901234567890 | head -c 30000000');
    const id = it.id;
    const attachment = await dockerOutput({ kind: 'unix', path: world.dockerd.socket }, id, false).attach(
      new AbortController().signal,
    );
    await it.start();
    const first = await attachment.read();
    assert.ok(first !== undefined && first.length <= 64 * 1024);
    await sleep(1500);
    // Nobody reads: Docker's own buffers are full, far below what the task wants to write.
    assert.equal(await it.isRunning(), true);
    let got = first.length;
    for (let bytes = await attachment.read(); bytes !== undefined; bytes = await attachment.read())
      got += bytes.length;
    assert.ok(got > 30_000_000);
    await it.ended();
  });

  it('cannot be attached to where there is no such container', async () => {
    const id = dockerId('0'.repeat(64));
    assert.ok(id !== undefined);
    const source = dockerOutput({ kind: 'unix', path: world.dockerd.socket }, id, false);
    await assert.rejects(source.attach(new AbortController().signal), (error) => isFault(error, 'not-found'));
    assert.equal(await source.isAlive(new AbortController().signal), false);
    const away = dockerOutput({ kind: 'unix', path: world.directory.at('nobody') }, id, false);
    await assert.rejects(away.attach(new AbortController().signal), (error) => isFault(error, 'docker'));
    await assert.rejects(away.isAlive(new AbortController().signal), (error) => isFault(error, 'docker'));
  });
});

/** A container that is created and not started, its sandbox and its state directory. */
class Task {
  readonly dockerd: Dockerd;
  readonly id: NonNullable<ReturnType<typeof dockerId>>;
  readonly sandbox: string;
  readonly stateDir: string;
  readonly logDriver: string;
  readonly tty: boolean;

  private constructor(dockerd: Dockerd, path: string, text: string, options: readonly string[]) {
    const id = dockerId(text);
    assert.ok(id !== undefined);
    this.dockerd = dockerd;
    this.id = id;
    this.sandbox = `${path}/sandbox`;
    this.stateDir = `${path}/state`;
    this.logDriver = options.includes('none') ? 'none' : 'local';
    this.tty = options.includes('--tty');
  }

  static async create(
    dockerd: Dockerd,
    directory: TempDirectory,
    name: string,
    script: string,
    options: readonly string[],
  ): Promise<Task> {
    const fixed = ['create', '--network', 'none', '--log-driver', 'local', '--log-opt', 'max-size=50m'];
    const log = options.includes('none') ? ['create', '--network', 'none'] : fixed;
    const id = await dockerd.run([...log, ...options, IMAGES.busybox, 'sh', '-c', script]);
    const it = new Task(dockerd, directory.at(name), id, options);
    await mkdir(it.sandbox, { recursive: true });
    await mkdir(it.stateDir);
    return it;
  }

  at(name: string): string {
    return `${this.sandbox}/${name}`;
  }

  read(name: string): string {
    return existsSync(this.at(name)) ? readFileSync(this.at(name), 'latin1') : '';
  }

  async start(): Promise<void> {
    await this.dockerd.run(['start', this.id]);
  }

  async ended(): Promise<void> {
    await this.dockerd.run(['wait', this.id]);
  }

  async isRunning(): Promise<boolean> {
    return (await this.dockerd.run(['inspect', '-f', '{{.State.Running}}', this.id])) === 'true';
  }

  /** A copy in this process. */
  copy(fresh: boolean, options: { readonly writePatienceMs?: number } = {}): Promise<OutputCopy> {
    const { tty, logDriver, stateDir } = this;
    const source = dockerOutput({ kind: 'unix', path: this.dockerd.socket }, this.id, tty);
    const paths = { stdoutFile: this.at('stdout'), stderrFile: this.at('stderr'), stateDir };
    const signal = AbortSignal.timeout(60_000);
    return startCopy({ source, log: SILENT, signal }, paths, { tty, logDriver, fresh, ...options });
  }
}

/** A copy in a process of its own, that can be killed. */
class Copier {
  readonly #child: ChildProcess;
  #said = '';
  #error = '';

  private constructor(task: Task, how: 'fresh' | 'resume') {
    const { dockerd, id, sandbox, stateDir, logDriver, tty } = task;
    const args = [dockerd.socket, id, sandbox, stateDir, logDriver, how, tty ? 'tty' : 'plain'];
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, COPIER, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout?.on('data', (text: Buffer) => {
      this.#said += text.toString();
    });
    this.#child.stderr?.on('data', (text: Buffer) => {
      this.#error += text.toString();
    });
  }

  /** Resolves when it has attached (or there was nothing to attach to). */
  static async start(task: Task, how: 'fresh' | 'resume'): Promise<Copier> {
    const copier = new Copier(task, how);
    const isAttached = (): boolean => {
      assert.equal(copier.#error, '');
      return copier.#said.startsWith('open\n');
    };
    await until('the copier is attached', isAttached, { timeoutMs: 60_000 });
    return copier;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await until('the copier is gone', () => this.#child.exitCode !== null || this.#child.signalCode !== null);
  }

  /** Waits for its end. */
  async report(): Promise<OutputReport> {
    await until('the copier ends', () => this.#child.exitCode !== null, { timeoutMs: 60_000 });
    assert.equal(this.#error, '');
    return JSON.parse(this.#said.split('\n')[1] ?? '');
  }
}

function firstDifference(actual: string, expected: string): string {
  const length = Math.min(actual.length, expected.length);
  let at = 0;
  while (at < length && actual[at] === expected[at]) at += 1;
  const around = (text: string): string => JSON.stringify(text.slice(Math.max(0, at - 40), at + 40));
  return `${actual.length} for ${expected.length} bytes, differ at ${at}: ${around(actual)} for ${around(expected)}`;
}

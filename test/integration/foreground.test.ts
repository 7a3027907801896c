// `deimos launch --no-fork`: a person at a terminal sees the task's output, gets its code, and ends it with Ctrl-C; with a
// slave and without one.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { BINARY, type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { launchRecord } from '../support/installation.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const LONG_MS = 60_000;

interface Shown {
  readonly child: ChildProcess;
  readonly containerId: string;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly ended: Promise<number | NodeJS.Signals | null>;
}

describe('launch --no-fork', { skip: await skipWithoutTools() }, () => {
  let host: Host;
  before(async () => {
    host = await startHost();
  });
  after(async () => await host[Symbol.asyncDispose]());

  const launch = async (options: TaskOptions, env: Readonly<Record<string, string>> = {}): Promise<Shown> => {
    const record = await launchRecord(commandTask(options), host.directory.at('sandboxes'));
    const child = spawn(BINARY, ['--config', host.configFile, 'launch', '--no-fork'], { stdio: 'pipe', env });
    const texts = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk: Buffer) => {
      texts.stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      texts.stderr += chunk.toString();
    });
    const ended = new Promise<number | NodeJS.Signals | null>((resolve) =>
      child.once('close', (code, signal) => resolve(code ?? signal)),
    );
    child.stdin.write(record.stdin);
    return {
      child,
      containerId: record.containerId,
      stdout: () => texts.stdout,
      stderr: () => texts.stderr,
      ended,
    };
  };

  it('shows the output as it comes, each on its own stream, and exits with the task’s code', async () => {
    const shown = await launch({
      value: 'echo out; echo err >&2; until [ -e go ]; do sleep 0.1; done; printf "no line end"; exit 7',
      image: IMAGES.busybox,
    });
    await until('both streams', () => shown.stdout().includes('out\n') && shown.stderr().includes('err\n'), {
      timeoutMs: LONG_MS,
    });
    writeFileSync(host.directory.at('sandboxes', shown.containerId, 'fs', 'go'), '');
    assert.equal(await shown.ended, 7);
    assert.match(shown.stdout(), /^out\nno line end/);
    assert.equal(shown.stderr(), 'err\n');
  });

  it('shows all of a large output, exactly', async () => {
    const shown = await launch({
      value: 'seq 1 20000; seq 1 20000 >&2',
      image: IMAGES.busybox,
    });
    assert.equal(await shown.ended, 0);
    const numbers = Array.from({ length: 20_000 }, (_, n) => `${n + 1}\n`).join('');
    assert.ok(shown.stdout().startsWith(numbers));
    assert.equal(shown.stderr(), numbers);
  });

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`${signal} ends the container; it returns when that is gone`, async () => {
      const shown = await launch({
        value: "trap 'echo asked; exit 5' TERM; echo ready; while :; do sleep 0.1; done",
        image: IMAGES.busybox,
      });
      await until('it runs', () => shown.stdout().includes('ready'), { timeoutMs: LONG_MS });
      shown.child.kill(signal);
      assert.equal(await shown.ended, 5);
      assert.match(shown.stdout(), /asked/);
      await until('removed', async () => (await host.dockerd.run(['ps', '-aq'])) === '', {
        timeoutMs: LONG_MS,
      });
    });
  }

  it('a task that ignores that is killed within stop_timeout: 128 + 9', async () => {
    const shown = await launch({
      value: "trap '' TERM INT; echo ready; while :; do sleep 0.1; done",
      image: IMAGES.busybox,
    });
    await until('it runs', () => shown.stdout().includes('ready'), { timeoutMs: LONG_MS });
    shown.child.kill('SIGINT');
    assert.equal(await shown.ended, 137);
  });

  it('a task that cannot be started: its reason in words, status 4', async () => {
    const shown = await launch({ value: 'true', image: IMAGES.busybox, options: ['--bogus'] });
    assert.equal(await shown.ended, 4);
    assert.match(shown.stderr(), /unknown flag: --bogus/);
    assert.match(shown.stderr().trimEnd().split('\n').at(-1) ?? '', /^deimos launch: [^\n]+$/);
  });

  it('the same code through a crash of the supervisor', async () => {
    const shown = await launch({ value: 'echo one; sleep 3; echo two; exit 6', image: IMAGES.busybox });
    await until('it runs', () => shown.stdout().includes('one'), { timeoutMs: LONG_MS });
    await host.killSupervisor();
    assert.equal(await shown.ended, 6);
    assert.match(shown.stdout(), /^one\ntwo\n/);
  });

  it('killed itself, it leaves the task to go on', async () => {
    const shown = await launch({ value: 'echo ready; sleep 2; exit 3', image: IMAGES.busybox });
    await until('it runs', () => shown.stdout().includes('ready'), { timeoutMs: LONG_MS });
    shown.child.kill('SIGKILL');
    assert.equal(await shown.ended, 'SIGKILL');
    const exit = `${host.root}/mesos/${shown.containerId}/exit`;
    await until('its exit noted', () => existsSync(exit), { timeoutMs: LONG_MS });
    assert.equal(readFileSync(exit, 'utf8').trim(), '3');
  });

  it('leaves nothing behind', async () => {
    assert.deepEqual(await host.leftovers(), []);
  });
});

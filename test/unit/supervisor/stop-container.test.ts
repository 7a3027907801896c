// A container is ended even where Docker hangs: its init is killed past it when the bounds are over, and no other process.
// And a grace that Docker cannot count begins when the stop signal is sent.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { dockerId } from '../../../src/container/identity.ts';
import { identify, type NotedProcess, noted } from '../../../src/host/processes.ts';
import { killUnseen, stopContainer } from '../../../src/supervisor/stop-container.ts';
import { tempDirectory } from '../../support/temp.ts';

/** What is waited for after the grace, and then before the pid itself is killed. */
const KILL_AFTER_MS = 10_000;
const KILL_PID_AFTER_MS = 5_000;
/** Of the pauses between tries after that. */
const LONGEST_PAUSE_MS = 40_000;
const TIMEOUT_MS = 20_000;
const STOPPING = 'stopping the container';
const KILLING = 'killing the container';

interface Stopped {
  /** What Docker was asked for, in order. */
  readonly asked: string[];
  readonly warnings: string[];
  /** Docker takes the first call. */
  answer(): void;
  /** The container has ended. */
  end(): void;
  /** Lets that much time go by. */
  pass(ms: number): Promise<void>;
  readonly done: Promise<void>;
}

/** Ends a container of which Docker, asked for anything, says nothing. */
function stop(t: TestContext, init: string, graceMs: number): Stopped {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  t.after(() => {
    t.mock.timers.reset();
    syncBuiltinESMExports();
  });
  // Mocks reach what was imported by name only so.
  syncBuiltinESMExports();
  const asked: string[] = [];
  const warnings: string[] = [];
  const first = Promise.withResolvers<void>();
  const ended = new AbortController();
  const log = {
    ...{ debug() {}, info() {}, error() {} },
    warning: (event: string) => void warnings.push(event),
  };
  const ask = async (what: string): Promise<unknown> => {
    asked.push(what);
    return asked.length === 1 ? await first.promise : await new Promise(() => {});
  };
  const id = dockerId('a'.repeat(64)) ?? assert.fail();
  const done = stopContainer({ id, init, ask, log }, graceMs, ended.signal);
  return {
    ...{ asked, warnings, done, answer: first.resolve, end: () => ended.abort(new Error('it has ended')) },
    pass: async (ms) => {
      await turn();
      t.mock.timers.tick(ms);
      await turn();
    },
  };
}

/** A process noted as a container's init; `change`: what of the note is wrong. */
async function withInit(
  body: (init: string, child: ChildProcess) => Promise<void>,
  change: Partial<NotedProcess> = {},
): Promise<void> {
  await using directory = await tempDirectory();
  const child = spawn('/bin/sleep', ['1000'], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  try {
    await once(child, 'spawn');
    const process = identify(child.pid ?? assert.fail()) ?? assert.fail();
    const init = directory.at('init');
    writeFileSync(init, JSON.stringify({ ...noted(process), ...change }));
    await body(init, child);
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
}

test('where Docker hangs, its init is killed when all bounds are over, and not before', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  await withInit(async (init, child) => {
    const exited = once(child, 'exit', { signal: t.signal });
    const { asked, warnings, pass, end, done } = stop(t, init, 2_000);
    const rejected = assert.rejects(done, /it has ended/);
    assert.deepEqual(asked, [STOPPING]);
    await pass(2_000 + KILL_AFTER_MS - 1);
    assert.deepEqual(asked, [STOPPING]);
    await pass(1);
    assert.deepEqual(asked, [STOPPING, KILLING]);
    await pass(KILL_PID_AFTER_MS - 1);
    assert.deepEqual(warnings, ['the container does not end, killing it']);
    await pass(1);
    assert.deepEqual(await exited, [null, 'SIGKILL']);
    end();
    await rejected;
    assert.equal(warnings.at(-1), 'Docker does not end the container, killing its init');
  });
});

test('where Docker hangs, a grace with a fraction begins when the signal has been waited for', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  await withInit(async (init, child) => {
    const exited = once(child, 'exit', { signal: t.signal });
    const { asked, warnings, pass, end, done } = stop(t, init, 1_500);
    const rejected = assert.rejects(done, /it has ended/);
    await pass(KILL_AFTER_MS - 1);
    await pass(1);
    await pass(1_499);
    assert.deepEqual(asked, [STOPPING]);
    await pass(1);
    assert.deepEqual(asked, [STOPPING, KILLING]);
    await pass(KILL_AFTER_MS);
    assert.deepEqual(asked, [STOPPING, KILLING, KILLING]);
    await pass(KILL_PID_AFTER_MS - 1);
    assert.equal(warnings.length, 1);
    await pass(1);
    assert.deepEqual(await exited, [null, 'SIGKILL']);
    end();
    await rejected;
  });
});

test('a grace with a fraction begins when the signal is sent, be that late', async (t) => {
  await withInit(async (init) => {
    const { asked, answer, end, pass, done } = stop(t, init, 1_500);
    const rejected = assert.rejects(done, /it has ended/);
    await pass(8_000);
    answer();
    await pass(1_499);
    assert.deepEqual(asked, [STOPPING]);
    await pass(1);
    assert.deepEqual(asked, [STOPPING, KILLING]);
    end();
    await rejected;
  });
});

for (const [what, change] of [
  ['another process that has its pid now', { startTime: 1 }],
  ['a process of another boot', { bootId: 'of-another-boot' }],
] as const) {
  test(`${what} is not killed for it`, async (t) => {
    await withInit(async (init, child) => {
      const { warnings, pass, end, done } = stop(t, init, 0);
      const rejected = assert.rejects(done, /it has ended/);
      await pass(KILL_AFTER_MS);
      await pass(KILL_PID_AFTER_MS);
      await pass(LONGEST_PAUSE_MS);
      end();
      await rejected;
      assert.deepEqual(warnings, ['the container does not end, killing it']);
      assert.ok(identify(child.pid ?? assert.fail()) !== undefined && child.signalCode === null);
    }, change);
  });
}

test('where neither Docker nor its pid can kill it, it is tried again until it has ended', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  await withInit(async (init, child) => {
    const exited = once(child, 'exit', { signal: t.signal });
    const noted = readFileSync(init);
    rmSync(init);
    const { asked, warnings, pass, end, done } = stop(t, init, 0);
    const rejected = assert.rejects(done, /it has ended/);
    await pass(KILL_AFTER_MS);
    for (const kills of [1, 2, 3]) {
      assert.deepEqual(asked, [STOPPING, ...Array.from({ length: kills }, () => KILLING)]);
      await pass(KILL_PID_AFTER_MS);
      await pass(LONGEST_PAUSE_MS);
    }
    assert.equal(child.signalCode, null);
    assert.deepEqual(warnings, ['the container does not end, killing it']);
    writeFileSync(init, noted);
    await pass(KILL_PID_AFTER_MS);
    assert.deepEqual(await exited, [null, 'SIGKILL']);
    end();
    await rejected;
  });
});

test('one that ends meanwhile is left alone', async (t) => {
  await withInit(async (init, child) => {
    const { asked, end, pass, done } = stop(t, init, 0);
    const rejected = assert.rejects(done, /it has ended/);
    await pass(KILL_AFTER_MS);
    end();
    await rejected;
    await pass(KILL_PID_AFTER_MS);
    assert.deepEqual(asked, [STOPPING, KILLING]);
    assert.equal(child.signalCode, null);
  });
});

for (const isAnswered of [false, true]) {
  const what = isAnswered
    ? 'has said in time what it has of it is left alone'
    : 'says nothing at all is killed';
  test(`the init of a container of which Docker ${what}`, { timeout: TIMEOUT_MS }, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    t.after(() => {
      t.mock.timers.reset();
      syncBuiltinESMExports();
    });
    syncBuiltinESMExports();
    await withInit(async (init, child) => {
      const exited = once(child, 'exit', { signal: t.signal });
      exited.catch(() => {});
      const log = { debug() {}, info() {}, warning() {}, error() {} };
      const answered = new AbortController();
      const kills: string[] = [];
      const onKill = (): void => void kills.push('kill');
      const rejected = assert.rejects(killUnseen({ init, log, onKill }, 2_000, answered.signal), /answered/);
      t.mock.timers.tick(2_000 + KILL_AFTER_MS + KILL_PID_AFTER_MS - 1);
      await turn();
      assert.equal(child.signalCode, null);
      if (isAnswered) answered.abort(new Error('answered'));
      t.mock.timers.tick(1);
      await turn();
      if (isAnswered)
        assert.ok(identify(child.pid ?? assert.fail()) !== undefined && child.signalCode === null);
      else assert.deepEqual(await exited, [null, 'SIGKILL']);
      assert.equal(kills.length, isAnswered ? 0 : 1);
      answered.abort(new Error('answered'));
      await rejected;
    });
  });
}

// In which rhythm a container is checked: real checks of a server of the test's own, held against the clock from below
// alone. A check may come late, never early.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { describe, it } from 'node:test';
import type { HealthTerms } from '../../../src/container/health.ts';
import { dockerId } from '../../../src/container/identity.ts';
import type { LifeEvent } from '../../../src/container/life.ts';
import type { ContainerFacts } from '../../../src/docker/engine.ts';
import { Fault } from '../../../src/fault.ts';
import type { Log } from '../../../src/host/log.ts';
import { HealthChecks, UNANSWERED_MAX } from '../../../src/supervisor/health-checks.ts';
import { Turns } from '../../../src/supervisor/turns.ts';

const DELAY_MS = 300;
const TIMEOUT_MS = 250;
const INTERVAL_MS = 350;
/** Timers and the container's start count whole milliseconds. */
const ROUNDING_MS = 3;
const SILENT: Log = { debug: () => {}, info: () => {}, warning: () => {}, error: () => {} };

/** On the network of the host, started now. */
function startedNow(): ContainerFacts {
  const id = dockerId('a'.repeat(64));
  assert.ok(id);
  return {
    ...{ id, name: 'checked', state: 'running', exitCode: 0, oomKilled: false, error: '', labels: {} },
    ...{ tty: false, logDriver: 'local', stopSignal: '', hostConfig: { NetworkMode: 'host' }, raw: {} },
    startedAt: new Date().toISOString(),
  };
}

describe('health checks', () => {
  it("begin the delay after the container's start, and come the interval after the end of the one before", async () => {
    const askedAt: number[] = [];
    // The first is never answered: it ends when its time is over.
    const server = createServer((_, response) => {
      if (askedAt.push(Date.now()) > 1) response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    const facts = startedNow();
    const told: LifeEvent[] = [];
    const { promise: passed, resolve } = Promise.withResolvers<void>();
    const checks = new HealthChecks({
      terms: {
        probe: { kind: 'http', port: address.port, path: '/', statuses: [] },
        ...{ delayMs: DELAY_MS, intervalMs: INTERVAL_MS, timeoutMs: TIMEOUT_MS, graceMs: 0, failuresMax: 3 },
      },
      target: {
        facts,
        engine: () => Promise.reject(new Fault('docker', 'nobody is asked')),
        mayRun: () => true,
        isHere: true,
      },
      ...{ resumed: false, before: undefined, turns: new Turns(1), log: SILENT },
      tell: (event) => {
        told.push(event);
        if (event.type === 'health' && event.health.healthy) resolve();
      },
      explain: (why) => assert.fail(why),
    });
    // Its timers keep no process alive, the server does.
    checks.begin();
    await passed;
    checks.end();
    server.closeAllConnections();
    server.close();
    const startedAt = Date.parse(facts.startedAt ?? '');
    const [first = 0, second = 0] = askedAt.map((at) => at - startedAt);
    assert.ok(first >= DELAY_MS - ROUNDING_MS, `the first after ${first} ms`);
    assert.ok(second >= DELAY_MS + TIMEOUT_MS + INTERVAL_MS - ROUNDING_MS, `the second after ${second} ms`);
    assert.deepEqual(
      told.map((event) => event.type === 'health' && event.health),
      [
        { healthy: false, failures: 1 },
        { healthy: true, failures: 0 },
      ],
    );
  });

  /** Checks that `engine` keeps from having results, one right after the other; by command unless `probe` says else. */
  function checksWith(
    engine: () => Promise<never>,
    more: { probe?: HealthTerms['probe']; isHere?: boolean; log?: Log } = {},
  ): { explained: Promise<string>; again: (times: number) => Promise<void>; end: () => void } {
    const explained = Promise.withResolvers<string>();
    const said: string[] = [];
    const asked = { times: 0 };
    const waiting: { times: number; resolve: () => void }[] = [];
    // The checks' own timers keep no process alive.
    const alive = setInterval(() => {}, 60_000);
    const checks = new HealthChecks({
      terms: {
        probe: more.probe ?? { kind: 'command', argv: ['true'], environment: [] },
        ...{ delayMs: 0, intervalMs: 1, timeoutMs: TIMEOUT_MS, graceMs: 0, failuresMax: 3 },
      },
      target: {
        facts: startedNow(),
        engine: () => {
          asked.times += 1;
          for (const { times, resolve } of waiting) if (asked.times >= times) resolve();
          return engine();
        },
        mayRun: () => true,
        isHere: more.isHere ?? true,
      },
      ...{ resumed: false, before: undefined, turns: new Turns(1), log: more.log ?? SILENT },
      tell: (event) => assert.fail(JSON.stringify(event)),
      explain: (why) => {
        explained.resolve(why);
        said.push(why);
      },
    });
    checks.begin();
    return {
      explained: explained.promise,
      again: async (times) => {
        const { promise, resolve } = Promise.withResolvers<void>();
        waiting.push({ times: asked.times + times, resolve });
        await promise;
        assert.ok(said.length <= 1, said.join());
      },
      end: () => {
        clearInterval(alive);
        checks.end();
      },
    };
  }

  it('go on where this host lacked something, or we have a bug, and the bug is said', async () => {
    const errors: string[] = [];
    const log: Log = { ...SILENT, error: (event) => void errors.push(event) };
    const lacking = Object.assign(new Error('too many open files'), { code: 'EMFILE' });
    const causes = [lacking, new TypeError('a bug')];
    const checks = checksWith(() => Promise.reject(causes.shift() ?? new Fault('timeout', 'slow')), { log });
    await checks.again(4);
    checks.end();
    assert.deepEqual([causes, errors.length], [[], 1]);
  });

  it('that Docker refuses again and again are explained, once', async () => {
    const checks = checksWith(() => Promise.reject(new Fault('conflict', 'is paused')));
    assert.equal(
      await checks.explained,
      `${UNANSWERED_MAX} checks in a row had no result, the last one: is paused`,
    );
    await checks.again(2 * UNANSWERED_MAX);
    checks.end();
  });

  it('that a Docker which is away cannot carry out are not', async () => {
    const checks = checksWith(() => Promise.reject(new Fault('timeout', 'slow')));
    const first = Promise.race([checks.explained, checks.again(2 * UNANSWERED_MAX)]);
    assert.equal(await first, undefined);
    checks.end();
  });

  it("by HTTP ask no one on this host for a container on another host's network", async () => {
    const server = createServer(() => assert.fail('asked here'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    const probe = { kind: 'http', port: address.port, path: '/', statuses: [] } as const;
    const engine = () => Promise.reject(new Fault('docker', 'nobody is asked'));
    const checks = checksWith(engine, { probe, isHere: false });
    assert.match(await checks.explained, /^http cannot be asked: .*network of the host/);
    checks.end();
    server.close();
  });
});

// In which rhythm a container is checked: real checks of a server of the test's own, held against the clock from below
// alone. A check may come late, never early.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { describe, it } from 'node:test';
import { dockerId } from '../../../src/container/identity.ts';
import type { LifeEvent } from '../../../src/container/life.ts';
import type { ContainerFacts } from '../../../src/docker/engine.ts';
import { Fault } from '../../../src/fault.ts';
import type { Log } from '../../../src/host/log.ts';
import { HealthChecks } from '../../../src/supervisor/health-checks.ts';
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
});

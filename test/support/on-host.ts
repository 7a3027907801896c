// Tests on a host: a body that fails is shown with what the supervisor wrote, and at the end the slaves must have had
// nothing to complain of, and the host must be clean.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Host } from './host.ts';
import type { StandInSlave } from './slave.ts';

const LOG_LINES_SHOWN = 200;

/** A test on the host that `host` gives once the suite has begun. */
export function testOn(host: () => Host, name: string, body: (host: Host) => Promise<void>): void {
  test(name, async (t) => {
    try {
      await body(host());
    } catch (error) {
      t.diagnostic(supervisorLog(host()));
      throw error;
    }
  });
}

/** The end of what the supervisors of this host wrote. */
export function supervisorLog(host: Host): string {
  const path = `${host.root}/supervisor/log`;
  if (!existsSync(path)) return `no ${path}`;
  return readFileSync(path, 'utf8').split('\n').slice(-LOG_LINES_SHOWN).join('\n');
}

/** What a real slave would have suffered from: nothing. */
export function assertContent(slave: StandInSlave): void {
  assert.deepEqual(slave.violations, []);
}

// What a slave wants of connections: as its living process has it, and as it was at launch where there is none.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { mesosContainerId } from '../../../src/container/identity.ts';
import { identify } from '../../../src/host/processes.ts';
import { containerPaths } from '../../../src/state/layout.ts';
import type { RequestRecord } from '../../../src/state/records.ts';
import { sslAtLaunch, sslNow } from '../../../src/supervisor/slave-settings.ts';
import { tempDirectory } from '../../support/temp.ts';

test('a slave that lives says itself whether it has SSL; without one it is as at launch', async () => {
  await using directory = await tempDirectory();
  const paths = containerPaths(directory.path, mesosContainerId('c1') ?? assert.fail());
  mkdirSync(paths.directory, { recursive: true });
  // Nothing else of it is looked at.
  const request = {
    slaveEnvironment: { SSL_ENABLED: '1', SSL_KEY_FILE: '/launch' },
  } as unknown as RequestRecord;
  const atLaunch = sslAtLaunch(request);
  assert.equal(atLaunch?.keyFile, '/launch');
  assert.deepEqual(sslNow(request, paths), atLaunch);

  const living = async (env: Record<string, string>, fact = paths.waitSeen) => {
    const child = spawn('/bin/sleep', ['60'], { env });
    await once(child, 'spawn');
    const identity = identify(child.pid ?? 0) ?? assert.fail();
    writeFileSync(fact, JSON.stringify(identity));
    const seen = sslNow(request, paths);
    child.kill('SIGKILL');
    await once(child, 'exit');
    return seen;
  };
  assert.equal((await living({ SSL_ENABLED: 'true', SSL_KEY_FILE: '/now' }))?.keyFile, '/now');
  assert.equal(await living({ PATH: '/bin' }), undefined);
  // One that has come back, and has not called `wait` yet.
  assert.equal(await living({ PATH: '/bin' }, paths.slaveProcess), undefined);
  // It is dead: what it wanted is not known any more.
  assert.deepEqual(sslNow(request, paths), atLaunch);
});

// What a slave wants of connections: as its living process has it, and as it was at launch where there is none; looked
// up once a second for all that it launched.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { mesosContainerId } from '../../../src/container/identity.ts';
import { identify, noted } from '../../../src/host/processes.ts';
import { containerPaths, rootPaths } from '../../../src/state/layout.ts';
import type { RequestRecord } from '../../../src/state/records.ts';
import { SlaveSettings, sslAtLaunch } from '../../../src/supervisor/slave-settings.ts';
import { tempDirectory } from '../../support/temp.ts';

const WORK_DIRECTORY = '/var/lib/mesos';

/** Of a request nothing else is looked at. */
function request(id: string, keyFile: string, workDirectory = WORK_DIRECTORY): RequestRecord {
  const task = { containerId: mesosContainerId(id) ?? assert.fail() };
  const slaveEnvironment = { SSL_ENABLED: '1', SSL_KEY_FILE: keyFile };
  return { task, workDirectory, slaveEnvironment } as unknown as RequestRecord;
}

/** The places of a root's facts about its slaves. */
function places(root: string) {
  const { slaves, slave } = rootPaths(root);
  const container = containerPaths(root, mesosContainerId('c1') ?? assert.fail());
  for (const path of [slaves, container.directory]) mkdirSync(path, { recursive: true });
  return { waitSeen: container.waitSeen, recovered: slave(WORK_DIRECTORY) };
}

async function asLiving<T>(env: Record<string, string>, fact: string, body: () => T): Promise<T> {
  const child = spawn('/bin/sleep', ['60'], { env });
  await once(child, 'spawn');
  writeFileSync(fact, JSON.stringify(noted(identify(child.pid ?? 0) ?? assert.fail())));
  try {
    return body();
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

test('a slave that lives says itself whether it has SSL; without one it is as at launch', async () => {
  await using directory = await tempDirectory();
  const { waitSeen, recovered } = places(directory.path);
  const one = request('c1', '/launch');
  const now = () => new SlaveSettings(directory.path).sslNow(one);
  const atLaunch = sslAtLaunch(one);
  assert.equal(atLaunch?.keyFile, '/launch');
  assert.deepEqual(now(), atLaunch);
  const on = { SSL_ENABLED: 'true', SSL_KEY_FILE: '/now' };
  assert.equal((await asLiving(on, waitSeen, now))?.keyFile, '/now');
  assert.equal(await asLiving({ PATH: '/bin' }, waitSeen, now), undefined);
  // One that has come back, and has not called `wait` yet.
  assert.equal(await asLiving({ PATH: '/bin' }, recovered, now), undefined);
  // It is dead: what it wanted is not known any more.
  assert.deepEqual(now(), atLaunch);
});

test('a slave is looked up once a second for all that it launched, and anew when it has come back', async () => {
  await using directory = await tempDirectory();
  const { recovered } = places(directory.path);
  const clock = { ms: 0 };
  const settings = new SlaveSettings(directory.path, () => clock.ms);
  const keyFile = (id: string, workDirectory?: string) =>
    settings.sslNow(request(id, `/launch-${id}`, workDirectory))?.keyFile;
  assert.equal(keyFile('c1'), '/launch-c1');
  await asLiving({ SSL_ENABLED: '1', SSL_KEY_FILE: '/now' }, recovered, () => {
    clock.ms += 999;
    assert.deepEqual([keyFile('c1'), keyFile('c2')], ['/launch-c1', '/launch-c1']);
    assert.equal(keyFile('c3', '/another/slave'), '/launch-c3');
    clock.ms += 1;
    assert.deepEqual([keyFile('c1'), keyFile('c2')], ['/now', '/now']);
  });
  assert.equal(keyFile('c2'), '/now');
  settings.forget();
  assert.equal(keyFile('c2'), '/launch-c2');
});

// Two launches with one id: one goes on, and the other may once that one has died.

import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { mesosContainerId } from '../../../src/container/identity.ts';
import { readJsonFact, writeFactSync } from '../../../src/host/facts.ts';
import { identify, noted, parseNoted } from '../../../src/host/processes.ts';
import { claimLaunch } from '../../../src/state/launch-claim.ts';
import { type ContainerPaths, containerPaths } from '../../../src/state/layout.ts';
import { prepareRoot } from '../../../src/state/root.ts';
import { createState } from '../../../src/state/store.ts';
import { tempDirectory } from '../../support/temp.ts';

function newState(root: string): ContainerPaths {
  const id = mesosContainerId('one');
  assert.ok(id !== undefined);
  prepareRoot(root);
  createState(root, id);
  return containerPaths(root, id);
}

test('the first has it, without a lock and without a program; a second is told so while the first lives', async () => {
  await using directory = await tempDirectory();
  const paths = newState(directory.path);
  const first = await claimLaunch(paths);
  assert.ok(first !== undefined);
  const claim = parseNoted(readJsonFact(paths.launcher));
  assert.deepEqual([claim?.pid, claim?.startTime], [process.pid, identify(process.pid)?.startTime]);
  assert.deepEqual(
    readdirSync(paths.directory).filter((name) => name.startsWith('launcher.')),
    [],
  );
  assert.equal(await claimLaunch(paths), undefined);
});

test('what a dead one has claimed goes to the next, and to one of those that ask at once', async () => {
  await using directory = await tempDirectory();
  const paths = newState(directory.path);
  const own = identify(process.pid);
  assert.ok(own !== undefined);
  // The pid was given to another process since.
  writeFactSync(paths.launcher, JSON.stringify({ ...noted(own), startTime: own.startTime - 1 }));
  const claims = await Promise.all([claimLaunch(paths), claimLaunch(paths), claimLaunch(paths)]);
  assert.equal(claims.filter((claim) => claim !== undefined).length, 1);
  assert.equal(parseNoted(readJsonFact(paths.launcher))?.startTime, own.startTime);
  for (const claim of claims) claim?.[Symbol.dispose]();
  assert.equal(await claimLaunch(paths), undefined, 'we live');
});

test('what is no claim is no hindrance', async () => {
  await using directory = await tempDirectory();
  const paths = newState(directory.path);
  writeFactSync(paths.launcher, '{"pid":');
  using claim = await claimLaunch(paths);
  assert.ok(claim !== undefined);
  assert.ok(existsSync(paths.launcher));
});

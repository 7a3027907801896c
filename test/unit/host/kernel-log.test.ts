// Records of the kernel's log: as kernels of several ages write them, and from the log of this machine's own.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { isKillForMemoryLogged, tellsKillForMemory } from '../../../src/host/kernel-log.ts';
import { tempDirectory } from '../../support/temp.ts';

const ID = 'ab'.repeat(32);
const OTHER = 'cd'.repeat(32);
/** As Linux 6 writes it; `limited` is the cgroup whose limit was reached. */
const summary = (limited: string, task: string) =>
  `6,339,5140900223,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=${OTHER},mems_allowed=0,` +
  `oom_memcg=${limited},task_memcg=${task},task=tail,pid=27841,uid=0\n`;

test('a kill in the container’s cgroup is told, whoever manages it, whatever lies above or below', () => {
  for (const path of [
    `/docker/${ID}`,
    `/system.slice/docker-${ID}.scope`,
    `/a/b/${ID}`,
    `/docker/${ID}/init`,
  ])
    for (const limited of [path, '/', '/a']) assert.ok(tellsKillForMemory(summary(limited, path), ID), path);
  const old = `6,12,1,-;Task in /docker/${ID} killed as a result of limit of /docker/${ID}\n`;
  assert.ok(tellsKillForMemory(old, ID));
});

test('a kill elsewhere is not, though it names the container', () => {
  assert.ok(!tellsKillForMemory(summary('/docker', `/docker/${OTHER}`), ID));
  assert.ok(!tellsKillForMemory(summary(`/docker/${ID}`, `/docker/${OTHER}`), ID));
  assert.ok(!tellsKillForMemory(`6,1,1,-;Task in /docker/${OTHER} killed, limit of /docker/${ID}\n`, ID));
  assert.ok(!tellsKillForMemory(`6,1,1,-;docker0: port of ${ID}\n`, ID));
});

test('the log of this machine is read to its end, and tells nothing of what never ran', async () => {
  assert.equal(await isKillForMemoryLogged(OTHER), false);
});

test('no log, or none for us: nothing is told', async () => {
  await using directory = await tempDirectory();
  assert.equal(await isKillForMemoryLogged(ID, directory.at('none')), false);
});

test('a record is found in what is read', async () => {
  await using directory = await tempDirectory();
  writeFileSync(directory.at('kmsg'), summary('/docker', `/docker/${ID}`));
  assert.equal(await isKillForMemoryLogged(ID, directory.at('kmsg')), true);
  assert.equal(await isKillForMemoryLogged(OTHER, directory.at('kmsg')), false);
});

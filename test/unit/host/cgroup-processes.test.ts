import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { endInCgroupNamed } from '../../../src/host/cgroup-processes.ts';
import { isAlive, killAll } from '../../support/proc.ts';

const SIGNAL = new AbortController().signal;
/** Of version 1, where the tests of Docker run as well. */
const CGROUPS = '/sys/fs/cgroup/pids';

describe('what runs in the cgroup of a container', { skip: process.getuid?.() !== 0 && 'needs root' }, () => {
  const started: ChildProcess[] = [];
  let name = '';
  let below = '';
  beforeEach(() => {
    name = randomBytes(32).toString('hex');
    below = `${CGROUPS}/${name}/below`;
    mkdirSync(below, { recursive: true });
  });
  afterEach(async () => {
    await killAll(started.splice(0).flatMap(({ pid }) => pid ?? []));
    rmdirSync(below);
    rmdirSync(`${CGROUPS}/${name}`);
  });

  const sleeper = (cgroup: string | undefined): number => {
    const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
    started.push(child);
    const { pid } = child;
    assert.ok(pid !== undefined);
    if (cgroup !== undefined) writeFileSync(`${cgroup}/cgroup.procs`, `${pid}`);
    return pid;
  };

  it('is ended, also what it has put into cgroups below, and nobody else', async () => {
    const [inside, deeper, outside] = [sleeper(`${CGROUPS}/${name}`), sleeper(below), sleeper(undefined)];
    assert.equal(await endInCgroupNamed(name, SIGNAL), 2);
    assert.deepEqual([isAlive(inside), isAlive(deeper), isAlive(outside)], [false, false, true]);
    assert.equal(await endInCgroupNamed(name, SIGNAL), 0);
  });
});

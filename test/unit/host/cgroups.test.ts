// Usage from cgroup files, versions 1 and 2, over trees of the files' real form. Wrong places give errors, never numbers.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { isFault } from '../../../src/fault.ts';
import { cpusOfWeight, readUsage } from '../../../src/host/cgroups.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';

function tree(directory: TempDirectory, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(directory.at(name)), { recursive: true });
    writeFileSync(directory.at(name), text);
  }
}

const V1 = {
  'proc/7/cgroup': '9:name=systemd:/docker/abc\n4:memory:/docker/abc\n2:cpuacct,cpu:/docker/abc\n0::/\n',
  'cg/cpuacct/docker/abc/cpuacct.stat': 'user 150\nsystem 25\n',
  'cg/cpu/docker/abc/cpu.shares': '512\n',
  'cg/cpu/docker/abc/cpu.cfs_quota_us': '-1\n',
  'cg/cpu/docker/abc/cpu.cfs_period_us': '100000\n',
  'cg/cpu/docker/abc/cpu.stat': 'nr_periods 10\nnr_throttled 4\nthrottled_time 2500000000\n',
  'cg/memory/docker/abc/memory.usage_in_bytes': '1000000\n',
  'cg/memory/docker/abc/memory.limit_in_bytes': '67108864\n',
  'cg/memory/docker/abc/memory.soft_limit_in_bytes': '9223372036854771712\n',
  'cg/memory/docker/abc/memory.stat':
    'cache 1\nrss 2\ntotal_cache 300\ntotal_rss 400\ntotal_mapped_file 50\ntotal_swap 6\ntotal_unevictable 7\n',
};

test('version 1: every field from its file, in the unit of the wire', async () => {
  await using directory = await tempDirectory();
  tree(directory, V1);
  assert.deepEqual(readUsage({ pid: 7 }, directory.at('proc'), directory.at('cg')), {
    cpusUserTimeSecs: 1.5,
    cpusSystemTimeSecs: 0.25,
    cpusLimit: 0.5,
    cpusNrPeriods: 10,
    cpusNrThrottled: 4,
    cpusThrottledTimeSecs: 2.5,
    memTotalBytes: 1_000_000,
    memRssBytes: 400,
    memFileBytes: 300,
    memMappedFileBytes: 50,
    memSwapBytes: 6,
    memUnevictableBytes: 7,
    memLimitBytes: 67_108_864,
  });
});

test('version 1: a quota goes before the shares', async () => {
  await using directory = await tempDirectory();
  tree(directory, { ...V1, 'cg/cpu/docker/abc/cpu.cfs_quota_us': '250000\n' });
  assert.equal(readUsage({ pid: 7 }, directory.at('proc'), directory.at('cg')).cpusLimit, 2.5);
});

test('version 2: every field from its file', async () => {
  await using directory = await tempDirectory();
  tree(directory, {
    'proc/7/cgroup': '0::/system.slice/docker-abc.scope\n',
    'cg/system.slice/docker-abc.scope/cpu.stat':
      'usage_usec 9\nuser_usec 1500000\nsystem_usec 250000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 2500000\n',
    'cg/system.slice/docker-abc.scope/cpu.max': 'max 100000\n',
    'cg/system.slice/docker-abc.scope/cpu.weight': '20\n',
    'cg/system.slice/docker-abc.scope/memory.current': '1000000\n',
    'cg/system.slice/docker-abc.scope/memory.max': '67108864\n',
    'cg/system.slice/docker-abc.scope/memory.low': '33554432\n',
    'cg/system.slice/docker-abc.scope/memory.swap.current': '6\n',
    'cg/system.slice/docker-abc.scope/memory.stat': 'anon 400\nfile 300\nfile_mapped 50\nunevictable 7\n',
  });
  const usage = readUsage({ pid: 7 }, directory.at('proc'), directory.at('cg'));
  assert.equal(usage.cpusLimit, cpusOfWeight(20));
  assert.deepEqual(
    { ...usage, cpusLimit: 0 },
    {
      cpusUserTimeSecs: 1.5,
      cpusSystemTimeSecs: 0.25,
      cpusLimit: 0,
      cpusNrPeriods: 10,
      cpusNrThrottled: 4,
      cpusThrottledTimeSecs: 2.5,
      memTotalBytes: 1_000_000,
      memRssBytes: 400,
      memFileBytes: 300,
      memMappedFileBytes: 50,
      memSwapBytes: 6,
      memUnevictableBytes: 7,
      memLimitBytes: 67_108_864,
      memSoftLimitBytes: 33_554_432,
    },
  );
});

test('weights map back to the shares that they were made from, within the weight they cannot tell apart', () => {
  for (const shares of [2, 102, 512, 1024, 2048, 262_144]) {
    const weight = Math.floor(1 + ((shares - 2) * 9999) / 262_142);
    assert.ok(Math.abs(cpusOfWeight(weight) * 1024 - shares) <= 27, `${shares} shares`);
  }
});

test('a process that has gone, or that is in the cgroup of the host, is an error', async () => {
  await using directory = await tempDirectory();
  tree(directory, { ...V1, 'proc/8/cgroup': '4:memory:/\n2:cpuacct,cpu:/\n', 'proc/9/cgroup': '0::/\n' });
  for (const pid of [1, 8, 9]) {
    assert.throws(
      () => readUsage({ pid }, directory.at('proc'), directory.at('cg')),
      (error) => isFault(error, 'not-found'),
      String(pid),
    );
  }
});

test('processes and threads are counted in the cgroup and in those below it', async () => {
  await using directory = await tempDirectory();
  const lists = (path: string) => ({
    [`cg/memory/docker/abc${path}/cgroup.procs`]: '7\n12\n',
    [`cg/memory/docker/abc${path}/tasks`]: '7\n8\n12\n',
  });
  tree(directory, { ...V1, ...lists('') });
  const counts = () => {
    const { processes, threads } = readUsage({ pid: 7 }, directory.at('proc'), directory.at('cg'));
    return [processes, threads];
  };
  assert.deepEqual(counts(), [2, 3]);
  tree(directory, { ...lists('/a'), ...lists('/a/b') });
  assert.deepEqual(counts(), [6, 9]);
  // More than a call of every second can count: none rather than too few.
  tree(directory, { 'cg/memory/docker/abc/tasks': '1234567\n'.repeat(140_000) });
  assert.deepEqual(counts(), [undefined, undefined]);
});

test('a cgroup that the container’s init has gone to is looked away from, another’s is an error', async () => {
  await using directory = await tempDirectory();
  const usageIn = (path: string) => {
    tree(directory, { ...V1, 'proc/7/cgroup': `4:memory:${path}\n2:cpuacct,cpu:${path}\n` });
    return readUsage({ pid: 7, name: 'abc' }, directory.at('proc'), directory.at('cg'));
  };
  const own = usageIn('/docker/abc');
  assert.equal(own.cpusUserTimeSecs, 1.5);
  assert.deepEqual(usageIn('/docker/abc/init.scope'), own);
  for (const path of ['/', '/system.slice/sshd.service', '/docker/other'])
    assert.throws(
      () => usageIn(path),
      (error) => isFault(error, 'not-found'),
      path,
    );
});

test('a soft limit of nothing is none', async () => {
  await using directory = await tempDirectory();
  tree(directory, {
    'proc/7/cgroup': '0::/docker/abc\n',
    'cg/docker/abc/memory.low': '0\n',
    'cg/docker/abc/memory.max': 'max\n',
  });
  assert.deepEqual(readUsage({ pid: 7 }, directory.at('proc'), directory.at('cg')), {});
});

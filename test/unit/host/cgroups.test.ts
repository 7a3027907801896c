// Usage from cgroup files, versions 1 and 2, over the files of real containers. Wrong places give errors, never numbers.

import assert from 'node:assert/strict';
import { basename, dirname } from 'node:path';
import { test } from 'node:test';
import { statisticsOf } from '../../../src/commands/usage.ts';
import { isFault } from '../../../src/fault.ts';
import {
  cpusOfWeight,
  isInCgroupNamed,
  oomKillsFile,
  readOomKills,
  readUsage,
} from '../../../src/host/cgroups.ts';
import { readNetUsage } from '../../../src/host/net-counters.ts';
import { decode } from '../../../src/mesos/codec.ts';
import { ResourceStatistics } from '../../../src/mesos/messages.ts';
import { encodeResourceStatistics } from '../../../src/mesos/task-view.ts';
import { type CgroupFixture, cgroupFixtures, layOut } from '../../support/cgroup-fixtures.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';
import { assertBetween, factsOf } from '../../support/usage-facts.ts';

const MB = 2 ** 20;

function fixture(name: string): CgroupFixture {
  const found = cgroupFixtures().find((one) => one.name === name);
  assert.ok(found !== undefined, `no fixture ${name}`);
  return found;
}

/** A fixture's files laid out anew with some replaced, by their names; and its usage. */
function usageWith(
  directory: TempDirectory,
  { pid, dockerId, files }: CgroupFixture,
  replaced: Readonly<Record<string, string>> = {},
) {
  const changed = Object.entries(files).map(([path, text]) => [path, replaced[basename(path)] ?? text]);
  layOut(directory, Object.fromEntries(changed));
  return readUsage({ pid, name: dockerId }, directory.at('proc'), directory.at('cg'));
}

for (const name of ['v1-cgroupfs', 'v1-systemd', 'v2-cgroupfs', 'v2-systemd']) {
  test(`${name}: every field from the files of a real container, in the unit of the wire`, async () => {
    await using directory = await tempDirectory();
    const real = fixture(name);
    const used = { ...usageWith(directory, real), ...readNetUsage(real.pid, directory.at('proc')) };
    const facts = factsOf(real.files, real.pid);
    assertBetween(facts, { timestamp: 0, ...statisticsOf(used) }, facts);
    assert.deepEqual(
      [used.cpusLimit, used.memLimitBytes, used.memSoftLimitBytes, used.processes, used.threads],
      [0.5, 64 * MB, 64 * MB, 2, 2],
    );
    // Those that may well be 0 while nothing is wrong with them are not among these.
    for (const counter of ['cpusUserTimeSecs', 'memTotalBytes', 'memRssBytes', 'netTxPackets'] as const)
      assert.ok((used[counter] ?? 0) > 0, counter);
  });
}

for (const [version, quota, weight, cpus] of [
  ['v1', { 'cpu.cfs_quota_us': '250000\n' }, { 'cpu.cfs_quota_us': '-1\n', 'cpu.shares': '512\n' }, 0.5],
  [
    'v2',
    { 'cpu.max': '250000 100000\n' },
    { 'cpu.max': 'max 100000\n', 'cpu.weight': '20\n' },
    cpusOfWeight(20),
  ],
] as const) {
  test(`${version}: a quota goes before the shares`, async () => {
    await using directory = await tempDirectory();
    const real = fixture(`${version}-systemd`);
    assert.equal(usageWith(directory, real, quota).cpusLimit, 2.5);
    assert.equal(usageWith(directory, real, weight).cpusLimit, cpus);
  });

  test(`${version}: what is no count is absent, and the answer can be written`, async () => {
    await using directory = await tempDirectory();
    const real = fixture(`${version}-systemd`);
    const used = usageWith(directory, real, {
      // A counter that has passed below 0, and periods of a millisecond for two months.
      ...{ 'memory.usage_in_bytes': '18446744073709551615\n', 'memory.current': '18446744073709551615\n' },
      ...{ 'memory.stat': 'total_rss -1\nanon -1\ntotal_cache 0x10\nfile 1.5\n' },
      ...{
        'cpu.stat': 'nr_periods 5000000000\nnr_throttled 1\n',
        'cpu.max': 'x 100000\n',
        'cpu.weight': '0\n',
      },
      ...{ 'cpu.cfs_quota_us': 'x\n', 'cpu.shares': 'x\n' },
    });
    assert.deepEqual(
      [used.memTotalBytes, used.memRssBytes, used.memFileBytes, used.cpusLimit],
      [undefined, undefined, undefined, undefined],
    );
    const told = decode(
      ResourceStatistics,
      encodeResourceStatistics({ timestamp: 0, ...statisticsOf(used) }),
    );
    assert.equal(told.cpus_nr_periods, 2 ** 32 - 1);
  });

  test(`${version}: no limit is none, not the largest number`, async () => {
    await using directory = await tempDirectory();
    const none = {
      ...{ 'memory.limit_in_bytes': '9223372036854771712\n', 'memory.max': 'max\n' },
      ...{ 'memory.soft_limit_in_bytes': '9223372036854771712\n', 'memory.low': '0\n' },
    };
    const { memLimitBytes, memSoftLimitBytes, memTotalBytes } = usageWith(
      directory,
      fixture(`${version}-systemd`),
      none,
    );
    assert.deepEqual([memLimitBytes, memSoftLimitBytes], [undefined, undefined]);
    assert.ok((memTotalBytes ?? 0) > 0);
  });
}

test('weights map back to the shares that they were made from, within the weight they cannot tell apart', () => {
  for (const shares of [2, 102, 512, 1024, 2048, 262_144]) {
    const weight = Math.floor(1 + ((shares - 2) * 9999) / 262_142);
    assert.ok(Math.abs(cpusOfWeight(weight) * 1024 - shares) <= 27, `${shares} shares`);
  }
});

test('a process that has gone, or that is in the cgroup of the host, is an error', async () => {
  await using directory = await tempDirectory();
  const real = fixture('v1-systemd');
  layOut(directory, {
    ...real.files,
    'proc/8/cgroup': '4:memory:/\n2:cpuacct,cpu:/\n',
    'proc/9/cgroup': '0::/\n',
  });
  for (const pid of [2, 8, 9]) {
    assert.throws(
      () => readUsage({ pid }, directory.at('proc'), directory.at('cg')),
      (error) => isFault(error, 'not-found'),
      String(pid),
    );
  }
});

test('a pid is a container’s if a cgroup of its is called after it, whatever the driver', async () => {
  await using directory = await tempDirectory();
  layOut(directory, {
    'proc/7/cgroup': '4:memory:/docker/abc\n2:cpuacct,cpu:/docker/abc\n0::/\n',
    'proc/8/cgroup': '0::/system.slice/docker-abc.scope\n',
    'proc/9/cgroup': '0::/user.slice\n',
  });
  const found = [7, 8, 9, 10].map((pid) => isInCgroupNamed(pid, 'abc', directory.at('proc')));
  assert.deepEqual(found, [true, true, false, false]);
});

for (const name of ['v1-cgroupfs', 'v2-systemd']) {
  test(`${name}: processes and threads are counted in the cgroup and in those below it`, async () => {
    await using directory = await tempDirectory();
    const real = fixture(name);
    const lists = Object.keys(real.files).filter((path) =>
      /cgroup\.procs$|tasks$|cgroup\.threads$/.test(path),
    );
    const below = (nested: string, text: string) =>
      layOut(
        directory,
        Object.fromEntries(lists.map((path) => [`${dirname(path)}/${nested}/${basename(path)}`, text])),
      );
    const counts = () => {
      const { processes, threads } = readUsage(
        { pid: real.pid, name: real.dockerId },
        directory.at('proc'),
        directory.at('cg'),
      );
      return [processes, threads];
    };
    usageWith(directory, real);
    assert.deepEqual(counts(), [2, 2]);
    below('a', '7\n8\n12\n');
    below('a/b', '9\n');
    assert.deepEqual(counts(), [6, 6]);
    // More than a call of every second can count: none rather than too few.
    below('.', '1234567\n'.repeat(140_000));
    assert.deepEqual(counts(), [undefined, undefined]);
  });

  test(`${name}: a cgroup that the init has gone to is looked away from, another's is an error`, async () => {
    await using directory = await tempDirectory();
    const real = fixture(name);
    const own = usageWith(directory, real);
    const text = real.files[`proc/${real.pid}/cgroup`] ?? '';
    const usageIn = (cgroup: string) => usageWith(directory, real, { cgroup });
    assert.deepEqual(usageIn(text.replaceAll('\n', '/init.scope\n')), own);
    for (const path of ['/', '/system.slice/sshd.service', '/docker/other'])
      assert.throws(
        () => usageIn(text.replace(/:\/.*$/gm, `:${path}`)),
        (error) => isFault(error, 'not-found'),
        path,
      );
  });
}

test('kills for memory are counted in the container’s own cgroup, wherever its init has gone below it', async () => {
  await using directory = await tempDirectory();
  layOut(directory, {
    'proc/7/cgroup': '4:memory:/docker/abc/init.scope\n0::/\n',
    'proc/8/cgroup': '0::/system.slice/docker-abc.scope/init.scope\n',
    'proc/9/cgroup': '4:memory:/\n0::/\n',
    'proc/10/cgroup': '4:memory:/docker/other\n',
    'cg/memory/docker/abc/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n',
    'cg/system.slice/docker-abc.scope/memory.events': 'low 0\noom 1\noom_kill 1\n',
  });
  const fileOf = (pid: number) =>
    oomKillsFile({ pid, name: 'abc' }, directory.at('proc'), directory.at('cg'));
  assert.deepEqual(
    [7, 8].map((pid) => readOomKills(fileOf(pid) ?? '')),
    [2, 1],
  );
  // The host's own, another container's, and of a process that is not there.
  assert.deepEqual([9, 10, 11].map(fileOf), [undefined, undefined, undefined]);
  assert.equal(readOomKills(directory.at('cg/memory/docker/gone/memory.oom_control')), undefined);
});

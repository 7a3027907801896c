// A container's network counters out of /proc/<pid>/net/dev, and none at all where that shows a network that others have too.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { linkSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { readNetUsage } from '../../../src/host/net-counters.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';
import { until } from '../../support/until.ts';

const HEAD = [
  'Inter-|   Receive                                                |  Transmit',
  ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed',
];
const LO = '    lo:  900 90 9 9 0 0 0 0  900 90 9 9 0 0 0 0';
const ETH0 = '  eth0: 1000 10 1 2 3 3 3 3 2000 20 4 5 6 6 6 6';
/** A wide number leaves no blank behind the colon. */
const ETH1 = 'eth1:18446744073709 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0';
const NOTHING = {
  ...{ netRxBytes: 0, netRxPackets: 0, netRxErrors: 0, netRxDropped: 0 },
  ...{ netTxBytes: 0, netTxPackets: 0, netTxErrors: 0, netTxDropped: 0 },
};

/** Three networks: that of the host's init, ours, and that of process 7 with these interfaces. */
function networks(directory: TempDirectory, interfaces: readonly string[]): void {
  for (const name of ['1', 'self', '7']) {
    mkdirSync(directory.at(name, 'net'), { recursive: true });
    writeFileSync(directory.at(name, 'net/dev'), `${[...HEAD, ...interfaces].join('\n')}\n`);
  }
}

test('all interfaces but lo are summed up', async () => {
  await using directory = await tempDirectory();
  networks(directory, [LO, ETH0, ETH1]);
  assert.deepEqual(readNetUsage(7, directory.path), {
    ...{ netRxBytes: 18446744074709, netRxPackets: 11, netRxErrors: 1, netRxDropped: 2 },
    ...{ netTxBytes: 2005, netTxPackets: 21, netTxErrors: 4, netTxDropped: 5 },
  });
});

test('a column that is no count adds nothing', async () => {
  await using directory = await tempDirectory();
  networks(directory, [ETH0, '  eth1: x -1 1.5 0 0 0 0 0 0 18446744073709551615 0 0 0 0 0 0']);
  const { netRxBytes, netRxPackets, netTxPackets } = readNetUsage(7, directory.path);
  assert.deepEqual([netRxBytes, netRxPackets, netTxPackets], [1000, 10, 20]);
});

test('a network of its own with nothing but lo has had no traffic', async () => {
  await using directory = await tempDirectory();
  networks(directory, [LO]);
  assert.deepEqual(readNetUsage(7, directory.path), NOTHING);
});

for (const owner of ['1', 'self']) {
  test(`the network of process ${owner} gives no numbers, though another process has it too`, async () => {
    await using directory = await tempDirectory();
    networks(directory, [LO, ETH0]);
    rmSync(directory.at('7/net/dev'));
    linkSync(directory.at(owner, 'net/dev'), directory.at('7/net/dev'));
    assert.deepEqual(readNetUsage(7, directory.path), {});
  });
}

test('where a network cannot be told from the host’s there are no numbers', async () => {
  await using directory = await tempDirectory();
  networks(directory, [LO, ETH0]);
  rmSync(directory.at('1'), { recursive: true });
  assert.deepEqual(readNetUsage(7, directory.path), {});
});

test('a process that ends has its counters whole or has gone, at whatever moment', {
  timeout: 60_000,
}, async () => {
  for (let i = 0; i < 100; i++) {
    const child = spawn('unshare', ['--net', 'sleep', '1000'], { stdio: 'ignore' });
    const gone = once(child, 'exit');
    const pid = child.pid ?? assert.fail('nothing started');
    await until('it has a network of its own', () => Object.keys(readNetUsage(pid)).length > 0);
    child.kill('SIGKILL');
    assert.throws(
      () => {
        for (;;) assert.deepEqual(readNetUsage(pid), NOTHING);
      },
      { kind: 'not-found' },
    );
    await gone;
  }
});

// What the kernel says in files: counters, limits, processes, sockets. The readers get files as they come from no kernel; what
// they give fits the record that a slave is answered with, and is never the number of something else.

import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { statisticsOf } from '../../src/commands/usage.ts';
import { isInCgroupNamed, oomKillsFile, readOomKills, readUsage } from '../../src/host/cgroups.ts';
import { tellsKillForMemory } from '../../src/host/kernel-log.ts';
import { readNetUsage } from '../../src/host/net-counters.ts';
import { limitIn } from '../../src/host/open-files.ts';
import { parseIdentity, parseStat } from '../../src/host/processes.ts';
import { addressIn } from '../../src/host/tcp-ports.ts';
import { encodeResourceStatistics } from '../../src/mesos/task-view.ts';
import type { Random } from '../engine/random.ts';
import { scratchDirectory } from '../engine/scratch.ts';
import { attempt, type Target } from '../engine/target.ts';

const PID = 4711;
const ID = '0123456789abcdef'.repeat(4);
const V1 = `/docker/${ID}`;
const V2 = `/system.slice/docker-${ID}.scope`;
const BETWEEN = '\x1e';

/** In the order in which an input has them. */
const FILES_V1 = [
  ...[
    'cpuacct/cpuacct.stat',
    'cpu/cpu.cfs_quota_us',
    'cpu/cpu.cfs_period_us',
    'cpu/cpu.shares',
    'cpu/cpu.stat',
  ],
  ...[
    'memory/memory.stat',
    'memory/memory.usage_in_bytes',
    'memory/memory.limit_in_bytes',
    'memory/memory.soft_limit_in_bytes',
  ],
  ...['memory/memory.oom_control', 'memory/cgroup.procs', 'memory/tasks'],
].map((name) => `mount/${name.replace('/', `${V1}/`)}`);
const FILES_V2 = [
  ...[
    'cpu.stat',
    'cpu.max',
    'cpu.weight',
    'memory.stat',
    'memory.current',
    'memory.swap.current',
    'memory.max',
    'memory.low',
  ],
  ...['memory.events', 'cgroup.procs', 'cgroup.threads'],
].map((name) => `mount${V2}/${name}`);
const TEXTS_V1 = [
  ...[
    'user 12\nsystem 3\n',
    '-1\n',
    '100000\n',
    '1024\n',
    'nr_periods 5\nnr_throttled 1\nthrottled_time 7\n',
  ],
  ...[
    'total_rss 4096\ntotal_cache 8192\ntotal_swap 0\n',
    '12288\n',
    '9223372036854771712\n',
    '9223372036854771712\n',
  ],
  ...['oom_kill_disable 0\nunder_oom 0\noom_kill 1\n', '4711\n4712\n', '4711\n4712\n4713\n'],
];
const TEXTS_V2 = [
  ...[
    'usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 0\n',
    '50000 100000\n',
    '100\n',
    'anon 4096\nfile 8192\n',
  ],
  ...['12288\n', '0\n', 'max\n', '0\n', 'low 0\noom_kill 2\n', '4711\n', '4711\n4712\n'],
];
const NET =
  'Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop\n' +
  '    lo:  10 1 0 0 0 0 0 0 10 1 0 0 0 0 0 0\n  eth0: 100 2 0 0 0 0 0 0 200 3 0 0 0 0 0 0\n';
const STAT = '4711 (sh) S 1 4711 4711 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1 1\n';
const TCP =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n' +
  '   0: 0100007F:13BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0 100 0 0 10 0\n';
const LIMITS =
  'Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 4096                 files\n';
const KMSG = `6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=${V1},task=sh,pid=1,uid=0`;

interface Place {
  readonly path: string;
  readonly fd: number;
}

/** The first byte: version 1 or 2. Then the texts of the files, one after the other. */
export function target(): Target {
  const directory = scratchDirectory();
  const place = (name: string): Place => {
    const path = `${directory}/${name}`;
    mkdirSync(dirname(path), { recursive: true });
    return { path, fd: openSync(path, 'w', 0o600) };
  };
  // Of the host's init and of us: other networks than the container's.
  const others = ['proc/1/net/dev', 'proc/self/net/dev'].map(place);
  const net = place(`proc/${PID}/net/dev`);
  const versions = [FILES_V1, FILES_V2].map((names, at) => {
    const proc = place(`proc${at + 1}/${PID}/cgroup`);
    return { proc, files: names.map(place), procRoot: `${directory}/proc${at + 1}` };
  });
  return {
    dictionary: [
      BETWEEN,
      ...[
        V1,
        V2,
        ID,
        ' ',
        '\n',
        ':',
        '-1',
        'max',
        '18446744073709551615',
        '4294967296',
        '1e400',
        '0x10',
        '1.5',
        'NaN',
        ') R ',
      ],
      ...[
        'nr_periods ',
        'total_rss ',
        'anon ',
        '  eth1:',
        '10:memory:/',
        '0::/',
        '1:cpu,cpuacct:/',
        '0A ',
        'Max open files   ',
      ],
    ],
    make: (random) => madeFiles(random),
    run(input) {
      const version = versions[(input[0] ?? 0) % 2];
      if (version === undefined) return;
      const [cgroup = '', netText = '', stat = '', tcp = '', limits = '', kmsg = '', ...texts] = input
        .toString('latin1', 1)
        .split(BETWEEN);
      // A path has no NUL, not even the kernel's.
      write(version.proc, cgroup.replaceAll('\0', ''));
      write(net, netText);
      for (const [at, file] of version.files.entries()) write(file, texts[at] ?? '');
      const init = { pid: PID, name: ID };
      const mount = `${directory}/mount`;
      const usage = attempt(['not-found'], () => readUsage(init, version.procRoot, mount));
      const network = attempt(['not-found'], () => readNetUsage(PID, `${directory}/proc`));
      if (usage.value !== undefined && network.value !== undefined) {
        const used = { ...usage.value, ...network.value };
        for (const [name, value] of Object.entries(used))
          assert.ok(Number.isFinite(value) && value >= 0, `${name} is ${value}`);
        encodeResourceStatistics({ timestamp: 0, ...statisticsOf(used) });
      }
      if (usage.value !== undefined)
        assert.ok(isInCgroupNamed(PID, ID, version.procRoot), "another container's cgroup");
      const kills = oomKillsFile(init, version.procRoot, mount);
      if (kills !== undefined) {
        const count = readOomKills(kills);
        assert.ok(count === undefined || (Number.isSafeInteger(count) && count >= 0), `${count} kills`);
      }
      checkProcess(stat);
      checkSocket(tcp);
      assert.ok(limitIn(limits) >= 0);
      if (tellsKillForMemory(kmsg, ID)) assert.ok(kmsg.includes(ID));
    },
    close() {
      for (const { fd } of [...others, net, ...versions.flatMap(({ proc, files }) => [proc, ...files])])
        closeSync(fd);
      rmSync(directory, { recursive: true });
    },
  };
}

function madeFiles(random: Random): Buffer {
  const at = random.below(2);
  const cgroup =
    at === 0
      ? `11:memory:${V1}\n4:cpu,cpuacct:${V1}\n0::/\n`
      : `0::${V2}${random.oneIn(4) ? '/init.scope' : ''}\n`;
  const texts = [cgroup, NET, STAT, TCP, LIMITS, KMSG, ...(at === 0 ? TEXTS_V1 : TEXTS_V2)];
  // A number here and there is another one.
  const changed = texts.map((text) => (random.oneIn(6) ? text.replace(/\d+/, String(random.edge())) : text));
  return Buffer.concat([Buffer.of(at), Buffer.from(changed.join(BETWEEN), 'latin1')]);
}

function write({ fd }: Place, text: string): void {
  ftruncateSync(fd, 0);
  writeSync(fd, text, 0, 'latin1');
}

function checkProcess(text: string): void {
  const stat = parseStat(text);
  if (stat !== undefined) {
    for (const number of [stat.parent, stat.group, stat.session, stat.startTime])
      assert.ok(Number.isSafeInteger(number), `no number of a process: ${number}`);
  }
  const identity = parseIdentity(text);
  if (identity !== undefined)
    assert.equal(`${identity.pid}:${identity.startTime}`, text.replace(/(^|:)0+(?=\d)/g, '$1'));
}

function checkSocket(table: string): void {
  const address = addressIn(table, 5051, new Set(['777']));
  if (address === undefined) return;
  const octets = address.split('.').map(Number);
  assert.ok(
    octets.length === 4 && octets.every((octet) => Number.isInteger(octet) && octet >= 0 && octet <= 255),
    `no address: ${address}`,
  );
}

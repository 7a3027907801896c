// `update` by the contract's rules, held against the kernel's own files: on a running container, before it runs and after
// its end, twice at once, while Docker or the supervisor is away. It answers 0 each time, and what it asked for comes.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { decode, encode } from '../../src/mesos/codec.ts';
import { ResourceStatistics, Update, ValueType } from '../../src/mesos/messages.ts';
import { containersOf, inspectTask } from '../support/docker-facts.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { assertContent, testOn } from '../support/on-host.ts';
import { signalPid } from '../support/proc.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, executorTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const MB = 1024 * 1024;
const LONG_MS = 90_000;
/** How long `update` tries to have a change made before it returns. */
const UPDATE_BOUND_MS = 5_000;

interface Wanted {
  readonly cpus?: number;
  readonly mem?: number;
}

/** A container's limits as the kernel has them: shares, MB. `swap`: memory and swap together. */
interface Limits {
  readonly shares: number;
  readonly hard: number;
  readonly soft: number;
  readonly swap: number;
  /** µs of each 100 ms; -1: none. */
  readonly quota: number;
}

/** What `usage` tells of them. */
interface Told {
  readonly cpus: number;
  readonly hard: number;
  readonly soft: number;
}

/** Read from cgroups of version 1, under the cgroup parent of that dockerd. */
function limitsOf(dockerd: Dockerd, dockerId: string): Limits {
  const number = (controller: string, file: string): number =>
    Number(readFileSync(`/sys/fs/cgroup/${controller}${dockerd.cgroupParent}/${dockerId}/${file}`, 'utf8'));
  return {
    shares: number('cpu', 'cpu.shares'),
    hard: number('memory', 'memory.limit_in_bytes') / MB,
    soft: number('memory', 'memory.soft_limit_in_bytes') / MB,
    swap: number('memory', 'memory.memsw.limit_in_bytes') / MB,
    quota: number('cpu', 'cpu.cfs_quota_us'),
  };
}

function recordOf(containerId: string, { cpus, mem }: Wanted): Uint8Array {
  const scalar = (name: string, value: number | undefined) =>
    value === undefined ? [] : [{ name, type: ValueType.SCALAR, scalar: { value }, role: '*' }];
  return encode(Update, {
    container_id: { value: containerId },
    resources: [...scalar('cpus', cpus), ...scalar('mem', mem)],
  });
}

async function update(slave: StandInSlave, containerId: string, wanted: Wanted): Promise<void> {
  assert.equal((await slave.call('update', recordOf(containerId, wanted))).code, 0);
}

const UNTIL_GATE = { value: `${AT_GATE}; exit 5`, image: IMAGES.busybox };

const idOf = async (host: Host, task: LaunchedTask): Promise<string> => {
  await until('it runs', () => existsSync(`${host.root}/mesos/${task.containerId}/init`), {
    timeoutMs: LONG_MS,
  });
  return (await inspectTask(host.dockerd, task)).Id;
};

async function assertEnds(task: LaunchedTask): Promise<void> {
  openGate(task);
  assert.equal((await task.gone(LONG_MS))?.status, 5 << 8);
}

describe('update', { skip: await skipWithoutTools(), concurrency: 4, timeout: 200_000 }, () => {
  const hosts = new Map<string, Host>();
  let dockerd: Dockerd;
  before(async () => {
    dockerd = await startDockerd();
    for (const limits of ['', 'swap: false', 'cfs: true'])
      hosts.set(limits, await startHost({ dockerd, configuration: `[containers.limits]\n${limits}` }));
  });
  after(async () => {
    try {
      for (const host of hosts.values()) assert.deepEqual(await host.leftovers(), []);
    } finally {
      for (const host of hosts.values()) await host[Symbol.asyncDispose]();
      await dockerd.stop();
    }
  });
  const on = (limits: string, name: string, body: (host: Host, slave: StandInSlave) => Promise<void>) =>
    testOn(
      () => hosts.get(limits) ?? assert.fail(),
      name,
      async (host) => {
        const slave = await host.slave();
        await body(host, slave);
        assertContent(slave);
      },
    );

  const STEPS: readonly (readonly [what: string, wanted: Wanted, limits: Limits])[] = [
    ['raised', { cpus: 2, mem: 128 }, { shares: 2048, hard: 128, soft: 128, swap: 256, quota: -1 }],
    ['asked for again', { cpus: 2, mem: 128 }, { shares: 2048, hard: 128, soft: 128, swap: 256, quota: -1 }],
    [
      'lowered: the hard one stays',
      { cpus: 0.5, mem: 48 },
      { shares: 512, hard: 128, soft: 48, swap: 256, quota: -1 },
    ],
    ['without a word', {}, { shares: 512, hard: 128, soft: 48, swap: 256, quota: -1 }],
    ['cpus alone', { cpus: 1 }, { shares: 1024, hard: 128, soft: 48, swap: 256, quota: -1 }],
    ['mem alone', { mem: 96 }, { shares: 1024, hard: 128, soft: 96, swap: 256, quota: -1 }],
    ['raised beyond', { cpus: 1, mem: 160 }, { shares: 1024, hard: 160, soft: 160, swap: 320, quota: -1 }],
  ];
  on(
    '',
    'follows what the slave asks for, step by step, the hard limit upwards only',
    async (host, slave) => {
      const task = await slave.launch(executorTask({ ...UNTIL_GATE, cpus: 0.5, mem: 64 }));
      const id = await idOf(host, task);
      assert.deepEqual(limitsOf(dockerd, id), { shares: 512, hard: 64, soft: 64, swap: 128, quota: -1 });
      for (const [what, wanted, limits] of STEPS) {
        await update(slave, task.containerId, wanted);
        assert.deepEqual(limitsOf(dockerd, id), limits, what);
      }
      await assertEnds(task);
    },
  );

  on('swap: false', 'leaves no room for swap where there is to be none', async (host, slave) => {
    const task = await slave.launch(executorTask({ ...UNTIL_GATE, cpus: 0.5, mem: 64 }));
    const id = await idOf(host, task);
    assert.deepEqual(limitsOf(dockerd, id), { shares: 512, hard: 64, soft: 64, swap: 64, quota: -1 });
    await update(slave, task.containerId, { cpus: 0.5, mem: 100 });
    assert.deepEqual(limitsOf(dockerd, id), { shares: 512, hard: 100, soft: 100, swap: 100, quota: -1 });
    await update(slave, task.containerId, { cpus: 0.5, mem: 32 });
    assert.deepEqual(limitsOf(dockerd, id), { shares: 512, hard: 100, soft: 32, swap: 100, quota: -1 });
    await assertEnds(task);
  });

  on('cfs: true', 'sets the quota with the shares, up and down', async (host, slave) => {
    const task = await slave.launch(executorTask({ ...UNTIL_GATE, cpus: 0.5, mem: 64 }));
    const id = await idOf(host, task);
    for (const [cpus, shares, quota] of [
      [0.5, 512, 50_000],
      [1.5, 1536, 150_000],
      [0.25, 256, 25_000],
    ] as const) {
      await update(slave, task.containerId, { cpus });
      assert.deepEqual(limitsOf(dockerd, id), { shares, hard: 64, soft: 64, swap: 128, quota });
    }
    await assertEnds(task);
  });

  on(
    '',
    'of a command task passes over the allowance for an executor, and nothing beyond it',
    async (host, slave) => {
      const task = await slave.launch(commandTask({ ...UNTIL_GATE, cpus: 0.5, mem: 64 }));
      const id = await idOf(host, task);
      const own = { shares: 512, hard: 64, soft: 64, swap: 128, quota: -1 };
      // The slave itself has asked for task and allowance when its executor registered.
      await until('its own update', () => task.calls('update').some(({ end }) => end?.code === 0));
      assert.deepEqual(limitsOf(dockerd, id), own);
      for (const wanted of [{ cpus: 0.6, mem: 96 }, { cpus: 0.1, mem: 32 }, { cpus: 0.5, mem: 64 }, {}]) {
        await update(slave, task.containerId, wanted);
        assert.deepEqual(limitsOf(dockerd, id), own);
      }
      await update(slave, task.containerId, { cpus: 1.1, mem: 160 });
      assert.deepEqual(limitsOf(dockerd, id), { shares: 1024, hard: 128, soft: 128, swap: 256, quota: -1 });
      await assertEnds(task);
    },
  );

  on('', 'twice at once: both are answered, one of them is in force, whole', async (host, slave) => {
    const task = await slave.launch(executorTask({ ...UNTIL_GATE, cpus: 0.5, mem: 64 }));
    const id = await idOf(host, task);
    for (const [a, b] of [
      [1, 2],
      [3, 1],
      [1, 4],
    ] as const) {
      const both = [a, b].map((n) => ({ cpus: n, mem: 64 + n }));
      await Promise.all(both.map(async (wanted) => await update(slave, task.containerId, wanted)));
      const { shares, soft } = limitsOf(dockerd, id);
      assert.ok(
        both.some(({ cpus, mem }) => shares === cpus * 1024 && soft === mem),
        `${shares} ${soft}`,
      );
    }
    await assertEnds(task);
  });

  on('', 'twice at once, each of another part: both parts are in force', async (host, slave) => {
    const task = await slave.launch(executorTask({ ...UNTIL_GATE, cpus: 0.5, mem: 64 }));
    const id = await idOf(host, task);
    for (const n of [1, 2, 3, 4, 5]) {
      const parts = [{ cpus: n }, { mem: 64 + n }];
      await Promise.all(parts.map(async (wanted) => await update(slave, task.containerId, wanted)));
      const { shares, soft } = limitsOf(dockerd, id);
      assert.deepEqual({ shares, soft }, { shares: n * 1024, soft: 64 + n });
    }
    await assertEnds(task);
  });

  on('', 'of one that has ended, is gone, or was never there does nothing', async (host, slave) => {
    const task = await slave.launch(executorTask(UNTIL_GATE));
    await idOf(host, task);
    await assertEnds(task);
    await update(slave, task.containerId, { cpus: 1, mem: 64 });
    await until('it is removed', async () => (await containersOf(dockerd, task)).length === 0);
    await update(slave, task.containerId, { cpus: 1, mem: 64 });
    await update(slave, 'nobody-knows-it', { cpus: 1, mem: 64 });
    assert.ok(!existsSync(`${host.root}/mesos/${task.containerId}/limits`));
    assert.ok(!existsSync(`${host.root}/mesos/nobody-knows-it`));
  });
});

// One after the other: what happens to dockerd or the supervisor happens to all tasks.
describe('update with something missing', { skip: await skipWithoutTools(), timeout: 200_000 }, () => {
  let dockerd: Dockerd;
  let host: Host;
  let slave: StandInSlave;
  before(async () => {
    dockerd = await startDockerd({ liveRestore: true });
    host = await startHost({ dockerd });
    slave = await host.slave();
  });
  after(async () => {
    try {
      assertContent(slave);
      assert.deepEqual(await host.leftovers(), []);
    } finally {
      await host[Symbol.asyncDispose]();
      await dockerd.stop();
    }
  });
  const inForce = async (id: string, expected: Limits): Promise<void> => {
    // runc writes one file after another; whatever it leaves in the end is shown.
    const isInForce = (): boolean => isDeepStrictEqual(limitsOf(dockerd, id), expected);
    await until('the limits in force', isInForce, { timeoutMs: LONG_MS }).catch(() => {});
    assert.deepEqual(limitsOf(dockerd, id), expected);
  };
  const told = async (task: LaunchedTask): Promise<Told> => {
    const answer = decode(ResourceStatistics, (await slave.usage(task)) ?? assert.fail('usage fails'));
    const { cpus_limit, mem_limit_bytes = 0, mem_soft_limit_bytes = 0 } = answer;
    return { cpus: cpus_limit ?? 0, hard: mem_limit_bytes / MB, soft: mem_soft_limit_bytes / MB };
  };
  const RAISED = { shares: 2048, hard: 128, soft: 128, swap: 256, quota: -1 };

  it('the container: it has the limits when it comes', async () => {
    dockerd.freeze();
    let task: LaunchedTask;
    try {
      task = await slave.launch(executorTask({ ...UNTIL_GATE, cpus: 0.5, mem: 64 }));
      await until('accepted', () => existsSync(`${host.root}/mesos/${task.containerId}/accepted`));
      // Each names a part only.
      await update(slave, task.containerId, { cpus: 2 });
      await update(slave, task.containerId, { mem: 128 });
      assert.deepEqual(await told(task), { cpus: 2, hard: 128, soft: 128 }, 'usage tells it before');
    } finally {
      dockerd.thaw();
    }
    const id = await idOf(host, task);
    await inForce(id, RAISED);
    assert.deepEqual(await told(task), { cpus: 2, hard: 128, soft: 128 });
    await assertEnds(task);
  });

  const LEAST = { cpus: 2 / 1024, hard: 32, soft: 32 };
  const BEFORE: readonly (readonly [what: string, options: TaskOptions, asked: Wanted[], expected: Told])[] =
    [
      ['none of either: the least there is', { cpus: 0, mem: 0 }, [], LEAST],
      [
        'an update that lowers: the hard limit stays',
        { cpus: 1, mem: 64 },
        [{ cpus: 0, mem: 0 }],
        { ...LEAST, hard: 64 },
      ],
    ];
  for (const [what, options, asked, expected] of BEFORE) {
    it(`the container: usage tells before what it has when it comes, ${what}`, async () => {
      dockerd.freeze();
      let task: LaunchedTask;
      try {
        task = await slave.launch(executorTask({ ...UNTIL_GATE, ...options }));
        await until('accepted', () => existsSync(`${host.root}/mesos/${task.containerId}/accepted`));
        for (const wanted of asked) await update(slave, task.containerId, wanted);
        assert.deepEqual(await told(task), expected);
      } finally {
        dockerd.thaw();
      }
      const { hard, soft, cpus } = expected;
      await inForce(await idOf(host, task), { shares: cpus * 1024, hard, soft, swap: 2 * hard, quota: -1 });
      assert.deepEqual(await told(task), expected);
      await assertEnds(task);
    });
  }

  it('Docker: it answers when its bound is over, and the limits come with Docker', async () => {
    const task = await slave.launch(executorTask({ ...UNTIL_GATE, cpus: 0.5, mem: 64 }));
    const id = await idOf(host, task);
    await dockerd.kill();
    const askedAt = Date.now();
    await update(slave, task.containerId, { cpus: 1, mem: 100 });
    assert.ok(Date.now() - askedAt >= UPDATE_BOUND_MS - 100, 'it was tried');
    await update(slave, task.containerId, { cpus: 2, mem: 128 });
    assert.equal(limitsOf(dockerd, id).soft, 64);
    await dockerd.start();
    await inForce(id, RAISED);
    await assertEnds(task);
  });

  it('the supervisor: the next one is started for it', async () => {
    const task = await slave.launch(executorTask({ ...UNTIL_GATE, cpus: 0.5, mem: 64 }));
    const id = await idOf(host, task);
    await host.killSupervisor();
    await update(slave, task.containerId, { cpus: 2, mem: 128 });
    await inForce(id, RAISED);
    await assertEnds(task);
  });

  it('the supervisor, which dies before it could do it: the next one does', async () => {
    const task = await slave.launch(executorTask({ ...UNTIL_GATE, cpus: 0.5, mem: 64 }));
    const id = await idOf(host, task);
    signalPid(host.supervisor() ?? assert.fail(), 'SIGSTOP');
    await update(slave, task.containerId, { cpus: 2, mem: 128 });
    assert.equal(limitsOf(dockerd, id).soft, 64);
    await host.killSupervisor();
    await inForce(id, RAISED);
    await assertEnds(task);
  });
});

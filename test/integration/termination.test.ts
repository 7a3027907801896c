// How a container came to its end, as `wait` says it to slaves of either wire and as the framework is told: by itself, by
// the kernel, by an operator past us, or with Docker or the host. Nothing that others ended ever looks like success.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { Engine } from '../../src/docker/engine.ts';
import { Reason, TaskState } from '../../src/mesos/messages.ts';
import { inspectTask } from '../support/docker-facts.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { assertContent, testOn } from '../support/on-host.ts';
import { isAlive, signalPid } from '../support/proc.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import type { MesosVersion } from '../support/slave-protocol.ts';
import { commandTask, executorTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const LONG_MS = 90_000;
const { FINISHED, FAILED, KILLED, LOST } = TaskState;
const KINDS = ['command', 'executor'] as const;
type Kind = (typeof KINDS)[number];
/** The last before the Termination had states, and the last of all. */
const WIRES: readonly MesosVersion[] = ['0.22.2', '1.0.4'];
const OBEDIENT = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done";
const DEAF = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
const AT_GATE_THEN = (then: string): string => `echo ready; ${AT_GATE}; ${then}`;
const BY_SOMEBODY = 'Ended by somebody else through Docker (docker stop, docker kill); the container';
const WITH_DOCKER = 'Ended while Docker was stopped or restarted, which ends its containers; the container';

interface End {
  readonly state: number;
  readonly message: string;
  readonly status?: number;
  readonly killed?: boolean;
  readonly reasons?: readonly number[];
  /** Somebody else ended it: then the state of an executor's end is told as well. */
  readonly outside?: boolean;
}

async function launch(slave: StandInSlave, kind: Kind, options: TaskOptions): Promise<LaunchedTask> {
  const task = kind === 'command' ? commandTask : executorTask;
  return await slave.launch(task({ image: IMAGES.busybox, ...options }));
}

const says = async (task: LaunchedTask, text: string) =>
  await until(`the task says ${text}`, async () => (await sandboxFile(task, 'stdout')).includes(text), {
    timeoutMs: LONG_MS,
  });

/** What `wait` answered, and what the framework saw last. */
async function assertEnd(task: LaunchedTask, kind: Kind, version: MesosVersion, end: End): Promise<void> {
  const last = await task.ended(LONG_MS);
  const termination = await task.gone(LONG_MS);
  const { message, killed = false, reasons = [], status, outside = false } = end;
  const tells = kind === 'command' || reasons.length > 0 || outside;
  const { containerId } = task;
  assert.deepEqual(termination && { ...termination, receivedAt: 0 }, {
    ...{ containerId, killed, message, status, state: tells ? end.state : undefined, reasons, receivedAt: 0 },
  });
  // A framework's executor has not reported: the slave does, by what it was told if its version can read that.
  const state = kind === 'command' || (tells && version === '1.0.4') ? end.state : LOST;
  const expected = { state, message, reason: reasons[0], from: kind === 'command' ? 'executor' : 'slave' };
  assert.deepEqual(
    { state: last.state, message: last.message, reason: last.reason, from: last.from },
    expected,
  );
}

/** So much happens that Docker remembers nothing from before. */
async function forgetEvents({ socket }: Dockerd): Promise<void> {
  const engine = new Engine({ kind: 'unix', path: socket });
  const { signal } = new AbortController();
  for (let tag = 0; tag <= 256; tag++)
    await engine.askOnce('tag', 'POST', `/images/${IMAGES.busybox}/tag`, signal, {
      query: { repo: 'forget', tag },
    });
}

interface Row {
  readonly what: string;
  readonly value: string;
  readonly mem?: number;
  /** What is done to it, once it says that it is ready. */
  readonly act?: (dockerd: Dockerd, id: string) => Promise<unknown>;
  readonly end: End;
}

const exceeded = (who: string, how: string): string =>
  `Memory limit exceeded: 40 MB allowed, ${who} by the kernel; the container ${how}`;
const MEMORY = { state: FAILED, killed: true, reasons: [Reason.CONTAINER_LIMITATION_MEMORY] } as const;
const ROWS: readonly Row[] = [
  {
    what: 'by itself, with status 0',
    value: 'exit 0',
    end: { state: FINISHED, message: 'Container exited with status 0', status: 0 },
  },
  {
    what: 'by itself, with another status',
    value: 'exit 3',
    end: { state: FAILED, message: 'Container exited with status 3', status: 3 << 8 },
  },
  {
    what: 'by a signal from inside',
    value: "sh -c 'kill -SEGV $$'; exit $?",
    end: { state: FAILED, message: 'Container was ended by SIGSEGV (status 139)', status: 139 << 8 },
  },
  {
    what: 'since a command was not found',
    value: '/no/such/program',
    end: {
      state: FAILED,
      message: 'Container exited with status 127 (a command was not found)',
      status: 127 << 8,
    },
  },
  {
    what: 'since a command is none',
    value: 'exec /etc/passwd',
    end: {
      state: FAILED,
      message: 'Container exited with status 126 (a command cannot be executed)',
      status: 126 << 8,
    },
  },
  {
    what: 'by its memory limit',
    value: 'exec tail /dev/zero',
    mem: 40,
    end: { ...MEMORY, message: exceeded('killed', 'was ended by SIGKILL (status 137)'), status: 137 << 8 },
  },
  {
    what: 'well, though a child was killed for memory',
    value: 'tail /dev/zero; exit 0',
    mem: 40,
    end: {
      state: FINISHED,
      message:
        'Container exited with status 0 (a process in it was killed by the kernel, memory limit exceeded: 40 MB allowed)',
      status: 0,
    },
  },
  {
    what: 'badly, after a child was killed for memory',
    value: 'tail /dev/zero; exit 3',
    mem: 40,
    end: {
      ...MEMORY,
      message: exceeded('a process in it was killed', 'exited with status 3'),
      status: 3 << 8,
    },
  },
  {
    what: 'by docker kill',
    value: DEAF,
    act: async (dockerd, id) => await dockerd.run(['kill', id]),
    end: {
      state: FAILED,
      message: `${BY_SOMEBODY} was ended by SIGKILL (status 137)`,
      status: 137 << 8,
      outside: true,
    },
  },
  {
    what: 'by docker stop, which it obeys with status 0: no success',
    value: OBEDIENT,
    act: async (dockerd, id) => await dockerd.run(['stop', id]),
    end: { state: FAILED, message: `${BY_SOMEBODY} exited with status 0`, outside: true },
  },
  {
    what: 'by itself, told by a signal that is a word and no end',
    value: "trap 'exit 0' USR1; echo ready; while :; do sleep 0.1; done",
    act: async (dockerd, id) => await dockerd.run(['kill', '--signal', 'USR1', id]),
    end: { state: FINISHED, message: 'Container exited with status 0', status: 0 },
  },
  {
    what: 'by docker rm --force',
    value: DEAF,
    act: async (dockerd, id) => await dockerd.run(['rm', '--force', id]),
    end: { state: LOST, message: 'The container was removed by somebody else while it ran', outside: true },
  },
];

describe('the end of a container', {
  skip: await skipWithoutTools(),
  concurrency: 4,
  timeout: 300_000,
}, () => {
  let shared: Host;
  const slaves = new Map<MesosVersion, StandInSlave>();
  before(async () => {
    shared = await startHost({ configuration: '[containers]\nstop_timeout: 1' });
    for (const version of WIRES) slaves.set(version, await shared.slave({ version }));
  });
  after(async () => {
    try {
      for (const slave of slaves.values()) assertContent(slave);
      assert.deepEqual(await shared.leftovers(), []);
    } finally {
      await shared[Symbol.asyncDispose]();
    }
  });
  const on = (name: string, body: (host: Host) => Promise<void>) => testOn(() => shared, name, body);
  const slaveOf = (version: MesosVersion): StandInSlave => slaves.get(version) ?? assert.fail();

  for (const { what, value, mem, act, end } of ROWS) {
    for (const kind of KINDS) {
      on(`${what}: ${kind} task`, async (host) => {
        await Promise.all(
          WIRES.map(async (version) => {
            const task = await launch(slaveOf(version), kind, {
              value,
              ...(mem === undefined ? {} : { mem }),
            });
            if (act !== undefined) {
              await says(task, 'ready');
              await act(host.dockerd, (await inspectTask(host.dockerd, task)).Id);
            }
            await assertEnd(task, kind, version, end);
          }),
        );
      });
    }
  }

  on('a command that the image does not have is named in words, with what Docker says of it', async () => {
    for (const [program, words] of [
      [
        '/no/such/program',
        /^The container's command, or a file that it needs, was not found: .*exec: "\/no\/such\/program"/,
      ],
      ['/etc/passwd', /^The container's command cannot be executed: .*exec: "\/etc\/passwd"/],
    ] as const) {
      const task = await launch(slaveOf('1.0.4'), 'command', { value: program, shell: false });
      const { message = '', state, reason } = await task.ended(LONG_MS);
      assert.match(message, words);
      assert.deepEqual([state, reason], [FAILED, Reason.CONTAINER_LAUNCH_FAILED]);
      assert.equal((await task.gone(LONG_MS))?.status, undefined);
    }
  });

  for (const kind of KINDS) {
    on(`of a paused one comes when destroy wants it: ${kind} task`, async (host) => {
      const slave = slaveOf('1.0.4');
      const task = await launch(slave, kind, { value: DEAF });
      await says(task, 'ready');
      const { Id } = await inspectTask(host.dockerd, task);
      await host.dockerd.run(['pause', Id]);
      await slave.destroy(task);
      assert.equal(task.calls('destroy')[0]?.end?.code, 0);
      assert.equal((await host.dockerd.outcome(['inspect', Id])).code, 1);
    });
  }

  on('of a paused one comes when its framework wants it', async (host) => {
    const slave = slaveOf('1.0.4');
    const task = await launch(slave, 'command', { value: DEAF });
    await says(task, 'ready');
    await host.dockerd.run(['pause', (await inspectTask(host.dockerd, task)).Id]);
    await slave.killTask(task);
    const message = 'Killed by the framework; the container was ended by SIGKILL (status 137)';
    await assertEnd(task, 'command', '1.0.4', { state: KILLED, message, status: 137 << 8 });
  });
});

// One after the other: what happens to a supervisor, or to a dockerd, happens to all of its tasks.
describe('the end of a container of which nobody heard', {
  skip: await skipWithoutTools(),
  timeout: 400_000,
}, () => {
  const withHost = async (
    options: { readonly liveRestore: boolean },
    body: (host: Host, slave: StandInSlave) => Promise<void>,
  ): Promise<void> => {
    const dockerd = await startDockerd(options);
    try {
      await using host = await startHost({ dockerd });
      const slave = await host.slave({ version: '1.0.4' });
      try {
        await body(host, slave);
      } catch (error) {
        throw new Error(readFileSync(`${host.root}/supervisor/log`, 'utf8').slice(-4_000), { cause: error });
      }
      assertContent(slave);
      assert.deepEqual(await host.leftovers(), []);
    } finally {
      await dockerd.stop();
    }
  };
  const running = async (
    host: Host,
    slave: StandInSlave,
    kind: Kind,
    options: TaskOptions,
  ): Promise<LaunchedTask> => {
    const task = await launch(slave, kind, options);
    await says(task, 'ready');
    // Docker has answered to its start: a daemon that is killed before has forgotten it.
    await initOf(host, task);
    return task;
  };
  /** Its container's init, which the kernel knows under that pid. */
  const initOf = async (host: Host, task: LaunchedTask): Promise<number> =>
    await until('the init is noted', () => {
      const file = `${host.root}/mesos/${task.containerId}/init`;
      return existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { pid: number }).pid;
    });

  it('removed, or ended and removed, while the supervisor did not look, and when the next one looks', async () => {
    await withHost({ liveRestore: false }, async (host, slave) => {
      for (const next of ['the same supervisor', 'another one']) {
        const tasks = new Map<LaunchedTask, { kind: Kind; end: End }>();
        const removed = { state: LOST, message: 'The container was removed by somebody else while it ran' };
        const ended = { state: FAILED, message: 'Container exited with status 5', status: 5 << 8 };
        for (const kind of KINDS) {
          tasks.set(await running(host, slave, kind, { value: DEAF }), {
            kind,
            end: { ...removed, outside: true },
          });
          tasks.set(await running(host, slave, kind, { value: AT_GATE_THEN('exit 5') }), {
            kind,
            end: ended,
          });
        }
        const inits = await Promise.all([...tasks.keys()].map(async (task) => await initOf(host, task)));
        const supervisor = host.supervisor() ?? assert.fail();
        signalPid(supervisor, 'SIGSTOP');
        for (const task of tasks.keys()) {
          const { Id } = await inspectTask(host.dockerd, task);
          if (tasks.get(task)?.end === ended) {
            openGate(task);
            await host.dockerd.run(['wait', Id]);
          }
          await host.dockerd.run(['rm', '--force', Id]);
        }
        assert.ok(!inits.some(isAlive));
        if (next === 'another one') await host.killSupervisor();
        else signalPid(supervisor, 'SIGCONT');
        for (const [task, { kind, end }] of tasks) await assertEnd(task, kind, '1.0.4', end);
      }
    });
  });

  for (const how of ['asked to end', 'killed'] as const) {
    for (const meanwhile of ['', ', and the supervisor killed meanwhile'] as const) {
      it(`dockerd ${how} and started again${meanwhile}: what ended with it is lost, whatever its status`, async () => {
        await withHost({ liveRestore: false }, async (host, slave) => {
          const tasks: readonly (readonly [Kind, LaunchedTask, End])[] = await Promise.all(
            KINDS.flatMap((kind) => [
              (async () => {
                const end = { state: LOST, message: `${WITH_DOCKER} exited with status 0`, outside: true };
                return [kind, await running(host, slave, kind, { value: OBEDIENT }), end] as const;
              })(),
              (async () => {
                const message = `${WITH_DOCKER} was ended by SIGKILL (status 137)`;
                const end = { state: LOST, message, status: 137 << 8, outside: true };
                return [kind, await running(host, slave, kind, { value: DEAF }), end] as const;
              })(),
            ]),
          );
          if (how === 'killed') await host.dockerd.kill();
          else await host.dockerd.halt();
          if (meanwhile !== '') {
            const first = host.supervisor();
            await host.killSupervisor();
            await until('another supervisor', () => host.supervisor() !== first && host.supervisor());
          }
          await host.dockerd.start();
          for (const [kind, task, end] of tasks) await assertEnd(task, kind, '1.0.4', end);
        });
      });
    }

    it(`dockerd with live restore ${how} and started again: all go on, and end as they do by themselves`, async () => {
      await withHost({ liveRestore: true }, async (host, slave) => {
        const task = async (then: string, mem = 32) =>
          await running(host, slave, 'command', { value: AT_GATE_THEN(then), mem });
        const late = await task('exit 0');
        const meanwhile = new Map([
          [await task('exit 0'), { state: FINISHED, message: 'Container exited with status 0', status: 0 }],
          [
            await task('exec tail /dev/zero', 40),
            { ...MEMORY, message: exceeded('killed', 'was ended by SIGKILL (status 137)'), status: 137 << 8 },
          ],
          [
            await task('tail /dev/zero; exit 4', 40),
            {
              ...MEMORY,
              message: exceeded('a process in it was killed', 'exited with status 4'),
              status: 4 << 8,
            },
          ],
        ]);
        if (how === 'killed') await host.dockerd.kill();
        else await host.dockerd.halt();
        for (const one of meanwhile.keys()) {
          const pid = await initOf(host, one);
          openGate(one);
          await until('its end', () => !isAlive(pid), { timeoutMs: LONG_MS });
        }
        // Nobody but the kernel knows of the kills for memory: the next supervisor asks it, too.
        const first = host.supervisor();
        await host.killSupervisor();
        await until('another supervisor', () => host.supervisor() !== first && host.supervisor());
        for (const [one, { message }] of meanwhile)
          if (message.startsWith('Memory'))
            await until('the kill for memory is noted', () =>
              existsSync(`${host.root}/mesos/${one.containerId}/oom-killed`),
            );
        await host.dockerd.start();
        for (const [one, end] of meanwhile) await assertEnd(one, 'command', '1.0.4', end);
        openGate(late);
        const message = 'Container exited with status 0';
        await assertEnd(late, 'command', '1.0.4', { state: FINISHED, message, status: 0 });
      });
    });
  }

  it('with a dockerd that has been started again, and has seen so much since that it has forgotten: it is lost', async () => {
    await withHost({ liveRestore: false }, async (host, slave) => {
      const tasks = await Promise.all(
        KINDS.map(async (kind) => [kind, await running(host, slave, kind, { value: OBEDIENT })] as const),
      );
      signalPid(host.supervisor() ?? assert.fail(), 'SIGSTOP');
      await host.dockerd.restart();
      await forgetEvents(host.dockerd);
      await host.killSupervisor();
      const message = `${WITH_DOCKER} exited with status 0`;
      for (const [kind, task] of tasks)
        await assertEnd(task, kind, '1.0.4', { state: LOST, message, outside: true });
    });
  });

  it('after the host was restarted: it is lost with it', async () => {
    await withHost({ liveRestore: false }, async (host, slave) => {
      const tasks = await Promise.all(
        KINDS.map(
          async (kind) =>
            [kind, await running(host, slave, kind, { value: AT_GATE_THEN('exit 0') })] as const,
        ),
      );
      const supervisor = host.supervisor() ?? assert.fail();
      signalPid(supervisor, 'SIGSTOP');
      for (const [, task] of tasks) {
        openGate(task);
        await host.dockerd.run(['wait', (await inspectTask(host.dockerd, task)).Id]);
        const file = `${host.root}/mesos/${task.containerId}/init`;
        const noted: Record<string, unknown> = JSON.parse(readFileSync(file, 'utf8'));
        writeFileSync(file, JSON.stringify({ ...noted, bootId: 'of-another-boot' }));
      }
      await host.killSupervisor();
      const message = 'Ended with the host, which was restarted; the container exited with status 0';
      for (const [kind, task] of tasks)
        await assertEnd(task, kind, '1.0.4', { state: LOST, message, outside: true });
    });
  });
});

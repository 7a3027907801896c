// Health checks of command tasks on a real Docker: what the framework hears of them, in which order, what ends a task,
// and that neither a check that hangs, nor a supervisor that is killed, nor a Docker that is away changes what is true.
// Slaves and supervisors live in dockerd's network namespace, where a container's address can be reached.

import assert from 'node:assert/strict';
import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { after, before, describe } from 'node:test';
import { Network, TaskState } from '../../src/mesos/messages.ts';
import { output } from '../support/command.ts';
import { inspectTask } from '../support/docker-facts.ts';
import { startDockerd } from '../support/dockerd.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { assertContent, supervisorLog, testOn } from '../support/on-host.ts';
import { allPids, argvOf } from '../support/proc.ts';
import type { LaunchedTask, SlaveOptions, StandInSlave } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const PATIENCE_MS = 60_000;
const STOP_TIMEOUT_SECONDS = 4;
const TASK_KILLING_STATE = 2;
/** Ends at once and with 0 when it is asked to. */
const OBEDIENT = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
const DEAF = "trap '' TERM; while :; do sleep 0.1; done";
/** Counts the checks in `n`, from 0; what follows in the command knows the number as $n. */
const COUNT = 'n=$(cat n 2>/dev/null || echo 0); echo $((n+1)) > n';
const QUICK = { delay_seconds: 0, interval_seconds: 0.2, grace_period_seconds: 0 };

type Check = NonNullable<TaskOptions['healthCheck']>;

function byCommand(value: string, more: Check = {}): Check {
  return { ...QUICK, command: { value }, ...more };
}

/** State, health and words of each update, as the framework saw them. */
function told(task: LaunchedTask): string[] {
  return task.updates().map(({ state, healthy, message }) => `${state} ${healthy ?? '-'} ${message}`);
}

function countOf(task: LaunchedTask): number {
  try {
    return Number(readFileSync(`${task.sandbox}/fs/n`, 'utf8'));
  } catch {
    return 0;
  }
}

async function untilTold(task: LaunchedTask, what: string): Promise<void> {
  await until(`told: ${what}`, () => told(task).some((line) => line.includes(what)), {
    timeoutMs: PATIENCE_MS,
  });
}

/** Until there is no room for another byte. */
function fill(path: string): void {
  const page = Buffer.alloc(4096, 1);
  assert.throws(() => {
    for (;;) appendFileSync(path, page);
  }, /ENOSPC/);
}

function processesWith(word: string): readonly number[] {
  return allPids().filter((pid) => argvOf(pid)?.includes(word) === true);
}

describe('the health of a command task', {
  skip: await skipWithoutTools(),
  concurrency: true,
  timeout: 280_000,
}, () => {
  let shared: Host;
  let slave: StandInSlave;
  const slaveOf = async (host: Host, options: Partial<SlaveOptions> = {}) =>
    await host.slave({ wrap: (argv) => host.dockerd.inNetns(argv), ...options });
  const configuration = `[containers]\nstop_timeout: ${STOP_TIMEOUT_SECONDS}`;
  before(async () => {
    shared = await startHost({ configuration });
    slave = await slaveOf(shared);
  });
  after(async () => {
    try {
      assertContent(slave);
      assert.deepEqual(await shared.leftovers(), []);
    } finally {
      await shared?.[Symbol.asyncDispose]();
    }
  });
  const on = (name: string, body: (host: Host) => Promise<void>) => testOn(() => shared, name, body);
  /** A host of its own beside, on the same dockerd: its supervisor may be killed. */
  const onItsOwn = (name: string, body: (host: Host) => Promise<void>) =>
    on(name, async () => {
      await using host = await startHost({ dockerd: shared.dockerd, configuration });
      await body(host).catch((error: unknown) => {
        throw new Error(supervisorLog(host), { cause: error });
      });
    });

  on('is told with every change and every failure, and ends the task after so many in a row', async () => {
    const verdicts = `${COUNT}; case $n in 0|1|3) exit 0;; esac; echo looked; printf 'bad \\033 %s' $n; exit $n`;
    const task = await slave.launch(
      commandTask({
        image: IMAGES.busybox,
        value: OBEDIENT,
        healthCheck: byCommand(verdicts, { consecutive_failures: 3 }),
      }),
    );
    const termination = await task.gone(PATIENCE_MS);
    const failed = (times: number, n: number) =>
      `health check failed ${times} of 3 times: exit status ${n}: bad \\x1b ${n}`;
    assert.deepEqual(told(task), [
      '1 - Container running',
      '1 true health check passed',
      `1 false ${failed(1, 2)}`,
      '1 true health check passed',
      `1 false ${failed(1, 4)}`,
      `1 false ${failed(2, 5)}`,
      `1 false ${failed(3, 6)}`,
      `4 false Killed: ${failed(3, 6)}; the container exited with status 0`,
    ]);
    assert.deepEqual(
      [termination?.state, termination?.status, termination?.killed],
      [TaskState.KILLED, 0, false],
    );
    const [running, ...later] = task.updates();
    assert.ok(running?.addresses[0] !== undefined);
    for (const { addresses } of later.slice(0, -1)) assert.deepEqual(addresses, running.addresses);
  });

  on('is checked as the container runs, with the variables of the check added', async () => {
    const command = {
      value: 'sh',
      shell: false,
      arguments: ['-c', 'echo "$PWD $OWN $ADDED $0"; exit 9', 'zero'],
      environment: { variables: [{ name: 'ADDED', value: 'a  b' }] },
    };
    const task = await slave.launch(
      commandTask({
        image: IMAGES.busybox,
        value: OBEDIENT,
        env: { OWN: 'own' },
        healthCheck: { ...QUICK, command, consecutive_failures: 1 },
      }),
    );
    const killed = await task.ended(PATIENCE_MS);
    assert.match(killed.message ?? '', /exit status 9: \/tmp\/mesos-sandbox own a {2}b zero; the container/);
    await task.gone(PATIENCE_MS);
  });

  on('cannot be told by a command that cannot be run: that has failed', async () => {
    const command = { value: '/no/such/thing', shell: false };
    const task = await slave.launch(
      commandTask({
        image: IMAGES.busybox,
        value: OBEDIENT,
        healthCheck: { ...QUICK, command, consecutive_failures: 1 },
      }),
    );
    const killed = await task.ended(PATIENCE_MS);
    assert.equal(killed.state, TaskState.KILLED);
    assert.match(
      killed.message ?? '',
      /^Killed: health check failed 1 of 1 times: exit status 12[67]: .*no such file/,
    );
    await task.gone(PATIENCE_MS);
  });

  on('is not told before its time: failures do not count before the grace period is over', async () => {
    const graceSeconds = 3;
    const task = await slave.launch(
      commandTask({
        image: IMAGES.busybox,
        value: OBEDIENT,
        healthCheck: byCommand(`${COUNT}; exit 1`, {
          consecutive_failures: 1,
          grace_period_seconds: graceSeconds,
        }),
      }),
    );
    await task.gone(PATIENCE_MS);
    const [running, failed, killed, ...more] = task.updates();
    assert.deepEqual([running?.healthy, failed?.healthy, killed?.state, more], [undefined, false, 4, []]);
    const [inspected] = JSON.parse(Buffer.from(running?.data ?? []).toString());
    const afterMs = (failed?.timestamp ?? 0) * 1000 - Date.parse(inspected.State.StartedAt);
    assert.ok(afterMs >= graceSeconds * 1000, `${afterMs} ms after its start`);
    assert.ok(countOf(task) > 1, 'no check within the grace period');
  });

  on('is bad where a check does not end, and what hangs is ended with all that it started', async () => {
    const words = ['86411', '86412', '86413'] as const;
    const [first, second, third] = words;
    const hangs = `echo waiting; sleep ${first} & setsid sleep ${second} & (env -i sleep ${third} &); wait`;
    const task = await slave.launch(
      commandTask({
        image: IMAGES.busybox,
        value: OBEDIENT,
        healthCheck: byCommand(`${COUNT}; [ $n -gt 0 ] || { ${hangs}; }`, { timeout_seconds: 2 }),
      }),
    );
    await untilTold(task, 'health check passed');
    for (const word of words) assert.deepEqual(processesWith(word), [], `sleep ${word}`);
    assert.deepEqual(told(task), [
      '1 - Container running',
      '1 false health check failed 1 of 3 times: no end within 2 s: waiting',
      '1 true health check passed',
    ]);
    await slave.killTask(task);
    const killed = await task.ended(PATIENCE_MS);
    assert.deepEqual([killed.state, killed.healthy], [TaskState.KILLED, undefined]);
    await task.gone(PATIENCE_MS);
  });

  on('is that of the command itself, whatever it leaves behind with its output open', async () => {
    const task = await slave.launch(
      commandTask({
        image: IMAGES.busybox,
        value: OBEDIENT,
        healthCheck: byCommand('sleep 86414 & exit 0', { timeout_seconds: 30, interval_seconds: 300 }),
      }),
    );
    await untilTold(task, 'health check passed');
    assert.deepEqual(told(task), ['1 - Container running', '1 true health check passed']);
    await slave.killTask(task);
    await task.gone(PATIENCE_MS);
  });

  const serving = 'mkdir www; echo ok > www/ok; trap "exit 0" TERM; httpd -f -h www -p';
  on("is asked for by HTTP at the container's own address", async () => {
    const task = await slave.launch(
      commandTask({
        form: 'new',
        image: IMAGES.busybox,
        value: `cd /mnt/mesos/sandbox; ${serving} 8080 & wait`,
        docker: { network: Network.BRIDGE },
        healthCheck: {
          ...QUICK,
          grace_period_seconds: 8,
          http: { port: 8080, path: '/ok' },
          consecutive_failures: 2,
        },
      }),
    );
    await untilTold(task, 'health check passed');
    const running = task.updates()[0];
    const [inspected] = JSON.parse(Buffer.from(running?.data ?? []).toString());
    const address = running?.addresses[0];
    assert.equal(address, inspected.NetworkSettings.IPAddress);
    await rename(`${task.sandbox}/www/ok`, `${task.sandbox}/www/ko`);
    const why = `GET http://${address}:8080/ok: status 404`;
    await task.gone(PATIENCE_MS);
    assert.deepEqual(told(task).slice(0, 4), [
      '1 - Container running',
      '1 true health check passed',
      `1 false health check failed 1 of 2 times: ${why}`,
      `1 false health check failed 2 of 2 times: ${why}`,
    ]);
    assert.match(told(task)[4] ?? '', /^4 false Killed: health check failed 2 of 2 times: GET http/);
  });

  on(
    "is asked for by HTTP on the host's network, in the form of 0.19, which has no grace period",
    async (host) => {
      const old = await slaveOf(host, { version: '0.19.1' });
      const http = (port: number, statuses: readonly number[] = []) => ({
        delay_seconds: 5,
        interval_seconds: 0.2,
        http: { port, path: '/none', statuses },
        failures: 1,
      });
      const launch = async (port: number, statuses: readonly number[]) =>
        await old.launch(
          commandTask({
            image: IMAGES.busybox,
            options: ['--net=host'],
            value: `${serving} ${port} & wait`,
            oldHealthCheck: http(port, statuses),
          }),
        );
      const [fine, bad] = await Promise.all([launch(18_081, [404]), launch(18_082, [])]);
      await untilTold(fine, 'health check passed');
      await bad.gone(PATIENCE_MS);
      const why = 'health check failed 1 of 1 times: GET http://127.0.0.1:18082/none: status 404';
      assert.deepEqual(told(bad).slice(0, 2), ['1 - Container running', `1 false ${why}`]);
      assert.ok(told(bad)[2]?.startsWith(`4 false Killed: ${why}; the container `), told(bad)[2]);
      assert.deepEqual(told(fine), ['1 - Container running', '1 true health check passed']);
      await old.killTask(fine);
      await fine.gone(PATIENCE_MS);
      assertContent(old);
    },
  );

  on('is unknown where nothing can be checked: the task runs, and its stderr says why', async () => {
    const value = 'until [ -e done ]; do sleep 0.1; done';
    const run = async (options: TaskOptions) =>
      await slave.launch(commandTask({ image: IMAGES.busybox, value, ...options }));
    const [neither, noAddress] = await Promise.all([
      run({ healthCheck: QUICK }),
      run({ options: ['--net=none'], healthCheck: { ...QUICK, http: { port: 80 } } }),
    ]);
    const line = (why: string) => `deimos: health check: the task runs unchecked: ${why}\n`;
    for (const [task, why] of [
      [neither, 'it has neither http nor command'],
      [noAddress, 'http cannot be asked: the container has no address of its own (network none)'],
    ] as const) {
      await until('it says why', async () => (await sandboxFile(task, 'stderr')) === line(why), {
        timeoutMs: PATIENCE_MS,
      });
      await task.reached(TaskState.RUNNING, PATIENCE_MS);
      await writeFile(`${task.sandbox}/fs/done`, '');
      await task.gone(PATIENCE_MS);
      assert.deepEqual(told(task), ['1 - Container running', '2 - Container exited with status 0']);
    }
  });

  onItsOwn('goes on to be checked when the supervisor is killed, and nothing is told twice', async (host) => {
    const slave = await slaveOf(host, { capabilities: [TASK_KILLING_STATE] });
    const task = await slave.launch(
      commandTask({
        image: IMAGES.busybox,
        value: DEAF,
        healthCheck: byCommand(`${COUNT}; [ $n -gt 0 ] || sleep 86415; [ ! -e bad ]`, {
          timeout_seconds: 600,
          interval_seconds: 0.5,
        }),
      }),
    );
    await until('a check hangs', () => processesWith('86415').length > 0, { timeoutMs: PATIENCE_MS });
    await host.killSupervisor();
    await untilTold(task, 'health check passed');
    assert.deepEqual(processesWith('86415'), [], 'what an earlier supervisor has left runs on');
    await writeFile(`${task.sandbox}/fs/bad`, '');
    await untilTold(task, 'failed 1 of 3 times');
    await host.killSupervisor();
    await task.reached(TaskState.KILLING, PATIENCE_MS);
    // In the middle of its grace: why it ends is known to the next one.
    await host.killSupervisor();
    const termination = await task.gone(PATIENCE_MS);
    const failed = (n: number) => `health check failed ${n} of 3 times: exit status 1`;
    const end = `Killed: ${failed(3)}; the container was ended by SIGKILL (status 137)`;
    assert.deepEqual(told(task), [
      '1 - Container running',
      '1 true health check passed',
      `1 false ${failed(1)}`,
      `1 false ${failed(2)}`,
      `1 false ${failed(3)}`,
      `8 false ${failed(3)}`,
      `4 false ${end}`,
    ]);
    assert.deepEqual([termination?.state, termination?.message], [TaskState.KILLED, end]);
    assertContent(slave);
    assert.deepEqual(await sandboxFile(task, 'stderr'), '');
  });

  onItsOwn(
    'keeps nothing running on a full disk: a kill stops it, and all is told in order when there is room',
    async (host) => {
      await mkdir(host.root, { mode: 0o700 });
      await output(['mount', '-t', 'tmpfs', '-o', 'size=2m,mode=700', 'none', host.root]);
      try {
        const slave = await slaveOf(host, { capabilities: [TASK_KILLING_STATE] });
        const task = await slave.launch(
          commandTask({
            image: IMAGES.busybox,
            value: OBEDIENT,
            healthCheck: byCommand(`${COUNT}; [ ! -e bad ]`, { consecutive_failures: 1000 }),
          }),
        );
        await untilTold(task, 'health check passed');
        const state = `${host.root}/mesos/${task.containerId}`;
        await until('all is acknowledged', () => readdirSync(`${state}/updates`).length === 0);
        const before = told(task);
        fill(`${host.root}/filling`);
        await writeFile(`${task.sandbox}/fs/bad`, '');
        const count = countOf(task);
        await until('failures are to be told', () => countOf(task) > count + 2, { timeoutMs: PATIENCE_MS });
        await slave.killTask(task);
        const isEnded = async () => !(await inspectTask(host.dockerd, task)).State.Running;
        await until('the container has ended', isEnded, { timeoutMs: PATIENCE_MS });
        assert.deepEqual(told(task), before);
        await rm(`${host.root}/filling`);
        const termination = await task.gone(PATIENCE_MS);
        const later = told(task).slice(before.length);
        const failures = later.slice(0, -2);
        assert.ok(failures.length > 0);
        for (const [n, line] of failures.entries())
          assert.equal(line, `1 false health check failed ${n + 1} of 1000 times: exit status 1`);
        assert.deepEqual(later.slice(-2), [
          '8 - The framework asked for the end of the task',
          `4 - ${termination?.message}`,
        ]);
        assert.match(readFileSync(`${state}/wanted-end`, 'utf8'), /"cause":"kill"/);
        assertContent(slave);
      } finally {
        await output(['umount', '--lazy', host.root]);
      }
    },
  );

  onItsOwn(
    'that changes while nothing is acknowledged is told in order, and again to a slave that comes back',
    async (host) => {
      const slave = await slaveOf(host, { checkpoint: true, acks: 'drop' });
      const task = await slave.launch(
        commandTask({
          image: IMAGES.busybox,
          value: OBEDIENT,
          healthCheck: byCommand('[ ! -e bad ]', { consecutive_failures: 2 }),
        }),
      );
      await untilTold(task, 'health check passed');
      await slave.kill();
      await writeFile(`${task.sandbox}/fs/bad`, '');
      const exited = async () =>
        (await host.dockerd.run([
          'ps',
          '-q',
          '--no-trunc',
          '--filter',
          `label=deimos.container=${task.containerId}`,
        ])) === '';
      await until('the container is ended', exited, { timeoutMs: PATIENCE_MS });
      // Nobody takes the order now; it holds from the next start on.
      await slave.setAcks('send').catch(() => {});
      await slave.start();
      const termination = await task.gone(PATIENCE_MS);
      assert.equal(termination?.state, TaskState.KILLED);
      const failed = (n: number) => `1 false health check failed ${n} of 2 times: exit status 1`;
      const distinct = task
        .updates()
        .filter(({ uuid }, i, all) => all.findIndex((one) => one.uuid === uuid) === i);
      assert.deepEqual(
        distinct.map(({ state, healthy, message }) => `${state} ${healthy ?? '-'} ${message}`).slice(0, 4),
        ['1 - Container running', '1 true health check passed', failed(1), failed(2)],
      );
      assert.deepEqual(
        [distinct[4]?.state, distinct[4]?.healthy, distinct.length],
        [TaskState.KILLED, false, 5],
      );
      assertContent(slave);
    },
  );
});

describe('the health of a task whose Docker is away', {
  skip: await skipWithoutTools(),
  timeout: 120_000,
}, () => {
  let host: Host;
  before(async () => {
    host = await startHost({ dockerd: await startDockerd({ liveRestore: true }) });
  });
  after(async () => {
    await host?.[Symbol.asyncDispose]();
    await host?.dockerd.stop();
  });

  testOn(
    () => host,
    'is what it was: a check that Docker does not carry out has no result',
    async () => {
      const slave = await host.slave();
      const task = await slave.launch(
        commandTask({
          image: IMAGES.busybox,
          value: OBEDIENT,
          healthCheck: byCommand(`${COUNT}; [ ! -e bad ]`, { consecutive_failures: 1 }),
        }),
      );
      await untilTold(task, 'health check passed');
      await host.dockerd.kill();
      const away = () => supervisorLog(host).split('a health check has no result').length - 1;
      await until('a check has no result', () => away() > 0, { timeoutMs: PATIENCE_MS });
      await host.dockerd.start();
      const before = countOf(task);
      await until('checked again', () => countOf(task) > before, { timeoutMs: PATIENCE_MS });
      assert.deepEqual(told(task), ['1 - Container running', '1 true health check passed']);
      await writeFile(`${task.sandbox}/fs/bad`, '');
      const killed = await task.ended(PATIENCE_MS);
      assert.deepEqual([killed.state, killed.healthy], [TaskState.KILLED, false]);
      await task.gone(PATIENCE_MS);
      assertContent(slave);
    },
  );
});

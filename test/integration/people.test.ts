// What people ask a host: which containers there are (ps), what a task writes (logs), and what is wrong (check); with real
// containers, and on a real terminal.

import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { type Outcome, outcomeOf, output } from '../support/command.ts';
import { inspectTask } from '../support/docker-facts.ts';
import { BINARY, type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { assertContent } from '../support/on-host.ts';
import { signalPid } from '../support/proc.ts';
import { CTRL_C, onTerminal } from '../support/pty.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { mountSmallDisk } from '../support/small-disk.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const LONG_MS = 30_000;
const MB = 1024 * 1024;
const SIZE = { columns: 100, rows: 20 } as const;
/** Memory that cannot be taken back, and a processor that is busy. */
const GREEDY = 'x=$(head -c 20000000 /dev/zero | tr "\\0" x); while :; do :; done';

describe('what people ask a host', { skip: await skipWithoutTools(), timeout: 240_000 }, () => {
  let host: Host;
  let slave: StandInSlave;
  before(async () => {
    host = await startHost();
    slave = await host.slave();
  });
  after(async () => {
    try {
      assert.deepEqual(await host.leftovers(), []);
      assertContent(slave);
    } finally {
      await host?.[Symbol.asyncDispose]();
    }
  });

  const running = async (options: Omit<TaskOptions, 'image'>): Promise<LaunchedTask> => {
    const task = await slave.launch(commandTask({ image: IMAGES.busybox, ...options }));
    await task.reached(TaskState.RUNNING, LONG_MS);
    return task;
  };
  const over = async (options: TaskOptions): Promise<LaunchedTask> => {
    const task = await slave.launch(commandTask(options));
    await task.gone(LONG_MS);
    return task;
  };
  const end = async (...tasks: readonly LaunchedTask[]): Promise<void> => {
    for (const task of tasks) await slave.killTask(task);
    for (const task of tasks) await task.gone(LONG_MS);
  };
  const said = ({ code, stdout, stderr }: Outcome) => ({ code, stdout: stdout.toString(), stderr });

  describe('ps', () => {
    type Listed = Readonly<Record<string, unknown>>;
    const listed = async (...words: readonly string[]): Promise<readonly Listed[]> => {
      const { code, stdout, stderr } = said(await host.deimos(['ps', '--json', ...words]));
      assert.deepEqual([code, stderr], [0, '']);
      return JSON.parse(stdout) as Listed[];
    };

    it('lists what runs with what it uses, as Docker has it; with --all also what is over, and how it ended', async () => {
      const greedy = await running({ name: 'greedy', value: GREEDY, cpus: 0.5, mem: 64 });
      const failed = await over({ image: IMAGES.busybox, value: 'exit 3' });
      const never = await over({ image: 'nowhere.test/absent:1', value: 'true' });
      const { Id, State } = await inspectTask(host.dockerd, greedy);
      await until('it has taken its memory', async () =>
        (await listed()).some(({ memoryBytes }) => Number(memoryBytes) > 15 * MB),
      );
      const [only, ...others] = await listed();
      assert.deepEqual(others, []);
      const { cpuPercent, memoryBytes, since, launchedAt, ...rest } = only ?? assert.fail();
      assert.deepEqual(rest, {
        ...{ taskId: greedy.taskId, name: 'greedy', frameworkId: greedy.frameworkId },
        ...{ containerId: greedy.containerId, dockerId: Id, image: `docker:///${IMAGES.busybox}` },
        ...{ state: 'running', pid: State.Pid, cpusLimit: 0.5, memoryLimitBytes: 64 * MB },
        ...{ end: null, message: null, sandbox: greedy.sandbox, root: host.root },
      });
      assert.ok(Number(cpuPercent) > 1 && Number(memoryBytes) < 64 * MB);
      assert.ok(Date.parse(String(launchedAt)) <= Date.parse(String(since)));

      const ends = (await listed('--all')).map(({ taskId, state, end: how, message }) => ({
        ...{ taskId, state, how, says: message !== null },
      }));
      assert.deepEqual(ends, [
        { taskId: greedy.taskId, state: 'running', how: null, says: false },
        {
          ...{ taskId: failed.taskId, state: 'told', says: true },
          how: { kind: 'exited', exitCode: 3, oomKilled: false },
        },
        {
          ...{ taskId: never.taskId, state: 'told', says: true },
          how: { kind: 'failed', exitCode: null, oomKilled: false },
        },
      ]);

      const { stdout } = said(await host.deimos(['ps', '--all']));
      const [titles, ...lines] = stdout.trimEnd().split('\n');
      assert.match(titles ?? '', /^TASK +CONTAINER +DOCKER +STATE +SINCE +CPU % +MEMORY +EXIT$/);
      const patterns = [
        `^${greedy.taskId} +${greedy.containerId} +${Id.slice(0, 12)} +running +\\d+s +\\d+\\.\\d +\\d+M/64M$`,
        `^${failed.taskId} +${failed.containerId} +[0-9a-f]{12} +told +\\d+s +3$`,
        `^${never.taskId} +${never.containerId} +told +\\d+s +failed$`,
      ];
      assert.equal(lines.length, patterns.length);
      for (const [at, pattern] of patterns.entries()) assert.match(lines[at] ?? '', new RegExp(pattern));
      await end(greedy);
    });

    it('fits the terminal, in colours that can be declined, and is drawn in place until Ctrl-C', async () => {
      const task = await running({ value: 'sleep 1000' });
      const argv = [BINARY, '--config', host.configFile, 'ps'] as const;
      const lines = async (environment?: Readonly<Record<string, string>>) => {
        await using terminal = onTerminal(argv, { columns: 60, rows: 20 }, environment);
        assert.equal(await terminal.ended(), 0);
        return terminal.drawn().trimEnd().split('\r\n');
      };
      const coloured = await lines();
      assert.ok(coloured.some((line) => line.includes('\x1b[32mrunning\x1b[0m')));
      const plain = await lines({ TERM: 'xterm', LANG: 'C', NO_COLOR: '1' });
      // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what is taken away
      const bare = coloured.map((line) => line.replace(/\x1b\[\d+m/g, ''));
      for (const line of [...bare, ...plain]) {
        assert.ok([...line].length <= 60, line);
        assert.ok(!line.includes('\x1b'), line);
      }
      assert.ok(plain.every((line) => /^[ -~]*$/.test(line)));

      await using watching = onTerminal([...argv, '--watch'], SIZE);
      const draws = () => watching.drawn().split('\x1b[H').length - 1;
      await until('it is drawn twice', () => draws() >= 2, { timeoutMs: LONG_MS });
      assert.ok(watching.drawn().startsWith('\x1b[?1049h'));
      assert.match(watching.drawn(), /: 1 running/);
      watching.press(CTRL_C);
      await watching.ended();
      assert.ok(watching.drawn().trimEnd().endsWith('\x1b[?25h\x1b[?1049l'), 'the terminal is as before');
      await end(task);
    });

    it('refuses what it cannot do', async () => {
      for (const words of [['--watch'], ['--watch', '--json'], ['--nonsense']]) {
        const { code, stderr } = said(await host.deimos(['ps', ...words]));
        assert.deepEqual([code, stderr.split('\n').length], [1, 2], stderr);
      }
    });
  });

  describe('logs', () => {
    it('follows both files until the task has ended, by a short id of it', async () => {
      const task = await running({
        value:
          'echo out; echo err >&2; until [ -e go ]; do sleep 0.1; done; echo late; echo late >&2; exit 7',
      });
      const { Id } = await inspectTask(host.dockerd, task);
      const following = [task.containerId.slice(0, 13), task.taskId, Id.slice(0, 12)].map(
        async (word) => await host.deimos(['logs', word]),
      );
      await until('the first line is there', async () =>
        said(await host.deimos(['logs', '--no-follow', task.taskId])).stdout.startsWith('out\n'),
      );
      writeFileSync(`${task.sandbox}/fs/go`, '');
      for (const one of await Promise.all(following)) {
        const { code, stdout, stderr } = said(one);
        assert.deepEqual([code, stdout], [0, 'out\nlate\n']);
        assert.ok(stderr.startsWith('err\nlate\n'), stderr);
      }
      await task.gone(LONG_MS);
      const part = async (...words: readonly string[]) =>
        said(await host.deimos(['logs', task.taskId, ...words]));
      assert.deepEqual(await part('--stdout', '--tail', '1'), { code: 0, stdout: 'late\n', stderr: '' });
      assert.equal((await part('--stderr')).stdout, '');
    });

    it('goes at the pace of its reader, and ends with it', async () => {
      const task = await running({ value: 'seq 1 2000000; while :; do echo more; sleep 0.1; done', mem: 64 });
      const first = `${BINARY} --config ${host.configFile} logs ${task.taskId} | head -n 3`;
      assert.equal(await output(['sh', '-c', first]), '1\n2\n3');
      const all = `${BINARY} --config ${host.configFile} logs ${task.taskId} | (sleep 1; head -n 2000000) | tail -n 1`;
      assert.equal(await output(['sh', '-c', all]), '2000000');
      await end(task);
    });

    it('says which task is meant by none or by several, and what is no number of lines', async () => {
      const tasks = await Promise.all(
        ['twin-1', 'twin-2'].map(
          async (taskId) => await over({ image: IMAGES.busybox, taskId, value: 'true' }),
        ),
      );
      const refused = async (code: number, pattern: RegExp, ...words: readonly string[]) => {
        const outcome = said(await host.deimos(['logs', ...words]));
        assert.deepEqual([outcome.code, outcome.stdout], [code, '']);
        assert.match(outcome.stderr, pattern);
      };
      await refused(
        4,
        /^deimos logs: no container or task here has the id nobody, in full or in short\n$/,
        'nobody',
      );
      await refused(
        4,
        /^deimos logs: twin may be 2 containers: .*\(task twin-[12]\), .*\(task twin-[12]\)\n$/,
        'twin',
      );
      await refused(1, /--tail needs a number of lines, not -1/, 'twin-1', '--tail=-1');
      assert.equal(tasks.length, 2);
    });
  });

  describe('check', () => {
    type Finding = {
      readonly look: string;
      readonly level: string;
      readonly text: string;
      readonly todo?: string;
    };
    /** In a copy of /etc of its own, where `prepare` (words of sh) has been. */
    const checked = async (prepare = '', ...words: readonly string[]) => {
      const etc = host.directory.at('etc');
      const script = [
        `mkdir -p ${etc} && mount -t tmpfs none ${etc} && cp -a /etc/. ${etc}/ && mount --bind ${etc} /etc`,
        'mkdir -p /etc/mesos-slave /etc/cron.d',
        prepare || ':',
        'exec "$@"',
      ].join('\n');
      const argv = [BINARY, '--config', host.configFile, ...words, 'check', '--json'];
      const { code, stdout, stderr } = said(
        await outcomeOf([
          'unshare',
          '--mount',
          '--propagation',
          'private',
          'sh',
          '-ec',
          script,
          'sh',
          ...argv,
        ]),
      );
      assert.equal(stderr, '');
      const findings = JSON.parse(stdout) as Finding[];
      const worst = Math.max(...findings.map(({ level }) => ['ok', 'warning', 'failure'].indexOf(level)));
      assert.equal(code, worst);
      for (const { level, todo } of findings) assert.equal(todo === undefined, level === 'ok');
      return (look: string) => findings.find((one) => one.look === look) ?? assert.fail(`no look ${look}`);
    };
    const assertFinding = ({ level, text, todo }: Finding, wanted: string, pattern: RegExp) => {
      assert.equal(level, wanted, `${text}: ${todo ?? ''}`);
      assert.match(`${text}: ${todo ?? ''}`, pattern);
    };
    const SLAVE = `printf '${BINARY} --config x' >/etc/mesos-slave/containerizer_path; echo external >/etc/mesos-slave/isolation`;
    const CRON = 'echo "0 * * * * root deimos state --rm --older-than 24h" >/etc/cron.d/deimos';

    it('says of a host with a task that all goes on, a line for each look', async () => {
      const task = await running({ value: 'sleep 1000' });
      const about = await checked(`${SLAVE}\n${CRON}`);
      const names = ['configuration', 'docker client', 'space', 'locks', 'supervisor', 'executor port'];
      for (const name of [...names, 'states', 'usage']) assertFinding(about(name), 'ok', /./);
      assertFinding(about('configuration'), 'ok', new RegExp(host.configFile));
      assertFinding(about('docker daemon'), 'warning', /live-restore is off/);
      // Where the tests have it.
      assertFinding(about('state root'), 'warning', /delete what is old/);
      assertFinding(about('supervisor'), 'ok', new RegExp(`pid ${host.supervisor()} answers`));
      assertFinding(about('executor port'), 'ok', /127\.0\.0\.1:\d+/);
      assertFinding(
        about('usage'),
        'ok',
        new RegExp(`${task.containerId}: \\d+[KM]? of memory, \\d+ processes`),
      );
      const { code, stdout } = said(await host.deimos(['check']));
      assert.ok(code === 1 || code === 2);
      const lines = stdout.trimEnd().split('\n');
      assert.equal(lines.length, 14);
      for (const line of lines) assert.match(line, /^(ok|warning|failure) +[a-z]+( [a-z]+)? +\S/);
      await end(task);
    });

    it('says what is wrong with the slave’s options and with cron', async () => {
      const cases: readonly (readonly [prepare: string, look: string, level: string, pattern: RegExp])[] = [
        [':', 'mesos slave', 'failure', /containerizer_path is not set/],
        ['echo /bin/other >/etc/mesos-slave/containerizer_path', 'mesos slave', 'failure', /is \/bin\/other/],
        [
          'echo /x/deimos >/etc/mesos-slave/containerizer_path',
          'mesos slave',
          'failure',
          /cannot be executed/,
        ],
        [`${SLAVE}; echo posix >/etc/mesos-slave/isolation`, 'mesos slave', 'failure', /isolation is posix/],
        [SLAVE, 'mesos slave', 'warning', /none runs/],
        ['rm -f /etc/cron.d/deimos', 'cron', 'warning', /is not there/],
        ['echo "# deimos state --rm" >/etc/cron.d/deimos', 'cron', 'warning', /removes no states/],
      ];
      for (const [prepare, look, level, pattern] of cases)
        assertFinding((await checked(prepare))(look), level, pattern);
    });

    it('says what is wrong with the configuration and with Docker', async () => {
      try {
        await host.configure('[containers]\nstop_timeout: soon');
        assertFinding(
          (await checked())('configuration'),
          'failure',
          /deimos\.cfg:\d+: .*stop_timeout.*no task can/,
        );
        await host.configure('', 'host: unix:///nowhere/docker.sock');
        const about = await checked();
        assertFinding(about('docker daemon'), 'failure', /nowhere\/docker\.sock.*start it/);
        assertFinding(about('configuration'), 'ok', /./);
      } finally {
        await host.configure('');
      }
    });

    it('says what is wrong with a state root and with its room', async () => {
      const root = host.directory.at('other-root');
      mkdirSync(root, { mode: 0o700 });
      const about = async () => await checked('', '--root', root);
      assertFinding((await about())('supervisor'), 'ok', /none is needed/);
      chmodSync(root, 0o777);
      assertFinding((await about())('state root'), 'failure', /written by others/);
      chmodSync(root, 0o700);
      chownSync(root, 1, 1);
      assertFinding((await about())('state root'), 'failure', /belongs to user 1/);
      const small = host.directory.at('small');
      await using disk = await mountSmallDisk(small);
      chmodSync(disk.path, 0o700);
      assertFinding((await checked('', '--root', small))('space'), 'failure', /8M free.*make room/);
      assertFinding(
        (await checked('', '--root', '/tmp/deimos-x'))('state root'),
        'warning',
        /delete what is old/,
      );
    });

    it('says of a supervisor that hangs, or that is dead, what goes on without it', async () => {
      const task = await running({ value: 'sleep 1000' });
      const pid = host.supervisor() ?? assert.fail('no supervisor');
      signalPid(pid, 'SIGSTOP');
      try {
        const about = await checked();
        assertFinding(about('supervisor'), 'failure', new RegExp(`pid ${pid} does not answer`));
        assertFinding(about('usage'), 'ok', new RegExp(task.containerId));
      } finally {
        signalPid(pid, 'SIGCONT');
      }
      await end(task);
    });

    it('takes no name of a look that there is not', async () => {
      const { code, stderr } = said(await host.deimos(['check', '--look', 'nonsense']));
      assert.equal(code, 1);
      assert.match(stderr, /^deimos check: no look nonsense \(configuration, docker client, .*\)\n$/);
    });
  });
});

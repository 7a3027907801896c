// What is secret about tasks, over a whole run of all that knows it: variables in each spelling, logins, URIs with passwords,
// hooks, health checks, tasks that fail. It is in no argv and no environment but the container's, no log, no message and
// no file that others can read, whatever umask the slave has; and a supervisor that is dumped has nothing of it.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { startDockerd } from '../support/dockerd.ts';
import { NOBODY } from '../support/exchange.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { derive, IMAGES } from '../support/images.ts';
import { procFile } from '../support/proc.ts';
import { startSampler } from '../support/processes.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { type Syslog, startSyslog } from '../support/syslog.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { type SeenFile, watchFiles } from '../support/watched-files.ts';
import { Web } from '../support/web.ts';

const { RUNNING, FINISHED, FAILED, KILLED } = TaskState;
const LONG_MS = 90_000;

describe('secrets of tasks', { skip: await skipWithoutTools(), timeout: 280_000 }, () => {
  let host: Host;
  let syslog: Syslog;
  let web: Web;
  let operators: Registry;
  let tasks: Registry;
  let images: Readonly<Record<'operators' | 'tasks', string>>;
  const secret = {
    ...{
      variable: newSecret(),
      short: newSecret(),
      joined: newSecret(),
      long: newSecret(),
      group: newSecret(),
    },
    ...{ file: newSecret(), uri: newSecret(), operator: newSecret(), task: newSecret(), check: newSecret() },
    ...{ hook: newSecret(), refused: newSecret() },
  };

  before(async () => {
    host = await startHost({ dockerd: await startDockerd() });
    [operators, tasks] = await Promise.all([
      startRegistry(host.dockerd, 5000, secret.operator),
      startRegistry(host.dockerd, 5100, secret.task),
    ]);
    const push = async (registry: Registry, name: string): Promise<string> => {
      await derive(host.dockerd, `local/${name}`, [`ENV MADE=${name}`]);
      return await registry.push(`local/${name}`, name);
    };
    images = { operators: await push(operators, 'operators'), tasks: await push(tasks, 'tasks') };
    web = new Web();
    await web.start();
    syslog = await startSyslog();
    const login = host.directory.at('operators-login');
    await writeFile(login, JSON.stringify({ auths: { [operators.address]: { auth: operators.auth } } }), {
      mode: 0o600,
    });
    const hook = host.directory.at('hook');
    await writeFile(hook, '#!/bin/sh\ngrep -q HOOKED= "$DEIMOS_TASK_ENV"\n');
    await chmod(hook, 0o755);
    await host.configure(
      `[docker.index]\ndockercfg: ${login}\n[hooks]\nonlaunch: ["${hook}"]\nondestroy: ["${hook}"]\n[log]\nsyslog: DEBUG\nconsole: DEBUG`,
    );
  });
  after(async () => {
    web?.close();
    for (const registry of [operators, tasks]) await registry?.stop();
    await host?.[Symbol.asyncDispose]();
    await host?.dockerd.stop();
    await syslog?.stop();
  });

  const values = (): string[] => [...Object.values(secret), operators.auth, tasks.auth];
  const checkThatNoneIsIn = (text: string, what: string): void => {
    for (const [name, value] of Object.entries({ ...secret, operators: operators.auth, tasks: tasks.auth }))
      assert.ok(!text.includes(value), `${name} is in ${what}`);
  };

  /** One of each; which ends with which state. */
  const all = async (): Promise<readonly (readonly [task: TaskOptions, state: number])[]> => {
    const variables = host.directory.at('variables');
    // The docker command reads it as a user that nobody else is: what is in it is the operator's own affair.
    await writeFile(variables, `FROM_FILE=${secret.file}\n`, { mode: 0o644 });
    const spelled = [
      ...['-e', `SHORT=${secret.short}`, `-eJOINED=${secret.joined}`, `--env=LONG=${secret.long}`],
      ...['-ite', `GROUP=${secret.group}`, '--env-file', variables],
    ];
    const env = { VARIABLE: secret.variable, HOOKED: secret.hook };
    const uri = (path: string) => ({ value: web.page(path, 'x').replace('//', `//user:${secret.uri}@`) });
    const dockercfg = web.page('/.dockercfg', JSON.stringify({ [tasks.address]: { auth: tasks.auth } }));
    const value = '[ -n "$VARIABLE" ] && sleep 1';
    const healthCheck = {
      ...{ delay_seconds: 0, interval_seconds: 0.5 },
      command: {
        value: 'test -n "$CHECKED"',
        environment: { variables: [{ name: 'CHECKED', value: secret.check }] },
      },
    };
    const refused = ['-e', `REFUSED=${secret.refused}`, `--env=ALSO=${secret.refused}`];
    return [
      [
        {
          image: IMAGES.busybox,
          env,
          options: spelled,
          value: `${value} && [ -n "$SHORT$JOINED$LONG$GROUP$FROM_FILE" ]`,
        },
        FINISHED,
      ],
      [{ image: images.operators, env, uris: [uri('/file?key=value')], value }, FINISHED],
      [{ image: images.tasks, env, uris: [{ value: dockercfg }], value }, FINISHED],
      [{ image: IMAGES.busybox, form: 'new', env, healthCheck, value: 'sleep 1000' }, KILLED],
      [{ image: IMAGES.busybox, env, options: [...refused, '--bogus'], value }, FAILED],
      [{ image: IMAGES.busybox, env, options: [...refused, '-m', 'lots'], value }, FAILED],
      [{ image: IMAGES.busybox, env, options: [...refused, 'stray'], value }, FAILED],
      [
        {
          image: IMAGES.busybox,
          env,
          uris: [{ value: `http://user:${secret.uri}@${web.address}/none?${secret.uri}` }],
          value,
        },
        FAILED,
      ],
    ];
  };

  const sandboxes: string[] = [];
  /** Whose files are not `user`'s in the sandboxes, or not root's alone elsewhere. */
  const wrongFor =
    (user: number) =>
    ({ path, stat, isPrivate, isPrivateItself }: SeenFile): string | undefined => {
      const what = `${stat.uid} ${stat.mode.toString(8)}`;
      if (path.startsWith(host.root)) return isPrivateItself && stat.uid === 0 ? undefined : what;
      if (path.startsWith('/run/')) return isPrivate ? undefined : what;
      // The sandbox and its stderr are as the slave has made them.
      if (sandboxes.includes(path.replace(/\/stderr$/, ''))) return undefined;
      if ((stat.mode & 0o022) !== 0 && !stat.isSymbolicLink()) return what;
      // Until it is given away.
      return stat.uid === user || stat.size === 0 || stat.isDirectory() ? undefined : what;
    };
  const watched = (): string[] => [
    ...[host.root, ...sandboxes],
    ...readdirSync('/run')
      .filter((name) => name.startsWith('deimos'))
      .map((name) => `/run/${name}`),
  ];

  const run = async (slave: StandInSlave, user: string): Promise<void> => {
    const begin = async ([options, state]: readonly [TaskOptions, number]) => {
      const task = await slave.launch(commandTask(options), { user });
      sandboxes.push(task.sandbox);
      return { task, state };
    };
    const begun: { readonly task: LaunchedTask; readonly state: number }[] = [];
    for (const one of await all()) begun.push(await begin(one));
    for (const { task, state } of begun) {
      if (state === KILLED) {
        await until('its health is known', () => task.updates().some(({ healthy }) => healthy === true), {
          timeoutMs: LONG_MS,
        });
        for (const words of [['ps'], ['ps', '--json'], ['state'], ['check']])
          checkThatNoneIsIn(saidBy(await host.deimos(words)), words.join(' '));
        await slave.killTask(task);
      }
      const end = await task.ended(LONG_MS);
      assert.equal(end.state, state, `${end.message}`);
      assert.ok(state === FAILED || task.updates().some((update) => update.state === RUNNING));
      await task.gone();
      checkThatNoneIsIn(saidBy(await host.deimos(['logs', task.containerId])), 'logs');
      for (const { message } of task.updates()) checkThatNoneIsIn(message ?? '', 'an update');
      for (const name of ['stdout', 'stderr']) checkThatNoneIsIn(await sandboxFile(task, name), name);
      for (const { verb, end: call } of task.calls())
        checkThatNoneIsIn(call?.stderr ?? '', `stderr of ${verb}`);
      const state_ = `${host.root}/mesos/${task.containerId}`;
      await until('all is done', () => existsSync(`${state_}/removed`), { timeoutMs: LONG_MS });
      assert.ok(!existsSync(`${state_}/hook-environment`));
    }
    for (const { message } of slave.terminations) checkThatNoneIsIn(message ?? '', 'a termination');
    assert.deepEqual(await host.leftovers(), []);
    assert.deepEqual(slave.violations, []);
  };

  for (const [umask, user, uid] of [
    ['000', 'nobody', NOBODY],
    ['077', 'root', 0],
  ] as const) {
    it(`are seen nowhere, in tasks of ${user} under a slave with umask ${umask}`, async () => {
      const under = ['sh', '-c', `umask ${umask}; exec "$@"`, 'sh'] as const;
      const slave = await host.slave({ wrap: (argv) => [...under, ...syslog.wrap(argv)] });
      if (host.supervisor() !== undefined) await host.killSupervisor();
      sandboxes.splice(0);
      await using sampler = await startSampler(values());
      using files = watchFiles(watched, values(), wrongFor(uid));
      await run(slave, user);
      const { hits, scans } = await sampler.stop();
      assert.ok(scans > 100 && files.looks > 100, `${scans} scans, ${files.looks} looks`);
      assert.deepEqual(hits, []);
      assert.deepEqual(files.wrong, []);
      for (const name of ['log', 'errors']) {
        const path = `${host.root}/supervisor/${name}`;
        if (existsSync(path)) checkThatNoneIsIn(readFileSync(path, 'utf8'), path);
      }
      assert.ok(syslog.messages.length > 20);
      for (const { raw } of syslog.messages) checkThatNoneIsIn(raw, 'syslog');
      await slave.stop();
    });
  }

  it('are not in what is planned for a task, nor in what is said of one that cannot be', async () => {
    for (const option of ['--read-only', '--bogus']) {
      const container = {
        type: 'DOCKER',
        docker: {
          image: IMAGES.busybox,
          network: 'BRIDGE',
          parameters: [
            { key: 'env', value: `A=${secret.long}` },
            ...(option === '--bogus' ? [{ key: 'bogus', value: 'x' }] : []),
          ],
        },
      };
      const app = {
        id: '/app',
        cmd: 'true',
        cpus: 0.1,
        mem: 32,
        env: { VARIABLE: secret.variable },
        container,
      };
      const planned = await host.deimos(['plan'], Buffer.from(JSON.stringify(app)));
      assert.equal(planned.code, option === '--bogus' ? 4 : 0, planned.stderr);
      assert.match(saidBy(planned), /A=\*\*\*|bogus/);
      checkThatNoneIsIn(saidBy(planned), 'the plan');
    }
  });

  it('are in no core of the supervisor, and not in its environment', async () => {
    await host.deimos(['recover']);
    const pid = host.supervisor() ?? assert.fail('no supervisor');
    assert.match(procFile(pid, 'limits') ?? '', /^Max core file size +0 +0 /m);
    assert.match(procFile(pid, 'coredump_filter') ?? '', /^0+$/m);
    assert.doesNotMatch(procFile(pid, 'environ') ?? '', /MESOS_|HOME=/);
    checkThatNoneIsIn(procFile(pid, 'environ') ?? '', 'its environment');
  });
});

function newSecret(): string {
  return randomBytes(12).toString('hex');
}

function saidBy({ stdout, stderr }: { readonly stdout: Buffer; readonly stderr: string }): string {
  return `${stdout}\n${stderr}`;
}

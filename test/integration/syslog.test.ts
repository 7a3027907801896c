// What reaches syslog: lines under the tag deimos[pid], from the level that is configured on, and never a value of a task's
// environment. A real receiver takes them.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { type Syslog, type SyslogMessage, startSyslog } from '../support/syslog.ts';
import { commandTask } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const { RUNNING } = TaskState;
const USER_FACILITY = 1;
const LEVELS = { ERROR: 3, WARNING: 4, INFO: 6, DEBUG: 7 } as const;
const LONG_MS = 60_000;

describe('syslog', { skip: await skipWithoutTools() }, () => {
  let host: Host;
  let syslog: Syslog;
  let slave: StandInSlave;
  const secret = randomBytes(12).toString('hex');

  before(async () => {
    host = await startHost();
    syslog = await startSyslog();
    slave = await host.slave({ wrap: syslog.wrap });
  });
  after(async () => {
    await host[Symbol.asyncDispose]();
    await syslog?.stop();
  });

  /** What came while a task ran from launch to removal, with the pid of the supervisor of that time. */
  const runOne = async (options: readonly string[] = []) => {
    const from = syslog.messages.length;
    const env = { PASSWORD: secret };
    const value = 'echo $PASSWORD; echo $PASSWORD >&2; sleep 0.5; exit 3';
    const task = await slave.launch(commandTask({ value, image: IMAGES.busybox, env, options }));
    if (options.length === 0) await task.reached(RUNNING, LONG_MS);
    const supervisor = host.supervisor();
    await task.gone(LONG_MS);
    assert.deepEqual(await host.leftovers(), []);
    return { task, supervisor, messages: () => syslog.messages.slice(from) };
  };
  /** A supervisor keeps the level that it was started with. */
  const restartWith = async (configuration: string): Promise<void> => {
    await host.configure(configuration);
    if (host.supervisor() !== undefined) await host.killSupervisor();
  };
  const pidsNaming = (task: LaunchedTask, messages: readonly SyslogMessage[]) =>
    new Set(messages.filter(({ text }) => text.includes(task.containerId)).map(({ pid }) => pid));
  const severities = (messages: readonly SyslogMessage[]) =>
    new Set(messages.map(({ severity }) => severity));

  it('from INFO on unless told: the supervisor says what it does, under its pid', async () => {
    await restartWith('');
    const { task, supervisor, messages } = await runOne();
    await until('it has logged', () => pidsNaming(task, messages()).has(supervisor));
    for (const { tag, facility, severity, pid, raw } of messages()) {
      assert.equal(tag, 'deimos', raw);
      assert.equal(facility, USER_FACILITY, raw);
      assert.ok(pid !== undefined && pid > 1, raw);
      assert.ok(severity <= LEVELS.INFO, raw);
    }
  });

  it('from DEBUG on launch says that its task was accepted, under its own pid', async () => {
    await restartWith('[log]\nsyslog: DEBUG\n');
    const { task, supervisor, messages } = await runOne();
    await until('both have logged', () => {
      const found = pidsNaming(task, messages());
      return found.has(supervisor) && found.size >= 2;
    });
  });

  for (const [level, severity] of Object.entries(LEVELS)) {
    it(`from ${level} on where that is configured`, async () => {
      await restartWith(`[log]\nsyslog: ${level}\n`);
      // Options that docker refuses are worth a warning to nobody but the framework; a broken key is an error of ours.
      const { messages } = await runOne();
      const failing = await runOne(['--bogus']);
      if (severity >= LEVELS.INFO) {
        await until(`a line of ${level}`, () => severities(messages()).has(severity));
      } else {
        // An error is logged by a launch that fails, so there is something to wait for.
        await host.configure(`[containers]\nstop_timeout: soon\n[log]\nsyslog: ${level}\n`);
        const refused = await slave.launch(commandTask({ value: 'true', image: IMAGES.busybox }));
        await refused.gone(LONG_MS);
        await until('the error', () => severities(messages()).has(LEVELS.ERROR));
      }
      assert.ok(failing.task.updates().length > 0);
      for (const { severity: seen, raw } of messages()) assert.ok(seen <= severity, raw);
    });
  }

  it('never a value of a task’s environment', async () => {
    assert.ok(syslog.messages.length > 20);
    for (const { raw } of syslog.messages) assert.ok(!raw.includes(secret), raw);
    assert.deepEqual(slave.violations, []);
  });

  it('a call and a task do not depend on it: no receiver, and all goes on', async () => {
    await restartWith('[log]\nsyslog: DEBUG\n');
    await syslog.stop();
    const { task } = await runOne();
    assert.equal((await task.ended()).message, 'Container exited with status 3');
    assert.deepEqual(slave.violations, []);
  });
});

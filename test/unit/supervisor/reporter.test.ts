// What the reporter does where the disk of the state takes nothing: in which order reports are kept when it does again,
// and how many wait. And what it makes of an acknowledgement that comes while the same is being sent once more.

import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { it } from 'node:test';
import type { Health } from '../../../src/container/health.ts';
import { mesosContainerId } from '../../../src/container/identity.ts';
import type { LifeEvent } from '../../../src/container/life.ts';
import { TaskState } from '../../../src/container/termination.ts';
import type { Log } from '../../../src/host/log.ts';
import { identify, noted } from '../../../src/host/processes.ts';
import { decode, encode } from '../../../src/mesos/codec.ts';
import { ExecutorPort, type SlaveMessage } from '../../../src/mesos/executor-port.ts';
import * as messages from '../../../src/mesos/messages.ts';
import { formatUpid, type Upid } from '../../../src/mesos/upid.ts';
import { containerPaths } from '../../../src/state/layout.ts';
import type { RequestRecord } from '../../../src/state/records.ts';
import { ExecutorReporter, WAITING_REPORTS_MAX } from '../../../src/supervisor/reporter.ts';
import { Slaves } from '../../../src/supervisor/slaves.ts';
import { tempDirectory } from '../../support/temp.ts';
import { until } from '../../support/until.ts';
import { taskRequest } from '../container/task-request.ts';

const SILENT: Log = { debug: () => {}, info: () => {}, warning: () => {}, error: () => {} };
const sick = (failures: number): Health => ({ healthy: false, failures });

/** What a reporter uses of a port, and a slave's messages to it. */
function modelPort(): { readonly port: ExecutorPort; hear(message: SlaveMessage): void } {
  const listener = { hear: (_: SlaveMessage): void => assert.fail('nobody listens') };
  const port = {
    port: 1,
    register: (_: string, hear: (message: SlaveMessage) => void) => {
      listener.hear = hear;
    },
    unregister: () => {},
  };
  return { port: port as unknown as ExecutorPort, hear: (message) => listener.hear(message) };
}

it('keeps what it could not keep at once in its order, of a health the latest, and the end behind all', async () => {
  await using directory = await tempDirectory('rp-');
  const paths = containerPaths(directory.path, mesosContainerId('c1') ?? assert.fail());
  mkdirSync(paths.directory, { recursive: true });
  const leaving = new AbortController();
  const port = new ExecutorPort({});
  await port.listen(0);
  const reporter = new ExecutorReporter({
    ...{
      paths,
      port,
      ip: '127.0.0.1',
      ssl: () => undefined,
      slaveProcess: () => undefined,
      log: SILENT,
      tell: () => {},
    },
    // Nothing else of it is looked at.
    request: { task: taskRequest() } as unknown as RequestRecord,
    slaves: new Slaves(leaving.signal, SILENT),
  });
  const away = `${paths.directory}/away`;
  renameSync(paths.updates, away);
  const { RUNNING, KILLING, KILLED } = TaskState;
  const failures = Array.from({ length: WAITING_REPORTS_MAX + 20 }, (_, n) => n + 1);
  const reports = [
    reporter.report({ state: RUNNING, message: '' }),
    ...failures.map((n) => reporter.report({ state: RUNNING, message: '', health: sick(n) })),
    reporter.report({ state: KILLING, message: '', health: sick(failures.length) }),
  ];
  const end = reporter.report({ state: KILLED, message: '', health: sick(failures.length) });
  await new Promise(setImmediate);
  assert.deepEqual(readdirSync(away), []);
  renameSync(away, paths.updates);
  await end;
  await Promise.all(reports);
  const kept = readdirSync(paths.updates).sort();
  const said = kept.map((name) => name.slice(name.indexOf('-') + 1));
  const latest = failures.slice(3 - WAITING_REPORTS_MAX).map((n) => `1-u${n}`);
  assert.deepEqual(said, ['1', ...latest, '8', '4']);
  reporter.close();
  leaving.abort();
  await port.close();
});

it('an end that is acknowledged while it is being sent once more counts when that has arrived', async () => {
  await using directory = await tempDirectory('rp-');
  const paths = containerPaths(directory.path, mesosContainerId('c1') ?? assert.fail());
  mkdirSync(paths.directory, { recursive: true });
  writeFileSync(paths.registered, JSON.stringify({ slaveId: 's1', takesKilling: false }));
  const told: LifeEvent[] = [];
  const sent: { readonly body: Uint8Array; readonly taken: () => void }[] = [];
  const { port, hear } = modelPort();
  const task = taskRequest();
  const reporter = new ExecutorReporter({
    ...{ paths, ip: '127.0.0.1', log: SILENT, ssl: () => undefined, slaveProcess: () => undefined },
    tell: (event) => told.push(event),
    // What of them is used here.
    port,
    slaves: {
      isThere: () => true,
      forget: () => {},
      post: (_: unknown, _message: string, body: Uint8Array) =>
        new Promise((resolve) => sent.push({ body, taken: () => resolve('taken') })),
    } as unknown as Slaves,
    request: { task } as unknown as RequestRecord,
  });
  await reporter.report({ state: TaskState.FINISHED, message: '' });
  const { body, taken } = await until('it is sent', () => sent[0]);
  const { update = assert.fail() } = decode(messages.StatusUpdateMessage, body);
  const { uuid } = decode(messages.StatusUpdate, update);
  const acknowledgement = {
    ...{ slave_id: { value: 's1' }, framework_id: { value: task.frameworkId } },
    ...{ task_id: { value: task.taskId ?? '' }, uuid },
  };
  hear({
    message: 'StatusUpdateAcknowledgementMessage',
    body: encode(messages.StatusUpdateAcknowledgementMessage, acknowledgement),
  });
  await new Promise(setImmediate);
  assert.deepEqual(told, []);
  taken();
  await until('it counts', () => told.length > 0);
  assert.deepEqual(told, [{ type: 'acknowledged' }]);
  reporter.close();
});

it('what a second Reregister brought is sent once more by itself: the slave has taken nothing of it', async () => {
  await using directory = await tempDirectory('rp-');
  const paths = containerPaths(directory.path, mesosContainerId('c1') ?? assert.fail());
  mkdirSync(paths.directory, { recursive: true });
  const slave = noted(identify(process.pid) ?? assert.fail());
  const by = { ...slave, startTime: 1 };
  writeFileSync(paths.registered, JSON.stringify({ slaveId: 's1', takesKilling: false, by }));
  writeFileSync(paths.waitSeen, JSON.stringify({ ...slave, waits: [], knows: true }));
  const told: LifeEvent[] = [];
  const sent: { readonly message: string; readonly updates: readonly Uint8Array[] }[] = [];
  const { port, hear } = modelPort();
  const updatesOf = (message: string, body: Uint8Array): readonly Uint8Array[] => {
    if (message === 'ReregisterExecutorMessage')
      return decode(messages.ReregisterExecutorMessage, body).updates ?? [];
    return [decode(messages.StatusUpdateMessage, body).update ?? assert.fail()];
  };
  const reporter = new ExecutorReporter({
    ...{ paths, ip: '127.0.0.1', log: SILENT, ssl: () => undefined, slaveProcess: () => undefined },
    tell: (event) => told.push(event),
    // What of them is used here.
    port,
    slaves: {
      isThere: () => true,
      forget: () => {},
      watch: () => {},
      post: async (_: unknown, message: string, body: Uint8Array) => {
        sent.push({ message, updates: updatesOf(message, body) });
        return 'taken';
      },
    } as unknown as Slaves,
    request: { task: { ...taskRequest(), checkpoint: true } } as unknown as RequestRecord,
  });
  // Its predecessor has reregistered already, and died before it could note that.
  await reporter.dial();
  await reporter.report({ state: TaskState.RUNNING, message: '' });
  await until('reregistered', () => sent.length === 1);
  hear({ message: 'ShutdownExecutorMessage', body: Buffer.alloc(0) });
  await until('sent once more', () => sent.length > 1);
  assert.deepEqual(
    sent.map(({ message }) => message),
    ['ReregisterExecutorMessage', 'StatusUpdateMessage'],
  );
  assert.deepEqual(sent[0]?.updates, sent[1]?.updates);
  assert.deepEqual(told, []);
  reporter.close();
});

it('a noted name or address that is none is replaced, and that is said', async () => {
  await using directory = await tempDirectory('rp-');
  const paths = containerPaths(directory.path, mesosContainerId('c1') ?? assert.fail());
  mkdirSync(paths.directory, { recursive: true });
  const names: string[] = [];
  const dialled: string[] = [];
  const warnings: string[] = [];
  const begin = (): ExecutorReporter =>
    new ExecutorReporter({
      ...{ paths, ip: '127.0.0.1', ssl: () => undefined, slaveProcess: () => undefined, tell: () => {} },
      log: { ...SILENT, warning: (text) => warnings.push(text) },
      // What of them is used here.
      port: {
        port: 1,
        register: (name: string) => names.push(name),
        unregister: () => {},
      } as unknown as ExecutorPort,
      slaves: {
        isThere: () => false,
        forget: () => {},
        watch: (slave: Upid) => dialled.push(formatUpid(slave)),
      } as unknown as Slaves,
      request: {
        task: { ...taskRequest(), slavePid: 'slave(1)@127.0.0.1:5051' },
      } as unknown as RequestRecord,
    });
  const dial = async (): Promise<void> => {
    const reporter = begin();
    await reporter.dial();
    reporter.close();
  };
  await dial();
  await dial();
  assert.equal(new Set(names).size, 1);
  assert.equal(warnings.length, 0);
  writeFileSync(paths.executorName, 'deimos-nobody\r\n');
  writeFileSync(paths.slaveAddress, 'nowhere\n');
  await dial();
  assert.match(names.at(-1) ?? '', /^deimos-[0-9a-f]{32}$/);
  assert.equal(new Set(names).size, 2);
  assert.equal(readFileSync(paths.executorName, 'utf8').trim(), names.at(-1));
  assert.deepEqual(warnings.map((text) => text.slice(0, text.indexOf(':'))).sort(), [
    'the noted address of the slave is none',
    'the noted executor name is none of ours',
  ]);
  writeFileSync(paths.slaveAddress, 'slave(2)@127.0.0.1:5052\n');
  await dial();
  assert.deepEqual(dialled, [
    ...Array.from({ length: 3 }, () => 'slave(1)@127.0.0.1:5051'),
    'slave(2)@127.0.0.1:5052',
  ]);
});

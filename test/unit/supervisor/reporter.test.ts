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
import { type ContainerPaths, containerPaths } from '../../../src/state/layout.ts';
import type { RequestRecord } from '../../../src/state/records.ts';
import { ExecutorReporter, WAITING_REPORTS_MAX } from '../../../src/supervisor/reporter.ts';
import { Slaves } from '../../../src/supervisor/slaves.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';
import { until } from '../../support/until.ts';
import { taskRequest } from '../container/task-request.ts';

const SILENT: Log = { debug: () => {}, info: () => {}, warning: () => {}, error: () => {} };
/** What is used of the slaves, but their posts, where one is there all the while. */
const SLAVE_THERE = { isThere: () => true, forget: () => {}, watch: () => {} };
const sick = (failures: number): Health => ({ healthy: false, failures });

interface ModelPort {
  readonly port: ExecutorPort;
  /** Those that registered, one after the other. */
  readonly names: readonly string[];
  /** A slave's message to the one that registered last. */
  hear(message: SlaveMessage): void;
}

/** What a reporter uses of a port. */
function modelPort(): ModelPort {
  const names: string[] = [];
  const listener = { hear: (_: SlaveMessage): void => assert.fail('nobody listens') };
  const port = {
    port: 1,
    register: (name: string, hear: (message: SlaveMessage) => void) => {
      names.push(name);
      listener.hear = hear;
    },
    unregister: () => {},
  };
  return { port: port as unknown as ExecutorPort, names, hear: (message) => listener.hear(message) };
}

/** The state of a container of which nothing is noted. */
function newState(directory: TempDirectory): ContainerPaths {
  const paths = containerPaths(directory.path, mesosContainerId('c1') ?? assert.fail());
  mkdirSync(paths.directory, { recursive: true });
  return paths;
}

interface ReporterParts {
  readonly paths: ContainerPaths;
  readonly port: ExecutorPort;
  /** What of it is used. */
  readonly slaves: object;
  readonly task?: RequestRecord['task'];
  readonly tell?: (event: LifeEvent) => void;
  readonly log?: Log;
}

/** Without TLS, and of a slave whose process cannot be told. */
function newReporter({ slaves, task = taskRequest(), ...parts }: ReporterParts): ExecutorReporter {
  return new ExecutorReporter({
    ...{
      ip: '127.0.0.1',
      slaveTerms: { ssl: () => undefined, mayBeSlave: () => false },
      slaveProcess: () => undefined,
    },
    ...{ log: SILENT, tell: () => {}, ...parts },
    slaves: slaves as Slaves,
    // Nothing else of it is looked at.
    request: { task } as unknown as RequestRecord,
  });
}

it('keeps what it could not keep at once in its order, of a health the latest, and the end behind all', async () => {
  await using directory = await tempDirectory('rp-');
  const paths = newState(directory);
  const leaving = new AbortController();
  const port = new ExecutorPort({});
  await port.listen(0);
  const reporter = newReporter({ paths, port, slaves: new Slaves(leaving.signal, SILENT) });
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
  const paths = newState(directory);
  writeFileSync(paths.registered, JSON.stringify({ slaveId: 's1', takesKilling: false }));
  const told: LifeEvent[] = [];
  const sent: { readonly body: Uint8Array; readonly taken: () => void }[] = [];
  const { port, hear } = modelPort();
  const task = taskRequest();
  const reporter = newReporter({
    ...{ paths, port },
    tell: (event) => told.push(event),
    slaves: {
      ...SLAVE_THERE,
      post: (_: unknown, _message: string, body: Uint8Array) =>
        new Promise((resolve) => sent.push({ body, taken: () => resolve('taken') })),
    },
    task,
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
  const paths = newState(directory);
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
  const reporter = newReporter({
    ...{ paths, port },
    tell: (event) => told.push(event),
    slaves: {
      ...SLAVE_THERE,
      post: async (_: unknown, message: string, body: Uint8Array) => {
        sent.push({ message, updates: updatesOf(message, body) });
        return 'taken';
      },
    },
    task: { ...taskRequest(), checkpoint: true },
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
  const paths = newState(directory);
  const { port, names } = modelPort();
  const dialled: string[] = [];
  const warnings: string[] = [];
  const begin = (): ExecutorReporter =>
    newReporter({
      ...{ paths, port },
      log: { ...SILENT, warning: (text) => warnings.push(text) },
      slaves: {
        isThere: () => false,
        forget: () => {},
        watch: (slave: Upid) => dialled.push(formatUpid(slave)),
      },
      task: { ...taskRequest(), slavePid: 'slave(1)@127.0.0.1:5051' },
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

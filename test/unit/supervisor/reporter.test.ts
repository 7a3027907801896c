// What the reporter does where the disk of the state takes nothing: in which order reports are kept when it does again,
// and how many wait. Nobody is sent anything: the slave was never dialled.

import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import { it } from 'node:test';
import type { Health } from '../../../src/container/health.ts';
import { mesosContainerId } from '../../../src/container/identity.ts';
import { TaskState } from '../../../src/container/termination.ts';
import type { Log } from '../../../src/host/log.ts';
import { ExecutorPort } from '../../../src/mesos/executor-port.ts';
import { containerPaths } from '../../../src/state/layout.ts';
import type { RequestRecord } from '../../../src/state/records.ts';
import { ExecutorReporter, WAITING_REPORTS_MAX } from '../../../src/supervisor/reporter.ts';
import { Slaves } from '../../../src/supervisor/slaves.ts';
import { tempDirectory } from '../../support/temp.ts';
import { taskRequest } from '../container/task-request.ts';

const SILENT: Log = { debug: () => {}, info: () => {}, warning: () => {}, error: () => {} };
const sick = (failures: number): Health => ({ healthy: false, failures });

it('keeps what it could not keep at once in its order, of a health the latest, and the end behind all', async () => {
  await using directory = await tempDirectory('rp-');
  const paths = containerPaths(directory.path, mesosContainerId('c1') ?? assert.fail());
  mkdirSync(paths.directory, { recursive: true });
  const leaving = new AbortController();
  const port = new ExecutorPort({});
  await port.listen(0);
  const reporter = new ExecutorReporter({
    ...{ paths, port, ip: '127.0.0.1', ssl: () => undefined, log: SILENT, tell: () => {} },
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

// A daemon that is slow and one that is away are both asked again; only the latter is said to be away.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mesosContainerId } from '../../../src/container/identity.ts';
import { Engine } from '../../../src/docker/engine.ts';
import { dockerFault } from '../../../src/docker/faults.ts';
import { PullCoordinator } from '../../../src/docker/pull-coordinator.ts';
import { Fault } from '../../../src/fault.ts';
import type { Log } from '../../../src/host/log.ts';
import { containerPaths } from '../../../src/state/layout.ts';
import { ContainerDaemon } from '../../../src/supervisor/container-daemon.ts';
import { tempDirectory } from '../../support/temp.ts';

const nothing = () => {};
const SILENT: Log = { debug: nothing, info: nothing, warning: nothing, error: nothing };

for (const [what, error, told] of [
  ['slow', new Fault('timeout', 'no answer within 30 s'), ['back']],
  [
    'away',
    dockerFault(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }), 'wait'),
    ['away', 'back'],
  ],
] as const) {
  test(`a daemon that is ${what} is asked again, and is told: ${told.join(', ')}`, async () => {
    await using root = await tempDirectory();
    const containerId = mesosContainerId('c') ?? assert.fail();
    const engine = new Engine({ kind: 'unix', path: root.at('socket') });
    const one = { engine, pulls: new PullCoordinator(async () => {}) };
    const daemon = new ContainerDaemon({
      ...{
        root: root.path,
        paths: containerPaths(root.path, containerId),
        request: { task: { containerId } },
      },
      ...{ host: { at: () => one, choose: async () => one }, log: SILENT },
    });
    const said: string[] = [];
    const onlooker = { daemonAway: () => said.push('away'), daemonBack: () => said.push('back') };
    let tries = 0;
    const work = async (): Promise<number> => {
      if (++tries === 1) throw error;
      return tries;
    };
    assert.equal(await daemon.insist('waiting', work, onlooker, new AbortController().signal), 2);
    assert.deepEqual(said, told);
  });
}

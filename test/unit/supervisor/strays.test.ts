// Which containers are removed as what an earlier boot has left: only those of which nobody can ask any more.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { test } from 'node:test';
import { containerName, dockerId, mesosContainerId } from '../../../src/container/identity.ts';
import type { ListedContainer } from '../../../src/docker/engine.ts';
import { Fault } from '../../../src/fault.ts';
import { bootId } from '../../../src/host/processes.ts';
import { removeStrays } from '../../../src/supervisor/strays.ts';
import { tempDirectory } from '../../support/temp.ts';

const never = new AbortController().signal;
const UNIX = { kind: 'unix', path: '/run/docker.sock' } as const;

function listed(name: string, changes: Partial<ListedContainer> = {}): ListedContainer {
  const id = dockerId(Buffer.from(name).toString('hex').padEnd(64, '0')) ?? assert.fail();
  const own = containerName(mesosContainerId(name) ?? assert.fail());
  return { id, name: own, state: 'exited', mesosId: name, bootId: 'earlier', ...changes };
}

/** The Mesos ids of those that are removed. */
async function removedOf(
  containers: readonly ListedContainer[],
  root: string,
  endpoint: Parameters<typeof removeStrays>[0]['endpoint'] = UNIX,
): Promise<readonly string[]> {
  const removed: string[] = [];
  const told: string[] = [];
  const engine = {
    endpoint,
    listByLabel: async () => containers,
    remove: async (id: string, { force }: { readonly force: boolean }) => {
      const found = containers.find((one) => one.id === id) ?? assert.fail();
      assert.equal(force, false);
      if (found.mesosId === 'started') throw new Fault('conflict', 'it runs');
      if (found.mesosId === 'broken') throw new Fault('docker', 'driver failed to remove root filesystem');
      removed.push(found.mesosId);
      return 'removed' as const;
    },
  };
  const count = await removeStrays(engine, root, { warning: (text) => void told.push(text) }, never);
  assert.equal(count, removed.length);
  assert.equal(told.length, containers.filter(({ mesosId }) => /^(?:started|broken)$/.test(mesosId)).length);
  return removed;
}

test('of an earlier boot goes what does not run and has no state', async () => {
  await using directory = await tempDirectory();
  mkdirSync(directory.at('mesos/known'), { recursive: true });
  const containers = [
    listed('exited'),
    listed('created', { state: 'created' }),
    listed('dead', { state: 'dead' }),
    listed('running', { state: 'running' }),
    listed('paused', { state: 'paused' }),
    listed('known'),
    listed('of-this-boot', { bootId: bootId() }),
    listed('of-no-boot', { bootId: undefined }),
    listed('of-nobody', { mesosId: '../known' }),
    listed('of-a-person', { name: 'keep' }),
    listed('started'),
    listed('broken'),
    listed('last'),
  ];
  assert.deepEqual(await removedOf(containers, directory.path), ['exited', 'created', 'dead', 'last']);
});

test('nothing goes on another host, whose boots are not ours', async () => {
  await using directory = await tempDirectory();
  const elsewhere = { kind: 'tcp', host: '127.0.0.2', port: 2375 } as const;
  assert.deepEqual(await removedOf([listed('exited')], directory.path, elsewhere), []);
});

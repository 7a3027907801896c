// Which containers are removed as what an earlier boot has left: only those of which nobody can ask any more.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { test } from 'node:test';
import { dockerId } from '../../../src/container/identity.ts';
import type { ListedContainer } from '../../../src/docker/engine.ts';
import { Fault } from '../../../src/fault.ts';
import { bootId } from '../../../src/host/processes.ts';
import { removeStrays } from '../../../src/supervisor/strays.ts';
import { tempDirectory } from '../../support/temp.ts';

const never = new AbortController().signal;
const UNIX = { kind: 'unix', path: '/run/docker.sock' } as const;

function listed(name: string, changes: Partial<ListedContainer> = {}): ListedContainer {
  const id = dockerId(Buffer.from(name).toString('hex').padEnd(64, '0')) ?? assert.fail();
  return { id, name, state: 'exited', mesosId: name, bootId: 'earlier', ...changes };
}

/** The names of those that are removed. */
async function removedOf(
  containers: readonly ListedContainer[],
  root: string,
  endpoint: Parameters<typeof removeStrays>[0]['endpoint'] = UNIX,
): Promise<readonly string[]> {
  const removed: string[] = [];
  const engine = {
    endpoint,
    listByLabel: async () => containers,
    remove: async (id: string, { force }: { readonly force: boolean }) => {
      const found = containers.find((one) => one.id === id) ?? assert.fail();
      assert.equal(force, false);
      if (found.name === 'started') throw new Fault('conflict', 'it runs');
      removed.push(found.name);
      return 'removed' as const;
    },
  };
  const count = await removeStrays(engine, root, never);
  assert.equal(count, removed.length);
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
    listed('started'),
    listed('last'),
  ];
  assert.deepEqual(await removedOf(containers, directory.path), ['exited', 'created', 'dead', 'last']);
});

test('nothing goes on another host, whose boots are not ours', async () => {
  await using directory = await tempDirectory();
  const elsewhere = { kind: 'tcp', host: '127.0.0.2', port: 2375 } as const;
  assert.deepEqual(await removedOf([listed('exited')], directory.path, elsewhere), []);
});

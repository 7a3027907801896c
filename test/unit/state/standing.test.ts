// Where a container stands, fact by fact, and which one a person means.

import assert from 'node:assert/strict';
import { chmodSync, mkdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { dockerId } from '../../../src/container/identity.ts';
import { writeFactSync } from '../../../src/host/facts.ts';
import { identify, noted } from '../../../src/host/processes.ts';
import { containerPaths } from '../../../src/state/layout.ts';
import { resolveState } from '../../../src/state/resolve.ts';
import { prepareRoot, rootsToShow } from '../../../src/state/root.ts';
import { isOver, type StandingName, standingOf } from '../../../src/state/standing.ts';
import { accept, noteDockerId, withdraw } from '../../../src/state/store.ts';
import { id, launched } from '../../support/states.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';

async function rooted(): Promise<TempDirectory & { readonly root: string }> {
  const directory = await tempDirectory();
  return Object.assign(directory, { root: prepareRoot(directory.at('root')) });
}

const own = identify(process.pid) ?? assert.fail();
const DOCKER = dockerId('0123456789abcdef'.repeat(4)) ?? assert.fail();
const EXITED = JSON.stringify({ kind: 'exited', exitCode: 137, oomKilled: true });
const TERMINATION = JSON.stringify({ message: 'Exited with status 3', killed: false, reasons: [] });

describe('where a container stands', () => {
  it('follows from what has been noted, since it was', async () => {
    await using directory = await rooted();
    const { root } = directory;
    const paths = launched(root, 'one', 'task-1');
    const steps: readonly (readonly [step: () => unknown, name: StandingName])[] = [
      [() => {}, 'launching'],
      [() => accept(paths), 'starting'],
      [() => noteDockerId(root, paths, id('one'), DOCKER), 'starting'],
      [() => writeFactSync(paths.init, JSON.stringify(noted(own))), 'running'],
      [() => writeFactSync(paths.wantedEnd, '{}'), 'ending'],
      [() => writeFactSync(paths.init, JSON.stringify(noted({ ...own, startTime: 1 }))), 'ended'],
      [() => writeFactSync(paths.outcome, EXITED), 'ended'],
      [() => writeFactSync(paths.termination, TERMINATION), 'ended'],
      [() => writeFactSync(paths.delivered, ''), 'told'],
    ];
    for (const [step, name] of steps) {
      const before = Date.now();
      step();
      const standing = standingOf(paths) ?? assert.fail();
      assert.equal(standing.name, name);
      assert.ok((standing.sinceMs ?? 0) >= before - 1000, `${name} since ${standing.sinceMs}`);
    }
    const {
      taskId,
      dockerId: docker,
      init,
      outcome,
      message,
      launchedAt,
    } = standingOf(paths) ?? assert.fail();
    assert.deepEqual(
      [taskId, docker, init, outcome, message, launchedAt],
      [
        ...['task-1', DOCKER, undefined, JSON.parse(EXITED), 'Exited with status 3'],
        '2026-01-02T03:04:05.678000Z',
      ],
    );
    assert.equal(isOver(paths), true);
  });

  it('is told of what never ran, of what is not ours, and of nothing', async () => {
    await using directory = await rooted();
    const { root } = directory;
    const withdrawn = launched(root, 'withdrawn');
    withdraw(withdrawn);
    assert.equal(standingOf(withdrawn)?.name, 'withdrawn');
    assert.equal(isOver(withdrawn), true);
    mkdirSync(`${root}/mesos/other/x`, { recursive: true });
    assert.equal(standingOf(containerPaths(root, id('other')))?.name, 'foreign');
    assert.equal(standingOf(containerPaths(root, id('nowhere'))), undefined);
  });
});

describe('which container is meant', () => {
  it('by each of its ids, in full or as short as they differ', async () => {
    await using directory = await rooted();
    const { root } = directory;
    noteDockerId(root, launched(root, 'aaa-1', 'web.1'), id('aaa-1'), DOCKER);
    launched(root, 'aaa-2', 'web.10');
    const meant = (word: string) => resolveState([root], word).id;
    for (const word of ['aaa-1', DOCKER, DOCKER.slice(0, 4), 'web.1'])
      assert.equal(meant(word), 'aaa-1', word);
    for (const word of ['aaa-2', 'web.10']) assert.equal(meant(word), 'aaa-2', word);
    assert.throws(() => meant('aaa'), {
      kind: 'conflict',
      message: /aaa may be 2 containers: (aaa-1 \(task web\.1\), aaa-2|aaa-2 .*aaa-1)/,
    });
    for (const word of ['', 'zzz', 'aaa-12', '../aaa-1'])
      assert.throws(() => meant(word), { kind: 'not-found' }, word);
  });

  it('in every root that is shown; a root of somebody else is no empty one', async () => {
    await using directory = await rooted();
    await using second = await rooted();
    launched(second.root, 'b');
    assert.equal(resolveState([directory.root, second.root], 'b').root, second.root);
    assert.deepEqual(rootsToShow(directory.root, true), [directory.root]);
    assert.deepEqual(rootsToShow(directory.at('nowhere'), true), []);
    const open = directory.at('open');
    mkdirSync(open);
    chmodSync(open, 0o777);
    for (const only of [true, false]) assert.throws(() => rootsToShow(open, only), { kind: 'config' });
  });
});

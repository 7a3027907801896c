// The state directory: who decides whether a launch happens, what is listed, what may go.

import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { test } from 'node:test';
import { dockerId, mesosContainerId } from '../../../src/container/identity.ts';
import { isFault } from '../../../src/fault.ts';
import { writeFactSync } from '../../../src/host/facts.ts';
import { containerPaths, rootPaths } from '../../../src/state/layout.ts';
import { finishedAtMs, removeFinished } from '../../../src/state/retention.ts';
import { checkRoot, prepareRoot } from '../../../src/state/root.ts';
import {
  accept,
  admission,
  createState,
  finishRemovals,
  launchTimes,
  listIds,
  needsSupervisor,
  noteDockerId,
  readRequest,
  removeState,
  withdraw,
} from '../../../src/state/store.ts';
import { NOBODY } from '../../support/exchange.ts';
import { mountSmallDisk } from '../../support/small-disk.ts';
import { id, launched, requestOf } from '../../support/states.ts';
import { tempDirectory } from '../../support/temp.ts';

test('ids that could be paths are no ids', () => {
  for (const text of ['', '.', '..', 'a/b', 'a\0b', 'x'.repeat(256), 'a b', 'ä']) {
    assert.equal(mesosContainerId(text), undefined, JSON.stringify(text));
  }
  assert.equal(
    mesosContainerId('097bb7e3-6899-459e-b5f5-5ab97c714b83'),
    '097bb7e3-6899-459e-b5f5-5ab97c714b83',
  );
});

test('a root of which a killed launch has made no more than the directory has no states', async () => {
  await using directory = await tempDirectory();
  const root = directory.at('root');
  mkdirSync(root, { mode: 0o700 });
  assert.deepEqual(listIds(root), { ids: [], foreign: [] });
  finishRemovals(root);
});

test('when what was launched, by the links of the root; what is no link of a state is passed over', async () => {
  await using directory = await tempDirectory();
  const root = directory.at('root');
  assert.deepEqual([...launchTimes(root)], []);
  prepareRoot(root);
  launched(root, 'one');
  launched(root, 'two');
  const { startTimes } = rootPaths(root);
  symlinkSync('/elsewhere', `${startTimes}/foreign`);
  writeFileSync(`${startTimes}/file`, '');
  assert.deepEqual([...launchTimes(root)].sort(), [
    ['one', '2026-01-02T03:04:05.678000Z'],
    ['two', '2026-01-02T03:04:05.678001Z'],
  ]);
});

test('a root on a disk that is read-only is refused for that', async () => {
  await using directory = await tempDirectory();
  await using disk = await mountSmallDisk(directory.at('disk'));
  assert.ok(await disk.setReadOnly());
  const root = `${disk.path}/deep/root`;
  assert.throws(
    () => prepareRoot(root),
    (error) =>
      isFault(error, 'host') && /^cannot make .*\/deep\/root: read-only file system$/.test(error.message),
  );
  await disk.setWritable();
  assert.equal(prepareRoot(root), root);
});

test('accepting and withdrawing exclude each other, and each may be repeated', async () => {
  await using directory = await tempDirectory();
  const root = prepareRoot(directory.at('root'));
  const first = launched(root, 'first');
  assert.equal(admission(first), 'pending');
  assert.equal(accept(first), true);
  assert.equal(accept(first), true);
  assert.equal(withdraw(first), false);
  assert.equal(admission(first), 'accepted');
  const second = launched(root, 'second');
  assert.equal(withdraw(second), true);
  assert.equal(accept(second), false);
  assert.equal(admission(second), 'withdrawn');
});

test('an accepted container cannot be launched again; what an interrupted launch left can', async () => {
  await using directory = await tempDirectory();
  const root = prepareRoot(directory.at('root'));
  accept(launched(root, 'one'));
  assert.throws(
    () => createState(root, id('one')),
    (error) => isFault(error, 'conflict'),
  );
  withdraw(launched(root, 'two'));
  accept(launched(root, 'two'));
  assert.equal(admission(containerPaths(root, id('two'))), 'accepted');
});

test('the request comes back as it was written; another version is refused in words, a torn one is absent', async () => {
  await using directory = await tempDirectory();
  const root = prepareRoot(directory.at('root'));
  const paths = launched(root, 'one');
  assert.deepEqual(readRequest(paths), requestOf('one'));
  writeFileSync(paths.request, JSON.stringify({ ...requestOf('one'), version: 99 }));
  assert.throws(() => readRequest(paths), /version 99/);
  writeFileSync(paths.request, '{"version":1,"ta');
  assert.equal(readRequest(paths), undefined);
});

test('two launches of one microsecond get names of their own, in order', async () => {
  await using directory = await tempDirectory();
  const root = prepareRoot(directory.at('root'));
  launched(root, 'one');
  launched(root, 'two');
  assert.deepEqual(readdirSync(rootPaths(root).startTimes).sort(), [
    '2026-01-02T03:04:05.678000Z',
    '2026-01-02T03:04:05.678001Z',
  ]);
});

test('removing a state takes its symlinks along, and no foreign ones', async () => {
  await using directory = await tempDirectory();
  const root = prepareRoot(directory.at('root'));
  const paths = launched(root, 'one');
  const docker = dockerId('a'.repeat(64));
  assert.ok(docker !== undefined);
  noteDockerId(root, paths, id('one'), docker);
  noteDockerId(root, paths, id('one'), docker);
  assert.equal(readlinkSync(`${root}/docker/${docker}`), '../mesos/one');
  symlinkSync('../mesos/other', `${root}/docker/foreign`);
  removeState(root, id('one'));
  removeState(root, id('one'));
  assert.deepEqual(readdirSync(`${root}/docker`), ['foreign']);
  assert.deepEqual(readdirSync(`${root}/start-time`), []);
  assert.deepEqual(readdirSync(`${root}/mesos`), []);
});

test('a removal that was interrupted is no state any more, and is finished by the next one', async () => {
  await using directory = await tempDirectory();
  const root = prepareRoot(directory.at('root'));
  mkdirSync(`${root}/mesos/~one-17-4242/lock`, { recursive: true });
  writeFileSync(`${root}/mesos/~one-17-4242/accepted`, '');
  assert.deepEqual(listIds(root), { ids: [], foreign: [] });
  assert.deepEqual(
    removeFinished(root, Date.now(), () => true),
    [],
  );
  assert.deepEqual(readdirSync(`${root}/mesos`), []);
});

test('foreign entries are told apart from states and left alone', async () => {
  await using directory = await tempDirectory();
  const root = prepareRoot(directory.at('root'));
  launched(root, 'one');
  mkdirSync(`${root}/mesos/not an id`);
  assert.deepEqual(listIds(root), { ids: ['one'], foreign: ['not an id'] });
});

test('a state may go when its end was delivered and its container is gone, and not before', async () => {
  await using directory = await tempDirectory();
  const root = prepareRoot(directory.at('root'));
  const paths = launched(root, 'one');
  const now = Date.now();
  accept(paths);
  assert.equal(needsSupervisor(paths), true);
  const termination = JSON.stringify({ killed: false, message: 'ended', reasons: [] });
  const facts = [
    [paths.removed, ''],
    [paths.termination, termination.slice(0, -1)],
    [paths.termination, termination],
  ] as const;
  for (const [fact, content] of facts) {
    assert.deepEqual([needsSupervisor(paths), finishedAtMs(paths, now)], [true, undefined]);
    writeFactSync(fact, content);
  }
  assert.equal(needsSupervisor(paths), false);
  assert.equal(finishedAtMs(paths, now), undefined);
  writeFactSync(paths.delivered, '');
  assert.ok((finishedAtMs(paths, now) ?? 0) > 0);
  assert.deepEqual(
    removeFinished(root, now, () => false),
    [],
  );
  assert.deepEqual(
    removeFinished(root, now, () => true),
    ['one'],
  );
});

test('a launch that died half way is left alone while it may be under way', async () => {
  await using directory = await tempDirectory();
  const root = prepareRoot(directory.at('root'));
  const paths = launched(root, 'one');
  assert.equal(finishedAtMs(paths, Date.now()), undefined);
  const old = new Date(Date.now() - 3_600_000);
  utimesSync(paths.directory, old, old);
  assert.ok(finishedAtMs(paths, Date.now()) !== undefined);
});

test('a root that others can write, or that is somebody else’s, is refused in words', async () => {
  await using directory = await tempDirectory();
  const root = prepareRoot(directory.at('root'));
  assert.equal(checkRoot(root), root);
  chmodSync(root, 0o777);
  assert.throws(() => checkRoot(root), /can be written by others/);
  assert.throws(
    () => checkRoot(directory.at('absent')),
    (error) => isFault(error, 'not-found'),
  );
  writeFileSync(directory.at('file'), '', { mode: 0o600 });
  assert.throws(() => checkRoot(directory.at('file')), /not a directory/);
});

test('a root in whose place somebody else could put another one is refused, and nothing is made there', async () => {
  await using directory = await tempDirectory();
  const [theirs, others, sticky, real] = ['theirs', 'others', 'sticky', 'real'].map((name) => {
    mkdirSync(directory.at(name, 'deep'), { recursive: true, mode: 0o700 });
    return directory.at(name);
  });
  assert.ok(theirs && others && sticky && real);
  chownSync(theirs, NOBODY, NOBODY);
  chmodSync(others, 0o770);
  chmodSync(sticky, 0o1777);
  symlinkSync(real, `${sticky}/of-root`);
  symlinkSync(real, `${sticky}/of-nobody`);
  lchownSync(`${sticky}/of-nobody`, NOBODY, NOBODY);
  mkdirSync(`${sticky}/made-before`, { mode: 0o777 });
  chownSync(`${sticky}/made-before`, NOBODY, NOBODY);
  symlinkSync('loop', `${sticky}/loop`);
  const refused: readonly (readonly [root: string, words: RegExp])[] = [
    [`${theirs}/deep`, /theirs belongs to user 65534$/],
    [`${theirs}/new`, /theirs belongs to user 65534$/],
    [`${others}/deep`, /others can be written by others$/],
    [`${others}/new/deeper`, /others can be written by others$/],
    [`${sticky}/of-nobody/deep`, /of-nobody is a link of user 65534$/],
    [`${sticky}/of-nobody/new`, /of-nobody is a link of user 65534$/],
    [`${sticky}/of-nobody`, /of-nobody is a link of user 65534$/],
    [`${sticky}/made-before/new`, /made-before belongs to user 65534$/],
    [`${sticky}/made-before`, /belongs to user 65534, not to user 0/],
    [`${sticky}/loop`, /is one of too many links$/],
  ];
  for (const [root, words] of refused) {
    for (const check of [checkRoot, prepareRoot])
      assert.throws(
        () => check(root),
        (error) => isFault(error, 'config') && words.test(error.message),
        root,
      );
  }
  for (const path of [theirs, others, real]) assert.deepEqual(readdirSync(path), ['deep']);
  assert.deepEqual(readdirSync(`${sticky}/made-before`), []);
  for (const root of [`${sticky}/new`, `${sticky}/of-root/deep`, `${sticky}/of-root/new/deeper`])
    assert.equal(prepareRoot(root), root.replace('/sticky/of-root', '/real'));
});

test('whatever the umask, all that is made in a root is for its owner alone', async () => {
  await using directory = await tempDirectory();
  for (const umask of [0, 0o077]) {
    const before = process.umask(umask);
    try {
      const root = prepareRoot(directory.at(`root-${umask}`, 'deep'));
      launched(root, 'one');
    } finally {
      process.umask(before);
    }
    const top = directory.at(`root-${umask}`);
    for (const name of ['.', ...readdirSync(top, { recursive: true, encoding: 'utf8' })]) {
      const { mode } = lstatSync(`${top}/${name}`);
      if ((mode & 0o170000) !== 0o120000) assert.equal(mode & 0o077, 0, name);
    }
  }
});

// What Docker would mount of a sandbox, while its owner exchanges names in it: nothing outside, and each directory is its
// owner's again afterwards, whoever dies meanwhile.

import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { test } from 'node:test';
import { isFault } from '../../../src/fault.ts';
import type { Log } from '../../../src/host/log.ts';
import { rest } from '../../../src/host/pauses.ts';
import { MountSources, runsAsRoot } from '../../../src/supervisor/mount-sources.ts';
import { NOBODY, startExchanger } from '../../support/exchange.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';

const never = new AbortController().signal;
const told = (): never => assert.fail('nothing is logged');
const LOG: Log = { debug: told, info: told, warning: told, error: told };

interface Box {
  readonly sandbox: string;
  readonly note: string;
  /** As a supervisor, or the next one, has it. */
  sources(): MountSources;
}

/** Nobody's, with the directories `fs` and `a/b`. */
function box(directory: TempDirectory): Box {
  const [sandbox, note] = [directory.at('box'), directory.at('held')];
  for (const path of [sandbox, `${sandbox}/fs`, `${sandbox}/a`, `${sandbox}/a/b`]) {
    mkdirSync(path);
    chownSync(path, NOBODY, NOBODY);
  }
  mkdirSync(directory.at('outside'));
  return { sandbox, note, sources: () => new MountSources({ sandbox, note, log: LOG }) };
}

const ownerOf = (path: string): string => {
  const { uid, gid, mode } = lstatSync(path);
  return `${uid}:${gid} ${(mode & 0o7777).toString(8)}`;
};

test('what is mounted stays in its place while it is held, and not a moment longer', async () => {
  await using directory = await tempDirectory();
  const { sandbox, sources } = box(directory);
  symlinkSync(directory.at('outside'), `${sandbox}/link`);
  await using exchanger = await startExchanger(sandbox, [['fs', 'link']]);
  await exchanger.ready;
  const outcomes = { held: 0, refused: 0 };
  for (let n = 0; n < 200; n++) {
    const one = sources();
    try {
      one.hold([`${sandbox}/fs`], true);
      outcomes.held++;
      for (let look = 0; look < 20; look++) assert.equal(realpathSync(`${sandbox}/fs`), `${sandbox}/fs`);
    } catch (error) {
      assert.ok(isFault(error, 'refused'), String(error));
      assert.match(error.message, /box\/fs leads out of the sandbox$/);
      outcomes.refused++;
    }
    one.release();
    assert.equal(ownerOf(sandbox), `${NOBODY}:${NOBODY} 755`);
    // It goes on exchanging.
    await rest(1, never);
  }
  assert.ok(outcomes.held > 0 && outcomes.refused > 0, JSON.stringify(outcomes));
});

test('each directory on the way is held, through links in the sandbox too, and all are given back as they were', async () => {
  await using directory = await tempDirectory();
  const { sandbox, note, sources } = box(directory);
  chmodSync(`${sandbox}/a`, 0o2775);
  symlinkSync('a', `${sandbox}/relative`);
  symlinkSync(`${sandbox}/relative/b/..`, `${sandbox}/absolute`);
  const one = sources();
  one.hold([`${sandbox}/absolute/b/new`, '/etc', sandbox, `${sandbox}-other/fs`], true);
  assert.equal(ownerOf(sandbox), `0:${NOBODY} 755`);
  assert.equal(ownerOf(`${sandbox}/a`), `0:${NOBODY} 2755`);
  assert.equal(ownerOf(`${sandbox}/a/b`), `0:${NOBODY} 755`);
  assert.equal(ownerOf(`${sandbox}/fs`), `${NOBODY}:${NOBODY} 755`, 'what is mounted itself is as it was');
  one.release();
  assert.equal(ownerOf(sandbox), `${NOBODY}:${NOBODY} 755`);
  assert.equal(ownerOf(`${sandbox}/a`), `${NOBODY}:${NOBODY} 2775`);
  assert.equal(ownerOf(`${sandbox}/a/b`), `${NOBODY}:${NOBODY} 755`);
  assert.ok(!existsSync(note));
  one.release();
});

test('what a container sees that is not root’s is left to its owner, and only looked at', async () => {
  await using directory = await tempDirectory();
  const { sandbox, note, sources } = box(directory);
  symlinkSync('/etc', `${sandbox}/a/etc`);
  sources().hold([sandbox, `${sandbox}/a/b`], false);
  assert.equal(ownerOf(sandbox), `${NOBODY}:${NOBODY} 755`);
  assert.ok(!existsSync(note));
  assert.throws(() => sources().hold([sandbox, `${sandbox}/a/etc`], false), /leads out of the sandbox/);
  const one = sources();
  one.hold([`${sandbox}/a`], false);
  assert.equal(ownerOf(sandbox), `0:${NOBODY} 755`);
  assert.equal(ownerOf(`${sandbox}/a`), `${NOBODY}:${NOBODY} 755`);
  one.release();
});

test('a sandbox with two names is one', async () => {
  await using directory = await tempDirectory();
  const { sandbox, note } = box(directory);
  symlinkSync(sandbox, directory.at('other-name'));
  const one = new MountSources({ sandbox: directory.at('other-name'), note, log: LOG });
  for (const source of [`${sandbox}/fs`, `${directory.at('other-name')}/fs`]) {
    one.hold([source], true);
    assert.equal(ownerOf(sandbox), `0:${NOBODY} 755`);
    one.release();
  }
});

test('whether a container is root’s is told by the user that Docker names', () => {
  const facts = (User: unknown) =>
    ({ raw: { Config: { User } } }) as unknown as Parameters<typeof runsAsRoot>[0];
  for (const user of ['', 'root', '0', '00', '0:0', 'root:users', ':1'])
    assert.ok(runsAsRoot(facts(user)), user);
  for (const user of ['nobody', '10', '65534:0', 'rooter', 'x:0']) assert.ok(!runsAsRoot(facts(user)), user);
});

test('a way that leads out of the sandbox is refused', async () => {
  await using directory = await tempDirectory();
  const { sandbox, sources } = box(directory);
  const links = {
    up: '..',
    far: '../outside',
    root: '/',
    like: `${sandbox}-other`,
    loop: 'loop',
    deep: 'a/b/../../../x',
  };
  for (const [name, target] of Object.entries(links)) symlinkSync(target, `${sandbox}/${name}`);
  symlinkSync('/etc', `${sandbox}/a/etc`);
  for (const path of [...Object.keys(links), 'up/x', 'a/etc', 'a/etc/passwd', '../outside', 'a/../../x']) {
    const one = sources();
    assert.throws(
      () => one.hold([`${sandbox}/${path}`], true),
      (error) => isFault(error, 'refused'),
      path,
    );
    one.release();
  }
  assert.equal(ownerOf(sandbox), `${NOBODY}:${NOBODY} 755`);
});

test('a sandbox of root’s own is left as it is', async () => {
  await using directory = await tempDirectory();
  const { sandbox, note, sources } = box(directory);
  chownSync(sandbox, 0, 0);
  sources().hold([`${sandbox}/fs`], true);
  assert.ok(!existsSync(note));
});

test('what a supervisor held that died is given back by the next one', async () => {
  await using directory = await tempDirectory();
  const { sandbox, note, sources } = box(directory);
  sources().hold([`${sandbox}/a/b`], true);
  assert.equal(statSync(note).mode & 0o777, 0o600);
  // Which may hold it again first.
  const next = sources();
  next.hold([`${sandbox}/a/b`, `${sandbox}/fs`], true);
  assert.equal(ownerOf(`${sandbox}/a`), `0:${NOBODY} 755`);
  next.release();
  for (const path of [sandbox, `${sandbox}/a`, `${sandbox}/a/b`])
    assert.equal(ownerOf(path), `${NOBODY}:${NOBODY} 755`);
  assert.ok(!existsSync(note));
});

test('nothing else is given to anybody: what is gone, replaced, or a note of nonsense', async () => {
  await using directory = await tempDirectory();
  const { sandbox, note, sources } = box(directory);
  mkdirSync(directory.at('other'));
  sources().hold([`${sandbox}/a/b`], true);
  const noted = readFileSync(note, 'utf8');
  rmSync(`${sandbox}/a`, { recursive: true });
  symlinkSync(directory.at('other'), `${sandbox}/a`);
  sources().release();
  assert.equal(ownerOf(directory.at('other')), '0:0 755');
  assert.equal(ownerOf(sandbox), `${NOBODY}:${NOBODY} 755`);
  rmSync(sandbox, { recursive: true });
  writeFileSync(note, noted);
  sources().release();
  for (const text of ['', '[', '{}', '[1,null,{"path":"/etc"}]']) {
    writeFileSync(note, text);
    sources().release();
    assert.ok(!existsSync(note));
  }
});

import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { test } from 'node:test';
import { isFault } from '../../../src/fault.ts';
import {
  appendLine,
  makeMissing,
  makeWorkDirectory,
  openAppend,
  readOwn,
} from '../../../src/host/sandbox.ts';
import { output } from '../../support/command.ts';
import { NOBODY, startExchanger } from '../../support/exchange.ts';
import { tempDirectory } from '../../support/temp.ts';

test('what is missing of a path in the sandbox is made, again and again', async () => {
  await using directory = await tempDirectory();
  const sandbox = directory.at('box');
  mkdirSync(sandbox);
  makeMissing(sandbox, `${sandbox}/var/./kept`);
  makeMissing(sandbox, `${sandbox}/var/kept/`);
  assert.ok(statSync(`${sandbox}/var/kept`).isDirectory());
});

test('what is there stays as it is', async () => {
  await using directory = await tempDirectory();
  const sandbox = directory.at('box');
  mkdirSync(sandbox);
  writeFileSync(`${sandbox}/file`, 'content');
  makeMissing(sandbox, `${sandbox}/file`);
  makeMissing(sandbox, `${sandbox}/file/below`);
  assert.ok(statSync(`${sandbox}/file`).isFile());
});

test('nothing is made outside of the sandbox, by whatever way', async () => {
  await using directory = await tempDirectory();
  const sandbox = directory.at('box');
  mkdirSync(sandbox);
  symlinkSync('..', `${sandbox}/up`);
  makeMissing(sandbox, `${sandbox}/up/out`);
  makeMissing(sandbox, `${sandbox}/../out`);
  makeMissing(sandbox, `${sandbox}/made/../../out`);
  makeMissing(sandbox, directory.at('out'));
  makeMissing(sandbox, `${sandbox}-out`);
  assert.ok(!existsSync(directory.at('out')));
  assert.ok(!existsSync(`${sandbox}-out`));
});

test('a system that refuses is a fault of the host', () => {
  assert.throws(
    () => makeMissing('/proc', '/proc/no-such-thing'),
    (error) => isFault(error, 'host'),
  );
});

test("a file of the owner's own is read, and one that is not there is absent", async () => {
  await using directory = await tempDirectory();
  mkdirSync(directory.at('.docker'));
  writeFileSync(directory.at('.docker', 'config.json'), 'content');
  assert.equal(await readOwn(directory.path, ['.docker', 'config.json'], 7), 'content');
  assert.equal(await readOwn(directory.path, ['.docker', 'other'], 7), 'absent');
  assert.equal(await readOwn(directory.path, ['.dockercfg'], 7), 'absent');
});

test('no link, no other kind of file, nobody else’s and none too large is read in the sandbox', async () => {
  await using directory = await tempDirectory();
  const sandbox = directory.at('box');
  mkdirSync(`${sandbox}/real`, { recursive: true });
  writeFileSync(directory.at('secret'), 'secret');
  writeFileSync(`${sandbox}/real/large`, 'x'.repeat(8));
  writeFileSync(`${sandbox}/file`, 'x');
  writeFileSync(`${sandbox}/foreign`, 'x');
  chownSync(`${sandbox}/foreign`, NOBODY, NOBODY);
  symlinkSync('../secret', `${sandbox}/link`);
  symlinkSync('real', `${sandbox}/linked`);
  await output(['mkfifo', `${sandbox}/fifo`]);
  const refused: readonly (readonly [names: readonly string[], words: RegExp])[] = [
    [['link'], /not a regular file/],
    [['linked', 'large'], /not a regular file/],
    [['file', 'below'], /not a regular file/],
    [['real'], /not a regular file/],
    [['fifo'], /not a regular file/],
    [['foreign'], /does not belong to the sandbox's owner/],
    [['real', 'large'], /larger than 7 bytes/],
  ];
  for (const [names, words] of refused)
    await assert.rejects(
      readOwn(sandbox, names, 7),
      (error) => isFault(error, 'host') && words.test(error.message),
      names.join('/'),
    );
  symlinkSync('box', directory.at('other-box'));
  await assert.rejects(readOwn(directory.at('other-box'), ['file'], 7), (error) => isFault(error, 'host'));
});

/** A sandbox of nobody's, and beside it what is root's alone: a directory, and a file that says so. */
function nobodys(directory: {
  at(...names: string[]): string;
}): Readonly<Record<'sandbox' | 'keep' | 'file', string>> {
  const [sandbox, keep] = [directory.at('box'), directory.at('keep')];
  for (const path of [sandbox, keep]) mkdirSync(path);
  chownSync(sandbox, NOBODY, NOBODY);
  writeFileSync(`${keep}/file`, "root's", { mode: 0o600 });
  return { sandbox, keep, file: `${keep}/file` };
}

function isAsItWas({ keep, file }: ReturnType<typeof nobodys>): void {
  assert.deepEqual(readdirSync(keep), ['file']);
  assert.equal(readFileSync(file, 'utf8'), "root's");
  const { uid, gid, mode } = statSync(file);
  assert.deepEqual({ uid, gid, mode: mode & 0o7777 }, { uid: 0, gid: 0, mode: 0o600 });
  assert.equal(statSync(keep).uid, 0);
}

test('output goes into a file of the sandbox owner’s, new or there already', async () => {
  await using directory = await tempDirectory();
  const { sandbox } = nobodys(directory);
  const path = `${sandbox}/stdout`;
  closeSync(openAppend(path));
  assert.equal(statSync(path).uid, NOBODY);
  appendLine(path, 'one');
  appendLine(path, 'two');
  assert.equal(readFileSync(path, 'utf8'), 'one\ntwo\n');
  // Of a supervisor that was killed before it could give it away.
  writeFileSync(`${sandbox}/stderr`, '');
  appendLine(`${sandbox}/stderr`, 'three');
  assert.equal(statSync(`${sandbox}/stderr`).uid, NOBODY);
});

test('output goes neither through a link of any kind nor into a FIFO, and what is root’s stays as it is', async () => {
  await using directory = await tempDirectory();
  const all = nobodys(directory);
  const { sandbox, keep, file } = all;
  writeFileSync(`${keep}/empty`, '', { mode: 0o600 });
  linkSync(file, `${sandbox}/hard`);
  linkSync(`${keep}/empty`, `${sandbox}/hard-empty`);
  symlinkSync(file, `${sandbox}/soft`);
  symlinkSync(`${keep}/new`, `${sandbox}/dangling`);
  writeFileSync(`${sandbox}/moved-in`, 'x');
  await output(['mkfifo', `${sandbox}/fifo`]);
  mkdirSync(`${sandbox}/directory`);
  for (const name of ['hard', 'soft', 'dangling', 'moved-in', 'fifo', 'directory'])
    assert.throws(
      () => appendLine(`${sandbox}/${name}`, 'line'),
      (error) => isFault(error, 'host'),
      name,
    );
  appendLine(`${sandbox}/hard-empty`, 'line');
  assert.deepEqual([statSync(`${keep}/empty`).uid, statSync(`${keep}/empty`).size], [0, 0]);
  assert.ok(!existsSync(`${keep}/new`));
  await output(['rm', `${keep}/empty`]);
  isAsItWas(all);
});

test('where root alone can write, a file of whomever is appended to', async () => {
  await using directory = await tempDirectory();
  chmodSync(directory.path, 0o755);
  writeFileSync(directory.at('stderr'), 'x');
  chownSync(directory.at('stderr'), NOBODY, NOBODY);
  appendLine(directory.at('stderr'), 'line');
  assert.equal(readFileSync(directory.at('stderr'), 'utf8'), 'xline\n');
});

test('the work directory is the sandbox owner’s, and no link in its place is followed', async () => {
  await using directory = await tempDirectory();
  const all = nobodys(directory);
  for (let n = 0; n < 2; n++) assert.equal(makeWorkDirectory(all.sandbox), `${all.sandbox}/fs`);
  assert.equal(statSync(`${all.sandbox}/fs`).uid, NOBODY);
  for (const [name, make] of [
    ['soft', (path: string) => symlinkSync(all.keep, path)],
    ['hard', (path: string) => linkSync(all.file, path)],
  ] as const) {
    const sandbox = directory.at(name);
    mkdirSync(sandbox);
    chownSync(sandbox, NOBODY, NOBODY);
    make(`${sandbox}/fs`);
    assert.throws(() => makeWorkDirectory(sandbox), /is not a directory/);
  }
  isAsItWas(all);
});

test('names that are exchanged meanwhile lead nothing out of the sandbox', async () => {
  await using directory = await tempDirectory();
  const all = nobodys(directory);
  const { sandbox, keep, file } = all;
  mkdirSync(`${sandbox}/data`);
  symlinkSync(keep, `${sandbox}/data-link`);
  writeFileSync(`${sandbox}/stdout`, '');
  linkSync(file, `${sandbox}/stdout-link`);
  writeFileSync(`${sandbox}/stderr`, '');
  symlinkSync(file, `${sandbox}/stderr-link`);
  for (const name of ['data', 'stdout', 'stderr']) chownSync(`${sandbox}/${name}`, NOBODY, NOBODY);
  const names = ['data', 'stdout', 'stderr'] as const;
  await using exchanger = await startExchanger(
    sandbox,
    names.map((name) => [name, `${name}-link`]),
  );
  await exchanger.ready;
  const outcomes = { done: 0, refused: 0 };
  for (let n = 0; n < 3_000; n++) {
    makeMissing(sandbox, `${sandbox}/data/made-${n}`);
    for (const name of ['stdout', 'stderr']) {
      try {
        appendLine(`${sandbox}/${name}`, 'line');
        outcomes.done++;
      } catch (error) {
        assert.ok(isFault(error, 'host'), String(error));
        outcomes.refused++;
      }
    }
  }
  assert.ok(outcomes.done > 0 && outcomes.refused > 0, JSON.stringify(outcomes));
  assert.ok(lstatSync(`${sandbox}/stdout`).isFile());
  isAsItWas(all);
});

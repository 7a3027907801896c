import assert from 'node:assert/strict';
import { chownSync, existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { isFault } from '../../../src/fault.ts';
import { makeMissing, readOwn } from '../../../src/host/sandbox.ts';
import { output } from '../../support/command.ts';
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
  chownSync(`${sandbox}/foreign`, 65534, 65534);
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

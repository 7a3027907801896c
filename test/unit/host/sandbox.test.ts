import assert from 'node:assert/strict';
import { existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { isFault } from '../../../src/fault.ts';
import { makeMissing } from '../../../src/host/sandbox.ts';
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

import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import { test } from 'node:test';
import { isFault } from '../../../src/fault.ts';
import { whereItLeads } from '../../../src/host/real-path.ts';
import { tempDirectory } from '../../support/temp.ts';

const never = new AbortController().signal;

test('links are followed as far as a path exists; dots are taken off before', async () => {
  await using directory = await tempDirectory();
  const at = (name: string): string => directory.at(name);
  mkdirSync(at('a/b'), { recursive: true });
  symlinkSync(at('a'), at('link'));
  symlinkSync('../link/b', at('a/relative'));
  symlinkSync('/nowhere/at/all', at('dangling'));
  for (const [path, leads] of [
    ['a', 'a'],
    ['link/b', 'a/b'],
    ['link/b/new/er', 'a/b/new/er'],
    ['a//relative/./c', 'a/b/c'],
    // As Docker reads it, and not as the kernel would.
    ['link/../a/b', 'a/b'],
    ['new/../link', 'a'],
  ] as const)
    assert.equal(await whereItLeads(at(path), never), at(leads), path);
  assert.equal(await whereItLeads('/../..//', never), '/');
  await assert.rejects(
    whereItLeads(at('dangling/x'), never),
    (error) => isFault(error, 'refused') && error.message.endsWith('dangling is a link that leads nowhere'),
  );
});

test('what cannot be looked up is said, and an abort ends the look', async () => {
  await using directory = await tempDirectory();
  symlinkSync(directory.at('loop'), directory.at('loop'));
  await assert.rejects(whereItLeads(directory.at('loop'), never), (error) => isFault(error, 'host'));
  await assert.rejects(whereItLeads('/', AbortSignal.abort(new Error('enough'))), /enough/);
});

// What of a state directory is reported: whatever is none of ours, or cannot be what its name says.

import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { mesosContainerId } from '../../../src/container/identity.ts';
import { type ContainerPaths, containerPaths } from '../../../src/state/layout.ts';
import { oddEntries } from '../../../src/state/odd-entries.ts';
import { tempDirectory } from '../../support/temp.ts';

const idOf = (text: string) => mesosContainerId(text) ?? assert.fail();

async function found(put: (paths: ContainerPaths) => void): Promise<Readonly<Record<string, string>>> {
  await using directory = await tempDirectory();
  const paths = containerPaths(directory.path, idOf('a'));
  mkdirSync(paths.directory, { recursive: true });
  put(paths);
  return Object.fromEntries(oddEntries(paths).map(({ name, what }) => [name, what]));
}

test('facts, markers, directories and links of ours are not reported, nor what is being written', async () => {
  const odd = await found((paths) => {
    writeFileSync(paths.request, '{"version":1}');
    writeFileSync(paths.pid, '17\n');
    writeFileSync(paths.accepted, '');
    writeFileSync(`${paths.pid}.17.1.tmp`, '');
    mkdirSync(paths.updates);
    symlinkSync('/nowhere/at/all', paths.fs);
  });
  assert.deepEqual(odd, {});
});

test('a record that is torn, empty or no JSON is reported, and a text only where it is empty', async () => {
  const odd = await found((paths) => {
    writeFileSync(paths.request, '{"version":');
    writeFileSync(paths.termination, '');
    writeFileSync(paths.outcome, 'not for you\n');
    writeFileSync(paths.dockerId, '');
    writeFileSync(paths.exit, '\n');
    writeFileSync(paths.startTime, '2014');
  });
  assert.deepEqual(odd, {
    'container.json': 'torn',
    termination: 'torn',
    outcome: 'torn',
    cid: 'torn',
    exit: 'torn',
  });
});

test('whatever has a name of ours and is of another kind is reported, and every other name', async () => {
  const odd = await found((paths) => {
    mkdirSync(paths.request);
    symlinkSync('/dev/null', paths.pid);
    symlinkSync('/nowhere/at/all', paths.accepted);
    writeFileSync(paths.updates, '');
    writeFileSync(`${paths.directory}/foreign`, '');
  });
  assert.deepEqual(odd, {
    'container.json': 'no file',
    pid: 'no file',
    accepted: 'no file',
    updates: 'no directory',
    foreign: 'unknown',
  });
});

test('a directory that cannot be read has none', async () => {
  await using directory = await tempDirectory();
  assert.deepEqual(oddEntries(containerPaths(directory.path, idOf('gone'))), []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ImageRef } from '../../../src/container/image.ts';
import type { RegistryLogin } from '../../../src/container/registry-login.ts';
import { TlsFileError } from '../../../src/docker/faults.ts';
import { Fault } from '../../../src/fault.ts';
import type { TaskLogin } from '../../../src/supervisor/task-login.ts';
import { type LoginSource, pullForTask } from '../../../src/supervisor/task-pull.ts';

// A name as the tests of images have it.
const IMAGE = 'registry:5000/app' as ImageRef;
const LOGIN: RegistryLogin = { server: 'registry:5000', entry: { auth: 'x' } };
const DENIED = new Fault('docker', 'denied');

/** What was done, in order, and how it ended. */
async function done(
  when: LoginSource['when'] | undefined,
  found: TaskLogin | Fault,
  outcomes: Readonly<Record<'pull' | 'pull with login', Fault | undefined>>,
): Promise<readonly unknown[]> {
  const steps: unknown[] = [];
  const find = async (): Promise<TaskLogin> => {
    steps.push('find');
    if (found instanceof Fault) throw found;
    return found;
  };
  const pull = async (login: RegistryLogin | undefined): Promise<void> => {
    const step = login === undefined ? 'pull' : 'pull with login';
    steps.push(step);
    const failure = outcomes[step];
    if (failure !== undefined) throw failure;
  };
  const error = await pullForTask(IMAGE, pull, when === undefined ? undefined : { when, find }).then(
    () => undefined,
    (thrown: Fault) => thrown.message,
  );
  return error === undefined ? steps : [...steps, error];
}

const works = { pull: undefined, 'pull with login': undefined };
const denied = { pull: DENIED, 'pull with login': undefined };

test('a login that is fetched by its name is waited for before anything is pulled', async () => {
  assert.deepEqual(await done('first', { login: LOGIN }, denied), ['find', 'pull with login']);
  assert.deepEqual(await done('first', {}, works), ['find', 'pull']);
  const unusable = { unusable: 'it is not JSON' };
  assert.deepEqual(await done('first', unusable, denied), ['find', 'pull', 'denied (it is not JSON)']);
});

test('what an archive may bring is looked for only when the pull is refused', async () => {
  assert.deepEqual(await done('if-refused', { login: LOGIN }, works), ['pull']);
  assert.deepEqual(await done('if-refused', { login: LOGIN }, denied), ['pull', 'find', 'pull with login']);
  const wrong = { pull: DENIED, 'pull with login': new Fault('docker', 'wrong') };
  assert.deepEqual(await done('if-refused', { login: LOGIN }, wrong), [
    'pull',
    'find',
    'pull with login',
    'wrong',
  ]);
});

test('a pull that is refused is not repeated where an archive brought no login for that registry', async () => {
  assert.deepEqual(await done('if-refused', {}, denied), ['pull', 'find', 'denied']);
  const unusable = { unusable: 'it is not JSON' };
  assert.deepEqual(await done('if-refused', unusable, denied), ['pull', 'find', 'denied (it is not JSON)']);
  const gone = new Fault('refused', 'uri x: no such page');
  assert.deepEqual(await done('if-refused', gone, denied), ['pull', 'find', 'uri x: no such page']);
});

test('no other login is looked for where Docker is what fails the pull, or no URI may bring one', async () => {
  for (const failure of [
    new Fault('timeout', 'silent'),
    new Fault('config', 'key', new TlsFileError('mismatch')),
  ]) {
    const outcomes = { pull: failure, 'pull with login': undefined };
    assert.deepEqual(await done('if-refused', { login: LOGIN }, outcomes), ['pull', failure.message]);
  }
  assert.deepEqual(await done(undefined, {}, denied), ['pull', 'denied']);
});

// The variables that a framework gives its task: the container has them as they are, whatever is in them, and nothing else obeys
// them; what cannot be one fails the task in a line that does not show its value.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { HOSTILE, OBEYED } from '../support/control.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import type { StandInSlave } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';

const LONG_MS = 60_000;

describe("a task's environment", { skip: await skipWithoutTools() }, () => {
  let host: Host;
  let slave: StandInSlave;
  before(async () => {
    host = await startHost();
    slave = await host.slave();
  });
  after(async () => await host[Symbol.asyncDispose]());

  it('is what the container has, also where a name or a value means something to others', async () => {
    const env = {
      LINES: 'one\ntwo\n\nfour',
      TERMINAL: HOSTILE,
      EMPTY: '',
      'odd name': 'a=b',
      DOCKER_HOST: 'tcp://192.0.2.1:1',
      NODE_OPTIONS: '--no-such-option',
      OPENSSL_CONF: '/nonexistent',
    };
    // No shell: that would drop the odd name.
    const program = { value: 'cat', shell: false, arguments: ['/proc/self/environ'] };
    const task = await slave.launch(commandTask({ image: IMAGES.busybox, ...program, env }));
    assert.equal((await task.ended(LONG_MS)).state, TaskState.FINISHED);
    await task.gone(LONG_MS);
    const inside = (await sandboxFile(task, 'stdout')).split('\0');
    for (const [name, text] of Object.entries(env)) assert.ok(inside.includes(`${name}=${text}`), name);
  });

  for (const [what, env] of Object.entries({
    'an empty name': { '': 'hidden' },
    'a name with =': { 'A=B': 'hidden' },
    'a name with a NUL': { 'A\0B': 'hidden' },
    'a value with a NUL': { A: 'hidden\0' },
    'a name for a terminal, and a NUL': { [HOSTILE]: 'hidden\0' },
  })) {
    it(`${what} fails the task in one line`, async () => {
      const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'true', env }));
      const { state, message = '' } = await task.ended(LONG_MS);
      await task.gone(LONG_MS);
      assert.equal(state, TaskState.FAILED);
      assert.ok(message.length > 0 && message.length < 1000);
      assert.doesNotMatch(message, OBEYED);
      assert.doesNotMatch(message, /hidden/);
      assert.equal(await sandboxFile(task, 'stderr'), `deimos: ${message}\n`);
    });
  }

  it('a value of 1 MB, which the kernel passes to no program, fails the task, and its stderr says why', async () => {
    const env = { A: 'hidden'.repeat(200_000) };
    const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'true', env }));
    assert.equal((await task.ended(LONG_MS)).state, TaskState.FAILED);
    await task.gone(LONG_MS);
    const stderr = await sandboxFile(task, 'stderr');
    assert.match(stderr, /argument list too long/);
    assert.doesNotMatch(stderr, /hidden/);
  });
});

// A slave's calls run in the sandbox of their container, and the user who Deimos trusts may own it: root, whose tasks are root
// in their container as well. Whatever such a task lays there, our calls take no orders from it.

import assert from 'node:assert/strict';
import { existsSync, lstatSync, readdirSync, symlinkSync } from 'node:fs';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { BINARY, type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { allPids, argvOf, signalPid } from '../support/proc.ts';
import { commandTask } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const LONG_MS = 60_000;

/** Sockets and FIFOs are of their process. */
function isPlain(path: string): boolean {
  const stat = lstatSync(path);
  return stat.isFile() || stat.isDirectory() || stat.isSymbolicLink();
}

describe('a configuration in a sandbox', { skip: await skipWithoutTools() }, () => {
  let host: Host;
  before(async () => {
    host = await startHost();
    // As on a host: found, and not named in each call.
    await mkdir(host.directory.at('home'));
    symlinkSync(host.configFile, host.directory.at('home/.deimos'));
  });
  after(async () => await host[Symbol.asyncDispose]());

  it('is none to the calls of the slave, whoever owns it', async () => {
    const slave = await host.slave({
      containerizer: BINARY,
      environment: { LIBPROCESS_IP: '127.0.0.1', HOME: host.directory.at('home') },
    });
    const task = await slave.launch(
      commandTask({
        form: 'new',
        image: IMAGES.busybox,
        // Root in the container is root's user id outside: what it writes is root's.
        value:
          'cd /mnt/mesos/sandbox; until [ -e go ]; do sleep 0.1; done; mv laid/* .; touch done; sleep 600',
      }),
    );
    await task.reached(TaskState.RUNNING, LONG_MS);
    // A configuration that names a root, and in it the state of this very container, with a hook that root runs on the host.
    const marker = host.directory.at('the-hook-ran');
    const evil = `${task.sandbox}/evil`;
    const state = `${task.sandbox}/laid/evil/mesos/${task.containerId}`;
    for (const part of ['mesos', 'supervisor', 'docker', 'start-time'])
      await mkdir(`${task.sandbox}/laid/evil/${part}`, { recursive: true, mode: 0o700 });
    await cp(`${host.root}/mesos/${task.containerId}`, state, { recursive: true, filter: isPlain });
    const request = JSON.parse(await readFile(`${state}/container.json`, 'utf8'));
    request.config.hooks.ondestroy = ['/bin/touch', marker];
    await writeFile(`${state}/container.json`, JSON.stringify(request));
    await writeFile(`${task.sandbox}/laid/deimos.cfg`, `[state]\nroot: ${evil}\n`);
    await writeFile(`${task.sandbox}/go`, '');
    await until('it is laid', () => existsSync(`${task.sandbox}/done`), { timeoutMs: LONG_MS });
    assert.equal(lstatSync(`${task.sandbox}/deimos.cfg`).uid, 0);

    const usage = await slave.usage(task);
    assert.ok(usage !== undefined && usage.length > 0);
    await slave.destroy(task);
    const others = allPids().filter((pid) => argvOf(pid)?.includes(evil));
    for (const pid of others) signalPid(pid, 'SIGKILL');
    assert.equal(existsSync(marker), false, 'the hook ran');
    assert.deepEqual(others, [], 'nobody serves that root');
    assert.deepEqual(readdirSync(`${evil}/supervisor`), [], 'and nobody has been there');
    await until('the container is gone', async () => (await host.dockerd.run(['ps', '-aq'])) === '', {
      timeoutMs: LONG_MS,
    });
    assert.deepEqual(slave.violations, []);
    assert.equal(await sandboxFile(task, 'stderr'), '');
  });
});

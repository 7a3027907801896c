// The life of the Debian package on a host, with tasks: a Debian system in a directory, with the host's dockerd and a slave whose
// containerizer is what the package installs.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { buildOf } from '../support/builds.ts';
import { type Outcome, outcomeOf, output } from '../support/command.ts';
import { debian } from '../support/debian.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { assertContent } from '../support/on-host.ts';
import { debianPackage, NEEDED, repacked } from '../support/package.ts';
import { allPids, argvOf, killAll } from '../support/proc.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';

const LONG_MS = 60_000;
const SUITE = 'bookworm';

const said = ({ code, stdout, stderr }: Outcome) => ({ code, text: `${stdout.toString()}${stderr}` });

describe('the Debian package on a host', { timeout: 280_000 }, () => {
  let directory: TempDirectory;
  let deb: string;
  let host: Host;
  let slave: StandInSlave;
  /** A Debian 12 in a directory: sandboxes and Docker are at the same places inside. */
  let root: string;
  let next: string;
  let pristine: string;
  const inside = async (...argv: readonly string[]) =>
    said(
      await outcomeOf(['chroot', root, ...argv], {
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
      }),
    );
  const dpkg = async (...words: readonly string[]): Promise<string> => {
    const { code, text } = await inside('dpkg', ...words);
    assert.equal(code, 0, text);
    return text;
  };
  const content = (path: string): string | undefined =>
    existsSync(`${root}${path}`) ? readFileSync(`${root}${path}`, 'utf8') : undefined;
  const version = async () => (await inside('/usr/local/bin/deimos', '--version')).text;
  const supervisors = () =>
    allPids().filter((pid) => {
      const [program, verb] = argvOf(pid) ?? [];
      return program === '/usr/local/bin/deimos' && verb === 'supervise';
    });
  const running = async (value: string): Promise<LaunchedTask> => {
    const task = await slave.launch(commandTask({ image: IMAGES.busybox, value }));
    await task.reached(TaskState.RUNNING, LONG_MS);
    return task;
  };
  const UNTIL_TOLD = 'echo begun; until [ -e go ]; do sleep 0.1; done; echo over; exit 3';
  const tell = async (task: LaunchedTask) => await writeFile(`${task.sandbox}/fs/go`, '');
  /** Its whole life, as the framework and the slave have to hear of it. */
  const assertWhole = async (task: LaunchedTask) => {
    const termination = await task.gone(LONG_MS);
    assert.equal(termination?.status, 3 << 8);
    assert.deepEqual(
      task.updates().map(({ state }) => state),
      [TaskState.RUNNING, TaskState.FAILED],
    );
    assert.equal(await sandboxFile(task, 'stdout'), 'begun\nover\n');
  };
  const listing = async (): Promise<string> =>
    await output(
      [
        'sh',
        '-c',
        'find . -path ./var/lib/dpkg -prune -o -path ./var/log -prune -o -path ./host -prune -o -print | sort',
      ],
      { cwd: root },
    );

  before(async () => {
    directory = await tempDirectory('deb-');
    deb = await debianPackage();
    const kept = (await debian(SUITE, NEEDED)) ?? assert.fail(`the archive has no ${SUITE}`);
    root = directory.at('root');
    next = directory.at('next.deb');
    await output(['cp', '-a', kept, root]);
    host = await startHost();
    const mounts = ['/proc', '/sys', '/dev', host.directory.path, host.dockerd.socket];
    const docker = await output(['sh', '-c', 'readlink -f "$(command -v docker)"']);
    await output(['cp', docker, `${root}/usr/bin/docker`]);
    pristine = await listing();
    for (const path of mounts) {
      await output([
        'sh',
        '-c',
        `[ -d ${path} ] && mkdir -p ${root}${path} || { mkdir -p $(dirname ${root}${path}); touch ${root}${path}; }`,
      ]);
      await output(['mount', '--bind', path, `${root}${path}`]);
    }
    // The next release: another binary in the same package.
    await repacked(deb, directory.at('next'), next, {
      binary: await buildOf({ version: '1.0.1' }),
      version: '1.0.1',
    });
    for (const [from, to] of [
      [deb, 'this.deb'],
      [next, 'next.deb'],
    ] as const)
      await output(['cp', from, `${root}/${to}`]);
    await mkdir(`${root}/etc/mesos-slave`);
    await writeFile(`${root}/etc/mesos-slave/isolation`, 'posix/cpu,posix/mem\n');
  });
  after(async () => {
    await slave?.[Symbol.asyncDispose]();
    await killAll(supervisors());
    await host?.[Symbol.asyncDispose]();
    await output([
      'sh',
      '-c',
      `for i in 1 2; do mount | cut -d ' ' -f 3 | grep "^${root}/" | sort -r | xargs -r umount -l; done
! grep -q " ${root}/" /proc/self/mountinfo`,
    ]);
    // Not before: of what is still mounted there the host's own would be removed.
    await directory?.remove();
  });

  it('is installed: the slave is told, what it had been told is kept, and it has to be restarted', async () => {
    const text = await dpkg('-i', '/this.deb');
    assert.match(text, /\/etc\/mesos-slave\/isolation was 'posix\/cpu,posix\/mem' and is external now/);
    assert.match(text, /restart the Mesos slave/);
    assert.equal(content('/etc/mesos-slave/containerizer_path'), '/usr/local/bin/deimos\n');
    assert.equal(content('/etc/mesos-slave/isolation'), 'external\n');
    assert.match(content('/etc/deimos.cfg') ?? '', /^root: \/run\/deimos$/m);
    // As the administrator's: an upgrade leaves it alone, and asks nothing.
    await writeFile(
      `${root}/etc/deimos.cfg`,
      `[docker]\nhost: ${host.dockerd.host}\n[state]\nroot: /run/deimos\n`,
    );
    slave = await host.slave({ containerizer: `chroot ${root} /usr/local/bin/deimos` });
  });

  it('is upgraded and downgraded while tasks run: another supervisor takes them over, and nothing of them is lost', async () => {
    const task = await running(UNTIL_TOLD);
    const before = supervisors();
    assert.match(await version(), /^deimos 1\.0\.0 /);
    assert.doesNotMatch(await dpkg('-i', '/next.deb'), /restart|isolation/);
    assert.match(await version(), /^deimos 1\.0\.1 /);
    const upgraded = supervisors();
    assert.deepEqual([before.length, upgraded.length], [1, 1]);
    assert.notDeepEqual(before, upgraded);
    const other = await running(UNTIL_TOLD);
    await dpkg('-i', '/this.deb');
    assert.match(await version(), /^deimos 1\.0\.0 /);
    await tell(task);
    await tell(other);
    await assertWhole(task);
    await assertWhole(other);
    assert.match(content('/etc/deimos.cfg') ?? '', /^\[docker\]/);
  });

  it('leaves what the administrator has changed, upgraded and installed again', async () => {
    await writeFile(`${root}/etc/mesos-slave/isolation`, 'external,own\n');
    for (const what of ['upgraded', 'installed again']) {
      await dpkg('-i', '/next.deb');
      assert.equal(content('/etc/mesos-slave/isolation'), 'external,own\n', what);
    }
    await writeFile(`${root}/etc/mesos-slave/isolation`, 'external\n');
  });

  it('is removed while a task runs, with a warning: the task lives on, and the slave’s options are as before', async () => {
    const task = await running(UNTIL_TOLD);
    const text = await dpkg('-r', 'deimos');
    assert.match(text, /warning: 1 tasks run in containers of deimos/);
    assert.match(text, /isolation has its old value again/);
    assert.equal(content('/etc/mesos-slave/isolation'), 'posix/cpu,posix/mem\n');
    assert.equal(content('/etc/mesos-slave/containerizer_path'), undefined);
    assert.equal(content('/usr/local/bin/deimos'), undefined);
    assert.equal((await host.dockerd.run(['ps', '-q'])).split('\n').length, 1);
    const cron = /root (.*)$/m.exec(content('/etc/cron.d/deimos') ?? '')?.[1] ?? assert.fail();
    assert.deepEqual(await inside('sh', '-c', cron), { code: 0, text: '' });
    await dpkg('-i', '/next.deb');
    assert.deepEqual(await inside('sh', '-c', cron), { code: 0, text: '' });
    await tell(task);
    await assertWhole(task);
    assertContent(slave);
  });

  it('is purged: nothing is left but the sandboxes', async () => {
    await slave[Symbol.asyncDispose]();
    await dpkg('-P', 'deimos');
    assert.deepEqual(supervisors(), []);
    await output([
      'sh',
      '-c',
      `rm -rf ${root}/this.deb ${root}/next.deb ${root}/etc/mesos-slave/isolation && rmdir ${root}/etc/mesos-slave`,
    ]);
    const mounted = /^\.(\/tmp\/.*|\/proc\/.*|\/sys\/.*|\/dev\/.*|\/tmp)$/;
    const left = (await listing()).split('\n').filter((path) => !mounted.test(path));
    assert.deepEqual(
      left,
      pristine.split('\n').filter((path) => !mounted.test(path)),
    );
    assert.notEqual(await output(['find', host.directory.path, '-name', 'stdout']), '');
  });
});

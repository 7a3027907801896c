// That the tests' dockerd is what the other tests take it for: whole, apart from the machine, and gone afterwards.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { outcomeOf, output } from '../support/command.ts';
import { startDockerd } from '../support/dockerd.ts';
import { IMAGES, makeImages } from '../support/images.ts';
import { allPids, argvOf, isAlive } from '../support/proc.ts';
import { StandInSlave } from '../support/slave.ts';
import { tempDirectory } from '../support/temp.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const skip = await skipWithoutTools();
const HTTPD = 'mkdir /w; echo hello >/w/index.html; exec httpd -f -p 8080 -h /w';

describe('a dockerd of the tests', { skip, timeout: 120_000 }, () => {
  it('publishes a port in its own network namespace and nowhere else', async () => {
    await using dockerd = await startDockerd();
    await makeImages(dockerd);
    await dockerd.run(['run', '-d', '-p', '31234:8080', IMAGES.busybox, 'sh', '-c', HTTPD]);
    const url = 'http://127.0.0.1:31234/';
    const body = await until('the page', async () => {
      const got = await outcomeOf(dockerd.inNetns(['busybox', 'wget', '-q', '-O', '-', url]));
      return got.code === 0 && got.stdout.toString();
    });
    assert.equal(body, 'hello\n');
    assert.notEqual((await outcomeOf(['busybox', 'wget', '-q', '-O', '-', url])).code, 0);
  });

  it('runs several at a time, each with its own containers', async () => {
    await using first = await startDockerd();
    await using second = await startDockerd();
    await makeImages(first);
    await first.run(['run', '-d', '--name', 'only-here', IMAGES.busybox, 'sleep', '60']);
    assert.equal(await first.run(['ps', '--format', '{{.Names}}']), 'only-here');
    assert.equal(await second.run(['ps', '-a', '--format', '{{.Names}}']), '');
    assert.equal(await second.run(['images', '-q']), '');
  });

  it("gives containers limits that the machine's cgroup files show", async () => {
    await using dockerd = await startDockerd();
    await makeImages(dockerd);
    const id = await dockerd.run(['run', '-d', '-m', '64m', '-c', '512', IMAGES.busybox, 'sleep', '60']);
    const pid = await dockerd.run(['inspect', '-f', '{{.State.Pid}}', id]);
    const cgroup = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
    assert.match(cgroup, new RegExp(`${dockerd.cgroupParent}/${id}`));
  });

  it('leaves no process, cgroup, mount or file', async () => {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
    const dockerd = await startDockerd();
    await makeImages(dockerd);
    await dockerd.run([
      'run',
      '-d',
      '--restart',
      'always',
      IMAGES.busybox,
      'sh',
      '-c',
      'trap "" TERM; while :; do sleep 1; done',
    ]);
    const pid = Number(
      await dockerd.run(['inspect', '-f', '{{.State.Pid}}', await dockerd.run(['ps', '-q'])]),
    );
    assert.ok(isAlive(pid));
    await dockerd.kill();
    assert.ok(isAlive(pid), 'a killed dockerd takes no container with it');
    const directory = dockerd.dataRoot.replace(/\/d$/, '');
    await dockerd.stop();
    await dockerd.stop();
    assert.ok(!isAlive(pid));
    assert.deepEqual(
      allPids().filter((other) => argvOf(other)?.some((word) => word.includes(directory))),
      [],
    );
    assert.ok(!existsSync(directory));
    const hierarchies = readdirSync('/sys/fs/cgroup');
    assert.ok(!hierarchies.some((name) => existsSync(`/sys/fs/cgroup/${name}${dockerd.cgroupParent}`)));
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8'), mounts);
  });

  it('with live restore, keeps containers through kill and restart', async () => {
    await using dockerd = await startDockerd({ liveRestore: true });
    await makeImages(dockerd);
    const id = await dockerd.run(['run', '-d', IMAGES.busybox, 'sleep', '60']);
    const pid = await dockerd.run(['inspect', '-f', '{{.State.Pid}}', id]);
    await dockerd.kill();
    assert.equal(dockerd.pid(), undefined);
    await dockerd.start();
    assert.equal(
      await dockerd.run(['inspect', '-f', '{{.State.Running}} {{.State.Pid}}', id]),
      `true ${pid}`,
    );
    await dockerd.restart();
    assert.equal(
      await dockerd.run(['inspect', '-f', '{{.State.Running}} {{.State.Pid}}', id]),
      `true ${pid}`,
    );
  });

  it('lets a stand-in slave live in the network of its containers', async () => {
    await using dockerd = await startDockerd();
    await makeImages(dockerd);
    await using directory = await tempDirectory('ss-');
    const argv = ['-p', '31235:8080', IMAGES.busybox, 'sh', '-c', HTTPD];
    await dockerd.run(['run', '-d', ...argv]);
    // Its containerizer is whatever can be called with a verb; here its one call fetches the page, and so fails the start.
    const program = directory.at('containerizer');
    const script = `#!/bin/sh\nbusybox wget -q -O ${directory.at('page')} http://127.0.0.1:31235/\nexit 7\n`;
    await writeFile(program, script, { mode: 0o755 });
    const slave = new StandInSlave({
      containerizer: program,
      workDirectory: directory.at('work'),
      wrap: (wrapped) => dockerd.inNetns(wrapped),
    });
    await assert.rejects(slave.start(), /recover: status 7/);
    await slave.stop();
    assert.equal(readFileSync(directory.at('page'), 'utf8'), 'hello\n');
  });

  it('shows its log when it does not start', async () => {
    await assert.rejects(
      startDockerd({ arguments: ['--storage-driver', 'no-such-driver'] }),
      /no-such-driver/,
    );
  });

  it('makes images with the ports, entrypoint and command that were asked for', async () => {
    await using dockerd = await startDockerd();
    const images = await makeImages(dockerd);
    const exposed = await dockerd.run([
      'image',
      'inspect',
      '-f',
      '{{json .Config.ExposedPorts}}',
      images.ports,
    ]);
    assert.deepEqual(Object.keys(JSON.parse(exposed)).sort(), ['53/udp', '8080/tcp', '9090/tcp']);
    assert.equal(await dockerd.run(['run', '--rm', images.entrypoint, 'word']), 'entry word');
    const own = await dockerd.outcome(['run', '--rm', images.command]);
    assert.deepEqual([own.code, own.stdout.toString()], [7, 'own command\n']);
    assert.equal(
      await output(['docker', '-H', dockerd.host, 'run', '--rm', images.busybox, 'id', '-u']),
      '0',
    );
  });
});

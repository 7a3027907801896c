// A task's URIs through the built binary: what is fetched, as whom, where it lands, what is refused in which words, and
// that nothing is left of it when the task is killed or the supervisor dies meanwhile.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { after, before, beforeEach, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Reason, TaskState } from '../../src/mesos/messages.ts';
import { type Member, tarOf, zipOf } from '../support/archives.ts';
import { output } from '../support/command.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { allPids, argvOf, procFile, treeOf } from '../support/proc.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { Web } from '../support/web.ts';

const skip = await skipWithoutTools();
const { STARTING, FINISHED, FAILED, KILLED } = TaskState;
const { CONTAINER_LAUNCH_FAILED: LAUNCH_FAILED } = Reason;
const STAGING = '.deimos-fetching';
const NOBODY = 65534;

describe("a task's URIs", { skip, timeout: 240_000 }, () => {
  let host: Host;
  let slave: StandInSlave;
  let web: Web;
  before(async () => {
    host = await startHost();
    slave = await host.slave({
      launchEnvironment: {
        HADOOP_HOME: host.directory.at('hadoop'),
        MESOS_FRAMEWORKS_HOME: host.directory.at('frameworks'),
      },
    });
  });
  after(async () => {
    web?.close();
    await host?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    web?.close();
    web = new Web();
    await web.start();
  });

  const launch = async (options: TaskOptions, user = 'root'): Promise<LaunchedTask> =>
    await slave.launch(commandTask({ image: IMAGES.busybox, value: 'true', ...options }), { user });
  const ends = async (task: LaunchedTask, state: number): Promise<string> => {
    const end = await task.ended(60_000);
    const log = () => readFileSync(`${host.root}/supervisor/log`, 'utf8').slice(-4_000);
    assert.equal(end.state, state, `${end.message}\n${await sandboxFile(task, 'stderr')}\n${log()}`);
    await task.gone();
    return end.message ?? '';
  };
  /** The task fails before it starts, and everybody is told why in the same words. */
  const failsWith = async (task: LaunchedTask, words: RegExp): Promise<void> => {
    const message = await ends(task, FAILED);
    assert.match(message, words);
    assert.ok(!message.includes('\n'));
    const end = task.updates().at(-1);
    assert.equal(end?.reason, LAUNCH_FAILED);
    assert.ok((await sandboxFile(task, 'stderr')).includes(message), 'in the stderr of the sandbox');
    const termination = slave.terminations.find(({ containerId }) => containerId === task.containerId);
    assert.equal(termination?.message, message);
    assert.deepEqual(readdirSync(`${task.sandbox}/fs`), [], 'nothing is left of it');
  };

  it('are in its work directory when it starts, whatever kind they are', async () => {
    const members: Member[] = [
      { name: 'dir/', type: 'directory', mode: 0o755 },
      { name: 'dir/tool', content: 'unpacked', mode: 0o4755 },
      { name: 'dir/link', type: 'symlink', target: 'tool' },
    ];
    const renamed = (kind: string) =>
      tarOf(members.map((member) => ({ ...member, name: member.name.replace('dir', kind) })));
    await writeFile(host.directory.at('local'), 'a file');
    await writeFile(host.directory.at('x.tar'), renamed('bz'));
    await writeFile(host.directory.at('y.tar'), renamed('xz'));
    await output(['bzip2', host.directory.at('x.tar')]);
    await output(['xz', host.directory.at('y.tar')]);
    await mkdir(host.directory.at('frameworks'), { recursive: true });
    await writeFile(host.directory.at('frameworks', 'relative'), 'from home');
    const task = await launch({
      uris: [
        { value: web.page('/plain?token=secret', 'plain') },
        { value: web.page('/run', '#!/bin/sh\necho ran\n'), executable: true },
        { value: web.page('/a.tgz', gzipSync(renamed('gz'))) },
        { value: web.page('/b.tar', renamed('tar')) },
        { value: web.page('/c.zip', zipOf([{ name: 'zip/one', content: 'zipped' }])) },
        { value: `file://${host.directory.at('x.tar.bz2')}` },
        { value: host.directory.at('y.tar.xz') },
        { value: web.page('/kept.tgz', gzipSync(renamed('kept'))), extract: false },
        { value: web.page('/run.tgz', 'not an archive'), executable: true },
        { value: web.page('/named', 'named'), output_file: 'sub/dir/other' },
        { value: host.directory.at('local') },
        { value: 'relative' },
        { value: web.page('/plain', 'the later one wins') },
      ],
      value: './run; cat plain gz/tool gz/link zip/one sub/dir/other local relative; echo; find . | sort',
    });
    await ends(task, FINISHED);
    const [ran, contents, ...files] = (await sandboxFile(task, 'stdout')).trimEnd().split('\n');
    assert.equal(ran, 'ran');
    assert.equal(contents, 'the later one winsunpackedunpackedzippednameda filefrom home');
    const trees = ['bz', 'gz', 'tar', 'xz'].flatMap((top) => [
      `./${top}`,
      ...[`./${top}/link`, `./${top}/tool`],
    ]);
    const expected = ['.', './kept.tgz', './local', './plain', './relative', './run', './run.tgz', './sub'];
    assert.deepEqual(
      files,
      [...expected, './sub/dir', './sub/dir/other', './zip', './zip/one', ...trees].sort(),
    );
    const fs = `${task.sandbox}/fs`;
    assert.equal(statSync(`${fs}/gz/tool`).mode & 0o7777, 0o755, 'setuid goes, the rest stays');
    assert.equal(statSync(`${fs}/gz/tool`).uid, 0, "not the archive's idea of an owner");
    assert.equal(statSync(`${fs}/run.tgz`).mode & 0o111, 0o111);
    assert.equal(statSync(`${fs}/plain`).mode & 0o111, 0);
    assert.equal(statSync(`${fs}/plain`).nlink, 1);
    assert.ok(
      task.updates().some(({ state, message }) => state === STARTING && /of 13 URIs/.test(message ?? '')),
    );
  });

  it('of the new form land in the sandbox itself, and stay packed where the operator says so', async () => {
    await host.configure('[uris]\nunpack: false');
    try {
      const archive = web.page('/a.tgz', gzipSync(tarOf([{ name: 'a', content: 'x' }])));
      const value = 'ls /mnt/mesos/sandbox';
      const task = await launch({ form: 'new', uris: [{ value: archive }], value });
      await ends(task, FINISHED);
      assert.deepEqual((await sandboxFile(task, 'stdout')).trim().split('\n'), [
        'a.tgz',
        'fs',
        'stderr',
        'stdout',
      ]);
    } finally {
      await host.configure('');
    }
  });

  it("belong to the sandbox's owner, who must be able to read what is the host's", async () => {
    const secret = host.directory.at('only-for-root');
    await writeFile(secret, 'secret', { mode: 0o600 });
    const uris = [
      { value: web.page('/a.tar', tarOf([{ name: 'd/a', content: 'x' }])) },
      { value: web.page('/run', 'x'), executable: true },
    ];
    const task = await launch({ uris }, 'nobody');
    await ends(task, FINISHED);
    for (const name of ['d', 'd/a', 'run'])
      assert.equal(statSync(`${task.sandbox}/fs/${name}`).uid, NOBODY, name);
    const refused = await launch({ uris: [{ value: `file://${secret}` }] }, 'nobody');
    await failsWith(refused, /^uri file:.*only-for-root: .*Permission denied$/);
    const allowed = await launch({ uris: [{ value: `file://${secret}` }], value: 'cat only-for-root' });
    await ends(allowed, FINISHED);
    assert.equal(await sandboxFile(allowed, 'stdout'), 'secret');
  });

  it('that cannot be had fail the task in words', async () => {
    const table: readonly [uris: TaskOptions['uris'], words: RegExp][] = [
      [
        [{ value: `http://u:hidden@${web.address}/absent?hidden` }],
        /^uri http:\/\/\*{3}@127\.0\.0\.1:\d+\/absent\?\*{3}: The requested URL returned error: 404$/,
      ],
      [
        [{ value: 'http://127.0.0.1:9/x' }],
        /^uri http:\/\/127\.0\.0\.1:9\/x: .*[Cc]ould(?: not|n't) connect/,
      ],
      [[{ value: '/no/such/file' }], /^uri \/no\/such\/file: there is no regular file at \/no\/such\/file$/],
      [[{ value: '/dev/zero' }], /^uri \/dev\/zero: there is no regular file/],
      [[{ value: 'gopher://h/x' }], /^uri gopher:\/\/h\/x: 'gopher' is not a scheme that can be fetched/],
      [[{ value: 'http://h/x', output_file: '../x' }], /^uri http:\/\/h\/x: .* leads out of the sandbox$/],
      [
        [{ value: web.page('/first', 'x') }, { value: web.page('/b.tgz', 'garbage') }],
        /^uri http:.*\/b\.tgz: cannot be unpacked: .+/,
      ],
      [[{ value: web.page('/b.zip', 'garbage') }], /^uri http:.*\/b\.zip: cannot be unpacked: .+/],
      [[{ value: 'hdfs://name/absent' }], /^uri hdfs:\/\/name\/absent: .+/],
    ];
    const tasks = await Promise.all(
      table.map(async ([uris, words]) => [await launch({ uris: uris ?? [] }), words] as const),
    );
    for (const [task, words] of tasks) await failsWith(task, words);
  });

  it('that are archives made to leave the sandbox do not, as root either', async () => {
    const victim = host.directory.at('victim');
    await mkdir(victim, { recursive: true });
    const into = (target: string): Member[] => [
      { name: 'd', type: 'symlink', target },
      { name: 'd/planted', content: 'evil' },
    ];
    const evil: readonly [name: string, archives: readonly Uint8Array[], words: RegExp][] = [
      ['a.tar', [tarOf([{ name: '../planted', content: 'evil' }])], /'\.\.'/],
      ['a.tar', [tarOf([{ name: 'x/../../../planted', content: 'evil' }])], /'\.\.'/],
      ['a.tar', [tarOf([{ name: `${victim}/planted`, content: 'evil' }])], /would leave the directory/],
      ['a.tar', [tarOf(into(victim))], /cannot be unpacked/],
      ['a.tar', [tarOf(into('../..'))], /cannot be unpacked/],
      // Each is harmless by itself.
      [
        'a.tar',
        [tarOf(into(victim).slice(0, 1)), tarOf(into(victim).slice(1))],
        /cannot overwrite non-directory/,
      ],
      ['a.tar', [tarOf([{ name: 'null', type: 'device' }])], /Operation not permitted/],
      ['a.tar', [tarOf([{ name: `${STAGING}/1/planted`, content: 'evil' }])], /would leave the directory/],
      ['a.zip', [zipOf([{ name: '../planted', content: 'evil' }])], /member \.\.\/planted would leave/],
      ['a.zip', [zipOf([{ name: `${victim}/planted`, content: 'evil' }])], /would leave the directory/],
      ['a.zip', [zipOf(into(victim))], /cannot be unpacked: .*d exists but is not directory/],
      ['a.zip', [zipOf(into('../..'))], /cannot be unpacked: .*d exists but is not directory/],
      [
        'a.zip',
        [zipOf(into(victim).slice(0, 1)), zipOf(into(victim).slice(1))],
        /cannot overwrite non-directory/,
      ],
    ];
    const tasks = await Promise.all(
      evil.map(async ([name, archives, words], n) => {
        const uris = archives.map((archive, at) => ({ value: web.page(`/${n}/${at}${name}`, archive) }));
        return [await launch({ uris }), words] as const;
      }),
    );
    for (const [task, words] of tasks) {
      const message = await ends(task, FAILED);
      assert.match(message, words);
      assert.ok(!existsSync(`${task.sandbox}/planted`));
      assert.ok(!existsSync(`${task.sandbox}/fs/${STAGING}`));
    }
    assert.deepEqual(readdirSync(victim), []);
  });

  it('through a link that is there already are not written', async () => {
    const victim = host.directory.at('victim-file');
    await writeFile(victim, 'as it was');
    const link = tarOf([{ name: 'plain', type: 'symlink', target: victim }]);
    const uris = [{ value: web.page('/l.tar', link) }, { value: web.page('/plain', 'new') }];
    const task = await launch({ uris });
    await ends(task, FINISHED);
    assert.equal(readFileSync(victim, 'utf8'), 'as it was');
    assert.ok(lstatSync(`${task.sandbox}/fs/plain`).isFile(), 'the link has given way');
  });

  it('are tried again when the server is busy, and not when it says no', async () => {
    let asked = 0;
    web.pages.set('/busy', (_, response) => {
      asked++;
      if (asked < 3) response.writeHead(503).end();
      else response.end('at last');
    });
    const task = await launch({ uris: [{ value: `http://${web.address}/busy` }], value: 'cat busy' });
    await ends(task, FINISHED);
    assert.equal(await sandboxFile(task, 'stdout'), 'at last');
    await failsWith(await launch({ uris: [{ value: `http://${web.address}/no` }] }), /404/);
    assert.equal(web.seen.filter((path) => path === '/no').length, 1);
  });

  it('are fetched four at a time', async () => {
    const pages = Array.from({ length: 12 }, (_, n) => web.hanging(`/h${n}`));
    const task = await launch({ uris: pages.map(({ url }) => ({ value: url })), value: 'cat h0 h11' });
    for (const [n, page] of pages.entries()) {
      const expected = Math.min(4, pages.length - n);
      await until('as many as may be are being fetched', () => web.open >= expected);
      page.release();
      await until('that one is done', () => page.open() === 0);
    }
    await ends(task, FINISHED);
    assert.equal(web.peak, 4);
    assert.equal(await sandboxFile(task, 'stdout'), 'begin endbegin end');
  });

  it('end with the task that is killed, and their secrets are in no argv', async () => {
    const secret = randomUUID();
    const page = web.hanging(`/slow?key=${secret}`);
    const url = page.url.replace('//', `//user:${secret}@`);
    const task = await launch({ uris: [{ value: web.page('/quick', 'x') }, { value: url }] });
    await until('it is being fetched', () => page.open() === 1);
    await task.reached(STARTING);
    await until('the progress is told', () => readdirSync(`${task.sandbox}/fs/${STAGING}`).includes('1'));
    const ours = () => treeOf([host.supervisor() ?? assert.fail('no supervisor')]);
    const curls = () => ours().filter((pid) => argvOf(pid)?.includes('./1/slow'));
    const [curl, ...others] = curls();
    assert.ok(curl !== undefined && others.length === 0);
    assert.ok(!procFile(curl, 'environ')?.includes(secret));
    for (const pid of allPids()) assert.ok(!(argvOf(pid) ?? []).some((word) => word.includes(secret)));
    await slave.killTask(task);
    await ends(task, KILLED);
    await until('the transfer is over', () => page.open() === 0 && curls().length === 0);
    await until('nothing is left of it', () => readdirSync(`${task.sandbox}/fs`).length === 0);
  });

  it('are fetched anew when the supervisor died over them', async () => {
    const page = web.hanging('/crash');
    const task = await launch({ uris: [{ value: page.url }], value: 'cat crash; ls -A' });
    await until('it is being fetched', () => page.open() === 1);
    // Before it has heard that it is registered, it would register once more.
    await task.reached(STARTING);
    await host.killSupervisor();
    await until('it is being fetched again', () => web.seen.length >= 2 && page.open() === 1);
    page.release();
    await ends(task, FINISHED);
    assert.equal(await sandboxFile(task, 'stdout'), 'begin endcrash\n');
  });

  it('of hdfs come through the hadoop of the slave', async () => {
    const directory = host.directory.at('hadoop', 'bin');
    await mkdir(directory, { recursive: true });
    // What the client's command line looks like from outside; the file that it makes tells how it was called.
    await writeFile(`${directory}/hadoop`, '#!/bin/sh\necho "$1 $2 $3" > "$4"\n');
    await chmod(`${directory}/hadoop`, 0o755);
    try {
      const task = await launch({ uris: [{ value: 'hdfs://name:8020/dir/file' }], value: 'cat file' });
      await ends(task, FINISHED);
      assert.equal(await sandboxFile(task, 'stdout'), 'fs -copyToLocal hdfs://name:8020/dir/file\n');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('leave nothing behind', async () => {
    assert.deepEqual(await host.leftovers(), []);
    for (const id of readdirSync(`${host.root}/mesos`)) {
      const children = `${host.root}/mesos/${id}/children`;
      assert.deepEqual(existsSync(children) ? readdirSync(children) : [], [], id);
    }
    assert.deepEqual(slave.violations, []);
  });

  it('are bounded where the operator bounds them, each file and all together, and so is what they unpack to', async () => {
    const mib = 1024 * 1024;
    const zeros = (name: string, bytes: number): Member => ({ name, content: '\0'.repeat(bytes) });
    const packed = (members: readonly Member[]) => gzipSync(tarOf(members));
    web.page('/3m', Buffer.alloc(3 * mib));
    web.page('/2m', Buffer.alloc(2 * mib));
    // One that does not say before how much it is.
    web.pages.set('/untold', (_, response) => {
      response.write(Buffer.alloc(mib));
      response.end(Buffer.alloc(9 * mib));
    });
    web.page('/bomb.tgz', packed([zeros('big', 30 * mib)]));
    web.page('/many.tgz', packed(['a', 'b', 'c'].map((name) => zeros(name, 2 * mib))));
    web.page('/files.tgz', packed(Array.from({ length: 3000 }, (_, n) => zeros(`f${n}`, 1))));
    web.page('/bomb.zip', zipOf([zeros('big', 30 * mib)]));
    web.page('/good.tgz', packed([zeros('good', mib)]));
    await writeFile(host.directory.at('3m'), Buffer.alloc(3 * mib));
    await host.configure('[policy]\nmax_uri_bytes: 4m\nmax_unpacked_bytes: 5m');
    try {
      const uris = (...names: string[]) => ({
        uris: names.map((name) => ({ value: `http://${web.address}${name}` })),
      });
      const fetched = (name: string) =>
        new RegExp(
          `^uri \\S+${name}: not allowed on this host: more than 4m for all URIs of a task \\(\\[policy\\] max_uri_bytes: 4m\\)$`,
        );
      const unpacked = (name: string) =>
        new RegExp(
          `^uri \\S+${name}: not allowed on this host: more than 5m for all URIs of a task \\(\\[policy\\] max_unpacked_bytes: 5m\\)$`,
        );
      for (const user of ['root', 'nobody']) {
        await failsWith(await launch(uris('/3m', '/2m'), user), fetched('/[23]m'));
        await failsWith(await launch(uris('/untold'), user), fetched('/untold'));
        await failsWith(await launch(uris('/bomb.tgz'), user), unpacked('/bomb.tgz'));
        await failsWith(await launch(uris('/many.tgz'), user), unpacked('/many.tgz'));
        await failsWith(await launch(uris('/files.tgz'), user), unpacked('/files.tgz'));
        await failsWith(await launch(uris('/good.tgz', '/many.tgz'), user), unpacked('/(good|many).tgz'));
        const good = await launch(uris('/3m', '/good.tgz'), user);
        await ends(good, FINISHED);
        assert.deepEqual(readdirSync(`${good.sandbox}/fs`).sort(), ['3m', 'good']);
      }
      const copies = [1, 2].map((n) => ({ value: host.directory.at('3m'), output_file: `copy-${n}` }));
      await failsWith(await launch({ uris: copies }), fetched('/3m'));
      await host.configure('[policy]\nmax_unpacked_bytes: 5m');
      await failsWith(await launch(uris('/bomb.zip')), unpacked('/bomb.zip'));
    } finally {
      await host.configure('');
    }
  });

  it('that are files of the host are held against the rule about volumes, behind links', async () => {
    const at = (name: string): string => host.directory.at(name);
    await mkdir(at('open'), { recursive: true });
    await writeFile(at('open/good'), 'good');
    await mkdir(at('frameworks'), { recursive: true });
    await writeFile(at('frameworks/given'), 'given');
    await writeFile(at('closed'), 'closed');
    symlinkSync(at('closed'), at('open/link'));
    await host.configure(`[policy]\nvolumes: ["${at('open')}"]`);
    try {
      for (const value of [at('closed'), `file://${at('open')}/../closed`, at('open/link'), '/etc/shadow'])
        await failsWith(
          await launch({ uris: [{ value }] }),
          /^uri \S+: not allowed on this host: host path \S+(, which is \S+)? \(\[policy\] volumes: \S+\)$/,
        );
      const task = await launch({ uris: [{ value: at('open/good') }, { value: 'given' }] });
      await ends(task, FINISHED);
      assert.equal(readFileSync(`${task.sandbox}/fs/good`, 'utf8'), 'good');
    } finally {
      await host.configure('');
    }
  });
});

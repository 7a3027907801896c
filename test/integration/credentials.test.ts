// Who gets into a registry that lets in nobody without a password: by what the operator has, by a credential helper, by
// what the task's own URIs bring; and that no password is seen anywhere, nor what a task brings run by anybody.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { TaskState } from '../../src/mesos/messages.ts';
import { type Member, tarOf } from '../support/archives.ts';
import { pullsOf } from '../support/docker-facts.ts';
import { startDockerd } from '../support/dockerd.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { derive } from '../support/images.ts';
import { supervisorLog } from '../support/on-host.ts';
import { programsIn, wrapWith } from '../support/private-programs.ts';
import { startSampler } from '../support/processes.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { Web } from '../support/web.ts';

const { FINISHED, FAILED } = TaskState;
const LONG_MS = 90_000;
/** What Docker says to who has no login, or the wrong one. */
const DENIED = /unauthorized|no basic auth credentials|denied/;
/** Of a task's file: what makes the docker CLI run this, or add that. */
const EVIL = {
  ...{ credsStore: 'evil', credHelpers: { '127.0.0.1:5000': 'evil', '127.0.0.1:5100': 'evil' } },
  ...{ HttpHeaders: { 'X-Evil': 'yes' }, proxies: { default: { httpProxy: 'http://evil.invalid' } } },
};

describe('a registry that wants a login', { skip: await skipWithoutTools(), timeout: 280_000 }, () => {
  let host: Host;
  let slave: StandInSlave;
  let web: Web;
  /** The one that tests are about, another, and one that everybody may pull from. */
  let one: Registry;
  let other: Registry;
  let open: Registry;
  const [password, otherPassword] = [randomBytes(12).toString('hex'), randomBytes(12).toString('hex')];
  let made = 0;

  before(async () => {
    host = await startHost({ dockerd: await startDockerd({ arguments: ['--debug'] }) });
    [one, other, open] = await Promise.all([
      startRegistry(host.dockerd, 5000, password),
      startRegistry(host.dockerd, 5100, otherPassword),
      startRegistry(host.dockerd, 5200),
    ]);
    web = new Web();
    await web.start();
    const secret = host.directory.at('helper-secret');
    writeFileSync(secret, password, { mode: 0o600 });
    const asked = host.directory.at('helper-asked');
    const programs = programsIn(host.directory.at('programs'), {
      // As docker/docker-credential-helpers describes them: the server on stdin, JSON on stdout.
      'docker-credential-operators': `read -r server; echo "$1 $server" >> ${asked}; printf '{"ServerURL":"%s","Username":"user","Secret":"%s"}' "$server" "$(cat ${secret})"`,
      'docker-credential-evil': `touch ${host.directory.at('evil-ran')}; exit 1`,
    });
    slave = await host.slave({ wrap: wrapWith([programs]) });
  });
  after(async () => {
    web?.close();
    try {
      assert.deepEqual(await host.leftovers(), []);
      assert.deepEqual(slave.violations, []);
    } finally {
      for (const registry of [one, other, open]) await registry?.stop();
      await host?.[Symbol.asyncDispose]();
      await host?.dockerd.stop();
    }
  });

  /** A new image there that is not here. */
  const imageIn = async (registry: Registry): Promise<string> => {
    made += 1;
    await derive(host.dockerd, `local/made-${made}`, [`ENV MADE=${made}`]);
    return await registry.push(`local/made-${made}`, `app-${made}`);
  };
  const authsOf = (...registries: readonly Registry[]) =>
    Object.fromEntries(registries.map(({ address, auth }) => [address, { auth }]));
  const wrong = (registry: Registry) => ({ [registry.address]: { auth: btoa('user:guessed') } });
  const page = (path: string, content: unknown): { value: string } => {
    made += 1;
    const bytes = typeof content === 'string' || Buffer.isBuffer(content) ? content : JSON.stringify(content);
    return { value: web.page(`/${made}/${path}`, bytes) };
  };
  const dockercfg = (content: unknown) => [page('.dockercfg', content)];
  const launch = async (image: string, options: Partial<TaskOptions> = {}, user = 'root') =>
    await slave.launch(commandTask({ value: 'true', image, ...options }), { user });
  const ends = async (task: LaunchedTask, state: number): Promise<string> => {
    const end = await task.ended(LONG_MS);
    assert.equal(end.state, state, `${end.message}\n${supervisorLog(host)}`);
    await task.gone();
    return end.message ?? '';
  };

  const archive = (content: unknown): Buffer => {
    const members: Member[] = [
      { name: '.docker/', type: 'directory', mode: 0o700 },
      { name: '.docker/config.json', content: JSON.stringify(content), mode: 0o600 },
    ];
    return gzipSync(tarOf(members));
  };
  const ways: readonly [name: string, uris: () => { value: string; output_file?: string }[]][] = [
    [
      'a .dockercfg of 2014',
      () => dockercfg({ [`https://${one.address}/v1/`]: { auth: one.auth, email: '' } }),
    ],
    ['a .dockercfg with auths', () => dockercfg({ auths: authsOf(one) })],
    [
      'a config.json put into .docker',
      () => [
        { ...page('config.json', { auths: authsOf(one), ...EVIL }), output_file: '.docker/config.json' },
      ],
    ],
    ['an archive with .docker/config.json', () => [page('docker.tar.gz', archive({ auths: authsOf(one) }))]],
  ];
  for (const [name, uris] of ways) {
    for (const form of ['old', 'new'] as const) {
      it(`lets a task in whose URIs bring ${name} (${form} form)`, async () => {
        const image = await imageIn(one);
        const value = 'echo $MADE';
        // As another user than root, whose files are then not root's.
        const task = await launch(image, { form, value, uris: uris() }, 'nobody');
        await ends(task, FINISHED);
        const [file] = filesBelow(task.sandbox).filter((path) =>
          /\/(?:\.dockercfg|config\.json)$/.test(path),
        );
        assert.ok(file !== undefined);
        const { mode, uid } = statSync(file);
        assert.deepEqual([mode & 0o777, uid], [0o600, 65534], 'for its user alone');
        assert.equal(await sandboxFile(task, 'stdout'), `${/app-(\d+)/.exec(image)?.[1]}\n`);
      });
    }
  }

  it('lets nobody in without, or with the wrong one, and says so', async () => {
    const image = await imageIn(one);
    const tasks = [
      await launch(image),
      await launch(image, { uris: dockercfg(wrong(one)) }),
      await launch(image, { uris: dockercfg({ auths: authsOf(other) }) }),
      // No name that a login is looked for under.
      await launch(image, { uris: [page('config.json', { auths: authsOf(one) })] }),
    ];
    for (const task of tasks) {
      const message = await ends(task, FAILED);
      assert.match(message, DENIED);
      assert.ok(message.startsWith(`pull ${image}: `) && !message.includes('\n'), message);
    }
  });

  it("has the task's own login before the operator's, and the operator's where the task has none", async () => {
    const file = host.directory.at('operators');
    await writeFile(file, JSON.stringify({ auths: { ...authsOf(one), ...wrong(other) } }), { mode: 0o600 });
    await host.configure(`[docker.index]\ndockercfg: ${file}\n`);
    try {
      const [first, second, third] = [await imageIn(one), await imageIn(one), await imageIn(other)];
      await ends(await launch(first), FINISHED);
      const uris = () => dockercfg({ auths: { ...wrong(one), ...authsOf(other) } });
      assert.match(await ends(await launch(second, { uris: uris() }), FAILED), DENIED);
      await ends(await launch(third, { uris: uris() }), FINISHED);
      await ends(await launch(second, { uris: dockercfg({ auths: authsOf(other) }) }), FINISHED);
    } finally {
      await host.configure('');
    }
  });

  it('is passed by one task while another with the wrong login, and one with none, fail beside it', async () => {
    const megabyte = 1024 * 1024;
    const image = await imageIn(one);
    await using throttle = await one.throttled(megabyte);
    throttle.setRate(0);
    const slow = image.replace(one.address, throttle.address);
    const login = (auth: string) => dockercfg({ [throttle.address]: { auth } });
    const right = [
      await launch(slow, { uris: login(one.auth) }),
      await launch(slow, { uris: login(one.auth) }),
    ];
    await until('the pull is under way', () => pullsOf(host.dockerd, slow) === 1, { timeoutMs: LONG_MS });
    const others = [await launch(slow, { uris: login(btoa('user:guessed')) }), await launch(slow)];
    await until('each has a pull of its own', () => pullsOf(host.dockerd, slow) === 3, {
      timeoutMs: LONG_MS,
    });
    throttle.setRate(100 * megabyte);
    for (const task of others) assert.match(await ends(task, FAILED), DENIED);
    for (const task of right) await ends(task, FINISHED);
    assert.equal(pullsOf(host.dockerd, slow), 3, 'one for both who have the same');
  });

  it("runs nothing that a task's file names, and takes nothing but logins from it", async () => {
    const [first, second] = [await imageIn(one), await imageIn(one)];
    const uris = (content: object) => [
      { ...page('x', content), output_file: '.docker/config.json' },
      // Behind a config.json, no .dockercfg counts.
      ...dockercfg(authsOf(one)),
    ];
    await ends(await launch(first, { uris: uris({ auths: authsOf(one), ...EVIL }) }), FINISHED);
    assert.match(await ends(await launch(second, { uris: uris(EVIL) }), FAILED), DENIED);
    assert.ok(!existsSync(host.directory.at('evil-ran')));
  });

  it('is not passed with a file that cannot be used, which is named; who needs none is not kept from running', async () => {
    const root = host.directory.at('for-root-alone');
    await writeFile(root, JSON.stringify({ auths: authsOf(one) }), { mode: 0o600 });
    const linked = tarOf([{ name: '.dockercfg', type: 'symlink', target: root }]);
    const file = '.docker/config.json';
    const table: readonly [uris: () => { value: string; output_file?: string }[], words: RegExp][] = [
      [() => dockercfg('{"auths": '), /\(the task's \.dockercfg is not used: it is not JSON\)$/],
      [() => [page('a.tar', linked)], /\(the task's \.dockercfg is not used: it is not a regular file/],
      [
        () => [{ ...page('x', 'x'.repeat(1024 * 1024 + 1)), output_file: file }],
        /\(the task's \.docker\/config\.json is not used: it is larger than 1048576 bytes\)$/,
      ],
    ];
    for (const [uris, words] of table) {
      const [closed, free] = [await imageIn(one), await imageIn(open)];
      const message = await ends(await launch(closed, { uris: uris() }, 'nobody'), FAILED);
      assert.match(message, DENIED);
      assert.match(message, words);
      await ends(await launch(free, { uris: uris() }, 'nobody'), FINISHED);
    }
  });

  it('keeps a pull waiting for a URI that is the login, and for no others', async () => {
    const login = web.hanging('/late/.dockercfg');
    const plain = web.hanging('/late/data');
    const archive = web.hanging('/late/data.tar');
    const [needs, does, alike] = [await imageIn(open), await imageIn(open), await imageIn(open)];
    const waiting = await launch(needs, { uris: [{ value: login.url }] });
    const pulling = await launch(does, { uris: [{ value: plain.url }] });
    const packed = await launch(alike, { uris: [{ value: archive.url }] });
    await until('all are being fetched', () => [login, plain, archive].every((one) => one.open() === 1));
    for (const image of [does, alike]) {
      await until('the other images are here', async () => {
        return (await host.dockerd.outcome(['image', 'inspect', image])).code === 0;
      });
    }
    assert.equal(pullsOf(host.dockerd, needs), 0);
    // An image that is here waits for nothing.
    const local = web.hanging('/here/.dockercfg');
    const here = await launch(does, { uris: [{ value: local.url }] });
    await until('it is being fetched', () => local.open() === 1);
    for (const { release } of [login, plain, archive, local]) release();
    // What it sends is no archive.
    assert.match(await ends(packed, FAILED), /^uri /);
    // `begin end` is no JSON, and the registry is open to all.
    for (const task of [waiting, pulling, here]) await ends(task, FINISHED);
    assert.equal(pullsOf(host.dockerd, needs), 1);
    assert.equal(pullsOf(host.dockerd, does), 1);
  });

  it("is asked first with the operator's login where only an archive may bring another, which then counts", async () => {
    const image = await imageIn(one);
    const uris = [page('docker.tar.gz', archive({ auths: authsOf(one) }))];
    await ends(await launch(image, { uris }), FINISHED);
    assert.equal(pullsOf(host.dockerd, image), 2);
    const file = host.directory.at('operators-of-archives');
    await writeFile(file, JSON.stringify({ auths: authsOf(one) }), { mode: 0o600 });
    await host.configure(`[docker.index]\ndockercfg: ${file}\n`);
    try {
      const other = await imageIn(one);
      await ends(
        await launch(other, { uris: [page('docker.tar.gz', archive({ auths: wrong(one) }))] }),
        FINISHED,
      );
      assert.equal(pullsOf(host.dockerd, other), 1);
    } finally {
      await host.configure('');
    }
  });

  for (const [name, configuration] of [
    ['credsStore of the file in [docker.index]', { credsStore: 'operators' }],
    ['credHelpers of the file in [docker.index]', { credHelpers: { '127.0.0.1:5000': 'operators' } }],
    ['credHelpers in the directory of [docker]', { credHelpers: { '127.0.0.1:5000': 'operators' } }],
  ] as const) {
    it(`asks the operator's helper: ${name}`, async () => {
      const directory = host.directory.at(`docker-${name.replace(/\W/g, '')}`);
      await mkdir(directory, { mode: 0o700 });
      await writeFile(`${directory}/config.json`, JSON.stringify(configuration), { mode: 0o600 });
      const isFile = name.includes('file');
      await host.configure(
        isFile ? `[docker.index]\ndockercfg: ${directory}/config.json` : `[docker]\nconfig: ${directory}`,
      );
      try {
        const asked = host.directory.at('helper-asked');
        const before = existsSync(asked) ? readFileSync(asked, 'utf8').length : 0;
        await ends(await launch(await imageIn(one)), FINISHED);
        assert.equal(readFileSync(asked, 'utf8').slice(before), `get ${one.address}\n`);
        // A task's own goes before it.
        const uris = dockercfg(wrong(one));
        assert.match(await ends(await launch(await imageIn(one), { uris }), FAILED), DENIED);
        assert.equal(readFileSync(asked, 'utf8').slice(before), `get ${one.address}\n`);
      } finally {
        await host.configure('');
      }
    });
  }

  it('has its passwords in no argv, environment or log, nor in a file that others may read', async () => {
    const guessed = btoa('user:guessed');
    const secrets = [password, one.auth, otherPassword, other.auth, guessed];
    await using sampler = await startSampler(secrets);
    const config = host.directory.at('operators-too');
    const text = JSON.stringify({ auths: authsOf(other), credHelpers: { [one.address]: 'operators' } });
    await writeFile(config, text, { mode: 0o600 });
    await host.configure(`[docker.index]\ndockercfg: ${config}\n[log]\nsyslog: DEBUG\nconsole: DEBUG\n`);
    try {
      const tasks = [
        [await launch(await imageIn(one)), FINISHED],
        [await launch(await imageIn(other)), FINISHED],
        [await launch(await imageIn(one), { uris: dockercfg(authsOf(one)) }), FINISHED],
        [await launch(await imageIn(one), { uris: dockercfg(wrong(one)) }), FAILED],
        [await launch(await imageIn(one), { form: 'new', uris: dockercfg('not JSON') }), FINISHED],
      ] as const;
      const said: string[] = [];
      for (const [task, state] of tasks) {
        said.push(await ends(task, state));
        for (const { end } of task.calls()) said.push(`${end?.stderr}`);
        for (const name of ['stdout', 'stderr']) said.push(await sandboxFile(task, name));
      }
      const { hits, scans } = await sampler.stop();
      assert.ok(scans > 20, `${scans} scans`);
      assert.deepEqual(hits, []);
      said.push(readFileSync(`${host.root}/supervisor/log`, 'utf8'));
      for (const words of said) assert.ok(!secrets.some((secret) => words.includes(secret)), words);
      assert.deepEqual(
        readdirSync('/run').filter((name) => name.startsWith(`deimos-cli-${host.supervisor()}-`)),
        [],
        'what the docker CLI was given is gone',
      );
      for (const path of filesBelow(host.root)) {
        const content = readFileSync(path, 'latin1');
        assert.ok(!secrets.some((secret) => content.includes(secret)), path);
        assert.equal(statSync(path).mode & 0o077, 0, path);
      }
    } finally {
      await host.configure('');
    }
  });
});

/** Regular files, links not followed. */
function filesBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = `${directory}/${entry.name}`;
    return entry.isDirectory() ? filesBelow(path) : entry.isFile() ? [path] : [];
  });
}

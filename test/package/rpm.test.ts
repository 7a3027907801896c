// The RPM package: what is in it and what it asks for, and its life on a host, which is a Debian system in a directory. There
// rpm(8) knows of no other package: what it needs is there, but as Debian's, so it is installed with --nodeps.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Outcome, outcomeOf, output } from '../support/command.ts';
import { debian } from '../support/debian.ts';
import { debianPackage, makePackage, NEEDED, packageOf } from '../support/package.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';

const TREE = fileURLToPath(new URL('../..', import.meta.url));
const UNIT = '/usr/lib/systemd/system/deimos.service';
const { version: VERSION } = JSON.parse(readFileSync(`${TREE}package.json`, 'utf8')) as { version: string };

const said = ({ code, stdout, stderr }: Outcome) => ({ code, text: `${stdout.toString()}${stderr}` });

describe('the RPM package', { timeout: 280_000 }, () => {
  let directory: TempDirectory;
  let rpm: string;
  const query = async (...words: readonly string[]): Promise<readonly string[]> =>
    (await output(['rpm', '--dbpath', directory.at('db'), '-qp', ...words, rpm])).split('\n');
  before(async () => {
    directory = await tempDirectory('rpm-');
    rpm = await packageOf('rpm');
  });
  after(async () => await directory?.remove());

  it('has these files, for root alone to write; what an administrator changes stays', async () => {
    assert.equal(basename(rpm), `deimos-${VERSION}-1.x86_64.rpm`);
    const lines = (
      await query(
        '--qf',
        '[%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILENAMES}|%{FILEFLAGS:fflags}\\n]',
      )
    ).filter((line) => line !== '');
    for (const line of lines) assert.match(line, /^(drwxr-xr-x|-rw[x-]r-[x-]r-[x-]) root root \//);
    const files = lines
      .filter((line) => line.startsWith('-') && !line.includes('/usr/share/doc/'))
      .map((line) => line.replace(' root root', ''))
      .sort();
    assert.deepEqual(
      files,
      [
        '-rw-r--r-- /etc/cron.d/deimos|cn',
        '-rw-r--r-- /etc/deimos.cfg|cn',
        '-rwxr-xr-x /usr/local/bin/deimos|',
        '-rw-r--r-- /usr/share/bash-completion/completions/deimos|',
        '-rw-r--r-- /usr/share/licenses/deimos/LICENSE|l',
        '-rw-r--r-- /usr/share/licenses/deimos/copyright|l',
        '-rw-r--r-- /usr/share/man/man5/deimos.cfg.5.gz|d',
        '-rw-r--r-- /usr/share/man/man8/deimos.8.gz|d',
        `-rw-r--r-- ${UNIT}|`,
      ].sort(),
    );
    for (const document of ['docs/deimos.8.md', 'sbom.cdx.json'])
      assert.ok(lines.includes(`-rw-r--r-- root root /usr/share/doc/deimos/${document}|d`), document);
  });

  it('asks for what the executable needs, in words that each distribution of the kind has', async () => {
    assert.deepEqual(
      [...new Set(await query('--requires'))].filter((line) => !line.startsWith('rpmlib(')),
      [
        '/bin/sh',
        'bzip2',
        'coreutils',
        'curl',
        'glibc >= 2.28',
        'grep',
        'libgcc_s.so.1()(64bit)',
        'libstdc++.so.6(CXXABI_1.3.11)(64bit)',
        'tar >= 1.30',
        'unzip',
        'util-linux >= 2.33',
        'xz',
      ],
    );
    assert.deepEqual(await query('--recommends'), [
      '(cronie or cron)',
      '(docker-ce or moby-engine or docker)',
    ]);
    assert.deepEqual(await query('--provides'), [`deimos = ${VERSION}-1`, `deimos(x86-64) = ${VERSION}-1`]);
    const versions = await output(['readelf', '--version-info', `${TREE}dist/deimos`]);
    const newest = (library: string): string =>
      [...versions.matchAll(new RegExp(`Name: (${library}_[0-9.]+)`, 'g'))]
        .map(([, name = '']) => name)
        .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
        .at(-1) ?? '';
    assert.deepEqual(['GLIBC', 'CXXABI'].map(newest), ['GLIBC_2.28', 'CXXABI_1.3.11']);
  });

  it('names the licence of each part of the executable', async () => {
    const [licence = ''] = await query('--qf', '%{LICENSE}');
    const deb = await debianPackage();
    await output(['dpkg-deb', '-x', deb, directory.at('deb')]);
    const text = readFileSync(directory.at('deb/usr/share/doc/deimos/copyright'), 'utf8');
    const parts = [...text.matchAll(/^ {2}\S+ \S+ \(([^)]+)\)$/gm)].map(([, name = '']) => name);
    assert.ok(parts.length > 5);
    assert.deepEqual(
      parts.filter((name) => !licence.split(' AND ').includes(name)),
      [],
    );
  });

  it('does to the host what the Debian package does, by the same words', async () => {
    const deb = await debianPackage();
    const control = async (script: string) => await output(['dpkg-deb', '-I', deb, script]);
    const [installed, removed] = ['installed', 'removed'].map((name) =>
      readFileSync(`${TREE}packaging/${name}.sh`, 'utf8').trim(),
    );
    for (const [script, tag, words] of [
      ['postinst', 'POSTIN', installed],
      ['prerm', 'PREUN', removed],
      ['postrm', 'POSTUN', removed],
    ] as const) {
      assert.ok((await control(script)).includes(String(words)), script);
      assert.ok((await query('--qf', `%{${tag}}`)).join('\n').includes(String(words)), tag);
    }
  });

  it('is the same, byte for byte, made elsewhere and by somebody with another umask', async () => {
    const again = await makePackage(directory.path, '077', 'rpm');
    const hash = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');
    assert.equal(hash(again), hash(rpm));
  });
});

describe('the RPM package on a host', { timeout: 280_000 }, () => {
  let directory: TempDirectory;
  let root: string;
  let next: string;
  let pristine: string;
  const rpm = async (...words: readonly string[]): Promise<string> => {
    const { code, text } = said(
      await outcomeOf(['rpm', '--root', root, '--dbpath', '/var/lib/rpm', '--nodeps', ...words]),
    );
    assert.equal(code, 0, text);
    return text;
  };
  const content = (path: string): string | undefined =>
    existsSync(`${root}${path}`) ? readFileSync(`${root}${path}`, 'utf8') : undefined;
  const option = (name: string) => content(`/etc/mesos-slave/${name}`);
  const write = async (path: string, text: string) => await writeFile(`${root}${path}`, text);
  const version = async () => await output(['chroot', root, '/usr/local/bin/deimos', '--version']);
  const listing = async (): Promise<string> =>
    await output(['sh', '-c', 'find . -path ./var/lib/rpm -prune -o -print | sort'], { cwd: root });
  /** What scriptlets have called since it was asked last. */
  const called = async (): Promise<readonly string[]> => {
    const lines = (content('/called') ?? '').split('\n').slice(0, -1);
    await rm(`${root}/called`, { force: true });
    return lines;
  };
  const recorder = (name: string, more = '') => `#!/bin/sh\necho "${name} $*" >>/called\n${more}`;

  before(async () => {
    directory = await tempDirectory('rpm-');
    const kept = (await debian('bookworm', NEEDED)) ?? assert.fail('the archive has no bookworm');
    root = directory.at('root');
    await output(['cp', '-a', kept, root]);
    await mkdir(`${root}/etc/mesos-slave`);
    await write('/etc/mesos-slave/isolation', 'posix/cpu,posix/mem\n');
    pristine = await listing();
    // The next release, with other defaults and a service of systemd's. Its executable only notes how it is called.
    const staged = directory.at('staged');
    await output(['dpkg-deb', '-x', await debianPackage(), staged]);
    const program = `case $1 in --version) echo 'deimos 1.0.1' ;; ps) [ -e /run/idle ] || echo '  "state": "running"' ;; esac\n`;
    await writeFile(`${staged}/usr/local/bin/deimos`, recorder('deimos', program));
    await writeFile(`${staged}/etc/deimos.cfg`, '[state]\nroot: /elsewhere\n');
    await output([`${TREE}packaging/rpm/pack`, staged, '1.0.1', 'x86_64', directory.path], {
      env: { ...process.env, SOURCE_DATE_EPOCH: '1800000000' },
    });
    next = directory.at('deimos-1.0.1-1.x86_64.rpm');
  });
  after(async () => await directory?.remove());

  it('is installed: the slave is told, and what it had been told is kept', async () => {
    const text = await rpm('-i', await packageOf('rpm'));
    assert.match(text, /\/etc\/mesos-slave\/isolation was 'posix\/cpu,posix\/mem' and is external now/);
    assert.match(text, /restart the Mesos slave/);
    assert.equal(option('containerizer_path'), '/usr/local/bin/deimos\n');
    assert.equal(option('isolation'), 'external\n');
    assert.match(content('/etc/deimos.cfg') ?? '', /^root: \/run\/deimos$/m);
    assert.match(await version(), new RegExp(`^deimos ${VERSION.replaceAll('.', '\\.')} `));
  });

  it('is installed again, upgraded and downgraded: what the administrator has changed stays', async () => {
    await write('/etc/mesos-slave/isolation', 'external,own\n');
    await write('/etc/deimos.cfg', '[state]\nroot: /srv/deimos\n');
    const assertUntouched = (text: string) => {
      assert.doesNotMatch(text, /restart|isolation/);
      assert.equal(option('containerizer_path'), '/usr/local/bin/deimos\n');
      assert.equal(option('isolation'), 'external,own\n');
      assert.equal(content('/etc/deimos.cfg'), '[state]\nroot: /srv/deimos\n');
    };
    assertUntouched(await rpm('--reinstall', await packageOf('rpm')));
    assertUntouched(await rpm('-U', next));
    assert.equal(await version(), 'deimos 1.0.1');
    assert.match(content(UNIT) ?? '', /^\[Service\]$/m);
    assertUntouched(await rpm('-U', '--oldpackage', await packageOf('rpm')));
    // Where tasks have been launched since the host booted, the new executable takes them over at once.
    await mkdir(`${root}/run/deimos.roots`);
    await called();
    assertUntouched(await rpm('-U', next));
    assert.deepEqual(await called(), ['deimos recover']);
    await write('/etc/mesos-slave/isolation', 'external\n');
  });

  it('is removed: tasks that run are warned of, the slave’s options are as before, and only state is left', async () => {
    await mkdir(`${root}/run/deimos`);
    await write('/run/deimos/state', '');
    const text = await rpm('-e', 'deimos');
    assert.deepEqual(await called(), ['deimos ps --json']);
    assert.match(text, /warning: 1 tasks run in containers of deimos/);
    assert.match(text, /isolation has its old value again/);
    assert.match(text, /restart the Mesos slave/);
    assert.equal(option('isolation'), 'posix/cpu,posix/mem\n');
    const left = (await listing()).split('\n').filter((path) => !pristine.split('\n').includes(path));
    // The next release's configuration was put beside the administrator's. /usr/share/licenses is there on hosts of the kind.
    assert.deepEqual(left, [
      ...['./etc/deimos.cfg.rpmnew', './etc/deimos.cfg.rpmsave'],
      ...['./run/deimos', './run/deimos.roots', './run/deimos/state'],
      './usr/share/licenses',
    ]);
    assert.deepEqual(
      pristine.split('\n').filter((path) => !existsSync(`${root}/${path}`)),
      [],
    );
  });

  it('leaves on removal what the administrator has changed, and where nothing was, nothing', async () => {
    await rpm('-i', next);
    await write('/etc/mesos-slave/isolation', 'own\n');
    await rpm('-e', 'deimos');
    assert.equal(option('isolation'), 'own\n');
    assert.equal(option('containerizer_path'), undefined);
    await output(['rm', '-r', `${root}/etc/mesos-slave`]);
    await rpm('-i', next);
    assert.equal(option('isolation'), 'external\n');
    await rpm('-e', 'deimos');
    assert.equal(existsSync(`${root}/etc/mesos-slave`), false);
    assert.equal(existsSync(`${root}/var/lib/deimos`), false);
  });

  it('tells systemd of its service, where that runs: the presets enable it, an upgrade restarts it, removal ends it where no task runs', async () => {
    await write('/usr/bin/systemctl', recorder('systemctl'));
    await chmod(`${root}/usr/bin/systemctl`, 0o755);
    const systemd = async () => (await called()).filter((line) => line.startsWith('systemctl'));
    const preset = 'systemctl preset deimos.service';
    const disable = 'systemctl --no-reload disable deimos.service';
    // As where a host is only being made.
    await rpm('-i', next);
    assert.deepEqual(await systemd(), [preset]);
    await rpm('-e', 'deimos');
    assert.deepEqual(await systemd(), [disable]);
    await mkdir(`${root}/run/systemd/system`, { recursive: true });
    const reload = 'systemctl daemon-reload';
    await rpm('-i', next);
    const enabled = 'systemctl -q is-enabled deimos.service';
    assert.deepEqual(await systemd(), [preset, reload, enabled, 'systemctl restart deimos.service']);
    await rpm('--reinstall', next);
    assert.deepEqual(await systemd(), [reload, 'systemctl try-restart deimos.service']);
    await rpm('-e', 'deimos');
    assert.deepEqual(await systemd(), [disable, reload]);
    await rpm('-i', next);
    await systemd();
    await write('/run/idle', '');
    await rpm('-e', 'deimos');
    assert.deepEqual(await systemd(), [disable, 'systemctl stop deimos.service', reload]);
  });
});

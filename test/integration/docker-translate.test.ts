// Options of `docker run`, asked of the real docker CLI, against a real dockerd's versions.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { parseReference } from '../../src/container/image.ts';
import { saidBeyond } from '../../src/container/policy-options.ts';
import { cliDialogue, removeLeftDialogues } from '../../src/docker/cli-dialogue.ts';
import { Engine } from '../../src/docker/engine.ts';
import { translateOptions } from '../../src/docker/translate.ts';
import { FLAGS, SHORT_FLAGS, SHORT_WITH_VALUE } from '../../src/docker/variable-values.ts';
import { isFault } from '../../src/fault.ts';
import { identify } from '../../src/host/processes.ts';
import { findProgram } from '../../src/host/programs.ts';
import { outcomeOf, output } from '../support/command.ts';
import { DOCKER_CLI, type Dockerd, startDockerd } from '../support/dockerd.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const never = new AbortController().signal;
const answer = parseReference('no/such-image:1');
assert.ok(answer.ok);
const image = answer.image;

/** Of the client that attaches, or not taken from a task. */
const NOT_OF_THE_CONTAINER: readonly string[] = [
  ...['attach', 'detach', 'detach-keys', 'sig-proxy', 'disable-content-trust', 'quiet', 'help'],
  ...['cidfile', 'use-api-socket'],
];
/** By what the CLI's help calls the value of an option. */
const VALUES: Readonly<Record<string, string>> = {
  ...{
    int: '5',
    uint: '5',
    uint16: '100',
    bytes: '10m',
    duration: '1s',
    decimal: '1',
    map: 'net.a=b',
    mount: 'type=tmpfs,target=/x',
  },
  ...{ network: 'n', ulimit: 'core=1', port: '80', 'gpu-request': 'all', ip: '1.2.3.4' },
};
const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  'add-host': ['--add-host=a:1.2.3.4'],
  annotation: ['--annotation=a=b'],
  'blkio-weight-device': ['--blkio-weight-device=/dev/null:100'],
  cgroupns: ['--cgroupns=host'],
  device: ['--device=/dev/null'],
  'device-cgroup-rule': ['--device-cgroup-rule=c 1:3 r'],
  ...Object.fromEntries(
    ['read-bps', 'read-iops', 'write-bps', 'write-iops'].map((kind) => [
      `device-${kind}`,
      [`--device-${kind}=/dev/null:1`],
    ]),
  ),
  dns: ['--dns=1.2.3.4'],
  env: ['--env=a=b'],
  'env-file': ['--env-file=/etc/os-release'],
  expose: ['--expose=80'],
  gpus: ['--gpus=all'],
  ip: ['--network=n', '--ip=1.2.3.4'],
  ip6: ['--network=n', '--ip6=::1'],
  ipc: ['--ipc=host'],
  isolation: ['--isolation=default'],
  'label-file': ['--label-file=/etc/os-release'],
  'link-local-ip': ['--network=n', '--link-local-ip=1.2.3.4'],
  'log-opt': ['--log-opt=a=b'],
  'mac-address': ['--network=n', '--mac-address=02:42:ac:11:00:02'],
  'memory-swap': ['--memory=10m', '--memory-swap=100m'],
  network: ['--network=n'],
  'network-alias': ['--network=n', '--network-alias=a'],
  pid: ['--pid=host'],
  platform: ['--platform=linux/arm64'],
  publish: ['--publish=80:80'],
  pull: ['--pull=always'],
  restart: ['--restart=always'],
  'security-opt': ['--security-opt=no-new-privileges'],
  'storage-opt': ['--storage-opt=size=1g'],
  'stop-timeout': ['--stop-timeout=3'],
  tmpfs: ['--tmpfs=/x'],
  userns: ['--userns=host'],
  uts: ['--uts=host'],
  volume: ['--volume=/etc:/x'],
};

const skip = await skipWithoutTools();
// Debian's, and whatever stands first in the path: on some machines a newer one.
const programs = new Set([findProgram('docker'), DOCKER_CLI]);
for (const program of programs)
  describe(`options translated by ${program}`, { skip }, () => {
    let dockerd: Dockerd;
    let engine: Engine;
    before(async () => {
      dockerd = await startDockerd();
      engine = new Engine({ kind: 'unix', path: dockerd.socket });
    });
    after(() => dockerd.stop());

    const translate = async (...options: string[]) =>
      translateOptions(options, image, engine, never, program);
    const refusal = async (...options: string[]) => {
      try {
        await translate(...options);
      } catch (error) {
        assert.ok(error instanceof Error);
        return { kind: 'kind' in error ? error.kind : undefined, message: error.message };
      }
      return assert.fail('not refused');
    };

    test('an option that would take the operator’s first word for its value is refused', async () => {
      const appended = ['--read-only', '--pids-limit=7'];
      const behind = async (...own: string[]) => {
        const words = [...own, ...appended];
        return await translateOptions(words, image, engine, never, program, appended.length);
      };
      const good = await behind('--label', 'a=b', '-v', '/etc:/x');
      assert.deepEqual(good.request.body.Labels, { a: 'b' });
      assert.equal(good.request.body.HostConfig?.ReadonlyRootfs, true);
      assert.deepEqual((await behind('--init')).request.body.Labels, {});
      for (const own of [
        ['--label'],
        ['-l'],
        ['-e'],
        ['--init', '-ite'],
        ['--name'],
        ['--hostname'],
        ['-v'],
        ['--'],
        ['--memory'],
      ])
        await assert.rejects(behind(...own), (error) => {
          assert.ok(isFault(error, 'refused'), String(own));
          assert.doesNotMatch(error.message, /deimos\.seam/);
          return true;
        });
    });

    test('every option that has an effect on a container is known by what it sets', async () => {
      const { stdout } = await outcomeOf([program, 'run', '--help']);
      const found = [...stdout.toString().matchAll(/^ +(?:-\w, )?--([a-z0-9-]+)(?: (\w+))? {2}/gm)];
      const options = found.map(([, name = '', type]) => ({ name, type }));
      assert.ok(options.length > 80, stdout.toString());
      const nothing = await translate();
      for (const { name, type } of options.filter((one) => !NOT_OF_THE_CONTAINER.includes(one.name))) {
        const words = EXAMPLES[name] ?? [
          type === undefined ? `--${name}` : `--${name}=${VALUES[type] ?? 'a'}`,
        ];
        try {
          const said = saidBeyond(await translate(...words), nothing);
          assert.ok(
            said.some(({ options: names }) => names.includes(name)),
            `${words}: ${JSON.stringify(said)}`,
          );
          assert.deepEqual(
            said.filter(({ options: names }) => names.length === 0),
            [],
            String(words),
          );
        } catch (error) {
          // Some are for a younger daemon than the one that is here.
          if (
            !isFault(error, 'refused') ||
            !/requires API version|daemon running on windows/.test(error.message)
          )
            throw error;
        }
      }
    });

    test('shares, labels, binds and capabilities arrive in the body', async () => {
      const { request, pull } = await translate(
        ...['-c', '10240', '--label', 'a=b', '-v', '/etc:/etc-host:ro', '--cap-add=NET_ADMIN'],
      );
      assert.equal(request.body.Image, image);
      assert.equal(request.body.HostConfig?.CpuShares, 10240);
      assert.deepEqual(request.body.Labels, { a: 'b' });
      assert.deepEqual(request.body.HostConfig?.Binds, ['/etc:/etc-host:ro']);
      assert.match(String(request.body.HostConfig?.CapAdd), /^(CAP_)?NET_ADMIN$/);
      assert.equal(pull, 'missing');
    });

    test('name, platform and removal are seen', async () => {
      const { request } = await translate('--name', 'mine', '--rm', '--platform', 'linux/amd64');
      assert.deepEqual(request.query, { name: 'mine', platform: 'linux/amd64' });
      assert.equal(request.body.HostConfig?.AutoRemove, true);
    });

    test('--pull says whether to pull', async () => {
      assert.equal((await translate('--pull', 'always')).pull, 'always');
      assert.equal((await translate('--pull=never', '--label', 'a=b')).pull, 'never');
      assert.deepEqual((await translate('--pull=never', '--label', 'a=b')).request.body.Labels, { a: 'b' });
    });

    test('options that exclude --detach are asked for once more without it', async () => {
      const { request } = await translate('-a', 'stdout', '--label', 'a=b');
      assert.deepEqual(request.body.Labels, { a: 'b' });
    });

    test('a terminal needs none here', async () => {
      assert.equal((await translate('-t')).request.body.Tty, true);
    });

    test("an unknown option is refused in the CLI's own words, on one line", async () => {
      const { kind, message } = await refusal('--bogus');
      assert.equal(kind, 'refused');
      assert.equal(message, 'docker run --bogus: unknown flag: --bogus');
    });

    test('a bad value is refused, values of variables are not repeated', async () => {
      const { kind, message } = await refusal('-e', 'SECRET=hunter2', '-eOTHER=hunter3', '-m', 'lots');
      assert.equal(kind, 'refused');
      assert.match(message, /lots/);
      assert.doesNotMatch(message, /hunter/);
      assert.doesNotMatch(message, /\n/);
    });

    test('a word that is no option is refused by name', async () => {
      for (const options of [['stray'], ['--label', 'a=b', 'stray'], ['--', 'stray']]) {
        const { kind, message } = await refusal(...options);
        assert.equal(kind, 'refused');
        assert.match(message, /'stray' is neither an option/);
      }
    });

    test('relative host paths are refused however they are spelled', async () => {
      for (const options of [
        ['-v', './x:/y'],
        ['-v../x:/y'],
        ['-itv', './a/../x:/y'],
        ['--volume=../../../etc:/y'],
        ['--mount', 'type=bind,source=./x,target=/y'],
        ['--mount=type=bind,target=/y,src=../x'],
        ['--env-file', 'secrets'],
        ['--env-file=../etc/hostname'],
        ['--label-file', './labels'],
      ]) {
        const { kind, message } = await refusal(...options);
        assert.equal(kind, 'refused', options.join(' '));
        assert.match(message, /absolute|x/, options.join(' '));
      }
      assert.deepEqual((await translate('-v', 'named:/y')).request.body.HostConfig?.Binds, ['named:/y']);
      const { body } = (await translate('--mount', 'type=bind,source=/etc,target=/y')).request;
      assert.equal(body.HostConfig?.Mounts?.[0]?.Source, '/etc');
    });

    test('a file that only root may read cannot be read', async () => {
      const { kind, message } = await refusal('--env-file', '/etc/shadow');
      assert.equal(kind, 'refused');
      assert.match(message, /permission denied/);
    });

    test('which of its options take no value is known', async () => {
      const help = await output([program, 'run', '--help']);
      const options = [...help.matchAll(/^ {2}(?:-(\w), | {4})(--[\w-]+)( \S+)? {2,}/gm)];
      assert.ok(options.length > 90, `${options.length}`);
      const known = [...SHORT_FLAGS, ...SHORT_WITH_VALUE, 'e'];
      for (const [line, short, long = '', value] of options) {
        assert.equal(FLAGS.has(long), value === undefined, line);
        if (short === undefined) continue;
        assert.ok(known.includes(short), line);
        assert.equal(SHORT_FLAGS.includes(short), value === undefined, line);
      }
    });

    test('variables come out as they would with their values in the argv', async () => {
      const values = [
        'plain',
        'a=b',
        '',
        '"',
        'two\nlines',
        ' ',
        '$HOME',
        '\\',
        'ä😀',
        '***',
        '-e',
        'null',
        '\u2028',
      ];
      const spellings = (name: string, value: string): readonly string[][] => [
        ['-e', `${name}=${value}`],
        [`-e${name}=${value}`],
        [`-e=${name}=${value}`],
        [`--env=${name}=${value}`],
        ['--env', `${name}=${value}`],
        ['-te', `${name}=${value}`],
        [`-tie${name}=${value}`],
        ['--label', `-e${name}=${value}`],
        ['--label', `--env=${name}=${value}`, '--read-only'],
        ['-l', '-e', '--memory=1g'],
        ['--entrypoint', `-e=${name}=${value}`],
        ['-w', `/-e${name}=${value}`],
        ['-e', name],
      ];
      for (const [n, value] of values.entries()) {
        // Each spelling with each value, and all of them side by side.
        const options = spellings(`name.${n}`, value).flat();
        const { request } = await translate(...options);
        assert.deepEqual(request.body, await unmasked(program, options), JSON.stringify(options));
      }
    });

    test('help is no answer', async () => {
      assert.equal((await refusal('--help')).kind, 'refused');
    });

    test('an abort ends it, and nothing is left of any', async () => {
      const controller = new AbortController();
      const daemon = {
        version: (signal: AbortSignal) => engine.version(signal),
        info: (signal: AbortSignal) => engine.info(signal),
        ping: async (signal: AbortSignal) => {
          setTimeout(() => controller.abort(new Error('enough')), 10);
          return await engine.ping(signal);
        },
      };
      const many = Array.from({ length: 5000 }, (_, i) => `--label=key${i}=value`);
      await assert.rejects(translateOptions(many, image, daemon, controller.signal, program), /enough/);
      assert.deepEqual(
        readdirSync('/run').filter((name) => name.startsWith(`deimos-cli-${process.pid}-`)),
        [],
      );
    });
  });

/** What the CLI asks for with these very words. */
async function unmasked(program: string, options: readonly string[]): Promise<unknown> {
  let body: unknown;
  const argv = ['run', '--detach', ...options, image];
  const end = await cliDialogue(
    {
      ...{ argv, program, config: 'none' },
      answer: async (request) => {
        if (request.path !== '/containers/create') return { status: 200, headers: {} };
        body = JSON.parse(request.body);
        return 'enough';
      },
    },
    never,
  );
  assert.ok(end.heard, JSON.stringify(end));
  return body;
}

describe('the program that translates', { skip }, () => {
  const daemon = { ping: async () => ({}), version: async () => ({}), info: async () => ({}) };

  /** A program in the CLI's place that tells what it sees of the world. */
  const script = async (directory: TempDirectory, lines: string) => {
    const path = directory.at('docker');
    await writeFile(path, `#!/bin/sh\n${lines}\n`);
    await chmod(path, 0o755);
    return path;
  };

  test('is a user that nobody else is, without groups, capabilities, terminal and environment', async () => {
    await using directory = await tempDirectory();
    const program = await script(
      directory,
      `{ echo uid $(id -u) gid $(id -G) cwd $(pwd) in $(readlink /proc/self/fd/0)
         grep -h 'CapEff\\|NoNewPrivs' /proc/self/status; env | grep -v '^\\(PWD\\|OLDPWD\\|SHLVL\\|_\\)='; } >&2`,
    );
    process.env.DEIMOS_TEST_SECRET = 'hunter2';
    try {
      await assert.rejects(translateOptions(['--x'], image, daemon, never, program), (error) => {
        assert.ok(isFault(error, 'refused'));
        const [, uid, gid] = /uid (\d+) gid (\d+) cwd \/ in \/dev\/null/.exec(error.message) ?? [];
        assert.ok(Number(uid) >= 2_000_000_000, error.message);
        assert.equal(gid, uid);
        assert.match(error.message, /CapEff:\\t0+ NoNewPrivs:\\t1 /);
        assert.match(error.message, /PATH=\/usr\/local\/sbin:/);
        assert.doesNotMatch(error.message, /HOME=|hunter2|NODE_|DOCKER_/);
        return true;
      });
    } finally {
      delete process.env.DEIMOS_TEST_SECRET;
    }
  });

  test('has no value of a variable in its argv, and none is in its complaints', async () => {
    await using directory = await tempDirectory();
    await chmod(directory.path, 0o777);
    const seen = directory.at('seen');
    const program = await script(
      directory,
      `tr '\\0' '\\n' < /proc/$$/cmdline >> ${seen}; echo "docker: refused: $*" >&2; exit 125`,
    );
    const options = ['-e', 'A=hunter2', '--env=B=hunter2', '-iteC=hunter2', '-e', 'D=hunter2\nhunter2'];
    await assert.rejects(translateOptions(options, image, daemon, never, program), (error) => {
      assert.ok(isFault(error, 'refused'));
      assert.doesNotMatch(error.message, /hunter2/);
      assert.match(error.message, /refused: .*-e A=\*\*\* --env=B=\*\*\*/);
      return true;
    });
    const argvs = readFileSync(seen, 'utf8');
    assert.match(argvs, /^-iteC=./m);
    assert.doesNotMatch(argvs, /hunter2/);
  });

  test('leaves nothing of what it was given where who asked it was killed: the next one removes that', async () => {
    await using directory = await tempDirectory();
    const program = await script(directory, 'exec sleep 1000');
    const dialogue = { argv: [], program, config: { json: 'hunter2', home: '/' } };
    const asks = `import { cliDialogue } from ${JSON.stringify(import.meta.resolve('../../src/docker/cli-dialogue.ts'))};
      const answer = () => 'enough';
      await cliDialogue({ ...${JSON.stringify(dialogue)}, answer }, new AbortController().signal);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', asks], { stdio: 'inherit' });
    const given = (): string[] =>
      readdirSync('/run').filter((name) => name.startsWith(`deimos-cli-${child.pid}-`));
    try {
      const isWritten = ([name]: readonly string[]): boolean =>
        name !== undefined && existsSync(`/run/${name}/config/config.json`);
      await until('it is asked', () => isWritten(given()));
      removeLeftDialogues();
      assert.ok(isWritten(given()), 'while it lives it is left alone');
      for (const [path, mode] of [
        ['', 0o700],
        ['/config', 0o700],
        ['/config/config.json', 0o600],
      ] as const)
        assert.equal(statSync(`/run/${given()[0]}${path}`).mode & 0o777, mode, path);
    } finally {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    assert.equal(given().length, 1);
    removeLeftDialogues();
    assert.deepEqual(given(), []);
  });

  test('is killed with all that it started when nobody wants it any more', async () => {
    await using directory = await tempDirectory();
    await chmod(directory.path, 0o777);
    const pids = directory.at('pids');
    const program = await script(
      directory,
      `sleep 1000 & echo $$ $! > ${pids}.new; mv ${pids}.new ${pids}; wait`,
    );
    const controller = new AbortController();
    const ended = assert.rejects(
      translateOptions(['--x'], image, daemon, controller.signal, program),
      /enough/,
    );
    await until('it runs', () => existsSync(pids));
    controller.abort(new Error('enough'));
    await ended;
    const left = readFileSync(pids, 'utf8').trim().split(' ').map(Number);
    assert.equal(left.length, 2);
    await until('both are gone', () => left.every((pid) => identify(pid) === undefined));
  });
});

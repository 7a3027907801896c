// The executable as a person calls it: exit statuses, errors in one line, help, and the commands that need no Docker to say
// something: config, state, locks.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { basename } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { encode } from '../../src/mesos/codec.ts';
import { Update, ValueType } from '../../src/mesos/messages.ts';
import { type Outcome, outcomeOf } from '../support/command.ts';
import { HOSTILE, OBEYED } from '../support/control.ts';
import {
  BINARY,
  containerRecord,
  framed,
  type Installation,
  install,
  type LaunchRecord,
  launchRecord,
} from '../support/installation.ts';
import { signalPid } from '../support/proc.ts';
import { commandTask } from '../support/tasks.ts';
import { until } from '../support/until.ts';

const COMMANDS = [
  ...['launch', 'wait', 'usage', 'update', 'destroy', 'containers', 'recover'],
  ...['supervise', 'config', 'state', 'locks', 'plan'],
  'ps',
  'logs',
  'check',
];

function assertFails(outcome: Outcome, code: number, words: RegExp): void {
  const what = `${outcome.stdout}${outcome.stderr}`;
  assert.deepEqual({ code: outcome.code, stdout: outcome.stdout.toString() }, { code, stdout: '' }, what);
  assert.match(outcome.stderr, /^deimos[^\n]*: [^\n]+\n$/);
  assert.match(outcome.stderr, words);
}

function textOf(outcome: Outcome): string {
  assert.deepEqual({ code: outcome.code, stderr: outcome.stderr }, { code: 0, stderr: '' });
  return outcome.stdout.toString();
}

let here: Installation;
before(async () => {
  here = await install();
});
after(async () => await here[Symbol.asyncDispose]());

describe('the command line', () => {
  it('--help, -h and help name every command, on stdout, with status 0', async () => {
    for (const words of [['--help'], ['-h'], ['help']]) {
      const text = textOf(await outcomeOf([BINARY, ...words], { env: {} }));
      for (const command of COMMANDS) assert.match(text, new RegExp(`^\\s+${command}\\b`, 'm'));
      assert.match(text, /--config <file>/);
      assert.match(text, /--root <directory>/);
    }
  });

  it('the manual and the completion of bash name every command and every option', async () => {
    const manual = readFileSync(new URL('../../docs/deimos.8.md', import.meta.url), 'utf8');
    const completion = readFileSync(new URL('../../debian/completion/deimos', import.meta.url), 'utf8');
    const offered = /^ {2}local commands='(.*)'$/m.exec(completion)?.[1]?.split(' ') ?? [];
    assert.deepEqual([...offered].sort(), [...COMMANDS, 'help'].sort());
    for (const command of COMMANDS) {
      const help = textOf(await here.run([command, '--help']));
      const about = manual.slice(manual.indexOf(`\n**${command}**`)).split(/\n\n(?=\*\*|## )/)[0] ?? '';
      assert.notEqual(about, '', command);
      const offers =
        new RegExp(`^ {2}${command}\\) options="\\$options (.*)" ;;$`, 'm').exec(completion)?.[1] ??
        completion;
      for (const [, option = ''] of help.matchAll(/^ {2}(--[a-z-]+)/gm)) {
        if (['--config', '--root', '--version', '--help'].includes(option)) continue;
        assert.ok(about.includes(`**${option}**`), `the manual on ${command} does not name ${option}`);
        assert.match(
          offers,
          new RegExp(`(^|[ "])${option}([ "]|$)`, 'm'),
          `bash is not told of ${command} ${option}`,
        );
      }
    }
  });

  it('COMMAND --help explains it, whatever the configuration, and does nothing else', async () => {
    for (const command of COMMANDS) {
      const text = textOf(await here.run([command, '--help']));
      assert.match(text, new RegExp(`deimos ${command}`));
    }
    assert.match(textOf(await here.run(['launch', '--help'])), /--no-fork/);
    assert.match(textOf(await here.run(['state', '--help'])), /--rm[\s\S]*--older-than/);
    assert.deepEqual(here.traces(), []);
  });

  it('--version and -v are one line each, the same', async () => {
    const texts = [];
    for (const flag of ['--version', '-v']) texts.push(textOf(await outcomeOf([BINARY, flag], { env: {} })));
    assert.match(texts[0] ?? '', /^deimos \d+\.\d+\.\d+[^\n]*\n$/);
    assert.equal(texts[0], texts[1]);
  });

  const wrong: readonly (readonly [words: readonly string[], says: RegExp])[] = [
    [[], /no command/],
    [['lunch'], /lunch/],
    [['lunch', '--help-me'], /./],
    [['--bogus'], /./],
    [['--bogus', '--version'], /bogus/],
    [['config', '--help', '--bogus'], /bogus/],
    [['help', 'frobnicate'], /frobnicate/],
    [['frobnicate', '--help'], /frobnicate/],
    [['launch', '--bogus'], /bogus/],
    [['wait', '--forever'], /forever/],
    [['containers', 'all'], /all/],
    [['launch', 'now'], /now/],
    [['config', 'x', 'y'], /./],
    [['state', '2026-01-01T00:00:00Z', 'more'], /more/],
    [['supervise', '--syslog', 'LOUD'], /LOUD/],
    [['state', '--older-than', 'long'], /long/],
    [['state', '--older-than=-3h'], /-3h/],
    [['state', '--older-than'], /older-than/],
    [['state', 'yesterday'], /yesterday/],
    [['state', '2026-01-31'], /2026-01-31/],
    [['state', '2026-02-30T00:00:00Z'], /2026-02-30/],
    [['state', '2026-13-01T00:00:00Z'], /2026-13-01/],
    [['state', '2026-01-31T12:00:00'], /2026-01-31/],
    [['state', '2026-01-31T12:00:00+01:00'], /2026-01-31/],
    [['launch', '--config'], /config/],
    [['launch', '--config', '/etc/other.cfg'], /config/],
    [['locks', '--root=/a', '--root=/b'], /root/],
    [['wait', '--root', '/x', '--container', '../y', '--slave', ''], /./],
    [['a\nb\u001b[31m'], /./],
  ];
  for (const [words, says] of wrong) {
    it(`${JSON.stringify(words.join(' '))} is wrong: one line, status 1`, async () => {
      assertFails(await here.run(words), 1, says);
      assert.deepEqual(here.traces(), []);
    });
  }
});

describe('a configuration that cannot be used', () => {
  let broken: Installation;
  before(async () => {
    broken = await install();
  });
  after(async () => await broken[Symbol.asyncDispose]());

  it('a file that is not there: status 16, for every command', async () => {
    for (const command of COMMANDS) {
      const words = command === 'logs' ? [command, 'a-task'] : [command];
      const outcome = await outcomeOf([BINARY, '--config', broken.at('none.cfg'), ...words], { env: {} });
      assertFails(outcome, 16, /none\.cfg/);
    }
  });

  it('a value that cannot be read: status 16 for launch, plan and config, with file, line and key', async () => {
    await broken.configure('[containers]\nstop_timeout: soon\n');
    const task = commandTask({ value: 'true', image: 'busybox' });
    const { stdin } = await launchRecord(task, broken.at('sandboxes'));
    for (const words of [['launch'], ['launch', '--no-fork'], ['plan'], ['config']])
      assertFails(await broken.run(words, stdin), 16, /deimos\.cfg:6: .*stop_timeout/);
    assert.deepEqual(broken.traces(), []);
  });

  it('a Docker that cannot be meant: status 16, before anything is accepted', async () => {
    const { stdin } = await launchRecord(
      commandTask({ value: 'true', image: 'busybox' }),
      broken.at('sandboxes'),
    );
    for (const [line, says] of [
      ['context: other', /context/],
      ['host: ssh://h', /ssh:/],
    ] as const) {
      await broken.configure(`[docker]\n${line}\n`, true);
      for (const command of ['launch', 'config']) assertFails(await broken.run([command], stdin), 16, says);
    }
    assert.deepEqual(broken.traces(), []);
    await broken.configure('[containers]\nstop_timeout: soon\n');
  });

  it('an unreadable value: status 0 for what running tasks need', async () => {
    const unknown = containerRecord('none');
    const work = { MESOS_WORK_DIRECTORY: broken.at('work') };
    for (const [command, record] of [
      ['update', unknown],
      ['destroy', unknown],
      ['containers', undefined],
      ['recover', undefined],
    ] as const) {
      const outcome = await broken.run([command], record, work);
      assert.deepEqual(
        { command, code: outcome.code, stderr: outcome.stderr },
        { command, code: 0, stderr: '' },
      );
    }
    for (const command of ['wait', 'usage']) assertFails(await broken.run([command], unknown), 4, /none/);
  });

  it('a root that cannot be told: status 16 for every verb, since none can say what runs', async () => {
    await broken.configure('[state]\nroot: relative/path\n', true);
    for (const verb of ['launch', 'wait', 'usage', 'destroy', 'containers', 'recover', 'state', 'locks'])
      assertFails(await broken.run([verb], containerRecord('none')), 16, /root/);
    const resources = [{ name: 'cpus', type: ValueType.SCALAR, scalar: { value: 1 }, role: '*' }];
    const update = framed(encode(Update, { container_id: { value: 'none' }, resources }));
    assertFails(await broken.run(['update'], update), 16, /root/);
    await broken.configure(`[state]\nroot: ${broken.at('a:b')}\n`, true);
    for (const verb of ['containers', 'config']) assertFails(await broken.run([verb]), 16, /colon|a:b/);
  });

  it('a root that others own or can write: status 16', { skip: process.getuid?.() !== 0 }, async () => {
    await broken.configure('');
    const { stdin } = await launchRecord(
      commandTask({ value: 'true', image: 'busybox' }),
      broken.at('sandboxes'),
    );
    mkdirSync(broken.root, { mode: 0o700 });
    for (const spoil of [() => chmodSync(broken.root, 0o770), () => chmodSync(broken.root, 0o702)]) {
      spoil();
      for (const verb of ['launch', 'wait', 'state', 'locks'])
        assertFails(await broken.run([verb], stdin), 16, /written by others/);
    }
    chmodSync(broken.root, 0o700);
    chownSync(broken.root, 65534, 65534);
    for (const verb of ['launch', 'destroy', 'state'])
      assertFails(
        await broken.run([verb], verb === 'launch' ? stdin : containerRecord('none')),
        16,
        /belongs to/,
      );
    assert.deepEqual(readdirSync(broken.root), []);
  });
});

describe('what is no configuration', () => {
  let directory: string;
  before(() => {
    directory = here.at('no-configurations');
    mkdirSync(directory, { mode: 0o755 });
  });

  const file = (text: string | Uint8Array) => (path: string) => writeFileSync(path, text, { mode: 0o600 });
  const made: Readonly<Record<string, (path: string) => void>> = {
    'a directory': (path) => mkdirSync(path),
    'a FIFO': (path) => void execFileSync('mkfifo', ['-m', '600', path]),
    'a link to itself': (path) => symlinkSync(basename(path), path),
    'a link to a file of /proc': (path) => symlinkSync('/proc/version', path),
    'a file of 1 GiB': (path) => {
      writeFileSync(path, '', { mode: 0o600 });
      truncateSync(path, 1024 ** 3);
    },
    'bytes of any kind': file(Buffer.from(Array.from({ length: 65_536 }, (_, n) => (n * 7919) & 0xff))),
    'a root with a NUL': file('[state]\nroot: /tmp/a\0b\n'),
    'a root for a terminal': file(`[state]\nroot: /tmp/${HOSTILE}\n`),
    'a root that refers to itself': file('[state]\nroot: /%(root)s\n'),
  };
  for (const [what, make] of Object.entries(made)) {
    it(`${what}: one line and status 16, by every call`, async () => {
      const path = `${directory}/${what.replaceAll(' ', '-').replaceAll('/', '')}`;
      make(path);
      for (const verb of ['config', 'launch', 'usage', 'destroy']) {
        const outcome = await outcomeOf([BINARY, '--config', path, verb], {
          env: {},
          input: containerRecord('none'),
        });
        assertFails(outcome, 16, /no-configurations\//);
        assert.doesNotMatch(outcome.stderr.slice(0, -1), OBEYED);
      }
    });
  }

  it('a section that comes twice is one, a key that comes twice has its last value', async () => {
    const path = `${directory}/twice`;
    file('[state]\nroot: /first\nkeep: 1h\n[log]\n[state]\nroot: /second\nroot: /last\n')(path);
    const text = textOf(await outcomeOf([BINARY, '--config', path, 'config'], { env: {} }));
    assert.match(text, /^root: \/last$/m);
    assert.match(text, /^keep: 3600$/m);
  });
});

describe('config', () => {
  it('says as comments what in the file has no effect, and takes the root of the command line', async () => {
    await using other = await install();
    await other.configure('[containers]\nbogus: 1\n[docker]\nlog-level: debug\n', true);
    const { code, stdout, stderr } = await other.run(['config', '--root', '/elsewhere']);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    const lines = stdout.toString().split('\n');
    const warnings = lines.filter((line) => line.startsWith('# warning: '));
    assert.equal(warnings.length, 2);
    assert.match(warnings[0] ?? '', /deimos\.cfg:\d+: .*bogus/);
    assert.match(warnings[1] ?? '', /log-level has no effect/);
    assert.ok(lines.includes('root: /elsewhere'));
  });

  it('prints what is in force as a file that gives the same, with where it came from', async () => {
    await using other = await install();
    await other.configure(
      '[containers.options]\nappend = ["-e", "A=b;c#d", "--label", "x=50%%"]\n[hooks]\nonlaunch: ["/bin/true", "two words"]\n[log]\nsyslog: DEBUG\n',
    );
    const text = textOf(await other.run(['config']));
    assert.match(text.split('\n')[0] ?? '', new RegExp(`^# .*${other.configFile}$`));
    assert.match(text, /\["-e", ?"A=b;c#d", ?"--label", ?"x=50%%"\]/);
    await other.configure(text, true);
    assert.equal(textOf(await other.run(['config'])), text);
  });

  it('finds the file as it was always found, the first one only', async () => {
    await using other = await install();
    mkdirSync(other.at('cwd'));
    mkdirSync(other.at('home'));
    writeFileSync(other.at('home/.deimos'), '[containers]\nstop_timeout: 11\n');
    const ask = async () =>
      await outcomeOf([BINARY, 'config'], { cwd: other.at('cwd'), env: { HOME: other.at('home') } });
    const inHome = textOf(await ask());
    assert.match(inHome, new RegExp(`^# .*${other.at('home/.deimos')}\n`));
    assert.match(inHome, /^stop_timeout: 11$/m);
    writeFileSync(other.at('cwd/deimos.cfg'), '[containers]\nlog_size: 5m\n');
    const inCwd = textOf(await ask());
    assert.match(inCwd, new RegExp(`^# .*${other.at('cwd/deimos.cfg')}\n`));
    assert.match(inCwd, /^stop_timeout: 2$/m);
    assert.match(inCwd, /^log_size: 5m$/m);
  });
});

/** Something that takes a slave's connections and says nothing: containers launched for it stay in preparation. */
async function silentSlave(): Promise<Server & { readonly upid: string }> {
  const server = createServer((socket) => socket.on('error', () => {}).resume());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return Object.assign(server, { upid: `slave(1)@127.0.0.1:${address.port}` });
}

describe('state and locks, of containers that wait for a Docker that is away', () => {
  let other: Installation;
  let slave: Server & { readonly upid: string };
  const launched: LaunchRecord[] = [];

  const launch = async (): Promise<LaunchRecord> => {
    const record = await launchRecord(
      commandTask({ value: 'true', image: 'busybox' }),
      other.at('s'),
      slave.upid,
    );
    const { code, stderr, stdout } = await other.run(['launch'], record.stdin);
    assert.deepEqual({ code, stderr, stdout: stdout.length }, { code: 0, stderr: '', stdout: 0 });
    return record;
  };
  const times = () => readdirSync(`${other.root}/start-time`).sort();

  before(async () => {
    other = await install();
    slave = await silentSlave();
  });
  after(async () => {
    slave.close();
    await other[Symbol.asyncDispose]();
  });

  it('without a state root: one line, status 4, but that nothing is there to be removed, as cron finds it', async () => {
    for (const words of [['state'], ['locks']]) assertFails(await other.run(words), 4, /no state root/);
    assert.equal(textOf(await other.run(['state', '--rm'])), '');
  });

  it('state lists by time of launch, a line each', async () => {
    for (let n = 0; n < 3; n++) launched.push(await launch());
    const lines = textOf(await other.run(['state'])).split('\n');
    assert.deepEqual(lines, [...times().map((time) => `${other.root}/start-time/${time}`), '']);
    assert.equal(lines.length, 4);
    for (const line of lines.slice(0, 3)) assert.ok(statSync(line).isDirectory());
  });

  it('state TIME lists those launched before it', async () => {
    const [, second = '', third = ''] = times();
    const of = async (time: string) => textOf(await other.run(['state', time])).split('\n').length - 1;
    assert.equal(await of('2001-01-01T00:00:00Z'), 0);
    assert.equal(await of('2999-01-01T00:00:00Z'), 3);
    // To the millisecond, which is what a clock of ours gives.
    assert.equal(await of(second), second.slice(0, 23) === times()[0]?.slice(0, 23) ? 0 : 1);
    assert.equal(await of(third), times().filter((time) => time.slice(0, 23) < third.slice(0, 23)).length);
  });

  it('a launch that comes twice is refused: one line, status 4, and nothing of the first is touched', async () => {
    const [first] = launched;
    assert.ok(first);
    assertFails(await other.run(['launch'], first.stdin), 4, /launched already/);
    assert.equal(times().length, 3);
  });

  it('locks names the true holder of each, its inode and level, and the waits that sleep on it', async () => {
    const [first, second] = launched;
    assert.ok(first && second);
    const waiting = [first, first, second].map(({ containerId }) =>
      other.run(['wait'], containerRecord(containerId)),
    );
    const sleepers = await until('three waits asleep', () => {
      const flocks = other.processes().filter(({ kind }) => kind === 'flock');
      return flocks.length === 3 && flocks;
    });
    const supervisor = other.processes().find(({ argv }) => argv.includes('supervise'))?.pid;
    assert.ok(supervisor);

    const rows = await until('the kernel lists the sleepers', async () => {
      const lines = textOf(await other.run(['locks']))
        .trimEnd()
        .split('\n');
      const found = lines.map((line) => line.split('\t'));
      return found.filter((row) => row[3] === 'waiting').length === 3 && found;
    });
    const usesOf = (path: string) => {
      const inode = String(statSync(path).ino);
      const own = rows.filter((row) => row[4] === path);
      assert.ok(own.length > 0, path);
      for (const row of own) assert.equal(row[1], inode, path);
      return own.map(([pid, , level, status]) => [pid, level, status]);
    };
    const root = other.root;
    const held = [[String(supervisor), 'exclusive', 'held']];
    assert.deepEqual(usesOf(`${root}/supervisor/lock`), held);
    for (const { containerId } of launched) {
      const pids = sleepers.filter(({ argv }) => argv.includes(containerId)).map(({ pid }) => String(pid));
      const wait = usesOf(`${root}/mesos/${containerId}/lock/wait`);
      assert.deepEqual(
        wait.filter(([, , status]) => status === 'held'),
        held,
      );
      assert.deepEqual(
        wait.filter(([, , status]) => status === 'waiting').sort(),
        pids.sort().map((pid) => [pid, 'shared', 'waiting']),
      );
      for (const name of ['launch', 'destroy'])
        assert.deepEqual(usesOf(`${root}/mesos/${containerId}/lock/${name}`), [['-', '-', 'free']]);
    }
    // Every lock file there is, and no other line.
    assert.deepEqual(
      new Set(rows.map((row) => row[4])),
      new Set([
        ...['lock', 'start', 'wake'].map((name) => `${root}/supervisor/${name}`).filter(existsSync),
        ...launched.flatMap(({ containerId }) =>
          ['launch', 'wait', 'destroy'].map((name) => `${root}/mesos/${containerId}/lock/${name}`),
        ),
      ]),
    );

    for (const { containerId } of launched) {
      const destroyed = await other.run(['destroy'], containerRecord(containerId));
      assert.deepEqual([destroyed.code, destroyed.stderr], [0, '']);
    }
    for (const { code, stderr } of await Promise.all(waiting)) assert.deepEqual([code, stderr], [0, '']);
  });

  it('state --rm removes what has ended and nothing else; --older-than and a time narrow that', async () => {
    const running = await launch();
    const ids = () => readdirSync(`${other.root}/mesos`).sort();
    const all = [...launched, running].map(({ containerId }) => containerId).sort();
    textOf(await other.run(['state', '--rm', '--older-than', '1h']));
    textOf(await other.run(['state', '--rm', '2001-01-01T00:00:00Z']));
    assert.deepEqual(ids(), all);
    textOf(await other.run(['state', '--rm']));
    assert.deepEqual(ids(), [running.containerId]);
    assert.equal(times().length, 1);
    const destroyed = await other.run(['destroy'], containerRecord(running.containerId));
    assert.equal(destroyed.code, 0, destroyed.stderr);
    textOf(await other.run(['state', '--rm', '2999-01-01T00:00:00Z']));
    assert.deepEqual([ids(), times()], [[], []]);
  });

  it('a foreign entry in the state directory is left alone by all of them', async () => {
    mkdirSync(`${other.root}/mesos/not a container`);
    symlinkSync('/nonexistent', `${other.root}/mesos/link`);
    for (const words of [['state'], ['state', '--rm'], ['locks'], ['recover'], ['containers']])
      assert.equal((await other.run(words, undefined, { MESOS_WORK_DIRECTORY: other.at('w') })).code, 0);
    assert.deepEqual(readdirSync(`${other.root}/mesos`).sort(), ['link', 'not a container']);
  });

  it('supervise ends at once where another supervisor lives, and at SIGTERM where none does', async () => {
    const supervisor = () => other.processes().find(({ argv }) => argv.includes('supervise'))?.pid;
    const first = supervisor();
    assert.ok(first);
    const second = await other.run(['supervise']);
    assert.deepEqual([second.code, second.stdout.length, second.stderr], [0, 0, '']);
    assert.equal(supervisor(), first);
    signalPid(first, 'SIGTERM');
    await until('the supervisor gone', () => supervisor() === undefined);
    const third = other.run(['supervise', '--stay']);
    const pid = await until(
      'the third up',
      () => existsSync(`${other.root}/supervisor/socket`) && supervisor(),
    );
    signalPid(pid, 'SIGTERM');
    const { code, stdout, stderr } = await third;
    assert.deepEqual([code, stdout.length, stderr], [0, 0, '']);
    assert.equal(existsSync(`${other.root}/supervisor/socket`), false);
  });
});

describe('plan without Docker', () => {
  it('says that Docker does not answer: one line, status 4, soon', async () => {
    const { stdin } = await launchRecord(
      commandTask({ value: 'true', image: 'busybox' }),
      here.at('sandboxes'),
    );
    assertFails(await here.run(['plan'], stdin), 4, /Docker/);
    assertFails(await here.run(['plan'], framed(Buffer.from('x'))), 4, /./);
    assert.deepEqual(here.traces(), []);
  });
});

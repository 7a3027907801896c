// Which file is read, whom it is believed, and what is still known when it is broken. Real files throughout.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { configCommand } from '../../../src/commands/config.ts';
import {
  distrust,
  findConfig,
  MAX_CONFIG_BYTES,
  type SearchPlace,
  searchPaths,
} from '../../../src/config/find.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { parseConfig } from '../../../src/config/parse.ts';
import { lenientRoot, rootOf } from '../../../src/config/root.ts';
import { DEFAULT_CONFIG } from '../../../src/config/schema.ts';
import { isFault } from '../../../src/fault.ts';

const ownUid = process.geteuid?.() ?? -1;
const asRoot = { skip: ownUid === 0 ? false : 'only root can give files to other users' };
const OTHER_USER = 65_534;

let base = '';
let place: SearchPlace;
const at = (name: string) => join(base, name);
const write = (name: string, text: string) => {
  fs.writeFileSync(at(name), text, { mode: 0o644 });
  return at(name);
};
const rootLine = (root: string) => `[state]\nroot: ${root}\n`;

beforeEach(() => {
  base = fs.mkdtempSync(join(tmpdir(), 'deimos-config-'));
  for (const name of ['cwd', 'home', 'etc', 'usr']) fs.mkdirSync(at(name), { mode: 0o755 });
  place = {
    cwd: at('cwd'),
    home: at('home'),
    uid: ownUid,
    systemPaths: [at('etc/deimos.cfg'), at('usr/deimos.cfg')],
  };
});
afterEach(() => fs.rmSync(base, { recursive: true, force: true }));

test('the places and their order', () => {
  assert.deepEqual(searchPaths({ cwd: '/work', home: '/home/me', uid: 1 }), [
    '/work/deimos.cfg',
    '/home/me/.deimos',
    '/etc/deimos.cfg',
    '/usr/etc/deimos.cfg',
    '/usr/local/etc/deimos.cfg',
  ]);
  const sandbox = '/var/lib/mesos/slaves/S/frameworks/F/executors/a/b/runs/C';
  for (const cwd of [sandbox, `${sandbox}/fs`, `${sandbox}/fs/runs`])
    assert.deepEqual(searchPaths({ cwd, home: '/home/me', uid: 0, systemPaths: [] }), ['/home/me/.deimos']);
  const beside = '/var/lib/mesos/slaves/S/frameworks/F/executors/a/runs';
  assert.equal(
    searchPaths({ cwd: beside, home: undefined, uid: 0, systemPaths: [] })[0],
    `${beside}/deimos.cfg`,
  );
  assert.deepEqual(searchPaths({ cwd: '.', home: undefined, uid: 1 }).slice(0, 2), [
    'deimos.cfg',
    '/etc/deimos.cfg',
  ]);
});

test('without a file all is at its default', () => {
  assert.deepEqual(loadConfig(place), { config: DEFAULT_CONFIG, warnings: [] });
  assert.deepEqual(loadConfig({ ...place, cwd: at('gone'), home: undefined }), {
    config: DEFAULT_CONFIG,
    warnings: [],
  });
  assert.deepEqual(lenientRoot(place), { root: '/tmp/deimos', log: {}, warnings: [] });
});

test('the first file found is read, and only that', () => {
  const names = ['cwd/deimos.cfg', 'home/.deimos', 'etc/deimos.cfg', 'usr/deimos.cfg'];
  for (const name of names)
    write(name, `${rootLine(`/${name}`)}[executor]\nport: 2000${names.indexOf(name)}\n`);
  for (const [index, name] of names.entries()) {
    const { config, path } = loadConfig(place);
    assert.equal(path, at(name));
    assert.equal(config.state.root, `/${name}`);
    assert.equal(config.executor.port, 20000 + index);
    assert.equal(lenientRoot(place).root, `/${name}`);
    fs.rmSync(at(name));
  }
});

test('a working directory without a name is looked into as `.`', () => {
  write('cwd/deimos.cfg', rootLine('/here'));
  const before = process.cwd();
  process.chdir(at('cwd'));
  try {
    const { file } = findConfig({ ...place, cwd: '.', home: undefined });
    assert.deepEqual(file, { path: 'deimos.cfg', text: rootLine('/here') });
  } finally {
    process.chdir(before);
  }
});

for (const [what, stat, reason] of [
  ['of root, 0644', { uid: 0, mode: 0o100644 }, undefined],
  ['of root, sticky only', { uid: 0, mode: 0o41755 }, undefined],
  ['of root, group can write', { uid: 0, mode: 0o100664 }, /by its group/],
  ['of root, all can write', { uid: 0, mode: 0o41777 }, /by everybody/],
  ['of another user', { uid: 1000, mode: 0o100600 }, /belongs to user 1000/],
] as const) {
  test(`whom root believes: ${what}`, () => {
    const said = distrust('it', stat);
    if (reason) assert.match(said ?? '', reason);
    else assert.equal(said, undefined);
  });
}

const suspicious: readonly (readonly [what: string, spoil: () => void])[] = [
  ['whose directory belongs to another user', () => fs.chownSync(at('cwd'), OTHER_USER, 0)],
  ['whose directory all can write', () => fs.chmodSync(at('cwd'), 0o1777)],
  ['whose directory the group can write', () => fs.chmodSync(at('cwd'), 0o775)],
  ['that belongs to another user', () => fs.chownSync(at('cwd/deimos.cfg'), OTHER_USER, 0)],
  ['that the group can write', () => fs.chmodSync(at('cwd/deimos.cfg'), 0o664)],
  ['that all can write', () => fs.chmodSync(at('cwd/deimos.cfg'), 0o646)],
  [
    'that is a link to a file of another user',
    () => {
      fs.renameSync(at('cwd/deimos.cfg'), at('usr/real'));
      fs.chownSync(at('usr/real'), OTHER_USER, 0);
      fs.symlinkSync(at('usr/real'), at('cwd/deimos.cfg'));
    },
  ],
  [
    "that is a link into another user's directory",
    () => {
      fs.renameSync(at('cwd/deimos.cfg'), at('usr/real'));
      fs.chownSync(at('usr'), OTHER_USER, 0);
      fs.symlinkSync('../usr/real', at('cwd/deimos.cfg'));
    },
  ],
  [
    'in an untrusted directory that is no file at all',
    () => {
      fs.chmodSync(at('cwd'), 0o777);
      fs.rmSync(at('cwd/deimos.cfg'));
      execFileSync('mkfifo', [at('cwd/deimos.cfg')]);
    },
  ],
];
for (const [what, spoil] of suspicious) {
  test(`root passes over a file ${what}, with a warning, and looks on`, asRoot, () => {
    write('cwd/deimos.cfg', rootLine('/evil'));
    write('etc/deimos.cfg', rootLine('/good'));
    assert.equal(loadConfig(place).config.state.root, '/evil');
    spoil();
    const { config, path, warnings } = loadConfig(place);
    assert.equal(config.state.root, '/good');
    assert.equal(path, at('etc/deimos.cfg'));
    assert.deepEqual(
      warnings.map(({ file, line }) => [file, line]),
      [[at('cwd/deimos.cfg'), 0]],
    );
    const lenient = lenientRoot(place);
    assert.equal(lenient.root, '/good');
    assert.equal(lenient.warnings.length, 1);
    assert.equal(lenient.problem, undefined);
    // Another user has nobody to be wary of here; what he runs, he runs as himself.
    if (!what.includes('no file'))
      assert.equal(loadConfig({ ...place, uid: OTHER_USER }).config.state.root, '/evil');
  });
}

test('a file of the system’s that root cannot trust is an error to a launch, and passed over by all else', () => {
  write('etc/deimos.cfg', '[policy]\nprivileged: false\n');
  write('usr/deimos.cfg', rootLine('/other'));
  fs.chmodSync(at('etc/deimos.cfg'), 0o664);
  assert.throws(() => loadConfig(place), {
    kind: 'config',
    message: `${at('etc/deimos.cfg')}: passed over: it can be written by its group`,
  });
  assert.equal(lenientRoot(place).root, '/other');
});

test('an untrusted directory without a file is no reason to warn', asRoot, () => {
  fs.chmodSync(at('cwd'), 0o777);
  assert.deepEqual(loadConfig(place).warnings, []);
});

test('root follows a link of its own to a file of its own', () => {
  write('usr/real', rootLine('/linked'));
  fs.symlinkSync('../usr/real', at('etc/deimos.cfg'));
  assert.equal(loadConfig(place).config.state.root, '/linked');
});

test('a link that leads nowhere is no file', () => {
  fs.symlinkSync(at('nowhere'), at('cwd/deimos.cfg'));
  write('etc/deimos.cfg', rootLine('/good'));
  assert.equal(loadConfig(place).config.state.root, '/good');
});

const unreadable: readonly (readonly [what: string, make: (path: string) => void])[] = [
  ['a FIFO', (path) => execFileSync('mkfifo', [path])],
  ['a directory', (path) => fs.mkdirSync(path, { mode: 0o755 })],
  ['a link in a circle', (path) => fs.symlinkSync(path, path)],
  ['a file that is too long', (path) => fs.writeFileSync(path, '#'.repeat(MAX_CONFIG_BYTES + 1))],
];
for (const [what, make] of unreadable) {
  test(`${what} in place of the file is an error at once, and the root cannot be told`, {
    timeout: 5000,
  }, () => {
    make(at('etc/deimos.cfg'));
    assert.throws(
      () => loadConfig(place),
      (error) => isFault(error, 'config') && error.message.startsWith(at('etc/')),
    );
    const lenient = lenientRoot(place);
    assert.equal(lenient.root, undefined);
    assert.ok(lenient.problem?.startsWith(at('etc/deimos.cfg')));
  });
}

test('a file of the greatest length is read', () => {
  const text = rootLine('/long');
  write('etc/deimos.cfg', `${text}${'#'.repeat(MAX_CONFIG_BYTES - text.length)}`);
  assert.equal(loadConfig(place).config.state.root, '/long');
});

test('a byte-order mark and comments in another encoding do no harm, values in one do', () => {
  const latin1 = Buffer.from('\xef\xbb\xbf# \xe4\n[state]\nroot: /x\n', 'latin1');
  fs.writeFileSync(at('etc/deimos.cfg'), latin1);
  assert.equal(loadConfig(place).config.state.root, '/x');
  fs.writeFileSync(at('etc/deimos.cfg'), Buffer.from('[state]\nroot: /\xe4\n', 'latin1'));
  assert.throws(() => loadConfig(place), { kind: 'config' });
  assert.equal(lenientRoot(place).root, undefined);
});

const broken: readonly (readonly [text: string, root: string | undefined, problem: RegExp | undefined])[] = [
  ['[state]\nroot: /x\n[uris]\nunpack: perhaps', '/x', undefined],
  ['[hooks]\nonlaunch: [\n[state]\nroot: /x', '/x', undefined],
  ['[hooks]\nonlaunch: [\n"a"]\n[state]\nroot: /x', '/x', /^f:3: /],
  ['root: /y\n[state]\nroot: /x', '/x', /^f:1: /],
  ['[log]\nconsole: LOUD\n[state]\nroot: /x', '/x', /^f:2: log\.console: /],
  ['[uris]\nunpack: perhaps', '/tmp/deimos', undefined],
  ['[state]\nroot /x', undefined, /^f:2: /],
  ['[state\nroot: /x', undefined, /^f:1: /],
  ['nonsense', undefined, /^f:1: /],
  ['[state]\nroot: /x:y', undefined, /^f:2: state\.root: .*colon/],
  ['[state]\nroot: %(none)s', undefined, /^f:2: state\.root: /],
  ['[state]\nroot: relative', undefined, /^f:2: state\.root: /],
];
for (const [text, root, problem] of broken) {
  test(`the root of the broken file ${JSON.stringify(text)} is ${root ?? 'unknown'}`, () => {
    assert.throws(() => parseConfig(text, 'f'), { kind: 'config' });
    const lenient = rootOf(text, 'f');
    assert.equal(lenient.root, root);
    if (problem) assert.match(lenient.problem ?? '', problem);
    else assert.equal(lenient.problem, undefined);
  });
}

test('a level that cannot be read does not hide the other one', () => {
  const { log } = rootOf('[log]\nconsole: LOUD\nsyslog: DEBUG', 'f');
  assert.deepEqual(log, { syslog: 'debug' });
});

const piece = fc.constantFrom(
  '[state]',
  '[log]',
  '[DEFAULT]',
  '[docker]',
  '[uris]',
  'root: /a',
  'ROOT = /b/',
  'root: %(base)s/c',
  'base: /base',
  'base = /%%',
  ' /continued',
  'root:',
  'root: x',
  'console: INFO',
  'syslog: warn ; why',
  'console:',
  'console: LOUD',
  'unpack: no',
  'unpack: x',
  '# c',
  '',
  'rem',
  'junk',
  'keep: 1h',
  'root: /a;b',
  'root: /a ;b',
  'root: ""',
);
test('the quick reader agrees with the full one about every file that the full one takes', () => {
  let taken = 0;
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 14 }), (lines) => {
      const text = lines.join('\n');
      let full: ReturnType<typeof parseConfig>;
      try {
        full = parseConfig(text, 'f');
      } catch (error) {
        if (!isFault(error, 'config')) throw error;
        return;
      }
      taken += 1;
      assert.deepEqual(rootOf(text, 'f'), { root: full.config.state.root, log: full.config.log });
    }),
    { numRuns: 3000 },
  );
  assert.ok(taken > 300, `only ${taken} files were sound`);
});

test('config prints a file that says the same as the one it read, and where that lies', async () => {
  const path = write('etc/deimos.cfg', `${rootLine('/x')}[hooks]\nonlaunch:\n ["a ; b"]\n`);
  const printed: string[] = [];
  const loaded = loadConfig(place);
  const take = async (text: string) => {
    printed.push(text);
  };
  assert.equal(await configCommand({ loaded, environment: {}, write: take }), 0);
  const text = printed.join('');
  assert.deepEqual(parseConfig(text, 'printed').config, loaded.config);
  assert.ok(text.startsWith(`# From ${path}\n`));
});

// What sections and keys mean, and what is said about those that cannot be read.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseConfig } from '../../../src/config/parse.ts';
import { renderConfig } from '../../../src/config/render.ts';
import { CONFIG_KEYS, type Config, DEFAULT_CONFIG } from '../../../src/config/schema.ts';
import { Fault, isFault } from '../../../src/fault.ts';

const D = DEFAULT_CONFIG;
const exampleText = readFileSync(join(import.meta.dirname, '../../../example.cfg'), 'utf8');

/** A file of the form that the first Deimos documented; its values are not ours by chance. */
const OF_2014 = `[docker]
host: ["unix:///var/run/docker.sock", "tcp://localhost:2375"]

[docker.index]
account_libmesos: libmesos
#account: theteam
index: interior-node:2222

[containers.options]
# A comment on the options.
default: [ "-e", "SOME_KEY=SOME;VALUE #1" ]
append: []
ignore: false

[hooks]
onlaunch:  [ "container_registry", "register" ]
ondestroy: [ "container_registry", "unregister",
             "--now" ]

[containers.image]
default: docker:///ubuntu
ignore: false

[uris]
unpack: True

[log]
syslog:  INFO
console: DEBUG

[state]
root: /tmp/deimos
`;

test('a file of the first Deimos keeps its meaning', () => {
  const { config, warnings } = parseConfig(OF_2014, 'deimos.cfg');
  assert.deepEqual(config, {
    ...D,
    docker: { host: ['unix:///var/run/docker.sock', 'tcp://localhost:2375'] },
    index: { accountLibmesos: 'libmesos', index: 'interior-node:2222' },
    options: { default: ['-e', 'SOME_KEY=SOME;VALUE #1'], append: [], ignore: false },
    hooks: {
      onlaunch: ['container_registry', 'register'],
      ondestroy: ['container_registry', 'unregister', '--now'],
      environment: [],
    },
    image: { default: 'docker:///ubuntu', ignore: false },
    log: { syslog: 'info', console: 'debug' },
  });
  assert.deepEqual(warnings, []);
});

test('a file with short docker options and Python booleans is read', () => {
  const { config, warnings } = parseConfig(
    `[docker.index]
account_libmesos: libmesos
account: mesos
dockercfg: file:///etc/.dockercfg
[containers.options]
append: ["--volume", "/var/log:/var/log:ro"]
default: ["-c","10240"]
[hooks]
onlaunch: ["/etc/deimos/hooks/onlaunch", "-v"]
[docker]
H: ["tcp://10.0.0.1:2375", "unix:///var/run/docker.sock"]
tlsverify: True
[log]
console: DEBUG
syslog: INFO
[state]
root: /tmp/deimos
`,
    'deimos.cfg',
  );
  assert.deepEqual(config, {
    ...D,
    docker: { host: ['tcp://10.0.0.1:2375', 'unix:///var/run/docker.sock'], tlsverify: ['true'] },
    index: { accountLibmesos: 'libmesos', account: 'mesos', dockercfg: 'file:///etc/.dockercfg' },
    options: { default: ['-c', '10240'], append: ['--volume', '/var/log:/var/log:ro'], ignore: false },
    hooks: { onlaunch: ['/etc/deimos/hooks/onlaunch', '-v'], ondestroy: [], environment: [] },
    log: { console: 'debug', syslog: 'info' },
  });
  assert.deepEqual(warnings, []);
});

test('an empty file, and one of comments alone, is all defaults', () => {
  for (const text of ['', '\n', '# nothing\n; at all\n', '[state]\n']) {
    assert.deepEqual(parseConfig(text, 'f'), { config: D, warnings: [] });
  }
});

const readings: readonly (readonly [section: string, line: string, expected: Partial<Config>])[] = [
  ['docker', '-H: unix:///s', { docker: { host: ['unix:///s'] } }],
  ['docker', '--log_level = debug', { docker: { 'log-level': ['debug'] } }],
  ['docker', 'l: debug', { docker: { 'log-level': ['debug'] } }],
  ['docker', 'h: a\nhost: ["b", "c"]', { docker: { host: ['a', 'b', 'c'] } }],
  ['docker', 'tlsverify: FALSE', { docker: { tlsverify: ['false'] } }],
  ['docker', 'host: []', { docker: {} }],
  ['docker', 'host:', { docker: {} }],
  ['docker', 'constructor: x', { docker: { constructor: ['x'] } as unknown as Config['docker'] }],
  ['docker.index', 'Account-Libmesos: other', { index: { accountLibmesos: 'other' } }],
  ['docker.index', 'account_libmesos:', { index: {} }],
  [
    'containers.image',
    'default: docker:///a:1 ; ours',
    { image: { default: 'docker:///a:1', ignore: false } },
  ],
  [
    'containers.options',
    'append: --privileged',
    { options: { default: [], append: ['--privileged'], ignore: false } },
  ],
  [
    'containers.options',
    'append: ["-c", 10240, 0.5]',
    { options: { default: [], append: ['-c', '10240', '0.5'], ignore: false } },
  ],
  [
    'containers.options',
    'append: [\n  "-e",\n  "A=%%d #1;2"\n  ]',
    { options: { default: [], append: ['-e', 'A=%d #1;2'], ignore: false } },
  ],
  [
    'containers.options',
    'append: ["\\u003b\\n"]',
    { options: { default: [], append: [';\n'], ignore: false } },
  ],
  ['containers.limits', 'cfs: on\nswap: No', { limits: { cfs: true, swap: false } }],
  ['containers', 'stop_timeout: 0.5', { containers: { ...D.containers, stopTimeoutSeconds: 0.5 } }],
  ['containers', 'stop-timeout: 1.5m', { containers: { ...D.containers, stopTimeoutSeconds: 90 } }],
  ['containers', 'stop_timeout: 0', { containers: { ...D.containers, stopTimeoutSeconds: 0 } }],
  ['containers', 'log_size: 20m', { containers: { ...D.containers, logSizeBytes: 20 * 1024 ** 2 } }],
  ['containers', 'log_size: 2048 KB', { containers: { ...D.containers, logSizeBytes: 2 * 1024 ** 2 } }],
  ['containers', 'log_size: 1G', { containers: { ...D.containers, logSizeBytes: 1024 ** 3 } }],
  ['containers', 'log_size: 1048577', { containers: { ...D.containers, logSizeBytes: 1_048_577 } }],
  ['containers', 'switch_user: 1', { containers: { ...D.containers, switchUser: true } }],
  ['executor', 'port: 20500', { executor: { port: 20500 } }],
  ['hooks', 'environment: ["ROLE", "_z1"]', { hooks: { ...D.hooks, environment: ['ROLE', '_z1'] } }],
  ['uris', 'unpack: off', { uris: { unpack: false } }],
  ['log', 'console: warn\nsyslog: Critical', { log: { console: 'warning', syslog: 'critical' } }],
  ['log', 'console: 40\nsyslog: NOTSET', { log: { console: 'error' } }],
  ['state', 'keep: 24h', { state: { ...D.state, keepSeconds: 86_400 } }],
  ['state', 'keep: 90s', { state: { ...D.state, keepSeconds: 90 } }],
  ['state', 'keep: 0', { state: { ...D.state, keepSeconds: 0 } }],
  ['state', 'keep: 7d', { state: { ...D.state, keepSeconds: 7 * 86_400 } }],
  ['state', 'root: /var//lib/./deimos/', { state: { ...D.state, root: '/var/lib/deimos' } }],
  ['state', 'root: %(base)s/d\nbase: /b', { state: { ...D.state, root: '/b/d' } }],
];
for (const [section, line, expected] of readings) {
  test(`[${section}] ${JSON.stringify(line)} is read`, () => {
    assert.deepEqual(parseConfig(`[${section}]\n${line}\n`, 'f').config, { ...D, ...expected });
  });
}

const refusals: readonly (readonly [section: string, line: string, message: RegExp])[] = [
  ['docker', '[]: x', /^f:2: docker\.\[\]: .*option of docker/],
  ['docker', '__proto__: x\nho st: x', /^f:3: docker\.ho st: /],
  ['docker', 'host: ["a"', /^f:2: docker\.host: '\["a"' cannot be read; expected: a JSON list of strings/],
  ['containers.options', 'append: ["a ; b"]', /^f:2: .*a ; behind a blank begins a comment: write \\u003b/],
  ['containers.options', 'append: ["a", true]', /^f:2: containers\.options\.append: 'true'.*only strings/],
  ['containers.options', 'append: ["a",\n  # no comment here\n  "b"]', /^f:2: .*JSON list/],
  ['containers.options', 'append: ["a\\u0000"]', /^f:2: .*without NUL/],
  ['containers.options', 'append: ["A=50%"]', /^f:2: containers\.options\.append: a % .* write %%/],
  ['containers.options', 'append: ["%(nothing)s"]', /^f:2: .*%\(nothing\)s names no key/],
  ['containers.options', 'ignore: perhaps', /^f:2: containers\.options\.ignore: 'perhaps'.*true or false/],
  [
    'containers.image',
    'default: a\n  ignore: true',
    /^f:2: containers\.image\.default: .*indented by mistake/,
  ],
  ['containers.image', 'default: \ufffd', /^f:2: .*UTF-8/],
  ['containers', 'stop_timeout: -1', /^f:2: containers\.stop_timeout: '-1'.*seconds/],
  ['containers', 'stop_timeout: 2d', /^f:2: .*at most 86400 seconds/],
  ['containers', 'log_size: 1k', /^f:2: .*between 1m and 1024g/],
  ['containers', 'log_size: 1.5g', /^f:2: .*k, m or g/],
  ['executor', 'port: 0', /^f:2: executor\.port: '0'.*between 1 and 65535/],
  ['executor', 'port: 65536', /^f:2: executor\.port: /],
  ['executor', 'port: 0x10', /^f:2: executor\.port: /],
  ['hooks', 'environment: ROLE, ZONE', /^f:2: hooks\.environment: 'ROLE, ZONE'.*\["ROLE", "ZONE"\]/],
  ['log', 'console: LOUD', /^f:2: log\.console: 'LOUD'.*DEBUG, INFO/],
  ['log', 'console: constructor', /^f:2: log\.console: /],
  ['state', 'root: deimos', /^f:2: state\.root: 'deimos'.*absolute path/],
  ['state', 'root: "/var/lib/deimos"', /^f:2: state\.root: .*without quotes/],
  ['state', 'root: /a:b', /^f:2: state\.root: '\/a:b'.*without a colon/],
  ['state', 'root: /a/../b', /^f:2: state\.root: .*without \.\./],
  ['state', 'keep: forever', /^f:2: state\.keep: 'forever'/],
  ['state', 'root /x', /^f:2: 'root \/x': cannot be read; expected: key: value/],
];
for (const [section, line, message] of refusals) {
  test(`[${section}] ${JSON.stringify(line)} is refused, with its line and what to write`, () => {
    assert.throws(
      () => parseConfig(`[${section}]\n${line}\n`, 'f'),
      (error) => {
        assert.ok(error instanceof Fault);
        assert.equal(error.kind, 'config');
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      },
    );
  });
}

test('a list that is nested without end is refused like any other', () => {
  const nested = `${'['.repeat(10_000)}${']'.repeat(10_000)}`;
  assert.throws(
    () => parseConfig(`[containers.options]\nappend: [${nested}]`, 'f'),
    (error) => isFault(error, 'config') && /only strings can be in it$/.test(error.message),
  );
});

test('a key before any section is refused', () => {
  assert.throws(() => parseConfig('# c\nroot: /x\n', 'f'), {
    kind: 'config',
    message: /^f:2: .*a \[section\] first$/,
  });
});

const warned: readonly (readonly [text: string, line: number, warning: RegExp])[] = [
  ['[state]\nrot: /x', 2, /unknown key 'rot' in \[state\].*root, keep/],
  ['[sate]\nroot: /x', 1, /unknown section 'sate'/],
  ['\n[policies]\nallow: []', 2, /unknown section 'policies'/],
  ['[__proto__]\na: b', 1, /unknown section '__proto__'/],
  ['[toString]\na: b', 1, /unknown section/],
  ['[state]\n__proto__: b', 2, /unknown key '__proto__'/],
  ['[log]\nconsole[]: DEBUG', 2, /unknown key 'console\[\]'/],
  ['[docker.index]\naccount: "me"', 2, /docker\.index\.account: the quotes/],
  ['[containers.options]\nappend: -e A=B', 2, /containers\.options\.append: .*one word/],
];
for (const [text, line, warning] of warned) {
  test(`${JSON.stringify(text)} is taken with a warning that names file and line`, () => {
    const { warnings } = parseConfig(text, 'f');
    assert.equal(warnings.length, 1);
    assert.equal(warnings[0]?.file, 'f');
    assert.equal(warnings[0]?.line, line);
    assert.match(warnings[0]?.text ?? '', warning);
  });
}

test('the rules of a policy: names as people write them, paths in one spelling, lists that allow nothing', () => {
  const policy = (text: string) => parseConfig(`[policy]\n${text}`, 'f').config.policy;
  assert.deepEqual(policy(''), D.policy);
  assert.deepEqual(
    policy(
      [
        'Privileged = no\nhost-network: False\nhost_pid: 0\nhost_ipc: off\nhost_uts: no\ndevices: no',
        'capabilities: ["cap_net_admin", "SYS_NICE", "all"]',
        'volumes: ["/srv//data/", "/", "driver:rexray"]',
        'images: ["registry.example.com", "team/*"]',
        'options: ["-e", "--volume", "net", "HostConfig.Init"]',
        'max_uri_bytes: 10m\nmax_unpacked_bytes: 0',
      ].join('\n'),
    ),
    {
      ...{ privileged: false, hostNetwork: false, hostPid: false, hostIpc: false, hostUts: false },
      ...{ devices: false, capabilities: ['NET_ADMIN', 'SYS_NICE', 'ALL'] },
      ...{ volumes: ['/srv/data', '/', 'driver:rexray'], images: ['registry.example.com', 'team/*'] },
      ...{ options: ['env', 'volume', 'network', 'HostConfig.Init'] },
      ...{ maxUriBytes: 10 * 1024 ** 2, maxUnpackedBytes: 0 },
    },
  );
  for (const key of ['capabilities', 'volumes', 'images', 'options'] as const) {
    assert.deepEqual(policy(`${key}: []`)[key], [], key);
    const { config, warnings } = parseConfig(`[policy]\n${key}:`, 'f');
    assert.equal(config.policy[key], undefined);
    assert.match(warnings[0]?.text ?? '', /^policy\.\w+: has no value: everything is allowed/);
  }
});

test('a rule that there is not, and a value that is none, are errors', () => {
  for (const [text, words] of [
    ['volume: []', /there is no rule 'volume'; known are privileged, capabilities, /],
    ['privileged: maybe', /policy\.privileged: 'maybe' cannot be read/],
    ['capabilities: ["NET ADMIN"]', /policy\.capabilities: 'NET ADMIN'/],
    ['capabilities: [["A"]]', /policy\.capabilities: /],
    ['volumes: ["data"]', /policy\.volumes: 'data'/],
    ['volumes: ["/srv/../etc"]', /policy\.volumes: .*without \.\./],
    ['volumes: [""]', /policy\.volumes: ''/],
    ['images: ["a b"]', /policy\.images: 'a b'/],
    ['images: ["/a"]', /policy\.images: '\/a'/],
    ['options: ["--env=A"]', /policy\.options: '--env=A'/],
    ['max_uri_bytes: much', /policy\.max_uri_bytes: 'much'/],
    ['max_unpacked_bytes: -1', /policy\.max_unpacked_bytes: '-1'/],
  ] as const)
    assert.throws(
      () => parseConfig(`[policy]\n${text}`, 'f'),
      (error) => isFault(error, 'config') && /^f:2: [^\n]+$/.test(error.message) && words.test(error.message),
      text,
    );
});

test('rules that leave each other a way round are warned of, with what closes it', () => {
  const open = (text: string): string | undefined =>
    / has no rule for: (.*)$/.exec(
      parseConfig(`[policy]\n${text}`, 'f').warnings.find(({ line }) => line === 1)?.text ?? '',
    )?.[1];
  const closed = 'privileged: no\ncapabilities: []\ndevices: no\nhost_pid: no\nvolumes: []';
  assert.equal(open(''), undefined);
  assert.equal(open('images: ["debian"]\nmax_uri_bytes: 1g'), undefined);
  assert.equal(open(closed), undefined);
  assert.equal(open('options: []\nhost_network: no'), undefined);
  assert.equal(open('volumes: []'), 'privileged, capabilities, devices, host_pid');
  assert.equal(open('host_uts: no'), 'privileged, capabilities, devices, volumes, host_pid');
  assert.equal(open(closed.replace('privileged: no\n', '')), undefined);
  assert.equal(open(closed.replace('capabilities: []', 'capabilities: ["ALL"]')), 'capabilities');
  assert.equal(open('volumes: []\noptions: ["cap-add", "env"]'), 'capabilities');
});

test('an unknown section or key changes nothing', () => {
  const text = '[sate]\nroot: /x\n[state]\nrot: /y\n[containers]\n[docker.index.more]\naccount: z\n';
  assert.deepEqual(parseConfig(text, 'f').config, D);
});

test('[DEFAULT] serves the sections that the file names, and is no option of docker', () => {
  const text = '[DEFAULT]\nbase: /b\nignore: true\n[docker]\ntlscacert: %(base)s/ca\n[containers.image]\n';
  const { config, warnings } = parseConfig(text, 'f');
  assert.deepEqual(config, { ...D, docker: { tlscacert: ['/b/ca'] }, image: { ignore: true } });
  assert.deepEqual(warnings, []);
});

test('example.cfg is the default configuration', () => {
  assert.deepEqual(parseConfig(exampleText, 'example.cfg'), { config: D, warnings: [] });
});

test('example.cfg documents every key, and what it comments out is valid too', () => {
  const uncommented = exampleText.replace(/^#(?=[a-z_]+: )/gm, '');
  const { warnings } = parseConfig(uncommented, 'example.cfg');
  assert.deepEqual(warnings, []);
  for (const [section, keys] of Object.entries(CONFIG_KEYS)) {
    const body = uncommented.split(`\n[${section}]\n`)[1]?.split('\n[')[0] ?? '';
    for (const key of keys) assert.match(body, new RegExp(`^${key}: `, 'm'), `[${section}] ${key}`);
  }
});

test('the manual page names every section and key', () => {
  const manual = readFileSync(join(import.meta.dirname, '../../../docs/deimos.cfg.5.md'), 'utf8');
  for (const [section, keys] of Object.entries(CONFIG_KEYS)) {
    const body = manual.split(`\n### [${section}]\n`)[1]?.split('\n#')[0] ?? '';
    for (const key of keys) assert.ok(body.includes(`**${key}**`), `[${section}] ${key}`);
  }
});

const plain = <T extends object>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(fields, { noNullPrototype: true });
const words = fc.array(
  fc.string({ unit: 'grapheme', maxLength: 12 }).filter((w) => !/[\0\ufffd]/.test(w)),
  { maxLength: 4 },
);
const hardText = fc
  .string({
    unit: fc.constantFrom(...' ;#%"\'[]\\=:é\u2028\u00a0'.split(''), 'a', 'b', '%(x)s', '""'),
    minLength: 1,
    maxLength: 12,
  })
  .map((text) => text.trim())
  .filter((text) => text !== '');
const maybe = <T>(key: string, value: fc.Arbitrary<T>) =>
  fc.option(
    value.map((v) => ({ [key]: v })),
    { nil: {} },
  );
const level = fc.constantFrom('debug', 'info', 'warning', 'error', 'critical');
const merged = (...parts: fc.Arbitrary<object>[]) =>
  fc.tuple(...parts).map((all) => Object.assign({}, ...all));
const milliseconds = (max: number) => fc.integer({ min: 0, max: max * 1000 }).map((ms) => ms / 1000);

const anyConfig: fc.Arbitrary<Config> = plain({
  docker: fc.dictionary(
    fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,8}$/).filter((name) => !['h', 'd', 'l', 'c'].includes(name)),
    words
      .filter((list) => list.length > 0)
      .map((list) => list.map((w) => (/^(true|false)$/i.test(w) ? w.toLowerCase() : w))),
    { maxKeys: 4, noNullPrototype: true },
  ),
  index: merged(
    maybe('index', hardText),
    maybe('account', hardText),
    maybe('accountLibmesos', hardText),
    maybe('dockercfg', hardText),
  ),
  image: merged(maybe('default', hardText), plain({ ignore: fc.boolean() })),
  options: plain({ default: words, append: words, ignore: fc.boolean() }),
  limits: plain({ cfs: fc.boolean(), swap: fc.boolean() }),
  containers: plain({
    stopTimeoutSeconds: milliseconds(86_400),
    logSizeBytes: fc.oneof(
      fc.integer({ min: 1024 ** 2, max: 1024 ** 4 }),
      fc.integer({ min: 1, max: 1024 }).map((n) => n * 1024 ** 2),
    ),
    switchUser: fc.boolean(),
  }),
  executor: merged(maybe('port', fc.integer({ min: 1, max: 65_535 }))),
  hooks: plain({
    onlaunch: words,
    ondestroy: words,
    environment: fc.array(fc.stringMatching(/^[A-Z_][A-Z0-9_]{0,6}$/), { maxLength: 3 }),
  }),
  uris: plain({ unpack: fc.boolean() }),
  policy: merged(
    plain({
      ...{ privileged: fc.boolean(), devices: fc.boolean(), hostNetwork: fc.boolean() },
      ...{ hostPid: fc.boolean(), hostIpc: fc.boolean(), hostUts: fc.boolean() },
    }),
    maybe('capabilities', fc.array(fc.constantFrom('ALL', 'NET_ADMIN', 'SYS_NICE'), { maxLength: 3 })),
    maybe('volumes', fc.array(fc.constantFrom('/', '/srv/data', '/a b', 'driver:rexray'), { maxLength: 3 })),
    maybe('images', fc.array(fc.constantFrom('debian', 'team/*', 'localhost:5000/'), { maxLength: 3 })),
    maybe('options', fc.array(fc.constantFrom('env', 'volume', 'HostConfig.Init'), { maxLength: 3 })),
    maybe('maxUriBytes', fc.nat()),
    maybe(
      'maxUnpackedBytes',
      fc.integer({ min: 0, max: 1024 }).map((n) => n * 1024 ** 3),
    ),
  ),
  log: merged(maybe('console', level), maybe('syslog', level)),
  state: plain({
    root: hardText.filter((text) => !text.includes(':')).map((text) => `/${text}`),
    keepSeconds: milliseconds(3650 * 86_400),
  }),
}) as fc.Arbitrary<Config>;

test('what renderConfig() writes parses back to the same configuration, without a warning', () => {
  fc.assert(
    fc.property(anyConfig, fc.option(fc.string({ unit: 'binary' }), { nil: undefined }), (config, path) => {
      const { config: back, warnings } = parseConfig(renderConfig(config, path), 'f');
      assert.deepEqual(back, config);
      assert.deepEqual(
        warnings.filter(({ text }) => !/quotes|can be got round/.test(text)),
        [],
      );
    }),
    { numRuns: 500 },
  );
});

test('renderConfig() says where the configuration came from, and shows every key', () => {
  const text = renderConfig(D, '/etc/deimos\n.cfg');
  assert.match(text, /^# From \/etc\/deimos\\n\.cfg\n/);
  for (const keys of Object.values(CONFIG_KEYS)) {
    for (const key of keys) assert.match(text, new RegExp(`^(# )?${key}:`, 'm'));
  }
  assert.match(renderConfig(D), /^# No configuration file/);
});

test('references that double what they bring in are refused, and take no time', () => {
  const chain = Array.from({ length: 8 }, (_, n) => `k${n}: ${`%(k${n + 1})s`.repeat(10)}`);
  for (const last of ['x', '']) {
    const text = ['[docker.index]', ...chain, `k8: ${last}`, 'index: %(k0)s', ''].join('\n');
    assert.throws(
      () => parseConfig(text, 'f'),
      /^Fault: f:11: docker\.index\.index: %\(name\)s brings in more than 1048576 characters$/,
    );
  }
});

test('all values of a file together may bring in so much', () => {
  const keys = Array.from({ length: 3000 }, (_, n) => `k${n}: %(long)s`);
  const text = ['[DEFAULT]', `long: ${'x'.repeat(1000)}`, '[docker]', ...keys, ''].join('\n');
  assert.throws(() => parseConfig(text, 'f'), /brings in more than/);
  assert.equal(
    Object.keys(parseConfig(text.split('\n').slice(0, 800).join('\n'), 'f').config.docker).length,
    797,
  );
});

test('a key that is no name is shown without what a terminal obeys', () => {
  assert.throws(() => parseConfig('[docker]\n\x1b[2J: x\n', 'f'), /^Fault: f:2: docker\.\\x1b\[2j: no name/);
});

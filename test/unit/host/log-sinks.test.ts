// What a log line looks like and where it arrives. Syslog is a real socket at /dev/log with a real logger(1) before
// it, in a mount namespace of the test's own (test/support/syslog-receiver.sh).

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import type { LogLevel } from '../../../src/host/log.ts';
import { levelsInForce } from '../../../src/host/log.ts';
import { combined, consoleLog, fileLog, formatEvent } from '../../../src/host/log-sinks.ts';
import { CONTROL, OBEYED } from '../../support/control.ts';

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warning', 'error', 'critical'];
const receiver = join(import.meta.dirname, '../../support/syslog-receiver.sh');
const sinks = join(import.meta.dirname, '../../../src/host/log-sinks.ts');
const canIsolate =
  process.geteuid?.() === 0 && spawnSync('unshare', ['--mount', '--pid', '--fork', 'true']).status === 0;
const isolated = { skip: canIsolate ? false : 'needs root and mount namespaces', timeout: 60_000 };

let dir = '';
beforeEach(() => {
  dir = fs.mkdtempSync(join(tmpdir(), 'deimos-log-'));
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

const lines: readonly (readonly [expected: string, ...args: Parameters<typeof formatEvent>])[] = [
  ['pulled', 'info', 'pulled'],
  [
    'pulled image=busybox:1 ms=12 cached=false',
    'debug',
    'pulled',
    { image: 'busybox:1', ms: 12, cached: false },
  ],
  ['error: failed detail="no such image"', 'error', 'failed', { detail: 'no such image' }],
  ['warning: odd', 'warning', 'odd', { left: undefined }],
  ['critical: bug empty="" equals="a=b"', 'critical', 'bug', { empty: '', equals: 'a=b' }],
  ['foreign text="a\\nb\\x1b[2J \\"q\\" \\\\n"', 'info', 'foreign', { text: 'a\nb\x1b[2J "q" \\n' }],
  ['line\\nbreak k\\n=v', 'info', 'line\nbreak', { 'k\n': 'v' }],
  ['unicode word=grün', 'info', 'unicode', { word: 'grün' }],
];
for (const [expected, ...args] of lines) {
  test(`a log line: ${expected}`, () => assert.equal(formatEvent(...args), expected));
}

test('a log line is one line of bounded length, whatever it is given, and its quotes are balanced', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.string({ unit: fc.constantFrom(...CONTROL, 'a', '"', '\\'), maxLength: 40 }),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...LEVELS),
      text,
      fc.dictionary(fc.constantFrom('a', 'b', 'c'), text),
      (level, event, fields) => {
        const line = formatEvent(level, event, fields);
        assert.doesNotMatch(line, OBEYED);
        assert.ok(line.isWellFormed());
        const values = formatEvent('info', 'e', fields).slice(1);
        assert.match(values, /^(?: [abc]=(?:[^\s="\\]+|"(?:[^"\\]|\\.)*"))*$/u);
      },
    ),
  );
  assert.ok(formatEvent('info', 'long', { text: '\u{1F600}'.repeat(10_000) }).length <= 8001);
});

test('each sink takes its level and what is graver', () => {
  for (const [index, level] of LEVELS.entries()) {
    const path = join(dir, level);
    const log = fileLog(path, level);
    for (const own of LEVELS) log[own](own);
    const seen = fs
      .readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => line.split(' ').at(-1));
    assert.deepEqual(seen, LEVELS.slice(index));
  }
});

test('levels: what the configuration says, else the console for people and syslog for the slave', () => {
  assert.deepEqual(levelsInForce({}, true), { console: 'warning', syslog: undefined });
  assert.deepEqual(levelsInForce({}, false), { console: undefined, syslog: 'info' });
  assert.deepEqual(levelsInForce({ console: 'debug' }, false), { console: 'debug', syslog: 'info' });
  assert.deepEqual(levelsInForce({ console: 'debug', syslog: 'error' }, true), {
    console: 'debug',
    syslog: 'error',
  });
});

test('the console shows the time, the event and its fields', () => {
  const path = join(dir, 'console');
  const fd = fs.openSync(path, 'w');
  consoleLog('info', fd).warning('slow', { ms: 3 });
  fs.closeSync(fd);
  assert.match(fs.readFileSync(path, 'utf8'), /^\d\d:\d\d:\d\d\.\d{3} deimos: warning: slow ms=3\n$/);
});

test('a console that is closed, gone or full fails nothing', () => {
  const fd = fs.openSync(join(dir, 'x'), 'w');
  fs.closeSync(fd);
  assert.doesNotThrow(() => consoleLog('info', fd).info('closed'));
  const full = fs.openSync('/dev/full', 'w');
  assert.doesNotThrow(() => consoleLog('info', full).info('full'));
  fs.closeSync(full);
});

test('a file log appends, is private, and starts anew at its bound', async () => {
  const path = join(dir, 'log');
  const log = fileLog(path, 'info', 400);
  for (let i = 0; i < 20; i += 1) log.info('event', { i });
  await log.close();
  assert.equal(fs.statSync(path).mode & 0o777, 0o600);
  const [now, before] = [fs.readFileSync(path, 'utf8'), fs.readFileSync(`${path}.1`, 'utf8')];
  assert.ok(now.length <= 400 && before.length <= 400);
  assert.match(now, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z deimos\[\d+\]: event i=\d+\n/);
  const numbers = [...(before + now).matchAll(/i=(\d+)/g)].map((match) => Number(match[1]));
  assert.deepEqual(
    numbers,
    Array.from(numbers, (_, index) => 20 - numbers.length + index),
  );
  const again = fileLog(path, 'info', 400);
  again.info('later');
  await again.close();
  assert.ok(fs.readFileSync(path, 'utf8').includes('i=19'));
});

test('a file log follows no link, and one that cannot be opened fails nothing', () => {
  fs.symlinkSync(join(dir, 'target'), join(dir, 'link'));
  fileLog(join(dir, 'link'), 'info').info('event');
  fileLog(join(dir, 'no/such/directory'), 'info').info('event');
  assert.equal(fs.existsSync(join(dir, 'target')), false);
});

test('combined logs reach all, and none is no error', async () => {
  const log = combined(fileLog(join(dir, 'a'), 'info'), fileLog(join(dir, 'b'), 'error'));
  log.info('one');
  log.critical('two');
  await log.close();
  assert.equal(fs.readFileSync(join(dir, 'a'), 'utf8').split('\n').length, 3);
  assert.equal(fs.readFileSync(join(dir, 'b'), 'utf8').split('\n').length, 2);
  combined().error('nobody');
  await combined().close();
});

/** Runs `body` (which sees the module's exports, `sleep`, `fs`, `dir` and `daemon()`) where syslog is of this test. */
function withSyslog(
  mode: string,
  body: string,
): { ms: number; received: string[]; stderr: string; status: number | null } {
  fs.writeFileSync(join(dir, 'mode'), mode);
  fs.writeFileSync(
    join(dir, 'program.ts'),
    `import { syslogLog, syslogStream } from ${JSON.stringify(sinks)};
import * as fs from 'node:fs';
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
const dir = ${JSON.stringify(dir)};
const daemon = {
  stop() { process.kill(Number(fs.readFileSync(dir + '/daemon.pid', 'utf8')), 'SIGKILL'); fs.rmSync(dir + '/daemon.pid'); fs.rmSync('/dev/log', { force: true }); },
  start() { execFileSync(dir + '/daemon', [dir]); },
};
const received = () => fs.existsSync(dir + '/received') ? fs.readFileSync(dir + '/received', 'utf8') : '';
const until = async (text: string) => { for (let i = 0; i < 500 && !received().includes(text); i += 1) await sleep(10); };
const started = performance.now();
process.on('exit', () => fs.writeFileSync(dir + '/ms', String(performance.now() - started)));
${body}
`,
  );
  const { status, stderr } = spawnSync(receiver, [dir, process.execPath, join(dir, 'program.ts')], {
    // A PATH and a name of a socket that somebody else chose must not matter.
    env: { PATH: process.env.PATH, LD_LIBRARY_PATH: dir, LOGGER_SOCKET: '/nowhere' },
    encoding: 'utf8',
    timeout: 50_000,
  });
  const text = fs.existsSync(join(dir, 'received')) ? fs.readFileSync(join(dir, 'received'), 'utf8') : '';
  const ms = fs.existsSync(join(dir, 'ms')) ? Number(fs.readFileSync(join(dir, 'ms'), 'utf8')) : Number.NaN;
  return { ms, received: text.split('\n').filter((line) => line !== ''), stderr, status };
}

const PREFIX = /^<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (?:\S+ )?deimos\[77\]: (.*)$/;
const parsed = (received: string[]) => received.map((line) => PREFIX.exec(line)?.slice(1) ?? [line]);

for (const kind of ['syslogLog', 'syslogStream']) {
  test(`${kind}: every level has its priority, and nothing is lost by leaving at once`, isolated, () => {
    const { received, status, stderr } = withSyslog(
      '',
      `const log = ${kind}('debug', 77);
log.debug('one', { text: '<0>a\\nb' }); log.info('<11>two'); log.warning('three'); log.error('four'); log.critical('five');
${kind === 'syslogStream' ? 'await log.close(); await log.close();' : ''}
process.exit(7);`,
    );
    assert.equal(status, 7, stderr);
    assert.deepEqual(parsed(received), [
      ['15', 'one text="<0>a\\nb"'],
      ['14', '<11>two'],
      ['12', 'warning: three'],
      ['11', 'error: four'],
      ['10', 'critical: five'],
    ]);
  });

  test(`${kind}: a long line arrives whole`, isolated, () => {
    const { received } = withSyslog(
      '',
      `const log = ${kind}('info', 77); log.info('long', { text: 'x'.repeat(7000) }); await log.close();`,
    );
    assert.deepEqual(parsed(received), [['14', `long text=${'x'.repeat(7000)}`]]);
  });

  for (const mode of ['no-daemon', 'no-logger']) {
    test(`${kind}: ${mode} is silent and delays nothing`, isolated, () => {
      const { received, status, stderr } = withSyslog(
        mode,
        `const log = ${kind}('debug', 77); for (let i = 0; i < 50; i += 1) log.error('event'); await log.close();`,
      );
      assert.deepEqual([status, stderr, received], [0, '', []]);
    });
  }

  test(`${kind}: a logger that hangs holds the verb up for its bound once, no longer`, isolated, () => {
    const { received, status, ms } = withSyslog(
      'hanging-logger',
      `const log = ${kind}('debug', 77); for (let i = 0; i < 5; i += 1) log.error('event'); await log.close();`,
    );
    assert.deepEqual([status, received], [0, []]);
    // Five times the bound of 2 s would be 10 s; what lies between is left to a busy machine.
    assert.ok(ms < 8000, `${ms} ms`);
  });
}

test('syslogStream does not keep a process alive, and its lines arrive all the same', isolated, () => {
  const { received, status } = withSyslog(
    '',
    `const log = syslogStream('info', 77); log.info('one'); await until('one'); log.info('two'); `,
  );
  assert.equal(status, 0);
  assert.equal(parsed(received)[0]?.[1], 'one');
});

test(
  'syslogStream: lines given to it arrive though the process is killed right behind them',
  isolated,
  () => {
    const { received } = withSyslog(
      '',
      `if (process.argv[2] !== 'child') {
  try { execFileSync(process.execPath, [process.argv[1] ?? '', 'child'], { stdio: 'ignore' }); } catch {}
  await until('last');
} else {
  const log = syslogStream('info', 77); log.info('first'); log.info('last'); process.kill(process.pid, 'SIGKILL');
}`,
    );
    assert.deepEqual(
      parsed(received).map(([, text]) => text),
      ['first', 'last'],
    );
  },
);

test(
  'syslogStream starts another logger when its own has died, and says how many lines were lost',
  isolated,
  () => {
    const { received, stderr } = withSyslog(
      '',
      `const killLogger = () => {
  // In this namespace of process ids there are only our own.
  for (const pid of fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name))) {
    if (fs.readFileSync('/proc/' + pid + '/comm', 'utf8') === 'logger\\n') process.kill(Number(pid), 'SIGKILL');
  }
};
const log = syslogStream('info', 77);
log.info('one'); await until('one'); await sleep(1100);
// Long enough for the pipe to break, and without a look at what happens outside: the write itself has to find out.
killLogger(); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500); log.info('two'); await until('two');
killLogger(); await sleep(200); log.info('too early for a third logger'); await sleep(1000);
log.info('three'); await log.close();`,
    );
    assert.deepEqual(
      parsed(received).map(([, text]) => text),
      ['one', 'two', 'warning: log lines lost count=1', 'three'],
      stderr,
    );
  },
);

test('syslogStream goes on when the syslog daemon was restarted', isolated, () => {
  const { received } = withSyslog(
    '',
    `const log = syslogStream('info', 77); log.info('one'); await until('one'); daemon.stop(); log.info('into the void'); await sleep(200);
daemon.start(); for (let i = 0; i < 5 && !received().includes('after'); i += 1) { log.info('after'); await sleep(300); } await log.close();`,
  );
  const texts = parsed(received).map(([, text]) => text);
  assert.equal(texts[0], 'one');
  assert.ok(texts.includes('after'));
});

test('nothing of the receiver is left behind', isolated, async () => {
  await sleep(100);
  const mounts = execFileSync('cat', ['/proc/self/mounts'], { encoding: 'utf8' });
  assert.ok(!mounts.includes('deimos-log-'));
});

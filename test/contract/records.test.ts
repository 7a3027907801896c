// What the executable makes of the bytes on its stdin: those of real slaves are taken, whatever is no record is refused in
// one line and leaves nothing behind. No Docker is needed for any of it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { decode, encode } from '../../src/mesos/codec.ts';
import { Containers, Launch, Termination, Update, ValueType } from '../../src/mesos/messages.ts';
import { type Outcome, outcomeOf } from '../support/command.ts';
import { HOSTILE, OBEYED } from '../support/control.ts';
import {
  BINARY,
  containerRecord,
  framed,
  type Installation,
  install,
  launchRecord,
} from '../support/installation.ts';
import { killAll } from '../support/proc.ts';
import { processesOf } from '../support/processes.ts';
import { commandTask } from '../support/tasks.ts';
import { until } from '../support/until.ts';
import { FILES } from '../unit/mesos/recordings.ts';

const VERBS = ['launch', 'wait', 'usage', 'update', 'destroy'] as const;
const EMPTY = Buffer.alloc(0);
/** It has read what came, and waits for more. */
const SETTLED_MS = 10_000;
const MAX_RECORD_BYTES = 64 * 1024 * 1024;

/** Refused in words: status 4, nothing on stdout, one line on stderr that begins with the verb. */
function assertRefused(verb: string, outcome: Outcome): void {
  const seen = { code: outcome.code, stdout: outcome.stdout.toString('hex') };
  assert.deepEqual(seen, { code: 4, stdout: '' }, outcome.stderr);
  assert.match(outcome.stderr, new RegExp(`^deimos ${verb}: [^\\n]+\\n$`));
  assert.doesNotMatch(outcome.stderr.slice(0, -1), OBEYED);
}

/** A field that is as long as what is in it, which is such a field again, and so on. */
function nested(fieldNumber: number, depth: number): Buffer {
  const key = fieldNumber * 8 + 2;
  const headers: Buffer[] = [];
  let length = 0;
  for (let n = 0; n < depth; n++) {
    const header = [key];
    for (let rest = length; ; rest >>>= 7) {
      header.push(rest < 0x80 ? rest : (rest & 0x7f) | 0x80);
      if (rest < 0x80) break;
    }
    headers.unshift(Buffer.from(header));
    length += header.length;
  }
  return Buffer.concat(headers);
}

function length(bytes: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(bytes);
  return buffer;
}

interface HalfWay {
  readonly outcome: Promise<Outcome>;
  /** The most memory that it had, when it had been up for a while. */
  readonly peakKb: Promise<number>;
}

/** A wait whose stdin brings some bytes, no more, and no end. */
function stopsHalfWay(configFile: string, bytes: Uint8Array): HalfWay {
  const startedAt = performance.now();
  const child = spawn(BINARY, ['--config', configFile, 'wait'], { stdio: 'pipe', env: {} });
  child.stdin.write(bytes);
  const output = { stdout: [] as Buffer[], stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => output.stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => {
    output.stderr += chunk.toString();
  });
  const outcome = new Promise<Outcome>((resolve) =>
    child.once('close', (code, signal) => {
      child.stdin.destroy();
      const durationMs = performance.now() - startedAt;
      resolve({ code, signal, stdout: Buffer.concat(output.stdout), stderr: output.stderr, durationMs });
    }),
  );
  const peakKb = sleep(SETTLED_MS).then(() => {
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]);
  });
  return { outcome, peakKb };
}

describe('bytes that are no record', () => {
  let here: Installation;
  let elsewhere: Installation;
  let whole: Buffer;
  let plain: HalfWay;
  let claimed: HalfWay;

  before(async () => {
    here = await install();
    const task = commandTask({ value: 'true', image: 'busybox', env: { A: 'b' }, ports: [[31000, 31001]] });
    whole = (await launchRecord(task, here.at('sandboxes'))).stdin;
    // Beside the others, since it takes so long; with a directory of its own, since it is a process of `traces`.
    elsewhere = await install();
    plain = stopsHalfWay(elsewhere.configFile, whole.subarray(0, 20));
    claimed = stopsHalfWay(elsewhere.configFile, Buffer.concat([length(MAX_RECORD_BYTES), whole]));
  });
  after(async () => {
    await here[Symbol.asyncDispose]();
    await elsewhere[Symbol.asyncDispose]();
  });

  const broken: Readonly<Record<string, () => Buffer>> = {
    'nothing at all': () => EMPTY,
    'half a length': () => whole.subarray(0, 2),
    'a length and nothing more': () => whole.subarray(0, 4),
    'a record cut in the middle': () => whole.subarray(0, whole.length >> 1),
    'a record without its last byte': () => whole.subarray(0, -1),
    'a record larger than any': () => Buffer.concat([length(MAX_RECORD_BYTES + 1), whole]),
    'a length of 4 GiB': () => Buffer.concat([length(0xffff_ffff), whole]),
    'a length in network byte order': () => {
      const swapped = Buffer.from(whole);
      swapped.writeUInt32BE(whole.length - 4);
      return swapped;
    },
    'an empty record': () => length(0),
    'a record of zeros': () => framed(Buffer.alloc(64)),
    'a record of text': () => framed(Buffer.from('GET / HTTP/1.0\r\nHost: localhost\r\n\r\n')),
    'a field longer than its record': () => framed(Buffer.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x07, 0x61)),
    'a message nested 10,000 deep in a field that nobody knows': () => framed(nested(15, 10_000)),
    'the container nested 10,000 deep': () => framed(nested(1, 10_000)),
    'a task, or resources, nested 10,000 deep': () => framed(nested(2, 10_000)),
    'groups nested 10,000 deep': () => framed(Buffer.alloc(10_000, 0x7b)),
    'a number in the place of the container': () => framed(Buffer.of(0x08, 1)),
    'eight bytes in the place of the container': () => framed(Buffer.of(0x09, 1, 2, 3, 4, 5, 6, 7, 8)),
    'a number in the place of its id': () => framed(Buffer.of(0x0a, 2, 0x08, 1)),
    'a container id that is no UTF-8': () => framed(Buffer.of(0x0a, 4, 0x0a, 2, 0xc3, 0x28)),
    'a container id with a NUL': () => containerRecord('a\0b'),
    'a container id of 64 KB': () => containerRecord('a'.repeat(64 * 1024)),
    'a container id that is a path of 64 KB': () => containerRecord('../'.repeat(64 * 341)),
    'a container id that is the root': () => containerRecord('/'),
    'a container id for a terminal': () => containerRecord(HOSTILE),
    'a container id that is a path': () => containerRecord('../../etc/passwd'),
    'a container id that is a dot': () => containerRecord('..'),
    'a container id that is empty': () => containerRecord(''),
    'a container id with a line end': () => containerRecord('a\nb'),
  };
  for (const verb of VERBS) {
    it(`${verb} refuses them in one line, with status 4`, async () => {
      for (const [name, bytes] of Object.entries(broken)) {
        const outcome = await here.run([verb], bytes());
        assert.doesNotThrow(() => assertRefused(verb, outcome), `${name}: ${outcome.code} ${outcome.stderr}`);
      }
      assert.deepEqual(here.traces(), []);
    });
  }

  it('launch refuses random bytes, whatever they are', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
        assertRefused('launch', await here.run(['launch'], framed(bytes)));
      }),
      { numRuns: 20 },
    );
    assert.deepEqual(here.traces(), []);
  });

  it('launch refuses its own record cut off anywhere before the sandbox is named', async () => {
    const payload = whole.subarray(4);
    const named = payload.indexOf(here.at('sandboxes'));
    assert.ok(named > 0);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: named }), async (end) => {
        assertRefused('launch', await here.run(['launch'], framed(payload.subarray(0, end))));
      }),
      { numRuns: 20 },
    );
    assert.deepEqual(here.traces(), []);
  });

  it('a record that stops half way on a stdin that stays open is given up after 30 s', async () => {
    assertRefused('wait', await plain.outcome);
  });

  it('a length takes no memory before its bytes come', async () => {
    assertRefused('wait', await claimed.outcome);
    const [whatIsClaimed, whatIsSent] = [await claimed.peakKb, await plain.peakKb];
    assert.ok(whatIsClaimed < whatIsSent + MAX_RECORD_BYTES / 1024 / 4, `${whatIsClaimed} ${whatIsSent}`);
    // What is larger than any is refused before; 4 GiB could not be had by this one.
    for (const verb of VERBS) {
      const words = [
        'prlimit',
        `--data=${2 ** 31}`,
        '--',
        BINARY,
        '--config',
        here.configFile,
        verb,
      ] as const;
      const input = Buffer.concat([length(0xffff_ffff), whole]);
      assertRefused(verb, await outcomeOf(words, { env: { PATH: process.env.PATH }, input }));
    }
  });

  it('a record as large as may be, with nothing in it, is refused each time, and the call ends', async () => {
    const input = framed(Buffer.alloc(MAX_RECORD_BYTES, Buffer.of(0x78, 1)));
    for (const verb of VERBS)
      for (let n = 0; n < 3; n++) {
        const outcome = await here.run([verb], input);
        assertRefused(verb, outcome);
        assert.match(outcome.stderr, /container_id is missing/);
      }
    assert.deepEqual(here.traces(), []);
  });
});

describe('containers that nobody knows', () => {
  let here: Installation;
  before(async () => {
    here = await install();
  });
  after(async () => await here[Symbol.asyncDispose]());

  for (const verb of ['wait', 'usage'] as const) {
    it(`${verb} says so, with status 4`, async () => {
      assertRefused(verb, await here.run([verb], containerRecord(randomUUID())));
      assert.deepEqual(here.traces(), []);
    });
  }

  it('update and destroy have nothing to do, with status 0 and without a word', async () => {
    const resources = [{ name: 'cpus', type: ValueType.SCALAR, scalar: { value: 2 }, role: '*' }];
    const update = framed(encode(Update, { container_id: { value: randomUUID() }, resources }));
    for (const [verb, record] of [
      ['update', update],
      ['update', containerRecord(randomUUID())],
      ['destroy', containerRecord(randomUUID())],
    ] as const) {
      const { code, stdout, stderr } = await here.run([verb], record);
      assert.deepEqual(
        { verb, code, stdout: stdout.length, stderr },
        { verb, code: 0, stdout: 0, stderr: '' },
      );
    }
    assert.deepEqual(here.traces(), []);
  });

  it('containers answers a record of length 0, recover nothing, also without a state root', async () => {
    // Whatever else runs on this machine was launched under another work directory.
    const work = { MESOS_WORK_DIRECTORY: here.at('work') };
    const containers = await here.run(['containers'], undefined, work);
    assert.deepEqual(
      [containers.code, containers.stdout.toString('hex'), containers.stderr],
      [0, '00000000', ''],
    );
    const recover = await here.run(['recover'], undefined, work);
    assert.deepEqual([recover.code, recover.stdout.length, recover.stderr], [0, 0, '']);
    assert.deepEqual(here.traces(), []);
  });
});

describe('records that say things twice, or more than is known', () => {
  let here: Installation;
  before(async () => {
    here = await install();
  });
  after(async () => await here[Symbol.asyncDispose]());

  it('what follows a record on stdin, and fields that nobody knows, change nothing', async () => {
    const id = randomUUID();
    const plain = containerRecord(id);
    const unknown = Buffer.concat([plain.subarray(4), nested(15, 100), Buffer.of(0x80, 0x7d, 7)]);
    for (const verb of VERBS.filter((one) => one !== 'launch')) {
      const { code, stdout, stderr } = await here.run([verb], plain);
      for (const record of [Buffer.concat([plain, Buffer.alloc(100_000, 0xff)]), framed(unknown)]) {
        const other = await here.run([verb], record);
        assert.deepEqual([other.code, other.stdout, other.stderr], [code, stdout, stderr], verb);
      }
    }
    assert.deepEqual(here.traces(), []);
  });

  it('the last of two ids is meant, by each verb', async () => {
    const [first, last] = [randomUUID(), randomUUID()];
    const twice = framed(
      Buffer.concat([containerRecord(first).subarray(4), containerRecord(last).subarray(4)]),
    );
    for (const verb of ['wait', 'usage'] as const) {
      const outcome = await here.run([verb], twice);
      assertRefused(verb, outcome);
      assert.match(outcome.stderr, new RegExp(`container ${last} is not known`));
    }
    const { stdin, containerId } = await launchRecord(
      commandTask({ value: 'true', image: 'busybox' }),
      here.at('sandboxes'),
    );
    const launched = framed(Buffer.concat([stdin.subarray(4), containerRecord(last).subarray(4)]));
    const { code, stderr } = await here.run(['launch'], launched);
    assert.deepEqual([code, stderr], [0, '']);
    assert.deepEqual(readdirSync(`${here.root}/mesos`), [last]);
    // The first, if it comes last.
    const back = framed(
      Buffer.concat([containerRecord(last).subarray(4), containerRecord(containerId).subarray(4)]),
    );
    assert.equal((await here.run(['destroy'], back)).code, 0);
    assert.equal(existsSync(`${here.root}/mesos/${last}/delivered`), false);
    assert.equal((await here.run(['destroy'], twice)).code, 0);
    assert.equal(existsSync(`${here.root}/mesos/${last}/delivered`), true);
  });
});

describe('ids that frameworks choose', () => {
  const IDS = {
    'a path upwards': '../../../escaped',
    'an absolute path': '/escaped',
    'a dot': '.',
    'two dots': '..',
    'a NUL': 'a\0b',
    'a line end': 'a\nb\n',
    '64 KB': 'x'.repeat(64 * 1024),
    'what a terminal obeys': HOSTILE,
  } as const;
  let here: Installation;
  before(async () => {
    here = await install();
  });
  after(async () => await here[Symbol.asyncDispose]());

  /** All that there is in the installation's directory beside the state root. */
  const outside = (): readonly string[] =>
    readdirSync(here.at(), { recursive: true, encoding: 'utf8' })
      .filter((path) => path !== 'state' && !path.startsWith('state/'))
      .sort();

  for (const [what, id] of Object.entries(IDS)) {
    it(`${what}: nothing is made by them outside of the state, and it is found by what is shown`, async () => {
      const task = commandTask({ taskId: id, name: id, value: 'true', image: 'busybox' });
      const { stdin, containerId, sandbox } = await launchRecord(task, here.at('sandboxes'));
      const before = outside();
      // No environment has a NUL.
      const name = id.replaceAll('\0', '');
      const launched = await here.run(['launch'], stdin, { MESOS_FRAMEWORK_ID: name, MESOS_SLAVE_ID: name });
      assert.deepEqual([launched.code, launched.stderr], [0, '']);
      const listed = await here.run(['ps', '--all']);
      assert.equal(listed.code, 0, listed.stderr);
      assert.doesNotMatch(listed.stdout.toString().replaceAll('\n', ''), OBEYED);
      const asJson = await here.run(['ps', '--all', '--json']);
      assert.doesNotMatch(asJson.stdout.toString().replaceAll('\n', ''), OBEYED);
      const found = (JSON.parse(asJson.stdout.toString()) as { containerId: string; taskId: string }[]).find(
        (one) => one.containerId === containerId,
      );
      // Kept with one line end behind it, which are no part of an id.
      assert.equal(found?.taskId, id.trim());
      for (const verb of ['usage', 'update', 'destroy'] as const) {
        const outcome = await here.run([verb], containerRecord(containerId));
        assert.deepEqual([outcome.code, outcome.stderr], [0, ''], verb);
      }
      const waited = await here.run(['wait'], containerRecord(containerId));
      assert.equal(waited.code, 0, waited.stderr);
      assert.doesNotMatch(decode(Termination, waited.stdout.subarray(4)).message ?? '', OBEYED);
      assert.doesNotMatch(readFileSync(`${here.root}/supervisor/log`, 'utf8').replaceAll('\n', ''), OBEYED);
      // What the task's own directory may have.
      const sandboxOf = sandbox.slice(here.at().length + 1);
      assert.deepEqual(
        outside().filter((path) => !path.startsWith(`${sandboxOf}/`)),
        before,
      );
    });
  }

  it('words of a person that are paths are ids that nobody has', async () => {
    await using empty = await install();
    for (const word of ['../../etc/passwd', '/etc/passwd', '..', '.', '', 'a\nb', HOSTILE]) {
      // Of this root alone: a task of another may well be called so.
      const logs = await empty.run(['--root', empty.root, 'logs', '--no-follow', word]);
      assertRefused('logs', logs);
      assert.match(logs.stderr, /no container or task here has the id/);
      const wait = await empty.run(['wait', '--root', empty.root, '--container', word, '--slave', '']);
      assert.deepEqual([wait.code, wait.stdout.length], [1, 0]);
      assert.match(wait.stderr, /^deimos wait: not a container id: [^\n]*\n$/);
      assert.doesNotMatch(wait.stderr.slice(0, -1), OBEYED);
    }
  });
});

interface RecordedCall {
  readonly verb: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: Buffer;
}

function recordedCalls(file: string): readonly RecordedCall[] {
  const text = readFileSync(new URL(`recordings/${file}.jsonl`, import.meta.url), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
    .filter((line) => line.call !== undefined)
    .map(({ call, cwd, env, stdin }) => ({ verb: call, cwd, env, stdin: Buffer.from(stdin, 'hex') }));
}

describe('what real slaves wrote', { skip: process.getuid?.() !== 0 && 'needs root' }, () => {
  // The recorded calls name the slave's directories: they are there in a mount namespace, for these calls alone.
  let here: Installation;
  let holder: ReturnType<typeof spawn>;

  before(async () => {
    here = await install();
    const script =
      'mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/mesos && echo ready && exec sleep infinity';
    holder = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', '--', 'unshare', '--mount', '--propagation', 'slave', '--', 'sh', '-c', script],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await new Promise((resolve, reject) => {
      holder.stdout?.once('data', resolve);
      holder.once('exit', () => reject(new Error('no mount namespace')));
    });
    holder.removeAllListeners('exit');
  });
  after(async () => {
    // Their supervisors, whose roots only the namespace has: the executable and the namespace are ours alone.
    await here[Symbol.asyncDispose]();
    holder.kill('SIGKILL');
    await until('the namespace free', () => holder.exitCode !== null || holder.signalCode !== null);
  });

  const inNamespace = async (call: RecordedCall, root: string): Promise<Outcome> =>
    await outcomeOf(
      [
        'nsenter',
        `--mount=/proc/${holder.pid}/ns/mnt`,
        '--',
        ...['sh', '-c', 'cd "$0" && exec "$@"', call.cwd],
        ...[BINARY, '--config', here.configFile, '--root', root, call.verb],
      ],
      { env: { PATH: process.env.PATH, ...call.env }, input: call.stdin },
    );

  for (const file of FILES) {
    it(`${file}: every call is answered as its slave needs it`, async () => {
      const root = here.at(`state-${file}`);
      const calls = recordedCalls(file);
      const directories = [...new Set(calls.map(({ cwd }) => cwd))];
      await outcomeOf(['nsenter', `--mount=/proc/${holder.pid}/ns/mnt`, '--', 'mkdir', '-p', ...directories]);
      const waits: Promise<Outcome>[] = [];
      for (const call of calls) {
        const running = inNamespace(call, root);
        if (call.verb === 'wait') {
          waits.push(running);
          continue;
        }
        const { code, stdout, stderr } = await running;
        const what = `${call.verb}: ${stderr}`;
        switch (call.verb) {
          case 'usage':
            // Before the container runs: numbers; after its end: a line that says so. Never both.
            if (code === 0)
              assert.ok(stdout.length > 4 && stdout.readUInt32LE(0) === stdout.length - 4, what);
            else assertRefused('usage', await running);
            break;
          case 'containers':
            assert.equal(code, 0, what);
            assert.equal(stdout.readUInt32LE(0), stdout.length - 4, what);
            decode(Containers, stdout.subarray(4));
            break;
          default:
            assert.deepEqual({ code, stdout: stdout.length }, { code: 0, stdout: 0 }, what);
        }
      }
      // Nothing was ever run: no Docker, and no slave that listens. What waits has to hear how that ended.
      const [launch] = calls.filter(({ verb }) => verb === 'launch');
      assert.ok(launch);
      const containerId = decode(Launch, launch.stdin.subarray(4)).container_id?.value ?? '';
      const waited = { ...launch, verb: 'wait', stdin: containerRecord(containerId) };
      const destroyed = await inNamespace({ ...waited, verb: 'destroy' }, root);
      assert.deepEqual(
        { code: destroyed.code, stdout: destroyed.stdout.length },
        { code: 0, stdout: 0 },
        destroyed.stderr,
      );
      for (const { code, stdout, stderr } of [
        ...(await Promise.all(waits)),
        await inNamespace(waited, root),
      ]) {
        assert.equal(code, 0, stderr);
        assert.equal(stdout.readUInt32LE(0), stdout.length - 4);
        const termination = decode(Termination, stdout.subarray(4));
        assert.equal(termination.killed, false);
        assert.ok(termination.message);
      }
      await killAll(processesOf(BINARY).flatMap(({ pid, argv }) => (argv.includes(root) ? pid : [])));
    });
  }
});

// What the executable makes of the bytes on its stdin: those of real slaves are taken, whatever is no record is refused in
// one line and leaves nothing behind. No Docker is needed for any of it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { decode, encode } from '../../src/mesos/codec.ts';
import { Containers, Launch, Termination, Update, ValueType } from '../../src/mesos/messages.ts';
import { type Outcome, outcomeOf } from '../support/command.ts';
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
const MAX_RECORD_BYTES = 64 * 1024 * 1024;

/** Refused in words: status 4, nothing on stdout, one line on stderr that begins with the verb. */
function assertRefused(verb: string, outcome: Outcome): void {
  const seen = { code: outcome.code, stdout: outcome.stdout.toString('hex') };
  assert.deepEqual(seen, { code: 4, stdout: '' }, outcome.stderr);
  assert.match(outcome.stderr, new RegExp(`^deimos ${verb}: [^\\n]+\\n$`));
}

/** A wait whose stdin brings some bytes, no more, and no end. */
async function stopsHalfWay(configFile: string, bytes: Uint8Array): Promise<Outcome> {
  const startedAt = performance.now();
  const child = spawn(BINARY, ['--config', configFile, 'wait'], { stdio: 'pipe', env: {} });
  child.stdin.write(bytes);
  const output = { stdout: [] as Buffer[], stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => output.stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => {
    output.stderr += chunk.toString();
  });
  return await new Promise((resolve) =>
    child.once('close', (code, signal) => {
      child.stdin.destroy();
      const durationMs = performance.now() - startedAt;
      resolve({ code, signal, stdout: Buffer.concat(output.stdout), stderr: output.stderr, durationMs });
    }),
  );
}

describe('bytes that are no record', () => {
  let here: Installation;
  let elsewhere: Installation;
  let whole: Buffer;
  let halfWay: Promise<Outcome>;

  before(async () => {
    here = await install();
    const task = commandTask({ value: 'true', image: 'busybox', env: { A: 'b' }, ports: [[31000, 31001]] });
    whole = (await launchRecord(task, here.at('sandboxes'))).stdin;
    // Beside the others, since it takes so long; with a directory of its own, since it is a process of `traces`.
    elsewhere = await install();
    halfWay = stopsHalfWay(elsewhere.configFile, whole.subarray(0, 20));
  });
  after(async () => {
    await here[Symbol.asyncDispose]();
    await elsewhere[Symbol.asyncDispose]();
  });

  const length = (bytes: number): Buffer => {
    const buffer = Buffer.alloc(4);
    buffer.writeUInt32LE(bytes);
    return buffer;
  };
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
    assertRefused('wait', await halfWay);
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

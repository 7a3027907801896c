import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { errnoOf, Fault, type FaultKind } from '../../../src/fault.ts';
import {
  frame,
  MAX_RECORD_BYTES,
  readRecord,
  readRecordOrText,
  writeRecord,
} from '../../../src/mesos/record.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'deimos-record-'));
after(() => rmSync(directory, { recursive: true }));

let fifos = 0;

/** A real pipe, as a slave gives it: both ends open, the reading one blocking. */
function pipe(writerFlags = 0) {
  fifos += 1;
  const file = path.join(directory, `fifo-${fifos}`);
  execFileSync('mkfifo', [file]);
  const both = openSync(file, constants.O_RDWR);
  const reader = openSync(file, constants.O_RDONLY);
  const writer = openSync(file, constants.O_WRONLY | writerFlags);
  closeSync(both);
  const open = new Set([reader, writer]);
  const close = (fd: number) => open.delete(fd) && closeSync(fd);
  return {
    file,
    reader,
    writer,
    close,
    [Symbol.dispose]: () => {
      for (const fd of open) closeSync(fd);
    },
  };
}

function fault(kind: FaultKind, words: RegExp) {
  return (error: unknown) => error instanceof Fault && error.kind === kind && words.test(error.message);
}

/** The descriptors of this process; the one that lists them is among them each time. */
const descriptors = () => readdirSync('/proc/self/fd').length;

describe('readRecord', () => {
  it('takes one record from a pipe that stays open, and not a byte more', async () => {
    using p = pipe();
    writeSync(p.writer, Buffer.concat([frame(Buffer.from('abc')), Buffer.from('rest')]));
    assert.equal((await readRecord(p.reader)).toString(), 'abc');
    const rest = Buffer.alloc(10);
    assert.equal(readSync(p.reader, rest), 4);
    assert.equal(rest.toString('latin1', 0, 4), 'rest');
  });

  it('takes a record that comes one byte at a time', async () => {
    using p = pipe();
    const framed = frame(Buffer.from('slowly'));
    const sending = (async () => {
      for (const byte of framed) {
        await new Promise((resolve) => setTimeout(resolve, 3));
        writeSync(p.writer, Buffer.of(byte));
      }
    })();
    assert.equal((await readRecord(p.reader)).toString(), 'slowly');
    await sending;
  });

  it('takes a record larger than a pipe holds', async () => {
    using p = pipe();
    const payload = Buffer.alloc(3_000_000, 'x');
    payload.write('end', payload.length - 3);
    const source = path.join(directory, 'large');
    writeFileSync(source, frame(payload));
    const cat = spawn('cat', [source], { stdio: ['ignore', p.writer, 'inherit'] });
    assert.ok((await readRecord(p.reader)).equals(payload));
    if (cat.exitCode === null) await once(cat, 'exit');
  });

  it('takes an empty record', async () => {
    using p = pipe();
    writeSync(p.writer, Buffer.alloc(4));
    assert.equal((await readRecord(p.reader)).length, 0);
  });

  it('reads a file from where it stands, and /dev/null as empty', async () => {
    const file = path.join(directory, 'file');
    writeFileSync(
      file,
      Buffer.concat([Buffer.from('skip'), frame(Buffer.from('abc')), frame(Buffer.from('def'))]),
    );
    const fd = openSync(file, 'r');
    readSync(fd, Buffer.alloc(4));
    assert.equal((await readRecord(fd)).toString(), 'abc');
    assert.equal((await readRecord(fd)).toString(), 'def');
    await assert.rejects(readRecord(fd), fault('protocol', /^length ends early: 0 of 4 bytes came$/));
    closeSync(fd);
    const nothing = openSync('/dev/null', 'r');
    await assert.rejects(readRecord(nothing), fault('protocol', /0 of 4 bytes came/));
    closeSync(nothing);
  });

  it('says how much of a record came before the stream ended', async () => {
    for (const [bytes, words] of [
      [Buffer.of(3, 0), /^length ends early: 2 of 4 bytes came$/],
      [Buffer.from([3, 0, 0, 0, 97, 98]), /^record ends early: 2 of 3 bytes came$/],
    ] as const) {
      using p = pipe();
      writeSync(p.writer, bytes);
      p.close(p.writer);
      await assert.rejects(readRecord(p.reader), fault('protocol', words));
    }
  });

  it('gives up on a pipe on which nothing comes any more', async () => {
    using p = pipe();
    writeSync(p.writer, Buffer.from([3, 0, 0, 0, 97]));
    await assert.rejects(readRecord(p.reader, { idleMs: 30 }), fault('timeout', /1 of 3 bytes came/));
  });

  it('ends when it is told to', async () => {
    using p = pipe();
    const reason = new Error('enough');
    const controller = new AbortController();
    const reading = readRecord(p.reader, { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 20);
    await assert.rejects(reading, reason);
  });

  it('does not believe a length above its limit', async () => {
    using p = pipe();
    const length = Buffer.alloc(4);
    length.writeUInt32LE(MAX_RECORD_BYTES + 1);
    writeSync(p.writer, length);
    await assert.rejects(readRecord(p.reader), fault('protocol', /larger than 67108864/));
  });

  it('leaves no descriptor behind, whatever happened', async () => {
    using p = pipe();
    const before = descriptors();
    writeSync(p.writer, frame(Buffer.from('abc')));
    await readRecord(p.reader);
    await assert.rejects(readRecord(p.reader, { idleMs: 5 }));
    assert.equal(descriptors(), before);
  });

  // Node gives its children sockets as stdin, shells and slaves give them pipes; neither is ever closed here.
  for (const kind of ['socket', 'pipe'] as const) {
    it(`lets its process end though its stdin, a ${kind}, stays open`, async () => {
      using p = pipe();
      const program = `
        import { readRecord, readRecordOrText, writeRecord } from ${JSON.stringify(new URL('../../../src/mesos/record.ts', import.meta.url).href)};
        writeRecord(1, await readRecord(0));`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
        stdio: [kind === 'socket' ? 'pipe' : p.reader, 'pipe', 'inherit'],
      });
      const out: Buffer[] = [];
      child.stdout?.on('data', (chunk) => out.push(chunk));
      const framed = frame(Buffer.from('hello'));
      for (const byte of framed) {
        if (child.stdin) child.stdin.write(Buffer.of(byte));
        else writeSync(p.writer, Buffer.of(byte));
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      const [code] = await once(child, 'close');
      assert.equal(code, 0);
      assert.deepEqual(Buffer.concat(out), framed);
      child.stdin?.destroy();
    });
  }
});

describe('writeRecord', () => {
  it('writes all of a record into a pipe that is full and does not block', async () => {
    using p = pipe(constants.O_NONBLOCK);
    const payload = Buffer.alloc(1_000_000, 'y');
    const target = path.join(directory, 'taken');
    // The reader is another process: writing holds this one's only thread.
    const reader = spawn('sh', ['-c', 'sleep 0.1; exec head -c 1000004 >"$1"', 'sh', target], {
      stdio: [p.reader, 'ignore', 'inherit'],
    });
    writeRecord(p.writer, payload);
    await once(reader, 'exit');
    assert.ok(readFileSync(target).equals(frame(payload)));
  });

  it('says so when nobody reads any more', () => {
    using p = pipe();
    p.close(p.reader);
    assert.throws(
      () => writeRecord(p.writer, Buffer.from('x')),
      (error) => fault('host', /EPIPE/)(error) && errnoOf((error as Fault).cause) === 'EPIPE',
    );
  });

  it('gives up on a pipe that nobody empties', () => {
    using p = pipe(constants.O_NONBLOCK);
    assert.throws(
      () => writeRecord(p.writer, Buffer.alloc(1_000_000), 30),
      fault('timeout', /of 1000004 bytes/),
    );
  });
});

describe('frame', () => {
  it('puts the length in front, little endian', () => {
    assert.equal(frame(Buffer.from('abc')).toString('hex'), '03000000616263');
    assert.equal(frame(new Uint8Array()).toString('hex'), '00000000');
  });
});

describe('what a person gives', () => {
  const given = async (bytes: Uint8Array | string) => {
    using ends = pipe();
    writeSync(ends.writer, typeof bytes === 'string' ? Buffer.from(bytes) : bytes);
    ends.close(ends.writer);
    const input = await readRecordOrText(ends.reader);
    return 'record' in input ? ['record', input.record.toString()] : ['text', input.text.toString()];
  };

  it('is a record or a text, told apart by the first bytes, also where these look alike', async () => {
    for (const text of ['{}', '{"id": 1}', '\t{', '\n\n\n\n{}', '', '{', 'abc', '\uFEFF{"a":1}', '[]'])
      assert.deepEqual(await given(text), ['text', text]);
    // 123 is the number of `{`: a record of that length begins with the same byte.
    for (const length of [0, 5, 123, 123 + 256]) {
      const payload = Buffer.alloc(length, '"');
      assert.deepEqual(await given(frame(payload)), ['record', payload.toString()]);
    }
  });

  it('is not waited for beyond a record, though the pipe stays open', async () => {
    using ends = pipe();
    writeSync(ends.writer, frame(Buffer.from('payload')));
    const input = await readRecordOrText(ends.reader);
    assert.ok('record' in input);
    assert.equal(input.record.toString(), 'payload');
  });

  it('ends early, stands still or is too large: said in words', async () => {
    await assert.rejects(given(frame(Buffer.from('abc')).subarray(0, 5)), fault('protocol', /1 of 3 bytes/));
    using ends = pipe();
    writeSync(ends.writer, '{"id"');
    await assert.rejects(readRecordOrText(ends.reader, { idleMs: 50 }), fault('timeout', /none for 50 ms/));
    const file = path.join(directory, 'large.json');
    writeFileSync(file, `{${' '.repeat(5 * 1024 * 1024)}}`);
    const fd = openSync(file, 'r');
    await assert.rejects(readRecordOrText(fd), fault('protocol', /larger than 4194304 bytes/));
    closeSync(fd);
  });
});

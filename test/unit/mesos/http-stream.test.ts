import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Fault } from '../../../src/fault.ts';
import { HttpStream, MAX_BODY_BYTES, MAX_HEAD_BYTES } from '../../../src/mesos/http-stream.ts';

interface Got {
  readonly startLine: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

function receive(pieces: readonly Buffer[], wanted: 'keep' | 'discard' = 'keep') {
  const got: Got[] = [];
  const stream = new HttpStream({
    head: () => wanted,
    message: ({ startLine, headers }, body) =>
      got.push({ startLine, headers: Object.fromEntries(headers), body: body.toString('latin1') }),
  });
  for (const piece of pieces) stream.push(piece);
  return { got, stream };
}

const latin1 = (text: string) => Buffer.from(text, 'latin1');
const isFault = (error: unknown) => error instanceof Fault && error.kind === 'protocol';

const THREE =
  'POST /a HTTP/1.1\r\nHost: \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\n\r\n\r\n0\r\nTrailer: 1\r\n\r\n' +
  'POST /b HTTP/1.0\r\nX:  spaced \t\r\n\r\n' +
  'POST /c HTTP/1.1\r\ncontent-length: 4\r\n\r\n\r\n\r\n';
const EXPECTED: Got[] = [
  { startLine: 'POST /a HTTP/1.1', headers: { host: '', 'transfer-encoding': 'chunked' }, body: 'abc\r\n' },
  { startLine: 'POST /b HTTP/1.0', headers: { x: 'spaced' }, body: '' },
  { startLine: 'POST /c HTTP/1.1', headers: { 'content-length': '4' }, body: '\r\n\r\n' },
];

describe('HttpStream', () => {
  it('finds the same messages however the bytes are cut', () => {
    const bytes = latin1(THREE);
    assert.deepEqual(receive([bytes]).got, EXPECTED);
    assert.deepEqual(receive([...bytes].map((byte) => Buffer.of(byte))).got, EXPECTED);
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length)), (cuts) => {
        const ends = [...new Set([0, ...cuts, bytes.length])].sort((a, b) => a - b);
        const pieces = ends.slice(1).map((end, i) => bytes.subarray(ends[i], end));
        assert.deepEqual(receive(pieces).got, EXPECTED);
      }),
    );
  });

  it('gives up the body that nobody wants, and keeps its place', () => {
    const { got } = receive([latin1(THREE)], 'discard');
    assert.deepEqual(
      got,
      EXPECTED.map((one) => ({ ...one, body: '' })),
    );
  });

  it('delivers nothing more once it was stopped, not even from the same piece', () => {
    const got: string[] = [];
    const stream: HttpStream = new HttpStream({
      head: () => 'keep',
      message: ({ startLine }) => {
        got.push(startLine);
        stream.stop();
      },
    });
    stream.push(latin1(THREE));
    assert.deepEqual(got, ['POST /a HTTP/1.1']);
  });

  it('hands out bodies that later messages do not touch', () => {
    const bodies: Buffer[] = [];
    const stream = new HttpStream({ head: () => 'keep', message: (_, body) => bodies.push(body) });
    const piece = latin1(
      'A / HTTP/1.1\r\nContent-Length: 1\r\n\r\nxA / HTTP/1.1\r\nContent-Length: 1\r\n\r\ny',
    );
    stream.push(piece);
    piece.fill(0);
    assert.equal(bodies.map(String).join(), 'x,y');
  });

  it('refuses what it cannot be sure of', () => {
    const bad = {
      'a bare line feed': 'POST / HTTP/1.1\nHost: a\r\n\r\n',
      'an empty start line': '\r\nPOST / HTTP/1.1\r\n\r\n',
      'a header without colon': 'POST / HTTP/1.1\r\nabc\r\n\r\n',
      'a folded header': 'POST / HTTP/1.1\r\nA: b\r\n c\r\n\r\n',
      'a space before the colon': 'POST / HTTP/1.1\r\nContent-Length : 3\r\n\r\n',
      'two lengths': 'POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n',
      'a length and an encoding':
        'POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n',
      'another encoding': 'POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
      'a negative length': 'POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n',
      'a length with a sign': 'POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n',
      'a chunk size that is none': 'POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\n',
      'a chunk size of 9 digits': 'POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n100000000\r\n',
      'a chunk longer than it said': 'POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n',
      'too large a body': `POST / HTTP/1.1\r\nContent-Length: ${MAX_BODY_BYTES + 1}\r\n\r\n`,
      'too large a head': `POST / HTTP/1.1\r\nA: ${'a'.repeat(MAX_HEAD_BYTES)}\r\n\r\n`,
      'too large a head in many lines': `POST / HTTP/1.1\r\n${'A: b\r\n'.repeat(MAX_HEAD_BYTES / 6)}\r\n`,
      'a head that never ends': 'a'.repeat(MAX_HEAD_BYTES + 1),
      'a trailer that never ends': `POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${'A: b\r\n'.repeat(3000)}`,
    };
    for (const [what, text] of Object.entries(bad)) {
      assert.throws(() => receive([latin1(text)]), isFault, what);
      assert.throws(
        () => receive([...latin1(text)].map((byte) => Buffer.of(byte))),
        isFault,
        `${what}, byte by byte`,
      );
    }
  });

  it('bounds the sum of all chunks', () => {
    const chunk = latin1(`100000\r\n${'a'.repeat(0x100000)}\r\n`);
    const head = latin1('POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n');
    const eight = Array.from({ length: 8 }, () => chunk);
    assert.equal(receive([head, ...eight, latin1('0\r\n\r\n')]).got[0]?.body.length, MAX_BODY_BYTES);
    assert.throws(() => receive([head, ...eight, latin1('1\r\n')]), isFault);
  });

  it('does not tire of many small messages on one connection', () => {
    const one = 'POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx';
    assert.equal(receive([latin1(one.repeat(5000))]).got.length, 5000);
  });

  it('throws nothing but a Fault for any bytes', () => {
    const words = fc.constantFrom(
      'POST / HTTP/1.1',
      '\r\n',
      '\n',
      ':',
      'Content-Length: 3',
      'Transfer-Encoding: chunked',
      '3',
      '0',
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 30 }), (parts) => {
        try {
          receive([latin1(parts.join(''))]);
        } catch (error) {
          assert.ok(isFault(error), String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

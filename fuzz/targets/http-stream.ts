// HTTP messages as slaves and executors send them: however the bytes are cut, the same is delivered, and what is delivered
// keeps within the bounds.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { HttpStream, MAX_BODY_BYTES, MAX_HEAD_BYTES } from '../../src/mesos/http-stream.ts';
import type { Random } from '../engine/random.ts';
import { attempt, byteWords, type Target } from '../engine/target.ts';

const HEADERS = [
  ...['Connection: Keep-Alive', 'User-Agent: libprocess/a@1.2.3.4:5', 'Libprocess-From: a@1.2.3.4:5'],
  ...[
    'Transfer-Encoding: chunked',
    'Content-Length: 3',
    'content-length:0',
    'Content-Length : 3',
    'Host: h',
    'X:',
  ],
];

interface Delivered {
  readonly messages: readonly {
    startLine: string;
    headers: readonly (readonly [string, string])[];
    body: string;
  }[];
  readonly fault: string | undefined;
  readonly idle: boolean;
}

export function target(): Target {
  return {
    dictionary: byteWords(
      ...HEADERS.map((line) => `${line}\r\n`),
      ...[
        '\r\n',
        '\r\n\r\n',
        '\n',
        '\r',
        '0\r\n\r\n',
        '3\r\nabc\r\n',
        'ffffffff\r\n',
        '800001\r\n',
        ';a=b',
        ' HTTP/1.1\r\n',
      ],
      ...[
        'POST /slave(1)/x HTTP/1.0\r\n',
        'HTTP/1.1 202 Accepted\r\n',
        '999999999999999',
        'Transfer-Encoding: gzip\r\n',
      ],
    ),
    make: (random) => Buffer.concat(random.several(4, () => message(random))),
    run(input) {
      const whole = delivered([input]);
      const cut = 1 + ((input[0] ?? 0) % 7);
      const pieces: Buffer[] = [];
      for (let at = 0; at < input.length; at += cut) pieces.push(input.subarray(at, at + cut));
      const piecewise = delivered(pieces);
      // In one piece a fault comes at once where in pieces it comes with a later one: what was delivered before it is the same.
      assert.ok(isDeepStrictEqual(piecewise, whole), 'cut otherwise, something else is delivered');
      for (const { startLine, headers, body } of whole.messages) {
        assert.ok(
          startLine.length + headers.reduce((sum, [name, value]) => sum + name.length + value.length, 0) <=
            MAX_HEAD_BYTES,
        );
        assert.ok(body.length <= MAX_BODY_BYTES && body.length <= input.length);
        assert.match(startLine, /^[A-Z]/);
      }
    },
  };
}

function message(random: Random): Buffer {
  const body = random.text(['\x0a\x03', 'abc', '\0'], 8);
  const lines = [
    random.pick([
      'POST /executor(1)/mesos.internal.RunTaskMessage HTTP/1.0',
      'HTTP/1.1 202 Accepted',
      'GET / HTTP/1.1',
    ]),
  ];
  lines.push(...random.several(3, () => random.pick(HEADERS)));
  const bytes = Buffer.from(body, 'latin1');
  if (random.oneIn(3))
    lines.push(
      'Transfer-Encoding: chunked',
      '',
      `${bytes.length.toString(16)}`,
      `${bytes.toString('latin1')}`,
      '0',
      '',
      '',
    );
  else lines.push(`Content-Length: ${bytes.length}`, '', bytes.toString('latin1'));
  return Buffer.from(lines.join('\r\n'), 'latin1');
}

function delivered(pieces: readonly Buffer[]): Delivered {
  const messages: { startLine: string; headers: (readonly [string, string])[]; body: string }[] = [];
  const stream = new HttpStream({
    head: ({ startLine }) => (startLine.includes('GET') ? 'discard' : 'keep'),
    message: ({ startLine, headers }, body) => {
      messages.push({ startLine, headers: [...headers], body: body.toString('latin1') });
    },
  });
  for (const piece of pieces) {
    const { fault } = attempt(['protocol'], () => stream.push(piece));
    if (fault !== undefined) return { messages, fault: fault.message, idle: false };
  }
  return { messages, fault: undefined, idle: stream.idle };
}

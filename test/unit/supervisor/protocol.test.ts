// The lines on the supervisor's socket, and the pauses between tries.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fault } from '../../../src/fault.ts';
import type { Log } from '../../../src/host/log.ts';
import { pauseMs, persist } from '../../../src/host/pauses.ts';
import { parseReplyLine, parseRequestLine, requestLine } from '../../../src/supervisor/protocol.ts';

const SILENT: Log = { debug: () => {}, info: () => {}, warning: () => {}, error: () => {} };

test('requests are understood, and nothing else is a request', () => {
  assert.deepEqual(parseRequestLine('{"op":"ready"}')?.request, { op: 'ready' });
  assert.deepEqual(parseRequestLine('{"op":"run","container":"a"}')?.request, { op: 'run', container: 'a' });
  for (const line of [
    '',
    'null',
    '[]',
    '{"op":"run"}',
    '{"op":"run","container":"../x"}',
    '{"op":"bogus","container":"a"}',
    '{',
  ]) {
    assert.equal(parseRequestLine(line), undefined, line);
  }
});

test('a request says which build asks; without that it is a request all the same', () => {
  const by = { version: '1.2.3', records: 4 };
  const request = { op: 'ready' } as const;
  assert.deepEqual(parseRequestLine(requestLine(request, by)), { request, by, answerIn: undefined });
  for (const other of ['"1.2.3"', '{"version":"1.2.3"}', '{"version":1,"records":1}', 'null'])
    assert.deepEqual(parseRequestLine(`{"op":"ready","by":${other}}`), {
      request,
      by: undefined,
      answerIn: undefined,
    });
});

test('the file of an answer has a name like those that are tidied away, and no other', () => {
  const request = { op: 'ready' } as const;
  const by = { version: '1.2.3', records: 4 };
  const name = 'answer.12.345.tmp';
  assert.equal(parseRequestLine(requestLine(request, by, name))?.answerIn, name);
  for (const other of ['answer.12.345', '../answer.12.345.tmp', 'answer.12.345.tmp/..', 'port', ''])
    assert.equal(parseRequestLine(requestLine(request, by, other))?.answerIn, undefined, other);
});

test('whatever comes over the socket, parsing it gives a value or undefined', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
      parseRequestLine(line);
      parseReplyLine(line);
      return true;
    }),
  );
});

test('a refusal keeps its words', () => {
  assert.deepEqual(parseReplyLine('{"ok":false,"detail":"no"}'), { ok: false, detail: 'no' });
  assert.deepEqual(parseReplyLine('{"ok":true}'), { ok: true });
  assert.equal(parseReplyLine('{"ok":"yes"}')?.ok, false);
});

test('pauses double from 0.2 s, jittered by a fifth, and none is longer than 30 s', () => {
  const middle = (n: number) => pauseMs(n, () => 0.5);
  assert.deepEqual([0, 1, 2, 3].map(middle), [200, 400, 800, 1600]);
  assert.equal(middle(20), 25_000);
  assert.equal(middle(1000), 25_000);
  fc.assert(
    fc.property(fc.nat(50), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (n, random) => {
      const ms = pauseMs(n, () => random);
      const ratio = ms / middle(n);
      return ms <= 30_000 && ratio >= 0.8 - 1e-9 && ratio <= 1.2 + 1e-9;
    }),
  );
});

test('what may pass is tried again; what may not is thrown at once; a bound ends it', async () => {
  const { signal } = new AbortController();
  let tries = 0;
  const twice = async () => {
    tries += 1;
    if (tries < 2) throw new Fault('host', 'not yet');
    return tries;
  };
  const options = { signal, log: SILENT, what: 'trying', mayPass: () => true };
  assert.equal(await persist(twice, options), 2);
  const fails = async () => {
    throw new Fault('host', 'never');
  };
  await assert.rejects(persist(fails, { ...options, mayPass: () => false }), /never/);
  await assert.rejects(persist(fails, { ...options, boundMs: 1 }), /never/);
  await assert.rejects(persist(fails, { ...options, signal: AbortSignal.abort() }), /never/);
});

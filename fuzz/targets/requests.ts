// Lines of the supervisor's socket and FIFO: a request of the protocol or nothing, an answer's file that lies where answers do.

import assert from 'node:assert/strict';
import { mesosContainerId } from '../../src/container/identity.ts';
import {
  LINE_BYTES_MAX,
  parseReplyLine,
  parseRequestLine,
  replyLine,
  requestLine,
} from '../../src/supervisor/protocol.ts';
import type { Random } from '../engine/random.ts';
import type { Target } from '../engine/target.ts';

const OPS = ['run', 'hold', 'update', 'destroy', 'ready', 'relieve', 'toString', 'RUN', ''];
const NAMES = [
  'op',
  'container',
  'by',
  'answerIn',
  'version',
  'records',
  'ok',
  'detail',
  '__proto__',
  'toString',
];
const TEXTS = [
  ...OPS,
  'c-1',
  '..',
  'a/b',
  'answer.1.2.tmp',
  'answer.1.2.tmp\n',
  '../answer.1.2.tmp',
  '1.2.3',
  '\0',
];

export function target(): Target {
  return {
    dictionary: [
      ...NAMES.map((name) => `"${name}":`),
      ...TEXTS.map((text) => JSON.stringify(text)),
      ...['{', '}', '[', ']', ',', 'null', 'true', 'false', '0', '1e999', '{}', '\n'],
    ],
    make: (random) => Buffer.from(JSON.stringify(request(random))),
    run(input) {
      const line = input.toString('utf8');
      const asked = parseRequestLine(line);
      const reply = parseReplyLine(line);
      if (reply !== undefined) assert.deepEqual(parseReplyLine(replyLine(reply)), reply);
      if (asked === undefined) return;
      const { request: read, by, answerIn } = asked;
      assert.ok(OPS.slice(0, 6).includes(read.op));
      if ('container' in read) assert.equal(mesosContainerId(read.container), read.container);
      if (answerIn !== undefined) assert.match(answerIn, /^answer\.[0-9]+\.[0-9]+\.tmp$/);
      if (by === undefined) return;
      const again = requestLine(read, by, answerIn);
      assert.ok(!again.slice(0, -1).includes('\n') && again.endsWith('\n'));
      assert.ok(again.length <= LINE_BYTES_MAX * 2);
      if (Number.isFinite(by.records)) assert.deepEqual(parseRequestLine(again), asked);
    },
  };
}

function request(random: Random): unknown {
  const own = Object.fromEntries(
    random.several(3, () => [random.pick(NAMES), random.pick([null, 1, true, ...TEXTS, {}, []])]),
  );
  const usual = {
    op: random.pick(OPS),
    container: random.pick(TEXTS),
    by: { version: '1.2.3', records: random.below(3) },
    answerIn: random.pick(TEXTS),
  };
  return random.oneIn(2) ? usual : { ...usual, ...own };
}

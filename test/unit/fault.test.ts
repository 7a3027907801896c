// Holds that foreign text stays text: on its line, in its order, and nothing that a terminal obeys.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { escapeControl, Fault, oneLine } from '../../src/fault.ts';
import { CONTROL, HOSTILE, OBEYED } from '../support/control.ts';

test('nothing that a terminal or a log obeys is left of a text, and twice is the same as once', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.string({ unit: fc.constantFrom(...CONTROL, 'a', '\\', 'ü') }),
      ),
      (text) => {
        const escaped = escapeControl(text);
        assert.doesNotMatch(escaped, OBEYED);
        assert.equal(escapeControl(escaped), escaped);
        if (!OBEYED.test(text)) assert.equal(escaped, text);
      },
    ),
  );
  for (const one of CONTROL) assert.match(escapeControl(one), /^\\(?:[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4})$/);
});

test('whatever was thrown is one line', () => {
  const expected =
    'a\\x1b]0;owned\\x07\\x1b[31m\\x9b32m\\r\\nJan 1 00:00:00 deimos[1]: forged\\u2028x\\u202egnp.exe\\u2066';
  for (const thrown of [HOSTILE, new Error(HOSTILE), new Fault('docker', HOSTILE)])
    assert.equal(oneLine(thrown), expected);
});

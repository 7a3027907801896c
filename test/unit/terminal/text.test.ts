import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { bytesInWords, durationInWords, jsonText, shorten, widthOf } from '../../../src/terminal/text.ts';
import { CONTROL, OBEYED } from '../../support/control.ts';

const anyText = fc.string({ unit: fc.constantFrom(...CONTROL, 'a', '"', '\\', 'ü', '🚀') });

it('a text takes the cells that a terminal gives it', () => {
  const widths = { '': 0, abc: 3, äöü: 3, 'a\u0308': 1, 日本: 4, '🚀': 2, 'a\u200bb': 2 };
  for (const [text, width] of Object.entries(widths))
    assert.equal(widthOf(text), width, JSON.stringify(text));
});

it('a text is cut off where it does not fit, and the mark says so', () => {
  assert.equal(shorten('abcdef', 6, '…'), 'abcdef');
  assert.equal(shorten('abcdef', 5, '…'), 'abcd…');
  assert.equal(shorten('日本語', 4, '~'), '日~');
  assert.equal(shorten('日本語', 1, '~'), '~');
  assert.equal(shorten('abc', 0, '~'), '');
});

it('JSON says the same, and has nothing that a terminal would obey', () => {
  fc.assert(
    fc.property(fc.dictionary(anyText, anyText), (value) => {
      const text = jsonText({ value });
      assert.deepEqual(JSON.parse(text), { value: { ...value } });
      assert.doesNotMatch(text.replaceAll('\n', ''), OBEYED);
    }),
  );
  assert.equal(jsonText(['\x1b\x9b\u202e']), '[\n  "\\u001b\\u009b\\u202e"\n]');
});

it('bytes are said with two or three digits in units of 1024', () => {
  const words: readonly (readonly [number, string])[] = [
    [0, '0'],
    [1023, '1023'],
    [1024, '1K'],
    [1536, '1.5K'],
    [10 * 1024, '10K'],
    [1023.7 * 1024, '1M'],
    [512 * 1024 ** 2, '512M'],
    [1.25 * 1024 ** 3, '1.3G'],
    [9.97 * 1024 ** 3, '10G'],
    [3 * 1024 ** 6, '3072P'],
  ];
  for (const [bytes, text] of words) assert.equal(bytesInWords(bytes), text);
});

it('a duration is said in at most two units, rounded down', () => {
  const words: readonly (readonly [number, string])[] = [
    [-5, '0s'],
    [999, '0s'],
    [59_999, '59s'],
    [60_000, '1m'],
    [3_599_999, '59m'],
    [3_600_000, '1h'],
    [7_500_000, '2h 5m'],
    [86_400_000, '1d'],
    [100 * 86_400_000 + 3 * 3_600_000 + 59_000, '100d 3h'],
  ];
  for (const [ms, text] of words) assert.equal(durationInWords(ms), text);
});

// The language of the file. The oracle is Python 2.7.18's own SafeConfigParser: safe-config-parser.json holds what it
// made of 300 generated files (raw and interpolated values; the lines that it refused).

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import ini from 'ini';
import {
  fromIniPackage,
  readIniText,
  type Sections,
  toIniPackageText,
} from '../../../src/config/ini-text.ts';
import { canonicalKey, findEntry, interpolation } from '../../../src/config/interpolate.ts';
import { isFault } from '../../../src/fault.ts';

interface OracleCase {
  readonly text: string;
  readonly malformed?: readonly number[];
  readonly sections?: Readonly<
    Record<string, Readonly<Record<string, { raw: string; value: string | null }>>>
  >;
}

const oracle: readonly OracleCase[] = JSON.parse(
  readFileSync(join(import.meta.dirname, 'safe-config-parser.json'), 'utf8'),
);

function throughPackage(text: string): Sections {
  return fromIniPackage(ini.parse(toIniPackageText(readIniText(text))));
}

function resolved(sections: Sections, section: string, key: string): string | null {
  const entry = findEntry(sections, section, canonicalKey(key));
  assert.ok(entry, `[${section}] ${key} is missing`);
  try {
    return interpolation(sections)(section, entry.value);
  } catch (error) {
    if (!isFault(error, 'config')) throw error;
    return null;
  }
}

test('reads every generated file as the SafeConfigParser of Python 2.7 did', () => {
  assert.equal(oracle.length, 300);
  for (const { text, malformed, sections } of oracle) {
    const read = readIniText(text);
    if (malformed) {
      // Python gives up at once where there is no section yet; its list then has that line alone.
      const lines = read.malformed.map(({ line }) => line).slice(0, malformed.length);
      assert.deepEqual(lines, malformed, text);
      continue;
    }
    assert.deepEqual(read.malformed, [], text);
    const seen = throughPackage(text);
    const names = [...seen.keys()].filter((name) => name !== 'DEFAULT');
    assert.deepEqual(names.sort(), Object.keys(sections ?? {}).sort(), text);
    for (const [section, keys] of Object.entries(sections ?? {})) {
      for (const [key, { raw, value }] of Object.entries(keys)) {
        const where = `[${section}] ${key} in ${JSON.stringify(text)}`;
        assert.equal(findEntry(seen, section, canonicalKey(key))?.value, raw, where);
        assert.equal(resolved(seen, section, key), value, where);
      }
    }
  }
});

const rules: readonly (readonly [rule: string, text: string, value: string])[] = [
  ['a colon separates', '[s]\nk: v', 'v'],
  ['an equals sign separates', '[s]\nk = v', 'v'],
  ['the first of both separates', '[s]\nk: a=b:c', 'a=b:c'],
  ['keys have no case', '[s]\nK: v', 'v'],
  ['continuation lines are joined by newlines', '[s]\nk: ["a",\n  "b"\n\t]', '["a",\n"b"\n]'],
  ['a comment at the start of a line does not end a value', '[s]\nk: a\n# no\n; no\nrem no\n\n b', 'a\nb'],
  ['what is indented under a key is its value, a # too', '[s]\nk: a\n  # b', 'a\n# b'],
  ['a ; behind a blank begins a comment', '[s]\nk: a ; b', 'a'],
  ['a ; behind anything else does not', '[s]\nk: a;b ; c', 'a;b ; c'],
  ['a # never does within a line', '[s]\nk: a # b', 'a # b'],
  ['two quotes are nothing', '[s]\nk: ""', ''],
  ['other quotes stay', '[s]\nk: "a"', '"a"'],
  ['a later value wins', '[s]\nk: a\nk: b', 'b'],
  ['a section may be continued further down', '[s]\nk: a\n[t]\n[s]\nl: b', 'a'],
  ['what follows a section name is ignored', '[s] ; x\nk: a', 'a'],
  ['carriage returns are blanks', '[s]\r\nk: a\r\n  b\r\n', 'a\nb'],
  ['words of other languages stay words', '[s]\nk: true', 'true'],
  ['a section without its key takes that of [DEFAULT]', '[DEFAULT]\nk: d\n[s]\nl: x', 'd'],
  ['its own goes before that of [DEFAULT]', '[s]\nk: x\n[DEFAULT]\nk: d', 'x'],
  ['%% is a per cent sign', '[s]\nk: 50%%', '50%'],
  ['%(name)s is the value of another key', '[s]\nk: %(L)s/x\nl: a%%', 'a%/x'],
  ['%(name)s sees [DEFAULT]', '[DEFAULT]\nbase: /b\n[s]\nk: %(base)s/c', '/b/c'],
];
for (const [rule, text, value] of rules) {
  test(`the file format: ${rule}`, () => {
    assert.deepEqual(readIniText(text).malformed, []);
    assert.equal(resolved(throughPackage(text), 's', 'k'), value);
  });
}

test('a circle of references ends in an error, not in a loop', () => {
  assert.equal(resolved(readIniText('[s]\nk: %(l)s\nl: %(k)s').sections, 's', 'k'), null);
});

test('- and _ in a key are the same, and the later of both counts', () => {
  const { sections } = readIniText('[s]\nstop-timeout: 1\nstop_timeout: 2\n[t]\nlog-size: 3');
  assert.equal(findEntry(sections, 's', 'stop_timeout')?.value, '2');
  assert.equal(findEntry(sections, 't', 'log_size')?.line, 5);
});

test('names the line of each section, key and unreadable line', () => {
  const { sections, malformed } = readIniText('# c\n\n[s]\nk: a\n  b\nnonsense\nl = c');
  assert.equal(sections.get('s')?.line, 3);
  assert.equal(sections.get('s')?.entries.get('k')?.line, 4);
  assert.equal(sections.get('s')?.entries.get('l')?.line, 7);
  assert.deepEqual(malformed, [{ line: 6, text: 'nonsense' }]);
});

const nasty = fc.string({
  unit: fc.constantFrom(...'[]=:;#"\'\\.\n\r\t %()s-_akD1\u2028\u00a0', '__proto__', '\n[s]\nk: '),
  maxLength: 60,
});

test('the ini package gives back exactly what was prepared for it', () => {
  fc.assert(
    fc.property(nasty, (text) => {
      assert.deepEqual(throughPackage(text), readIniText(text).sections);
    }),
    { numRuns: 2000 },
  );
});

test('a megabyte of blanks is read in proportion to its length', { timeout: 10_000 }, () => {
  const { sections } = readIniText(`[s]\nk: a${' '.repeat(1024 ** 2)}b`);
  assert.equal(sections.get('s')?.entries.get('k')?.value.length, 1024 ** 2 + 2);
});

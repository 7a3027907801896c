// Holds the rules of style in src/, test/, scripts/, bench/ and fuzz/, and shows that each rule finds what breaks it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSources, type SourceFile } from './source.ts';
import * as rules from './style-rules.ts';

const product = readSources('src/**/*.ts');
const everything = readSources('{src,test,scripts,bench,fuzz}/**/*.ts');
const tests = readSources('test/**/*.test.ts');

interface Case {
  readonly holds: string;
  readonly rule: (files: readonly SourceFile[]) => string[];
  readonly files: readonly SourceFile[];
  /** Texts, or paths for a rule about names; each breaks the rule. */
  readonly bad: readonly string[];
  readonly good: readonly string[];
  readonly about?: 'path';
}

const cases: readonly Case[] = [
  {
    holds: 'nothing is any',
    rule: rules.noAny,
    files: everything,
    bad: [
      'let x: any;',
      'f(x as any)',
      'const a: Array<any> = b;',
      'type X = any;',
      'f: () => any;',
      'x: any[]',
    ],
    good: ['// any\n', "const x = 'a: any';", 'any(x)', 'const many: company = 1;'],
  },
  {
    holds: 'no module keeps state in a variable',
    rule: rules.noModuleState,
    files: product,
    bad: ['let count = 0;', 'export let x: number;', 'const a = 1;\nvar b = 2;', 'let { a } = b;'],
    good: ['function f() {\n  let x = 1;\n}', 'const x = 1;', 'const x = `\nlet y = 1;\n`;'],
  },
  {
    holds: 'no file only passes on what others export',
    rule: rules.noBarrel,
    files: everything,
    bad: ["export * from './a.ts';", "export * as b from './a.ts';"],
    good: ["export { x } from './a.ts';"],
  },
  {
    holds: 'no file is called index.ts',
    rule: rules.noBarrel,
    files: everything,
    bad: ['src/host/index.ts'],
    good: ['src/host/reindex.ts'],
    about: 'path',
  },
  {
    holds: 'file names are in kebab-case and say what is inside',
    rule: rules.namesSayWhat,
    files: everything,
    bad: [
      'src/host/logSinks.ts',
      'src/host/utils.ts',
      'src/common/a.ts',
      'src/host/process-manager.ts',
      'src/A.ts',
    ],
    good: ['src/host/log-sinks.ts', 'test/unit/host/log.test.ts'],
    about: 'path',
  },
  {
    holds: 'every file opens by saying what it owns',
    rule: rules.opensWithComment,
    files: product,
    bad: ["import a from 'a';", `${'// too long\n'.repeat(13)}code`],
    good: ['// Owns a.\n// Never b.\ncode'],
  },
  {
    holds: 'no test is left out without a reason',
    rule: rules.testsRunAndSayWhyNot,
    files: tests,
    bad: [
      'test.only(',
      'test.skip(',
      'describe.only(',
      'test({ only: true })',
      'test({ skip: true })',
      't.skip()',
      't.skip()',
    ],
    good: ["test('a', { skip: lacking('docker') }", "t.skip('no dockerd')", '// test.only', "'test.only('"],
  },
  {
    holds: 'every test asserts something',
    rule: rules.testsAssert,
    files: tests,
    bad: [
      "test('a', () => {\n  run();\n});",
      "test('a', async () => {});",
      "test('assert', () => f());",
      "function f() {\n  g();\n}\ntest('a', () => {\n  f();\n});\nassert.ok(1);",
    ],
    good: [
      "test('a', () => assert.equal(1, 1));",
      "function f(x: T): void {\n  assert.ok(x);\n}\nfunction g() {\n  f(1);\n}\ntest('a', () => g());",
      "test('a', () => expectGone(1));",
      "const f = (x: T) => assert.ok(x);\ntest('a', () => f(1));",
    ],
  },
];

for (const { holds, rule, files, bad, good, about } of cases) {
  test(holds, () => {
    assert.deepEqual(rule(files), []);
    const sample = (value: string) =>
      about === 'path' ? { path: value, text: '' } : { path: 'src/host/sample.ts', text: value };
    for (const value of bad) assert.notDeepEqual(rule([sample(value)]), [], `not found: ${value}`);
    for (const value of good) assert.deepEqual(rule([sample(value)]), []);
  });
}

// Holds the direction of imports in src/, and shows that each rule finds what breaks it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as rules from './import-rules.ts';
import { importsOf, readSources, type SourceFile } from './source.ts';

const sources = readSources('src/**/*.ts');

function file(path: string, text: string): SourceFile {
  return { path, text };
}

test('imports are told apart by when they load', () => {
  const text = [
    "import a, { b } from 'a';",
    "import type { C } from './c.ts';",
    "import { type D } from '../d.ts';",
    "import {\n  e,\n  f,\n} from 'node:e';",
    "import 'g';",
    "export { h } from './h.ts';",
    "export type { I } from './i.ts';",
    "// import x from 'comment';",
    'const no = "import y from \'string\'";',
    "const late = await import('./late.ts');",
    "import type from './named-type.ts';",
  ].join('\n');
  assert.deepEqual(
    importsOf(file('src/host/x.ts', text)).map(({ target, kind }) => `${kind} ${target}`),
    [
      'static a',
      'type src/host/c.ts',
      'static src/d.ts',
      'static node:e',
      'static g',
      'static src/host/h.ts',
      'type src/host/i.ts',
      'static src/host/named-type.ts',
      'lazy src/host/late.ts',
    ],
  );
});

interface Case {
  readonly holds: string;
  readonly rule: (files: readonly SourceFile[]) => string[];
  /** Each of these sets of files breaks the rule at exactly one place. */
  readonly bad: readonly (readonly SourceFile[])[];
  readonly good?: readonly SourceFile[];
}

const cases: readonly Case[] = [
  {
    holds: 'imports run one way: main, cli, commands, supervisor, the parts, host',
    rule: rules.importDirection,
    bad: [
      [file('src/host/a.ts', "import { x } from '../config/schema.ts';")],
      [file('src/docker/a.ts', "import type { X } from '../mesos/upid.ts';")],
      [file('src/state/a.ts', "const x = await import('../docker/client.ts');")],
      [file('src/config/a.ts', "export { x } from '../state/layout.ts';")],
      [file('src/commands/a.ts', "import { x } from '../cli/help.ts';")],
      [file('src/supervisor/a.ts', "import { x } from '../commands/wait.ts';")],
      [file('src/container/a.ts', "import type { X } from '../supervisor/server.ts';")],
      [file('src/host/a.ts', "import { main } from '../main.ts';")],
      [file('src/host/a.ts', "import pkg from '../../package.json';")],
      [file('src/elsewhere/a.ts', '')],
    ],
    good: [
      file('src/main.ts', "import { x } from './cli/table.ts';\nimport { y } from './host/log.ts';"),
      file('src/docker/a.ts', "import { Fault } from '../fault.ts';\nimport D from 'dockerode';"),
    ],
  },
  {
    holds: 'commands speak with the supervisor through its client alone',
    rule: rules.supervisorOnlyThroughClient,
    bad: [
      [file('src/commands/wait.ts', "import { x } from '../supervisor/server.ts';")],
      [file('src/commands/wait.ts', "import type { X } from '../supervisor/server.ts';")],
      [file('src/cli/a.ts', "const x = import('../supervisor/server.ts');")],
    ],
    good: [
      file('src/commands/wait.ts', "import { x } from '../supervisor/client.ts';"),
      file('src/commands/supervise.ts', "import { x } from '../supervisor/supervise.ts';"),
    ],
  },
  {
    holds: 'container/ is pure: no Node, no clock, no chance, nothing but types from elsewhere',
    rule: rules.containerIsPure,
    bad: [
      [file('src/container/a.ts', "import { join } from 'node:path';")],
      [file('src/container/a.ts', "import type { Socket } from 'node:net';")],
      [file('src/container/a.ts', "import { defaults } from '../config/schema.ts';")],
      [file('src/container/a.ts', "import { parse } from 'ini';")],
      [file('src/container/a.ts', 'const x = process.env;')],
      [file('src/container/a.ts', 'const x = Date.now();')],
      [file('src/container/a.ts', 'const x = new Date();')],
      [file('src/container/a.ts', 'setTimeout(f, 1);')],
      [file('src/container/a.ts', 'const x = Math.random();')],
    ],
    good: [
      file('src/container/a.ts', "import type { Config } from '../config/schema.ts';\n// process.env\n"),
      file('src/container/b.ts', "import { Fault } from '../fault.ts';\nconst x = new Date(0);\nx.process;"),
    ],
  },
  {
    holds: 'the verbs that a slave calls often load neither dockerode nor cac nor ini',
    rule: rules.hotFilesAreLight,
    bad: [
      [file('src/commands/usage.ts', "import D from 'dockerode';")],
      [file('src/main.ts', "import { cac } from 'cac';")],
      [
        file('src/commands/wait.ts', "import { x } from '../config/load.ts';"),
        file('src/config/load.ts', "export { y } from './parse.ts';"),
        file('src/config/parse.ts', "import ini from 'ini';"),
      ],
    ],
    good: [
      file('src/commands/usage.ts', "import type D from 'dockerode';\nconst x = () => import('cac');"),
      file('src/commands/plan.ts', "import D from 'dockerode';"),
    ],
  },
  {
    holds: 'only main.ts ends the process',
    rule: rules.onlyMainEndsTheProcess,
    bad: [
      [file('src/cli/a.ts', 'process.exit(1);')],
      [file('src/commands/a.ts', 'process.exitCode = 1;')],
      [file('src/host/a.ts', 'process.abort();')],
    ],
    good: [
      file('src/main.ts', 'process.exitCode = 1;'),
      file('src/host/a.ts', '// process.exit(1)\nchild.exitCode;'),
    ],
  },
];

for (const { holds, rule, bad, good = [] } of cases) {
  test(holds, () => {
    assert.deepEqual(rule(sources), []);
    assert.deepEqual(rule(good), []);
    for (const files of bad)
      assert.equal(rule(files).length, 1, `not found: ${files.map((f) => f.text).join(' | ')}`);
  });
}

test('every relative import leads to a file, and the hot verbs are where the rules look for them', () => {
  assert.deepEqual(rules.nothingIsMissing(sources), []);
  assert.ok(
    rules.nothingIsMissing([file('src/host/a.ts', "import './gone.ts';")]).some((line) => /gone/.test(line)),
  );
  assert.ok(rules.nothingIsMissing([]).some((line) => /src\/commands\/usage.ts/.test(line)));
});

// The configuration file: what cannot be read is a Fault of one line, what can be is written so that it reads the same, and
// the verbs' shorter way to root and log levels agrees.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { parseConfig } from '../../src/config/parse.ts';
import { renderConfig } from '../../src/config/render.ts';
import { rootOf } from '../../src/config/root.ts';
import { CONFIG_KEYS } from '../../src/config/schema.ts';
import type { Random } from '../engine/random.ts';
import { attempt, checkShown, type Target } from '../engine/target.ts';

const FILE = '/etc/deimos.cfg';
const SECTIONS = ['docker', 'DEFAULT', '__proto__', ...Object.keys(CONFIG_KEYS)];
const KEYS = [
  'host',
  'H',
  'tlsverify',
  '--log-level',
  'a',
  'b',
  'constructor',
  ...Object.values(CONFIG_KEYS).flat(),
];
const VALUES = [
  ...[
    'true',
    'false',
    '1',
    'no',
    '2',
    '90s',
    '1.5',
    '24h',
    '7d',
    '100m',
    '2g',
    '1024k',
    '31000',
    '65536',
    'DEBUG',
    'notset',
  ],
  ...[
    '["-e", "A=b"]',
    '[]',
    '[1, "x"]',
    '["a;b"]',
    '[1e999]',
    '/var/lib/deimos',
    '//a/./b',
    '/a/../b',
    '"quoted"',
    "'x'",
  ],
  ...[
    'docker:///ubuntu',
    '%(a)s',
    '%(b)s%(b)s',
    '%%',
    '%',
    '%(',
    '%(__name__)s',
    'é',
    '\ufffd',
    '\u2028',
    'a ; b',
    ';x',
    '',
  ],
];

export function target(): Target {
  return {
    dictionary: [
      ...SECTIONS.map((name) => `[${name}]\n`),
      ...KEYS.map((key) => `${key}: `),
      ...VALUES,
      ...[
        '\n',
        '\n  ',
        '\r\n',
        '\t',
        ' ; comment',
        '# comment\n',
        'rem x\n',
        '=',
        ':',
        '\0',
        '\x1b[31m',
        '\u0085',
        '[',
        ']',
      ],
      ...['a: %(b)s%(b)s\nb: %(c)s%(c)s\nc: %(a)s\n', '\\', '"'],
    ],
    maxBytes: 16_384,
    make: (random) => Buffer.from(random.several(6, () => section(random)).join('')),
    run(input) {
      const text = input.toString('utf8');
      const { value, fault } = attempt(['config'], () => parseConfig(text, FILE));
      const short = rootOf(text, FILE);
      if (short.problem !== undefined) checkShown(short.problem);
      if (value === undefined) {
        assert.match(fault?.message ?? '', /^\/etc\/deimos\.cfg:\d+: /);
        checkShown(fault?.message ?? '');
        return;
      }
      const { config, warnings } = value;
      for (const warning of warnings) checkShown(warning.text);
      assert.deepEqual({ root: short.root, log: short.log }, { root: config.state.root, log: config.log });
      const rendered = renderConfig(config, FILE);
      const again = parseConfig(rendered, FILE);
      assert.ok(isDeepStrictEqual(again.config, config), 'written down it reads differently');
    },
  };
}

function section(random: Random): string {
  const name = random.pick(SECTIONS);
  const own = Object.entries(CONFIG_KEYS).find(([known]) => known === name)?.[1];
  const lines = random.several(6, () => {
    const key = own !== undefined && !random.oneIn(4) ? random.pick(own) : random.pick(KEYS);
    const value = random.oneIn(8) ? random.text(VALUES, 5) : random.pick(VALUES);
    return `${key}${random.pick([': ', '=', ':', ' = '])}${value}${random.oneIn(10) ? `\n  ${random.pick(VALUES)}` : ''}\n`;
  });
  return `[${name}]\n${lines.join('')}`;
}

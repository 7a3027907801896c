// A create request as a line that a person could give a shell: taken apart again by the shell's own rules of quoting, it has
// the words that went in, and no value of a variable is on it.

import assert from 'node:assert/strict';
import type { CreateBody, CreateRequest, Json } from '../../src/container/create-request.ts';
import { dockerRunLine, quote } from '../../src/container/docker-run-line.ts';
import { Choices } from '../engine/choices.ts';
import type { Random } from '../engine/random.ts';
import type { Target } from '../engine/target.ts';

const WORDS = [
  'a',
  "'",
  '"',
  '$HOME',
  '`id`',
  '\\',
  '\n',
  ' ',
  '!',
  '*',
  '~',
  '#',
  ';',
  '&',
  '{a,b}',
  '-e',
  'A=b',
];
const SECRET = 's3cret';
const KEYS = [
  ...[
    'Env',
    'Labels',
    'Cmd',
    'Entrypoint',
    'User',
    'Tty',
    'ExposedPorts',
    'Volumes',
    'StopTimeout',
    'Healthcheck',
    'Hostname',
  ],
];
const HOST_KEYS = [
  ...[
    'Binds',
    'Mounts',
    'NetworkMode',
    'PortBindings',
    'Memory',
    'NanoCpus',
    'LogConfig',
    'RestartPolicy',
    'Tmpfs',
    'Ulimits',
  ],
  ...['Sysctls', 'CapAdd', 'Privileged', 'MemorySwappiness', 'DeviceRequests'],
];

export function target(): Target {
  return {
    dictionary: [],
    maxBytes: 512,
    make: (random) => random.bytes(8 + random.below(160)),
    run(input) {
      const from = new Choices(input);
      const word = from.text(WORDS, 6);
      assert.deepEqual(unquoted(quote(word)), [word]);
      const given = from.several(3, () => from.text(WORDS, 3));
      const request: CreateRequest = { query: from.oneIn(2) ? { name: 'n' } : {}, body: body(from, given) };
      const { line, notShown } = dockerRunLine(request);
      const shown = unquoted(line);
      assert.deepEqual(shown.slice(0, 3), ['docker', 'run', '--detach']);
      assert.ok(!shown.includes(`A=${SECRET}`), 'the value of a variable is shown');
      if (given.length > 0)
        assert.deepEqual(shown.slice(-given.length), given, 'another command than was asked for');
      assert.ok(notShown.every((key) => [...KEYS, ...HOST_KEYS].includes(key.replace('HostConfig.', ''))));
    },
  };
}

/** What Docker's documentation has at these keys, and now and then something else. */
function body(from: Random, command: readonly string[]): CreateBody {
  const some = (keys: readonly string[]): Record<string, Json> =>
    Object.fromEntries(from.several(6, () => from.pick(keys)).map((key) => [key, json(from, 0)]));
  // The types of keys are Docker's: here they are to be anything.
  return {
    ...some(KEYS),
    Entrypoint: null,
    Image: 'image:1',
    Cmd: command,
    Env: [`A=${SECRET}`, 'B'],
    HostConfig: some(HOST_KEYS),
  } as CreateBody;
}

function json(from: Random, depth: number): Json {
  switch (from.below(depth > 2 ? 5 : 7)) {
    case 0:
      return null;
    case 1:
      return from.oneIn(2);
    case 2:
      return from.edge();
    case 3:
    case 4:
      return from.text(WORDS, 3);
    case 5:
      return from.several(3, () => json(from, depth + 1));
    default:
      return Object.fromEntries(
        from.several(3, () => [
          from.pick(['Type', 'Name', 'Config', 'HostPort', 'toString', 'Source', '80/tcp']),
          json(from, depth + 1),
        ]),
      );
  }
}

/** Of bash's own quotes, behind a dollar sign: what stands for a character that no terminal may be sent. */
const OF_BASH = /^\$'((?:[^'\\]|\\.)*)'/s;

function unescaped(text: string): string {
  return text.replace(
    /\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|(.))/gs,
    (_, byte?: string, unit?: string, itself?: string) => {
      const code = byte ?? unit;
      if (code !== undefined) return String.fromCharCode(Number.parseInt(code, 16));
      assert.match(itself ?? '', /^[\\']$/, 'an escape that bash does not know');
      return itself ?? '';
    },
  );
}

/**
 * The words of a line by the shell's rules for what `quote` uses: blanks, single quotes, a backslash before one character, and
 * bash's quotes.
 */
function unquoted(line: string): readonly string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (let at = 0; at < line.length; at++) {
    const character = line.charAt(at);
    const bash = character === '$' ? OF_BASH.exec(line.slice(at)) : null;
    if (bash !== null) {
      word = (word ?? '') + unescaped(bash[1] ?? '');
      at += bash[0].length - 1;
    } else if (character === ' ') {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (character === "'") {
      const end = line.indexOf("'", at + 1);
      assert.ok(end >= 0, 'a quote without an end');
      word = (word ?? '') + line.slice(at + 1, end);
      at = end;
    } else if (character === '\\') {
      at += 1;
      word = (word ?? '') + line.charAt(at);
    } else {
      assert.match(character, /[A-Za-z0-9_@%+=:,./-]/, 'a bare character that a shell takes for its own');
      word = (word ?? '') + character;
    }
  }
  return word === undefined ? words : [...words, word];
}

// From a task's words to those of `docker run`: no word is lost or invented, nothing behind `//` becomes an option, and no
// word has a NUL. What must come out is said here once more, for the old form word by word.

import assert from 'node:assert/strict';
import type { Config } from '../../src/config/schema.ts';
import { mesosContainerId } from '../../src/container/identity.ts';
import { splitWords, taskOptions } from '../../src/container/options.ts';
import type { NewContainer, OldContainer, TaskRequest } from '../../src/container/task.ts';
import { Choices } from '../engine/choices.ts';
import type { Random } from '../engine/random.ts';
import type { Target } from '../engine/target.ts';

const WORDS = [
  ...[
    '-p',
    '80:80',
    '-p 80:80',
    '--net',
    '--net=host',
    '--network',
    '--network=none',
    'bridge',
    '//',
    '-e',
    'A=b',
    '-e A=b c',
  ],
  ...[
    '--label=a=b c',
    '--',
    '-',
    '',
    ' ',
    '-it',
    '--privileged',
    '-v',
    '/:/host',
    '--net  host',
    '-x \n y',
    '--a-b\tc',
  ],
];
const NETWORK = /^--net(work)?($|=)/;
const NETWORKS = ['HOST', 'BRIDGE', 'NONE', 'USER'] as const;

export function target(): Target {
  return {
    dictionary: [],
    maxBytes: 512,
    make: (random) => random.bytes(8 + random.below(160)),
    run(input) {
      const from = new Choices(input);
      const config = { default: words(from), append: words(from), ignore: from.oneIn(4) };
      const isOld = from.below(2) === 0;
      const container = isOld ? oldContainer(from) : newContainer(from);
      const task = taskWith(container);
      const before = JSON.stringify([task, config]);
      const answer = taskOptions(task, config);
      assert.equal(JSON.stringify([task, config]), before, 'what was given has changed');
      if (!answer.ok) {
        assert.ok(answer.why.length > 0);
        return;
      }
      const all = [...answer.options, ...(answer.argv ?? [])];
      assert.ok(!all.some((word) => word.includes('\0')), 'a NUL in a word');
      if (container.form === 'old') checkOld(container.options, config, answer);
      else checkNew(container, config, answer);
    },
  };
}

function words(from: Random): string[] {
  return from.several(6, () => (from.oneIn(6) ? from.text(WORDS, 3) : from.pick(WORDS)));
}

function oldContainer(from: Random): OldContainer {
  return { form: 'old', image: 'docker:///a', options: words(from) };
}

function newContainer(from: Random): NewContainer {
  const port = (): number => (from.oneIn(8) ? from.edge() : 31_000 + from.below(4));
  return {
    form: 'new',
    type: 'DOCKER',
    network: from.pick(NETWORKS),
    ...(from.oneIn(2) ? { networkName: from.text(['net', '--privileged', ' '], 3) } : {}),
    portMappings: from.several(2, () => ({
      hostPort: port(),
      containerPort: port(),
      ...(from.oneIn(2) ? { protocol: from.pick(['tcp', 'UDP', 'x', '']) } : {}),
    })),
    privileged: from.oneIn(4),
    parameters: from.several(4, () => [
      from.pick(['net', 'label', 'env', 'e', '--x', '', 'a b']),
      from.text(WORDS, 3),
    ]),
    forcePull: false,
    ...(from.oneIn(4) ? { volumeDriver: from.text(['nfs'], 2) } : {}),
    volumes: from.several(3, () => ({
      containerPath: from.pick(['/data', 'data', '/a:b', '']) + from.text([','], 2),
      ...(from.oneIn(2)
        ? { hostPath: from.pick(['/srv', 'x', '../x', 'a/../b', '/a:b']) + from.text(['"', ','], 2) }
        : {}),
      mode: from.pick(['RW', 'RO'] as const),
      ...(from.oneIn(3)
        ? {
            dockerVolume: {
              name: from.text(['v', ','], 2),
              driverOptions: from.several(2, () => [from.text(['k'], 2), from.text(['v'], 2)] as const),
            },
          }
        : {}),
    })),
    ...(from.oneIn(4) ? { hostname: from.text(['h'], 2) } : {}),
  };
}

function taskWith(container: OldContainer | NewContainer): TaskRequest {
  const containerId = mesosContainerId('c-1');
  assert.ok(containerId !== undefined);
  return {
    kind: 'command',
    containerId,
    frameworkId: 'f',
    executorId: 'e',
    taskId: 't',
    name: 'n',
    sandbox: '/sand:box',
    slaveId: 's',
    checkpoint: false,
    command: { shell: true, arguments: [], environment: [], uris: [] },
    container,
    resources: { ports: [{ begin: 31_000, end: 31_003 }] },
  };
}

type Answer = { readonly options: readonly string[]; readonly argv?: readonly string[] };

/** Before and behind the first `//`. */
function halves(list: readonly string[]): {
  readonly before: readonly string[];
  readonly behind: readonly string[] | undefined;
} {
  const at = list.indexOf('//');
  return at < 0
    ? { before: list, behind: undefined }
    : { before: list.slice(0, at), behind: list.slice(at + 1) };
}

function checkOld(own: readonly string[], config: Config['options'], { options, argv }: Answer): void {
  const parts = [own.length > 0 && !config.ignore ? own : config.default, config.append].map(halves);
  const behind = parts.flatMap((part) => part.behind ?? []);
  assert.deepEqual(
    argv,
    parts.some((part) => part.behind !== undefined) ? behind : undefined,
    'the argv is another',
  );
  const last = parts.findLastIndex((part) => splitWords(part.before).some((word) => NETWORK.test(word)));
  // Of those before the last that names networks these are left out, and nothing else.
  const expected = parts.flatMap((part, i) =>
    i < last ? withoutNetworks(splitWords(part.before)) : splitWords(part.before),
  );
  assert.deepEqual(options, expected, 'other options than were given');
  checkSplit(parts.flatMap((part) => part.before));
}

/** One after the other, as the CLI takes them. */
function withoutNetworks(list: readonly string[]): readonly string[] {
  const kept: string[] = [];
  for (let at = 0; at < list.length; at++) {
    const word = list[at] ?? '';
    if (!NETWORK.test(word)) kept.push(word);
    else if (!word.includes('=')) at += 1;
  }
  return kept;
}

/** Put together again with one blank, the words are what they were, but for the blanks between an option and its value. */
function checkSplit(list: readonly string[]): void {
  for (const word of list) {
    const split = splitWords([word]);
    assert.ok(split.length === 1 || split.length === 2);
    if (split.length === 1) assert.equal(split[0], word);
    else assert.equal(split.join(''), word.replace(/[ \t]+/, ''));
  }
}

function checkNew(container: NewContainer, config: Config['options'], { options, argv }: Answer): void {
  const own = container.parameters.map(([key, value]) => `--${key}=${value}`);
  const isOwn =
    !config.ignore && (own.length > 0 || container.privileged || container.volumeDriver !== undefined);
  if (isOwn)
    for (const word of own) if (!NETWORK.test(word)) assert.ok(options.includes(word), `${word} is lost`);
  if (config.ignore)
    for (const word of options) assert.ok(!word.startsWith('--volume='), 'an option that is to be ignored');
  // The words of the new form are whole: nothing of them is raw argv.
  const behind = [isOwn ? [] : config.default, config.append].map((list) => halves(list).behind);
  assert.deepEqual(
    argv,
    behind.some((part) => part !== undefined) ? behind.flatMap((part) => part ?? []) : undefined,
  );
}

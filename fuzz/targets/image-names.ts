// Names of images, of tasks and of distributions: what is let through is a reference by Docker's grammar, read here a second
// time by hand, and never a word that the docker CLI would take for an option.

import assert from 'node:assert/strict';
import { DEFAULT_CONFIG } from '../../src/config/schema.ts';
import { chooseImage, type ImageAnswer, parseImageUrl, parseReference } from '../../src/container/image.ts';
import { parseOsRelease } from '../../src/host/os-release.ts';
import type { Target } from '../engine/target.ts';

const WORDS = [
  ...[
    'docker:///',
    'docker://',
    'busybox',
    'library/',
    'registry:5000/',
    'localhost/',
    '[::1]:5000/',
    'Host.example/',
  ],
  ...[
    ':latest',
    ':14.04',
    '@sha256:',
    'a'.repeat(32),
    '0'.repeat(64),
    '__',
    '_',
    '.',
    '-',
    '--',
    '/',
    ':',
    '@',
    'a',
    'Z',
    '9',
  ],
];
const OS_WORDS = [
  ...[
    'ID=debian\n',
    'VERSION_ID="12"\n',
    'ID="opensuse-leap"\n',
    "ID='centos'\n",
    'VERSION_ID=7.9\n',
    'ID=rhel\n',
    'ID=\n',
  ],
  ...[
    'PRETTY_NAME="Debian GNU/Linux bullseye/sid"\n',
    'VERSION_CODENAME=sid\n',
    'ID=amzn\n',
    'ID=arch\n',
    'ID=alpine\n',
  ],
  ...['VERSION_ID=3.21_alpha2\n', '\\"', '"', '='],
];

/** The first byte of an input says whether a name or an os-release file follows. */
export function target(): Target {
  return {
    dictionary: [...WORDS, ...OS_WORDS],
    maxBytes: 2048,
    make(random) {
      const isName = !random.oneIn(4);
      return Buffer.concat([
        Buffer.of(isName ? 0 : 1),
        Buffer.from(random.text(isName ? WORDS : OS_WORDS, 10)),
      ]);
    },
    run(input) {
      const text = input.toString('utf8', 1);
      if ((input[0] ?? 0) % 2 === 1) return checkGuess(text);
      check(parseReference(text), text);
      const path = /^docker:\/\/\/?(.*)$/s.exec(text)?.[1];
      const url = parseImageUrl(text);
      if (path === undefined) assert.equal(url.ok, false);
      else check(url, path);
      for (const form of ['old', 'new'] as const) {
        const container =
          form === 'old'
            ? { form, image: text, options: [] }
            : {
                form,
                type: 'DOCKER' as const,
                image: text,
                network: 'HOST' as const,
                portMappings: [],
                privileged: false,
                parameters: [],
                forcePull: false,
                volumes: [],
              };
        const chosen = chooseImage({ kind: 'command', container }, DEFAULT_CONFIG, {}, undefined);
        if (chosen.ok) assert.ok(isReference(chosen.image));
      }
    },
  };
}

function check(answer: ImageAnswer, text: string): void {
  if (!answer.ok) return;
  assert.ok(isReference(answer.image), `no reference: ${answer.image}`);
  assert.ok(answer.image === text || answer.image === `${text}:latest`, 'another image than was named');
  assert.deepEqual(parseReference(answer.image), answer);
}

function checkGuess(text: string): void {
  const os = parseOsRelease(text);
  for (const value of Object.values(os))
    assert.ok(typeof value === 'string' && value !== '' && !value.includes('\n'));
  for (const kind of ['command', 'executor'] as const) {
    const guess = chooseImage({ kind }, DEFAULT_CONFIG, {}, os);
    if (guess.ok) assert.ok(isReference(guess.image));
  }
}

/** distribution/reference: [domain/]path[:tag][@digest], told by taking it apart from behind. */
function isReference(reference: string): boolean {
  const at = reference.indexOf('@');
  if (at >= 0 && !isDigest(reference.slice(at + 1))) return false;
  const named = at >= 0 ? reference.slice(0, at) : reference;
  const colon = named.lastIndexOf(':');
  const hasTag = colon > named.lastIndexOf('/') && colon > named.lastIndexOf(']');
  if (hasTag && !isTag(named.slice(colon + 1))) return false;
  const name = hasTag ? named.slice(0, colon) : named;
  const components = name.split('/');
  const [first = '', ...rest] = components;
  const path = isPath(first) ? components : rest;
  return (
    name.length <= 255 && path.length > 0 && path.every(isPath) && (path === components || isDomain(first))
  );
}

function isPath(component: string): boolean {
  const pieces = component.split(/[a-z0-9]+/);
  return (
    /^[a-z0-9]/.test(component) &&
    /[a-z0-9]$/.test(component) &&
    pieces.every((separator) => ['', '.', '_', '__'].includes(separator) || /^-+$/.test(separator))
  );
}

function isDomain(text: string): boolean {
  const port = text.lastIndexOf(':') > text.lastIndexOf(']') ? text.lastIndexOf(':') : text.length;
  if (port < text.length && !/^[0-9]+$/.test(text.slice(port + 1))) return false;
  const host = text.slice(0, port);
  if (host.startsWith('[')) return host.endsWith(']') && /^[0-9a-fA-F:]+$/.test(host.slice(1, -1));
  return host
    .split('.')
    .every((label) => /^[A-Za-z0-9-]+$/.test(label) && !label.startsWith('-') && !label.endsWith('-'));
}

function isTag(text: string): boolean {
  return (
    text.length <= 128 && /^[A-Za-z0-9_.-]+$/.test(text) && !text.startsWith('.') && !text.startsWith('-')
  );
}

function isDigest(text: string): boolean {
  const [algorithm = '', hex = '', ...more] = text.split(':');
  return (
    more.length === 0 &&
    /^[0-9a-fA-F]{32,}$/.test(hex) &&
    algorithm.split(/[-_+.]/).every((part) => /^[A-Za-z][A-Za-z0-9]*$/.test(part))
  );
}

// A task's file of credentials: nothing of it is passed on but a login for the registry that the image names.

import assert from 'node:assert/strict';
import { parseReference } from '../../src/container/image.ts';
import { loginIn } from '../../src/container/registry-login.ts';
import type { Random } from '../engine/random.ts';
import type { Target } from '../engine/target.ts';

const IMAGES = [
  'ubuntu',
  'registry:5000/a',
  'localhost/a',
  'docker.io/a/b',
  'Host.example/a',
  'a.b/c/d@sha256:'.concat('0'.repeat(64)),
];
const SERVERS = [
  ...[
    'https://index.docker.io/v1/',
    'registry:5000',
    'https://registry:5000/v1/',
    'localhost',
    'docker.io',
    'host.example',
  ],
  ...['Host.example', 'a.b', '__proto__', 'http://a.b/x', 'credsStore', 'HttpHeaders'],
];
const FIELDS = ['auth', 'username', 'password', 'identitytoken', 'email', 'serveraddress', 'toString'];
const TEXTS = ['dXNlcjpwYXNz', 'dXNlcg==', 'OnB3', '!', '', 'a', 'user'];
const KEPT = ['auth', 'username', 'password', 'identitytoken'];

/** The first byte says which image, the rest is the file. */
export function target(): Target {
  return {
    dictionary: [
      ...SERVERS.map((server) => JSON.stringify(server)),
      ...FIELDS.map((name) => `"${name}":`),
      ...TEXTS.map((text) => JSON.stringify(text)),
      ...['{', '}', '"auths":', ',', '[', ']', 'null', '{}', '1e999', '\\u0000'],
    ],
    make: (random) => Buffer.concat([random.bytes(1), Buffer.from(JSON.stringify(file(random)))]),
    run(input) {
      const name = IMAGES[(input[0] ?? 0) % IMAGES.length] ?? '';
      const reference = parseReference(name);
      assert.ok(reference.ok);
      const answer = loginIn(input.toString('utf8', 1), reference.image);
      if (!answer.ok) {
        assert.match(answer.why, /^it is not|^its /);
        return;
      }
      if (answer.login === undefined) return;
      const { server, entry } = answer.login;
      const first = name.includes('/') ? name.slice(0, name.indexOf('/')) : '';
      const isHub = first === '' || first === 'docker.io';
      assert.equal(server, isHub ? 'https://index.docker.io/v1/' : first, 'for another registry');
      assert.ok(
        Object.keys(entry).length > 0 &&
          Object.entries(entry).every(
            ([key, text]) => KEPT.includes(key) && typeof text === 'string' && text !== '',
          ),
      );
      if (entry.auth !== undefined)
        assert.match(Buffer.from(entry.auth, 'base64').toString('latin1'), /^[^:]+:/s);
    },
  };
}

function file(random: Random): unknown {
  const entry = (): unknown =>
    random.oneIn(6)
      ? random.pick([null, 1, 'x', [], {}])
      : Object.fromEntries(
          random.several(4, () => [
            random.pick(FIELDS),
            random.oneIn(8) ? random.pick([null, 1, {}]) : random.pick(TEXTS),
          ]),
        );
  const auths = Object.fromEntries(random.several(5, () => [random.pick(SERVERS), entry()]));
  return random.oneIn(2) ? { auths, credsStore: 'x' } : auths;
}

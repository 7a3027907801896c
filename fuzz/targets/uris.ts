// A task's URIs and the members of its archives: nothing lands outside the sandbox, by a second reading of paths, and no
// password is shown.

import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { leavesArchive, planUris, STAGING_NAME, shownUri } from '../../src/container/uris.ts';
import type { Target } from '../engine/target.ts';

const WORDS = [
  ...[
    'http://',
    'https://',
    'ftp://',
    'FILE://',
    'file://localhost/',
    'hdfs://',
    's3n://',
    'x://',
    'u:p4ss@',
    'host',
    '/',
    '//',
    '.',
    '..',
  ],
  ...[
    '../',
    './',
    'a',
    '.tar.gz',
    '.tgz',
    '.zip',
    '.txz',
    '?token=p4ss',
    '#x',
    '%2e%2e',
    '%2f',
    STAGING_NAME,
    '@',
    ':',
    '\\',
  ],
];

/** The first byte: what else the task says of the URI. The rest: the URI, and behind a line end the name it is to have. */
export function target(): Target {
  return {
    dictionary: [...WORDS, '\n'],
    maxBytes: 1024,
    make(random) {
      const name = random.oneIn(3) ? `\n${random.text(WORDS, 5)}` : '';
      return Buffer.concat([random.bytes(1), Buffer.from(`${random.text(WORDS, 8)}${name}`)]);
    },
    run(input) {
      const flags = input[0] ?? 0;
      const [value = '', outputFile] = input.toString('utf8', 1).split('\n');
      const uri = {
        value,
        executable: (flags & 1) !== 0,
        extract: (flags & 2) !== 0,
        cache: false,
        ...(outputFile === undefined ? {} : { outputFile }),
      };
      const frameworksHome = (flags & 4) === 0 ? {} : { frameworksHome: '/frameworks/' };
      const answer = planUris({ uris: [uri], unpack: (flags & 8) !== 0, ...frameworksHome });
      if (answer.ok) checkFetch(answer.fetches[0], value, uri.executable);
      else assert.ok(answer.why.startsWith('uri '));
      checkSecrets(value);
      checkMember(value);
    },
  };
}

type Fetches = Extract<ReturnType<typeof planUris>, { ok: true }>['fetches'];

function checkFetch(fetch: Fetches[number] | undefined, value: string, executable: boolean): void {
  assert.ok(fetch !== undefined);
  const lands = posix.resolve('/sandbox', fetch.file);
  assert.equal(lands, `/sandbox/${fetch.file}`, 'it lands somewhere else');
  assert.ok(
    lands.startsWith('/sandbox/') &&
      !lands.startsWith(`/sandbox/${STAGING_NAME}/`) &&
      lands !== `/sandbox/${STAGING_NAME}`,
  );
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  assert.ok(!/[\u0000-\u001f\u007f]/.test(fetch.file));
  assert.ok(!executable || fetch.unpack === undefined);
  const { source } = fetch;
  if (source.by === 'copy')
    assert.ok(source.path.startsWith('/') && /^(?![a-z][a-z0-9+.-]*:\/\/)|^file:\/\//i.test(value));
  else assert.equal(source.url, value);
}

/** What stands before the last `@` of the authority, and behind the first `?`. */
function checkSecrets(value: string): void {
  const shown = shownUri(value);
  assert.equal(shownUri(shown), shown, 'shown again it is another');
  const [scheme = '', rest] = value.split(/:\/\/(.*)/s);
  if (!/^[A-Za-z][A-Za-z0-9+.-]*$/.test(scheme) || rest === undefined || /^file$/i.test(scheme)) return;
  const authority = rest.split(/[/?#]/)[0] ?? '';
  if (authority.includes('@')) assert.ok(shown.startsWith(`${scheme}://***@`), 'a password is shown');
  const query = rest.indexOf('?');
  if (query >= 0) assert.ok(shown.endsWith('?***'), 'a query is shown');
}

/** A name of an archive's member stays below, if every step on the way does. */
function checkMember(member: string): void {
  let depth = 0;
  let leaves = member.startsWith('/');
  for (const step of member.split('/')) {
    if (step === '..') depth -= 1;
    else if (step !== '.' && step !== '') depth += 1;
    if (depth < 0) leaves = true;
  }
  if (leaves) assert.ok(leavesArchive(member), `${member} leaves`);
  const normal = posix.normalize(member);
  if (normal === STAGING_NAME || normal.startsWith(`${STAGING_NAME}/`))
    assert.ok(leavesArchive(member), `${member} is taken`);
  if (!member.includes('..') && !member.startsWith('/') && !member.includes(STAGING_NAME))
    assert.ok(!leavesArchive(member));
}

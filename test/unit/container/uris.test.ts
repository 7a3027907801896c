// What URIs mean: names, schemes, archives, and that nothing a task writes there leads out of its sandbox.

import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Uri } from '../../../src/container/task.ts';
import { type Fetch, leavesArchive, planUris, STAGING_NAME, shownUri } from '../../../src/container/uris.ts';

const uri = (value: string, changes: Partial<Uri> = {}): Uri => ({
  value,
  executable: false,
  extract: true,
  cache: false,
  ...changes,
});

function planned(one: Uri, more: { unpack?: boolean; frameworksHome?: string } = {}): Fetch {
  const answer = planUris({ uris: [one], unpack: true, ...more });
  assert.ok(answer.ok, answer.ok ? '' : answer.why);
  const [fetch] = answer.fetches;
  assert.ok(fetch !== undefined);
  return fetch;
}

function refused(one: Uri, frameworksHome?: string): string {
  const answer = planUris({
    uris: [one],
    unpack: true,
    ...(frameworksHome === undefined ? {} : { frameworksHome }),
  });
  assert.ok(!answer.ok, `taken: ${one.value}`);
  return answer.why;
}

describe('the source and name of a URI', () => {
  const table: readonly [value: string, by: string, file: string][] = [
    ['http://host/a/app.jar', 'curl', 'app.jar'],
    ['HTTPS://host:8443/app.jar?token=a/b#c', 'curl', 'app.jar'],
    ['ftp://user:secret@host/pub/x', 'curl', 'x'],
    ['s3://bucket/dir/what?.bin', 'aws', 'what?.bin'],
    ['hdfs://name:8020/user/x', 'hadoop', 'x'],
    ['s3n://bucket/x', 'hadoop', 'x'],
    ['file:///etc/hostname', 'copy', 'hostname'],
    ['file://localhost/etc/hostname', 'copy', 'hostname'],
    ['/etc/hostname', 'copy', 'hostname'],
    ['/srv/a#b?c', 'copy', 'a#b?c'],
  ];
  for (const [value, by, file] of table) {
    it(`${value} is had by ${by} as ${file}`, () => {
      const fetch = planned(uri(value));
      assert.deepEqual([fetch.source.by, fetch.file], [by, file]);
    });
  }

  it('a path of a file URI is the rest as it is, and a relative one lies in MESOS_FRAMEWORKS_HOME', () => {
    assert.deepEqual(planned(uri('file:///a%20b')).source, { by: 'copy', path: '/a%20b' });
    assert.deepEqual(planned(uri('lib/x.so'), { frameworksHome: '/opt/f/' }).source, {
      by: 'copy',
      path: '/opt/f/lib/x.so',
    });
    assert.match(refused(uri('lib/x.so')), /^uri lib\/x\.so: .*MESOS_FRAMEWORKS_HOME/);
    assert.match(refused(uri('lib/x.so'), 'not/absolute'), /MESOS_FRAMEWORKS_HOME/);
  });

  for (const value of [
    '',
    'http://host',
    'http://host/',
    'http://host?x=/y',
    '/etc/',
    '/a/..',
    'gopher://host/x',
    'file://other/x',
    'http://host/a\nb',
    `/${STAGING_NAME}`,
    `http://host/${'x'.repeat(256)}`,
  ]) {
    it(`${JSON.stringify(value.slice(0, 40))} is refused`, () => {
      assert.match(refused(uri(value)), /^uri .*: ./);
    });
  }

  it('a record with too many URIs is refused', () => {
    const answer = planUris({ uris: Array.from({ length: 1001 }, () => uri('/x')), unpack: true });
    assert.equal(answer.ok, false);
  });
});

describe('what becomes of a file', () => {
  it('archives are known by the suffix of the name they land under', () => {
    for (const name of ['a.tar', 'a.tgz', 'a.tar.gz', 'a.tbz2', 'a.tar.bz2', 'a.txz', 'a.tar.xz']) {
      assert.equal(planned(uri(`http://host/${name}`)).unpack, 'tar', name);
      assert.equal(planned(uri('http://host/x', { outputFile: `d/${name}` })).unpack, 'tar', name);
    }
    assert.equal(planned(uri('http://host/a.zip?x=y')).unpack, 'zip');
    for (const name of ['tar', 'a.gz', 'a.tar.gz.asc', 'zip', 'a.TGZ'])
      assert.equal(planned(uri(`http://host/${name}`)).unpack, undefined, name);
    assert.equal(planned(uri('http://host/a.tgz', { outputFile: 'plain' })).unpack, undefined);
  });

  it('executable, extract = false and the operator keep them packed', () => {
    assert.equal(planned(uri('/a.tgz', { executable: true })).unpack, undefined);
    assert.equal(planned(uri('/a.tgz', { extract: false })).unpack, undefined);
    assert.equal(planned(uri('/a.tgz'), { unpack: false }).unpack, undefined);
  });

  it('no name that is taken leads out of the sandbox or into the place where files are made ready', () => {
    const piece = fc.oneof(
      fc.constantFrom('..', '.', '', '/', STAGING_NAME, '...', 'a', '\0', '\n', '~', '-', '//', '\\..'),
      fc.string({ unit: 'binary', maxLength: 6 }),
    );
    const name = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join('/'));
    fc.assert(
      fc.property(name, fc.boolean(), (file, asOutput) => {
        const one = asOutput
          ? uri('http://host/x', file === '' ? {} : { outputFile: file })
          : uri(`http://host/${file}`);
        const answer = planUris({ uris: [one], unpack: true });
        if (!answer.ok) return;
        for (const fetch of answer.fetches) {
          const landing = posix.resolve('/sandbox', fetch.file);
          assert.ok(landing.startsWith('/sandbox/'), fetch.file);
          assert.equal(landing, `/sandbox/${fetch.file}`, 'nothing in it is resolved away');
          assert.ok(
            !landing.startsWith(`/sandbox/${STAGING_NAME}/`) && landing !== `/sandbox/${STAGING_NAME}`,
          );
          // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
          assert.ok(!/[\u0000-\u001f]/.test(fetch.file));
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('members of archives', () => {
  it('leave it exactly when the kernel would resolve them to outside, or to ours', () => {
    const piece = fc.constantFrom('..', '.', '', 'a', '...', 'b', STAGING_NAME);
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 6 }), (pieces) => {
        const member = pieces.join('/');
        if (leavesArchive(member)) return;
        const landing = posix.resolve('/x/y', member);
        assert.ok(landing === '/x/y' || landing.startsWith('/x/y/'), member);
        assert.ok(!`${landing}/`.startsWith(`/x/y/${STAGING_NAME}/`), member);
      }),
      { numRuns: 2_000 },
    );
    for (const good of ['a', './a/b', 'a..b/...', 'a/', './']) assert.equal(leavesArchive(good), false, good);
    for (const bad of ['/a', '../a', 'a/../../b', 'a/..', `./${STAGING_NAME}/0/x`])
      assert.equal(leavesArchive(bad), true, bad);
  });
});

describe('a URI in a message', () => {
  it('has neither password nor query', () => {
    assert.equal(shownUri('http://u:p@h/a?X-Signature=s#f'), 'http://***@h/a?***');
    assert.equal(shownUri('http://h/a@b'), 'http://h/a@b');
    assert.equal(shownUri('http://u:p@h'), 'http://***@h');
    assert.equal(shownUri('file:///a?b'), 'file:///a?b');
    assert.equal(shownUri('/a?b'), '/a?b');
    assert.match(refused(uri('gopher://u:secret@h/x?secret')), /^(?!.*secret)/);
  });
});

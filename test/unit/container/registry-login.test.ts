// Which login is found for which image, in files of every age, and that nothing but logins comes out of a file.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseReference } from '../../../src/container/image.ts';
import { loginIn, type RegistryLogin } from '../../../src/container/registry-login.ts';

const auth = btoa('user:pass:word');
const HUB = 'https://index.docker.io/v1/';

function answerFor(image: string, content: unknown) {
  const reference = parseReference(image);
  assert.ok(reference.ok, image);
  return loginIn(typeof content === 'string' ? content : JSON.stringify(content), reference.image);
}

function loginFor(image: string, content: unknown): RegistryLogin | undefined {
  const answer = answerFor(image, content);
  assert.ok(answer.ok, JSON.stringify(answer));
  return answer.login;
}

describe('the login for an image', () => {
  const table: readonly [image: string, key: string, server: string | undefined][] = [
    ['registry:5000/app', 'registry:5000', 'registry:5000'],
    ['registry:5000/app', 'https://registry:5000/v1/', 'registry:5000'],
    ['registry:5000/app', 'http://registry:5000', 'registry:5000'],
    ['registry:5000/app', 'registry', undefined],
    ['registry:5000/app', 'registry:50001', undefined],
    ['quay.io/team/app:1', 'quay.io', 'quay.io'],
    ['quay.io/team/app:1', 'https://index.docker.io/v1/', undefined],
    ['localhost/app', 'localhost', 'localhost'],
    ['[::1]:5000/app', '[::1]:5000', '[::1]:5000'],
    ['app', HUB, HUB],
    ['team/app', HUB, HUB],
    ['docker.io/team/app', 'index.docker.io', HUB],
    ['index.docker.io/team/app', 'https://index.docker.io/v2/', HUB],
    ['team/app', 'team', undefined],
  ];
  for (const [image, key, server] of table) {
    it(`${image} is ${server === undefined ? 'not ' : ''}found under ${key}, in the old form and the new`, () => {
      const expected = server === undefined ? undefined : { server, entry: { auth } };
      assert.deepEqual(loginFor(image, { [key]: { auth, email: 'a@b' } }), expected);
      assert.deepEqual(loginFor(image, { auths: { [key]: { auth } } }), expected);
    });
  }

  it('is an auth, or a name and a password, or a token', () => {
    const entryOf = (entry: unknown) => loginFor('r:1/a', { auths: { 'r:1': entry } })?.entry;
    assert.deepEqual(entryOf({ username: 'u', password: 'p', auth: '' }), { username: 'u', password: 'p' });
    assert.deepEqual(entryOf({ username: 'x', password: 'y', auth }), { auth }, "the CLI's own order");
    assert.deepEqual(entryOf({ identitytoken: 't' }), { identitytoken: 't' });
    assert.deepEqual(entryOf({ auth, identitytoken: 't' }), { auth, identitytoken: 't' });
    assert.equal(entryOf({}), undefined, 'where a helper would have it');
  });

  it('is the one under the key of today where there are several', () => {
    const [old, now] = [btoa('old:1'), btoa('now:2')];
    const auths = { 'https://r:1/v1/': { auth: old }, 'r:1': { auth: now } };
    assert.deepEqual(loginFor('r:1/a', { auths })?.entry, { auth: now });
    assert.deepEqual(loginFor('r:1/a', { auths: { ...auths, 'r:1': {} } })?.entry, { auth: old });
  });

  it('has nothing in it of what else a file says', () => {
    const content = {
      auths: { 'r:1': { auth, email: 'e', serveraddress: 'evil', registrytoken: 'x', extra: 1 } },
      ...{ credsStore: 'evil', credHelpers: { 'r:1': 'evil' }, HttpHeaders: { 'X-Evil': '1' } },
      ...{ proxies: { default: { httpProxy: 'http://evil' } }, cliPluginsExtraDirs: ['/evil'], plugins: {} },
    };
    assert.deepEqual(loginFor('r:1/a', content), { server: 'r:1', entry: { auth } });
    const { auths: _, ...others } = content;
    assert.equal(loginFor('r:1/a', others), undefined);
    assert.equal(loginFor('r:1/a', { ...others, auths: {} }), undefined);
  });

  it('is said to be unusable only where it is the one that is meant', () => {
    const bad = [{ auth: 'no base64!' }, { auth: btoa('nocolon') }, { auth: 7 }, { username: 'u' }];
    for (const entry of bad) {
      const why = 'its entry for r:1 has no user and password';
      assert.deepEqual(answerFor('r:1/a', { auths: { 'r:1': entry } }), { ok: false, why });
      assert.equal(loginFor('r:2/a', { auths: { 'r:1': entry } }), undefined);
    }
  });

  for (const text of ['', '{', '[]', '"x"', 'null', '{"auths":[]}', '{"auths":null}'])
    it(`is not looked for in ${JSON.stringify(text)}`, () => {
      assert.equal(answerFor('r:1/a', text).ok, false);
    });

  it('is not a property that every object has', () => {
    assert.equal(loginFor('constructor:1/a', '{"auths":{"__proto__":{"auth":"dTpw"}}}'), undefined);
  });
});

// What is read of a slave's key, certificate and authorities, and how a file that is wrong is named.

import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { isFault } from '../../../src/fault.ts';
import { parseSlaveSsl, type SlaveSsl } from '../../../src/mesos/slave-ssl.ts';
import { readAuthorities, readOwnCertificate } from '../../../src/mesos/ssl-files.ts';
import {
  type Authority,
  type Certificate,
  makeAuthority,
  sslEnvironment,
} from '../../support/certificates.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';

describe('the files of a slave with SSL', () => {
  let directory: TempDirectory;
  let authority: Authority;
  let one: Certificate;
  let other: Certificate;
  before(async () => {
    directory = await tempDirectory();
    authority = await makeAuthority(directory.at('ca'));
    one = await authority.issue('IP:127.0.0.1', 'one');
    other = await authority.issue('IP:127.0.0.1', 'other');
  });
  after(() => directory.remove());

  const settings = (more: Readonly<Record<string, string | undefined>> = {}): SlaveSsl =>
    parseSlaveSsl({ ...sslEnvironment(one), ...more }) ?? assert.fail('no SSL');
  /** Refused, naming each of `names`, and without a word of any key. */
  const refusing =
    (...names: string[]) =>
    (error: unknown) => {
      assert.ok(isFault(error, 'refused'), String(error));
      for (const name of names) assert.ok(error.message.includes(name), error.message);
      assert.ok(!error.message.includes('\n'));
      const secret = readFileSync(one.keyFile, 'utf8').split('\n')[3] ?? '';
      assert.ok(!error.message.includes(secret) && !String(error.stack).includes(secret));
      return true;
    };

  it('are a key and the certificate that it fits', async () => {
    const { key, cert } = await readOwnCertificate(settings());
    assert.deepEqual([key, cert], [readFileSync(one.keyFile), readFileSync(one.certFile)]);
  });

  it('are named as the slave has them', async () => {
    const ssl = parseSlaveSsl({ LIBPROCESS_SSL_ENABLED: '1', LIBPROCESS_SSL_CERT_FILE: '/nowhere' });
    await assert.rejects(
      readOwnCertificate(ssl ?? assert.fail()),
      refusing('cannot read LIBPROCESS_SSL_CERT_FILE of the slave, /nowhere'),
    );
  });

  it('are refused by name where they are missing, wrong, or do not fit each other', async () => {
    const read = (more: Readonly<Record<string, string | undefined>>) => readOwnCertificate(settings(more));
    const absent = directory.at('absent');
    await assert.rejects(read({ SSL_KEY_FILE: undefined }), refusing('SSL_KEY_FILE'));
    await assert.rejects(read({ SSL_CERT_FILE: absent }), refusing('SSL_CERT_FILE', absent, 'ENOENT'));
    await assert.rejects(read({ SSL_KEY_FILE: directory.path }), refusing('SSL_KEY_FILE', 'EISDIR'));
    await assert.rejects(read({ SSL_KEY_FILE: 'k.pem' }), refusing('k.pem', 'absolute'));
    await assert.rejects(read({ SSL_CERT_FILE: one.keyFile }), refusing('SSL_CERT_FILE', one.keyFile));
    await assert.rejects(read({ SSL_KEY_FILE: one.certFile }), refusing('SSL_KEY_FILE', one.certFile));
    await assert.rejects(read({ SSL_KEY_FILE: other.keyFile }), refusing('SSL_KEY_FILE', other.keyFile));
  });

  it('are read again each time', async () => {
    const renewed = { keyFile: directory.at('r.key'), certFile: directory.at('r.pem') };
    const copy = (from: Certificate) => {
      copyFileSync(from.keyFile, renewed.keyFile);
      copyFileSync(from.certFile, renewed.certFile);
    };
    copy(one);
    const ssl = parseSlaveSsl(sslEnvironment(renewed)) ?? assert.fail();
    const before = await readOwnCertificate(ssl);
    copy(other);
    const now = await readOwnCertificate(ssl);
    assert.notDeepEqual(now.cert, before.cert);
  });

  it('name authorities in a file, in a hashed directory, in both, or leave it to the system', async () => {
    const second = await makeAuthority(directory.at('ca-2'));
    const hashed = directory.at('hashed');
    mkdirSync(hashed);
    copyFileSync(second.certFile, `${hashed}/0a1b2c3d.0`);
    writeFileSync(`${hashed}/README`, 'no certificate');
    const pem = (of: Authority) => readFileSync(of.certFile, 'utf8').trim();
    const read = (more: Readonly<Record<string, string>>) => readAuthorities(settings(more));
    assert.deepEqual(await read({ SSL_CA_FILE: authority.certFile }), [pem(authority)]);
    assert.deepEqual(await read({ SSL_CA_DIR: hashed }), [pem(second)]);
    assert.deepEqual(await read({ SSL_CA_FILE: authority.certFile, SSL_CA_DIR: hashed }), [
      pem(authority),
      pem(second),
    ]);
    assert.ok(Array.isArray(await read({})));
  });

  it('are refused by name where authorities are missing or broken', async () => {
    const read = (more: Readonly<Record<string, string>>) => readAuthorities(settings(more));
    const broken = directory.at('broken.pem');
    writeFileSync(broken, '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n');
    await assert.rejects(read({ SSL_CA_FILE: '/nowhere' }), refusing('SSL_CA_FILE', '/nowhere', 'ENOENT'));
    await assert.rejects(read({ SSL_CA_FILE: one.keyFile }), refusing('SSL_CA_FILE', one.keyFile));
    await assert.rejects(read({ SSL_CA_FILE: broken }), refusing(broken));
    await assert.rejects(read({ SSL_CA_DIR: '/nowhere' }), refusing('SSL_CA_DIR', '/nowhere', 'ENOENT'));
  });
});

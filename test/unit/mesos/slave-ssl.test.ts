// The SSL_* or LIBPROCESS_SSL_* variables of a slave as one typed value.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSlaveSsl } from '../../../src/mesos/slave-ssl.ts';

const FILES = { SSL_KEY_FILE: '/k', SSL_CERT_FILE: '/c' };

test('a slave without SSL_ENABLED has no SSL, whatever else is set', () => {
  for (const SSL_ENABLED of [undefined, '', '0', 'false', 'yes', 'TRUE'])
    assert.equal(parseSlaveSsl({ ...FILES, SSL_ENABLED, SSL_SUPPORT_DOWNGRADE: '1' }), undefined);
});

test('a switch is on with 1 and with true', () => {
  for (const on of ['1', 'true']) {
    const ssl = parseSlaveSsl({ ...FILES, SSL_ENABLED: on, SSL_SUPPORT_DOWNGRADE: on, SSL_VERIFY_CERT: on });
    assert.deepEqual([ssl?.downgrade, ssl?.verify, ssl?.require], [true, true, false]);
  }
  const ssl = parseSlaveSsl({
    ...FILES,
    SSL_ENABLED: '1',
    SSL_SUPPORT_DOWNGRADE: '0',
    SSL_VERIFY_CERT: 'false',
  });
  assert.deepEqual([ssl?.downgrade, ssl?.verify, ssl?.require], [false, false, false]);
});

test('who requires certificates verifies them, too', () => {
  const ssl = parseSlaveSsl({ ...FILES, SSL_ENABLED: '1', SSL_VERIFY_CERT: '0', SSL_REQUIRE_CERT: '1' });
  assert.deepEqual([ssl?.verify, ssl?.require], [true, true]);
});

test('the files are those named, an empty name is none', () => {
  const ssl = parseSlaveSsl({ ...FILES, SSL_ENABLED: '1', SSL_CA_FILE: '', SSL_CA_DIR: '/d' });
  assert.deepEqual(ssl, {
    ...{ prefix: '', downgrade: false, verify: false, require: false },
    ...{ keyFile: '/k', certFile: '/c', caFile: undefined, caDirectory: '/d' },
  });
});

test('the newer names of the variables hold too, and go before the older ones', () => {
  const newer = {
    LIBPROCESS_SSL_ENABLED: '1',
    LIBPROCESS_SSL_KEY_FILE: '/new',
    LIBPROCESS_SSL_VERIFY_CERT: 'true',
  };
  const ssl = parseSlaveSsl({ ...FILES, SSL_ENABLED: '0', SSL_VERIFY_CERT: '0', ...newer });
  assert.deepEqual(
    [ssl?.prefix, ssl?.keyFile, ssl?.certFile, ssl?.verify],
    ['LIBPROCESS_', '/new', '/c', true],
  );
  assert.equal(parseSlaveSsl({ ...FILES, SSL_ENABLED: '1', LIBPROCESS_SSL_ENABLED: '0' }), undefined);
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connectionOf } from '../../../src/docker/connection.ts';
import { isFault } from '../../../src/fault.ts';

const one = (docker: Record<string, readonly string[]>, environment: Record<string, string> = {}) =>
  connectionOf(docker, environment).endpoints[0];

describe('which daemon is meant', () => {
  test("Docker's own socket, unless the environment or the configuration says another", () => {
    assert.deepEqual(one({}), { kind: 'unix', path: '/var/run/docker.sock' });
    assert.deepEqual(one({}, { DOCKER_HOST: 'unix:///e.sock' }), { kind: 'unix', path: '/e.sock' });
    assert.deepEqual(one({ H: ['unix:///c.sock'] }, { DOCKER_HOST: 'unix:///e.sock' }), {
      kind: 'unix',
      path: '/c.sock',
    });
  });

  test('tcp with and without port, and IPv6', () => {
    assert.deepEqual(one({ host: ['tcp://h:1234'] }), { kind: 'tcp', host: 'h', port: 1234 });
    assert.deepEqual(one({ host: ['h'] }), { kind: 'tcp', host: 'h', port: 2375 });
    assert.deepEqual(one({ host: ['tcp://[::1]:99'] }), { kind: 'tcp', host: '::1', port: 99 });
  });

  test('TLS comes from options or the environment', () => {
    const section = { host: ['tcp://h'], tlsverify: ['true'], tlscacert: ['/ca'] };
    const connection = connectionOf(section, { DOCKER_CERT_PATH: '/certs' });
    assert.deepEqual(connection.endpoints[0], {
      kind: 'tcp',
      host: 'h',
      port: 2376,
      tls: { verify: true, ca: '/ca', cert: '/certs/cert.pem', key: '/certs/key.pem' },
    });
  });

  test('several hosts keep their order; options that name no daemon are told apart', () => {
    const connection = connectionOf(
      { host: ['unix:///a', 'tcp://b:1'], config: ['/cfg'], 'log-level': ['debug'], D: ['true'] },
      {},
    );
    assert.deepEqual(
      connection.endpoints.map((endpoint) => endpoint.kind),
      ['unix', 'tcp'],
    );
    assert.equal(connection.configDirectory, '/cfg');
    assert.deepEqual(connection.ignored, ['log-level', 'debug']);
  });

  for (const host of [
    'ssh://h',
    'npipe://x',
    'unix://relative',
    'tcp://h:0',
    'tcp://h:99999',
    'tcp://h/path',
    '-x y',
  ]) {
    test(`${host} is refused in words`, () => {
      assert.throws(
        () => one({ host: [host] }),
        (error) => isFault(error, 'config') && error.message.includes(host),
      );
    });
  }

  test('a context is refused, as is no host at all', () => {
    assert.throws(
      () => one({ context: ['x'] }),
      (error) => isFault(error, 'config'),
    );
    assert.throws(
      () => one({ host: [] }),
      (error) => isFault(error, 'config'),
    );
  });
});

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

  test('a host without a name is this one, as for docker', () => {
    for (const host of ['tcp://', ':2375', 'tcp://:2375'])
      assert.deepEqual(one({ host: [host] }), { kind: 'tcp', host: 'localhost', port: 2375 });
  });

  test('TLS comes from options or the environment; files that nobody named may be absent, but for the CA', () => {
    const section = { host: ['tcp://h'], tlsverify: ['true'], tlscacert: ['/ca'] };
    const namedBy = 'DOCKER_CERT_PATH';
    assert.deepEqual(one(section, { DOCKER_CERT_PATH: '/certs', DOCKER_CONFIG: '/config' }), {
      kind: 'tcp',
      host: 'h',
      port: 2376,
      tls: {
        verify: true,
        ca: { path: '/ca', namedBy: 'tlscacert in [docker]', mayBeAbsent: false },
        cert: { path: '/certs/cert.pem', namedBy, mayBeAbsent: true },
        key: { path: '/certs/key.pem', namedBy, mayBeAbsent: true },
      },
    });
  });

  const tls = (docker: Record<string, readonly string[]>, environment: Record<string, string> = {}) => {
    const endpoint = one({ host: ['h:1'], ...docker }, environment);
    return endpoint.kind === 'tcp' ? endpoint.tls : assert.fail();
  };

  test('whether TLS is used, and verified, is what the docker CLI makes of it', () => {
    for (const [docker, environment, verify] of [
      [{}, {}, undefined],
      [{ tls: ['false'] }, {}, undefined],
      [{ tlscacert: ['/ca'] }, {}, undefined],
      [{}, { DOCKER_CERT_PATH: '/certs' }, undefined],
      [{ tls: ['true'] }, {}, false],
      [{ tls: ['On'] }, {}, false],
      [{ tlsverify: ['1'] }, {}, true],
      [{ tlsverify: ['yes'] }, {}, true],
      [{ tlsverify: ['false'] }, {}, false],
      [{ tlsverify: ['false'] }, { DOCKER_TLS_VERIFY: '1' }, false],
      [{ tls: ['false'] }, { DOCKER_TLS_VERIFY: '1' }, true],
      [{}, { DOCKER_TLS_VERIFY: '0' }, true],
      [{}, { DOCKER_TLS_VERIFY: '' }, undefined],
    ] as const)
      assert.equal(tls(docker, environment)?.verify, verify, JSON.stringify([docker, environment]));
  });

  test('without DOCKER_CERT_PATH the files lie in DOCKER_CONFIG, or at home; config of [docker] has no part in it', () => {
    const docker = { tls: ['true'], config: ['/section'] };
    assert.equal(tls(docker, { DOCKER_CONFIG: '/config' })?.ca.path, '/config/ca.pem');
    assert.equal(tls(docker)?.ca.path, '~/.docker/ca.pem');
  });

  test('a flag that is neither, and a relative path, are refused', () => {
    for (const [docker, environment] of [
      [{ tlsverify: ['sure'] }, {}],
      [{ tls: ['true'], tlskey: ['key.pem'] }, {}],
      [{ tls: ['true'] }, { DOCKER_CERT_PATH: 'certs' }],
      [{ config: ['config'] }, {}],
    ] as const)
      assert.throws(
        () => tls(docker, environment),
        (error) => isFault(error, 'config') && /sure|not absolute/.test(error.message),
      );
  });

  test('what says nothing without TLS has no effect: it is told', () => {
    const ignored = (docker: Record<string, readonly string[]>) => connectionOf(docker, {}).ignored;
    assert.deepEqual(ignored({ host: ['h'], tlskey: ['/key'] }), ['tlskey']);
    assert.deepEqual(ignored({ host: ['unix:///s'], tlsverify: ['true'] }), ['tlsverify']);
    assert.deepEqual(ignored({ host: ['unix:///s', 'h'], tlsverify: ['true'], tlskey: ['/key'] }), []);
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
    '::1:2375',
    'http://h',
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

// At which address a slave finds our executors.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { Log } from '../../../src/host/log.ts';
import { ExecutorPort } from '../../../src/mesos/executor-port.ts';
import { parseSlaveSsl } from '../../../src/mesos/slave-ssl.ts';
import { findableAt } from '../../../src/supervisor/executor-address.ts';

const SILENT: Log = { debug: () => {}, info: () => {}, warning: () => {}, error: () => {} };
const at = (ip: string) => ({ name: 'slave(1)', ip, port: 5051 });
const ssl = (more: Readonly<Record<string, string>> = {}) => parseSlaveSsl({ SSL_ENABLED: '1', ...more });

test('a slave that verifies certificates finds us at its own address, every other at the loopback', async () => {
  const port = new ExecutorPort();
  await port.listen(0);
  try {
    const slave = at('127.0.0.3');
    for (const settings of [undefined, ssl()])
      assert.equal(await findableAt(port, slave, settings, SILENT), '127.0.0.1');
    for (const settings of [ssl({ SSL_VERIFY_CERT: '1' }), ssl({ SSL_REQUIRE_CERT: '1' })])
      assert.equal(await findableAt(port, slave, settings, SILENT), '127.0.0.3');
    const socket = connect(port.port, '127.0.0.3');
    await once(socket, 'connect');
    socket.destroy();
    // An address that the host has no more, or never had: it is tried with what there is.
    assert.equal(await findableAt(port, at('192.0.2.1'), ssl({ SSL_VERIFY_CERT: '1' }), SILENT), '127.0.0.1');
    assert.equal(await findableAt(port, undefined, ssl({ SSL_VERIFY_CERT: '1' }), SILENT), '127.0.0.1');
  } finally {
    await port.close();
  }
});

// At which address a slave finds our executors.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import type { Log } from '../../../src/host/log.ts';
import { ExecutorPort } from '../../../src/mesos/executor-port.ts';
import { parseSlaveSsl } from '../../../src/mesos/slave-ssl.ts';
import { findableAt, listenForSlaves } from '../../../src/supervisor/executor-address.ts';
import { tempDirectory } from '../../support/temp.ts';

const SILENT: Log = { debug: () => {}, info: () => {}, warning: () => {}, error: () => {} };
const NEVER = new AbortController().signal;
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

test('a port that could not be noted at first is kept, and noted then', async () => {
  await using directory = await tempDirectory('ea-');
  const port = new ExecutorPort();
  try {
    const listen = () => listenForSlaves(port, directory.path, undefined, SILENT, NEVER);
    await assert.rejects(listen(), /cannot write .*port: no such file/);
    mkdirSync(directory.at('supervisor'));
    await listen();
    assert.equal(readFileSync(directory.at('supervisor', 'port'), 'utf8'), `${port.port}\n`);
  } finally {
    await port.close();
  }
});

test('the port of before is had though its owner, which has been killed, gives it back a moment later', async () => {
  await using directory = await tempDirectory('ea-');
  const owner = createServer().listen(0, '127.0.0.1');
  await once(owner, 'listening');
  const address = owner.address();
  assert.ok(typeof address === 'object' && address !== null);
  mkdirSync(directory.at('supervisor'));
  writeFileSync(directory.at('supervisor', 'port'), `${address.port}\n`);
  const port = new (class extends ExecutorPort {
    override async listen(number: number): Promise<void> {
      await super.listen(number).catch((error: unknown) => {
        // It was in use, and is so no more.
        owner.close();
        throw error;
      });
    }
  })();
  try {
    await listenForSlaves(port, directory.path, undefined, SILENT, NEVER);
    assert.equal(port.port, address.port);
  } finally {
    await port.close();
  }
});

test('a port that another program keeps is given up for another one', async () => {
  await using directory = await tempDirectory('ea-');
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const address = other.address();
  assert.ok(typeof address === 'object' && address !== null);
  mkdirSync(directory.at('supervisor'));
  writeFileSync(directory.at('supervisor', 'port'), `${address.port}\n`);
  const port = new ExecutorPort();
  try {
    await listenForSlaves(port, directory.path, undefined, SILENT, NEVER);
    assert.notEqual(port.port, address.port);
    assert.equal(readFileSync(directory.at('supervisor', 'port'), 'utf8'), `${port.port}\n`);
  } finally {
    await port.close();
    other.close();
  }
});

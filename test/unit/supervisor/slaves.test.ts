// Links to slaves over real sockets: one for all who watch, away once, there again when the slave is back, and of the
// kind that the slave wants now.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../../../src/host/log.ts';
import { parseSlaveSsl, type SlaveSsl } from '../../../src/mesos/slave-ssl.ts';
import type { Upid } from '../../../src/mesos/upid.ts';
import { Slaves, type SlaveTerms, slaveAnswers } from '../../../src/supervisor/slaves.ts';
import { makeAuthority, sslEnvironment } from '../../support/certificates.ts';
import { tempDirectory } from '../../support/temp.ts';
import { until } from '../../support/until.ts';

const SILENT: Log = { debug: () => {}, info: () => {}, warning: () => {}, error: () => {} };

/** Gives the port. */
async function listen(server: Server, port = 0): Promise<number> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return address.port;
}

/** Something that accepts connections as a slave does, and can die as one does. */
class Listener {
  readonly sockets = new Set<Socket>();
  /** Connections that began with TLS. */
  hellos = 0;
  #server: Server | undefined;

  async listen(port = 0): Promise<number> {
    this.#server = createServer((socket) => {
      this.sockets.add(socket);
      socket.on('error', () => {});
      socket.once('data', ([first]: Buffer) => {
        if (first === 0x16) this.hellos += 1;
      });
      socket.on('close', () => this.sockets.delete(socket));
    });
    return await listen(this.#server, port);
  }

  async die(): Promise<void> {
    const closed = this.#server === undefined ? undefined : once(this.#server, 'close');
    this.#server?.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }
}

const BROKEN = parseSlaveSsl({ SSL_ENABLED: '1', SSL_CERT_FILE: '/nowhere', SSL_KEY_FILE: '/nowhere' });

const terms = (ssl: () => SlaveSsl | undefined): SlaveTerms => ({ ssl, mayBeSlave: () => false });

function watcher(): { told: string[]; there: () => void; away: (why?: string) => void } {
  const told: string[] = [];
  return {
    told,
    there: () => void told.push('there'),
    away: (why) => void told.push(why === undefined ? 'away' : `away: ${why}`),
  };
}

test('all watchers of a slave share one link, and are told when it breaks and when it stands again', async () => {
  const listener = new Listener();
  const port = await listener.listen();
  const slave: Upid = { name: 'slave(1)', ip: '127.0.0.1', port };
  const leaving = new AbortController();
  const slaves = new Slaves(leaving.signal, SILENT);
  const [first, second] = [watcher(), watcher()];
  slaves.watch(slave, first);
  slaves.watch(slave, second);
  await until('both are told', () => first.told.length === 1 && second.told.length === 1);
  assert.equal(listener.sockets.size, 1);
  assert.equal(slaves.isThere(slave), true);

  await listener.die();
  await until('both are told', () => first.told.length === 2 && second.told.length === 2);
  assert.equal(slaves.isThere(slave), false);
  await assert.rejects(slaves.post(slave, 'X', Buffer.alloc(0), slave), /no link/);

  await listener.listen(port);
  await until('it is there again', () => slaves.isThere(slave));
  slaves.forget(slave, second);
  assert.deepEqual(first.told, ['there', 'away', 'there']);
  slaves.forget(slave, first);
  await until('the link is closed', () => listener.sockets.size === 0);
  leaving.abort();
  await listener.die();
});

test('a slave that does not answer is away once, however often it is tried', async () => {
  const listener = new Listener();
  const port = await listener.listen();
  await listener.die();
  const slave: Upid = { name: 'slave(1)', ip: '127.0.0.1', port };
  const leaving = new AbortController();
  const slaves = new Slaves(leaving.signal, SILENT);
  const one = watcher();
  slaves.watch(slave, one);
  await until('it is away', () => one.told.length > 0);
  assert.deepEqual(one.told, ['away']);
  // Whoever hears from the slave itself does not wait for the next try.
  await listener.listen(port);
  slaves.watch(slave, one);
  await until('it is there', () => slaves.isThere(slave), { timeoutMs: 1_000 });
  assert.deepEqual(one.told, ['away', 'there']);
  leaving.abort();
  slaves.forget(slave, one);
  await listener.die();
});

/** In which somebody who asks without a pause does so some hundred times. */
const WITHOUT_A_PAUSE_MS = 600;

/** A log that is kept. */
function keeping(): { readonly lines: string[]; readonly log: Log } {
  const lines: string[] = [];
  const keep = (event: string, fields?: object): void =>
    void lines.push(`${event} ${Object.keys(fields ?? {}).join()}`);
  return { lines, log: { ...SILENT, info: keep, warning: keep } };
}

test('who closes each link at once is not asked again at once, and that is said once', async () => {
  const facts = { connections: 0 };
  const server = createServer((socket) => {
    facts.connections += 1;
    socket.on('error', () => {});
    socket.destroy();
  });
  const slave: Upid = { name: 'slave(1)', ip: '127.0.0.1', port: await listen(server) };
  const leaving = new AbortController();
  const { lines, log } = keeping();
  const slaves = new Slaves(leaving.signal, log);
  const one = watcher();
  slaves.watch(slave, one);
  await sleep(WITHOUT_A_PAUSE_MS);
  await until('it is asked again', () => facts.connections >= 3);
  assert.ok(facts.connections <= 5, `${facts.connections} connections`);
  assert.deepEqual(lines, ['messages do not reach the slave, will be tried again slave,error']);
  // Whoever hears from the slave itself does not wait for the next try.
  const before = facts.connections;
  slaves.watch(slave, one);
  await until('it is asked', () => facts.connections > before);
  leaving.abort();
  slaves.forget(slave, one);
  server.close();
});

test('that messages do not reach a slave is said once for all who send, and again when they do', async () => {
  const answers = ['404 Not Found', '404 Not Found', '202 Accepted', '404 Not Found'];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => socket.write(`HTTP/1.1 ${answers.shift()}\r\nContent-Length: 0\r\n\r\n`));
  });
  const slave: Upid = { name: 'slave(1)', ip: '127.0.0.1', port: await listen(server) };
  const leaving = new AbortController();
  const { lines, log } = keeping();
  const slaves = new Slaves(leaving.signal, log);
  const one = watcher();
  slaves.watch(slave, one);
  await until('it is there', () => slaves.isThere(slave));
  const post = async () => await slaves.post(slave, 'StatusUpdateMessage', Buffer.alloc(0), slave);
  assert.deepEqual(
    [await post(), await post(), await post(), await post()],
    ['unknown', 'unknown', 'taken', 'unknown'],
  );
  // The last one comes so soon behind that it is not said anew.
  assert.deepEqual(lines, [
    'messages do not reach the slave, will be tried again slave,error',
    'messages reach the slave again slave,durationMs',
  ]);
  leaving.abort();
  slaves.forget(slave, one);
  server.close();
});

test('who joins others that have long given up a slave is told for himself, with the reason', async () => {
  const listener = new Listener();
  const slave: Upid = { name: 'slave(1)', ip: '127.0.0.1', port: await listener.listen() };
  const leaving = new AbortController();
  const lines: string[] = [];
  const log = { ...SILENT, error: (event: string) => void lines.push(event) };
  const slaves = new Slaves(leaving.signal, log, 0);
  const ssl = () => BROKEN;
  const expected = ['away: cannot read SSL_CERT_FILE of the slave, /nowhere: ENOENT'];
  const first = watcher();
  slaves.watch(slave, first, terms(ssl));
  await until('the first is told', () => first.told.length > 0);
  const second = watcher();
  slaves.watch(slave, second, terms(ssl));
  await until('the second is told', () => second.told.length > 0);
  assert.deepEqual([first.told, second.told], [expected, expected]);
  assert.equal(lines.length, 2);
  assert.equal(listener.sockets.size, 0);
  leaving.abort();
  slaves.forget(slave, first);
  slaves.forget(slave, second);
  await listener.die();
});

test('a slave whose certificates are being renewed is not away before they have had their time', async () => {
  const listener = new Listener();
  const slave: Upid = { name: 'slave(1)', ip: '127.0.0.1', port: await listener.listen() };
  const leaving = new AbortController();
  const slaves = new Slaves(leaving.signal, SILENT);
  const one = watcher();
  let broken = 5;
  slaves.watch(
    slave,
    one,
    terms(() => (broken-- > 0 ? BROKEN : undefined)),
  );
  await until('it is told', () => one.told.length > 0);
  assert.deepEqual(one.told, ['there']);
  leaving.abort();
  slaves.forget(slave, one);
  await listener.die();
});

test('a link that was made in another way than the slave wants now is replaced, whoever else watches', async () => {
  await using directory = await tempDirectory();
  const authority = await makeAuthority(directory.at('ca'));
  const listener = new Listener();
  const slave: Upid = { name: 'slave(1)', ip: '127.0.0.1', port: await listener.listen() };
  const leaving = new AbortController();
  const slaves = new Slaves(leaving.signal, SILENT);
  const [first, second] = [watcher(), watcher()];
  const wants: { ssl: SlaveSsl | undefined } = { ssl: undefined };
  const ssl = () => wants.ssl;
  slaves.watch(slave, first, terms(ssl));
  slaves.watch(slave, second, terms(ssl));
  await until('both are told', () => first.told.length === 1 && second.told.length === 1);
  // As a Reconnect does to one of them.
  slaves.forget(slave, first);
  wants.ssl = parseSlaveSsl(sslEnvironment(authority));
  slaves.watch(slave, first, terms(ssl));
  await until('TLS is tried', () => listener.hellos === 1);
  assert.equal(listener.sockets.size, 1);
  assert.equal(slaves.isThere(slave), false);
  slaves.forget(slave, first);
  slaves.forget(slave, second);

  // The slave says what it wants while it is being dialled.
  wants.ssl = undefined;
  slaves.watch(slave, first, terms(ssl));
  wants.ssl = parseSlaveSsl(sslEnvironment(authority));
  await until('TLS is tried', () => listener.hellos === 2);
  assert.equal(slaves.isThere(slave), false);
  leaving.abort();
  slaves.forget(slave, first);
  await listener.die();
});

test('what the slave wants is asked of those who still watch', async () => {
  const listener = new Listener();
  const slave: Upid = { name: 'slave(1)', ip: '127.0.0.1', port: await listener.listen() };
  const leaving = new AbortController();
  const slaves = new Slaves(leaving.signal, SILENT);
  const [stays, goes] = [watcher(), watcher()];
  let gone = false;
  slaves.watch(slave, stays);
  slaves.watch(
    slave,
    goes,
    terms(() => (gone ? BROKEN : undefined)),
  );
  await until('the link stands', () => goes.told.length === 1);
  gone = true;
  slaves.forget(slave, goes);
  await until('accepted', () => listener.sockets.size === 1);
  for (const socket of listener.sockets) socket.destroy();
  await until('the link stands again', () => stays.told.length === 3);
  assert.deepEqual(stays.told, ['there', 'away', 'there']);
  leaving.abort();
  slaves.forget(slave, stays);
  await listener.die();
});

test('whether a slave answers at all can be asked', async () => {
  const listener = new Listener();
  const port = await listener.listen();
  const { signal } = new AbortController();
  assert.equal(await slaveAnswers({ name: 's', ip: '127.0.0.1', port }, signal), true);
  await listener.die();
  assert.equal(await slaveAnswers({ name: 's', ip: '127.0.0.1', port }, signal), false);
});

// Connections to a slave as its SSL settings want them, over real sockets: what is tried after what, and what is refused.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { after, afterEach, before, describe, it } from 'node:test';
import { createServer as createTlsServer, TLSSocket, type TlsOptions } from 'node:tls';
import { Fault, isFault } from '../../../src/fault.ts';
import { dial } from '../../../src/mesos/dial.ts';
import { SlaveLink } from '../../../src/mesos/slave-link.ts';
import { parseSlaveSsl, type SlaveSsl } from '../../../src/mesos/slave-ssl.ts';
import type { Upid } from '../../../src/mesos/upid.ts';
import {
  type Authority,
  type Certificate,
  makeAuthority,
  sslEnvironment,
} from '../../support/certificates.ts';
import { asNobody } from '../../support/nobody.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';

const NEVER = new AbortController().signal;

describe('dialling a slave', () => {
  let directory: TempDirectory;
  let authority: Authority;
  let stranger: Authority;
  let own: Certificate;
  const sockets: Socket[] = [];
  const servers: Server[] = [];
  before(async () => {
    directory = await tempDirectory();
    authority = await makeAuthority(directory.at('ca'));
    stranger = await makeAuthority(directory.at('stranger'));
    own = await authority.issue('IP:127.0.0.1', 'slave');
  });
  after(() => directory.remove());
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
  });

  async function serve(server: Server): Promise<Upid> {
    servers.push(server);
    const keep = (socket: Socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
    };
    server.on('connection', keep);
    server.on('secureConnection', keep);
    server.on('tlsClientError', () => {});
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    return { name: 'slave(1)', ip: '127.0.0.1', port: address.port };
  }
  const tlsSlave = (certificate: Certificate = own, more: TlsOptions = {}) =>
    serve(
      createTlsServer({
        key: readFileSync(certificate.keyFile),
        cert: readFileSync(certificate.certFile),
        ...more,
      }),
    );
  const ssl = (more: Readonly<Record<string, string>> = {}): SlaveSsl =>
    parseSlaveSsl({ ...sslEnvironment(own, authority), ...more }) ?? assert.fail();
  const dialled = async (slave: Upid, settings: SlaveSsl | undefined) => {
    const { socket, secure } = await dial(slave, settings, NEVER);
    sockets.push(socket);
    assert.equal(socket instanceof TLSSocket, secure);
    return secure;
  };
  const refusing =
    (...words: string[]) =>
    (error: unknown) => {
      assert.ok(isFault(error, 'refused'), String(error));
      for (const word of words) assert.ok(error.message.includes(word), error.message);
      return true;
    };
  /** A slave that has no SSL: what begins as TLS does is no HTTP. */
  const plainSlaves: Readonly<Record<string, (socket: Socket) => void>> = {
    closes: (socket) => void socket.on('data', () => socket.destroy()),
    answers: (socket) => void socket.on('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
  };

  it('is plain for one without SSL and TLS for one with', async () => {
    assert.equal(await dialled(await serve(createServer()), undefined), false);
    assert.equal(await dialled(await tlsSlave(), ssl()), true);
  });

  it('takes the TLS and the ciphers of old slaves', async () => {
    for (const maxVersion of ['TLSv1', 'TLSv1.1', 'TLSv1.2'] as const) {
      const old = { minVersion: 'TLSv1', maxVersion, ciphers: 'AES128-SHA:@SECLEVEL=0' } as const;
      assert.equal(await dialled(await tlsSlave(own, old), ssl()), true);
    }
  });

  for (const [name, serveIt] of Object.entries(plainSlaves)) {
    it(`with downgrade goes on in plain where the slave ${name}, and never without`, async () => {
      const slave = await serve(createServer(serveIt));
      assert.equal(await dialled(slave, ssl({ SSL_SUPPORT_DOWNGRADE: '1' })), false);
      await assert.rejects(dialled(slave, ssl()), refusing('does not speak TLS', 'SSL_SUPPORT_DOWNGRADE'));
    });
  }

  it('with downgrade is TLS all the same where the slave speaks it', async () => {
    assert.equal(await dialled(await tlsSlave(), ssl({ SSL_SUPPORT_DOWNGRADE: '1' })), true);
  });

  it('with SSL_VERIFY_CERT takes a certificate from the authorities of the slave alone', async () => {
    const verifying = ssl({ SSL_VERIFY_CERT: '1' });
    assert.equal(await dialled(await tlsSlave(), verifying), true);
    const foreign = await tlsSlave(await stranger.issue('IP:127.0.0.1', 'foreign'));
    await assert.rejects(dialled(foreign, verifying), refusing('not trusted', authority.certFile));
    // What has to be verified is not had by doing without.
    const downgrading = ssl({ SSL_VERIFY_CERT: '1', SSL_SUPPORT_DOWNGRADE: '1' });
    await assert.rejects(dialled(foreign, downgrading), refusing('not trusted'));
    assert.equal(await dialled(foreign, ssl()), true);
  });

  it('with SSL_VERIFY_CERT takes the slave’s own certificate, or one for its address, whatever its names', async () => {
    const verifying = ssl({ SSL_VERIFY_CERT: '1' });
    const renewed = await authority.issue('IP:127.0.0.1', 'renewed');
    assert.equal(await dialled(await tlsSlave(renewed), verifying), true);
    const elsewhere = await authority.issue('DNS:elsewhere.example', 'elsewhere');
    await assert.rejects(dialled(await tlsSlave(elsewhere), verifying), refusing('is for none of 127.0.0.1'));
    const its = parseSlaveSsl({ ...sslEnvironment(elsewhere, authority), SSL_VERIFY_CERT: '1' });
    assert.equal(await dialled(await tlsSlave(elsewhere), its), true);
  });

  it('shows a certificate to a slave that requires one', async () => {
    const requires = {
      requestCert: true,
      rejectUnauthorized: true,
      ca: readFileSync(authority.certFile),
      maxVersion: 'TLSv1.2',
    } as const;
    const slave = await tlsSlave(own, requires);
    assert.equal(await dialled(slave, ssl({ SSL_REQUIRE_CERT: '1' })), true);
    for (const more of [{}, { SSL_SUPPORT_DOWNGRADE: '1' }] as Record<string, string>[])
      await assert.rejects(dialled(slave, ssl(more)), refusing('refuses TLS with us'));
  });

  it('says which file is wrong before anybody is dialled, and that nobody listens', async () => {
    const slave = await tlsSlave();
    await assert.rejects(
      dialled(slave, ssl({ SSL_KEY_FILE: '/nowhere' })),
      refusing('SSL_KEY_FILE', '/nowhere'),
    );
    assert.equal(sockets.length, 0);
    await new Promise((resolve) => servers.splice(0)[0]?.close(resolve));
    for (const settings of [undefined, ssl(), ssl({ SSL_SUPPORT_DOWNGRADE: '1' })])
      await assert.rejects(dialled(slave, settings), (error) => isFault(error, 'host'));
  });

  it('ends with its signal in the middle of a handshake', async () => {
    const slave = await serve(createServer((socket) => socket.resume()));
    const enough = new AbortController();
    servers
      .at(-1)
      ?.once('connection', (socket: Socket) => socket.once('data', () => enough.abort(new Error('enough'))));
    await assert.rejects(dial(slave, ssl(), enough.signal), /enough/);
  });

  it('links a slave over TLS: messages go the same way, and its death is noticed', async () => {
    const answering = createTlsServer({ key: readFileSync(own.keyFile), cert: readFileSync(own.certFile) });
    let posted = 0;
    answering.on('secureConnection', (socket: Socket) =>
      socket.on('data', () => {
        posted += 1;
        socket.write('HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n');
      }),
    );
    const slave = await serve(answering);
    let noticed: () => void = () => {};
    const broken = new Promise<void>((resolve) => {
      noticed = resolve;
    });
    const link = new SlaveLink(slave, { onBroken: noticed, ssl: ssl() });
    await link.connect();
    assert.equal(link.secure, true);
    const from = { name: 'x', ip: '127.0.0.1', port: 1 };
    assert.equal(await link.post('M', Buffer.alloc(0), from), 'taken');
    assert.equal(await link.post('M', Buffer.alloc(0), from), 'taken');
    assert.equal(posted, 2);
    for (const socket of sockets.splice(0)) socket.destroy();
    await broken;
    await assert.rejects(link.post('M', Buffer.alloc(0), from), Fault);
  });

  it('says nothing to a user who cannot be the slave, and speaks with one who may be', async () => {
    const free = await serve(createServer());
    await new Promise((resolve) => servers.pop()?.close(resolve));
    await using listener = await asNobody({ do: 'listen', host: '127.0.0.1', port: free.port });
    await listener.said(/^listening$/m);
    const ssl = parseSlaveSsl({ ...sslEnvironment(own, authority), SSL_SUPPORT_DOWNGRADE: '1' });
    for (const settings of [undefined, ssl])
      await assert.rejects(dial(free, settings, NEVER), (error) => {
        assert.ok(isFault(error, 'host'));
        assert.match(error.message, /^user 65534 listens at the address of the slave .*, and cannot be it$/);
        return true;
      });
    assert.match(listener.heard().replace(/^(?:ready|listening|accepted \d+)\n/gm, ''), /^$/);
    const { socket } = await dial(free, undefined, NEVER, (uid) => uid === 65_534);
    sockets.push(socket);
    socket.write('hello');
    await listener.said(/hello/);
  });
});

// The executor port and its first bytes: TLS and plain side by side, each name only to whom its slave's settings let in,
// and nobody who begins and does not go on stays for long.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { ExecutorPort, type ExecutorPortOptions } from '../../../src/mesos/executor-port.ts';
import { parseSlaveSsl, type SlaveSsl } from '../../../src/mesos/slave-ssl.ts';
import {
  type Authority,
  type Certificate,
  makeAuthority,
  sslEnvironment,
} from '../../support/certificates.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';
import { until } from '../../support/until.ts';

const NAME = 'deimos-4b1c9e7f22aa';
const post = (name: string, message = 'ShutdownExecutorMessage') =>
  `POST /${name}/mesos.internal.${message} HTTP/1.1\r\nContent-Length: 0\r\n\r\n`;

describe('ExecutorPort with TLS', () => {
  let directory: TempDirectory;
  let authority: Authority;
  let own: Certificate;
  let port: ExecutorPort;
  let heard: string[];
  let refused: string[];
  const sockets: Socket[] = [];

  before(async () => {
    directory = await tempDirectory();
    authority = await makeAuthority(directory.at('ca'));
    own = await authority.issue('IP:127.0.0.1', 'slave');
  });
  after(() => directory.remove());
  beforeEach(async () => {
    await listening({});
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await port.close();
  });

  async function listening(options: ExecutorPortOptions): Promise<void> {
    heard = [];
    refused = [];
    port = new ExecutorPort({ onRefused: (why) => refused.push(why), ...options });
    await port.listen(0);
  }
  const ssl = (
    more: Readonly<Record<string, string>> = {},
    certificate = own,
    trusted = authority,
  ): SlaveSsl => parseSlaveSsl({ ...sslEnvironment(certificate, trusted), ...more }) ?? assert.fail();
  const register = (name: string, settings: SlaveSsl | undefined, ip?: string) =>
    port.register(name, ({ message }) => heard.push(`${name} ${message}`), {
      ssl: () => settings,
      ...(ip === undefined ? {} : { ip }),
    });
  async function plain(ip = '127.0.0.1'): Promise<Socket> {
    const socket = connect(port.port, ip);
    sockets.push(socket);
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  }
  async function secure(options: ConnectionOptions = {}): Promise<TLSSocket> {
    const socket = connectTls({ port: port.port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
    sockets.push(socket);
    await once(socket, 'secureConnect');
    socket.on('error', () => {});
    return socket;
  }
  const showing = ({ keyFile, certFile }: Certificate): ConnectionOptions => ({
    key: readFileSync(keyFile),
    cert: readFileSync(certFile),
  });
  async function status(socket: Socket, name = NAME): Promise<string | undefined> {
    socket.write(post(name));
    const [answer] = await once(socket, 'data');
    return /^HTTP\/1\.1 (\d+)/.exec(String(answer))?.[1];
  }
  const closed = async (socket: Socket) => {
    socket.resume();
    if (!socket.closed) await once(socket, 'close');
  };

  it('serves TLS and plain connections at once, each for as long as it likes', async () => {
    register(NAME, ssl());
    register('plain', undefined);
    const [one, other] = [await secure(), await plain()];
    for (let n = 0; n < 3; n += 1) {
      assert.equal(await status(one), '202');
      assert.equal(await status(other, 'plain'), '202');
    }
    assert.equal(heard.length, 6);
    assert.deepEqual(refused, []);
  });

  it('takes several messages from one record, and a hello that comes byte by byte', async () => {
    register(NAME, ssl());
    const raw = await plain();
    raw.setNoDelay(true);
    const { Duplex } = await import('node:stream');
    // Everything that goes out goes byte by byte.
    const slowly = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _encoding, done) => {
        const next = (at: number): void => {
          if (at === chunk.length) done();
          else raw.write(chunk.subarray(at, at + 1), () => setImmediate(next, at + 1));
        };
        next(0);
      },
    });
    raw.on('data', (chunk) => slowly.push(chunk));
    const socket = connectTls({ socket: slowly, rejectUnauthorized: false });
    sockets.push(socket);
    socket.write(post(NAME, 'ExecutorRegisteredMessage') + post(NAME, 'RunTaskMessage'));
    await until('both are heard', () => heard.length === 2);
    assert.deepEqual(heard, [`${NAME} ExecutorRegisteredMessage`, `${NAME} RunTaskMessage`]);
  });

  it('takes the TLS and the ciphers of old slaves', async () => {
    register(NAME, ssl());
    for (const maxVersion of ['TLSv1', 'TLSv1.1', 'TLSv1.2'] as const) {
      const old = { minVersion: 'TLSv1', maxVersion, ciphers: 'AES128-SHA:@SECLEVEL=0' } as const;
      assert.equal(await status(await secure(old)), '202');
    }
  });

  it('has no such name on a plain connection for a slave without downgrade, and has it for one with', async () => {
    register(NAME, ssl());
    register('downgrading', ssl({ SSL_SUPPORT_DOWNGRADE: '1' }));
    const socket = await plain();
    assert.equal(await status(socket), '404');
    assert.equal(await status(socket, 'downgrading'), '202');
    assert.deepEqual(heard, ['downgrading ShutdownExecutorMessage']);
    assert.equal(refused.length, 1);
    assert.match(refused[0] ?? '', /^a plain connection, of a slave with SSL_ENABLED/);
  });

  it('asks what the slave wants at each message: it may have switched SSL on since', async () => {
    const wants: { ssl: SlaveSsl | undefined } = { ssl: undefined };
    port.register(NAME, () => {}, { ssl: () => wants.ssl });
    const socket = await plain();
    assert.equal(await status(socket), '202');
    wants.ssl = ssl();
    assert.equal(await status(socket), '404');
    assert.equal(await status(await secure()), '202');
  });

  it('with SSL_REQUIRE_CERT takes a certificate of the slave’s own authorities alone', async () => {
    const other = await makeAuthority(directory.at('other'));
    const theirs = await other.issue('IP:127.0.0.1', 'theirs');
    const requiring = { SSL_REQUIRE_CERT: '1' };
    register(NAME, ssl(requiring));
    register('other', ssl(requiring, theirs, other));
    register('open', ssl());
    const expected: readonly (readonly [ConnectionOptions, string, string])[] = [
      [{}, '404', '404'],
      [showing(own), '202', '404'],
      [showing(theirs), '404', '202'],
    ];
    for (const [options, mine, others] of expected) {
      const socket = await secure({ ...options, maxVersion: 'TLSv1.2' });
      assert.equal(await status(socket), mine);
      assert.equal(await status(socket, 'other'), others);
      assert.equal(await status(socket, 'open'), '202');
    }
    const selfMade = await makeAuthority(directory.at('self'));
    assert.equal(await status(await secure(showing(selfMade))), '404');
  });

  it('shows the certificate of the slave that registered last, as it is on disk now', async () => {
    const shown = async () => (await secure()).getPeerCertificate().fingerprint256;
    const renewed = { keyFile: directory.at('k'), certFile: directory.at('c') };
    const copy = (from: Certificate) => {
      copyFileSync(from.keyFile, renewed.keyFile);
      copyFileSync(from.certFile, renewed.certFile);
    };
    copy(own);
    register('first', ssl());
    register('second', ssl({}, renewed));
    register('plain', undefined);
    const before = await shown();
    copy(await authority.issue('IP:127.0.0.1', 'renewed'));
    const after = await shown();
    assert.notEqual(after, before);
    register('first', ssl());
    assert.equal(await shown(), before);
  });

  it('shows at a slave’s own address the certificate of that slave, whoever registered since', async () => {
    const ip = '127.0.0.2';
    const shown = async (host: string) => (await secure({ host })).getPeerCertificate().subjectaltname;
    register('there', ssl({}, await authority.issue(`IP:${ip}`, 'there')), ip);
    register('here', ssl());
    await port.listenAlsoAt(ip);
    assert.equal(await shown(ip), `IP Address:${ip}`);
    assert.equal(await shown('127.0.0.1'), 'IP Address:127.0.0.1');
    port.unregister('here');
    register('plain', undefined);
    assert.equal(await shown('127.0.0.1'), `IP Address:${ip}`);
  });

  it('says no to TLS where no slave has it, in words of TLS, and goes on', async () => {
    register(NAME, undefined);
    await assert.rejects(secure(), /alert handshake failure/);
    assert.equal(await status(await plain()), '202');
  });

  it('says which file is wrong, once, and takes the next connection when it is mended', async () => {
    const mended = { keyFile: directory.at('mended.key'), certFile: own.certFile };
    register(NAME, ssl({}, mended));
    await assert.rejects(secure());
    await assert.rejects(secure());
    await until('it is said', () => refused.length > 0);
    assert.equal(refused.length, 1);
    assert.match(refused[0] ?? '', /SSL_KEY_FILE .*mended\.key: ENOENT/);
    copyFileSync(own.keyFile, mended.keyFile);
    assert.equal(await status(await secure()), '202');
  });

  it('closes on garbage, also on what only begins as TLS does', async () => {
    register(NAME, ssl());
    for (const garbage of [
      '\x00',
      'hello',
      '\x16GARBAGE GARBAGE GARBAGE',
      '\x16\x03\x01\x00\x05\x01\x02\x03\x04\x05',
    ]) {
      const bad = await plain();
      bad.write(Buffer.from(garbage, 'latin1'));
      await closed(bad);
    }
    assert.equal(await status(await secure()), '202');
  });

  it('gives up a handshake that does not go on, and no connection for its silence', async () => {
    await port.close();
    await listening({ handshakeMs: 50 });
    register(NAME, ssl({ SSL_SUPPORT_DOWNGRADE: '1' }));
    const [silent, half, one] = [await plain(), await plain(), await plain()];
    const spoken = [await plain(), await secure()];
    for (const socket of spoken) assert.equal(await status(socket), '202');
    const sofar = heard.length;
    half.write(Buffer.from('160301020001', 'hex'));
    one.write(Buffer.from([0x16]));
    await Promise.all([half, one].map(closed));
    assert.equal(heard.length, sofar);
    for (const socket of [silent, ...spoken]) assert.equal(await status(socket), '202');
  });

  it('listens at a second address on the same port, and no longer when it is closed', async () => {
    register(NAME, undefined);
    await Promise.all([port.listenAlsoAt('127.0.0.2'), port.listenAlsoAt('127.0.0.2')]);
    await port.listenAlsoAt('127.0.0.1');
    assert.equal(await status(await plain('127.0.0.2')), '202');
    assert.equal(await status(await plain()), '202');
    await assert.rejects(port.listenAlsoAt('192.0.2.1'), /192\.0\.2\.1/);
    const was = port.port;
    await port.close();
    const socket = connect(was, '127.0.0.2');
    await assert.rejects(once(socket, 'connect'), /ECONNREFUSED/);
  });

  it('closes TLS connections with itself', async () => {
    register(NAME, ssl());
    const socket = await secure();
    assert.equal(await status(socket), '202');
    await Promise.all([closed(socket), port.close()]);
    assert.equal(heard.length, 1);
  });
});

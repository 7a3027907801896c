// One connection to a slave, plain or TLS, as its settings want it. With downgrade TLS is tried first, and plain only
// where the other side is found not to speak it: a side that does and refuses us, or that we refuse, is no reason.
// What no further try can change, as far as we can tell, is a Fault 'refused' with the reason in words.
// We speak the names of our executors, which are as good as passwords. The port of a slave that has died is anybody's: nothing is
// said before the one who listens there is known to be a user who may be the slave.

import { connect, type Socket } from 'node:net';
import { hostname } from 'node:os';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { errnoOf, Fault } from '../fault.ts';
import { unlessAborted } from '../host/pauses.ts';
import { userOfPeer } from '../host/tcp-owners.ts';
import type { SlaveSsl } from './slave-ssl.ts';
import { isRootOrUs, type MayBeSlave } from './slave-users.ts';
import { fingerprintsOf, LENIENT, placeOf, readAuthorities, readOwnCertificate } from './ssl-files.ts';
import { formatUpid, type Upid } from './upid.ts';

/** For a TLS handshake on the loopback; past it the other side counts as one that waits for something else. */
const DIALED_HANDSHAKE_MS = 5_000;

/** Codes that only one who speaks TLS can cause, an alert for one; a plain side closes, or what it says is no record. */
const SPEAKS_TLS = /^ERR_SSL_(?!WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)/;

export interface Dialled {
  /** Errors are silent on it: 'close' follows each. */
  readonly socket: Socket;
  readonly secure: boolean;
}

/**
 * A connected socket. Faults: 'host' if nobody listens, or a user does who cannot be the slave, 'refused' as above; the
 * signal's reason if that is aborted.
 */
export async function dial(
  slave: Upid,
  ssl: SlaveSsl | undefined,
  bound: AbortSignal,
  mayBeSlave: MayBeSlave = isRootOrUs,
): Promise<Dialled> {
  if (ssl === undefined) return { socket: await dialPlain(slave, bound, mayBeSlave), secure: false };
  // Also where the slave asks for none: it dials us, and then we need both.
  const own = await readOwnCertificate(ssl);
  const authorities = ssl.verify ? await readAuthorities(ssl) : undefined;
  const raw = await dialPlain(slave, bound, mayBeSlave);
  try {
    const socket = await shakeHands(slave, raw, bound, {
      ...LENIENT,
      // Shown only to a slave that insists: one that would merely look at it could still find fault with it.
      ...(ssl.require ? own : {}),
      ...(authorities === undefined ? {} : { ca: [...authorities] }),
    });
    if (socket === 'no-tls') {
      if (ssl.downgrade) return { socket: await dialPlain(slave, bound, mayBeSlave), secure: false };
      throw new Fault(
        'refused',
        `the slave ${formatUpid(slave)} does not speak TLS, which its ${ssl.prefix}SSL_ENABLED without SSL_SUPPORT_DOWNGRADE demands`,
      );
    }
    if (ssl.verify) await checkIdentity(slave, ssl, socket, own.cert, bound);
    return { socket, secure: true };
  } catch (error) {
    raw.destroy();
    throw error;
  }
}

async function dialPlain(slave: Upid, bound: AbortSignal, mayBeSlave: MayBeSlave): Promise<Socket> {
  bound.throwIfAborted();
  const socket = connect({ host: slave.ip, port: slave.port, noDelay: true });
  socket.on('error', () => {});
  try {
    await unlessAborted(once(socket, 'connect'), bound);
    refuseImpostor(slave, socket, mayBeSlave);
    return socket;
  } catch (error) {
    socket.destroy();
    const code = errnoOf(error);
    if (code === undefined) throw error;
    throw new Fault('host', `cannot connect to the slave ${formatUpid(slave)}: ${code}`, error);
  }
}

/** Where it cannot be told who is there, he is taken for the slave: it may be in a container, with a network of its own. */
function refuseImpostor(slave: Upid, { localAddress, localPort }: Socket, mayBeSlave: MayBeSlave): void {
  if (localAddress === undefined || localPort === undefined) return;
  const uid = userOfPeer({ address: localAddress, port: localPort }, { address: slave.ip, port: slave.port });
  if (uid === undefined || mayBeSlave(uid)) return;
  throw new Fault(
    'host',
    `user ${uid} listens at the address of the slave ${formatUpid(slave)}, and cannot be it`,
  );
}

async function shakeHands(
  slave: Upid,
  raw: Socket,
  bound: AbortSignal,
  options: object,
): Promise<TLSSocket | 'no-tls'> {
  const tls = await import('node:tls');
  const socket = tls.connect({
    ...options,
    socket: raw,
    // Both are judged afterwards, with the reason in words.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  socket.on('error', () => {});
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), DIALED_HANDSHAKE_MS);
  try {
    await unlessAborted(once(socket, 'secureConnect'), AbortSignal.any([bound, patience.signal]));
    return socket;
  } catch (error) {
    socket.destroy();
    bound.throwIfAborted();
    if (patience.signal.aborted) return 'no-tls';
    const code = errnoOf(error);
    if (code === undefined) throw error;
    if (!SPEAKS_TLS.test(code)) return 'no-tls';
    throw new Fault('refused', `the slave ${formatUpid(slave)} refuses TLS with us: ${code}`, error);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The chain must lead to an authority that the slave trusts itself, and the certificate must be the slave's: the one in
 * its own SSL_CERT_FILE, or one for the address, for the name that this host has for the address, or for the host's own.
 */
async function checkIdentity(
  slave: Upid,
  ssl: SlaveSsl,
  socket: TLSSocket,
  own: Buffer,
  bound: AbortSignal,
): Promise<void> {
  const named = `the certificate of the slave ${formatUpid(slave)}`;
  if (!socket.authorized) {
    // An Error by declaration, a code in fact.
    const why = String(socket.authorizationError);
    throw new Fault('refused', `${named} is not trusted by the authorities in ${placeOf(ssl)}: ${why}`);
  }
  const certificate = socket.getPeerCertificate();
  const [ownFingerprint] = await fingerprintsOf([own]);
  if (certificate.fingerprint256 === ownFingerprint) return;
  if (await isFor(certificate, [slave.ip, hostname()])) return;
  const name = await unlessAborted(nameOf(slave), bound);
  if (name !== undefined && (await isFor(certificate, [name]))) return;
  const names = [slave.ip, hostname(), ...(name === undefined ? [] : [name])].join(', ');
  throw new Fault(
    'refused',
    `${named} is for none of ${names}, and is not the one in its ${ssl.prefix}SSL_CERT_FILE`,
  );
}

async function isFor(certificate: PeerCertificate, names: readonly string[]): Promise<boolean> {
  const { checkServerIdentity } = await import('node:tls');
  return names.some((name) => checkServerIdentity(name, certificate) === undefined);
}

async function nameOf(slave: Upid): Promise<string | undefined> {
  const { lookupService } = await import('node:dns/promises');
  try {
    return (await lookupService(slave.ip, slave.port)).hostname;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

function once(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => resolve());
    socket.once('error', reject);
    // An end before the handshake is an error too, but not in every case.
    socket.once('close', () => reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })));
  });
}

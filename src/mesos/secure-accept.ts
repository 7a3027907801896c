// The TLS side of the executor port: a connection that begins as TLS does becomes one that is read like any other, and
// what its certificate proves is said for each slave that insists on one. Never closes the connection itself.

import type { Socket } from 'node:net';
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';
import { errnoOf, Fault } from '../fault.ts';
import type { SlaveSsl } from './slave-ssl.ts';
import { fingerprintsOf, LENIENT, readAuthorities, readOwnCertificate } from './ssl-files.ts';

/** With which every TLS connection begins; no request of HTTP does. */
export const HANDSHAKE_BYTE = 0x16;
/** A fatal handshake_failure, in the oldest version's words: to whoever wants TLS where there is none. */
export const NO_TLS_HERE = Buffer.from([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28]);

export interface SecureConnection {
  readonly socket: TLSSocket;
  /** Whether the other side may speak for that slave. */
  mayBe(ssl: SlaveSsl): boolean;
}

/**
 * Shakes hands as the slave of `own` would: with its certificate. Of `requiring` each wants a certificate from one of its
 * own authorities. Fault 'refused' where TLS does not come about; what came first must have been given back to `raw`.
 */
export async function acceptSecure(
  raw: Socket,
  own: SlaveSsl,
  requiring: readonly SlaveSsl[],
): Promise<SecureConnection> {
  const { createServer } = await import('node:tls');
  const certificate = await readOwnCertificate(own);
  const different = new Map(requiring.map((ssl) => [keyOf(ssl), ssl]));
  const trusting = await Promise.all(
    [...different].map(async ([key, ssl]) => ({ key, authorities: await readAuthorities(ssl) })),
  );
  const server = createServer({
    ...LENIENT,
    ...certificate,
    dhparam: 'auto',
    requestCert: requiring.length > 0,
    // Judged name by name: the connection may be another slave's, that wants none.
    rejectUnauthorized: false,
    ca: trusting.flatMap(({ authorities }) => authorities),
  });
  const socket = await new Promise<TLSSocket>((resolve, reject) => {
    const failed = (error: unknown): void =>
      reject(new Fault('refused', `no TLS with a client: ${errnoOf(error) ?? 'closed'}`, error));
    server.once('secureConnection', resolve);
    server.once('tlsClientError', failed);
    raw.once('close', failed);
    if (raw.destroyed) failed(undefined);
    else server.emit('connection', raw);
  });
  const chain = socket.authorized ? chainOf(socket.getPeerCertificate(true)) : [];
  const satisfied = new Set<string>();
  for (const { key, authorities } of trusting) {
    const fingerprints = await fingerprintsOf(authorities);
    if (chain.some((link) => fingerprints.includes(link))) satisfied.add(key);
  }
  return { socket, mayBe: (ssl) => !ssl.require || satisfied.has(keyOf(ssl)) };
}

/** Equal for equal settings. */
function keyOf(ssl: SlaveSsl): string {
  return JSON.stringify(ssl);
}

/** Fingerprints from the peer's own certificate up to the root. */
function chainOf(certificate: DetailedPeerCertificate): readonly string[] {
  const fingerprints: string[] = [];
  let link: DetailedPeerCertificate | undefined = certificate;
  // A root is its own issuer.
  while (link?.fingerprint256 !== undefined && !fingerprints.includes(link.fingerprint256)) {
    fingerprints.push(link.fingerprint256);
    link = link.issuerCertificate;
  }
  return fingerprints;
}

// What the SSL settings of a slave name on disk: its key and certificate, which are ours too since we are its executor
// on its host, and the authorities that it trusts. Read again for each connection: certificates are renewed under a
// process that lives for months. What is wrong with a file is a Fault 'refused' that names variable and path, and never
// anything of a key.

import type { X509Certificate } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SecureContextOptions } from 'node:tls';
import { errnoOf, Fault } from '../fault.ts';
import type { SlaveSsl } from './slave-ssl.ts';

/** As OpenSSL names what it looks for in a directory of authorities. */
const HASHED_NAME = /^[0-9a-f]{8}\.\d+$/;
const PEM_CERTIFICATE =
  /-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]*-----END (?:TRUSTED )?CERTIFICATE-----/g;

/**
 * Slaves with SSL speak TLS 1.2 unless told otherwise, old ones with nothing newer than AES-SHA. On the loopback we take
 * whatever the slave's own settings allow. Not 1.3, which no slave of these versions knows: there a refused certificate
 * is heard of only after the handshake.
 */
export const LENIENT = {
  minVersion: 'TLSv1',
  maxVersion: 'TLSv1.2',
  ciphers: 'HIGH:!aNULL:!eNULL:!PSK:!SRP:@SECLEVEL=0',
} as const satisfies SecureContextOptions;

export interface OwnCertificate {
  readonly key: Buffer;
  readonly cert: Buffer;
}

/** Key and certificate, which fit each other. */
export async function readOwnCertificate(ssl: SlaveSsl): Promise<OwnCertificate> {
  const cert = await readNamed(ssl, 'SSL_CERT_FILE', ssl.certFile);
  const key = await readNamed(ssl, 'SSL_KEY_FILE', ssl.keyFile);
  const { createSecureContext } = await import('node:tls');
  try {
    createSecureContext({ ...LENIENT, cert, key });
  } catch (error) {
    // Which of the two is wrong is looked into only then: this is done for each connection.
    try {
      createSecureContext({ ...LENIENT, cert });
    } catch (wrong) {
      throw unusable(`${ssl.prefix}SSL_CERT_FILE of the slave, ${ssl.certFile}, is no certificate`, wrong);
    }
    throw unusable(
      `${ssl.prefix}SSL_KEY_FILE of the slave, ${ssl.keyFile}, is no key for its SSL_CERT_FILE ${ssl.certFile}`,
      error,
    );
  }
  return { key, cert };
}

/** The certificates of the authorities, in PEM; never empty. */
export async function readAuthorities(ssl: SlaveSsl): Promise<readonly string[]> {
  const { X509Certificate } = await import('node:crypto');
  const found: string[] = [];
  const add = (text: string): void => void found.push(...(text.match(PEM_CERTIFICATE) ?? []));
  if (ssl.caFile !== undefined) {
    add((await readNamed(ssl, 'SSL_CA_FILE', ssl.caFile)).toString('latin1'));
    if (found.length === 0)
      throw new Fault(
        'refused',
        `${ssl.prefix}SSL_CA_FILE of the slave, ${ssl.caFile}, has no certificate in it`,
      );
  }
  if (ssl.caDirectory !== undefined) {
    for (const name of await listHashed(ssl, ssl.caDirectory))
      add((await readNamed(ssl, 'SSL_CA_DIR', join(ssl.caDirectory, name))).toString('latin1'));
  }
  if (ssl.caFile === undefined && ssl.caDirectory === undefined) {
    const { getCACertificates } = await import('node:tls');
    return getCACertificates('system');
  }
  for (const pem of found) {
    try {
      new X509Certificate(pem);
    } catch (error) {
      throw unusable(
        `${ssl.prefix}SSL_CA_FILE or SSL_CA_DIR of the slave, ${placeOf(ssl)}, has a broken certificate`,
        error,
      );
    }
  }
  return found;
}

/** Where the authorities lie, for a message. */
export function placeOf({ caFile, caDirectory }: SlaveSsl): string {
  return [caFile, caDirectory].filter((path) => path !== undefined).join(' and ') || "the system's own";
}

/** As node:tls tells of a peer's certificate. */
export async function fingerprintsOf(certificates: readonly (string | Buffer)[]): Promise<readonly string[]> {
  const { X509Certificate } = await import('node:crypto');
  return certificates.map((pem): string => {
    const certificate: X509Certificate = new X509Certificate(pem);
    return certificate.fingerprint256;
  });
}

async function readNamed(ssl: SlaveSsl, variable: string, path: string | undefined): Promise<Buffer> {
  const name = `${ssl.prefix}${variable}`;
  if (path === undefined)
    throw new Fault('refused', `the slave has ${ssl.prefix}SSL_ENABLED, but no ${name}`);
  checkAbsolute(name, path);
  try {
    return await readFile(path);
  } catch (error) {
    throw cannotRead(name, path, error);
  }
}

async function listHashed(ssl: SlaveSsl, path: string): Promise<readonly string[]> {
  const name = `${ssl.prefix}SSL_CA_DIR`;
  checkAbsolute(name, path);
  try {
    return (await readdir(path)).filter((entry) => HASHED_NAME.test(entry)).sort();
  } catch (error) {
    throw cannotRead(name, path, error);
  }
}

/** The slave's own working directory is not ours to know. */
function checkAbsolute(name: string, path: string): void {
  if (!path.startsWith('/'))
    throw new Fault('refused', `${name} of the slave, ${path}, is not an absolute path`);
}

function cannotRead(name: string, path: string, error: unknown): Fault {
  const code = errnoOf(error);
  if (code === undefined) throw error;
  return new Fault('refused', `cannot read ${name} of the slave, ${path}: ${code}`, error);
}

/** OpenSSL's reason is a fixed text; its messages hold nothing of the file. */
function unusable(what: string, error: unknown): Fault {
  const reason = error instanceof Error && 'reason' in error ? String(error.reason) : errnoOf(error);
  return new Fault('refused', reason === undefined ? what : `${what} (${reason})`, error);
}

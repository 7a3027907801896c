// Certificates for a Docker daemon with TLS and for its clients, in a directory of a test's: an authority, what it vouches
// for, and the same of an authority that nobody trusts.

import { symlinkSync } from 'node:fs';
import { type Certificate, makeAuthority } from './certificates.ts';

export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** Paths. The directory also has `ca.pem`, `cert.pem` and `key.pem`, as DOCKER_CERT_PATH wants them. */
export interface Certificates {
  readonly directory: string;
  readonly ca: string;
  /** For 127.0.0.1, ::1 and localhost. */
  readonly server: KeyPair;
  /** For another name. */
  readonly elsewhere: KeyPair;
  readonly client: KeyPair;
  readonly otherCa: string;
  /** A client for whom only `otherCa` vouches. */
  readonly stranger: KeyPair;
}

/** A few seconds. The directory exists already. */
export async function makeCertificates(directory: string): Promise<Certificates> {
  const ca = await makeAuthority(directory);
  const other = await makeAuthority(`${directory}/other-ca`);
  const client = await ca.issue('DNS:client', 'cert');
  symlinkSync(client.keyFile, `${directory}/key.pem`);
  return {
    directory,
    ca: ca.certFile,
    server: pair(await ca.issue('IP:127.0.0.1,IP:::1,DNS:localhost', 'server')),
    elsewhere: pair(await ca.issue('DNS:elsewhere.invalid', 'elsewhere')),
    client: { cert: client.certFile, key: `${directory}/key.pem` },
    otherCa: other.certFile,
    stranger: pair(await other.issue('DNS:stranger', 'stranger')),
  };
}

function pair({ certFile, keyFile }: Certificate): KeyPair {
  return { cert: certFile, key: keyFile };
}

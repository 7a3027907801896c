// Certificates for a Docker daemon with TLS and for its clients, made by openssl(1) in a directory of a test's: a CA, what
// it vouches for, and the same of a CA that nobody trusts. They are good for two days.

import { writeFile } from 'node:fs/promises';
import { output } from './command.ts';

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

/** About a second. The directory exists already. */
export async function makeCertificates(directory: string): Promise<Certificates> {
  const ca = await authority(directory, 'ca');
  const other = await authority(directory, 'other-ca');
  const here = 'subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost\nextendedKeyUsage=serverAuth\n';
  const there = 'subjectAltName=DNS:elsewhere.invalid\nextendedKeyUsage=serverAuth\n';
  const client = 'extendedKeyUsage=clientAuth\n';
  return {
    directory,
    ca: ca.cert,
    server: await leaf(directory, ca, ['server.pem', 'server-key.pem'], here),
    elsewhere: await leaf(directory, ca, ['elsewhere.pem', 'elsewhere-key.pem'], there),
    client: await leaf(directory, ca, ['cert.pem', 'key.pem'], client),
    otherCa: other.cert,
    stranger: await leaf(directory, other, ['stranger.pem', 'stranger-key.pem'], client),
  };
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

async function authority(directory: string, name: string): Promise<KeyPair> {
  const pair = { cert: `${directory}/${name}.pem`, key: `${directory}/${name}-key.pem` };
  const names = ['-subj', `/CN=${name}`, '-keyout', pair.key, '-out', pair.cert];
  await output(['openssl', 'req', '-x509', '-days', '2', ...NEW_KEY, ...names]);
  return pair;
}

async function leaf(
  directory: string,
  by: KeyPair,
  [certName, keyName]: readonly [string, string],
  extensions: string,
): Promise<KeyPair> {
  const pair = { cert: `${directory}/${certName}`, key: `${directory}/${keyName}` };
  const [request, extensionFile] = [`${pair.cert}.csr`, `${pair.cert}.ext`];
  await output([
    ...(['openssl', 'req', ...NEW_KEY, '-subj', `/CN=${certName}`] as const),
    ...['-keyout', pair.key, '-out', request],
  ]);
  await writeFile(extensionFile, extensions);
  await output([
    ...(['openssl', 'x509', '-req', '-days', '2', '-in', request, '-out', pair.cert] as const),
    ...['-CA', by.cert, '-CAkey', by.key, '-CAcreateserial', '-extfile', extensionFile],
  ]);
  return pair;
}

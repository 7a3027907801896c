// Authorities and certificates for tests, made by openssl(1). All keys are RSA: the ciphers that slaves have by default
// know no other.

import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { output } from './command.ts';

const DAYS = 2;

export interface Certificate {
  readonly keyFile: string;
  readonly certFile: string;
}

export interface Authority extends Certificate {
  readonly directory: string;
  /** One for an address or a name, as openssl writes them: `IP:127.0.0.1`, `DNS:host`. `file` tells several apart. */
  issue(name: string, file: string): Promise<Certificate>;
}

const newKey = ['-newkey', 'rsa:2048', '-nodes'];

/** An authority with its files in `directory`, which is made. */
export async function makeAuthority(directory: string): Promise<Authority> {
  mkdirSync(directory, { recursive: true });
  const at = (name: string) => join(directory, name);
  const own = { keyFile: at('ca.key'), certFile: at('ca.pem') };
  const into = ({ keyFile, certFile }: Certificate) => ['-keyout', keyFile, '-out', certFile];
  const subject = (name: string) => ['-subj', `/O=deimos tests/CN=${name}`];
  const validity = ['-days', String(DAYS)];
  await output([
    ...(['openssl', 'req', '-x509'] as const),
    ...[...newKey, ...into(own), ...subject(`authority ${basename(directory)}`), ...validity],
    ...['-addext', 'keyUsage=critical,keyCertSign'],
  ]);
  return {
    ...own,
    directory,
    issue: async (name, file) => {
      const made = { keyFile: at(`${file}.key`), certFile: at(`${file}.pem`) };
      const request = at(`${file}.csr`);
      const extensions = at(`${file}.ext`);
      writeFileSync(extensions, `subjectAltName=${name}\nbasicConstraints=CA:FALSE\n`);
      await output([
        ...(['openssl', 'req'] as const),
        ...[...newKey, '-keyout', made.keyFile, '-out', request, ...subject(file)],
      ]);
      await output([
        ...(['openssl', 'x509', '-req', '-in', request, '-CAcreateserial'] as const),
        ...['-CA', own.certFile, '-CAkey', own.keyFile, '-extfile', extensions, '-out', made.certFile],
        ...validity,
      ]);
      return made;
    },
  };
}

/** The environment of a slave with SSL, to which a test adds what it is about. */
export function sslEnvironment(certificate: Certificate, authority?: Authority): Record<string, string> {
  return {
    LIBPROCESS_IP: '127.0.0.1',
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    SSL_ENABLED: '1',
    SSL_KEY_FILE: certificate.keyFile,
    SSL_CERT_FILE: certificate.certFile,
    ...(authority === undefined ? {} : { SSL_CA_FILE: authority.certFile }),
  };
}

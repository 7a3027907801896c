// What a slave makes of the SSL_* or LIBPROCESS_SSL_* variables of its environment, in the ways of 0.23 – 1.0: TLS 1.2 with the ciphers of the
// time, its certificate shown to all who ask, the other side's verified in both directions as it is told, held against
// the address (for want of names that are different for different addresses of the loopback).

import { readFileSync } from 'node:fs';
import { type ConnectionOptions, checkServerIdentity, type TlsOptions } from 'node:tls';

export interface SslOfSlave {
  readonly downgrade: boolean;
  readonly server: TlsOptions;
  readonly client: ConnectionOptions;
}

/** As slaves have it where SSL_CIPHERS says nothing. */
const CIPHERS = 'AES128-SHA:AES256-SHA:DHE-RSA-AES128-SHA:DHE-RSA-AES256-SHA:@SECLEVEL=0';

/** Read once, as a slave does. undefined: no SSL. Throws where a slave ends. */
export function sslOfSlave(environment: Readonly<Record<string, string>>): SslOfSlave | undefined {
  const value = (name: string) => environment[`LIBPROCESS_${name}`] ?? environment[name];
  const on = (name: string) => ['1', 'true'].includes(value(name) ?? '');
  if (!on('SSL_ENABLED')) return undefined;
  const file = (name: string) => readFileSync(value(name) ?? '');
  const requires = on('SSL_REQUIRE_CERT');
  const verifies = requires || on('SSL_VERIFY_CERT');
  const both = {
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    key: file('SSL_KEY_FILE'),
    cert: file('SSL_CERT_FILE'),
    ...(value('SSL_CA_FILE') === undefined ? {} : { ca: file('SSL_CA_FILE') }),
  } as const;
  return {
    downgrade: on('SSL_SUPPORT_DOWNGRADE'),
    server: { ...both, requestCert: verifies, rejectUnauthorized: requires },
    client: { ...both, rejectUnauthorized: verifies, checkServerIdentity },
  };
}

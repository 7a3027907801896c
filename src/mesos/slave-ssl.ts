// The SSL settings of a slave (0.23 and later), as its environment says them, in one typed value. Pure.
// What the slave allows of ciphers and versions is not among them: it is one end of every connection and sees to that
// itself.

export interface SlaveSsl {
  /** Before the names of the variables, where SSL was switched on by the newer ones: for messages. */
  readonly prefix: '' | 'LIBPROCESS_';
  /** SSL_SUPPORT_DOWNGRADE: it takes and tries plain connections too. */
  readonly downgrade: boolean;
  /** SSL_VERIFY_CERT: whoever it dials must have a certificate for the name of the dialled address. REQUIRE_CERT implies it. */
  readonly verify: boolean;
  /** SSL_REQUIRE_CERT: whoever dials it must have a certificate. */
  readonly require: boolean;
  readonly keyFile: string | undefined;
  readonly certFile: string | undefined;
  /** Neither file nor directory: those that the system trusts. */
  readonly caFile: string | undefined;
  readonly caDirectory: string | undefined;
}

/**
 * undefined for a slave without SSL. A switch is on with `1` or `true`; with anything else a slave does not even start.
 * Newer slaves know each variable as LIBPROCESS_SSL_… too, which goes before SSL_….
 */
export function parseSlaveSsl(
  environment: Readonly<Record<string, string | undefined>>,
): SlaveSsl | undefined {
  const value = (name: string): string => environment[`LIBPROCESS_${name}`] ?? environment[name] ?? '';
  const isOn = (name: string): boolean => ['1', 'true'].includes(value(name));
  const path = (name: string): string | undefined => value(name) || undefined;
  if (!isOn('SSL_ENABLED')) return undefined;
  const require = isOn('SSL_REQUIRE_CERT');
  return {
    prefix: environment.LIBPROCESS_SSL_ENABLED === undefined ? '' : 'LIBPROCESS_',
    downgrade: isOn('SSL_SUPPORT_DOWNGRADE'),
    verify: require || isOn('SSL_VERIFY_CERT'),
    require,
    keyFile: path('SSL_KEY_FILE'),
    certFile: path('SSL_CERT_FILE'),
    caFile: path('SSL_CA_FILE'),
    caDirectory: path('SSL_CA_DIR'),
  };
}

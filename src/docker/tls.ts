// What TLS to a Docker daemon needs, from the files that were named, for every way in which one is spoken to; and what
// is wrong with TLS in words that name the file. The files are looked at for each connection: certificates are renewed
// while we live. No key is ever logged or handed to another process.

import { X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import type { SecureContext } from 'node:tls';
import { errnoOf, Fault, oneLine } from '../fault.ts';
import { type Endpoint, formatEndpoint, type TlsFile, type TlsFiles } from './connection.ts';
import { TlsFileError } from './faults.ts';

/** What a TLS connection is opened with: the very same object as long as no file has changed. */
export interface TlsOptions {
  readonly secureContext: SecureContext;
  readonly rejectUnauthorized: boolean;
}

/** One for each configuration, which lives as long as the containers under it. */
const MADE = new WeakMap<TlsFiles, { readonly stamp: string; readonly options: TlsOptions }>();

/**
 * Fault `config` for a file that cannot be read or is not what it should be; it names the file and who named it, and mayPass
 * holds for it: a key and its certificate are exchanged one after the other.
 */
export async function tlsOptions(files: TlsFiles): Promise<TlsOptions> {
  const all = [files.ca, files.cert, files.key];
  const stamp = (await Promise.all(all.map(stampOf))).join(' ');
  const made = MADE.get(files);
  if (made?.stamp === stamp) return made.options;
  const options = {
    secureContext: await secureContext(files),
    rejectUnauthorized: files.verify,
  };
  MADE.set(files, { stamp, options });
  return options;
}

async function secureContext(files: TlsFiles): Promise<SecureContext> {
  const { createSecureContext } = await import('node:tls');
  const [ca, cert, key] = await Promise.all([read(files.ca), read(files.cert), read(files.key)]);
  if (ca !== undefined) checked(files.ca, 'a certificate', () => new X509Certificate(ca));
  // Every certificate of the file is trusted, as the CLI does, not only those that vouch for themselves.
  const trust = { ...(ca === undefined ? {} : { ca }), allowPartialTrustChain: true };
  // Half a pair is none; that it was wanted shows when the daemon asks for one.
  if (cert === undefined || key === undefined) return createSecureContext(trust);
  checked(files.cert, 'a certificate', () => createSecureContext({ cert }));
  checked(files.key, `the key of the certificate in ${shown(files.cert)}`, () =>
    createSecureContext({ cert, key }),
  );
  return createSecureContext({ ...trust, cert, key });
}

function checked(file: TlsFile, what: string, work: () => unknown): void {
  try {
    work();
  } catch (error) {
    throw unfit(`${named(file)}, needed for TLS to Docker, is not ${what}`, error);
  }
}

async function read(file: TlsFile): Promise<Buffer | undefined> {
  try {
    return await readFile(shown(file));
  } catch (error) {
    if (file.mayBeAbsent && errnoOf(error) === 'ENOENT') return undefined;
    const why = errnoOf(error) ?? oneLine(error);
    throw unfit(`cannot read ${named(file)}, needed for TLS to Docker: ${why}`, error);
  }
}

function unfit(what: string, cause: unknown): Fault {
  return new Fault('config', what, new TlsFileError(oneLine(cause), { cause }));
}

/** Changes whenever the file does; read() says what is wrong with one that is not there. */
async function stampOf(file: TlsFile): Promise<string> {
  try {
    const { ino, size, mtimeNs } = await stat(shown(file), { bigint: true });
    return `${ino}:${size}:${mtimeNs}`;
  } catch (error) {
    return errnoOf(error) ?? 'unknown';
  }
}

function shown({ path }: TlsFile): string {
  return path.startsWith('~/') ? `${userInfo().homedir}${path.slice(1)}` : path;
}

function named(file: TlsFile): string {
  return `${shown(file)} (${file.namedBy})`;
}

/** What Node calls a certificate that does not prove what it should. */
const NOT_PROVEN =
  /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_(CA|PURPOSE)$|PATH_LENGTH_|HOSTNAME_MISMATCH$|ERR_TLS_CERT_)/;
const NO_TLS_THERE = ['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG'];

/**
 * A Fault `docker` in place of an error that TLS made, which says whose certificate was not accepted and which file
 * decides that; any other error as it is.
 */
export function tlsFault(error: unknown, endpoint: Endpoint): unknown {
  const code = errnoOf(error);
  if (endpoint.kind !== 'tcp' || endpoint.tls === undefined || code === undefined) return error;
  const { ca, cert, key } = endpoint.tls;
  const daemon = `the Docker daemon at ${formatEndpoint(endpoint)}`;
  if (NOT_PROVEN.test(code)) {
    const why = `${oneLine(error)}; what it must show is in ${named(ca)}`;
    return new Fault('docker', `${daemon} does not prove who it is: ${why}`, error);
  }
  if (/^ERR_SSL_.*_ALERT_/.test(code)) {
    const alert = code
      .replace(/^ERR_SSL_.*_ALERT_/, '')
      .replaceAll('_', ' ')
      .toLowerCase();
    const ours = `the certificate and key in ${named(cert)} and ${named(key)}`;
    return new Fault(
      'docker',
      `${daemon} does not accept us: ${alert}; it was shown, if there, ${ours}`,
      error,
    );
  }
  if (NO_TLS_THERE.includes(code)) return new Fault('docker', `${daemon} does not speak TLS`, error);
  return error;
}

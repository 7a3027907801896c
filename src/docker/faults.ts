// Errors of the Docker client, translated once: status code or system code → Fault. The daemon's own words are kept,
// on one line. Nothing here looks at those words to decide anything.

import { errnoOf, escapeControl, Fault, type FaultKind, isFault, oneLine } from '../fault.ts';

/** Nobody answers, or the one who did has gone: to be tried again, unlike what the daemon itself said. */
const AWAY = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'ECONNRESET',
  'EPIPE',
  'ECONNABORTED',
  'ENOTCONN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

/** Errors of connecting alone. */
const UNREACHED = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/** An answer of the daemon that is an error; the message is its own words. */
export class DaemonRefusal extends Error {
  readonly statusCode: number;

  constructor(statusCode: number, words: string) {
    super(words);
    this.name = 'DaemonRefusal';
    this.statusCode = statusCode;
  }
}

/** What is wrong with a file that TLS to the daemon needs: it may be in the middle of being exchanged. */
export class TlsFileError extends Error {}

/** The HTTP status of an answer that the client took for an error; undefined where there was no answer. */
export function statusOf(error: unknown): number | undefined {
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number') {
    return error.statusCode;
  }
  return undefined;
}

/**
 * Whether the daemon could not be reached or went away in the middle, be the error Docker's client's or a Fault made of it.
 * A file or a program that is missing has the same system's error, and another kind of Fault.
 */
export function isDaemonAway(error: unknown): boolean {
  if (isFault(error)) return isFault(error, 'docker') && isDaemonAway(error.cause);
  return statusOf(error) === undefined && AWAY.has(errnoOf(error) ?? '');
}

/** Whether nobody has taken the request: the connection was never made. Of any other error that is not known. */
export function isUnreached(error: unknown): boolean {
  if (isFault(error)) return isUnreached(error.cause);
  return UNREACHED.has(errnoOf(error) ?? '');
}

/** Whether asking again may help: the daemon was away or has not answered in time, or TLS to it lacks a file just now. */
export function mayPass(error: unknown): boolean {
  if (isFault(error) && error.cause instanceof TlsFileError) return true;
  return isFault(error, 'timeout') || isDaemonAway(error);
}

function kindOf(status: number | undefined): FaultKind {
  switch (status) {
    case 400:
    case 403:
      return 'refused';
    case 404:
      return 'not-found';
    case 409:
      return 'conflict';
    default:
      return 'docker';
  }
}

/** `doing` says what was attempted: `create container deimos-1`. A Fault passes as it is. */
export function dockerFault(error: unknown, doing: string): Fault {
  if (isFault(error)) return error;
  const status = statusOf(error);
  if (status !== undefined) return new Fault(kindOf(status), `${doing}: ${daemonWords(error)}`, error);
  if (isDaemonAway(error))
    return new Fault('docker', `${doing}: Docker does not answer (${oneLine(error)})`, error);
  return new Fault('docker', `${doing}: ${oneLine(error)}`, error);
}

/** The `message` of Docker's error body, else whatever the client made of it. */
export function daemonWords(error: unknown): string {
  if (error instanceof Error && 'json' in error) {
    const { json } = error;
    if (json !== null && typeof json === 'object' && 'message' in json && typeof json.message === 'string') {
      return escapeControl(json.message.trim());
    }
  }
  return oneLine(error).trim();
}

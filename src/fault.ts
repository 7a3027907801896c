// The one error type of Deimos, and the one module that every other may import.
// A fault is an expected way to fail: it has a kind to branch on and a text for a person. Whatever is thrown
// that is not a Fault is a bug. Foreign errors are translated once, where they enter (docker/, host/).

import { getSystemErrorMessage } from 'node:util';

/**
 * usage     the command line is wrong
 * config    a configuration value cannot be read, or the state root is unusable
 * protocol  bytes from the slave, from Docker or from our own socket that are not what was agreed
 * not-found an image, a container or a state that does not exist
 * conflict  something of that name exists and is not ours
 * refused   the request was understood and will not be carried out (bad image name, bad option, policy)
 * locked    somebody else holds the lock
 * timeout   a bound ran out
 * docker    the Docker engine or its CLI failed or cannot be reached
 * host      the operating system refused (files, processes, sockets)
 */
export type FaultKind =
  | 'usage'
  | 'config'
  | 'protocol'
  | 'not-found'
  | 'conflict'
  | 'refused'
  | 'locked'
  | 'timeout'
  | 'docker'
  | 'host';

export class Fault extends Error {
  readonly kind: FaultKind;

  /** `detail` is shown to people: one sentence without a final stop, naming the thing that failed. */
  constructor(kind: FaultKind, detail: string, cause?: unknown) {
    super(detail, cause === undefined ? undefined : { cause });
    this.name = 'Fault';
    this.kind = kind;
  }
}

/** Whether `error` is a Fault of one of the kinds named; of any kind if none is named. */
export function isFault(error: unknown, ...kinds: FaultKind[]): error is Fault {
  return error instanceof Fault && (kinds.length === 0 || kinds.includes(error.kind));
}

/** The system's code of a Node error (`ENOENT`, `EPIPE`), also of a Fault `host` made of one; or undefined. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof Fault) return error.kind === 'host' ? errnoOf(error.cause) : undefined;
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}

/** The system's words for an error of its own: `no space left on device`. */
export function systemWords(error: unknown): string {
  const { errno } = error instanceof Error && 'errno' in error ? error : { errno: undefined };
  return typeof errno === 'number' ? getSystemErrorMessage(errno) : (errnoOf(error) ?? 'unknown error');
}

/**
 * What the operating system refused, as a Fault `host` that says so: `cannot write /a/b: no space left on device`. What is no
 * refusal of its, or is a Fault already, comes back as it is.
 */
export function refusal(what: string, error: unknown): unknown {
  if (error instanceof Fault || errnoOf(error) === undefined) return error;
  return new Fault('host', `${what}: ${systemWords(error)}`, error);
}

const DISK_REFUSALS: readonly (string | undefined)[] = ['ENOSPC', 'EDQUOT', 'EROFS'];

/** Whether the disk refused for want of room, or since it is read-only. */
export function isDiskRefusal(error: unknown): boolean {
  return DISK_REFUSALS.includes(errnoOf(error));
}

/** The text of whatever was thrown, on one line, control characters escaped: fit for a terminal or a log. */
export function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return escapeControl(text);
}

/**
 * What a terminal or a log does not show but obeys, written as \n, \t, \x1b, \u202e …, so that foreign text stays on its line and
 * in its order. Twice is the same as once.
 */
export function escapeControl(text: string): string {
  return replaceControl(text, (c) => {
    if (c === '\n') return '\\n';
    if (c === '\r') return '\\r';
    if (c === '\t') return '\\t';
    const code = c.charCodeAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : escapedInUnicode(c);
  });
}

/** With something in the place of each control character: C0, DEL, C1, line separators, and what turns the direction of writing. */
export function replaceControl(text: string, replacement: (character: string) => string): string {
  const control =
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
  return text.replace(control, replacement);
}

/** One UTF-16 unit as `\u202e`. */
export function escapedInUnicode(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

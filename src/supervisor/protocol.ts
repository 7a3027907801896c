// What a short-lived verb asks of the supervisor: one JSON line each way over the Unix socket, one question a connection.
// The socket lies in a directory that only our user can enter; requests are checked all the same, since an older or
// newer deimos may ask.

import { type MesosContainerId, mesosContainerId } from '../container/identity.ts';
import type { Build } from './builds.ts';

export type Request =
  /** Accept the pending request of this container. Answered when it is accepted, durably. */
  | { readonly op: 'run'; readonly container: MesosContainerId }
  /** Answered when the supervisor holds the container's `wait` lock, or its Termination is written. */
  | { readonly op: 'hold'; readonly container: MesosContainerId }
  /** The file `limits` has changed. Answered when they are applied, or at once while nothing runs. */
  | { readonly op: 'update'; readonly container: MesosContainerId }
  /** Answered when the container is gone from Docker. */
  | { readonly op: 'destroy'; readonly container: MesosContainerId }
  /** Answered when every container is known and the executor port listens under all its names. */
  | { readonly op: 'ready' };

export type Reply = { readonly ok: true } | { readonly ok: false; readonly detail: string };

/** The longest line either side takes. */
export const LINE_BYTES_MAX = 4096;

const WITH_CONTAINER = ['run', 'hold', 'update', 'destroy'] as const;

/** A request, and whose it is. */
export interface Asked {
  readonly request: Request;
  /** undefined where it was not said. */
  readonly by: Build | undefined;
}

export function requestLine(request: Request, by: Build): string {
  return `${JSON.stringify({ ...request, by })}\n`;
}

/** undefined for anything that is not a request of this protocol. */
export function parseRequestLine(line: string): Asked | undefined {
  const value = parseObject(line);
  if (value === undefined || !('op' in value)) return undefined;
  const by = 'by' in value ? parseBuild(value.by) : undefined;
  if (value.op === 'ready') return { request: { op: 'ready' }, by };
  const op = WITH_CONTAINER.find((name) => name === value.op);
  if (op === undefined || !('container' in value) || typeof value.container !== 'string') return undefined;
  const container = mesosContainerId(value.container);
  return container === undefined ? undefined : { request: { op, container }, by };
}

function parseBuild(value: unknown): Build | undefined {
  if (typeof value !== 'object' || value === null || !('version' in value) || !('records' in value))
    return undefined;
  const { version, records } = value;
  return typeof version === 'string' && typeof records === 'number' ? { version, records } : undefined;
}

/** undefined for anything that is not a reply. */
export function parseReplyLine(line: string): Reply | undefined {
  const value = parseObject(line);
  if (value === undefined || !('ok' in value)) return undefined;
  if (value.ok === true) return { ok: true };
  const detail =
    'detail' in value && typeof value.detail === 'string' ? value.detail : 'refused without a reason';
  return { ok: false, detail };
}

function parseObject(line: string): object | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

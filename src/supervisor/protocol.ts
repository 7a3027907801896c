// What a short-lived verb asks of the supervisor: one JSON line each way. A Unix socket takes them, one question a connection;
// a FIFO beside it takes short questions, whose answers go into files (ask-by-file.ts). Both lie in a directory that only our
// user can enter; requests are checked all the same, since an older or newer deimos may ask.

import { type MesosContainerId, mesosContainerId } from '../container/identity.ts';
import { Fault } from '../fault.ts';
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
  | { readonly op: 'ready' }
  /** A service is to look after this root: who was started on demand makes room. Refused by another service. */
  | { readonly op: 'relieve' };

export type Reply = { readonly ok: true } | { readonly ok: false; readonly detail: string };

/** The longest line either side takes; PIPE_BUF, so that a FIFO takes a line whole. */
export const LINE_BYTES_MAX = 4096;

/** Names of answers' files, in the supervisor's directory: like a fact's before its rename, and removed as those are. */
const ANSWER_FILE = /^answer\.\d+\.\d+\.tmp$/;

const WITH_CONTAINER = ['run', 'hold', 'update', 'destroy'] as const;
const ALONE = ['ready', 'relieve'] as const;

/** A request, and whose it is. */
export interface Asked {
  readonly request: Request;
  /** undefined where it was not said. */
  readonly by: Build | undefined;
  /** The file that is there for the answer, in the supervisor's directory; undefined: it goes back over the socket. */
  readonly answerIn: string | undefined;
}

export function requestLine(request: Request, by: Build, answerIn?: string): string {
  return `${JSON.stringify({ ...request, by, answerIn })}\n`;
}

export function replyLine(reply: Reply): string {
  return `${JSON.stringify(reply)}\n`;
}

/** What becomes of a line; undefined: whoever asks finds the next supervisor, or starts it. */
export type Answer = (asked: Asked | undefined) => Promise<Reply | undefined>;

/** undefined for anything that is not a request of this protocol. */
export function parseRequestLine(line: string): Asked | undefined {
  const value = parseObject(line);
  if (value === undefined || !('op' in value)) return undefined;
  const by = 'by' in value ? parseBuild(value.by) : undefined;
  const answerIn =
    'answerIn' in value && typeof value.answerIn === 'string' && ANSWER_FILE.test(value.answerIn)
      ? value.answerIn
      : undefined;
  const alone = ALONE.find((name) => name === value.op);
  if (alone !== undefined) return { request: { op: alone }, by, answerIn };
  const op = WITH_CONTAINER.find((name) => name === value.op);
  if (op === undefined || !('container' in value) || typeof value.container !== 'string') return undefined;
  const container = mesosContainerId(value.container);
  return container === undefined ? undefined : { request: { op, container }, by, answerIn };
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

/** Fault `timeout`; `said`: what a supervisor that could not start has said of itself. */
export function noAnswer(timeoutMs: number, said?: string): Fault {
  const why = said === undefined ? '' : `: ${said}`;
  return new Fault('timeout', `the supervisor did not answer within ${Math.round(timeoutMs / 1000)} s${why}`);
}

// A container's output as Docker gives it: the live stream (attach) and the log. Spoken over a socket of its own rather
// than through dockerode: reading must stop, in the kernel, whenever the reader does not ask for more, and one buffer
// per container must do. Nothing is decided here and nothing is written.

import type { IncomingMessage, RequestOptions } from 'node:http';
import { connect, isIP, type Socket } from 'node:net';
import type { DockerId } from '../container/identity.ts';
import { Fault } from '../fault.ts';
import type { Endpoint } from './connection.ts';
import { DaemonRefusal, dockerFault, statusOf } from './faults.ts';
import type { StreamName } from './frames.ts';
import { type LogMessage, LogParser, TtyLogParser } from './log-parser.ts';
import { type TlsOptions, tlsFault, tlsOptions } from './tls.ts';

/** What one read of the attach may give. A read from a unix socket rarely gives more, and a task costs one of these. */
const READ_BYTES = 64 * 1024;
const HEAD_MAX_BYTES = 16 * 1024;
/** For an answer's head, and for a log that stops coming. */
const ANSWER_TIMEOUT_MS = 30_000;
/** Messages are handed on in batches of about this size. */
const BATCH_BYTES = 128 * 1024;
const NOT_IMPLEMENTED = 501;

export type { LogMessage } from './log-parser.ts';

export interface LogQuery {
  readonly stream: StreamName;
  /** Messages with this stamp or a later one. */
  readonly sinceNs?: bigint;
  /** Only the last ones, counted over both streams. */
  readonly tail?: number;
}

export interface Attachment {
  /** When the request was sent, ns since 1970: what was logged before that is not in this stream. */
  readonly requestedNs: bigint;
  /**
   * The next bytes, in a buffer that the following read overwrites; undefined at the end, whatever ended it.
   * Nothing is read from the socket between two calls.
   */
  read(): Promise<Buffer | undefined>;
  /** Safe to call twice; a read that waits gives undefined. */
  close(): void;
}

export interface OutputSource {
  /** Resolves once Docker has taken the stream over; the signal is for that only. Fault `not-found`, `docker`, `timeout`. */
  attach(signal: AbortSignal): Promise<Attachment>;
  /** What the log holds now, in batches; never follows. Fault `refused` if the driver cannot be read, `not-found`, `docker`. */
  readLog(query: LogQuery, signal: AbortSignal): AsyncIterable<readonly LogMessage[]>;
  /** Whether it runs or has yet to be started; false if it ended or is gone. Fault `docker` if nobody answers. */
  isAlive(signal: AbortSignal): Promise<boolean>;
}

/** Connects to nothing yet. `tty`: as the container was created. */
export function dockerOutput(endpoint: Endpoint, id: DockerId, tty: boolean): OutputSource {
  const path = `/containers/${encodeURIComponent(id)}`;
  return {
    attach: async (signal) => {
      try {
        return await openAttach(endpoint, `${path}/attach?stream=1&stdout=1&stderr=1`, signal);
      } catch (error) {
        signal.throwIfAborted();
        throw dockerFault(tlsFault(error, endpoint), `attach to ${id}`);
      }
    },
    readLog: (query, signal) => readLog(endpoint, path, query, tty, signal),
    isAlive: (signal) => isAlive(endpoint, path, signal),
  };
}

async function openAttach(endpoint: Endpoint, path: string, signal: AbortSignal): Promise<Attachment> {
  // Connecting counts: over TCP there may be somebody who takes the connection and says nothing.
  const bound = new AbortController();
  const timer = setTimeout(() => bound.abort(), ANSWER_TIMEOUT_MS);
  try {
    return await openBounded(endpoint, path, AbortSignal.any([signal, bound.signal]));
  } catch (error) {
    if (!bound.signal.aborted) throw error;
    throw new Fault('timeout', `attach: Docker gave no answer within ${ANSWER_TIMEOUT_MS / 1000} s`, error);
  } finally {
    clearTimeout(timer);
  }
}

async function openBounded(endpoint: Endpoint, path: string, signal: AbortSignal): Promise<Attachment> {
  const stream = await openByteStream(endpoint, signal);
  const onAbort = (): void => stream.close();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const requestedNs = BigInt(Date.now()) * 1_000_000n;
    stream.write(
      `POST ${path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n`,
    );
    const { head, rest } = await readHead(stream);
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1]);
    if (Number.isNaN(status)) throw new Fault('protocol', 'attach: what Docker answers is not HTTP');
    if (status !== 101 && status !== 200) {
      throw new DaemonRefusal(status, wordsOf(rest.toString()) || `status ${status}`);
    }
    const first = { bytes: rest.length > 0 ? rest : undefined };
    return {
      requestedNs,
      read: async () => {
        const { bytes } = first;
        if (bytes === undefined) return await stream.read();
        first.bytes = undefined;
        return bytes;
      },
      close: () => stream.close(),
    };
  } catch (error) {
    stream.close();
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** A connection that ends without an answer: Docker is away, as for any other request. */
class HangUp extends Error {
  readonly code = 'ECONNRESET';

  constructor() {
    super('it closed the connection');
  }
}

async function readHead(stream: ByteStream): Promise<{ head: string; rest: Buffer }> {
  let got = Buffer.alloc(0);
  for (;;) {
    const end = got.indexOf('\r\n\r\n');
    if (end >= 0) return { head: got.toString('latin1', 0, end), rest: got.subarray(end + 4) };
    if (got.length > HEAD_MAX_BYTES) throw new Fault('protocol', 'attach: the answer has no end of its head');
    const more = await stream.read();
    if (more === undefined) throw stream.error() ?? new HangUp();
    got = Buffer.concat([got, more]);
  }
}

/** The message of an error body, be it chunked or not. */
function wordsOf(body: string): string {
  const json = /\{.*\}/s.exec(body)?.[0];
  if (json === undefined) return body.trim();
  try {
    const parsed: unknown = JSON.parse(json);
    if (parsed !== null && typeof parsed === 'object' && 'message' in parsed) return String(parsed.message);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return body.trim();
}

interface ByteStream {
  read(): Promise<Buffer | undefined>;
  write(text: string): void;
  close(): void;
  error(): Error | undefined;
}

async function openByteStream(endpoint: Endpoint, signal: AbortSignal): Promise<ByteStream> {
  signal.throwIfAborted();
  if (endpoint.kind === 'tcp' && endpoint.tls !== undefined)
    return await openTls(endpoint, await tlsOptions(endpoint.tls), signal);
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  const state: {
    waiting?: (bytes: Buffer | undefined) => void;
    ready?: Buffer;
    ended: boolean;
    error?: Error;
  } = { ended: false };
  const address = endpoint.kind === 'unix' ? { path: endpoint.path } : endpoint;
  const socket = connect({
    ...address,
    onread: {
      buffer,
      callback: (count) => {
        const bytes = buffer.subarray(0, count);
        const { waiting } = state;
        delete state.waiting;
        if (waiting === undefined) state.ready = bytes;
        else waiting(bytes);
        // Stops reading: the next read() asks for more.
        return false;
      },
    },
  });
  const end = (): void => {
    state.ended = true;
    state.waiting?.(undefined);
    delete state.waiting;
  };
  socket.on('end', end);
  socket.on('close', end);
  socket.on('error', (error) => {
    state.error = error;
  });
  await connected(socket, 'connect', signal);
  return {
    read: () => {
      const { ready } = state;
      if (ready !== undefined) {
        delete state.ready;
        return Promise.resolve(ready);
      }
      if (state.ended) return Promise.resolve(undefined);
      return new Promise((resolve) => {
        state.waiting = resolve;
        socket.resume();
      });
    },
    write: (text) => void socket.write(text),
    close: () => void socket.destroy(),
    error: () => state.error,
  };
}

/** TLS has no buffer of ours; the stream's own is kept small instead. */
async function openTls(
  { host, port }: Endpoint & { kind: 'tcp' },
  tls: TlsOptions,
  signal: AbortSignal,
): Promise<ByteStream> {
  const { connect: connectTls } = await import('node:tls');
  signal.throwIfAborted();
  // Whoever answers for several names is told which is meant.
  const servername = isIP(host) === 0 ? { servername: host } : {};
  const socket = connectTls({ host, port, ...servername, ...tls });
  const state: { error?: Error } = {};
  socket.on('error', (error) => {
    state.error = error;
  });
  await connected(socket, 'secureConnect', signal);
  const chunks = socket[Symbol.asyncIterator]();
  return {
    read: async () => {
      try {
        const { value, done } = await chunks.next();
        return done === true || !Buffer.isBuffer(value) ? undefined : value;
      } catch (error) {
        // Whatever broke the connection ended it; error() has the reason.
        if (state.error === undefined && !socket.destroyed) throw error;
        return undefined;
      }
    },
    write: (text) => void socket.write(text),
    close: () => void socket.destroy(),
    error: () => state.error,
  };
}

async function connected(
  socket: Socket,
  event: 'connect' | 'secureConnect',
  signal: AbortSignal,
): Promise<void> {
  const onAbort = (): void => void socket.destroy(new Fault('timeout', 'connecting to Docker was given up'));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once(event, resolve);
      socket.once('error', reject);
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function get(endpoint: Endpoint, path: string, signal: AbortSignal): Promise<IncomingMessage> {
  const address: RequestOptions =
    endpoint.kind === 'unix'
      ? { socketPath: endpoint.path }
      : { host: endpoint.host, port: endpoint.port, ...(endpoint.tls ? await tlsOptions(endpoint.tls) : {}) };
  const { request } =
    endpoint.kind === 'tcp' && endpoint.tls ? await import('node:https') : await import('node:http');
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const asked = request({ ...address, path, agent: false, signal, timeout: ANSWER_TIMEOUT_MS }, resolve);
    asked.on('error', (error) => reject(tlsFault(error, endpoint)));
    asked.on('timeout', () => asked.destroy(new Fault('timeout', `Docker says nothing more on ${path}`)));
    asked.end();
  });
  if (response.statusCode === 200) return response;
  const words = wordsOf((await bodyOf(response)).toString());
  throw new DaemonRefusal(response.statusCode ?? 0, words);
}

async function bodyOf(response: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part);
  return Buffer.concat(parts);
}

async function* readLog(
  endpoint: Endpoint,
  path: string,
  query: LogQuery,
  tty: boolean,
  signal: AbortSignal,
): AsyncIterable<readonly LogMessage[]> {
  const since = query.sinceNs ?? 0n;
  const seconds = `${since / 1_000_000_000n}.${String(since % 1_000_000_000n).padStart(9, '0')}`;
  const words = [
    `${query.stream}=1&timestamps=1`,
    ...(since > 0n ? [`since=${seconds}`] : []),
    ...(query.tail === undefined ? [] : [`tail=${query.tail}`]),
  ];
  // With a tty there is one stream, and the log calls it stdout.
  if (tty && query.stream === 'stderr') return;
  const parser = tty ? new TtyLogParser() : new LogParser();
  try {
    const response = await get(endpoint, `${path}/logs?${words.join('&')}`, signal);
    let batch: LogMessage[] = [];
    let size = 0;
    for await (const part of response) {
      for (const message of parser.push(part)) {
        batch.push(message);
        size += message.bytes.length + 1;
      }
      if (size < BATCH_BYTES) continue;
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(...parser.end());
    if (batch.length > 0) yield batch;
  } catch (error) {
    signal.throwIfAborted();
    if (statusOf(error) === NOT_IMPLEMENTED) throw new Fault('refused', 'the log cannot be read', error);
    throw dockerFault(error, 'read the log');
  }
}

async function isAlive(endpoint: Endpoint, path: string, signal: AbortSignal): Promise<boolean> {
  try {
    const parsed: unknown = JSON.parse(
      (await bodyOf(await get(endpoint, `${path}/json`, signal))).toString(),
    );
    const state = property(parsed, 'State');
    // A created container is one that will run.
    return property(state, 'Running') === true || property(state, 'Status') === 'created';
  } catch (error) {
    signal.throwIfAborted();
    if (statusOf(error) === 404) return false;
    throw dockerFault(error, 'look at the container');
  }
}

function property(of: unknown, name: string): unknown {
  return of !== null && typeof of === 'object' ? Reflect.get(of, name) : undefined;
}

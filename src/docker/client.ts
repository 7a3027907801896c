// One request to the Docker daemon: opened, read to its end, bounded. The only place that loads dockerode, and only
// when something is asked. It decides nothing: statuses and broken connections come out as errors for faults.ts.

import { Agent, type IncomingMessage } from 'node:http';
import { inspect } from 'node:util';
import type Docker from 'dockerode';
import type { Json } from '../container/create-request.ts';
import { Fault } from '../fault.ts';
import type { Endpoint } from './connection.ts';
import { DaemonRefusal } from './faults.ts';
import { type TlsOptions, tlsFault, tlsOptions } from './tls.ts';

export interface RequestOptions {
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  readonly body?: Json;
  /** The value of X-Registry-Auth, a secret: it travels in a header and shows nowhere. */
  readonly registryAuth?: string;
}

/** The answers that Docker gives are small; what is larger is not an answer of Docker. */
const ANSWER_MAX_BYTES = 32 * 1024 * 1024;
/** Half-open TCP connections of requests without a time limit are noticed by these. */
const KEEP_ALIVE_PROBE_MS = 30_000;
/** Every status is an answer for us to judge: the client's own error texts lose the daemon's words. */
const ALL_STATUSES: Readonly<Record<number, boolean>> = Object.fromEntries(
  Array.from({ length: 500 }, (_, i) => [i + 100, true]),
);

/**
 * A connection for each request: one kept open across a restart of dockerd would fail the next request after it was
 * written, and whether it was carried out could not be told. The client formats all it holds for a debug line with
 * every request; an agent with its sockets would be half a megabyte of text each time.
 */
class OneShotAgent extends Agent {
  [inspect.custom](): string {
    return 'OneShotAgent';
  }
}

export class Client {
  readonly #endpoint: Endpoint;
  #made: { readonly docker: Docker; readonly tls: TlsOptions | undefined } | undefined;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  /** dockerode itself; another one whenever a file that TLS needs has changed. Its requests have no time limit. */
  async #docker(): Promise<Docker> {
    const endpoint = this.#endpoint;
    const tls = endpoint.kind === 'tcp' && endpoint.tls ? await tlsOptions(endpoint.tls) : undefined;
    if (this.#made === undefined || this.#made.tls !== tls)
      this.#made = { docker: await openDocker(endpoint, tls), tls };
    return this.#made.docker;
  }

  /** Resolves with the answer's head, whatever its status. Rejects with the system's error or the signal's reason. */
  async open(
    method: 'GET' | 'HEAD' | 'POST' | 'DELETE',
    path: string,
    signal: AbortSignal,
    options: RequestOptions = {},
  ): Promise<IncomingMessage> {
    const docker = await this.#docker();
    signal.throwIfAborted();
    const query = options.query ?? {};
    const hasQuery = Object.keys(query).length > 0;
    return await new Promise<IncomingMessage>((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      const dial = {
        path: hasQuery ? `${path}?` : path,
        method,
        // An absent _body would send the query as the body.
        options: { _query: query, _body: options.body ?? {} },
        ...(options.registryAuth === undefined ? {} : { authconfig: { base64: options.registryAuth } }),
        abortSignal: signal,
        isStream: true,
        statusCodes: ALL_STATUSES,
      };
      docker.modem.dial(dial, (error: unknown, response: unknown) => {
        signal.removeEventListener('abort', onAbort);
        if (error) return reject(signal.aborted ? signal.reason : tlsFault(error, this.#endpoint));
        // With isStream the client hands out Node's own response.
        const message = response as IncomingMessage;
        if (signal.aborted) message.destroy();
        message.socket?.setKeepAlive(true, KEEP_ALIVE_PROBE_MS);
        resolve(message);
      });
    });
  }

  /** The whole answer. Rejects with DaemonRefusal for a status that is not 2xx, and when it breaks off. */
  async ask(
    method: 'GET' | 'HEAD' | 'POST' | 'DELETE',
    path: string,
    signal: AbortSignal,
    options: RequestOptions = {},
  ): Promise<{ readonly headers: IncomingMessage['headers']; readonly json: unknown }> {
    const response = await this.open(method, path, signal, options);
    const json = await readAnswer(response, signal);
    return { headers: response.headers, json };
  }
}

/** Reads an answer to its end: JSON where it is JSON, else undefined. Rejects as `ask` does. */
export async function readAnswer(response: IncomingMessage, signal: AbortSignal): Promise<unknown> {
  const text = await readText(response, signal);
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The same for an answer of any kind. */
export async function readText(response: IncomingMessage, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const onAbort = (): void => void response.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    // A connection that breaks off ends this loop with an error, not with a short answer.
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > ANSWER_MAX_BYTES) throw new Fault('protocol', 'an answer of Docker is larger than 32 MiB');
      chunks.push(chunk);
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  const text = Buffer.concat(chunks).toString();
  const status = response.statusCode ?? 0;
  if (status < 200 || status > 299) throw new DaemonRefusal(status, wordsOf(text, status));
  return text;
}

function wordsOf(text: string, status: number): string {
  try {
    const parsed: unknown = JSON.parse(text);
    if (parsed !== null && typeof parsed === 'object' && 'message' in parsed) return String(parsed.message);
  } catch {
    // not Docker's error body: a proxy's page, or nothing
  }
  return text.trim().slice(0, 500) || `HTTP status ${status}`;
}

async function openDocker(endpoint: Endpoint, tls: TlsOptions | undefined): Promise<Docker> {
  const { default: DockerClass } = await import('dockerode');
  // All keys are given: the client makes up what is missing.
  const common = { pathPrefix: '/', timeout: undefined, headers: {}, ...NO_TLS_FILES };
  if (endpoint.kind === 'unix') {
    const agent = new OneShotAgent({ keepAlive: false });
    const options = { ...common, socketPath: endpoint.path, protocol: 'http', agent };
    return new DockerClass({ ...options, host: undefined, port: undefined } as Docker.DockerOptions);
  }
  const { host, port } = endpoint;
  const there = { ...common, host, port, socketPath: undefined };
  if (tls === undefined) {
    const agent = new OneShotAgent({ keepAlive: false });
    return new DockerClass({ ...there, protocol: 'http', agent } as Docker.DockerOptions);
  }
  const { Agent: TlsAgent } = await import('node:https');
  const agent = new TlsAgent({ keepAlive: false, ...tls });
  Object.assign(agent, { [inspect.custom]: () => 'OneShotAgent' });
  return new DockerClass({ ...there, protocol: 'https', agent } as Docker.DockerOptions);
}

/** The agent has what TLS needs. */
const NO_TLS_FILES = { ca: undefined, cert: undefined, key: undefined } as const;

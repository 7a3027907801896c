// Stands between deimos and a dockerd, sees each request, and does to it what the test wants: lets it pass, delays it, never
// answers, breaks the connection before the request reached the engine or after the engine has carried it out, or answers in
// the engine's place. Attached streams pass through.

import { request as ask, createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dockerd } from './dockerd.ts';
import { tempDirectory } from './temp.ts';

export interface DockerRequest {
  /** From 1, in the order in which they came. */
  readonly number: number;
  /** `POST /containers/{}/start`: no version, no query, `{}` for a name or an id. */
  readonly route: string;
  /** Its answer has been passed on to its end; never of one that takes the connection over. */
  readonly isOver: boolean;
}

export type DoorFault =
  | { readonly kind: 'pass' }
  /** The connection breaks; the engine has not heard of it. */
  | { readonly kind: 'refuse' }
  /** The engine has carried it out and answered; the connection breaks before a byte of that arrives. */
  | { readonly kind: 'lose-answer' }
  /** The engine has carried it out; its answer never comes, and the connection stays. */
  | { readonly kind: 'hold-answer' }
  /** It reaches the engine so much later. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** It reaches the engine when that is so. */
  | { readonly kind: 'delay-until'; readonly ready: Promise<unknown> }
  /** Neither reaches the engine nor is ever answered. */
  | { readonly kind: 'hang' }
  /** Answered by the door; the engine has not heard of it. */
  | { readonly kind: 'answer'; readonly status: number; readonly body: string }
  /** Bytes that are no HTTP. */
  | { readonly kind: 'garbage' };

const PASS: DoorFault = { kind: 'pass' };

/** What to do with a request; called when it arrives, and again, `answered`, when the engine has carried it out. */
export type DoorRule = (request: DockerRequest, answered: boolean) => DoorFault;

export interface DockerDoor extends AsyncDisposable {
  /** For `[docker] host`. */
  readonly host: string;
  readonly socket: string;
  readonly requests: readonly DockerRequest[];
  /** From now on; undefined: everything passes. */
  setRule(rule: DoorRule | undefined): void;
  /** Breaks all connections that are open. */
  breakAll(): void;
  /** From now on nobody listens, until `open`. */
  close(): Promise<void>;
  open(): Promise<void>;
}

/** Names and ids, which differ between runs, and what is below an image's name. */
const VARIABLE: readonly [RegExp, string][] = [
  [/^\/v[\d.]+/, ''],
  [/^\/(containers|exec|networks|volumes)\/(?!create$|json$|prune$)[^/]+/, '/$1/{}'],
  [/^\/images\/(?!create$|json$|prune$).+\/(json|history|tag|push)$/, '/images/{}/$1'],
];

export function routeOf(method: string, target: string): string {
  const path = target.replace(/\?.*$/s, '');
  return `${method} ${VARIABLE.reduce((text, [pattern, to]) => text.replace(pattern, to), path)}`;
}

/** undefined if it breaks off. */
async function wholeOf(message: IncomingMessage): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  try {
    for await (const part of message) parts.push(part);
  } catch {
    return undefined;
  }
  return Buffer.concat(parts);
}

/** Starts one in front of `dockerd`. */
export async function openDoor(dockerd: Pick<Dockerd, 'socket'>): Promise<DockerDoor> {
  const directory = await tempDirectory('door-');
  const socket = directory.at('s');
  const requests: DockerRequest[] = [];
  const open = new Set<Duplex>();
  const facts = { rule: undefined as DoorRule | undefined };
  const seen = (message: IncomingMessage): DockerRequest & { isOver: boolean } => {
    const request = {
      number: requests.length + 1,
      route: routeOf(message.method ?? '', message.url ?? ''),
      isOver: false,
    };
    requests.push(request);
    return request;
  };
  const judge = (request: DockerRequest, answered: boolean): DoorFault =>
    facts.rule?.(request, answered) ?? PASS;
  /** Whether it is to go on to the engine. */
  const admit = async (request: DockerRequest, client: Duplex): Promise<boolean> => {
    const fault = judge(request, false);
    switch (fault.kind) {
      case 'pass':
      case 'lose-answer':
      case 'hold-answer':
        return true;
      case 'delay':
        await sleep(fault.ms, undefined, { ref: false });
        return !client.destroyed;
      case 'delay-until':
        await fault.ready;
        return !client.destroyed;
      case 'hang':
        return false;
      case 'refuse':
        client.destroy();
        return false;
      case 'answer': {
        const body = Buffer.from(fault.body);
        client.end(
          `HTTP/1.1 ${fault.status} Fault\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${fault.body}`,
        );
        return false;
      }
      case 'garbage':
        client.end(Buffer.from('\u0000\u0001 no HTTP at all \r\n\r\n{'));
        return false;
    }
  };

  const onward = (message: IncomingMessage, body: Buffer) => {
    const { 'transfer-encoding': _, ...headers } = message.headers;
    return ask({
      socketPath: dockerd.socket,
      method: message.method,
      path: message.url,
      headers: body.length > 0 ? { ...headers, 'content-length': body.length } : headers,
      setHost: false,
      agent: false,
    });
  };
  const onRequest = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    const request = seen(message);
    if (!(await admit(request, message.socket))) return;
    // Whole and at once: an engine that answers before it has seen the end of a body in pieces breaks the connection.
    const body = await wholeOf(message);
    if (body === undefined) return;
    const upstream = onward(message, body);
    upstream.on('response', (answer) => {
      const { kind } = judge(request, true);
      if (kind === 'lose-answer' || kind === 'hold-answer') {
        if (kind === 'lose-answer') message.socket.destroy();
        answer.resume();
        return;
      }
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      response.flushHeaders();
      answer.on('error', () => message.socket.destroy());
      answer.on('close', () => {
        // An engine that died in the middle of its answer has not ended it.
        if (answer.complete) request.isOver = true;
        else message.socket.destroy();
      });
      answer.pipe(response);
    });
    upstream.on('error', () => message.socket.destroy());
    response.on('close', () => upstream.destroy());
    upstream.end(body);
  };
  const onUpgrade = async (message: IncomingMessage, client: Duplex, head: Buffer): Promise<void> => {
    const request = seen(message);
    client.on('error', () => {});
    if (!(await admit(request, client))) return;
    const upstream = connect({ path: dockerd.socket, allowHalfOpen: true });
    open.add(upstream);
    const headers = message.rawHeaders.flatMap((text, n) =>
      n % 2 === 0 ? [`${text}: ${message.rawHeaders[n + 1]}`] : [],
    );
    upstream.write(`${message.method} ${message.url} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`);
    upstream.write(head);
    client.pipe(upstream);
    upstream.once('readable', () => {
      const { kind } = judge(request, true);
      if (kind === 'lose-answer') {
        client.destroy();
        upstream.destroy();
      } else if (kind !== 'hold-answer') upstream.pipe(client);
    });
    upstream.on('error', () => client.destroy());
    upstream.on('close', () => {
      open.delete(upstream);
      client.destroy();
    });
    client.on('close', () => upstream.destroy());
  };

  const server = createServer((message, response) => void onRequest(message, response));
  server.on('upgrade', (message, client, head) => void onUpgrade(message, client, head));
  server.on('connection', (client: Socket) => {
    open.add(client);
    client.on('close', () => open.delete(client));
    client.on('error', () => {});
  });
  server.keepAliveTimeout = 0;
  server.requestTimeout = 0;
  server.headersTimeout = 0;
  const breakAll = (): void => {
    for (const one of open) one.destroy();
  };
  const listen = (): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(socket, resolve);
    });
  const close = async (): Promise<void> => {
    breakAll();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  await listen();
  return {
    host: `unix://${socket}`,
    socket,
    requests,
    setRule: (rule) => {
      facts.rule = rule;
    },
    breakAll,
    close,
    open: listen,
    [Symbol.asyncDispose]: async () => {
      await close();
      await directory[Symbol.asyncDispose]();
    },
  };
}

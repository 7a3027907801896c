// The slave's half of the executor protocol as bytes: the server that takes messages on the slave's port, and the
// connections on which it sends, in the shape that real slaves of each version write. One connection per address for all
// names there; opened anew when it broke, never closed; what was sent while nobody listened is lost.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { MesosVersion } from './slave-protocol.ts';

const PREFIX = 'mesos.internal.';

/** The bytes with which a slave posts `message` to `upid`. */
export function encodePost(
  version: MesosVersion,
  from: string,
  upid: string,
  message: string,
  body: Uint8Array,
): Buffer {
  const name = upid.slice(0, upid.indexOf('@'));
  const old = version === '0.19.1';
  const head = [
    `POST /${name}/${PREFIX}${message} HTTP/${old ? '1.0' : '1.1'}`,
    `User-Agent: libprocess/${from}`,
    ...(old ? [] : [`Libprocess-From: ${from}`]),
    'Connection: Keep-Alive',
    ...(old ? [] : ['Host: ']),
    ...(body.byteLength > 0 ? ['Transfer-Encoding: chunked'] : []),
    '\r\n',
  ].join('\r\n');
  if (body.byteLength === 0) return Buffer.from(head);
  return Buffer.concat([
    Buffer.from(`${head}${body.byteLength.toString(16)}\r\n`),
    body,
    Buffer.from('\r\n0\r\n\r\n'),
  ]);
}

export interface Outgoing {
  /** Messages of one turn of the event loop leave in one segment. */
  send(upid: string, bytes: Buffer): void;
}

export function outgoing(): Outgoing {
  const sockets = new Map<string, Socket>();
  return {
    send: (upid, bytes) => {
      const address = upid.slice(upid.indexOf('@') + 1);
      const known = sockets.get(address);
      const socket =
        known !== undefined && !known.destroyed && known.writable ? known : dial(address, sockets);
      socket.cork();
      socket.write(bytes);
      process.nextTick(() => socket.uncork());
    },
  };
}

function dial(address: string, sockets: Map<string, Socket>): Socket {
  const colon = address.lastIndexOf(':');
  const socket = connect(Number(address.slice(colon + 1)), address.slice(0, colon));
  sockets.set(address, socket);
  socket.on('error', () => socket.destroy());
  // Whatever is answered is read and ignored.
  socket.resume();
  return socket;
}

export interface Incoming {
  /** The executor's UPID. */
  readonly from: string;
  readonly message: string;
  readonly body: Buffer;
}

/** Listens on loopback. `receive` gives false for a message that the slave does not know (404). */
export async function listen(
  port: number,
  name: string,
  receive: (incoming: Incoming) => boolean,
  violation: (text: string) => void,
): Promise<{ readonly port: number; readonly server: Server }> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => answer(request, response, Buffer.concat(chunks), name, receive, violation));
  });
  // An executor's link is a connection on which nothing may ever come.
  server.headersTimeout = 0;
  server.requestTimeout = 0;
  server.keepAliveTimeout = 0;
  server.timeout = 0;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  // Listening on TCP, the address is one of these.
  return { port: (server.address() as AddressInfo).port, server };
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
  name: string,
  receive: (incoming: Incoming) => boolean,
  violation: (text: string) => void,
): void {
  const path = decodeURIComponent(request.url ?? '');
  const prefix = `/${name}/${PREFIX}`;
  const agent = /^libprocess\/(.+)$/.exec(request.headers['user-agent'] ?? '')?.[1];
  const header = request.headers['libprocess-from'];
  const from = (Array.isArray(header) ? header[0] : header) ?? agent;
  const taken =
    request.method === 'POST' &&
    path.startsWith(prefix) &&
    from !== undefined &&
    receive({ from, message: path.slice(prefix.length), body });
  if (!taken) violation(`not a message for a slave: ${request.method} ${request.url} from ${from}`);
  // Another libprocess gets no answer to what it posts.
  if (agent !== undefined) return;
  response.writeHead(taken ? 202 : 404, { 'Content-Length': '0' });
  response.end();
}

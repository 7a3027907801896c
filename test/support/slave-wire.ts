// The slave's half of the executor protocol as bytes: the server that takes messages on the slave's port, and the
// connections on which it sends, in the shape that real slaves of each version write. One connection per address for all
// names there; opened anew when it broke, never closed; what was sent while nobody listened is lost.

import {
  createServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from 'node:net';
import { connect as connectTls, createServer as createTlsServer, TLSSocket } from 'node:tls';
import type { MesosVersion } from './slave-protocol.ts';
import type { SslOfSlave } from './slave-ssl.ts';

const PREFIX = 'mesos.internal.';
/** A TLS connection begins with it. */
const HANDSHAKE_BYTE = 0x16;

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

/** What is said before a connection stands waits for it, and is lost with it. */
interface Way {
  readonly waiting: Buffer[];
  socket: Socket | undefined;
  over: boolean;
}

/** With `ssl` over TLS, and with downgrade plain where that fails. */
export function outgoing(
  ssl: SslOfSlave | undefined = undefined,
  dialled: (address: string, secure: boolean) => void = () => {},
): Outgoing {
  const ways = new Map<string, Way>();
  const open = async (address: string, way: Way): Promise<void> => {
    const socket = await dial(address, ssl);
    if (socket === undefined) {
      way.over = true;
      return;
    }
    dialled(address, socket instanceof TLSSocket);
    way.socket = socket;
    socket.write(Buffer.concat(way.waiting));
    socket.once('close', () => {
      way.over = true;
    });
  };
  return {
    send: (upid, bytes) => {
      const address = upid.slice(upid.indexOf('@') + 1);
      const known = ways.get(address);
      if (known === undefined || known.over || known.socket?.writable === false) {
        const way: Way = { waiting: [bytes], socket: undefined, over: false };
        ways.set(address, way);
        void open(address, way);
        return;
      }
      const { socket } = known;
      if (socket === undefined) {
        known.waiting.push(bytes);
        return;
      }
      socket.cork();
      socket.write(bytes);
      process.nextTick(() => socket.uncork());
    },
  };
}

/** Errors are silent on what it gives; whatever is answered is read and ignored. */
async function dial(address: string, ssl: SslOfSlave | undefined): Promise<Socket | undefined> {
  const colon = address.lastIndexOf(':');
  const to = { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
  const stands = async (socket: Socket, event: 'connect' | 'secureConnect') =>
    await new Promise<Socket | undefined>((resolve) => {
      socket.on('error', () => socket.destroy());
      socket.once('close', () => resolve(undefined));
      socket.once(event, () => resolve(socket));
      socket.resume();
    });
  const secure = ssl && (await stands(connectTls({ ...to, ...ssl.client }), 'secureConnect'));
  if (secure !== undefined || (ssl !== undefined && !ssl.downgrade)) return secure;
  return await stands(connect(to), 'connect');
}

export interface Incoming {
  /** The executor's UPID. */
  readonly from: string;
  readonly message: string;
  readonly body: Buffer;
  /** Over TLS. */
  readonly secure: boolean;
}

/** Listens; with `ssl` for TLS, and with downgrade for plain connections too. `receive` gives false for a message that the slave does not know (404). */
export async function listen(
  at: { readonly ip: string; readonly port: number; readonly ssl: SslOfSlave | undefined },
  name: string,
  receive: (incoming: Incoming) => boolean,
  violation: (text: string) => void,
): Promise<{ readonly port: number }> {
  const http = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => answer(request, response, Buffer.concat(chunks), name, receive, violation));
  });
  // An executor's link is a connection on which nothing may ever come.
  http.headersTimeout = 0;
  http.requestTimeout = 0;
  http.keepAliveTimeout = 0;
  http.timeout = 0;
  const server = at.ssl === undefined ? http : secured(http, at.ssl);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(at.port, at.ip, resolve);
  });
  // Listening on TCP, the address is one of these.
  return { port: (server.address() as AddressInfo).port };
}

/** With downgrade the first byte tells; without, whoever speaks no TLS is sent away. */
function secured(http: HttpServer, ssl: SslOfSlave): Server {
  const tls = createTlsServer(ssl.server, (socket) => http.emit('connection', socket));
  tls.on('tlsClientError', () => {});
  if (!ssl.downgrade) return tls;
  return createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (first: Buffer) => {
      socket.pause();
      socket.unshift(first);
      (first[0] === HANDSHAKE_BYTE ? tls : http).emit('connection', socket);
      if (first[0] !== HANDSHAKE_BYTE) socket.resume();
    });
  });
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
    receive({
      ...{ from, message: path.slice(prefix.length), body },
      secure: request.socket instanceof TLSSocket,
    });
  if (!taken) violation(`not a message for a slave: ${request.method} ${request.url} from ${from}`);
  // Another libprocess gets no answer to what it posts.
  if (agent !== undefined) return;
  response.writeHead(taken ? 202 : 404, { 'Content-Length': '0' });
  response.end();
}

// A listening TCP socket on an address of this host, and whether who comes is of this host as well. Only opens: what is
// said there is others' business.

import { createServer, type Server, type Socket } from 'node:net';
import { errnoOf, Fault } from '../fault.ts';

/** Faults: 'conflict' if somebody else has the port, 'host' for an address that is not ours. */
export async function openServer(
  host: string,
  port: number,
  accept: (socket: Socket) => void,
): Promise<Server> {
  const server = createServer({ noDelay: true }, accept);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port, exclusive: true }, resolve);
    });
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'EADDRINUSE') throw new Fault('conflict', `executor port ${port} is taken`, error);
    throw new Fault('host', `cannot listen on ${host}:${port}: ${code ?? 'unknown error'}`, error);
  }
  server.removeAllListeners('error');
  // Out of descriptors, for one: accepting is tried again with the next connection.
  server.on('error', () => {});
  return server;
}

/** What comes from this host to one of its addresses comes from that same address, or within the loopback. */
export function isOfThisHost({ remoteAddress, localAddress }: Socket): boolean {
  return remoteAddress === localAddress || remoteAddress?.startsWith('127.') === true;
}

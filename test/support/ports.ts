// Ports of the loopback: whether anybody listens at one, and another program that takes it.

import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { until } from './until.ts';

/** Of /proc/net/tcp. */
const ESTABLISHED = '01';
const CLOSE_WAIT = '08';

export function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (open: boolean) => {
      socket.destroy();
      resolve(open);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}

/** How many connections to a local port have brought what nobody has read yet, those that nobody has accepted yet among them. */
export function unreadAt(port: number): number {
  const [, ...lines] = readFileSync('/proc/net/tcp', 'utf8').trim().split('\n');
  return lines.filter((line) => {
    const [, local = '', , state = '', queues = ''] = line.trim().split(/\s+/);
    const [of = '', unread = ''] = [local.split(':')[1], queues.split(':')[1]];
    // The end of a connection counts as a byte.
    const few = state === CLOSE_WAIT ? 1 : 0;
    const isConnected = state === ESTABLISHED || state === CLOSE_WAIT;
    return isConnected && Number.parseInt(of, 16) === port && Number.parseInt(unread, 16) > few;
  }).length;
}

/** Another program than a supervisor, at that port. */
export async function takePort(port: number): Promise<{ heard(): string; close(): void }> {
  const pieces: string[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => pieces.push(bytes.toString('latin1')));
  });
  // A process that was killed is gone from the list before its sockets are closed.
  await until('the port is free', async () => !(await isOpen(port)));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return { heard: () => pieces.join(''), close: () => server.close() };
}

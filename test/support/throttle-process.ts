// A TCP proxy on loopback that lets a given number of bytes per second through from the server to its clients, all
// connections together. A process of its own, since it has to live in a network namespace. The rate comes over IPC.
// Arguments: port to listen on, port to connect to, bytes per second.

import { connect, createServer, type Socket } from 'node:net';

const TICK_MS = 50;

const [listenPort = 0, serverPort = 0, firstRate = 0] = process.argv.slice(2).map(Number);
const rate = { bytesPerSecond: firstRate };
const upstreams = new Map<Socket, Socket>();

const server = createServer((client) => {
  const upstream = connect(serverPort, '127.0.0.1');
  upstreams.set(upstream, client);
  client.pipe(upstream);
  client.on('error', () => upstream.destroy());
  client.on('close', () => upstream.destroy());
  upstream.on('error', () => client.destroy());
  upstream.on('close', () => upstreams.delete(upstream));
  // Never flowing: what comes is taken with read() in the ticks, so that TCP holds the server back.
  upstream.pause();
});

setInterval(() => {
  let budget = Math.ceil((rate.bytesPerSecond * TICK_MS) / 1000);
  for (const [upstream, client] of upstreams) {
    while (budget > 0 && upstream.readableLength > 0) {
      const chunk: Buffer | null = upstream.read(Math.min(budget, upstream.readableLength));
      if (chunk === null) break;
      budget -= chunk.length;
      client.write(chunk);
    }
    // A paused stream reads ahead only when asked; and says that it has ended only when it is empty.
    upstream.read(0);
    if (upstream.readableEnded) client.end();
  }
}, TICK_MS);

process.on('message', (message) => {
  if (typeof message === 'number') rate.bytesPerSecond = message;
});
server.listen(listenPort, '127.0.0.1', () => process.send?.('ready'));

// A small HTTP proxy on loopback: requests for http URLs and CONNECT for all else. The hosts of the tests exist for it
// alone: it takes every name for an address of this machine's.

import { request as ask, createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Duplex } from 'node:stream';

export interface Proxy extends AsyncDisposable {
  /** `http://127.0.0.1:<port>`, as a *_proxy variable names it. */
  readonly url: string;
  /** `GET http://host/path` and `CONNECT host:port`, in the order in which they came. */
  readonly seen: readonly string[];
}

/** Whatever host is asked for is reached at `ports[host]` of 127.0.0.1; others are not there (502). */
export async function startProxy(ports: Readonly<Record<string, number>>): Promise<Proxy> {
  const seen: string[] = [];
  const tunnels = new Set<Duplex>();
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    const url = URL.canParse(request.url ?? '') ? new URL(request.url ?? '') : undefined;
    const port = ports[url?.hostname ?? ''];
    if (url === undefined || port === undefined) {
      response.writeHead(502).end();
      return;
    }
    const options = { host: '127.0.0.1', port, path: `${url.pathname}${url.search}` };
    const onward = ask(options, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    onward.end();
  });
  server.on('connect', (request, client) => {
    seen.push(`CONNECT ${request.url}`);
    const port = ports[(request.url ?? '').replace(/:\d+$/, '')];
    if (port === undefined) {
      client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
      return;
    }
    const upstream = connect(port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.pipe(client);
      client.pipe(upstream);
    });
    tunnels.add(client);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // An address of a TCP server is never a path.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    [Symbol.asyncDispose]: async () => {
      for (const tunnel of tunnels) tunnel.destroy();
      server.closeAllConnections();
      server.close();
    },
  };
}

// A web server on loopback whose answers each test lays down, page by page.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export class Web {
  readonly pages = new Map<string, (request: IncomingMessage, response: ServerResponse) => void>();
  /** What was asked for, whether it was there or not. */
  readonly seen: string[] = [];
  readonly #server: Server = createServer((request, response) => {
    this.seen.push(request.url ?? '');
    const page = this.pages.get(request.url ?? '');
    if (page === undefined) response.writeHead(404).end('no such page');
    else page(request, response);
  });
  address = '';
  /** How many hanging pages are being fetched, and how many at once there were at most. */
  open = 0;
  peak = 0;

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    // An address of a TCP server is never a path.
    this.address = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The URL of a page with this content. */
  page(path: string, content: string | Uint8Array): string {
    this.pages.set(path, (_, response) => void response.end(content));
    return `http://${this.address}${path}`;
  }

  /** One that sends `begin ` and then nothing, until `release` (`end`); `open` says how many clients are waiting. */
  hanging(path: string): { readonly url: string; readonly open: () => number; readonly release: () => void } {
    const waiting = new Set<ServerResponse>();
    let released = false;
    this.pages.set(path, (_, response) => {
      response.writeHead(200);
      response.write('begin ');
      if (released) {
        response.end('end');
        return;
      }
      waiting.add(response);
      this.open++;
      this.peak = Math.max(this.peak, this.open);
      response.on('close', () => {
        waiting.delete(response);
        this.open--;
      });
    });
    const release = () => {
      released = true;
      for (const response of waiting) response.end('end');
    };
    return { url: `http://${this.address}${path}`, open: () => waiting.size, release };
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

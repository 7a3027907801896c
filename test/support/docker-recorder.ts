// Stands between deimos and a dockerd and keeps the bytes of every request, so that a test sees what was asked for and
// not only what the engine made of it. It changes nothing and knows of HTTP no more than where a request to create begins.

import { connect, createServer, type Socket } from 'node:net';
import type { Dockerd } from './dockerd.ts';
import { tempDirectory } from './temp.ts';

export interface CreateAsked {
  /** The query of the request. */
  readonly name: string | undefined;
  readonly body: Record<string, unknown>;
}

export interface DockerRecorder extends AsyncDisposable {
  /** For `[docker] host`. */
  readonly host: string;
  /** Every POST /containers/create so far. */
  creates(): readonly CreateAsked[];
}

/** Starts one in front of `dockerd`. */
export async function recordDocker(dockerd: Dockerd): Promise<DockerRecorder> {
  const directory = await tempDirectory('dr-');
  const path = directory.at('s');
  const said: Buffer[][] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const bytes: Buffer[] = [];
    said.push(bytes);
    const upstream = connect({ path: dockerd.socket, allowHalfOpen: true });
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => sockets.delete(from));
    }
    client.on('data', (piece) => void bytes.push(piece));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return {
    host: `unix://${path}`,
    creates: () => said.flatMap((bytes) => createsIn(Buffer.concat(bytes))),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      await directory[Symbol.asyncDispose]();
    },
  };
}

function createsIn(bytes: Buffer): CreateAsked[] {
  const text = bytes.toString('latin1');
  return [...text.matchAll(/POST (\S*\/containers\/create\S*) HTTP\/1\.1\r\n([\s\S]*?)\r\n\r\n/g)].map(
    (match) => {
      const [head, target = '', headers = ''] = match;
      const length = Number(/^content-length: *(\d+)/im.exec(headers)?.[1]);
      const start = match.index + head.length;
      const name = new URL(target, 'http://docker').searchParams.get('name') ?? undefined;
      return { name, body: JSON.parse(bytes.subarray(start, start + length).toString()) };
    },
  );
}

import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import type { CheckResult } from '../../../src/container/health.ts';
import { checkHttp } from '../../../src/supervisor/health-http.ts';

const PATIENCE_MS = 20_000;
const SHORT_MS = 300;

interface Server {
  readonly port: number;
  /** What was asked, a head each. */
  readonly heads: readonly string[];
}

/** A server that does to each connection what `answer` says, once a whole head has come. */
async function withServer(
  answer: (socket: Socket) => void,
  body: (server: Server) => Promise<void>,
): Promise<void> {
  const heads: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    let head = '';
    socket.on('data', (chunk) => {
      head += chunk;
      if (!head.includes('\r\n\r\n')) return;
      heads.push(head);
      head = '';
      answer(socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  try {
    await body({ port: address.port, heads });
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

async function check(
  port: number,
  more: { path?: string; statuses?: readonly number[]; timeoutMs?: number; signal?: AbortSignal } = {},
): Promise<CheckResult> {
  const { path = '/', statuses = [], timeoutMs = PATIENCE_MS } = more;
  const signal = more.signal ?? new AbortController().signal;
  return await checkHttp({ kind: 'http', port, path, statuses }, '127.0.0.1', timeoutMs, signal);
}

const says = (head: string) => (socket: Socket) => void socket.end(`${head}\r\n\r\n`);
const why = (result: CheckResult) =>
  result.kind === 'passed' ? result.kind : `${result.kind}: ${result.why}`;

describe('an HTTP check', () => {
  it('asks for its path and is judged by the status', async () => {
    await withServer(says('HTTP/1.1 204 No Content'), async ({ port, heads }) => {
      assert.deepEqual(await check(port, { path: '/live?x=%20' }), { kind: 'passed' });
      assert.match(heads[0] ?? '', /^GET \/live\?x=%20 HTTP\/1\.1\r\n/);
      assert.match(heads[0] ?? '', new RegExp(`\r\nHost: 127\\.0\\.0\\.1:${port}\r\n`, 'i'));
      assert.equal(
        why(await check(port, { statuses: [200] })),
        `failed: GET http://127.0.0.1:${port}/: status 204`,
      );
    });
    await withServer(says('HTTP/1.0 503 Down'), async ({ port }) => {
      assert.deepEqual(await check(port, { statuses: [503] }), { kind: 'passed' });
      assert.equal(why(await check(port)), `failed: GET http://127.0.0.1:${port}/: status 503`);
    });
  });

  it('follows no redirect: that is an answer', async () => {
    await withServer(says('HTTP/1.1 302 Found\r\nLocation: /elsewhere'), async ({ port, heads }) => {
      assert.deepEqual(await check(port), { kind: 'passed' });
      assert.equal(heads.length, 1);
    });
  });

  it('throws a body away, and does not read a large one to its end', async () => {
    const endless = (socket: Socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      const more = () => {
        while (!socket.destroyed && socket.write(Buffer.alloc(64 * 1024)));
      };
      socket.on('drain', more);
      more();
    };
    await withServer(endless, async ({ port }) => assert.deepEqual(await check(port), { kind: 'passed' }));
  });

  it('has failed where its time is over, be it before the answer, in its head, or in its body', async () => {
    const table: readonly (readonly [string, string])[] = [
      ['', ''],
      ['HTTP/1.1 200 OK\r\nX', ''],
      ['HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc', 'status 200, then '],
    ];
    for (const [text, so] of table) {
      await withServer(
        (socket) => void socket.write(text),
        async ({ port }) =>
          assert.equal(
            why(await check(port, { timeoutMs: SHORT_MS })),
            `failed: GET http://127.0.0.1:${port}/: ${so}no end of the answer within 0.3 s`,
          ),
      );
    }
  });

  it('has failed where nobody listens, or what comes is no answer', async () => {
    let free = 0;
    await withServer(says(''), async ({ port }) => {
      free = port;
    });
    assert.match(why(await check(free)), /^failed: GET .*ECONNREFUSED/);
    const broken: readonly ((socket: Socket) => void)[] = [
      (socket) => void socket.end('SSH-2.0-x\r\n'),
      (socket) => void socket.end(),
      (socket) => void socket.resetAndDestroy(),
      (socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc'),
      (socket) => void socket.write('HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'),
      (socket) => void socket.write(`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`),
    ];
    for (const answer of broken)
      await withServer(answer, async ({ port }) => assert.match(why(await check(port)), /^failed: GET /));
  });

  it('is called off with its signal', async () => {
    const calling = new AbortController();
    await withServer(
      () => calling.abort(new Error('enough')),
      async ({ port }) => {
        await assert.rejects(check(port, { signal: calling.signal }), /enough/);
        await assert.rejects(check(port, { signal: calling.signal }), /enough/);
      },
    );
  });
});

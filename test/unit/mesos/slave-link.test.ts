import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Fault, type FaultKind } from '../../../src/fault.ts';
import { HttpStream } from '../../../src/mesos/http-stream.ts';
import { SlaveLink } from '../../../src/mesos/slave-link.ts';
import { parseUpid } from '../../../src/mesos/upid.ts';

const FROM = { name: 'deimos-1', ip: '127.0.0.1', port: 20_000 };
// As a slave of 0.28.3 writes it.
const TAKEN = 'HTTP/1.1 202 Accepted\r\nDate: Sun, 22 Nov 2026 07:56:26 GMT\r\nContent-Length: 0\r\n\r\n';
const UNKNOWN =
  'HTTP/1.1 404 Not Found\r\nDate: Sun, 22 Nov 2026 07:56:26 GMT\r\nContent-Length: 3\r\n\r\nno\n';

interface Request {
  readonly connection: Socket;
  readonly startLine: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

const fault = (kind: FaultKind) => (error: unknown) => error instanceof Fault && error.kind === kind;

describe('SlaveLink', () => {
  let server: Server;
  let connections: Socket[];
  let requests: Request[];
  /** What the slave does with a request; undefined: nothing. */
  let answer: (request: Request) => string | undefined;
  let broken: number;
  let brokenSoon: () => void;
  const links: SlaveLink[] = [];

  beforeEach(async () => {
    connections = [];
    requests = [];
    answer = () => TAKEN;
    broken = 0;
    brokenSoon = () => {};
    server = createServer((connection) => {
      connections.push(connection);
      const stream = new HttpStream({
        head: () => 'keep',
        message: ({ startLine, headers }, body) => {
          const request = { connection, startLine, headers, body: body.toString() };
          requests.push(request);
          const text = answer(request);
          if (text !== undefined) connection.write(text);
        },
      });
      connection.on('data', (chunk) => stream.push(chunk));
      connection.on('error', () => {});
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(async () => {
    for (const link of links.splice(0)) link.close();
    await die();
  });

  async function die(): Promise<void> {
    for (const connection of connections) connection.destroy();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  }

  function slave(name = 'slave(1)') {
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    return { name, ip: '127.0.0.1', port: address.port };
  }

  function newLink(options: { answerMs?: number; name?: string } = {}): SlaveLink {
    const { name, ...rest } = options;
    const link = new SlaveLink(slave(name), {
      onBroken: () => {
        broken += 1;
        brokenSoon();
      },
      ...rest,
    });
    links.push(link);
    return link;
  }

  async function connected(options: { answerMs?: number; name?: string } = {}): Promise<SlaveLink> {
    const link = newLink(options);
    await link.connect();
    return link;
  }

  it('posts as a slave expects it', async () => {
    const link = await connected();
    assert.equal(await link.post('RegisterExecutorMessage', Buffer.from('body'), FROM), 'taken');
    const [request] = requests;
    assert.ok(request);
    assert.equal(request.startLine, 'POST /slave(1)/mesos.internal.RegisterExecutorMessage HTTP/1.1');
    assert.deepEqual(parseUpid(request.headers.get('libprocess-from') ?? ''), FROM);
    assert.equal(request.headers.get('connection'), 'Keep-Alive');
    assert.equal(request.headers.has('user-agent'), false);
    assert.equal(request.body, 'body');
  });

  it('escapes in a name only what would end the path', async () => {
    const link = await connected({ name: 'a b?#%(1)é' });
    await link.post('M', Buffer.alloc(0), FROM);
    assert.equal(requests[0]?.startLine, 'POST /a%20b%3F%23%25(1)%C3%A9/mesos.internal.M HTTP/1.1');
  });

  it('tells apart a message that was taken and one that nobody there knows', async () => {
    const link = await connected();
    answer = () => UNKNOWN;
    assert.equal(await link.post('M', Buffer.alloc(0), FROM), 'unknown');
    answer = () => TAKEN;
    assert.equal(await link.post('M', Buffer.alloc(0), FROM), 'taken');
  });

  it('sends messages in order over one connection beside the link', async () => {
    const link = await connected();
    const bodies = Array.from({ length: 50 }, (_, i) => String(i));
    const answers = await Promise.all(bodies.map((body) => link.post('M', Buffer.from(body), FROM)));
    assert.deepEqual(
      answers,
      bodies.map(() => 'taken'),
    );
    assert.deepEqual(
      requests.map(({ body }) => body),
      bodies,
    );
    assert.equal(new Set(requests.map(({ connection }) => connection)).size, 1);
    assert.equal(connections.length, 2);
    assert.ok(connections.some((connection) => connection.bytesRead === 0));
  });

  it('notices at once that an idle slave died, and tells it once', async () => {
    const link = await connected();
    const noticed = new Promise<void>((resolve) => {
      brokenSoon = resolve;
    });
    assert.equal(link.open, true);
    await die();
    await noticed;
    assert.equal(link.open, false);
    await assert.rejects(link.post('M', Buffer.alloc(0), FROM), fault('host'));
    assert.equal(broken, 1);
  });

  it('does not take the end of a connection for messages for the death of the slave', async () => {
    const link = await connected();
    answer = ({ connection }) => {
      connection.end(TAKEN.replace('Content-Length', 'Connection: close\r\nContent-Length'));
      return undefined;
    };
    assert.equal(await link.post('M', Buffer.from('1'), FROM), 'taken');
    assert.equal(await link.post('M', Buffer.from('2'), FROM), 'taken');
    assert.equal(connections.length, 3);
    answer = ({ connection }) => {
      connection.destroy();
      return undefined;
    };
    await assert.rejects(link.post('M', Buffer.from('3'), FROM), fault('host'));
    answer = () => TAKEN;
    assert.equal(await link.post('M', Buffer.from('4'), FROM), 'taken');
    assert.equal(link.open, true);
    assert.equal(broken, 0);
    // Nothing was sent twice.
    assert.deepEqual(
      requests.map(({ body }) => body),
      ['1', '2', '3', '4'],
    );
  });

  it('gives a silent slave up', async () => {
    const link = await connected({ answerMs: 500 });
    answer = () => undefined;
    await assert.rejects(link.post('M', Buffer.alloc(0), FROM), fault('timeout'));
    assert.equal(link.open, true);
  });

  it('does not take the late answer to a message that was given up for that to the next one', async () => {
    const link = await connected();
    answer = () => undefined;
    const controller = new AbortController();
    const reason = new Error('too late');
    const first = link.post('M', Buffer.from('1'), FROM, controller.signal);
    while (requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
    controller.abort(reason);
    await assert.rejects(first, reason);
    requests[0]?.connection.write(UNKNOWN);
    answer = () => TAKEN;
    assert.equal(await link.post('M', Buffer.from('2'), FROM), 'taken');
    assert.equal(link.open, true);
  });

  it('lets a caller give up, also while others are in front', async () => {
    const link = await connected();
    let release: (text: string) => void = () => {};
    answer = ({ connection }) => {
      release = (text) => connection.write(text);
      return undefined;
    };
    const first = link.post('M', Buffer.from('1'), FROM);
    const reason = new Error('not any more');
    const controller = new AbortController();
    const second = link.post('M', Buffer.from('2'), FROM, controller.signal);
    const third = link.post('M', Buffer.from('3'), FROM);
    controller.abort(reason);
    await assert.rejects(second, reason);
    while (requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
    answer = () => TAKEN;
    release(TAKEN);
    assert.equal(await first, 'taken');
    assert.equal(await third, 'taken');
    assert.deepEqual(
      requests.map(({ body }) => body),
      ['1', '3'],
    );
  });

  it('sends nothing that is not wanted any more when its turn comes', async () => {
    const link = await connected();
    let release: (text: string) => void = () => {};
    answer = ({ connection }) => {
      release = (text) => connection.write(text);
      return undefined;
    };
    const facts = { wanted: true };
    const first = link.post('M', Buffer.from('1'), FROM);
    const second = link.post('M', Buffer.from('2'), FROM, undefined, () => facts.wanted);
    const third = link.post('M', Buffer.from('3'), FROM);
    while (requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
    facts.wanted = false;
    answer = () => TAKEN;
    release(TAKEN);
    assert.deepEqual([await first, await second, await third], ['taken', 'withdrawn', 'taken']);
    assert.deepEqual(
      requests.map(({ body }) => body),
      ['1', '3'],
    );
  });

  it('refuses an answer that is none', async () => {
    const link = await connected();
    for (const text of ['HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n', 'garbage\n']) {
      answer = () => text;
      await assert.rejects(link.post('M', Buffer.alloc(0), FROM), fault('protocol'));
    }
    answer = () => TAKEN;
    assert.equal(await link.post('M', Buffer.alloc(0), FROM), 'taken');
  });

  it('says that there is no slave', async () => {
    const link = newLink();
    await die();
    await assert.rejects(link.connect(), fault('host'));
    assert.equal(link.open, false);
    assert.equal(broken, 0);
    await assert.rejects(link.post('M', Buffer.alloc(0), FROM), fault('host'));
  });

  it('opens once, and not after its signal', async () => {
    const link = await connected();
    await assert.rejects(link.connect(), fault('conflict'));
    const reason = new Error('enough');
    await assert.rejects(newLink().connect(AbortSignal.abort(reason)), reason);
  });

  it('closes without a word, failing what waits', async () => {
    const link = await connected();
    answer = () => undefined;
    const waiting = link.post('M', Buffer.from('1'), FROM);
    const queued = link.post('M', Buffer.from('2'), FROM);
    while (requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const ends = connections.map((connection) => once(connection, 'close'));
    link.close();
    link.close();
    await assert.rejects(waiting, fault('host'));
    await assert.rejects(queued, fault('host'));
    await Promise.all(ends);
    assert.equal(broken, 0);
    assert.equal(requests.length, 1);
  });

  it('can be closed while it connects', async () => {
    const link = newLink();
    const connecting = link.connect();
    link.close();
    await assert.rejects(connecting, fault('host'));
    assert.equal(link.open, false);
  });
});

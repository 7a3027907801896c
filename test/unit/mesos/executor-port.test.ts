import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Fault } from '../../../src/fault.ts';
import { ExecutorPort, MAX_CONNECTIONS, type SlaveMessage } from '../../../src/mesos/executor-port.ts';
import { STRANGERS_MAX } from '../../../src/mesos/strangers.ts';
import { asNobody } from '../../support/nobody.ts';
import { until as lookedUp } from '../../support/until.ts';
import { FILES, SAID, type Said } from './recordings.ts';

const NAME = 'deimos-4b1c9e7f22aa';
const SLAVE = { name: 'slave(1)', ip: '127.0.0.1', port: 5051 };

/** What the slave wrote: its own headers, in its order, and the body as libprocess frames it. */
function wire({ url, httpVersion, rawHeaders, body }: Said): Buffer {
  const lines = [`POST ${url} HTTP/${httpVersion}`];
  for (let i = 0; i < rawHeaders.length; i += 2) lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
  if (!rawHeaders.includes('chunked')) return head;
  const chunks =
    body.length > 0 ? [Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n')] : [];
  return Buffer.concat([head, ...chunks, Buffer.from('0\r\n\r\n')]);
}

const post = (name: string, message: string, body = '') =>
  `POST /${name}/mesos.internal.${message} HTTP/1.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

describe('ExecutorPort', () => {
  let port: ExecutorPort;
  let got: SlaveMessage[];
  let arrived: () => void;

  beforeEach(async () => {
    port = new ExecutorPort();
    got = [];
    arrived = () => {};
    await port.listen(0);
    port.register(NAME, (message) => {
      got.push(message);
      arrived();
    });
  });
  afterEach(() => port.close());

  async function open(): Promise<Socket> {
    const socket = connect(port.port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  }

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        arrived = resolve;
      });
    }
  }

  /** The answers on `socket` until there are `count`. */
  async function answers(socket: Socket, count: number): Promise<string[]> {
    let text = '';
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      text += chunk;
      if (text.split('\r\n\r\n').length > count) break;
    }
    return [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => status ?? '');
  }

  function sameAs(said: readonly Said[]): void {
    assert.deepEqual(
      got.map(({ message, body, sender }) => ({ message, body, sender })),
      said.map(({ message, body }) => ({ message, body, sender: SLAVE })),
    );
  }

  for (const file of FILES) {
    const said = SAID.filter((one) => one.file === file);
    if (said.length === 0) continue;

    it(`takes what the slave of ${file} said, message by message on one connection`, async () => {
      const socket = await open();
      for (const [i, one] of said.entries()) {
        socket.write(wire(one));
        await until(() => got.length > i);
      }
      sameAs(said);
      assert.equal(socket.destroyed, false);
      socket.destroy();
    });

    it(`takes it in one segment, in order`, async () => {
      const socket = await open();
      socket.write(Buffer.concat(said.map(wire)));
      assert.deepEqual(
        await answers(socket, said.length),
        said.map(() => '202'),
      );
      sameAs(said);
      socket.destroy();
    });

    it(`takes it one byte at a time`, async () => {
      const socket = await open();
      socket.setNoDelay(true);
      for (const byte of Buffer.concat(said.map(wire))) {
        if (!socket.write(Buffer.of(byte))) await once(socket, 'drain');
        await new Promise((resolve) => setImmediate(resolve));
      }
      await until(() => got.length === said.length);
      sameAs(said);
      socket.destroy();
    });
  }

  it('replays all there is: HTTP/1.0 and 1.1, an empty Host, chunks, no body', () => {
    const seen = (has: (said: Said) => boolean) => SAID.some(has);
    assert.ok(seen(({ httpVersion }) => httpVersion === '1.0'));
    assert.ok(seen(({ httpVersion }) => httpVersion === '1.1'));
    assert.ok(seen(({ rawHeaders }) => rawHeaders[rawHeaders.indexOf('Host') + 1] === ''));
    assert.ok(seen(({ rawHeaders }) => rawHeaders.includes('chunked')));
    assert.ok(seen(({ body }) => body.length === 0));
    assert.ok(seen(({ rawHeaders }) => !rawHeaders.includes('Libprocess-From')));
  });

  it('answers with a length and keeps the connection, also to HTTP/1.0 without Keep-Alive', async () => {
    const socket = await open();
    const request = `POST /${NAME}/mesos.internal.ShutdownExecutorMessage HTTP/1.0\r\n\r\n`;
    socket.write(request);
    const [answer] = await once(socket, 'data');
    assert.equal(
      String(answer),
      'HTTP/1.1 202 Accepted\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n',
    );
    socket.write(request);
    await until(() => got.length === 2);
    assert.equal(socket.readableEnded, false);
    socket.destroy();
  });

  it('answers 404 to a name that nobody has, drops its body, and goes on with the next message', async () => {
    const socket = await open();
    socket.write(post('nobody', 'RunTaskMessage', 'body') + post(NAME, 'KillTaskMessage', 'kill'));
    assert.deepEqual(await answers(socket, 2), ['404', '202']);
    assert.deepEqual(
      got.map(({ message, body }) => [message, body.toString()]),
      [['KillTaskMessage', 'kill']],
    );
    assert.equal(got[0]?.sender, undefined);
    socket.destroy();
  });

  it('takes nothing but messages of Mesos', async () => {
    const socket = await open();
    const strange = [
      `GET /${NAME}/mesos.internal.RunTaskMessage HTTP/1.1\r\n\r\n`,
      `POST /${NAME}/other HTTP/1.1\r\n\r\n`,
      `POST /${NAME} HTTP/1.1\r\n\r\n`,
      `POST /${NAME}/mesos.internal.RunTaskMessage?x HTTP/1.1\r\n\r\n`,
      `POST /x/${NAME}/mesos.internal.RunTaskMessage HTTP/1.1\r\n\r\n`,
    ];
    socket.write(strange.join(''));
    assert.deepEqual(
      await answers(socket, strange.length),
      strange.map(() => '404'),
    );
    assert.equal(got.length, 0);
    socket.destroy();
  });

  it('closes a connection on which no HTTP is spoken, and only that one', async () => {
    const good = await open();
    const hello = '\x16\x03\x01\x02\x00';
    for (const garbage of [hello, 'hello', 'HELLO\r\n\r\n', 'X'.repeat(20_000)]) {
      const bad = await open();
      bad.resume();
      bad.write(garbage);
      await once(bad, 'close');
    }
    good.write(post(NAME, 'ShutdownExecutorMessage'));
    assert.deepEqual(await answers(good, 1), ['202']);
    good.destroy();
  });

  it('forgets a name that was unregistered', async () => {
    const socket = await open();
    socket.write(post(NAME, 'ShutdownExecutorMessage'));
    assert.deepEqual(await answers(socket, 1), ['202']);
    port.unregister(NAME);
    port.unregister(NAME);
    socket.write(post(NAME, 'ShutdownExecutorMessage'));
    assert.deepEqual(await answers(socket, 1), ['404']);
    assert.equal(got.length, 1);
    socket.destroy();
  });

  it('serves many names on one port and one connection', async () => {
    const heard: string[] = [];
    for (const name of ['a', 'b', 'c']) port.register(name, ({ body }) => heard.push(`${name}:${body}`));
    const socket = await open();
    socket.write(['a', 'b', 'a', 'c'].map((name, i) => post(name, 'KillTaskMessage', String(i))).join(''));
    assert.deepEqual(await answers(socket, 4), ['202', '202', '202', '202']);
    assert.deepEqual(heard, ['a:0', 'b:1', 'a:2', 'c:3']);
    socket.destroy();
  });

  it('takes no answer being read for a reason to stop listening', async () => {
    const socket = await open();
    socket.pause();
    const messages = 60_000;
    const text = post(NAME, 'ShutdownExecutorMessage').repeat(1000);
    for (let i = 0; i < messages / 1000; i += 1) {
      if (!socket.write(text))
        await Promise.race([once(socket, 'drain'), until(() => got.length === messages)]);
    }
    await until(() => got.length === messages);
    socket.destroy();
  });

  it('makes room for a new connection by dropping the oldest that never knew a name', async () => {
    const slave = await open();
    slave.write(post(NAME, 'ShutdownExecutorMessage'));
    assert.deepEqual(await answers(slave, 1), ['202']);
    const strangers: Socket[] = [];
    try {
      for (let i = 0; i < MAX_CONNECTIONS - 1; i += 1) {
        strangers.push(await open());
        if (port.strangers > STRANGERS_MAX / 2)
          await lookedUp('our own are known', () => port.strangers === 0);
      }
      const [oldest] = strangers;
      assert.ok(oldest);
      oldest.resume();
      const dropped = once(oldest, 'close');
      strangers.push(await open());
      await dropped;
      const newest = strangers.at(-1);
      assert.ok(newest);
      newest.write(post(NAME, 'KillTaskMessage'));
      assert.deepEqual(await answers(newest, 1), ['202']);
      slave.write(post(NAME, 'KillTaskMessage'));
      assert.deepEqual(await answers(slave, 1), ['202']);
    } finally {
      for (const socket of [slave, ...strangers]) socket.destroy();
    }
  });

  it('has no name for another user of the host, and is soon rid of him, however he comes', async () => {
    const refused: string[] = [];
    await port.close();
    port = new ExecutorPort({ onRefused: (why) => refused.push(why) });
    await port.listen(0);
    port.register(NAME, (message) => void got.push(message));
    const kill = post(NAME, 'KillTaskMessage');
    for (const host of ['127.0.0.1', '::ffff:127.0.0.1']) {
      await using knowing = await asNobody({ do: 'connect', host, port: port.port, say: kill });
      await knowing.said(/closed 1$/m);
      await using silent = await asNobody({ do: 'connect', host, port: port.port, say: 'POST /', count: 20 });
      await silent.said(/closed 20$/m);
    }
    assert.deepEqual([got, port.strangers], [[], 0]);
    assert.deepEqual(refused, ['connections of user 65534, who cannot be a slave']);
    port.register(NAME, (message) => void got.push(message), { mayBeSlave: (uid) => uid === 65_534 });
    await using slave = await asNobody({ do: 'connect', host: '127.0.0.1', port: port.port, say: kill });
    await slave.said(/202/);
    assert.equal(got.length, 1);
  });

  it('keeps a silent connection that may be a slave’s among five thousand of another user', async () => {
    const silent = await open();
    await lookedUp('it is looked up', () => port.strangers === 0);
    await using flood = await asNobody({ do: 'flood', host: '127.0.0.1', port: port.port, count: 5_000 });
    const counts: number[] = [];
    while (!/^closed 5000$/m.test(flood.heard())) {
      counts.push(port.strangers);
      const newcomer = await open();
      newcomer.write(post(NAME, 'KillTaskMessage'));
      assert.deepEqual(await answers(newcomer, 1), ['202']);
      newcomer.destroy();
    }
    assert.ok(Math.max(...counts) <= STRANGERS_MAX, String(Math.max(...counts)));
    assert.ok(got.length > 0);
    silent.write(post(NAME, 'ShutdownExecutorMessage'));
    assert.deepEqual(await answers(silent, 1), ['202']);
    silent.destroy();
  });

  it('says that a port is taken', async () => {
    const second = new ExecutorPort();
    await assert.rejects(
      second.listen(port.port),
      (error) =>
        error instanceof Fault && error.kind === 'conflict' && error.message.includes(String(port.port)),
    );
    assert.throws(() => second.port, Fault);
    // A refused object can still listen elsewhere.
    await second.listen(0);
    await second.close();
  });

  it('listens again on the port that it had, at once', async () => {
    const before = port.port;
    const socket = await open();
    socket.write(post(NAME, 'ShutdownExecutorMessage'));
    assert.deepEqual(await answers(socket, 1), ['202']);
    const closed = once(socket.resume(), 'close');
    await port.close();
    await closed;
    await port.close();
    await port.listen(before);
    assert.equal(port.port, before);
  });

  it('delivers nothing from a segment in the middle of which it was closed', async () => {
    const heard: string[] = [];
    let closing: Promise<void> | undefined;
    port.register('a', ({ body }) => {
      heard.push(body.toString());
      closing = port.close();
    });
    const socket = await open();
    socket.write(post('a', 'KillTaskMessage', '1') + post('a', 'KillTaskMessage', '2'));
    await once(socket.resume(), 'close');
    await closing;
    assert.deepEqual(heard, ['1']);
  });
});

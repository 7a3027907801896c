// Stands before the stand-in slave's port and does to those who connect what no slave should: takes no connection, reads
// nothing, answers nonsense, or late. Executors are told this port in the place of the slave's own (`doorPort`).

import { randomBytes } from 'node:crypto';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { HttpStream } from '../../src/mesos/http-stream.ts';

export type SlaveConduct =
  | { readonly kind: 'well' }
  /** Every connection is taken and closed at once. */
  | { readonly kind: 'closes' }
  /** Connections are taken; nothing that comes is read. */
  | { readonly kind: 'reads-nothing' }
  /** Each message is answered with this status; the slave does not hear of it. */
  | { readonly kind: 'answers'; readonly status: number }
  /** Each message is answered with bytes that are no HTTP, and some more come unasked; the slave does not hear of it. */
  | { readonly kind: 'garbage' }
  /** The slave has the message at once; its answer comes so much later, or when it behaves otherwise. */
  | { readonly kind: 'late'; readonly ms: number };

export interface SlaveDoor extends AsyncDisposable {
  readonly port: number;
  /** Connections so far. */
  readonly connections: number;
  /** Messages that were answered here so far. */
  readonly answered: number;
  /** Connections that are open. */
  open(): number;
  /** The slave's own port. */
  leadTo(port: number): void;
  /** From now on, on open connections too. */
  behave(conduct: SlaveConduct): void;
}

const UNASKED_BYTES = 4_096;

export async function openSlaveDoor(): Promise<SlaveDoor> {
  const open = new Set<Socket>();
  const facts = {
    conduct: { kind: 'well' } as SlaveConduct,
    target: 0,
    connections: 0,
    answered: 0,
    late: new Set<() => void>(),
  };
  const take = (client: Socket): void => {
    facts.connections += 1;
    open.add(client);
    client.on('error', () => {});
    if (facts.conduct.kind === 'closes') client.destroy();
    const upstream = connect(facts.target, '127.0.0.1');
    upstream.on('error', () => client.destroy());
    upstream.on('close', () => client.destroy());
    client.on('close', () => {
      open.delete(client);
      upstream.destroy();
    });
    const stream = new HttpStream({
      head: () => 'discard',
      message: () => {
        facts.answered += 1;
        const { conduct } = facts;
        if (conduct.kind === 'answers')
          client.write(`HTTP/1.1 ${conduct.status} Fault\r\nContent-Length: 0\r\n\r\n`);
        else client.write(randomBytes(UNASKED_BYTES));
      },
    });
    client.on('data', (chunk: Buffer) => {
      const { kind } = facts.conduct;
      if (kind === 'answers' || kind === 'garbage') stream.push(chunk);
      else upstream.write(chunk);
    });
    upstream.on('data', (chunk: Buffer) => {
      const { conduct } = facts;
      if (conduct.kind !== 'late') {
        client.write(chunk);
        return;
      }
      const send = (): void => {
        if (facts.late.delete(send)) client.write(chunk);
      };
      facts.late.add(send);
      setTimeout(send, conduct.ms).unref();
    });
    if (facts.conduct.kind === 'reads-nothing') client.pause();
    if (facts.conduct.kind === 'garbage') client.write(randomBytes(UNASKED_BYTES));
  };
  const server = createServer(take);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const closeAll = (): void => {
    for (const one of open) one.destroy();
  };
  return {
    // Listening on TCP, the address is one of these.
    port: (server.address() as AddressInfo).port,
    get connections() {
      return facts.connections;
    },
    get answered() {
      return facts.answered;
    },
    open: () => open.size,
    leadTo: (port) => {
      facts.target = port;
    },
    behave: (conduct) => {
      facts.conduct = conduct;
      for (const send of facts.late) send();
      if (conduct.kind === 'closes') closeAll();
      for (const one of open) {
        if (conduct.kind === 'reads-nothing') one.pause();
        else one.resume();
      }
    },
    [Symbol.asyncDispose]: async () => {
      closeAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

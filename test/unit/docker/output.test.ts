// What an attach makes of answers that are none.

import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { it } from 'node:test';
import { dockerId } from '../../../src/container/identity.ts';
import { mayPass } from '../../../src/docker/faults.ts';
import { dockerOutput } from '../../../src/docker/output.ts';
import { tempDirectory } from '../../support/temp.ts';

const ID = dockerId('a'.repeat(64));

/** What attach rejects with where Docker answers like this. */
async function attachTo(answer: (client: Socket) => void): Promise<unknown> {
  assert.ok(ID);
  await using directory = await tempDirectory('output-');
  const path = directory.at('s');
  const server = createServer((client) => {
    client.on('error', () => {});
    client.once('data', () => answer(client));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  try {
    const source = dockerOutput({ kind: 'unix', path }, ID, false);
    return await source.attach(AbortSignal.timeout(10_000)).then(
      () => undefined,
      (error: unknown) => error,
    );
  } finally {
    server.close();
  }
}

it('a connection that closes without an answer, or in the middle of its head, may be tried again', async () => {
  for (const words of ['', 'HTTP/1.1 101 UPGR']) {
    const error = await attachTo((client) => client.end(words));
    assert.ok(error instanceof Error);
    assert.match(error.message, /^attach to a{64}: Docker does not answer \(it closed the connection\)$/);
    assert.equal(mayPass(error), true);
  }
});

it('bytes that are no HTTP are called so, and an error of Docker’s has its words', async () => {
  const garbage = await attachTo((client) => client.end('\u0000\u0001 no HTTP\r\n\r\n{'));
  assert.ok(garbage instanceof Error);
  assert.equal(garbage.message, 'attach: what Docker answers is not HTTP');
  assert.equal(mayPass(garbage), false);
  const refusal = await attachTo((client) =>
    client.end('HTTP/1.1 500 Oh\r\nContent-Type: application/json\r\n\r\n{"message":"no room"}'),
  );
  assert.ok(refusal instanceof Error);
  assert.match(refusal.message, /^attach to a{64}: no room$/);
  assert.equal(mayPass(refusal), false);
});

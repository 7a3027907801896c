// Which of several hosts has a task, with servers that answer as a daemon's `/_ping`, each when its test says.

import assert from 'node:assert/strict';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { test } from 'node:test';
import { formatEndpoint } from '../../../src/docker/connection.ts';
import { Engine } from '../../../src/docker/engine.ts';
import { isFault } from '../../../src/fault.ts';
import { tempDirectory } from '../../support/temp.ts';

interface Daemon {
  readonly server: Server;
  /** The pings that have come and whose connections are open. */
  readonly open: Set<ServerResponse>;
  pings: number;
}

/** `onPing` answers or does not. */
async function daemon(path: string, onPing: (response: ServerResponse) => void): Promise<Daemon> {
  const open = new Set<ServerResponse>();
  const server = createServer((_, response) => {
    made.pings++;
    open.add(response);
    response.on('close', () => open.delete(response));
    onPing(response);
  });
  const made: Daemon = { server, open, pings: 0 };
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return made;
}

function close(...daemons: readonly Daemon[]): void {
  for (const { server } of daemons) {
    server.closeAllConnections();
    server.close();
  }
}

async function chosen(...paths: readonly [string, ...string[]]): Promise<string> {
  const [first, ...others] = paths.map((path) => ({ kind: 'unix', path }) as const);
  assert.ok(first !== undefined);
  const { endpoint } = await Engine.connect(
    { endpoints: [first, ...others], ignored: [] },
    new AbortController().signal,
  );
  return formatEndpoint(endpoint);
}

test('a host that accepts and says nothing does not keep the next one from being asked', async () => {
  await using directory = await tempDirectory();
  const [a, b] = [directory.at('a'), directory.at('b')];
  let wasGivenUp: boolean | undefined;
  const silent = await daemon(a, () => {});
  const answers = await daemon(b, (response) => {
    wasGivenUp = silent.open.size === 0;
    response.end('OK');
  });
  try {
    assert.equal(await chosen(a, b), `unix://${b}`);
    assert.deepEqual([silent.pings, answers.pings, wasGivenUp], [1, 1, false]);
  } finally {
    close(silent, answers);
  }
});

test('an earlier host that answers late is taken as long as none of the later ones has', async () => {
  await using directory = await tempDirectory();
  const [a, b] = [directory.at('a'), directory.at('b')];
  const late = await daemon(a, () => {});
  const silent = await daemon(b, () => {
    for (const response of late.open) response.end('OK');
  });
  try {
    assert.equal(await chosen(a, b), `unix://${a}`);
  } finally {
    close(late, silent);
  }
});

test('a later host is not asked where an earlier one answers, and at once where it fails', async () => {
  await using directory = await tempDirectory();
  const [a, b] = [directory.at('a'), directory.at('b')];
  const [first, second] = [
    await daemon(a, (r) => void r.end('OK')),
    await daemon(b, (r) => void r.end('OK')),
  ];
  try {
    assert.equal(await chosen(a, b), `unix://${a}`);
    assert.equal(second.pings, 0);
    assert.equal(await chosen(directory.at('nobody'), b, a), `unix://${b}`);
    assert.equal(first.pings, 1);
  } finally {
    close(first, second);
  }
});

test('of hosts of which none answers each is named, in their order', async () => {
  await using directory = await tempDirectory();
  const [a, b] = [directory.at('a'), directory.at('b')];
  const late = await daemon(a, () => {});
  const failing = await daemon(b, (response) => {
    for (const one of [response, ...late.open]) one.destroy();
  });
  try {
    await assert.rejects(chosen(a, b), (error) => {
      assert.ok(isFault(error, 'docker'));
      assert.match(
        error.message,
        new RegExp(`^none of the Docker hosts answers: unix://${a}: .*; unix://${b}: `),
      );
      return true;
    });
  } finally {
    close(late, failing);
  }
});

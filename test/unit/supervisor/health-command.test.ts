// Checks by command against something that answers as Docker's API does: whom one that hangs holds up, and whose processes
// are ended.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { afterEach, describe, it, mock } from 'node:test';
import { type DockerId, dockerId } from '../../../src/container/identity.ts';
import { Engine } from '../../../src/docker/engine.ts';
import { isFault } from '../../../src/fault.ts';
import type { Log } from '../../../src/host/log.ts';
import { CommandChecks, MARK } from '../../../src/supervisor/health-command.ts';
import { Turns } from '../../../src/supervisor/turns.ts';
import { isAlive, killAll } from '../../support/proc.ts';
import { tempDirectory } from '../../support/temp.ts';

const SILENT: Log = { debug: () => {}, info: () => {}, warning: () => {}, error: () => {} };

function idOf(letter: string): DockerId {
  const id = dockerId(letter.repeat(64));
  assert.ok(id);
  return id;
}

function checksOf(id: DockerId, engine: (signal: AbortSignal) => Promise<Engine>, turns: Turns) {
  const probe = { kind: 'command', argv: ['true'], environment: [] } as const;
  return new CommandChecks({ probe, timeoutMs: 1_000, id, engine, turns, log: SILENT });
}

/** Gives `answer` to each request: a status and JSON. */
async function withDocker(
  answer: (path: string) => readonly [status: number, json: unknown],
  body: (engine: Engine) => Promise<void>,
): Promise<void> {
  await using directory = await tempDirectory('hc-');
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    request.resume();
    const [status, json] = answer(`${request.method} ${request.url}`);
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(json));
  });
  server.listen(directory.at('s'));
  await once(server, 'listening');
  try {
    await body(new Engine({ kind: 'unix', path: directory.at('s') }));
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

describe('a check that Docker hangs on', () => {
  afterEach(() => mock.timers.reset());

  it('lets the next one begin, wherever it hangs', async () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    const turns = new Turns(1);
    const ending = new AbortController();
    const began: string[] = [];
    const hangs = (name: string) => async (signal: AbortSignal) => {
      began.push(name);
      const { promise, reject } = Promise.withResolvers<Engine>();
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      return await promise;
    };
    const both = ['first', 'second'].map((name) =>
      checksOf(idOf('a'), hangs(name), turns).check(ending.signal),
    );
    const settled = Promise.allSettled(both);
    await new Promise(setImmediate);
    assert.deepEqual(began, ['first']);
    mock.timers.tick(1_000);
    await new Promise(setImmediate);
    assert.deepEqual(began, ['first', 'second']);
    ending.abort();
    await settled;
  });
});

describe('what an earlier supervisor has left', () => {
  const started: ChildProcess[] = [];
  afterEach(
    async () => await killAll(started.splice(0).flatMap(({ pid }) => (pid === undefined ? [] : [pid]))),
  );

  async function checkOf(id: DockerId): Promise<number> {
    const env = { PATH: '/usr/bin:/bin', [MARK]: `${id}-0123` };
    const child = spawn('/bin/sh', ['-c', 'echo ready; exec sleep 1000'], {
      ...{ detached: true, env, stdio: ['ignore', 'pipe', 'ignore'] },
    });
    started.push(child);
    assert.ok(child.stdout !== null && child.pid !== undefined);
    await once(child.stdout, 'data');
    return child.pid;
  }

  it('is ended, and no check of another container that shares its namespace of processes', async () => {
    const [ours, others] = [await checkOf(idOf('a')), await checkOf(idOf('b'))];
    const answer = (path: string) => {
      if (path.startsWith('GET /containers/'))
        return [200, { Id: idOf('a'), State: { Status: 'running' }, ExecIDs: ['e1'] }] as const;
      if (path.startsWith('GET /exec/e1/')) return [200, { Running: true, Pid: ours }] as const;
      return [409, { message: 'enough' }] as const;
    };
    await withDocker(answer, async (engine) => {
      const { signal } = new AbortController();
      const checks = checksOf(idOf('a'), async () => engine, new Turns(1));
      await assert.rejects(checks.check(signal), (error) => isFault(error, 'conflict'));
    });
    assert.deepEqual([isAlive(ours), isAlive(others)], [false, true]);
  });
});

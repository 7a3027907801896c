// What is asked of a daemon about an end, and what is made of its answers: by one that answers as Docker does.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { dockerId, mesosContainerId } from '../../../src/container/identity.ts';
import type { Outcome } from '../../../src/container/termination.ts';
import { type ContainerFacts, Engine } from '../../../src/docker/engine.ts';
import type { Log } from '../../../src/host/log.ts';
import { containerPaths } from '../../../src/state/layout.ts';
import { ContainerEnd } from '../../../src/supervisor/container-end.ts';
import { MemoryWatch } from '../../../src/supervisor/memory-watch.ts';
import { tempDirectory } from '../../support/temp.ts';

const nothing = () => {};
const SILENT: Log = { debug: nothing, info: nothing, warning: nothing, error: nothing };
const ID = dockerId('ab'.repeat(32)) ?? assert.fail();
const END = Date.UTC(2020, 0, 2, 12);
const at = (ms: number): string => new Date(END + ms).toISOString();
const event = (Action: string, ms: number, Attributes = {}) => ({
  ...{ Type: 'container', Action, Actor: { ID, Attributes }, timeNano: (END + ms) * 1e6 },
});
const DIE = event('die', 0, { exitCode: '0' });
/** So many that Docker has forgotten what was before. */
const OTHERS = Array.from({ length: 256 }, () => ({ Type: 'image', Action: 'tag', Actor: {} }));

interface Answers {
  /** Of the container, at each asking; the last one stays. */
  readonly events: readonly (readonly object[])[];
  /** When the default bridge was made; absent: there is none. */
  readonly bridge?: string;
  /** By SIGKILL; the kernel's log tells of a kill for memory, which Docker does not. */
  readonly logged?: boolean;
  readonly liveRestore?: boolean;
  /** As which Docker has noted the end; 0. */
  readonly exitCode?: number;
  /** We wanted the end. */
  readonly isStopped?: boolean;
  /** As which Docker shows it; exited. */
  readonly state?: ContainerFacts['state'];
  readonly neverStarted?: true;
}

/** The outcome of a container that ended at END, unless told otherwise with status 0, without live restore; `end` has it experience things before. */
async function outcome(
  answers: Answers,
  before = (_end: ContainerEnd) => {},
): Promise<Outcome & { asked: string[] }> {
  await using directory = await tempDirectory();
  const asked: string[] = [];
  let asking = 0;
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://docker');
    const path = url.pathname.replace(/^\/v[\d.]+/, '');
    asked.push(path);
    const json = (body: object, status = 200) => response.writeHead(status).end(JSON.stringify(body));
    if (path === '/info') return json({ LiveRestoreEnabled: answers.liveRestore === true });
    if (path === '/networks/bridge')
      return answers.bridge === undefined
        ? json({ message: 'none' }, 404)
        : json({ Created: answers.bridge });
    assert.equal(path, '/events');
    const own = answers.events[Math.min(asking++, answers.events.length - 1)] ?? [];
    const all = answers.liveRestore === true ? own : OTHERS;
    const events = url.searchParams.has('filters') ? own : all;
    return response.end(events.map((one) => `${JSON.stringify(one)}\n`).join(''));
  });
  await new Promise<void>((resolve) => server.listen(directory.at('s'), resolve));
  try {
    const paths = containerPaths(directory.path, mesosContainerId('c') ?? assert.fail());
    mkdirSync(paths.directory, { recursive: true });
    const engine = new Engine({ kind: 'unix', path: directory.at('s') });
    const { signal } = new AbortController();
    const end = new ContainerEnd({
      ...{ paths, isOfThisBoot: true, watch: new MemoryWatch(), log: SILENT, signal },
      isStopped: () => answers.isStopped === true,
      isKillForMemoryLogged: async () => answers.logged === true,
      insist: async (_what, work) => await work(engine),
    });
    before(end);
    end.daemonBack();
    const facts: ContainerFacts = {
      state: answers.state ?? 'exited',
      ...{
        id: ID,
        name: 'c',
        exitCode: answers.logged === true ? 137 : (answers.exitCode ?? 0),
        oomKilled: false,
        error: '',
      },
      ...(answers.neverStarted ? {} : { startedAt: at(-5_000), finishedAt: at(0) }),
      ...{ labels: {}, tty: false, logDriver: 'local', stopSignal: '', hostConfig: {}, raw: {} },
    };
    return { ...(await end.outcome(ID, facts, undefined)), asked };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const outside = (found: Outcome) => (found.kind === 'exited' ? found.outside : found.kind);

test('its start is forgotten, and its end not told yet: that is waited for', async () => {
  const found = await outcome({ events: [[], [], [DIE]], bridge: at(-60_000) });
  assert.equal(outside(found), undefined);
  const signalled = [event('kill', -1_000, { signal: '15' }), DIE];
  const stopped = await outcome({ events: [[], signalled], bridge: at(-60_000) });
  assert.equal(outside(stopped), 'docker-signal');
});

test('a daemon that served before the end has not ended it by its own, though it was away and forgot all', async () => {
  const found = await outcome({ events: [[DIE]], bridge: at(-60_000) }, (end) => end.daemonAway());
  assert.equal(outside(found), undefined);
  assert.ok(!found.asked.includes('/info'));
});

test('a daemon that serves since the end may have ended it, though nobody saw it away', async () => {
  const found = await outcome({ events: [[]], bridge: at(10_000) });
  assert.equal(outside(found), 'docker-stopped');
  // Nothing more will be told of it: it is not waited for. Then all that is remembered.
  assert.deepEqual(found.asked, ['/events', '/networks/bridge', '/events', '/events', '/info']);
});

test('a daemon that does not say since when it serves: only one that was away since the container ran counts', async () => {
  const away = await outcome({ events: [[]] }, (end) => end.daemonAway());
  assert.equal(outside(away), 'docker-stopped');
  const back = await outcome({ events: [[]] }, (end) => {
    end.daemonAway();
    end.seenRunning();
  });
  assert.equal(outside(back), undefined);
});

test('a container that is removed before it has started has not exited with 0', async () => {
  for (const state of ['removing', 'dead'] as const) {
    for (const liveRestore of [true, false]) {
      const removed = { events: [[]], bridge: at(-60_000), liveRestore, state, neverStarted: true } as const;
      const { asked: _, ...found } = await outcome(removed);
      assert.deepEqual(found, { kind: 'lost', why: 'The container was removed by somebody else' });
    }
    // One that has, and ended before.
    const ended = await outcome({ events: [[DIE]], bridge: at(-60_000), state, exitCode: 7 });
    assert.deepEqual(ended.kind === 'exited' && ended.exitCode, 7);
  }
});

test('a kill for memory that only the kernel’s log tells of is one, and is not waited for', async () => {
  const found = await outcome({ events: [[DIE]], bridge: at(-60_000), logged: true });
  assert.deepEqual(found.kind === 'exited' && [found.exitCode, found.oomKilled], [137, true]);
});

test('a status that the daemon has told as the container ended holds, whatever one that was started since makes of it', async () => {
  const answers: Answers = { events: [[]], liveRestore: true, exitCode: 255 };
  const told = await outcome(answers, (end) => {
    end.told(3);
    end.daemonAway();
  });
  assert.deepEqual(told.kind === 'exited' && [told.exitCode, told.unseen], [3, undefined]);
  const found = await outcome(answers, (end) => {
    end.daemonAway();
    end.told(255);
  });
  assert.equal(found.kind, 'lost');
  const restarted = await outcome(answers, (end) => {
    end.told(143);
    end.seenRunning();
  });
  assert.equal(restarted.kind, 'lost');
});

test('of an end that we wanted it is asked whether its output is whole, where the daemon was away', async () => {
  const answers: Answers = { events: [[]], liveRestore: true, exitCode: 137, isStopped: true };
  assert.deepEqual((await outcome(answers)).asked, []);
  const seen = await outcome(answers, (end) => {
    end.told(137);
    end.daemonAway();
  });
  assert.deepEqual(seen.asked, []);
  const unseen = await outcome(answers, (end) => end.daemonAway());
  assert.deepEqual(unseen.kind === 'exited' && unseen.unseen, { fromMs: 0, toMs: END });
});

// Who ended a container, from all that Docker and the kernel may and may not know.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type ContainerEvent,
  type ContainerHistory,
  type EndEvidence,
  judge,
  mayHaveEndedWithDaemon,
} from '../../../src/container/end-evidence.ts';
import type { OutsideCause } from '../../../src/container/termination.ts';

const TERM = 15;
const KILL = 9;
const QUIT = 3;
const INT = 2;
const USR1 = 10;
const LIMIT = 64 * 1024 * 1024;
const start: ContainerEvent = { action: 'start' };
const oom: ContainerEvent = { action: 'oom' };
const END_MS = Date.UTC(2020, 0, 2);
const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
const die = (exitCode: number): ContainerEvent => ({ action: 'die', exitCode, atMs: END_MS });
const kill = (signal: number, beforeEndMs = SECOND_MS): ContainerEvent => ({
  ...{ action: 'kill', signal, atMs: END_MS - beforeEndMs },
});
const remembers = (...events: ContainerEvent[]): ContainerHistory => ({ events, isComplete: true });
const forgot = (...events: ContainerEvent[]): ContainerHistory => ({ events, isComplete: false });
const exited = (exitCode: number) => ({ exitCode, oomKilled: false, removing: false, finishedAtMs: END_MS });

/** By itself, with status 0, under a daemon that has seen all of it. */
const PLAIN: EndEvidence = {
  toldStatus: undefined,
  inspected: exited(0),
  history: remembers(start, die(0)),
  daemonSinceMs: undefined,
  daemonEndsContainers: undefined,
  daemonAwaySinceMs: undefined,
  hostRestarted: false,
  oomSeen: false,
  memoryLimitBytes: LIMIT,
  stopSignal: TERM,
};
const without = { daemonEndsContainers: true } as const;
/** Under a daemon that was there before the end, and under one that came after it. */
const under = { ...without, daemonSinceMs: END_MS - HOUR_MS } as const;
const since = { ...without, daemonSinceMs: END_MS + SECOND_MS } as const;
const liveRestore = { daemonEndsContainers: false } as const;

const WHO: readonly (readonly [
  what: string,
  evidence: Partial<EndEvidence>,
  outside: OutsideCause | undefined,
])[] = [
  ['itself', {}, undefined],
  ['itself, after a signal that is no end', { history: remembers(start, kill(USR1), die(0)) }, undefined],
  ['itself, and signalled too late', { history: remembers(start, die(0), kill(KILL)) }, undefined],
  ['somebody, by SIGTERM', { history: remembers(start, kill(TERM), die(0)) }, 'docker-signal'],
  ['somebody, by SIGKILL', { history: remembers(start, kill(KILL), die(137)) }, 'docker-signal'],
  [
    'somebody, by its own stop signal',
    { history: remembers(start, kill(USR1), die(0)), stopSignal: USR1 },
    'docker-signal',
  ],
  ['somebody, by SIGINT', { history: remembers(start, kill(INT), die(0)) }, 'docker-signal'],
  ['itself, long after a SIGQUIT', { history: remembers(start, kill(QUIT, HOUR_MS), die(0)) }, undefined],
  ['itself, long after a SIGTERM', { history: remembers(start, kill(TERM, HOUR_MS), die(0)) }, undefined],
  [
    'somebody, by a SIGTERM that it obeys when its work is done',
    { history: remembers(start, kill(TERM, 300 * SECOND_MS), die(0)) },
    'docker-signal',
  ],
  [
    'somebody, by a signal whose status it ends with',
    { history: remembers(start, kill(USR1), die(128 + USR1)), inspected: exited(128 + USR1) },
    'docker-signal',
  ],
  [
    'itself, in its second life',
    { history: remembers(start, kill(TERM, 2 * SECOND_MS), die(0), start, die(0)) },
    undefined,
  ],
  ['somebody, and its exit is not told yet', { history: remembers(start, kill(QUIT)) }, 'docker-signal'],
  [
    'a daemon that was asked to end, and has forgotten all',
    { ...without, history: remembers() },
    'docker-stopped',
  ],
  [
    'a daemon that came back from a crash',
    { ...without, history: remembers(kill(TERM), die(0)) },
    'docker-stopped',
  ],
  ['itself, while that daemon came back', { ...without, history: remembers(die(0)) }, undefined],
  [
    'itself, while a daemon was away that ends nothing',
    { ...liveRestore, history: remembers(), daemonAwaySinceMs: 1 },
    undefined,
  ],
  [
    'somebody, under a daemon that ends nothing and came back',
    { ...liveRestore, history: remembers(kill(TERM), die(0)) },
    'docker-signal',
  ],
  ['nobody knows: too many events since', { ...without, history: forgot() }, undefined],
  [
    'the daemon: too many events since, but it was away',
    { ...without, history: forgot(), daemonAwaySinceMs: 1 },
    'docker-stopped',
  ],
  [
    'the daemon, which refuses to tell',
    { ...without, history: undefined, daemonAwaySinceMs: 1 },
    'docker-stopped',
  ],
  ['itself, under a daemon that refuses to tell', { ...without, history: undefined }, undefined],
  [
    'itself, under a daemon that refuses to tell what it does',
    { history: remembers(), daemonAwaySinceMs: 1 },
    undefined,
  ],
  [
    'itself, under a daemon that was there',
    { ...under, history: remembers(), daemonAwaySinceMs: 1 },
    undefined,
  ],
  [
    'itself, under a daemon that has forgotten it',
    { ...under, history: forgot(), daemonAwaySinceMs: 1 },
    undefined,
  ],
  [
    'itself, under one that refuses to tell',
    { ...under, history: undefined, daemonAwaySinceMs: 1 },
    undefined,
  ],
  [
    'somebody, under a daemon that was there and has forgotten its start',
    { ...under, history: forgot(kill(TERM), die(0)), daemonAwaySinceMs: 1 },
    'docker-signal',
  ],
  ['an earlier daemon, however much has been since', { ...since, history: forgot() }, 'docker-stopped'],
  ['an earlier daemon, which nobody can ask', { ...since, history: undefined }, 'docker-stopped'],
  [
    'a daemon that came back and ended it',
    { ...since, history: forgot(kill(TERM), die(0)) },
    'docker-stopped',
  ],
  ['a daemon that came back, by what is left of it', { ...since, history: forgot(die(0)) }, 'docker-stopped'],
  ['itself, before a daemon came back that tells all', { ...since, history: remembers(die(0)) }, undefined],
  [
    'itself, before a daemon came back that ends nothing',
    { ...liveRestore, daemonSinceMs: END_MS + SECOND_MS, history: remembers() },
    undefined,
  ],
  ['the host', { ...without, history: remembers(), hostRestarted: true }, 'host-restarted'],
];

describe('a container was ended by', () => {
  for (const [what, evidence, outside] of WHO) {
    test(what, () => {
      const outcome = judge({ ...PLAIN, ...evidence });
      assert.equal(outcome.kind === 'exited' ? outcome.outside : outcome.kind, outside);
    });
  }
});

describe('an end that no daemon has seen', () => {
  const unseen = { ...PLAIN, ...liveRestore, inspected: exited(3), history: remembers() };
  const span = { fromMs: 0, toMs: END_MS };
  const unseenOf = (evidence: Partial<EndEvidence>) => {
    const outcome = judge({ ...unseen, ...evidence });
    return outcome.kind === 'exited' ? outcome.unseen : outcome;
  };
  test('keeps its status; what was written meanwhile is nowhere', () => {
    assert.deepEqual(judge(unseen), {
      ...{ kind: 'exited', exitCode: 3, oomKilled: false, memoryLimitBytes: LIMIT },
      unseen: span,
    });
    const daemonAwaySinceMs = END_MS - SECOND_MS;
    assert.deepEqual(unseenOf({ daemonAwaySinceMs }), { ...span, fromMs: daemonAwaySinceMs });
    // Noticed when it was back.
    assert.deepEqual(unseenOf({ daemonAwaySinceMs: END_MS + SECOND_MS }), span);
  });
  test('has no status where Docker says 255: so it calls what it does not know', () => {
    const outcome = judge({ ...unseen, inspected: exited(255) });
    assert.deepEqual(outcome, {
      kind: 'lost',
      why: 'Docker was restarted about when the container ended, and says 255, as it does of an end that it has not seen',
      unseen: span,
    });
    // That memory ended it the kernel knows.
    assert.equal(judge({ ...unseen, inspected: exited(255), oomSeen: true }).kind, 'exited');
  });
  test('was seen by whom we asked for it, though that forgot it since: its status, and all of its output', () => {
    for (const exitCode of [0, 3, 255]) {
      assert.deepEqual(judge({ ...unseen, inspected: exited(255), toldStatus: exitCode }), {
        ...{ kind: 'exited', exitCode, oomKilled: false, memoryLimitBytes: LIMIT },
      });
    }
  });
  test('is not one that it tells of, may have forgotten, or brought itself', () => {
    for (const evidence of [
      { history: remembers(die(255)) },
      { history: remembers(start) },
      { history: forgot() },
      { history: undefined },
      { daemonEndsContainers: true },
      { daemonEndsContainers: undefined },
      { hostRestarted: true },
    ]) {
      assert.equal(unseenOf(evidence), undefined);
      assert.equal(judge({ ...unseen, ...evidence, inspected: exited(255) }).kind, 'exited');
    }
  });
});

describe('a container that is gone', () => {
  const gone = { ...PLAIN, inspected: undefined };
  test('has the status of its end, if that came first', () => {
    const outcome = judge({ ...gone, history: remembers(start, die(5), { action: 'destroy' }) });
    assert.deepEqual(outcome, { kind: 'exited', exitCode: 5, oomKilled: false, memoryLimitBytes: LIMIT });
  });
  test('was removed while it ran, if it was killed for that', () => {
    const why = 'The container was removed by somebody else while it ran';
    const history = remembers(start, kill(KILL), die(137), { action: 'destroy' });
    assert.deepEqual(judge({ ...gone, history }), { kind: 'lost', why });
    // Docker still shows it for a moment.
    const inspected = { ...exited(137), removing: true };
    assert.deepEqual(judge({ ...PLAIN, history, inspected }), { kind: 'lost', why });
  });
  test('was removed, and no more is known, by a daemon that has forgotten it', () => {
    const why = 'The container was removed by somebody else';
    for (const history of [remembers(), forgot(), undefined])
      assert.deepEqual(judge({ ...gone, history }), { kind: 'lost', why });
  });
});

test('a kill for memory is known from whoever has seen it', () => {
  const seen: readonly Partial<EndEvidence>[] = [
    { inspected: { ...exited(0), oomKilled: true } },
    { history: remembers(start, oom, die(0)) },
    { oomSeen: true },
  ];
  for (const evidence of seen) {
    const outcome = judge({ ...PLAIN, ...evidence });
    assert.ok(outcome.kind === 'exited' && outcome.oomKilled);
  }
  const outcome = judge(PLAIN);
  assert.ok(outcome.kind === 'exited' && !outcome.oomKilled);
});

test('a daemon is asked what else it knows only where that can matter', () => {
  const matters = (evidence: Partial<EndEvidence>) => mayHaveEndedWithDaemon({ ...PLAIN, ...evidence });
  assert.equal(matters({ history: remembers(start, die(0)) }), false);
  assert.equal(matters({ history: remembers(start, kill(TERM), die(0)) }), false);
  assert.equal(matters({ history: forgot(die(3)) }), false);
  assert.equal(matters({ history: forgot(kill(TERM), die(0)) }), true);
  assert.equal(matters({ history: forgot() }), true);
  assert.equal(matters({ ...under, history: forgot(kill(TERM), die(0)) }), false);
  assert.equal(matters({ ...since, history: forgot(die(3)) }), true);
});

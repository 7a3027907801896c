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
const USR1 = 10;
const LIMIT = 64 * 1024 * 1024;
const start: ContainerEvent = { action: 'start' };
const oom: ContainerEvent = { action: 'oom' };
const die = (exitCode: number): ContainerEvent => ({ action: 'die', exitCode });
const kill = (signal: number): ContainerEvent => ({ action: 'kill', signal });
const remembers = (...events: ContainerEvent[]): ContainerHistory => ({ events, isComplete: true });
const forgot = (...events: ContainerEvent[]): ContainerHistory => ({ events, isComplete: false });
const exited = (exitCode: number) => ({ exitCode, oomKilled: false, removing: false });

/** By itself, with status 0, under a daemon that has seen all of it. */
const PLAIN: EndEvidence = {
  inspected: exited(0),
  history: remembers(start, die(0)),
  daemonEndsContainers: undefined,
  daemonWasAway: false,
  hostRestarted: false,
  oomSeen: false,
  memoryLimitBytes: LIMIT,
  stopSignal: TERM,
};
const without = { daemonEndsContainers: true } as const;
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
    { ...liveRestore, history: remembers(), daemonWasAway: true },
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
    { ...without, history: forgot(), daemonWasAway: true },
    'docker-stopped',
  ],
  [
    'the daemon, which refuses to tell',
    { ...without, history: undefined, daemonWasAway: true },
    'docker-stopped',
  ],
  ['itself, under a daemon that refuses to tell', { ...without, history: undefined }, undefined],
  [
    'itself, under a daemon that refuses to tell what it does',
    { history: remembers(), daemonWasAway: true },
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
  assert.equal(mayHaveEndedWithDaemon(remembers(start, die(0)), TERM), false);
  assert.equal(mayHaveEndedWithDaemon(remembers(start, kill(TERM), die(0)), TERM), false);
  assert.equal(mayHaveEndedWithDaemon(forgot(die(3)), TERM), false);
  assert.equal(mayHaveEndedWithDaemon(forgot(kill(TERM), die(0)), TERM), true);
  assert.equal(mayHaveEndedWithDaemon(forgot(), TERM), true);
});

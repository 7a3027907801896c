import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  ACKNOWLEDGEMENT_TIMEOUT_MS,
  endingOf,
  isDestroyed,
  type Life,
  type LifeEvent,
  type LifeTerms,
  newLife,
  next,
  type Phase,
  RUN_TASK_PRESUMED_MS,
  RUN_TASK_TIMEOUT_MS,
  SHUTDOWN_ACKNOWLEDGEMENT_TIMEOUT_MS,
  type Step,
} from '../../../src/container/life.ts';
import { type EndCause, type Outcome, TaskState } from '../../../src/container/termination.ts';
import { LifeWorld, TERMINAL_STATES } from './life-world.ts';

const TERMS: LifeTerms = {
  reporting: true,
  checkpoint: true,
  recoveryTimeoutMs: 900_000,
  stopGraceMs: 2_000,
  shutdownGraceMs: 2_500,
  checked: false,
};
const PLAIN: LifeTerms = { ...TERMS, checkpoint: false };
const SILENT: LifeTerms = { ...TERMS, reporting: false };
const EXITED: Outcome = { kind: 'exited', exitCode: 0, oomKilled: false };

const REGISTERED: LifeEvent = { type: 'registered', takesKilling: false };
const ENDED: LifeEvent = { type: 'ended', outcome: EXITED };

/** A step as the tables name it. */
function nameOf(step: Step): string {
  switch (step.type) {
    case 'report':
      return `report ${step.state}`;
    case 'arm':
      return `arm ${step.timer} ${step.ms}${step.timer === 'run-task' && step.anew ? ' anew' : ''}`;
    case 'disarm':
      return `disarm ${step.timer}`;
    case 'report-health':
      return `report-health ${step.health.healthy} ${step.health.failures} ${step.text}`;
    case 'begin-checks':
      return `begin-checks${step.resumed ? ' resumed' : ''}`;
    case 'stop':
      return `stop ${step.graceMs}`;
    case 'kill-unseen':
      return `kill-unseen ${step.graceMs}`;
    case 'note-end':
      return `note-end ${step.end.cause} ${step.end.graceMs}`;
    case 'record':
      return `record ${step.outcome.kind}`;
    default:
      return step.type;
  }
}

/** Lives through events; gives the life and the steps of the last event. */
function live(from: Life, ...events: readonly LifeEvent[]): { life: Life; steps: readonly string[] } {
  let life = from;
  let steps: readonly Step[] = [];
  for (const event of events) ({ life, steps } = next(life, event));
  return { life, steps: steps.map(nameOf) };
}

const toCreated: readonly LifeEvent[] = [
  { type: 'begin' },
  { type: 'slave-there' },
  REGISTERED,
  { type: 'prepared' },
  { type: 'created' },
];
const toRunning: readonly LifeEvent[] = [...toCreated, { type: 'run-task' }, { type: 'started' }];
const toReporting: readonly LifeEvent[] = [...toRunning, ENDED, { type: 'recorded' }];
const TERMINATE = [
  'disarm acknowledgement',
  'disarm recovery',
  'disarm run-task',
  'disarm wait-seen',
  'terminate',
  'clean-up',
];

describe('a life without accidents', () => {
  const table: readonly (readonly [event: LifeEvent, phase: Phase, steps: readonly string[]])[] = [
    [{ type: 'begin' }, 'preparing', ['dial', 'prepare', 'arm wait-seen 60000']],
    [{ type: 'slave-there' }, 'preparing', ['disarm recovery']],
    [REGISTERED, 'preparing', [`arm run-task ${RUN_TASK_TIMEOUT_MS}`]],
    [{ type: 'progress' }, 'preparing', []],
    [{ type: 'run-task' }, 'preparing', ['note-run-task', 'disarm run-task', 'report 0']],
    [{ type: 'progress' }, 'preparing', ['report 0']],
    [{ type: 'prepared' }, 'creating', ['create']],
    [{ type: 'created' }, 'starting', ['start']],
    [{ type: 'started' }, 'running', ['report 1', 'apply-limits']],
    [ENDED, 'recording', ['record exited']],
    [{ type: 'recorded' }, 'reporting', ['report 2', `arm acknowledgement ${ACKNOWLEDGEMENT_TIMEOUT_MS}`]],
    [{ type: 'acknowledged' }, 'reported', TERMINATE],
    [{ type: 'destroy' }, 'reported', []],
  ];

  it('goes through every phase to its Termination, of a command task', () => {
    let life = newLife(TERMS);
    for (const [event, phase, steps] of table) {
      const after = live(life, event);
      assert.deepEqual([after.life.phase, after.steps], [phase, steps], event.type);
      life = after.life;
    }
  });

  it('needs no slave where nothing is reported', () => {
    const begun = live(newLife(SILENT), { type: 'begin' });
    assert.deepEqual(begun.steps, ['prepare', 'arm wait-seen 60000']);
    const created = live(begun.life, { type: 'prepared' }, { type: 'created' });
    assert.deepEqual(created.steps, ['start']);
    const over = live(created.life, { type: 'started' }, ENDED, { type: 'recorded' });
    assert.deepEqual(over.steps, TERMINATE);
  });

  it('holds a created container until RunTask comes, and gives it up when it does not', () => {
    const created = live(newLife(TERMS), ...toCreated);
    assert.deepEqual([created.life.phase, created.steps], ['created', []]);
    assert.deepEqual(live(created.life, { type: 'run-task' }).steps, [
      'note-run-task',
      'disarm run-task',
      'start',
    ]);
    for (const task of ['active', 'ended', 'unknown'] as const) {
      const silent = live(created.life, { type: 'run-task-late', task });
      assert.deepEqual(silent.steps, ['note-end no-run-task 2000', 'record never-started']);
      assert.deepEqual(live(silent.life, { type: 'recorded' }).steps, TERMINATE);
    }
  });
});

describe('a wanted end', () => {
  it('is carried out in each phase as far as that phase can', () => {
    const note = 'note-end destroy 2000';
    const table: readonly (readonly [at: Phase, steps: readonly string[], then: Phase])[] = [
      ['looking', [note, 'kill-unseen 2000'], 'looking'],
      ['preparing', [note, 'cancel', 'record never-started'], 'recording'],
      ['creating', [note], 'creating'],
      ['created', [note, 'record never-started'], 'recording'],
      ['starting', [note], 'starting'],
      ['running', [note, 'stop 2000'], 'running'],
      ['recording', ['note-destroyed'], 'recording'],
      ['reporting', TERMINATE, 'reported'],
      ['reported', [], 'reported'],
    ];
    for (const [phase, steps, then] of table) {
      const life: Life = { ...newLife(TERMS), registration: 'done', runTask: true, phase };
      const after = live(life, { type: 'destroy' });
      assert.deepEqual([after.steps, after.life.phase], [steps, then], phase);
    }
  });

  it('that came while something could not be called back is found by its event', () => {
    const wanted = { wantedEnd: { cause: 'destroy', graceMs: 2_000 } } as const;
    const base: Life = { ...newLife(TERMS), registration: 'done', runTask: true, ...wanted };
    const table: readonly (readonly [Phase, LifeEvent, readonly string[]])[] = [
      ['creating', { type: 'created' }, ['record never-started']],
      ['creating', { type: 'failed', why: 'no' }, ['record never-started']],
      ['starting', { type: 'started' }, ['apply-limits', 'stop 2000']],
      ['looking', { type: 'found', docker: 'absent' }, ['record never-started']],
      ['looking', { type: 'found', docker: 'created' }, ['record never-started']],
      ['looking', { type: 'found', docker: 'running' }, ['follow', 'apply-limits', 'stop 2000']],
    ];
    for (const [phase, event, steps] of table)
      assert.deepEqual(live({ ...base, phase }, event).steps, steps, phase);
  });

  it('by the framework, while it was being started, does not hide that it ran; one by the slave is told to nobody', () => {
    for (const [cause, first] of [
      ['kill', ['report 1']],
      ['shutdown', ['report 1']],
      ['destroy', []],
      ['no-run-task', []],
    ] as const) {
      const wantedEnd = { cause, graceMs: 2_000 };
      const life: Life = {
        ...newLife(TERMS),
        registration: 'done',
        runTask: true,
        phase: 'starting',
        wantedEnd,
      };
      assert.deepEqual(live(life, { type: 'started' }).steps, [...first, 'apply-limits', 'stop 2000'], cause);
    }
  });

  it('for a slave that cannot be spoken with is a failure with the reason, in whatever phase, told by `wait` alone', () => {
    const table: readonly (readonly [Phase, readonly LifeEvent[]])[] = [
      ['preparing', []],
      ['created', []],
      ['creating', [{ type: 'created' }]],
      ['creating', [{ type: 'failed', why: 'another' }]],
      ['looking', [{ type: 'found', docker: 'absent' }]],
      ['looking', [{ type: 'found', docker: 'created' }]],
    ];
    for (const [phase, after] of table) {
      const unreachable: LifeEvent = { type: 'unreachable', why: 'no TLS' };
      const over = live({ ...newLife(TERMS), phase }, unreachable, { type: 'slave-away' }, ...after);
      assert.deepEqual(over.life.outcome, { kind: 'failed', why: 'no TLS' }, phase);
      const told = live(over.life, { type: 'recorded' });
      assert.ok(told.steps.includes('terminate') && !told.steps.some((step) => step.startsWith('report ')));
    }
    const wanted = live(newLife(TERMS), { type: 'unreachable', why: 'no TLS' }).life.wantedEnd;
    // As it is kept, for a supervisor that comes after a crash.
    assert.deepEqual(wanted, { cause: 'unreachable', graceMs: 2_000, why: 'no TLS' });
    const before = live({ ...newLife(TERMS), phase: 'creating' }, { type: 'destroy' });
    const later = live(before.life, { type: 'unreachable', why: 'no TLS' }, { type: 'created' });
    assert.deepEqual(later.life.outcome, { kind: 'never-started' });
  });

  it('that was noted before a crash needs no answer of Docker either', () => {
    const wantedEnd = { cause: 'kill', graceMs: 7 } as const;
    const { steps } = live({ ...newLife(TERMS), runTask: true, wantedEnd }, { type: 'resume' });
    assert.deepEqual(steps, ['dial', 'look', 'kill-unseen 7', 'arm wait-seen 60000']);
  });

  it('keeps its first cause, and a later one can only shorten the grace', () => {
    const running = live(newLife(TERMS), ...toRunning).life;
    const killed = live(running, { type: 'kill', graceMs: 30_000 });
    assert.deepEqual(killed.steps, ['note-end kill 30000', 'stop 30000']);
    assert.deepEqual(live(killed.life, { type: 'kill', graceMs: 60_000 }).steps, []);
    assert.deepEqual(live(killed.life, { type: 'shutdown' }).steps, ['note-end kill 2000', 'stop 2000']);
  });

  it('is not told of once the slave destroys what was to end already: that it was asked for once more is noted', () => {
    const killed = live(live(newLife(TERMS), ...toRunning).life, { type: 'kill', graceMs: 30_000 });
    const destroyed = live(killed.life, { type: 'destroy' });
    assert.deepEqual(destroyed.steps, ['note-end kill 2000', 'stop 2000', 'note-destroyed']);
    assert.deepEqual(live(destroyed.life, { type: 'destroy' }).steps, []);
    const over = live(destroyed.life, ENDED, { type: 'recorded' });
    assert.deepEqual(over.steps.slice(-TERMINATE.length), TERMINATE);
    assert.ok(!over.steps.some((step) => step.startsWith('report')));
  });

  it('is of one that nobody asks for any more, whenever it was destroyed', () => {
    const lives = [
      [],
      toRunning,
      [...toRunning, ENDED],
      [...toRunning, ENDED, { type: 'recorded' }],
    ] as const;
    for (const events of lives) {
      const { life } = live(newLife(TERMS), ...events);
      assert.equal(isDestroyed(life), false);
      assert.equal(isDestroyed(live(life, { type: 'destroy' }).life), true);
    }
  });

  it('has the grace of the message, else of the task, else of the configuration', () => {
    const table: readonly (readonly [Partial<LifeTerms>, LifeEvent, number])[] = [
      [{}, { type: 'kill' }, 2_000],
      [{ killGraceMs: 9_000 }, { type: 'kill' }, 9_000],
      [{ killGraceMs: 9_000 }, { type: 'kill', graceMs: 5 }, 5],
      [{}, { type: 'shutdown' }, 2_000],
      [{ killGraceMs: 9_000 }, { type: 'shutdown' }, 2_500],
      [{ killGraceMs: 1_000 }, { type: 'shutdown' }, 1_000],
      [{ killGraceMs: 9_000 }, { type: 'destroy' }, 2_000],
    ];
    for (const [terms, event, graceMs] of table) {
      const running = live(newLife({ ...TERMS, ...terms }), ...toRunning).life;
      assert.equal(live(running, event).life.wantedEnd?.graceMs, graceMs, JSON.stringify([terms, event]));
    }
  });

  it('is told to the slave only where the slave does not know it better', () => {
    const table: readonly (readonly [cause: EndCause | undefined, runTask: boolean, told: boolean])[] = [
      [undefined, true, true],
      [undefined, false, true],
      ['kill', true, true],
      ['shutdown', true, true],
      ['shutdown', false, false],
      ['destroy', true, false],
      ['refused', false, false],
      ['slave-lost', true, false],
      ['no-run-task', false, false],
      ['forgotten', true, false],
      ['unreachable', false, false],
    ];
    for (const [cause, runTask, told] of table) {
      const life: Life = {
        ...newLife(TERMS),
        ...{ phase: 'recording', registration: 'done', slave: 'there', runTask, outcome: EXITED },
        ...(cause === undefined ? {} : { wantedEnd: { cause, graceMs: 1 } }),
      };
      const { steps } = live(life, { type: 'recorded' });
      assert.equal(
        steps.some((step) => step.startsWith('report ')),
        told,
        `${cause} ${runTask}`,
      );
      assert.equal(steps.includes('terminate'), !told, `${cause} ${runTask}`);
    }
  });

  it('by KillTask says TASK_KILLING first where the framework takes it, once', () => {
    const takes: readonly LifeEvent[] = toRunning.map((event) =>
      event.type === 'registered' ? { type: 'registered', takesKilling: true } : event,
    );
    const killed = live(newLife(TERMS), ...takes, { type: 'kill', graceMs: 10_000 });
    assert.deepEqual(killed.steps, ['note-end kill 10000', 'report 8', 'stop 10000']);
    const again = live(killed.life, { type: 'kill', graceMs: 1 });
    assert.deepEqual(again.steps, ['note-end kill 1', 'stop 1']);
  });

  it('by KillTask is proof that the task was handed over, and is reported', () => {
    const resumed = live({ ...newLife(TERMS), registration: 'done' }, { type: 'resume' });
    const killed = live(resumed.life, { type: 'kill' }, { type: 'found', docker: 'created' });
    assert.deepEqual(killed.steps, ['record never-started']);
    assert.deepEqual(live(killed.life, { type: 'slave-there' }, { type: 'recorded' }).steps, [
      `report ${TaskState.KILLED}`,
      `arm acknowledgement ${ACKNOWLEDGEMENT_TIMEOUT_MS}`,
    ]);
  });

  it('by ShutdownExecutor waits for its acknowledgement no longer than the slave lets us', () => {
    const { steps } = live(newLife(TERMS), ...toRunning, { type: 'shutdown' }, ENDED, { type: 'recorded' });
    assert.deepEqual(steps, ['report 4', `arm acknowledgement ${SHUTDOWN_ACKNOWLEDGEMENT_TIMEOUT_MS}`]);
  });
});

describe('a task that has ended by itself, whose end is still being recorded', () => {
  const recording = live(newLife(TERMS), ...toRunning, ENDED).life;
  const away = live(newLife(TERMS), ...toRunning, { type: 'slave-away' }, ENDED).life;

  it('is not told of, nor any acknowledgement waited for, once the slave destroys it; how it ended stays', () => {
    for (const life of [recording, away]) {
      const destroyed = live(life, { type: 'destroy' });
      assert.deepEqual([destroyed.steps, destroyed.life.phase], [['note-destroyed'], 'recording']);
      assert.deepEqual(live(destroyed.life, { type: 'destroy' }, { type: 'shutdown' }).steps, []);
      const over = live(destroyed.life, { type: 'shutdown' }, { type: 'recorded' });
      assert.deepEqual(over.steps, TERMINATE);
      assert.deepEqual(endingOf(over.life), endingOf(life));
    }
  });

  it('counts as destroyed also when its end has been told', () => {
    const over = live(recording, { type: 'recorded' }, { type: 'acknowledged' }).life;
    const destroyed = live(over, { type: 'destroy' });
    assert.deepEqual([isDestroyed(over), isDestroyed(destroyed.life), destroyed.steps], [false, true, []]);
  });

  it('is as little told of by a supervisor that comes after a crash, and nothing is started again', () => {
    const restored: Life = {
      ...newLife(TERMS),
      ...{ registration: 'done', runTask: true, dismissed: 'destroy', phase: 'reporting', outcome: EXITED },
    };
    assert.deepEqual(live(restored, { type: 'resume' }).steps, TERMINATE);
    const { outcome: _lost, ...before } = restored;
    const looking = live({ ...before, phase: 'looking' }, { type: 'resume' }).life;
    assert.deepEqual(live(looking, ENDED, { type: 'recorded' }).steps, TERMINATE);
    assert.deepEqual(endingOf(live(looking, ENDED).life), endingOf(restored));
    for (const docker of ['absent', 'created'] as const)
      assert.deepEqual(live(looking, { type: 'found', docker }).steps, ['record never-started']);
  });

  it('is told of, and waited for no longer than a slave that shuts it down lets us', () => {
    const { life, steps } = live(recording, { type: 'shutdown' });
    assert.deepEqual(steps, []);
    assert.deepEqual(live(life, { type: 'recorded' }).steps, [
      'report 2',
      `arm acknowledgement ${SHUTDOWN_ACKNOWLEDGEMENT_TIMEOUT_MS}`,
    ]);
  });
});

describe('a task whose health is checked', () => {
  const CHECKED: LifeTerms = { ...TERMS, checked: true };
  const bad = (failures: number, kill = false): LifeEvent => ({
    type: 'health',
    health: { healthy: false, failures },
    text: `bad ${failures}`,
    kill,
  });
  const running = live(newLife(CHECKED), ...toRunning);
  const killing = live(newLife({ ...CHECKED, killGraceMs: 7 }), ...toRunning, bad(3, true));

  it('is checked from the moment at which it was said to run, and not at all where nobody is told', () => {
    assert.deepEqual(running.steps, ['report 1', 'apply-limits', 'begin-checks']);
    const silent = live(newLife({ ...CHECKED, reporting: false }), { type: 'begin' }, { type: 'prepared' });
    const started = live(silent.life, { type: 'created' }, { type: 'started' });
    assert.deepEqual(started.steps, ['apply-limits']);
    assert.deepEqual(live(started.life, bad(1, true)).steps, []);
  });

  it('is told of as it changes', () => {
    assert.deepEqual(live(running.life, bad(1)).steps, ['report-health false 1 bad 1']);
    const well: LifeEvent = {
      type: 'health',
      health: { healthy: true, failures: 0 },
      text: 'well',
      kill: false,
    };
    assert.deepEqual(live(running.life, bad(1), well).steps, ['report-health true 0 well']);
  });

  it('is ended for it like any wanted end: noted first, the failure told, then stopped', () => {
    assert.deepEqual(killing.steps, [
      'end-checks',
      'note-end unhealthy 7',
      'report-health false 3 bad 3',
      'stop 7',
    ]);
    assert.deepEqual(killing.life.wantedEnd, {
      cause: 'unhealthy',
      graceMs: 7,
      unhealthy: { failures: 3, text: 'bad 3' },
    });
    const takes = live({ ...running.life, takesKilling: true }, bad(3, true));
    assert.deepEqual(takes.steps.slice(1), [
      'note-end unhealthy 2000',
      'report-health false 3 bad 3',
      'report 8',
      'stop 2000',
    ]);
  });

  it('is killed for it whatever its exit status, and says why', () => {
    const over = live(killing.life, ENDED, { type: 'recorded' });
    assert.equal(over.steps[0], `report ${TaskState.KILLED}`);
    assert.equal(endingOf(over.life).message, 'Killed: bad 3; the container exited with status 0');
  });

  it('keeps that reason when others want its end too, and their shorter grace', () => {
    const both = live(killing.life, { type: 'kill', graceMs: 1 });
    assert.deepEqual(both.steps, ['note-end unhealthy 1', 'stop 1']);
    assert.deepEqual(both.life.wantedEnd?.unhealthy, { failures: 3, text: 'bad 3' });
    const killed = live(running.life, { type: 'kill' });
    assert.deepEqual(killed.steps, ['end-checks', 'note-end kill 2000', 'stop 2000']);
    assert.deepEqual(live(killed.life, bad(3, true)).steps, []);
  });

  it('is no longer checked once it has ended', () => {
    const over = live(running.life, ENDED);
    assert.deepEqual(over.steps, ['end-checks', 'record exited']);
    assert.deepEqual(live(over.life, bad(3, true)).steps, []);
  });

  it('is checked on after a crash of ours, unless it is ended for it', () => {
    const looking: Life = { ...newLife(CHECKED), registration: 'done', runTask: true, phase: 'looking' };
    const found: LifeEvent = { type: 'found', docker: 'running' };
    const steps = ['follow', 'report 1', 'apply-limits'];
    assert.deepEqual(live(looking, found).steps, [...steps, 'begin-checks resumed']);
    const { wantedEnd } = killing.life;
    assert.ok(wantedEnd !== undefined);
    assert.deepEqual(live({ ...looking, wantedEnd }, found).steps, [
      'follow',
      'report 1',
      'report-health false 3 bad 3',
      'apply-limits',
      'stop 7',
    ]);
  });
});

describe('a slave that goes away', () => {
  it('is waited for if it checkpoints and knows us, otherwise the container is stopped', () => {
    const cases: readonly (readonly [LifeTerms, readonly LifeEvent[], readonly string[]])[] = [
      [TERMS, toRunning, ['disarm run-task', 'arm recovery 900000']],
      [PLAIN, toRunning, ['disarm run-task', 'note-end slave-lost 2000', 'stop 2000']],
      [
        TERMS,
        [{ type: 'begin' }, { type: 'slave-there' }],
        ['disarm run-task', 'note-end slave-lost 2000', 'cancel', 'record never-started'],
      ],
    ];
    for (const [terms, events, steps] of cases)
      assert.deepEqual(live(newLife(terms), ...events, { type: 'slave-away' }).steps, steps);
  });

  it('comes back in time: nothing happens; links that come and go do not put its time off', () => {
    const away = live(newLife(TERMS), ...toRunning, { type: 'slave-away' });
    assert.deepEqual(live(away.life, { type: 'slave-away' }).steps, ['disarm run-task']);
    const back = live(away.life, { type: 'slave-there' });
    assert.deepEqual([back.steps, back.life.slave], [['disarm recovery'], 'there']);
    assert.deepEqual(live(back.life, { type: 'timeout', timer: 'recovery' }).steps, []);
  });

  it('comes back before it has handed the task over: RunTask is waited for again', () => {
    const back = live(newLife(TERMS), ...toCreated, { type: 'slave-away' }, { type: 'slave-there' });
    assert.deepEqual(back.steps, ['disarm recovery', `arm run-task ${RUN_TASK_TIMEOUT_MS}`]);
  });

  it('stays away: the container is stopped, and no acknowledgement waited for', () => {
    const lost = live(
      newLife(TERMS),
      ...toRunning,
      { type: 'slave-away' },
      { type: 'timeout', timer: 'recovery' },
    );
    assert.deepEqual(lost.steps, ['note-end slave-lost 2000', 'stop 2000']);
    assert.deepEqual(live(lost.life, ENDED, { type: 'recorded' }).steps, TERMINATE);
  });

  it('stays away while the end is being recorded: still nobody is waited for', () => {
    const steps = live(
      newLife(TERMS),
      ...toRunning,
      { type: 'slave-away' },
      ENDED,
      { type: 'timeout', timer: 'recovery' },
      { type: 'recorded' },
    ).steps;
    assert.deepEqual(steps, ['report 2', ...TERMINATE]);
  });

  it('while the terminal update is out: its return is waited for, if it checkpoints', () => {
    const away = live(newLife(TERMS), ...toReporting, { type: 'slave-away' });
    assert.deepEqual(away.steps, ['disarm run-task', 'arm recovery 900000', 'disarm acknowledgement']);
    const back = live(away.life, { type: 'slave-there' });
    assert.deepEqual(back.steps, ['disarm recovery', `arm acknowledgement ${ACKNOWLEDGEMENT_TIMEOUT_MS}`]);
    assert.deepEqual(live(newLife(PLAIN), ...toReporting, { type: 'slave-away' }).steps, TERMINATE);
  });
});

describe('taken up after a crash', () => {
  const resume: LifeEvent = { type: 'resume' };

  it('everything is asked for again', () => {
    const looking: Life = { ...newLife(TERMS), phase: 'looking' };
    const table: readonly (readonly [Partial<Life>, readonly string[]])[] = [
      [{ phase: 'reported' }, ['clean-up']],
      [
        { phase: 'reporting', runTask: true, outcome: EXITED },
        ['dial', 'report 2', `arm acknowledgement ${ACKNOWLEDGEMENT_TIMEOUT_MS}`],
      ],
      [{ phase: 'reporting', outcome: EXITED, wantedEnd: { cause: 'destroy', graceMs: 1 } }, TERMINATE],
      [{}, ['dial', 'look', 'arm wait-seen 60000']],
      [{ registration: 'done', runTask: true }, ['dial', 'look', 'arm wait-seen 60000']],
      [
        { registration: 'done' },
        ['dial', 'look', 'arm wait-seen 60000', `arm run-task ${RUN_TASK_PRESUMED_MS}`],
      ],
    ];
    for (const [part, steps] of table)
      assert.deepEqual(live({ ...looking, ...part }, resume).steps, steps, JSON.stringify(part));
  });

  it('what Docker has decides where it goes on', () => {
    const life: Life = { ...newLife(TERMS), registration: 'done', runTask: true, phase: 'looking' };
    const table: readonly (readonly [LifeEvent, Phase, readonly string[]])[] = [
      [{ type: 'found', docker: 'absent' }, 'preparing', ['prepare']],
      [{ type: 'found', docker: 'created' }, 'starting', ['start']],
      [{ type: 'found', docker: 'running' }, 'running', ['follow', 'report 1', 'apply-limits']],
      [ENDED, 'recording', ['record exited']],
    ];
    for (const [event, phase, steps] of table) {
      const after = live(life, event);
      assert.deepEqual([after.life.phase, after.steps], [phase, steps]);
    }
  });

  it('between Registered and RunTask: that is waited for, a while, and then counts as lost on its way', () => {
    const registered: Life = { ...newLife(TERMS), registration: 'done' };
    const held = live(registered, resume, { type: 'found', docker: 'created' });
    assert.deepEqual([held.life.phase, held.steps], ['created', []]);
    const start = ['note-run-task', 'disarm run-task', 'start'];
    assert.deepEqual(live(held.life, { type: 'run-task' }).steps, start);
    assert.deepEqual(live(held.life, { type: 'run-task-late', task: 'active' }).steps, start);
  });

  it('between Registered and RunTask, and the slave no more counts the task among those that are to run: it is given up', () => {
    const registered: Life = { ...newLife(TERMS), registration: 'done' };
    const held = live(registered, resume, { type: 'found', docker: 'created' });
    for (const task of ['ended', 'unknown'] as const)
      assert.deepEqual(live(held.life, { type: 'run-task-late', task }).steps, [
        'note-end no-run-task 2000',
        'record never-started',
      ]);
  });

  it('between Registered and RunTask, the slave having died as well: its return is waited for', () => {
    const registered: Life = { ...newLife(TERMS), registration: 'done' };
    const held = live(registered, resume, { type: 'found', docker: 'created' });
    const away = live(held.life, { type: 'slave-away' });
    assert.deepEqual(away.steps, ['disarm run-task', 'arm recovery 900000']);
    assert.deepEqual(live(away.life, { type: 'run-task-late', task: 'active' }).steps, []);
    const back = live(away.life, { type: 'reconnected' });
    assert.deepEqual(back.steps, [`arm run-task ${RUN_TASK_PRESUMED_MS} anew`]);
    const there = live(back.life, { type: 'slave-there' });
    assert.deepEqual(there.steps, ['disarm recovery', `arm run-task ${RUN_TASK_PRESUMED_MS}`]);
  });

  it('a repeated Register that is answered with "I have you" means the same', () => {
    const { life, steps } = live(
      newLife(TERMS),
      resume,
      { type: 'slave-there' },
      { type: 'already-registered' },
    );
    assert.equal(life.registration, 'done');
    assert.deepEqual(steps, [`arm run-task ${RUN_TASK_PRESUMED_MS}`]);
  });
});

describe('a slave that restarts between Registered and RunTask', () => {
  it('takes the task for launched: RunTask counts as come, and the task is started', () => {
    const created = live(newLife(TERMS), ...toCreated).life;
    const back = live(created, { type: 'slave-away' }, { type: 'reconnected' });
    assert.deepEqual(back.steps, [`arm run-task ${RUN_TASK_PRESUMED_MS} anew`]);
    const there = live(back.life, { type: 'slave-there' });
    assert.deepEqual(there.steps, ['disarm recovery', `arm run-task ${RUN_TASK_PRESUMED_MS}`]);
    assert.deepEqual(live(there.life, { type: 'run-task-late', task: 'active' }).steps, [
      'note-run-task',
      'disarm run-task',
      'start',
    ]);
    const killed = live(there.life, { type: 'kill' }).life;
    assert.equal(killed.outcome?.kind, 'never-started');
  });

  it('has nothing to hand over where the task runs already, or is over', () => {
    for (const events of [toRunning, toReporting]) {
      const life = live(newLife(TERMS), ...events).life;
      assert.deepEqual(next(life, { type: 'reconnected' }), { life, steps: [] });
    }
  });
});

const anyTerms: fc.Arbitrary<LifeTerms> = fc
  .record({
    reporting: fc.boolean(),
    checkpoint: fc.boolean(),
    checked: fc.boolean(),
    stopGraceMs: fc.nat(60_000),
    shutdownGraceMs: fc.nat(60_000),
    recoveryTimeoutMs: fc.nat(900_000),
    killGraceMs: fc.option(fc.nat(60_000)),
  })
  .map(({ killGraceMs, ...rest }) => ({ ...rest, ...(killGraceMs === null ? {} : { killGraceMs }) }));

const anyOutcome: fc.Arbitrary<Outcome> = fc.oneof(
  fc.record({ kind: fc.constant('exited' as const), exitCode: fc.nat(255), oomKilled: fc.boolean() }),
  fc.record({ kind: fc.constantFrom('failed' as const, 'lost' as const), why: fc.string() }),
  fc.constant<Outcome>({ kind: 'never-started' }),
);

const plainEvents = [
  ...(['begin', 'resume', 'progress', 'prepared', 'created', 'started', 'recorded', 'slave-there'] as const),
  ...([
    'slave-away',
    'already-registered',
    'reconnected',
    'run-task',
    'kill',
    'shutdown',
    'acknowledged',
  ] as const),
  ...(['destroy', 'forgotten'] as const),
].map((type): LifeEvent => ({ type }));

const anyEvent: fc.Arbitrary<LifeEvent> = fc.oneof(
  fc.constantFrom(...plainEvents),
  fc.constantFrom('absent', 'created', 'running').map((docker): LifeEvent => ({ type: 'found', docker })),
  fc.string().map((why): LifeEvent => ({ type: 'failed', why })),
  fc.string().map((why): LifeEvent => ({ type: 'unreachable', why })),
  anyOutcome.map((outcome): LifeEvent => ({ type: 'ended', outcome })),
  fc.boolean().map((takesKilling): LifeEvent => ({ type: 'registered', takesKilling })),
  fc.nat(60_000).map((graceMs): LifeEvent => ({ type: 'kill', graceMs })),
  fc
    .record({ healthy: fc.boolean(), failures: fc.nat(5), text: fc.string(), kill: fc.boolean() })
    .map(({ text, kill, ...health }): LifeEvent => ({ type: 'health', health, text, kill })),
  fc.constantFrom('active', 'ended', 'unknown').map((task): LifeEvent => ({ type: 'run-task-late', task })),
  fc.constantFrom('acknowledgement', 'recovery').map((timer): LifeEvent => ({ type: 'timeout', timer })),
);

describe('any life', () => {
  it('takes every event in every phase, and what is reported stays so', () => {
    const anyLife: fc.Arbitrary<Life> = fc
      .record({
        terms: anyTerms,
        phase: fc.constantFrom<Phase[]>(
          ...(['looking', 'preparing', 'creating', 'created', 'starting'] as const),
          ...(['running', 'recording', 'reporting', 'reported'] as const),
        ),
        registration: fc.constantFrom('asked', 'done'),
        takesKilling: fc.boolean(),
        runTask: fc.boolean(),
        presumesRunTask: fc.boolean(),
        slave: fc.constantFrom('unknown', 'there', 'away', 'lost'),
        outcome: fc.option(anyOutcome),
        cause: fc.option(
          fc.constantFrom<EndCause[]>(
            ...([
              'kill',
              'shutdown',
              'destroy',
              'refused',
              'slave-lost',
              'no-run-task',
              'forgotten',
              'unhealthy',
              'unreachable',
            ] as const),
          ),
        ),
      })
      .map(({ outcome, cause, ...rest }) => ({
        ...rest,
        ...(outcome === null ? {} : { outcome }),
        ...(cause === null ? {} : { wantedEnd: { cause, graceMs: 1_000 } }),
      }));
    fc.assert(
      fc.property(anyLife, anyEvent, (life, event) => {
        const before = JSON.stringify(life);
        const after = next(life, event);
        assert.equal(JSON.stringify(life), before, 'pure');
        assert.deepEqual(after, next(life, event), 'the same again');
        if (life.phase === 'reported' && event.type !== 'resume')
          assert.deepEqual(after, {
            life: event.type === 'destroy' ? { ...life, dismissed: 'destroy' } : life,
            steps: [],
          });
        if (after.life.phase === 'reported' && life.phase !== 'reported')
          assert.deepEqual(after.steps.slice(-2), [{ type: 'terminate' }, { type: 'clean-up' }]);
      }),
      { numRuns: 5_000 },
    );
  });

  it('keeps its promises through any order of events and any crashes', () => {
    fc.assert(
      fc.property(anyTerms, fc.array(fc.nat(), { maxLength: 80 }), (terms, choices) => {
        const world = new LifeWorld(terms);
        for (const choice of choices) world.act(choice);
      }),
      { numRuns: 3_000 },
    );
  });

  it('comes to its Termination once its end is wanted, whenever that is, and once only', () => {
    fc.assert(
      fc.property(
        anyTerms,
        fc.array(fc.nat(), { maxLength: 80 }),
        fc.constantFrom<LifeEvent[]>({ type: 'destroy' }, { type: 'kill' }, { type: 'kill', graceMs: 0 }),
        (terms, choices, end) => {
          const world = new LifeWorld(terms);
          for (const choice of choices) world.act(choice);
          world.tell(end);
          world.settle();
          assert.equal(world.life.phase, 'reported', world.story.join('\n'));
          assert.equal(world.terminations, 1);
          assert.equal(world.docker, 'absent');
        },
      ),
      { numRuns: 3_000 },
    );
  });

  it('reports no state twice that ends a task, within one life of the supervisor', () => {
    // LifeWorld checks it at each step; here that the check can fail at all.
    const world = new LifeWorld(TERMS);
    assert.throws(() => {
      world.carryOut({ type: 'report', state: TaskState.FINISHED });
      world.carryOut({ type: 'report', state: TaskState.KILLED });
    });
    assert.ok(TERMINAL_STATES.includes(TaskState.FAILED));
  });
});

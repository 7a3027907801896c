// What surrounds a life, as small as it can be: Docker, the slave, the disk, timers. It carries steps out, offers what
// can happen next, can crash and take the life up again from what was noted, and checks at each step what must always hold.

import assert from 'node:assert/strict';
import {
  endingOf,
  isDestroyed,
  type Life,
  type LifeEvent,
  type LifeTerms,
  newLife,
  next,
  type Step,
  type TimerName,
} from '../../../src/container/life.ts';
import { type Outcome, TaskState, type TaskStateNumber } from '../../../src/container/termination.ts';

export const TERMINAL_STATES: readonly TaskStateNumber[] = [
  TaskState.FINISHED,
  TaskState.FAILED,
  TaskState.KILLED,
  TaskState.LOST,
];
const EXITED: Outcome = { kind: 'exited', exitCode: 0, oomKilled: false };
type Work = 'prepare' | 'create' | 'start' | 'look';

export class LifeWorld {
  life: Life;
  docker: 'absent' | 'created' | 'running' | 'exited' = 'absent';
  terminations = 0;
  /** What happened, for whoever reads a counterexample. */
  readonly story: string[] = [];
  /** What a supervisor that died leaves behind. */
  #disk: {
    registered: boolean;
    runTask: boolean;
    wantedEnd?: Life['wantedEnd'];
    destroyed?: true;
    outcome?: Outcome;
    terminated: boolean;
  } = { registered: false, runTask: false, terminated: false };
  readonly #timers = new Map<TimerName, number>();
  #works: Work[] = [];
  #recording: Outcome | undefined;
  #followed = false;
  #stopAsked = false;
  #startedInThisLife = false;
  #terminalReport: TaskStateNumber | undefined;
  #acknowledgeable = false;
  #checking = false;
  /** RUNNING was made an update, by this or an earlier supervisor. */
  #toldRunning = false;

  constructor(terms: LifeTerms) {
    this.life = newLife(terms);
    this.tell({ type: 'begin' });
  }

  tell(event: LifeEvent): void {
    this.story.push(JSON.stringify(event));
    const { life, steps } = next(this.life, event);
    this.life = life;
    for (const step of steps) this.carryOut(step);
  }

  carryOut(step: Step): void {
    this.story.push(`  ${JSON.stringify(step)} [${this.life.phase}]`);
    if (this.terminations > 0) assert.ok(step.type === 'clean-up', `${step.type} after the Termination`);
    switch (step.type) {
      case 'prepare':
      case 'create':
      case 'look':
        this.#works.push(step.type);
        return;
      case 'start':
        assert.equal(this.life.wantedEnd, undefined, 'started though its end is wanted');
        assert.ok(!this.life.terms.reporting || this.#disk.runTask, 'started before RunTask');
        assert.ok(!this.#startedInThisLife, 'started twice');
        assert.equal(this.docker, 'created');
        this.#startedInThisLife = true;
        this.#works.push('start');
        return;
      case 'cancel':
        this.#works = this.#works.filter((work) => work !== 'prepare');
        return;
      case 'follow':
        this.#followed = true;
        return;
      case 'note-end':
        this.#disk.wantedEnd = step.end;
        return;
      case 'note-destroyed':
        this.#disk.destroyed = true;
        return;
      case 'note-run-task':
        this.#disk.runTask = true;
        return;
      case 'kill-unseen':
        assert.equal(this.life.phase, 'looking');
        assert.notEqual(this.life.wantedEnd, undefined);
        return;
      case 'stop':
        this.#stopAsked = true;
        return;
      case 'report':
        assert.ok(this.life.terms.reporting, 'reported where nobody listens');
        assert.equal(this.#terminalReport, undefined, `state ${step.state} after a terminal one`);
        assert.ok(!isDestroyed(this.life), `state ${step.state} to a slave that has destroyed it`);
        assert.ok(
          step.state === TaskState.RUNNING || !this.#checking,
          `state ${step.state} while it is checked`,
        );
        if (step.state === TaskState.RUNNING) this.#toldRunning = true;
        if (!TERMINAL_STATES.includes(step.state)) {
          assert.ok(this.#disk.runTask, `state ${step.state} before RunTask`);
          return;
        }
        if (this.#disk.wantedEnd?.cause === 'unhealthy')
          assert.ok(endingOf(this.life).message.includes('sick'), 'an end for its health does not say so');
        this.#terminalReport = step.state;
        this.#acknowledgeable = true;
        return;
      case 'report-health':
        assert.ok(this.life.terms.checked, 'told of a health that nobody checks');
        assert.equal(this.#terminalReport, undefined, 'health after a terminal state');
        assert.ok(this.#toldRunning, 'health before RUNNING');
        assert.ok(!isDestroyed(this.life), 'health told to a slave that has destroyed it');
        return;
      case 'begin-checks':
        assert.ok(!this.#checking, 'checked twice at once');
        assert.equal(this.docker, 'running');
        this.#checking = true;
        return;
      case 'end-checks':
        assert.ok(this.#checking, 'no check to end');
        this.#checking = false;
        return;
      case 'record':
        assert.ok(!this.#checking, 'checked while its end is recorded');
        assert.equal(this.#recording, undefined, 'recorded twice');
        this.#recording = step.outcome;
        return;
      case 'terminate':
        assert.ok(this.#disk.outcome !== undefined, 'terminated before the outcome was on disk');
        assert.equal(this.life.phase, 'reported');
        this.terminations += 1;
        this.#disk.terminated = true;
        return;
      case 'clean-up':
        assert.equal(this.terminations, 1, 'cleaned up before the Termination');
        this.#works = [];
        this.docker = 'absent';
        return;
      case 'arm':
        this.#timers.set(step.timer, step.ms);
        return;
      case 'disarm':
        this.#timers.delete(step.timer);
        return;
      case 'dial':
      case 'apply-limits':
        return;
    }
  }

  /** One of the things that can happen now, chosen by a number. */
  act(choice: number): void {
    const all = [...this.#inner(true), ...this.#outer()];
    all[choice % all.length]?.();
  }

  /** Lets happen what must happen by itself: answers to steps, and timers where nothing else is left. */
  settle(): void {
    for (let rounds = 0; rounds < 200; rounds++) {
      const [first] = this.#inner(false);
      if (first !== undefined) {
        first();
        continue;
      }
      const [timer] = [...this.#timers].sort((a, b) => a[1] - b[1]);
      if (timer === undefined) return;
      this.#fire(timer[0]);
    }
    assert.fail(`it never comes to rest:\n${this.story.join('\n')}`);
  }

  #fire(timer: TimerName): void {
    this.#timers.delete(timer);
    if (timer === 'wait-seen') this.tell({ type: 'forgotten' });
    else if (timer === 'run-task') this.tell({ type: 'run-task-late', task: 'active' });
    else this.tell({ type: 'timeout', timer });
  }

  /** What the steps lead to. */
  #inner(withAccidents: boolean): (() => void)[] {
    const actions: (() => void)[] = [];
    const [work] = this.#works;
    if (work !== undefined) {
      actions.push(() => this.#done(work));
      if (withAccidents && work !== 'look') actions.push(() => this.#fails(work));
    }
    if (this.#recording !== undefined) actions.push(() => this.#recorded());
    if (this.docker === 'running' && (this.#stopAsked || withAccidents)) {
      actions.push(() => {
        this.docker = 'exited';
        this.#stopAsked = false;
      });
    }
    if (this.docker === 'exited' && this.#followed) {
      actions.push(() => {
        this.#followed = false;
        this.tell({ type: 'ended', outcome: EXITED });
      });
    }
    return actions;
  }

  /** What slave, framework and fate may do. */
  #outer(): (() => void)[] {
    const told: LifeEvent[] = [
      ...(['slave-there', 'slave-away', 'kill', 'shutdown', 'destroy', 'progress', 'forgotten'] as const).map(
        (type): LifeEvent => ({ type }),
      ),
    ];
    if (!this.#disk.registered) told.push({ type: 'unreachable', why: 'no TLS' });
    if (this.#acknowledgeable) told.push({ type: 'acknowledged' });
    if (this.#checking) {
      const health = { healthy: false, failures: 1 };
      for (const kill of [false, true]) told.push({ type: 'health', health, text: 'sick', kill });
      told.push({ type: 'health', health: { healthy: true, failures: 0 }, text: 'well', kill: false });
    }
    if (this.#disk.registered) told.push({ type: 'run-task' }, { type: 'reconnected' });
    const actions = told.map((event) => () => this.tell(event));
    if (this.life.terms.reporting && !this.#disk.registered) {
      for (const event of [
        { type: 'registered', takesKilling: true },
        { type: 'already-registered' },
      ] as const) {
        actions.push(() => {
          this.#disk.registered = true;
          this.tell(event);
        });
      }
    }
    for (const timer of this.#timers.keys()) actions.push(() => this.#fire(timer));
    actions.push(() => this.#crash());
    return actions;
  }

  #done(work: Work): void {
    this.#works.shift();
    switch (work) {
      case 'prepare':
        this.tell({ type: 'prepared' });
        return;
      case 'create':
        this.docker = 'created';
        this.tell({ type: 'created' });
        return;
      case 'start':
        this.docker = 'running';
        this.#followed = true;
        this.tell({ type: 'started' });
        return;
      case 'look':
        if (this.docker === 'exited') this.tell({ type: 'ended', outcome: EXITED });
        else this.tell({ type: 'found', docker: this.docker });
    }
  }

  #fails(work: Work): void {
    this.#works.shift();
    // Its answer was lost: what was asked for has been done all the same.
    if (work === 'create') this.docker = 'created';
    this.tell({ type: 'failed', why: `${work} failed` });
  }

  #recorded(): void {
    if (this.#recording !== undefined) this.#disk.outcome = this.#recording;
    this.#recording = undefined;
    this.tell({ type: 'recorded' });
  }

  /** The supervisor dies and comes back: as restore.ts makes a life of the state directory. */
  #crash(): void {
    this.story.push('crash');
    const { registered, runTask, wantedEnd, destroyed, outcome, terminated } = this.#disk;
    this.#works = [];
    this.#recording = undefined;
    this.#followed = false;
    this.#stopAsked = false;
    this.#startedInThisLife = false;
    this.#terminalReport = undefined;
    this.#checking = false;
    this.#timers.clear();
    const before = terminated ? 'reported' : outcome === undefined ? 'looking' : 'reporting';
    this.life = {
      ...newLife(this.life.terms),
      phase: before,
      registration: registered ? 'done' : 'asked',
      runTask,
      ...(outcome === undefined ? {} : { outcome }),
      ...(wantedEnd === undefined ? {} : { wantedEnd }),
      ...(destroyed === undefined ? {} : { dismissed: 'destroy' }),
    };
    this.tell({ type: 'resume' });
  }
}

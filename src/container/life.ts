// The life of a container as one pure function: next(life, event) → life + steps. It decides everything and does
// nothing; the supervisor carries out the steps and turns what comes of them into events. Whatever order events come in,
// each phase says what it makes of each of them, and an event that means nothing in a phase changes nothing.
//
//   looking → preparing → creating → created → starting → running → recording → reporting → reported

import { LONGEST_MS } from './duration.ts';
import type { Health } from './health.ts';
import {
  type EndCause,
  type Ending,
  ending,
  type Outcome,
  TaskState,
  type TaskStateNumber,
} from './termination.ts';

export type Phase =
  /** After a crash: what Docker has of this container is being looked up. */
  | 'looking'
  /** Image, options and plan are being made ready. */
  | 'preparing'
  | 'creating'
  /** Created, not started: RunTask has not come. */
  | 'created'
  | 'starting'
  | 'running'
  /** It has ended; its last output is drained and its outcome made durable. */
  | 'recording'
  /** The terminal status update is on its way; its acknowledgement is waited for. */
  | 'reporting'
  /** The Termination is written: nothing more can change. */
  | 'reported';

/** What is known from the request and never changes. All times in milliseconds. */
export interface LifeTerms {
  /** A command task with a slave: we register as its executor and report its state. */
  readonly reporting: boolean;
  /** The slave checkpoints: its death is survived for `recoveryTimeoutMs`. */
  readonly checkpoint: boolean;
  readonly recoveryTimeoutMs: number;
  readonly stopGraceMs: number;
  /** The task's own kill policy. */
  readonly killGraceMs?: number;
  readonly shutdownGraceMs: number;
  /** Its health is checked while it runs. */
  readonly checked: boolean;
}

export interface WantedEnd {
  readonly cause: EndCause;
  readonly graceMs: number;
  /** With the cause `unhealthy`: which failure was the last, and in which words it was told. */
  readonly unhealthy?: { readonly failures: number; readonly text: string };
  /** With `unreachable`: the line that everybody is told. */
  readonly why?: string;
}

export interface Life {
  readonly terms: LifeTerms;
  readonly phase: Phase;
  readonly registration: 'asked' | 'done';
  /** The framework takes TASK_KILLING. */
  readonly takesKilling: boolean;
  readonly runTask: boolean;
  /** RunTask may have been sent while nobody listened, or comes no more: it counts as come if the slave takes the task for its own. */
  readonly presumesRunTask: boolean;
  /** `lost`: away for longer than its recovery timeout, nothing more is expected of it. */
  readonly slave: 'unknown' | 'there' | 'away' | 'lost';
  readonly wantedEnd?: WantedEnd;
  readonly outcome?: Outcome;
  /** It was ending already when the slave asked for it to be gone (`destroy`) or to end (`shutdown`): how it ended stays. */
  readonly dismissed?: 'destroy' | 'shutdown';
}

export type TimerName = 'run-task' | 'acknowledgement' | 'recovery' | 'wait-seen';

export type LifeEvent =
  | { readonly type: 'begin' }
  /** After a crash, with a Life made from the state directory. */
  | { readonly type: 'resume' }
  /** What Docker has of a container that was being looked up; one that has ended comes as `ended`. */
  | { readonly type: 'found'; readonly docker: 'absent' | 'created' | 'running' }
  | { readonly type: 'progress' }
  | { readonly type: 'prepared' }
  | { readonly type: 'created' }
  | { readonly type: 'started' }
  /** Whatever was under way failed for good: `why` is the line that everybody is told. */
  | { readonly type: 'failed'; readonly why: string }
  | { readonly type: 'ended'; readonly outcome: Outcome }
  | { readonly type: 'recorded' }
  /** The link stands, or the slave has come back and said so. */
  | { readonly type: 'slave-there' }
  | { readonly type: 'slave-away' }
  /** The slave can be reached, but not spoken with as its settings want it (TLS); no try will change that. */
  | { readonly type: 'unreachable'; readonly why: string }
  | { readonly type: 'registered'; readonly takesKilling: boolean }
  /** A Register that had to be repeated (after a crash) was answered with "I have you already". */
  | { readonly type: 'already-registered' }
  /** The slave has restarted, and asks for the executors that it knows. */
  | { readonly type: 'reconnected' }
  | { readonly type: 'run-task' }
  | { readonly type: 'kill'; readonly graceMs?: number }
  | { readonly type: 'shutdown' }
  /** What a health check has changed; `kill`: the task is to end for it. */
  | { readonly type: 'health'; readonly health: Health; readonly text: string; readonly kill: boolean }
  /** The slave has acknowledged the terminal update. */
  | { readonly type: 'acknowledged' }
  | { readonly type: 'destroy' }
  | { readonly type: 'forgotten' }
  /** For as long as was said, and since the slave's last `update`, RunTask has not come. */
  | { readonly type: 'run-task-late'; readonly task: UpdatedTask }
  | { readonly type: 'timeout'; readonly timer: 'acknowledgement' | 'recovery' };

/** What the slave's last `update` says of the task: not ended, ended, or there was none and it is waited for no longer. */
export type UpdatedTask = 'active' | 'ended' | 'unknown';

export type Step =
  /** Connect to the slave; register unless that is done. */
  | { readonly type: 'dial' }
  | { readonly type: 'look' }
  | { readonly type: 'prepare' }
  | { readonly type: 'cancel' }
  | { readonly type: 'create' }
  | { readonly type: 'start' }
  /** Take a running container up again: its output, its end. */
  | { readonly type: 'follow' }
  | { readonly type: 'apply-limits' }
  | { readonly type: 'note-end'; readonly end: WantedEnd }
  | { readonly type: 'note-destroyed' }
  | { readonly type: 'note-run-task' }
  | { readonly type: 'stop'; readonly graceMs: number }
  /** Of a container that is being looked up: its init is killed when Docker has said nothing of it by then. */
  | { readonly type: 'kill-unseen'; readonly graceMs: number }
  | { readonly type: 'report'; readonly state: TaskStateNumber }
  /** TASK_RUNNING again, with what is known of the task's health. */
  | { readonly type: 'report-health'; readonly health: Health; readonly text: string }
  /** Until `end-checks`. `resumed`: the container ran before, and may have been checked. */
  | { readonly type: 'begin-checks'; readonly resumed: boolean }
  | { readonly type: 'end-checks' }
  | { readonly type: 'record'; readonly outcome: Outcome }
  | { readonly type: 'terminate' }
  | { readonly type: 'clean-up' }
  | { readonly type: 'arm'; readonly timer: Exclude<TimerName, 'run-task'>; readonly ms: number }
  /** `ms` count from the slave's last `update` on, and not before there is one; `anew`: what it has called before does not count. */
  | { readonly type: 'arm'; readonly timer: 'run-task'; readonly ms: number; readonly anew?: boolean }
  | { readonly type: 'disarm'; readonly timer: TimerName };

export interface Next {
  readonly life: Life;
  readonly steps: readonly Step[];
}

/**
 * RunTask follows the `update` that follows Registered, at once. A slave that lives and has sent none after so long has
 * dropped the task, or it was lost. Before that `update` there is no telling: a busy slave has many to call.
 */
export const RUN_TASK_TIMEOUT_MS = 30_000;
/**
 * After a crash RunTask may be lost, or only on its way: the slave sends it when `update` has returned (5 s at most), and
 * drops a state that is reported before. A slave that wants no start says so meanwhile, at the latest by `destroy` after 5 s,
 * or by an `update` in which the task is no more.
 */
export const RUN_TASK_PRESUMED_MS = 7_000;
/**
 * A slave acknowledges when it has the update on disk and its own `update` has returned; one with many tasks that end at
 * once has many of these to call. Past this bound the Termination speaks for itself.
 */
export const ACKNOWLEDGEMENT_TIMEOUT_MS = 60_000;
/** After ShutdownExecutor the slave kills within 5 s: what is left of them for the acknowledgement. */
export const SHUTDOWN_ACKNOWLEDGEMENT_TIMEOUT_MS = 2_000;
/** The slave calls `wait` as soon as `launch` has returned. */
export const WAIT_SEEN_TIMEOUT_MS = 60_000;

/** Causes of which the slave must not hear by a status update: it caused them, has reported the task itself, or is gone. */
const SILENT_CAUSES: readonly EndCause[] = [
  'destroy',
  'refused',
  'slave-lost',
  'no-run-task',
  'forgotten',
  'unreachable',
];

/** A container whose request has just been accepted. */
export function newLife(terms: LifeTerms): Life {
  return {
    terms,
    phase: 'preparing',
    registration: 'asked',
    takesKilling: false,
    runTask: false,
    presumesRunTask: false,
    slave: 'unknown',
  };
}

function unchanged(life: Life): Next {
  return { life, steps: [] };
}

function mayStart(life: Life): boolean {
  return !life.terms.reporting || life.runTask;
}

function isOver(life: Life): boolean {
  return life.phase === 'recording' || life.phase === 'reporting' || life.phase === 'reported';
}

/** Whether the end of this life is told to the slave in a status update. */
export function reportsEnd(life: Life): boolean {
  if (!life.terms.reporting || life.outcome === undefined || isSilent(life)) return false;
  return life.wantedEnd === undefined || life.runTask;
}

/** Whether the slave must not hear of it any more: it does not know it, and nobody is left to acknowledge anything. */
function isSilent({ wantedEnd, dismissed }: Life): boolean {
  return dismissed === 'destroy' || (wantedEnd !== undefined && SILENT_CAUSES.includes(wantedEnd.cause));
}

/** Whether the slave has asked for it to be gone, and so forgets it. */
export function isDestroyed({ wantedEnd, dismissed }: Life): boolean {
  return wantedEnd?.cause === 'destroy' || dismissed === 'destroy';
}

/** How this life has ended, in every language that it has to be told. */
export function endingOf({ outcome, wantedEnd }: Life): Ending {
  const known = outcome ?? { kind: 'lost', why: 'the container was lost' };
  const words = wantedEnd?.unhealthy === undefined ? undefined : `Killed: ${wantedEnd.unhealthy.text}`;
  return ending(known, wantedEnd?.cause, words);
}

function record(life: Life, outcome: Outcome, before: readonly Step[] = []): Next {
  return { life: { ...life, phase: 'recording', outcome }, steps: [...before, { type: 'record', outcome }] };
}

/** It will never run because its end was wanted first. */
function neverStarted({ wantedEnd }: Life): Outcome {
  if (wantedEnd?.cause !== 'unreachable') return { kind: 'never-started' };
  return { kind: 'failed', why: wantedEnd.why ?? 'the slave cannot be reached' };
}

function terminate(life: Life): Next {
  return {
    life: { ...life, phase: 'reported' },
    steps: [
      { type: 'disarm', timer: 'acknowledgement' },
      { type: 'disarm', timer: 'recovery' },
      { type: 'disarm', timer: 'run-task' },
      { type: 'disarm', timer: 'wait-seen' },
      { type: 'terminate' },
      { type: 'clean-up' },
    ],
  };
}

/** The terminal update is out: how long its acknowledgement is waited for depends on who is there to give it. */
function awaitAcknowledgement(life: Life): Next {
  if (life.slave === 'lost') return terminate(life);
  if (life.slave === 'away') {
    if (!life.terms.checkpoint || life.registration !== 'done') return terminate(life);
    return { life, steps: [{ type: 'disarm', timer: 'acknowledgement' }] };
  }
  const isShutDown = life.wantedEnd?.cause === 'shutdown' || life.dismissed === 'shutdown';
  const ms = isShutDown ? SHUTDOWN_ACKNOWLEDGEMENT_TIMEOUT_MS : ACKNOWLEDGEMENT_TIMEOUT_MS;
  return { life, steps: [{ type: 'arm', timer: 'acknowledgement', ms }] };
}

function report(life: Life): Next {
  const reporting: Life = { ...life, phase: 'reporting' };
  if (life.outcome === undefined || !reportsEnd(reporting)) return terminate(reporting);
  const { state } = endingOf(life);
  const after = awaitAcknowledgement(reporting);
  return { life: after.life, steps: [{ type: 'report', state }, ...after.steps] };
}

/**
 * The container's end is wanted. The first cause stays; a later wish can only shorten the grace. What is under way and
 * cannot be called back (create, start) is let finish first: its event finds the wish.
 */
function wantEnd(
  life: Life,
  cause: EndCause,
  wantedMs: number,
  detail: Pick<WantedEnd, 'unhealthy' | 'why'> = {},
): Next {
  const graceMs = Math.min(wantedMs, LONGEST_MS);
  if (isOver(life)) return unchanged(life);
  const before = life.wantedEnd;
  if (before !== undefined && before.graceMs <= graceMs) return unchanged(life);
  const end: WantedEnd = { ...(before ?? { cause, ...detail }), graceMs };
  const wanting: Life = { ...life, wantedEnd: end };
  const note: Step = { type: 'note-end', end };
  switch (life.phase) {
    case 'preparing':
      return record(wanting, neverStarted(wanting), [note, { type: 'cancel' }]);
    case 'created':
      return record(wanting, neverStarted(wanting), [note]);
    case 'running': {
      const isTold = before === undefined && (cause === 'kill' || cause === 'unhealthy') && life.takesKilling;
      const killing: readonly Step[] = isTold ? [{ type: 'report', state: TaskState.KILLING }] : [];
      return {
        life: wanting,
        steps: [
          note,
          ...(before === undefined ? lastFailure(wanting) : []),
          ...killing,
          { type: 'stop', graceMs },
        ],
      };
    }
    case 'looking':
      return { life: wanting, steps: [note, { type: 'kill-unseen', graceMs }] };
    case 'creating':
    case 'starting':
      return { life: wanting, steps: [note] };
    case 'recording':
    case 'reporting':
    case 'reported':
      return unchanged(life);
  }
}

/** The failure that made us want the end, told before anything is told of the end; also where a crash came between. */
function lastFailure({ wantedEnd }: Life): readonly Step[] {
  if (wantedEnd?.unhealthy === undefined) return [];
  const { failures, text } = wantedEnd.unhealthy;
  return [{ type: 'report-health', health: { healthy: false, failures }, text }];
}

function whenCreated(life: Life): Next {
  if (life.wantedEnd !== undefined) return record(life, neverStarted(life));
  if (!mayStart(life)) return { life: { ...life, phase: 'created' }, steps: [] };
  return { life: { ...life, phase: 'starting' }, steps: [{ type: 'start' }] };
}

function whenRunning(life: Life, first: readonly Step[]): Next {
  const steps: Step[] = [...first];
  if (life.terms.reporting && !isSilent(life))
    steps.push({ type: 'report', state: TaskState.RUNNING }, ...lastFailure(life));
  steps.push({ type: 'apply-limits' });
  if (life.wantedEnd !== undefined) steps.push({ type: 'stop', graceMs: life.wantedEnd.graceMs });
  return { life: { ...life, phase: 'running' }, steps };
}

/** RunTask has come, or counts as come: what was held back for it may go on. */
function handedOver(life: Life): Next {
  if (life.runTask) return unchanged(life);
  const next: Life = { ...life, runTask: true, presumesRunTask: false };
  const steps: Step[] = [{ type: 'note-run-task' }, { type: 'disarm', timer: 'run-task' }];
  if (life.wantedEnd === undefined) {
    if (life.phase === 'preparing' || life.phase === 'creating')
      steps.push({ type: 'report', state: TaskState.STARTING });
    if (life.phase === 'created') {
      return { life: { ...next, phase: 'starting' }, steps: [...steps, { type: 'start' }] };
    }
  }
  return { life: next, steps };
}

/** Whether RunTask has come is not known: it is waited for, a while, and then taken for lost on its way. */
function presumeRunTask(life: Life, anew: boolean): Next {
  if (life.runTask || isOver(life)) return unchanged(life);
  return {
    life: { ...life, presumesRunTask: true },
    steps: [{ type: 'arm', timer: 'run-task', ms: RUN_TASK_PRESUMED_MS, ...(anew ? { anew } : {}) }],
  };
}

function whenSlaveAway(life: Life): Next {
  if (!life.terms.reporting || life.slave === 'lost') return unchanged(life);
  const away: Life = { ...life, slave: 'away' };
  const survives = life.terms.checkpoint && life.registration === 'done';
  // What became of RunTask only its return can tell: it may have reported the end of the task, too.
  const steps: Step[] = [{ type: 'disarm', timer: 'run-task' }];
  if (survives) {
    // Armed once: links that come and go without a reconnection must not put the end off for ever.
    if (life.slave !== 'away')
      steps.push({ type: 'arm', timer: 'recovery', ms: life.terms.recoveryTimeoutMs });
    if (life.phase === 'reporting') steps.push({ type: 'disarm', timer: 'acknowledgement' });
    return { life: away, steps };
  }
  if (life.phase === 'reporting') return terminate(away);
  const ended = wantEnd(away, 'slave-lost', life.terms.stopGraceMs);
  return { life: ended.life, steps: [...steps, ...ended.steps] };
}

function whenSlaveThere(life: Life): Next {
  const there: Life = { ...life, slave: 'there' };
  const steps: Step[] = [{ type: 'disarm', timer: 'recovery' }];
  if (life.phase === 'reporting') {
    const waiting = awaitAcknowledgement(there);
    return { life: waiting.life, steps: [...steps, ...waiting.steps] };
  }
  const isOwedRunTask = life.registration === 'done' && !life.runTask && !isOver(life);
  const ms = life.presumesRunTask ? RUN_TASK_PRESUMED_MS : RUN_TASK_TIMEOUT_MS;
  if (isOwedRunTask) steps.push({ type: 'arm', timer: 'run-task', ms });
  return { life: there, steps };
}

/** An end that was wanted before the crash does not wait for a Docker that hangs. */
function killUnseen({ wantedEnd }: Life): readonly Step[] {
  return wantedEnd === undefined ? [] : [{ type: 'kill-unseen', graceMs: wantedEnd.graceMs }];
}

/** Taken up after a crash of the supervisor: everything is asked for again, and every step can be repeated. */
function resume(life: Life): Next {
  const dial: Step[] = life.terms.reporting ? [{ type: 'dial' }] : [];
  switch (life.phase) {
    case 'reported':
      return { life, steps: [{ type: 'clean-up' }] };
    case 'recording':
    case 'reporting': {
      const again = report(life);
      return { life: again.life, steps: [...(again.life.phase === 'reported' ? [] : dial), ...again.steps] };
    }
    default: {
      const looking: Life = { ...life, phase: 'looking' };
      const steps: Step[] = [
        ...dial,
        { type: 'look' },
        ...killUnseen(life),
        { type: 'arm', timer: 'wait-seen', ms: WAIT_SEEN_TIMEOUT_MS },
      ];
      // Registered before the crash: RunTask may have come while nobody listened, and is not sent twice.
      if (life.registration !== 'done') return { life: looking, steps };
      const presuming = presumeRunTask(looking, false);
      return { life: presuming.life, steps: [...steps, ...presuming.steps] };
    }
  }
}

function found(before: Life, docker: 'absent' | 'created' | 'running'): Next {
  if (before.phase !== 'looking') return unchanged(before);
  // Destroyed while an end was recorded that a crash has lost: what never ran must not begin anew.
  const { stopGraceMs } = before.terms;
  const isToGo = before.dismissed === 'destroy' && before.wantedEnd === undefined;
  const life: Life = isToGo ? { ...before, wantedEnd: { cause: 'destroy', graceMs: stopGraceMs } } : before;
  switch (docker) {
    case 'running':
      return whenRunning(life, [{ type: 'follow' }]);
    case 'created':
      return whenCreated(life);
    case 'absent':
      if (life.wantedEnd !== undefined) return record(life, neverStarted(life));
      return { life: { ...life, phase: 'preparing' }, steps: [{ type: 'prepare' }] };
  }
}

function failed(life: Life, why: string): Next {
  if (isOver(life)) return unchanged(life);
  if (life.wantedEnd !== undefined) return record(life, neverStarted(life));
  return record(life, { kind: 'failed', why });
}

/** The slave forgets the container when `destroy` returns: nobody is left to acknowledge anything, nor to ask how it ended. */
function destroy(life: Life): Next {
  const { stopGraceMs } = life.terms;
  const dismissed: Life = { ...life, dismissed: 'destroy' };
  if (life.phase === 'reporting') return terminate(dismissed);
  if (isDestroyed(life)) return wantEnd(life, 'destroy', stopGraceMs);
  // It will be noted as the cause.
  if (life.wantedEnd === undefined && !isOver(life)) return wantEnd(life, 'destroy', stopGraceMs);
  const sooner = wantEnd(dismissed, 'destroy', stopGraceMs);
  return { life: sooner.life, steps: [...sooner.steps, { type: 'note-destroyed' }] };
}

function shutdown(life: Life): Next {
  if (life.phase === 'recording') return unchanged({ ...life, dismissed: life.dismissed ?? 'shutdown' });
  if (life.registration === 'asked') return wantEnd(life, 'refused', life.terms.stopGraceMs);
  const graceMs = life.terms.killGraceMs ?? life.terms.stopGraceMs;
  return wantEnd(life, 'shutdown', Math.min(graceMs, life.terms.shutdownGraceMs));
}

/** The slave sends KillTask only for a task that it has handed over. */
function kill(life: Life, graceMs: number | undefined): Next {
  const grace = graceMs ?? life.terms.killGraceMs ?? life.terms.stopGraceMs;
  if (life.runTask || isOver(life)) return wantEnd(life, 'kill', grace);
  const ended = wantEnd({ ...life, runTask: true, presumesRunTask: false }, 'kill', grace);
  const steps: Step[] = [{ type: 'note-run-task' }, { type: 'disarm', timer: 'run-task' }, ...ended.steps];
  return { life: ended.life, steps };
}

function healthChanged(life: Life, { health, text, kill }: Extract<LifeEvent, { type: 'health' }>): Next {
  if (!isChecked(life)) return unchanged(life);
  if (!kill) return { life, steps: [{ type: 'report-health', health, text }] };
  const graceMs = life.terms.killGraceMs ?? life.terms.stopGraceMs;
  return wantEnd(life, 'unhealthy', graceMs, { unhealthy: { failures: health.failures, text } });
}

function runTaskLate(life: Life, task: UpdatedTask): Next {
  // While the slave is away its return is waited for instead.
  if (life.runTask || life.wantedEnd !== undefined || life.slave === 'away') return unchanged(life);
  if (life.presumesRunTask && task === 'active') return handedOver(life);
  return wantEnd(life, 'no-run-task', life.terms.stopGraceMs);
}

function timedOut(life: Life, timer: 'acknowledgement' | 'recovery'): Next {
  switch (timer) {
    case 'acknowledgement':
      return life.phase === 'reporting' ? terminate(life) : unchanged(life);
    case 'recovery': {
      if (life.slave !== 'away') return unchanged(life);
      const lost: Life = { ...life, slave: 'lost' };
      return life.phase === 'reporting'
        ? terminate(lost)
        : wantEnd(lost, 'slave-lost', life.terms.stopGraceMs);
    }
  }
}

/** Whether its health is being checked: while it runs and nobody has asked for its end. */
function isChecked(life: Life): boolean {
  return (
    life.terms.checked && life.terms.reporting && life.phase === 'running' && life.wantedEnd === undefined
  );
}

/** What becomes of a container when something happens. Pure; total over every phase and event. */
export function next(life: Life, event: LifeEvent): Next {
  const after = become(life, event);
  const [was, is] = [isChecked(life), isChecked(after.life)];
  if (was === is) return after;
  // Ended first: no check may speak while the end is being told. Begun last: behind TASK_RUNNING.
  const steps: readonly Step[] = was
    ? [{ type: 'end-checks' }, ...after.steps]
    : [...after.steps, { type: 'begin-checks', resumed: event.type === 'found' }];
  return { life: after.life, steps };
}

function become(life: Life, event: LifeEvent): Next {
  // Destroyed: nobody will ask how it ended. The call notes the same, unless it is given up.
  if (life.phase === 'reported' && event.type !== 'resume')
    return unchanged(event.type === 'destroy' ? { ...life, dismissed: 'destroy' } : life);
  switch (event.type) {
    case 'begin': {
      const steps: Step[] = [
        { type: 'prepare' },
        { type: 'arm', timer: 'wait-seen', ms: WAIT_SEEN_TIMEOUT_MS },
      ];
      return { life, steps: life.terms.reporting ? [{ type: 'dial' }, ...steps] : steps };
    }
    case 'resume':
      return resume(life);
    case 'found':
      return found(life, event.docker);
    case 'progress': {
      const tell = life.phase === 'preparing' && life.terms.reporting && life.runTask;
      return tell ? { life, steps: [{ type: 'report', state: TaskState.STARTING }] } : unchanged(life);
    }
    case 'prepared':
      if (life.phase !== 'preparing') return unchanged(life);
      return { life: { ...life, phase: 'creating' }, steps: [{ type: 'create' }] };
    case 'created':
      return life.phase === 'creating' ? whenCreated(life) : unchanged(life);
    case 'started':
      return life.phase === 'starting' ? whenRunning(life, []) : unchanged(life);
    case 'failed':
      return failed(life, event.why);
    case 'ended':
      return isOver(life) ? unchanged(life) : record(life, event.outcome);
    case 'recorded':
      return life.phase === 'recording' ? report(life) : unchanged(life);
    case 'slave-there':
      return whenSlaveThere(life);
    case 'slave-away':
      return whenSlaveAway(life);
    case 'unreachable':
      return wantEnd(life, 'unreachable', life.terms.stopGraceMs, { why: event.why });
    case 'registered': {
      if (life.registration === 'done') return unchanged(life);
      const done: Life = { ...life, registration: 'done', takesKilling: event.takesKilling, slave: 'there' };
      if (life.runTask || isOver(life)) return { life: done, steps: [] };
      return { life: done, steps: [{ type: 'arm', timer: 'run-task', ms: RUN_TASK_TIMEOUT_MS }] };
    }
    case 'already-registered':
      // RunTask follows the first Register and is not sent twice. If the answer was meant as an end, destroy follows.
      return presumeRunTask({ ...life, registration: 'done', slave: 'there' }, false);
    case 'reconnected':
      // Of a task that it had on its checkpoint it takes our word for launched, and sends no RunTask any more. Whether it
      // has told the end of it before it died, the `update` that follows says.
      return presumeRunTask({ ...life, registration: 'done' }, true);
    case 'run-task':
      return handedOver(life);
    case 'kill':
      return kill(life, event.graceMs);
    case 'shutdown':
      return shutdown(life);
    case 'health':
      return healthChanged(life, event);
    case 'acknowledged':
      return life.phase === 'reporting' ? terminate(life) : unchanged(life);
    case 'destroy':
      return destroy(life);
    case 'forgotten':
      return wantEnd(life, 'forgotten', life.terms.stopGraceMs);
    case 'run-task-late':
      return runTaskLate(life, event.task);
    case 'timeout':
      return timedOut(life, event.timer);
  }
}

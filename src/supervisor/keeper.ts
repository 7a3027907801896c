// Looks after one container from its acceptance to its removal. It carries out the steps that container/life.ts decides,
// one event at a time, and turns what comes of them into events. What takes long runs beside the queue and reports back;
// what has to be on disk before the next step is waited for, but by no step that ends a container: a disk that is full
// keeps none running.

import { existsSync } from 'node:fs';
import { type Health, type HealthPlan, planHealth } from '../container/health.ts';
import type { MesosContainerId } from '../container/identity.ts';
import {
  endingOf,
  isDestroyed,
  type Life,
  type LifeEvent,
  newLife,
  next,
  type Step,
  type TimerName,
} from '../container/life.ts';
import { formatSpan, type Span, timesOf } from '../container/span.ts';
import { type Outcome, TaskState, type TaskStateNumber } from '../container/termination.ts';
import { errnoOf, escapeControl, oneLine } from '../fault.ts';
import { readJsonFact, writeFact, writeFactSync } from '../host/facts.ts';
import { type FileLock, tryLock } from '../host/flock.ts';
import type { Log } from '../host/log.ts';
import { hostMayPass, isShortage, pauseMs, persist, rest } from '../host/pauses.ts';
import { formatIdentity, isNotedAlive } from '../host/processes.ts';
import { appendLine } from '../host/sandbox.ts';
import { type ContainerPaths, containerPaths } from '../state/layout.ts';
import { parseWaitSeen, type RequestRecord } from '../state/records.ts';
import { hasFact, readTermination } from '../state/store.ts';
import type { DockerWork } from './docker-work.ts';
import { HealthChecks } from './health-checks.ts';
import type { Hooks } from './hooks.ts';
import { isTerminal } from './kept-updates.ts';
import { forgetCopied } from './output-copy.ts';
import type { TaskReporter } from './reporter.ts';
import { restoreLife, termsOf } from './restore.ts';
import { RunTaskWait } from './run-task-wait.ts';
import type { Turns } from './turns.ts';

/** TASK_STARTING says how far pulling and fetching are this often. */
const PROGRESS_EVERY_MS = 10_000;

export interface KeeperParts {
  readonly root: string;
  readonly request: RequestRecord;
  readonly log: Log;
  /** undefined where nobody is to be told: an executor task, or no slave. */
  readonly reporter: ((tell: (event: LifeEvent) => void) => TaskReporter) | undefined;
  readonly docker: (tell: (event: LifeEvent) => void, onProgress: (text: string) => void) => DockerWork;
  readonly hooks: Hooks;
  /** Of all keepers: who may begin a health check. */
  readonly checkTurns: Turns;
  /** Whether the slave that launched this container still lives; asked when no `wait` came. */
  readonly slaveLives: () => Promise<boolean>;
  /** The container is reported and gone from Docker: nothing is left to look after. */
  readonly onDone: () => void;
}

export class Keeper {
  readonly id: MesosContainerId;
  readonly paths: ContainerPaths;
  /** Fulfilled when the container is gone from Docker; its ondestroy hook may still run. */
  readonly gone: Promise<void>;
  readonly #parts: KeeperParts;
  readonly #log: Log;
  readonly #docker: DockerWork;
  readonly #reporter: TaskReporter | undefined;
  readonly #stopping = new AbortController();
  readonly #timers = new Map<TimerName, NodeJS.Timeout>();
  readonly #runTask: RunTaskWait;
  readonly #events: LifeEvent[] = [];
  /** What was noted and is not written yet, by its path: the disk does not take it. */
  readonly #owed = new Map<string, () => void>();
  #life: Life;
  #lock: FileLock | undefined;
  #carrying = false;
  #checks: HealthChecks | undefined;
  #progress: { text: string; toldAt: number } | undefined;
  #resolveGone: () => void = () => {};
  /** The one that was found dead at the last look, its slave being alive. */
  #deadWait: string | undefined;

  constructor(parts: KeeperParts, life: 'new' | 'restore') {
    this.#parts = parts;
    this.id = parts.request.task.containerId;
    this.paths = containerPaths(parts.root, this.id);
    this.#log = parts.log;
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve;
    });
    const tell = (event: LifeEvent): void => this.tell(event);
    this.#reporter = parts.reporter?.(tell);
    this.#runTask = new RunTaskWait(this.paths, parts.request.task.resources, tell);
    this.#docker = parts.docker(tell, (text) => this.#progressed(text));
    this.#life = life === 'new' ? newLife(termsOf(parts.request)) : restoreLife(this.paths, parts.request);
  }

  /** Whether the Termination is written: `wait` can answer. */
  get reported(): boolean {
    return this.#life.phase === 'reported' && readTermination(this.paths) !== undefined;
  }

  /** Before the container runs, or has ended without. */
  get isStarting(): boolean {
    return ['looking', 'preparing', 'creating', 'created', 'starting'].includes(this.#life.phase);
  }

  /** Takes the `wait` lock, with pauses while a caller that was woken too early holds it. */
  async lock(): Promise<void> {
    for (let n = 0; !this.#stopping.signal.aborted && !this.reported && this.#lock === undefined; n++) {
      const lock = await tryLock(this.paths.lock('wait'));
      if (lock === undefined) await rest(pauseMs(Math.min(n, 2)), this.#stopping.signal);
      else if (this.reported) lock.release();
      else this.#lock = lock;
    }
  }

  /** An event from outside (the socket), or from what this keeper started. Returns at once. */
  tell(event: LifeEvent): void {
    if (this.#stopping.signal.aborted) return;
    this.#events.push(event);
    if (!this.#carrying) void this.#carryOn();
  }

  /** Puts the limits noted in the state directory into force; resolves when that is done or nothing runs. */
  async applyLimits(): Promise<void> {
    if (this.#life.phase === 'running') await this.#docker.applyLimits();
  }

  /** Lets go of everything without ending anything: the supervisor stops, the container goes on. */
  async abandon(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#runTask.end();
    this.#checks?.end();
    this.#reporter?.close();
    this.#parts.hooks.stop();
    await this.#docker.abandon();
    this.#lock?.release();
  }

  async #carryOn(): Promise<void> {
    this.#carrying = true;
    for (let event = this.#events.shift(); event !== undefined; event = this.#events.shift()) {
      const before = this.#life.phase;
      if (event.type === 'begin') this.#explainHealth();
      const { life, steps } = next(this.#life, event);
      this.#life = life;
      if (life.phase !== before)
        this.#log.debug('phase', { from: before, to: life.phase, event: event.type });
      for (const step of steps) {
        try {
          await this.#carryOut(step);
        } catch (error) {
          if (!this.#stopping.signal.aborted)
            this.#log.error('step failed', { step: step.type, error: oneLine(error) });
        }
      }
    }
    this.#carrying = false;
  }

  async #carryOut(step: Step): Promise<void> {
    switch (step.type) {
      case 'dial':
        await this.#reporter?.dial();
        return;
      case 'look':
      case 'prepare':
      case 'create':
      case 'start':
      case 'follow':
        // Beside the queue: the outcome comes back as an event.
        this.#docker.begin(step.type);
        return;
      case 'cancel':
        this.#docker.cancelPreparation();
        return;
      case 'apply-limits':
        void this.#docker.applyLimits();
        return;
      case 'note-end':
        // The last wish, whichever try it is that the disk takes.
        this.#note(this.paths.wantedEnd, () => JSON.stringify(this.#life.wantedEnd ?? step.end));
        this.#log.info('end wanted', { cause: step.end.cause, graceMs: step.end.graceMs });
        return;
      case 'note-destroyed':
        this.#note(this.paths.destroyed, () => '');
        this.#log.info('destroyed when it was ending already');
        return;
      case 'note-run-task':
        this.#note(this.paths.runTask, () => '');
        return;
      case 'stop':
        this.#docker.stop(step.graceMs);
        return;
      case 'kill-unseen':
        this.#docker.killUnseen(step.graceMs);
        return;
      case 'report':
        if (isTerminal(step.state)) await this.#report(step.state);
        else this.#beside(this.#report(step.state));
        return;
      case 'report-health':
        this.#beside(this.#reportHealth(step.health, step.text));
        return;
      case 'begin-checks':
        this.#beginChecks(step.resumed);
        return;
      case 'end-checks':
        this.#checks?.end();
        return;
      case 'record':
        void this.#record(step.outcome);
        return;
      case 'terminate':
        await this.#terminate();
        return;
      case 'clean-up':
        void this.#cleanUp();
        return;
      case 'arm':
        if (step.timer === 'run-task') this.#runTask.begin(step.ms, step.anew === true);
        else this.#arm(step.timer, step.ms);
        return;
      case 'disarm':
        if (step.timer === 'run-task') this.#runTask.end();
        clearTimeout(this.#timers.get(step.timer));
        this.#timers.delete(step.timer);
        return;
    }
  }

  async #report(state: TaskStateNumber): Promise<void> {
    if (this.#reporter === undefined) return;
    switch (state) {
      case TaskState.STARTING:
        // Said only where there is something to wait for: an image that is being pulled, URIs that are fetched.
        if (this.#progress === undefined) return;
        this.#progress.toldAt = Date.now();
        await this.#reporter.report({ state, message: this.#progress.text });
        return;
      case TaskState.RUNNING:
        await this.#reporter.report({ state, message: 'Container running', ...this.#docker.running() });
        return;
      case TaskState.KILLING: {
        const message =
          this.#life.wantedEnd?.unhealthy?.text ?? 'The framework asked for the end of the task';
        await this.#reporter.report({ state, message, ...this.#unhealthy() });
        return;
      }
      default: {
        const { message, reason } = endingOf(this.#life);
        const because = reason === undefined ? {} : { reason };
        await this.#reporter.report({ state, message, ...because, ...this.#unhealthy() });
      }
    }
  }

  /** What an end for the task's health says beside its state. */
  #unhealthy(): { readonly health?: Health } {
    const unhealthy = this.#life.wantedEnd?.unhealthy;
    return unhealthy === undefined ? {} : { health: { healthy: false, failures: unhealthy.failures } };
  }

  /** With the address, which frameworks read from the last update; not with all of `docker inspect` each time. */
  async #reportHealth(health: Health, message: string): Promise<void> {
    const { ipAddress } = this.#docker.running();
    const address = ipAddress === undefined ? {} : { ipAddress };
    await this.#reporter?.report({ state: TaskState.RUNNING, message, health, ...address });
  }

  #healthPlan(): HealthPlan | undefined {
    const { healthCheck } = this.#parts.request.task;
    return healthCheck === undefined ? undefined : planHealth(healthCheck);
  }

  /** Said once, before anything runs: what of the health check is not done, or not as it was written. */
  #explainHealth(): void {
    const plan = this.#healthPlan();
    if (plan === undefined) return;
    if (plan.ok) for (const remark of plan.remarks) this.#sayOfHealth(remark);
    else this.#sayOfHealth(`the task runs unchecked: ${plan.why}`);
  }

  #sayOfHealth(what: string): void {
    this.#log.warning('health check', { what });
    this.#explain(`health check: ${what}`);
  }

  #beginChecks(resumed: boolean): void {
    const plan = this.#healthPlan();
    if (plan?.ok !== true) return;
    this.#checks = new HealthChecks({
      terms: plan.terms,
      target: this.#docker.target(),
      resumed,
      before: this.#reporter?.health,
      turns: this.#parts.checkTurns,
      log: this.#log,
      tell: (event) => this.tell(event),
      explain: (why) => this.#sayOfHealth(`the task runs unchecked: ${why}`),
    });
    this.#checks.begin();
  }

  #progressed(text: string): void {
    const first = this.#progress === undefined;
    this.#progress = { text, toldAt: this.#progress?.toldAt ?? 0 };
    if (!first && Date.now() - this.#progress.toldAt < PROGRESS_EVERY_MS) return;
    this.#progress.toldAt = Date.now();
    this.#log.info('preparing', { progress: text });
    this.tell({ type: 'progress' });
  }

  /** The last output, then the outcome on disk. Tried for as long as it takes: an end that is not recorded is lost. */
  async #record(outcome: Outcome): Promise<void> {
    const { signal } = this.#stopping;
    try {
      await this.#drain(outcome);
      if (outcome.kind === 'failed' || outcome.kind === 'lost') this.#explain(outcome.why);
      const unseen = 'unseen' in outcome ? outcome.unseen : undefined;
      if (unseen !== undefined) this.#sayUnseen(unseen);
      const known = { ...outcome, unseen: undefined };
      await this.#durably('writing the outcome', async () => {
        // Whoever finds the outcome after a crash tells of it by these: why the end was wanted, and by whom.
        for (const write of this.#owed.values()) this.#writeOwed(write);
        if (outcome.kind === 'exited') await writeFact(this.paths.exit, `${outcome.exitCode}\n`);
        await writeFact(this.paths.outcome, JSON.stringify(known));
      });
      this.#log.info('ended', known);
      this.tell({ type: 'recorded' });
    } catch (error) {
      if (!signal.aborted) this.#log.error('the outcome could not be recorded', { error: oneLine(error) });
    }
  }

  /** Only what passes when there is room again may hold the outcome up. */
  #writeOwed(write: () => void): void {
    try {
      write();
    } catch (error) {
      if (isShortage(error)) throw error;
      this.#log.error('a fact could not be noted', { error: oneLine(error) });
    }
  }

  /** The end is recorded whatever becomes of the last output; what may be missing is said. */
  async #drain(outcome: Outcome): Promise<void> {
    const { signal } = this.#stopping;
    try {
      // What never ran has written nothing.
      if (outcome.kind === 'exited' || outcome.kind === 'lost') await this.#docker.output.drain(signal);
      else await this.#docker.output.stop();
    } catch (error) {
      signal.throwIfAborted();
      this.#log.error('the output was not copied to its end', { error: oneLine(error) });
      this.#explain(`the output may be incomplete: ${oneLine(error)}`);
    }
  }

  #sayUnseen(span: Span): void {
    const reason =
      'Docker was away when the container ended, or soon after, and keeps nothing of what is written meanwhile';
    this.#log.warning('output may be lost', { ...timesOf(span), reason });
    this.#explain(`stdout and stderr: what was written ${formatSpan(span)} may be lost: ${reason}`);
  }

  /** One line for whoever reads the sandbox to learn why the task failed. */
  #explain(why: string): void {
    try {
      appendLine(`${this.#parts.request.task.sandbox}/stderr`, `deimos: ${escapeControl(why)}`);
    } catch (error) {
      this.#log.warning("cannot write to the sandbox's stderr", { error: oneLine(error) });
    }
  }

  async #terminate(): Promise<void> {
    const { state, message, reason, killed, status, outside } = endingOf(this.#life);
    const command = this.#parts.request.task.kind === 'command';
    const termination = {
      // For an executor that simply ended the slave itself decides what becomes of its tasks.
      ...(command || reason !== undefined || outside === true ? { state } : {}),
      // Slaves pass it on to their own log, and frameworks to a page.
      message: escapeControl(message),
      killed,
      reasons: reason === undefined ? [] : [reason],
      ...(status === undefined ? {} : { status }),
    };
    await this.#durably('writing the termination', () =>
      writeFact(this.paths.termination, `${JSON.stringify(termination)}\n`),
    );
    this.#lock?.release();
    this.#lock = undefined;
    this.#reporter?.close();
    this.#log.info('terminated', { state, killed, status, message });
  }

  async #cleanUp(): Promise<void> {
    const { signal } = this.#stopping;
    this.#reporter?.close();
    try {
      // Beside the removal: neither may hold up the other, and whoever waits for the container waits for no hook.
      const hook = this.#parts.hooks.ondestroy();
      await this.#docker.remove(signal);
      this.#resolveGone();
      await hook;
      signal.throwIfAborted();
      // The call may have given up waiting for this, and the slave has thrown the container's `wait` away. First: of one whose
      // removal is noted nobody takes care any more.
      if (isDestroyed(this.#life))
        await this.#durably('noting that nobody asks for the end', () =>
          this.#writeLast(this.paths.delivered),
        );
      await this.#durably('noting the removal', () => this.#writeLast(this.paths.removed));
      this.#forgetCopied();
      this.#parts.onDone();
    } catch (error) {
      if (!signal.aborted) this.#log.error('the container could not be removed', { error: oneLine(error) });
    }
  }

  /** The counter files are large, and of no more use. Behind all else: whoever dies before leaves them, which is no harm. */
  #forgetCopied(): void {
    try {
      forgetCopied(this.paths.directory);
    } catch (error) {
      this.#log.warning('counter files of the output stay', { error: oneLine(error) });
    }
  }

  /** A fact of a container that has ended: its directory may have been cleared away. */
  async #writeLast(path: string): Promise<void> {
    if (existsSync(this.paths.directory)) await writeFact(path, '');
  }

  /** What fails beside the queue does so by a bug, unless we are leaving. */
  #beside(work: Promise<void>): void {
    void work.catch((error: unknown) => {
      if (!this.#stopping.signal.aborted)
        this.#log.error('a task failed by a bug', { error: oneLine(error) });
    });
  }

  /** Written when it returns, so that the next step finds it; beside the queue where the disk does not take it at once. */
  #note(path: string, fact: () => string): void {
    const write = (): void => {
      // Of one that has ended it may be gone.
      if (existsSync(this.paths.directory)) writeFactSync(path, fact());
      this.#owed.delete(path);
    };
    this.#owed.set(path, write);
    this.#beside(this.#durably('noting a fact', async () => write()));
  }

  async #durably(what: string, work: () => Promise<void>): Promise<void> {
    await persist(work, { signal: this.#stopping.signal, log: this.#log, what, mayPass: hostMayPass });
  }

  #arm(timer: Exclude<TimerName, 'run-task'>, ms: number): void {
    clearTimeout(this.#timers.get(timer));
    this.#timers.set(
      timer,
      setTimeout(() => {
        this.#timers.delete(timer);
        if (timer === 'wait-seen') this.#beside(this.#missWait(ms));
        else this.tell({ type: 'timeout', timer });
      }, ms),
    );
  }

  /**
   * No `wait` in all this time: if the slave lives it has forgotten the container; if not, its successor will ask. So has
   * one that lives and whose `wait` has died, unless it soon calls another.
   */
  async #missWait(againMs: number): Promise<void> {
    if (this.#life.phase === 'reported') return;
    const isSeen = hasFact(this.paths.waitSeen);
    const dead = isSeen ? deadWait(this.paths.waitSeen) : undefined;
    const isForgotten = isSeen
      ? dead !== undefined && dead === this.#deadWait
      : await this.#parts.slaveLives();
    this.#deadWait = dead;
    if (isForgotten) this.tell({ type: 'forgotten' });
    else if (isSeen || this.#parts.request.task.slavePid !== undefined) this.#arm('wait-seen', againMs);
  }
}

/**
 * Which process of the `wait` that was noted is no more, though the slave that called it is: that took the end of either
 * for the task's. undefined also where nobody can tell.
 */
function deadWait(path: string): string | undefined {
  try {
    const { slave, waits } = parseWaitSeen(readJsonFact(path));
    if (slave === undefined || !isNotedAlive(slave)) return undefined;
    const dead = waits.find((one) => !isNotedAlive(one));
    return dead === undefined ? undefined : formatIdentity(dead);
  } catch (error) {
    // Out of descriptors, for one: it is looked at again.
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

// The health checks of one container while it runs: when the next one is due, one at a time, and what of their results
// the keeper has to hear. Judging is container/health.ts's, checking that of health-command.ts and health-http.ts.

import { type CheckResult, firstPauseMs, type Health, type HealthTerms, judge } from '../container/health.ts';
import type { LifeEvent } from '../container/life.ts';
import type { ContainerFacts, Engine } from '../docker/engine.ts';
import { mayPass } from '../docker/faults.ts';
import { errnoOf, isFault, oneLine } from '../fault.ts';
import type { Log } from '../host/log.ts';
import { rest } from '../host/pauses.ts';
import { CommandChecks } from './health-command.ts';
import { checkHttp } from './health-http.ts';
import type { Turns } from './turns.ts';

/**
 * After so many checks in a row that had no result, though Docker answered, the sandbox's reader is told. More than fit
 * into the moment between a container's end and our hearing of it.
 */
export const UNANSWERED_MAX = 10;

/** The container that is checked. */
export interface HealthTarget {
  /** As Docker described it when it had started. */
  readonly facts: ContainerFacts;
  readonly engine: (signal: AbortSignal) => Promise<Engine>;
  /** False once its init has ended, which we may hear of only later; true where that cannot be seen. */
  readonly mayRun: () => boolean;
  /** Whether it runs on this host, so that the host's network is ours; false where that cannot be told. */
  readonly isHere: boolean;
}

export interface HealthCheckParts {
  readonly terms: HealthTerms;
  readonly target: HealthTarget;
  /** The container ran before we came to it. */
  readonly resumed: boolean;
  /** What was reported last, by an earlier supervisor. */
  readonly before: Health | undefined;
  readonly turns: Turns;
  readonly log: Log;
  readonly tell: (event: LifeEvent) => void;
  /** Says to whoever reads the sandbox why the task is not checked. */
  readonly explain: (why: string) => void;
}

export class HealthChecks {
  readonly #parts: HealthCheckParts;
  readonly #ending = new AbortController();
  #health: Health | undefined;
  /** Whether the last check had no result: said when it begins and when it is over. */
  #isInDoubt = false;
  /** The one that was said last. */
  #bug: string | undefined;
  /** Checks in a row that had no result and may never have one; undefined once that was said. */
  #unanswered: number | undefined = 0;

  constructor(parts: HealthCheckParts) {
    this.#parts = parts;
    this.#health = parts.before;
  }

  /** Begins; returns at once. */
  begin(): void {
    void this.#run().catch((error: unknown) => {
      if (!this.#ending.signal.aborted)
        this.#parts.log.error('health checks failed by a bug', { error: oneLine(error) });
    });
  }

  /** No check begins any more, and none that is under way is told of. Repeatable. */
  end(): void {
    this.#ending.abort();
  }

  async #run(): Promise<void> {
    const { terms, target, resumed } = this.#parts;
    const { signal } = this.#ending;
    const check = this.#checker();
    if (typeof check === 'string') return this.#parts.explain(check);
    // The container's start is known by the wall clock alone; from here on by one that nobody sets.
    const startedAt = Date.parse(target.facts.startedAt ?? '');
    const sinceStartMs = Number.isNaN(startedAt) ? 0 : Math.max(0, Date.now() - startedAt);
    const began = performance.now() - sinceStartMs;
    await rest(firstPauseMs(terms, sinceStartMs, resumed), signal, false);
    for (;;) {
      const result = await this.#once(check, signal);
      signal.throwIfAborted();
      this.#heed(result, performance.now() - began);
      await rest(terms.intervalMs, signal, false);
    }
  }

  /** What makes one check; a text where there is nothing that could be checked. */
  #checker(): ((signal: AbortSignal) => Promise<CheckResult>) | string {
    const { terms, target, turns, log } = this.#parts;
    const { probe, timeoutMs } = terms;
    if (probe.kind === 'command') {
      const { facts, engine } = target;
      const commands = new CommandChecks({ probe, timeoutMs, id: facts.id, engine, turns, log });
      return (signal) => commands.check(signal);
    }
    const address = addressOf(target);
    if (address === undefined) {
      const mode = target.facts.hostConfig.NetworkMode;
      if (mode === 'host')
        return 'http cannot be asked: the container is on the network of the host of its Docker, which is not known to be this one';
      return `http cannot be asked: the container has no address of its own (network ${mode ?? 'unknown'})`;
    }
    return (signal) => checkHttp(probe, address, timeoutMs, signal);
  }

  /** What goes wrong while a container ends, with Docker, with this host, or by our own bug is no failure of the task's. */
  async #once(
    check: (signal: AbortSignal) => Promise<CheckResult>,
    signal: AbortSignal,
  ): Promise<CheckResult> {
    try {
      const result = await check(signal).catch((error: unknown) => {
        signal.throwIfAborted();
        return this.#noResult(error);
      });
      if (result.kind === 'passed' || this.#parts.target.mayRun()) return result;
      return { kind: 'unknown', why: 'the container is ending' };
    } catch (error) {
      signal.throwIfAborted();
      return this.#noResult(error);
    }
  }

  #noResult(error: unknown): CheckResult {
    const why = oneLine(error);
    const isBug = !isFault(error) && errnoOf(error) === undefined;
    if (isBug && why !== this.#bug) this.#parts.log.error('a health check failed by a bug', { error: why });
    if (isBug) this.#bug = why;
    const mayLast = isBug || (isFault(error) && !mayPass(error));
    return { kind: 'unknown', why, ...(mayLast ? { mayLast } : {}) };
  }

  /** Once: who reads the sandbox may wonder why nothing is told of the task's health. */
  #explainLasting(why: string): void {
    if (this.#unanswered === undefined) return;
    this.#unanswered += 1;
    if (this.#unanswered < UNANSWERED_MAX) return;
    this.#unanswered = undefined;
    this.#parts.explain(`${UNANSWERED_MAX} checks in a row had no result, the last one: ${why}`);
  }

  #heed(result: CheckResult, sinceStartMs: number): void {
    const { log, terms, tell } = this.#parts;
    if (result.kind === 'unknown') {
      if (!this.#isInDoubt)
        log.warning('a health check has no result, it is tried again', { why: result.why });
      this.#isInDoubt = true;
      if (result.mayLast === true) this.#explainLasting(result.why);
      return;
    }
    this.#unanswered &&= 0;
    if (this.#isInDoubt) log.info('health checks have results again', {});
    this.#isInDoubt = false;
    const verdict = judge(terms, this.#health, result, sinceStartMs);
    if (verdict === undefined) {
      if (result.kind === 'failed')
        log.debug('a failed health check does not count yet', { why: result.why });
      return;
    }
    this.#health = verdict.health;
    log.info('health', { ...verdict.health, text: verdict.text });
    tell({ type: 'health', ...verdict });
  }
}

function addressOf({ facts, isHere }: HealthTarget): string | undefined {
  if (facts.hostConfig.NetworkMode !== 'host') return facts.ipAddress;
  return isHere ? '127.0.0.1' : undefined;
}

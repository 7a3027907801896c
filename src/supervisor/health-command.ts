// Health checks by command, inside one container: begun, awaited, judged by their exit status, and ended with all that
// they started where they take too long. What Docker does not answer is no answer of the task's.
//
// Each command carries a variable of its own in its environment: by that its processes are found, and told from whatever
// else runs under a number that Docker has named.

import { randomBytes } from 'node:crypto';
import { boundedWords, type CheckResult, type Probe } from '../container/health.ts';
import type { DockerId } from '../container/identity.ts';
import type { Engine } from '../docker/engine.ts';
import { createExec, type ExecFacts, type ExecId, execsOf, inspectExec, runExec } from '../docker/exec.ts';
import { lastLine } from '../host/child.ts';
import type { Log } from '../host/log.ts';
import { endMarked } from '../host/marked-processes.ts';
import { rest } from '../host/pauses.ts';
import { Tail } from '../host/tail.ts';
import type { Turns } from './turns.ts';

/** Its value begins with the container's id: containers can share their processes' namespace. */
export const MARK = 'DEIMOS_HEALTH_CHECK';

/** A turn is for beginning: what takes longer than this lets the next one begin. */
const TURN_MS = 1_000;
/** Where output goes on, Docker is asked whether the command itself has ended: after this long, doubling to the longest. */
const LOOK_MS_FIRST = 500;
const LOOK_MS_SHORTEST = 10;
const LOOK_MS_LONGEST = 4_000;
/** Of the output the end is kept. */
const OUTPUT_MAX_BYTES = 4 * 1024;

export interface CommandCheckParts {
  readonly probe: Extract<Probe, { kind: 'command' }>;
  readonly timeoutMs: number;
  readonly id: DockerId;
  readonly engine: (signal: AbortSignal) => Promise<Engine>;
  /** Of all containers: a hundred tasks that begin together must not make each other's checks slow. */
  readonly turns: Turns;
  readonly log: Log;
}

interface Begun {
  readonly exec: ExecId;
  readonly mark: string;
}

export class CommandChecks {
  readonly #parts: CommandCheckParts;
  /** What is not known to have ended: seen to before the next begins, so that nothing piles up. */
  #left: readonly Begun[] = [];
  #hasLooked = false;

  constructor(parts: CommandCheckParts) {
    this.#parts = parts;
  }

  /**
   * One check; never two at once. Rejects with the signal's reason when that is aborted: the command is left to itself.
   * Faults of Docker, and errors of the host, pass through: they are no results.
   */
  async check(signal: AbortSignal): Promise<CheckResult> {
    const giveBack = await this.#parts.turns.take(signal);
    // All that is asked of Docker takes part in the turn, and for some containers it may hang.
    const longest = setTimeout(giveBack, TURN_MS).unref();
    try {
      const engine = await this.#parts.engine(signal);
      if (!(await this.#endLeft(engine, signal)))
        return { kind: 'failed', why: 'the command of an earlier check has not ended' };
      const mark = `${this.#marks()}${randomBytes(12).toString('hex')}`;
      const { argv, environment } = this.#parts.probe;
      const order = { argv, environment: [...environment, mark] };
      const exec = await createExec(engine, this.#parts.id, order, signal);
      this.#left = [{ exec, mark }];
      return await this.#run(engine, { exec, mark }, signal);
    } finally {
      clearTimeout(longest);
      giveBack();
    }
  }

  /** How the marks of this container's checks begin. */
  #marks(): string {
    return `${MARK}=${this.#parts.id}-`;
  }

  async #run(engine: Engine, begun: Begun, signal: AbortSignal): Promise<CheckResult> {
    const over = new AbortController();
    const bound = setTimeout(() => over.abort(), this.#parts.timeoutMs).unref();
    const either = AbortSignal.any([signal, over.signal]);
    const output = new Tail(OUTPUT_MAX_BYTES);
    let facts: ExecFacts | 'absent';
    try {
      const written = collect(runExec(engine, begun.exec, either), output);
      facts = await untilEnded(engine, begun.exec, written, either);
    } catch (error) {
      signal.throwIfAborted();
      if (!over.signal.aborted) throw error;
      facts = await inspectExec(engine, begun.exec, signal);
    } finally {
      clearTimeout(bound);
      // Closes the stream, which what the command has left behind may hold open.
      over.abort();
    }
    if (facts !== 'absent' && facts.running) {
      // It stands still with all of its container, and has had no time to end.
      const container = await engine.inspect(this.#parts.id, signal);
      if (container !== 'absent' && container.state === 'paused')
        return { kind: 'unknown', why: 'the container is paused' };
      await this.#end(facts, begun, signal);
      return { kind: 'failed', why: `no end within ${this.#parts.timeoutMs / 1000} s${inWords(output)}` };
    }
    // Asked for, and perhaps yet to begin: it stays among those that are seen to.
    if (facts === 'absent' || facts.exitCode === undefined)
      return { kind: 'unknown', why: 'Docker does not say how the command ended', mayLast: true };
    this.#left = [];
    if (facts.exitCode === 0) return { kind: 'passed' };
    return { kind: 'failed', why: `exit status ${facts.exitCode}${inWords(output)}` };
  }

  /** Kills it with what it started; what cannot be killed from here (a Docker elsewhere) is said. */
  async #end(facts: ExecFacts, { exec, mark }: Begun, signal: AbortSignal): Promise<void> {
    const { log } = this.#parts;
    const killed = facts.pid === undefined ? 0 : await endMarked(facts.pid, mark, signal);
    if (killed > 0) {
      this.#left = this.#left.filter((one) => one.exec !== exec);
      log.info('a health check took too long and was ended', { processes: killed });
    } else log.warning('a health check takes too long and cannot be ended', { pid: facts.pid });
  }

  /** Ends what an earlier check has left, an earlier supervisor's included. False: some of it runs on all the same. */
  async #endLeft(engine: Engine, signal: AbortSignal): Promise<boolean> {
    if (!this.#hasLooked) {
      const inspected = await engine.inspect(this.#parts.id, signal);
      const execs = inspected === 'absent' ? [] : execsOf(inspected.raw);
      // Which of them is ours only the mark tells: a person's `docker exec` has none.
      for (const exec of execs) await this.#endOne(engine, exec, this.#marks(), signal);
      this.#hasLooked = true;
    }
    for (const { exec, mark } of this.#left) {
      if (await this.#endOne(engine, exec, mark, signal))
        this.#left = this.#left.filter((one) => one.exec !== exec);
    }
    return this.#left.length === 0;
  }

  async #endOne(engine: Engine, exec: ExecId, mark: string, signal: AbortSignal): Promise<boolean> {
    const facts = await inspectExec(engine, exec, signal);
    if (facts === 'absent' || !facts.running) return true;
    return facts.pid !== undefined && (await endMarked(facts.pid, mark, signal)) > 0;
  }
}

async function collect(pieces: AsyncIterable<Buffer>, output: Tail): Promise<void> {
  for await (const piece of pieces) output.take(piece);
}

/**
 * Until Docker says that the command has ended, or does not know it. Asked for when its output ends, which is nearly
 * always at once; a command may end before its output does, and go on without any.
 */
async function untilEnded(
  engine: Engine,
  exec: ExecId,
  written: Promise<void>,
  signal: AbortSignal,
): Promise<ExecFacts | 'absent'> {
  let isWritten = false;
  const end = written.then(() => {
    isWritten = true;
  });
  for (let pauseMs = LOOK_MS_FIRST; ; pauseMs = Math.min(pauseMs * 2, LOOK_MS_LONGEST)) {
    const pause = rest(pauseMs, signal, false);
    if (isWritten) await pause;
    else {
      await Promise.race([pause, end]);
      // From its last word to its end it takes no time, usually.
      if (isWritten) pauseMs = LOOK_MS_SHORTEST;
    }
    const facts = await inspectExec(engine, exec, signal);
    if (facts === 'absent' || (!facts.running && facts.exitCode !== undefined)) return facts;
  }
}

/** The last line of what a command wrote as the end of a sentence; nothing where it wrote none. */
function inWords(output: Tail): string {
  const line = lastLine(output.text());
  return line === undefined ? '' : `: ${boundedWords(line)}`;
}

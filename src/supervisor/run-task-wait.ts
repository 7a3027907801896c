// RunTask comes behind the `update` that a slave calls when its executor has registered, however many calls it has to make
// before that one: so the time in which RunTask is due counts from there. And what `update` names tells whether the slave
// still has the task among those that are to run.

import type { LifeEvent, UpdatedTask } from '../container/life.ts';
import { isAllowanceAlone } from '../container/resources.ts';
import type { Resources } from '../container/task.ts';
import { errnoOf } from '../fault.ts';
import type { ContainerPaths } from '../state/layout.ts';
import { type LimitsRecord, lastUpdate, nowUs } from '../state/limits.ts';

/** Where RunTask is late, it is looked this often whether `update` has been called meanwhile. */
const LOOK_MS = 1_000;
/** A slave that lives and does not even call `update` for so long never will. */
export const UPDATE_BOUND_MS = 15 * 60_000;

interface Wait {
  readonly ms: number;
  readonly begunUs: number;
}

export class RunTaskWait {
  readonly #paths: ContainerPaths;
  readonly #own: Resources;
  readonly #tell: (event: LifeEvent) => void;
  #timer: NodeJS.Timeout | undefined;
  /** Calls before this count for nothing. */
  #sinceUs = 0;

  /** `own`: the resources of the task itself. */
  constructor(paths: ContainerPaths, own: Resources, tell: (event: LifeEvent) => void) {
    this.#paths = paths;
    this.#own = own;
    this.#tell = tell;
  }

  /** Tells `run-task-late` once, `ms` after now and after the last call of `update`, unless `end` comes first. */
  begin(ms: number, anew: boolean): void {
    const begunUs = nowUs();
    if (anew) this.#sinceUs = begunUs;
    this.#look({ ms, begunUs }, ms);
  }

  /** Repeatable. */
  end(): void {
    clearTimeout(this.#timer);
  }

  #look(wait: Wait, afterMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#looked(wait), afterMs);
  }

  #looked(wait: Wait): void {
    const call = this.#lastCall();
    const waitedMs = (nowUs() - Math.max(call?.atUs ?? 0, wait.begunUs)) / 1_000;
    if (call === undefined && waitedMs < UPDATE_BOUND_MS) this.#look(wait, LOOK_MS);
    else if (call !== undefined && waitedMs < wait.ms) this.#look(wait, wait.ms - waitedMs);
    else this.#tell({ type: 'run-task-late', task: this.#taskIn(call) });
  }

  #taskIn(call: LimitsRecord | undefined): UpdatedTask {
    if (call === undefined) return 'unknown';
    return isAllowanceAlone(this.#own, call) ? 'ended' : 'active';
  }

  #lastCall(): LimitsRecord | undefined {
    try {
      const call = lastUpdate(this.#paths);
      return call !== undefined && call.atUs >= this.#sinceUs ? call : undefined;
    } catch (error) {
      // Out of descriptors, for one: it is looked at again.
      if (errnoOf(error) === undefined) throw error;
      return undefined;
    }
  }
}

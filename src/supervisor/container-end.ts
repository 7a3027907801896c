// Finds out how a container ended, by asking Docker, its events, and the kernel; container/end-evidence.ts judges. While
// the daemon is away the kernel's count of kills for memory is watched: the daemon that comes back removes the cgroup and
// knows of none. Only for containers whose end we did not want ourselves.

import { type ContainerHistory, dieCode, judge, mayHaveEndedWithDaemon } from '../container/end-evidence.ts';
import type { DockerId } from '../container/identity.ts';
import { type Outcome, signalNumber } from '../container/termination.ts';
import type { ContainerFacts, Engine } from '../docker/engine.ts';
import { mayPass } from '../docker/faults.ts';
import { containerHistory } from '../docker/history.ts';
import { oneLine } from '../fault.ts';
import { readFact, readJsonFact, writeFactSync } from '../host/facts.ts';
import type { Log } from '../host/log.ts';
import { oomKillsFile, readOomKills } from '../host/oom-kills.ts';
import { rest } from '../host/pauses.ts';
import { bootId, parseNoted } from '../host/processes.ts';
import type { ContainerPaths } from '../state/layout.ts';
import { hasFact } from '../state/store.ts';

/** How Docker gives an end by SIGKILL, and how long the word of a kill for memory may come behind it. */
const EXIT_SIGKILL = 137;
const OOM_SETTLE_MS = 1_000;
/** Docker wakes those who wait for an end before it says so among its events. */
const EVENTS_SETTLE_MS = 1_000;
const LOOK_MS = 50;
/** While the daemon is away. What the kernel kills later than this before its return goes unnoticed. */
const OOM_WATCH_MS = 250;

export interface ContainerEndParts {
  readonly paths: ContainerPaths;
  readonly log: Log;
  /** Aborted when the supervisor leaves. */
  readonly signal: AbortSignal;
  /** Asks Docker until it answers. */
  readonly insist: <T>(what: string, work: (engine: Engine) => Promise<T>) => Promise<T>;
  /** Whether we asked for the end ourselves. */
  readonly isStopped: () => boolean;
}

export class ContainerEnd {
  readonly #parts: ContainerEndParts;
  #watching: NodeJS.Timeout | undefined;
  #daemonWasAway = false;

  constructor(parts: ContainerEndParts) {
    this.#parts = parts;
  }

  /** Where the kernel counts, while the container's init lives: noted, since its pid tells nothing afterwards. */
  noteCgroup(pid: number): void {
    const file = oomKillsFile(pid);
    if (file !== undefined) writeFactSync(this.#parts.paths.oomKills, `${file}\n`);
  }

  /** The daemon does not answer: from now on the kernel is watched, until `daemonBack`. Repeatable. */
  daemonAway(): void {
    this.#daemonWasAway = true;
    this.watchMemory();
  }

  /** The same at the start of a supervisor, before it knows. */
  watchMemory(): void {
    if (this.#watching !== undefined) return;
    this.#look();
    this.#watching = setInterval(() => this.#look(), OOM_WATCH_MS);
  }

  daemonBack(): void {
    clearInterval(this.#watching);
    this.#watching = undefined;
  }

  #look(): void {
    const { paths, log } = this.#parts;
    try {
      const file = readFact(paths.oomKills)?.trim();
      if (file === undefined || hasFact(paths.oomKilled) || !readOomKills(file)) return;
      // Durably: who looks again may find the cgroup gone.
      writeFactSync(paths.oomKilled, '');
    } catch (error) {
      log.debug('kills for memory could not be counted', { error: oneLine(error) });
    }
  }

  /** The outcome of a container that does not run any more, `absent`: that Docker does not have any more. */
  async outcome(
    id: DockerId,
    found: ContainerFacts | 'absent',
    limitBytes: number | undefined,
  ): Promise<Outcome> {
    const { paths } = this.#parts;
    this.#look();
    const history = this.#parts.isStopped() ? undefined : await this.#history(id, found);
    const facts = found === 'absent' ? found : await this.#settled(found, history);
    const stopSignal = signalNumber(facts === 'absent' ? '' : facts.stopSignal);
    const atStake = !this.#parts.isStopped() && mayHaveEndedWithDaemon(history, stopSignal);
    const init = parseNoted(readJsonFact(paths.init));
    return judge({
      inspected: facts === 'absent' ? undefined : { ...facts, removing: facts.state === 'removing' },
      history,
      daemonEndsContainers: atStake ? await this.#daemonEndsContainers() : undefined,
      daemonWasAway: this.#daemonWasAway,
      hostRestarted: init !== undefined && init.bootId !== bootId(),
      oomSeen: hasFact(paths.oomKilled),
      memoryLimitBytes: facts === 'absent' ? limitBytes : facts.hostConfig.Memory,
      stopSignal,
    });
  }

  async #history(id: DockerId, found: ContainerFacts | 'absent'): Promise<ContainerHistory | undefined> {
    const { signal } = this.#parts;
    const stopSignal = signalNumber(found === 'absent' ? '' : found.stopSignal);
    const ask = (whole: boolean): Promise<ContainerHistory | undefined> =>
      this.#try('asking for events', (engine) => containerHistory(engine, id, whole, signal));
    const deadline = Date.now() + EVENTS_SETTLE_MS;
    for (;;) {
      const history = await ask(false);
      const knowsStart = history?.events.some(({ action }) => action === 'start') === true;
      const isAwaited = knowsStart && dieCode(history) === undefined;
      if (!isAwaited || Date.now() > deadline)
        return mayHaveEndedWithDaemon(history, stopSignal) ? await ask(true) : history;
      await rest(LOOK_MS, signal);
    }
  }

  async #daemonEndsContainers(): Promise<boolean | undefined> {
    const info = await this.#try('asking about live restore', (engine) => engine.info(this.#parts.signal));
    return info === undefined ? undefined : info.LiveRestoreEnabled !== true;
  }

  /** What a daemon refuses to say is not known; one that is away is asked again. */
  async #try<T>(what: string, work: (engine: Engine) => Promise<T>): Promise<T | undefined> {
    return await this.#parts.insist(what, async (engine) => {
      try {
        return await work(engine);
      } catch (error) {
        if (this.#parts.signal.aborted || mayPass(error)) throw error;
        this.#parts.log.warning(`${what} failed`, { error: oneLine(error) });
        return undefined;
      }
    });
  }

  /**
   * Docker learns of an exit and of the kernel's kill for memory from two events, in either order. A SIGKILL that nobody
   * asked for is looked at again for a moment: whether memory was the reason decides what the framework is told.
   */
  async #settled(ended: ContainerFacts, history: ContainerHistory | undefined): Promise<ContainerFacts> {
    const { signal, insist, isStopped, paths } = this.#parts;
    const asked = (): boolean =>
      isStopped() ||
      hasFact(paths.oomKilled) ||
      history?.events.some(({ action }) => action === 'kill') === true;
    const deadline = Date.now() + OOM_SETTLE_MS;
    let facts = ended;
    while (facts.exitCode === EXIT_SIGKILL && !facts.oomKilled && !asked() && Date.now() < deadline) {
      await rest(LOOK_MS, signal);
      const again = await insist('inspecting', (engine) => engine.inspect(ended.id, signal));
      if (again === 'absent') break;
      facts = again;
    }
    return facts;
  }
}

// Finds out how a container ended, by asking Docker, its events, and the kernel; container/end-evidence.ts judges. While
// the daemon is away the kernel's count of kills for memory is watched: the daemon that comes back removes the cgroup and
// knows of none. The kernel's log tells of kills of which Docker heard too late. Only for containers whose end we did not
// want ourselves.

import {
  type ContainerHistory,
  dieCode,
  type EndEvidence,
  endedBeforeDaemon,
  hasSeenStart,
  type InspectedEnd,
  isUntold,
  judge,
  mayHaveEndedWithDaemon,
} from '../container/end-evidence.ts';
import type { DockerId } from '../container/identity.ts';
import { EXIT_SIGKILL, type Outcome, signalNumber } from '../container/termination.ts';
import type { ContainerFacts, Engine } from '../docker/engine.ts';
import { mayPass } from '../docker/faults.ts';
import { containerHistory, daemonSince } from '../docker/history.ts';
import { oneLine } from '../fault.ts';
import { type ContainerInit, oomKillsFile, readOomKills } from '../host/cgroups.ts';
import { readFact, readJsonFact, writeFactSync } from '../host/facts.ts';
import type { Log } from '../host/log.ts';
import { isShortage, rest } from '../host/pauses.ts';
import { bootId, parseNoted } from '../host/processes.ts';
import type { ContainerPaths } from '../state/layout.ts';
import { hasFact } from '../state/store.ts';
import type { MemoryWatch } from './memory-watch.ts';

/** How long the word of a kill for memory may come behind an end by SIGKILL. */
const OOM_SETTLE_MS = 1_000;
/** Docker wakes those who wait for an end before it says so among its events. */
const EVENTS_SETTLE_MS = 1_000;
const LOOK_MS = 50;

export interface ContainerEndParts {
  readonly paths: ContainerPaths;
  /** It was launched since the host was started. */
  readonly isOfThisBoot: boolean;
  readonly watch: MemoryWatch;
  readonly log: Log;
  /** Aborted when the supervisor leaves. */
  readonly signal: AbortSignal;
  /** Asks Docker until it answers. */
  readonly insist: <T>(what: string, work: (engine: Engine) => Promise<T>) => Promise<T>;
  /** Whether we asked for the end ourselves. */
  readonly isStopped: () => boolean;
  /** Whether the kernel's log tells of a kill for memory in the container. */
  readonly isKillForMemoryLogged: (id: DockerId) => Promise<boolean>;
}

type Asked = Pick<EndEvidence, 'history' | 'daemonSinceMs' | 'daemonEndsContainers'>;
const NOT_ASKED: Asked = { history: undefined, daemonSinceMs: undefined, daemonEndsContainers: undefined };

export class ContainerEnd {
  readonly #parts: ContainerEndParts;
  /** Read when first needed. */
  #countsIn: string | undefined;
  #daemonAwaySinceMs: number | undefined;
  #sawKillForMemory = false;
  #toldStatus: number | undefined;

  constructor(parts: ContainerEndParts) {
    this.#parts = parts;
  }

  /** Where the kernel counts, while the container's init lives: noted, since its pid tells nothing afterwards. */
  noteCgroup(init: ContainerInit): void {
    const file = oomKillsFile(init);
    if (file === undefined) return;
    this.#countsIn = file;
    writeFactSync(this.#parts.paths.oomKills, `${file}\n`);
  }

  /** The daemon has gone: from now on the kernel is watched, until `daemonBack`. Repeatable. */
  daemonAway(): void {
    this.#daemonAwaySinceMs ??= Date.now();
    this.watchMemory();
  }

  /** The same at the start of a supervisor, before it knows. */
  watchMemory(): void {
    this.#parts.watch.add(this.#look);
  }

  daemonBack(): void {
    this.#parts.watch.remove(this.#look);
  }

  /** The daemon says that it runs: what was before has not ended it, and the daemon counts again. */
  seenRunning(): void {
    this.#daemonAwaySinceMs = undefined;
    this.#toldStatus = undefined;
    this.daemonBack();
  }

  /**
   * The daemon under which it ran has said with which status it ended: it has seen that, and passed on its last output. One
   * that was away meanwhile tells what it found.
   */
  told(exitCode: number): void {
    if (this.#daemonAwaySinceMs === undefined) this.#toldStatus = exitCode;
  }

  readonly #look = (): boolean => {
    const { paths, log } = this.#parts;
    try {
      this.#countsIn ??= readFact(paths.oomKills)?.trim();
      const count = this.#countsIn === undefined ? undefined : readOomKills(this.#countsIn);
      if (count === 0) return true;
      // Durably: who looks again may find the cgroup gone.
      if (count !== undefined) this.#noteKillForMemory();
      return false;
    } catch (error) {
      log.debug('kills for memory could not be counted', { error: oneLine(error) });
      return true;
    }
  };

  /** What was seen holds, whether or not the disk takes it. Throws the disk's errors. */
  #noteKillForMemory(): void {
    this.#sawKillForMemory = true;
    const { oomKilled } = this.#parts.paths;
    if (!hasFact(oomKilled)) writeFactSync(oomKilled, '');
  }

  #isOomSeen(): boolean {
    return this.#sawKillForMemory || hasFact(this.#parts.paths.oomKilled);
  }

  /**
   * Docker reads the kernel's count when it hears of a kill, and on cgroup version 2 the cgroup of a container of one
   * process may have gone by then: only the kernel's log still tells. Written as it kills, it is there before the exit is.
   */
  async #lookIntoLog(id: DockerId, found: ContainerFacts | 'absent'): Promise<void> {
    const { log, isStopped, isKillForMemoryLogged } = this.#parts;
    const endedBadly = found === 'absent' || (found.exitCode !== 0 && !found.oomKilled);
    if (!endedBadly || isStopped() || this.#isOomSeen()) return;
    try {
      if (await isKillForMemoryLogged(id)) this.#noteKillForMemory();
    } catch (error) {
      if (isShortage(error)) throw error;
      log.debug('the kernel’s log could not be read', { error: oneLine(error) });
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
    // Of an end that we wanted only this is to be known: whether its last output can have been lost.
    const isSeen = this.#toldStatus !== undefined || this.#daemonAwaySinceMs === undefined;
    const asked = this.#parts.isStopped() && isSeen ? NOT_ASKED : await this.#ask(id, found);
    await this.#lookIntoLog(id, found);
    const facts = found === 'absent' ? found : await this.#settled(found, asked.history);
    const init = parseNoted(readJsonFact(paths.init));
    return judge({
      ...asked,
      inspected: inspectedEnd(facts),
      toldStatus: this.#toldStatus,
      daemonAwaySinceMs: this.#daemonAwaySinceMs,
      hostRestarted: !this.#parts.isOfThisBoot || (init !== undefined && init.bootId !== bootId()),
      oomSeen: this.#isOomSeen(),
      memoryLimitBytes: facts === 'absent' ? limitBytes : facts.hostConfig.Memory,
      stopSignal: stopSignalOf(facts),
    });
  }

  /** What the daemon remembers, and of the daemon itself as far as that can matter. */
  async #ask(id: DockerId, found: ContainerFacts | 'absent'): Promise<Asked> {
    const { signal } = this.#parts;
    const remembered = (whole: boolean): Promise<ContainerHistory | undefined> =>
      this.#try('asking for events', (engine) => containerHistory(engine, id, whole, signal));
    const inspected = inspectedEnd(found);
    let history = await remembered(false);
    const daemonSinceMs = hasSeenStart(history)
      ? undefined
      : await this.#try('asking since when Docker runs', (engine) => daemonSince(engine, signal));
    const isAwaited = (): boolean =>
      history !== undefined &&
      dieCode(history) === undefined &&
      endedBeforeDaemon({ inspected, daemonSinceMs }) !== true;
    for (const deadline = Date.now() + EVENTS_SETTLE_MS; isAwaited() && Date.now() < deadline; ) {
      await rest(LOOK_MS, signal);
      history = await remembered(false);
    }
    const stopSignal = stopSignalOf(found);
    const known = { inspected, history, daemonSinceMs, stopSignal };
    if (!mayHaveEndedWithDaemon(known) && !isUntold(known))
      return { history, daemonSinceMs, daemonEndsContainers: undefined };
    history = await remembered(true);
    return { history, daemonSinceMs, daemonEndsContainers: await this.#daemonEndsContainers() };
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
        if (this.#parts.signal.aborted || mayPass(error) || isShortage(error)) throw error;
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
    const { signal, insist, isStopped } = this.#parts;
    const asked = (): boolean =>
      isStopped() || this.#isOomSeen() || history?.events.some(({ action }) => action === 'kill') === true;
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

function inspectedEnd(facts: ContainerFacts | 'absent'): InspectedEnd | undefined {
  if (facts === 'absent') return undefined;
  const { oomKilled, state, startedAt, finishedAt } = facts;
  const finishedAtMs = finishedAt === undefined ? undefined : Date.parse(finishedAt);
  // Dead: the removal has not come to its end.
  const isGoing = state === 'removing' || state === 'dead';
  const hasStarted = !isGoing || startedAt !== undefined;
  const exitCode = hasStarted ? facts.exitCode : undefined;
  const removing = state === 'removing' || !hasStarted;
  return { exitCode, oomKilled, removing, finishedAtMs };
}

function stopSignalOf(facts: ContainerFacts | 'absent'): number {
  return signalNumber(facts === 'absent' ? '' : facts.stopSignal);
}

// Starting a container once, whatever becomes of the request: one that was not answered may have been carried out, and a
// daemon that is killed in that moment may have forgotten what it has started.

import type { DockerId } from '../container/identity.ts';
import type { Outcome } from '../container/termination.ts';
import type { ContainerFacts, Engine } from '../docker/engine.ts';
import { isUnreached, mayPass } from '../docker/faults.ts';
import { Fault, isFault, oneLine } from '../fault.ts';
import { endInCgroupNamed } from '../host/cgroup-processes.ts';
import type { Log } from '../host/log.ts';
import { rest } from '../host/pauses.ts';
import type { ContainerDaemon, Onlooker } from './container-daemon.ts';

/** What Docker's status of a container says that it could not start. */
const START_FAILURES: Readonly<Record<number, string>> = {
  126: "The container's command cannot be executed",
  127: "The container's command, or a file that it needs, was not found",
};

const FORGOTTEN_START =
  'Docker was stopped while it started the container and has forgotten it; what ran of it was ended';
const FORGOTTEN_SETTLE_MS = 1_000;

export interface ContainerStartParts {
  readonly daemon: Pick<ContainerDaemon, 'ask' | 'insist'>;
  /** Told of a daemon that goes and comes back. */
  readonly end: Onlooker;
  readonly log: Log;
}

export class ContainerStart {
  readonly #parts: ContainerStartParts;
  /** Docker may have started it without our knowing. */
  #mayHaveBegun = false;

  constructor(parts: ContainerStartParts) {
    this.#parts = parts;
  }

  /** An earlier supervisor may have asked for the start. */
  mayHaveBegun(): void {
    this.#mayHaveBegun = true;
  }

  /**
   * Until it has been started. The outcome of one that was and of which Docker knows nothing any more. Throws Fault, why it
   * was not: as Engine.start, or `timeout` and the like of a daemon that stayed away.
   */
  async begin(id: DockerId, signal: AbortSignal): Promise<Outcome | undefined> {
    const { daemon, end } = this.#parts;
    const inspect = (engine: Engine) => engine.inspect(id, signal);
    const ask = async (engine: Engine): Promise<void> => {
      try {
        // It may run already, and its end be wanted: asking for the start again might take as long again.
        const facts = this.#mayHaveBegun ? await inspect(engine) : undefined;
        if (facts !== undefined && hasBegun(facts)) return;
        await engine.start(id, signal);
      } catch (error) {
        if (mayPass(error) && !isUnreached(error)) this.#mayHaveBegun = true;
        throw error;
      }
    };
    try {
      await daemon.ask('starting the container', ask, signal);
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      if (!isFault(error)) throw error;
      if (!this.#mayHaveBegun) throw await this.#meaning(error, id, signal);
      // A request that was not answered may have been carried out: that it failed is not said before Docker says so.
      if (hasBegun(await daemon.insist('inspecting the container', inspect, end, signal))) return undefined;
      if (await this.endForgotten(id, signal)) return { kind: 'lost', why: FORGOTTEN_START };
      throw await this.#meaning(error, id, signal);
    }
  }

  /** Docker keeps a shell's status for a start that failed: what it means is said before Docker's own words. */
  async #meaning(error: Fault, id: DockerId, signal: AbortSignal): Promise<Fault> {
    if (mayPass(error)) return error;
    const facts = await this.#parts.daemon.ask('inspecting', (engine) => engine.inspect(id, signal), signal);
    const meaning = facts === 'absent' ? undefined : START_FAILURES[facts.exitCode];
    return meaning === undefined ? error : new Fault(error.kind, `${meaning}: ${oneLine(error)}`, error);
  }

  /**
   * A daemon that is killed before it has noted a start calls the container created for ever, while its processes live on:
   * nobody else would end them, and a removal leaves them alone. Whether there were any.
   */
  async endForgotten(id: DockerId, signal: AbortSignal): Promise<boolean> {
    const killed = await endInCgroupNamed(id, signal);
    if (killed === 0) return false;
    this.#parts.log.warning('ended what Docker had started and forgotten', { dockerId: id, killed });
    // Docker hears of it and lets go of what it kept for them; not if the container is removed first.
    await rest(FORGOTTEN_SETTLE_MS, signal);
    return true;
  }
}

/** Whether it was started, as far as Docker knows; what is gone has had its time. */
function hasBegun(facts: ContainerFacts | 'absent'): boolean {
  return facts === 'absent' || facts.state !== 'created';
}

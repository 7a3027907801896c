// One container's daemon: which it is, how often it is asked, and how the container is found there. A container stays with
// the daemon that it was prepared for. "Not there" and "could not be looked up" are never mixed up.

import { containerName } from '../container/identity.ts';
import { LABEL_CONTAINER, LABEL_ROOT } from '../container/plan.ts';
import type { TaskRequest } from '../container/task.ts';
import { formatEndpoint } from '../docker/connection.ts';
import type { ContainerFacts, Engine } from '../docker/engine.ts';
import { isDaemonAway, mayPass } from '../docker/faults.ts';
import { readFact, writeFact } from '../host/facts.ts';
import type { Log } from '../host/log.ts';
import { type PersistOptions, persist } from '../host/pauses.ts';
import type { ContainerPaths } from '../state/layout.ts';
import { readDockerId } from '../state/store.ts';
import type { Daemon, DockerHost } from './docker-host.ts';

/** A daemon that is away while a task is being started is waited for this long; then the task fails. */
export const DAEMON_AWAY_BOUND_MS = 60_000;

export interface ContainerDaemonParts {
  readonly root: string;
  readonly paths: ContainerPaths;
  readonly request: { readonly task: Pick<TaskRequest, 'containerId'> };
  readonly host: Pick<DockerHost, 'at' | 'choose'>;
  readonly log: Log;
}

/** Told of a daemon that goes and comes back. */
export interface Onlooker {
  daemonAway(): void;
  daemonBack(): void;
}

export class ContainerDaemon {
  readonly name: string;
  readonly #parts: ContainerDaemonParts;

  constructor(parts: ContainerDaemonParts) {
    this.#parts = parts;
    this.name = containerName(parts.request.task.containerId);
  }

  #noted(): Daemon | undefined {
    return this.#parts.host.at(readFact(this.#parts.paths.dockerHost)?.trim() ?? '');
  }

  /** The daemon that the container was prepared for; before, whichever answers. */
  async engine(signal: AbortSignal): Promise<Engine> {
    return (this.#noted() ?? (await this.#parts.host.choose(signal))).engine;
  }

  /**
   * Chooses the daemon, and notes it first: on another one the container would be looked for in vain. `mayExist`: one
   * that was asked to create it may do so yet.
   */
  async choose(mayExist: boolean, signal: AbortSignal): Promise<Daemon> {
    const { host, log, paths } = this.#parts;
    const options = { what: 'choosing the daemon', signal, mayPass, boundMs: DAEMON_AWAY_BOUND_MS, log };
    const noted = mayExist ? this.#noted() : undefined;
    const daemon = noted ?? (await persist(() => host.choose(signal), options));
    await writeFact(paths.dockerHost, `${formatEndpoint(daemon.engine.endpoint)}\n`);
    return daemon;
  }

  /**
   * Asks until there is an answer, whatever the error: of a container that may run nothing is concluded from not
   * having been able to look it up. A daemon that is only slow is not away.
   */
  async insist<T>(
    what: string,
    work: (engine: Engine) => Promise<T>,
    onlooker: Onlooker,
    signal: AbortSignal,
  ): Promise<T> {
    const passes = (error: unknown): boolean => {
      if (isDaemonAway(error)) onlooker.daemonAway();
      return true;
    };
    try {
      return await this.persist(work, { what, signal, mayPass: passes });
    } finally {
      onlooker.daemonBack();
    }
  }

  /** Asks Docker, again where it is away, for as long as a task that is being started waits for it. */
  async ask<T>(what: string, work: (engine: Engine) => Promise<T>, signal: AbortSignal): Promise<T> {
    return await this.persist(work, { what, signal, mayPass, boundMs: DAEMON_AWAY_BOUND_MS });
  }

  async persist<T>(work: (engine: Engine) => Promise<T>, options: Omit<PersistOptions, 'log'>): Promise<T> {
    const again = async (): Promise<T> => await work(await this.engine(options.signal));
    return await persist(again, { ...options, log: this.#parts.log });
  }

  /** Whether that container was created for this one, by this or an earlier supervisor of this root. */
  isOurs(facts: ContainerFacts): boolean {
    const { request, root } = this.#parts;
    return facts.labels[LABEL_CONTAINER] === request.task.containerId && facts.labels[LABEL_ROOT] === root;
  }

  /** Our container as Docker has it now: by its noted id, else by name and labels. */
  async find(engine: Engine, signal: AbortSignal): Promise<ContainerFacts | 'absent'> {
    const id = readDockerId(this.#parts.paths);
    if (id !== undefined) return await engine.inspect(id, signal);
    const facts = await engine.inspect(this.name, signal);
    return facts === 'absent' || this.isOurs(facts) ? facts : 'absent';
  }
}

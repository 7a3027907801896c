// Brings the limits that `update` left in the state directory to the container. One change at a time, each with what the
// file says then: two updates may overlap. A task is never ended for its limits.

import type { DockerId } from '../container/identity.ts';
import { updateLimits } from '../container/resources.ts';
import type { Engine } from '../docker/engine.ts';
import { mayPass } from '../docker/faults.ts';
import { oneLine } from '../fault.ts';
import type { Log } from '../host/log.ts';
import type { ContainerPaths } from '../state/layout.ts';
import { readLimits } from '../state/limits.ts';
import type { RequestRecord } from '../state/records.ts';
import type { ContainerDaemon } from './container-daemon.ts';

export interface ContainerLimitsParts {
  readonly paths: ContainerPaths;
  readonly request: RequestRecord;
  readonly daemon: ContainerDaemon;
  readonly log: Log;
  /** Aborted when the container has ended, or the supervisor leaves. */
  readonly signal: AbortSignal;
}

export class ContainerLimits {
  readonly #parts: ContainerLimitsParts;
  /** The change under way. */
  #current: Promise<void> = Promise.resolve();

  constructor(parts: ContainerLimitsParts) {
    this.#parts = parts;
  }

  /** As far as they differ from those in force. A daemon that is away is waited for as long as the container lives. */
  async apply(id: DockerId): Promise<void> {
    this.#current = this.#current.then(() => this.#once(id));
    await this.#current;
  }

  async #once(id: DockerId): Promise<void> {
    const { paths, request, daemon, log, signal } = this.#parts;
    if (signal.aborted) return;
    const apply = async (engine: Engine): Promise<void> => {
      const wanted = readLimits(paths);
      const facts = wanted === undefined ? 'absent' : await engine.inspect(id, signal);
      if (wanted === undefined || facts === 'absent') return;
      const body = updateLimits(facts.hostConfig, request.task, wanted, request.config.limits);
      if (body === undefined) return;
      await engine.updateLimits(id, body, signal);
      log.info('limits changed', { ...body });
    };
    try {
      await daemon.persist(apply, { what: 'updating limits', signal, mayPass });
    } catch (error) {
      // The container may have ended meanwhile.
      if (!signal.aborted) log.warning('limits not changed', { error: oneLine(error) });
    }
  }
}

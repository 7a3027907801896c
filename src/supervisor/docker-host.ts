// One Docker daemon as the containers of a supervisor share it: its connection, the pulls under way. Made for each
// distinct [docker] configuration, nearly always one.

import type { Config } from '../config/schema.ts';
import { type Connection, connectionOf, formatEndpoint } from '../docker/connection.ts';
import { Engine } from '../docker/engine.ts';
import { pullImage } from '../docker/pull.ts';
import { PullCoordinator } from '../docker/pull-coordinator.ts';
import { loggedPull } from '../docker/pull-log.ts';
import type { Log } from '../host/log.ts';

export class DockerHost {
  readonly connection: Connection;
  readonly pulls: PullCoordinator;
  readonly #engines = new Map<string, Engine>();

  /** Throws Fault `config` for hosts that cannot be used. */
  constructor(
    section: Config['docker'],
    environment: Readonly<Record<string, string>>,
    dockercfg: string | undefined,
    log: Log,
  ) {
    this.connection = connectionOf(section, environment, dockercfg);
    this.pulls = new PullCoordinator(
      loggedPull(
        async (wanted, onProgress, signal) =>
          pullImage(await this.engine(signal), this.connection, wanted, onProgress, signal),
        log,
      ),
    );
  }

  /**
   * The daemon at `endpoint` (as formatEndpoint writes it), whether it answers or not; without one the first of the hosts
   * that answers now. Faults of Engine.connect.
   */
  async engine(signal: AbortSignal, endpoint?: string): Promise<Engine> {
    const named = this.connection.endpoints.find((one) => formatEndpoint(one) === endpoint);
    const chosen = named === undefined ? await Engine.connect(this.connection, signal) : new Engine(named);
    const key = formatEndpoint(chosen.endpoint);
    const engine = this.#engines.get(key) ?? chosen;
    this.#engines.set(key, engine);
    return engine;
  }
}

/** The hosts by what was configured. */
export class DockerHosts {
  readonly #hosts = new Map<string, DockerHost>();
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  for(
    { docker, index }: Pick<Config, 'docker' | 'index'>,
    environment: Readonly<Record<string, string>>,
  ): DockerHost {
    const relevant = Object.entries(environment).filter(([name]) => name.startsWith('DOCKER_'));
    const key = JSON.stringify([docker, index.dockercfg, relevant]);
    const host =
      this.#hosts.get(key) ??
      new DockerHost(docker, Object.fromEntries(relevant), index.dockercfg, this.#log);
    this.#hosts.set(key, host);
    return host;
  }
}

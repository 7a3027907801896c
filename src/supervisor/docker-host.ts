// The Docker daemons as the containers of a supervisor share them: each with its engine and the pulls under way. A
// container stays with the daemon that it was prepared for: an image pulled on one is no use on another.

import type { Config } from '../config/schema.ts';
import { type Connection, connectionOf, formatEndpoint } from '../docker/connection.ts';
import { Engine } from '../docker/engine.ts';
import { pullImage } from '../docker/pull.ts';
import { PullCoordinator } from '../docker/pull-coordinator.ts';
import { loggedPull } from '../docker/pull-log.ts';
import type { Log } from '../host/log.ts';

/** One daemon. */
export interface Daemon {
  readonly engine: Engine;
  readonly pulls: PullCoordinator;
}

/** Told of each daemon when it is first needed, whether it answers or not. */
export type OnDaemon = (engine: Engine) => void;

/** The hosts of one [docker] configuration. */
export class DockerHost {
  readonly connection: Connection;
  readonly #daemons = new Map<string, Daemon>();
  readonly #log: Log;
  readonly #onDaemon: OnDaemon;

  /** Throws Fault `config` for hosts that cannot be used. */
  constructor(
    section: Config['docker'],
    environment: Readonly<Record<string, string>>,
    dockercfg: string | undefined,
    log: Log,
    onDaemon: OnDaemon = () => {},
  ) {
    this.connection = connectionOf(section, environment, dockercfg);
    this.#log = log;
    this.#onDaemon = onDaemon;
  }

  /** The only host, or the first of several that answers now. Faults of Engine.connect. */
  async choose(signal: AbortSignal): Promise<Daemon> {
    return this.#shared(await Engine.connect(this.connection, signal));
  }

  /**
   * The daemon at `endpoint` (as formatEndpoint writes it), whether it answers or not; undefined if the configuration
   * names no such one.
   */
  at(endpoint: string): Daemon | undefined {
    const found = this.connection.endpoints.find((one) => formatEndpoint(one) === endpoint);
    return found === undefined ? undefined : this.#shared(new Engine(found));
  }

  #shared(chosen: Engine): Daemon {
    const key = formatEndpoint(chosen.endpoint);
    const daemon = this.#daemons.get(key) ?? this.#daemon(chosen);
    this.#daemons.set(key, daemon);
    return daemon;
  }

  #daemon(engine: Engine): Daemon {
    this.#onDaemon(engine);
    const pulls = new PullCoordinator(
      loggedPull(
        (wanted, onProgress, signal) => pullImage(engine, this.connection, wanted, onProgress, signal),
        this.#log,
      ),
    );
    return { engine, pulls };
  }
}

/** The hosts by what was configured, nearly always one. */
export class DockerHosts {
  readonly #hosts = new Map<string, DockerHost>();
  readonly #log: Log;
  readonly #onDaemon: OnDaemon | undefined;

  constructor(log: Log, onDaemon?: OnDaemon) {
    this.#log = log;
    this.#onDaemon = onDaemon;
  }

  for(
    { docker, index }: Pick<Config, 'docker' | 'index'>,
    environment: Readonly<Record<string, string>>,
  ): DockerHost {
    const relevant = Object.entries(environment).filter(([name]) => name.startsWith('DOCKER_'));
    const key = JSON.stringify([docker, index.dockercfg, relevant]);
    const host =
      this.#hosts.get(key) ??
      new DockerHost(docker, Object.fromEntries(relevant), index.dockercfg, this.#log, this.#onDaemon);
    this.#hosts.set(key, host);
    return host;
  }
}

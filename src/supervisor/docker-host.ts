// One Docker daemon as the containers of a supervisor share it: its connection, the pulls under way. Made for each
// distinct [docker] configuration, nearly always one.

import type { Config } from '../config/schema.ts';
import type { DockerId } from '../container/identity.ts';
import { type Connection, connectionOf } from '../docker/connection.ts';
import { Engine } from '../docker/engine.ts';
import { dockerOutput, type OutputSource } from '../docker/output.ts';
import { pullImage } from '../docker/pull.ts';
import { PullCoordinator } from '../docker/pull-coordinator.ts';

export class DockerHost {
  readonly connection: Connection;
  readonly pulls: PullCoordinator;
  #engine: Engine | undefined;

  /** Throws Fault `config` for hosts that cannot be used. */
  constructor(section: Config['docker'], environment: Readonly<Record<string, string>>, dockercfg?: string) {
    this.connection = connectionOf(section, environment, dockercfg);
    this.pulls = new PullCoordinator(async (image, platform, onProgress, signal) =>
      pullImage(await this.engine(signal), this.connection, image, platform, onProgress, signal),
    );
  }

  /** The daemon; with several hosts the first that answered stays until it no longer does. */
  async engine(signal: AbortSignal): Promise<Engine> {
    this.#engine ??= await Engine.connect(this.connection, signal);
    return this.#engine;
  }

  async outputSource(id: DockerId, tty: boolean, signal: AbortSignal): Promise<OutputSource> {
    return dockerOutput((await this.engine(signal)).endpoint, id, tty);
  }
}

/** The hosts by what was configured. */
export class DockerHosts {
  readonly #hosts = new Map<string, DockerHost>();

  for(
    { docker, index }: Pick<Config, 'docker' | 'index'>,
    environment: Readonly<Record<string, string>>,
  ): DockerHost {
    const relevant = Object.entries(environment).filter(([name]) => name.startsWith('DOCKER_'));
    const key = JSON.stringify([docker, index.dockercfg, relevant]);
    const host =
      this.#hosts.get(key) ?? new DockerHost(docker, Object.fromEntries(relevant), index.dockercfg);
    this.#hosts.set(key, host);
    return host;
  }
}

// `deimos config`: prints the effective configuration as a file that would give the same, with what is doubtful in it as
// comments. Reading it, and what happens when it cannot be read (exit 16), is the caller's.

import type { LoadedConfig } from '../config/load.ts';
import { renderConfig } from '../config/render.ts';
import { type Connection, connectionOf } from '../docker/connection.ts';
import { escapeControl, isFault, oneLine } from '../fault.ts';

export interface ConfigCommandDeps {
  readonly loaded: LoadedConfig;
  /** `--root`: whatever the file says. */
  readonly root?: string;
  /** DOCKER_HOST and the like. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** To standard output; settles when the text has been taken. */
  readonly write: (text: string) => Promise<void> | void;
}

/** Resolves to the exit status, always 0. Fault `config` for a Docker that cannot be meant; faults of `write` pass through. */
export async function configCommand({
  loaded,
  root,
  environment,
  write,
}: ConfigCommandDeps): Promise<number> {
  const { config, path, warnings } = loaded;
  const connection = connectionOf(config.docker, environment, config.index.dockercfg);
  const { ignored } = connection;
  const doubts = [
    ...warnings.map(({ file, line, text }) => `${file}${line > 0 ? `:${line}` : ''}: ${text}`),
    ...ignored.map((name) => `[docker] ${name} has no effect`),
    ...(await tlsDoubts(connection)),
  ];
  const inForce = root === undefined ? config : { ...config, state: { ...config.state, root } };
  await write(
    doubts.map((doubt) => `# warning: ${escapeControl(doubt)}\n`).join('') + renderConfig(inForce, path),
  );
  return 0;
}

/** Files can be there tomorrow: what is wrong with them fails a task, and is only doubtful here. */
async function tlsDoubts({ endpoints }: Connection): Promise<readonly string[]> {
  const tls = endpoints.flatMap((endpoint) => (endpoint.kind === 'tcp' ? (endpoint.tls ?? []) : []))[0];
  if (tls === undefined) return [];
  const { tlsOptions } = await import('../docker/tls.ts');
  try {
    await tlsOptions(tls);
    return [];
  } catch (error) {
    if (isFault(error, 'config')) return [oneLine(error)];
    throw error;
  }
}

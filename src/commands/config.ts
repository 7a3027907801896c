// `deimos config`: prints the effective configuration as a file that would give the same. Reading it, and what happens
// when it cannot be read (exit 16), is the caller's.

import type { LoadedConfig } from '../config/load.ts';
import { renderConfig } from '../config/render.ts';

export interface ConfigCommandDeps {
  readonly loaded: LoadedConfig;
  /** To standard output; settles when the text has been taken. */
  readonly write: (text: string) => Promise<void> | void;
}

/** Resolves to the exit status, always 0. Faults of `write` pass through. */
export async function configCommand({ loaded, write }: ConfigCommandDeps): Promise<number> {
  await write(renderConfig(loaded.config, loaded.path));
  return 0;
}

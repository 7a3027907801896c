// The configuration in force, for the verbs that fail without a sound one. The other verbs use root.ts,
// which gets along with less and starts faster.

import { findConfig, type SearchPlace } from './find.ts';
import { parseConfig } from './parse.ts';
import { type Config, type ConfigWarning, DEFAULT_CONFIG } from './schema.ts';

export interface LoadedConfig {
  readonly config: Config;
  /** The file that it came from; undefined where there was none and all is at its default. */
  readonly path?: string;
  readonly warnings: readonly ConfigWarning[];
}

/** Reads the first file found, and only that. Fault `config` if it cannot be read or says what cannot be understood. */
export function loadConfig(place: SearchPlace): LoadedConfig {
  const { file, warnings } = findConfig(place);
  if (!file) return { config: DEFAULT_CONFIG, warnings };
  const parsed = parseConfig(file.text, file.path);
  return { config: parsed.config, path: file.path, warnings: [...warnings, ...parsed.warnings] };
}

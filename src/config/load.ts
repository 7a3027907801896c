// The configuration in force, for the verbs that fail without a sound one. The other verbs use root.ts,
// which gets along with less and starts faster.

import { Fault } from '../fault.ts';
import { findConfig, isOfTheSystem, type SearchPlace } from './find.ts';
import { parseConfig } from './parse.ts';
import { type Config, type ConfigWarning, DEFAULT_CONFIG } from './schema.ts';

export interface LoadedConfig {
  readonly config: Config;
  /** The file that it came from; undefined where there was none and all is at its default. */
  readonly path?: string;
  readonly warnings: readonly ConfigWarning[];
}

/**
 * Reads the first file found, and only that. Fault `config` if it cannot be read or says what cannot be understood, and for one
 * of the system's that root cannot trust: what it restricts must not be allowed for a slip with its mode.
 */
export function loadConfig(place: SearchPlace): LoadedConfig {
  const { file, warnings } = findConfig(place);
  const suspect = warnings.find((warning) => isOfTheSystem(place, warning.file));
  if (suspect !== undefined) throw new Fault('config', `${suspect.file}: ${suspect.text}`);
  if (!file) return { config: DEFAULT_CONFIG, warnings };
  const parsed = parseConfig(file.text, file.path);
  return { config: parsed.config, path: file.path, warnings: [...warnings, ...parsed.warnings] };
}

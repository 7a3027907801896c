// The state root and the log levels, all that the slave's everyday verbs need of a configuration: found in the same
// files and by the same rules as in load.ts, without the `ini` package, and whatever else is wrong in the file. A typo
// in /etc must not fail tasks that run. Where the root cannot be told, no default stands in for it: a verb that looked
// into the wrong directory would tell the slave that nothing runs.

import { Fault, isFault, oneLine } from '../fault.ts';
import { findConfig, type SearchPlace } from './find.ts';
import { readIniText, type Sections } from './ini-text.ts';
import { findEntry, type Interpolate, interpolation } from './interpolate.ts';
import { type Config, type ConfigWarning, DEFAULT_CONFIG } from './schema.ts';
import { readLevel, readRoot } from './values.ts';

export interface LenientRoot {
  /** Undefined if it cannot be told: exit 16. */
  readonly root: string | undefined;
  readonly log: Config['log'];
  /** The file that it came from, if any was found. */
  readonly path?: string;
  /** What is wrong with the file as far as it was looked at, one line, for the log. */
  readonly problem?: string;
  /** Files that were passed over. */
  readonly warnings: readonly ConfigWarning[];
}

/** Never throws a Fault. Agrees with loadConfig() wherever that succeeds. */
export function lenientRoot(place: SearchPlace): LenientRoot {
  try {
    const { file, warnings } = findConfig(place);
    if (!file) return { root: DEFAULT_CONFIG.state.root, log: DEFAULT_CONFIG.log, warnings };
    return { ...rootOf(file.text, file.path), path: file.path, warnings };
  } catch (error) {
    if (!isFault(error)) throw error;
    return { root: undefined, log: {}, problem: oneLine(error), warnings: [] };
  }
}

/** The same of a text. Pure. */
export function rootOf(text: string, file: string): Pick<LenientRoot, 'root' | 'log' | 'problem'> {
  const { sections, malformed } = readIniText(text);
  const problems: string[] = [];
  const [bad] = malformed;
  if (bad) problems.push(`${file}:${bad.line}: cannot be read`);

  const interpolate = interpolation(sections);
  const read = <T>(section: string, key: string, readText: (text: string) => T): T | undefined => {
    try {
      return readKey({ sections, interpolate }, section, key, readText);
    } catch (error) {
      if (!isFault(error, 'config')) throw error;
      problems.push(`${file}:${oneLine(error)}`);
      return undefined;
    }
  };
  const console = read('log', 'console', readLevel);
  const syslog = read('log', 'syslog', readLevel);
  const before = problems.length;
  const root = read('state', 'root', readRoot);
  const readable = problems.length === before;
  return {
    // A line that cannot be read may have been the one that names the root.
    root: root ?? (readable && !bad ? DEFAULT_CONFIG.state.root : undefined),
    log: { ...(console && { console }), ...(syslog && { syslog }) },
    ...(problems.length > 0 && { problem: problems.join('; ') }),
  };
}

function readKey<T>(
  { sections, interpolate }: { readonly sections: Sections; readonly interpolate: Interpolate },
  section: string,
  key: string,
  read: (text: string) => T,
): T | undefined {
  const entry = findEntry(sections, section, key);
  if (!entry) return undefined;
  try {
    return read(interpolate(section, entry.value));
  } catch (error) {
    if (!isFault(error, 'config')) throw error;
    throw new Fault('config', `${entry.line}: ${section}.${key}: ${oneLine(error)}`, error);
  }
}

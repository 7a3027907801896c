// Whether a launch could use the configuration, and where it comes from.

import { searchPaths } from '../../config/find.ts';
import { loadConfig } from '../../config/load.ts';
import { isFault, oneLine } from '../../fault.ts';
import type { Call } from '../call.ts';
import { type Finding, failure, ok, warning } from './finding.ts';

export function configuration(call: Call): Finding {
  try {
    const { path, warnings } = loadConfig(call.place);
    const from = path ?? `no file (${searchPaths(call.place).join(', ')}), all at its default`;
    if (warnings.length === 0) return ok(from);
    const said = warnings.map(({ file, line, text }) => `${file}${line === 0 ? '' : `:${line}`}: ${text}`);
    return warning(oneLine(said.join('; ')), 'mend what is named; launches go on meanwhile');
  } catch (error) {
    if (!isFault(error, 'config')) throw error;
    return failure(oneLine(error), 'mend it: no task can be launched until then');
  }
}

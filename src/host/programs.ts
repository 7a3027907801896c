// Which programs Deimos calls and where it looks for them. PATH of the caller is never believed: it runs as root
// under an environment that it did not choose.

import { accessSync, constants } from 'node:fs';
import { Fault } from '../fault.ts';

export const FIXED_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The environment every child gets, to which a caller adds what that child needs by name. */
export const CHILD_ENVIRONMENT: Readonly<Record<string, string>> = { PATH: FIXED_PATH, LC_ALL: 'C.UTF-8' };

/**
 * The argv that runs setpriv(1) with these words, at the ordinary risk of being killed when memory is short: the
 * supervisor itself is spared by the kernel as far as it may be, and what it starts for a task must not be.
 */
export function underSetpriv(words: readonly string[]): [file: string, ...words: string[]] {
  return [findProgram('choom'), '-n', '0', '--', findProgram('setpriv'), ...words];
}

/** The first executable of that name in the fixed PATH. Throws Fault `host` that names the program. */
export function findProgram(name: string): string {
  for (const directory of FIXED_PATH.split(':')) {
    const path = `${directory}/${name}`;
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not here, or not executable by us: the next directory
    }
  }
  throw new Fault('host', `the program ${name} is not installed (looked for it in ${FIXED_PATH})`);
}

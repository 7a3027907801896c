// Programs of a test's own where Deimos looks for programs, which is a fixed PATH of the system's directories: laid over
// the first of them in a mount namespace that only the slave, its calls, and the supervisor which they start are in.
// Nobody else on the machine sees them.

import { mkdirSync, writeFileSync } from 'node:fs';
import type { Argv } from './command.ts';

/** The first directory of the fixed PATH, on most machines an empty one. */
const FIRST_IN_PATH = '/usr/local/sbin';

/** For StandInSlave's `wrap`: each `over` is seen at its path by what the slave starts. All must be there already. */
export function wrapWith(
  mounts: readonly { readonly from: string; readonly over: string }[],
): (argv: Argv) => Argv {
  const script =
    'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit; shift 2; done; shift; exec "$0" "$@"';
  return ([file, ...rest]) => [
    ...(['unshare', '--mount', '--propagation', 'private', '--', 'sh', '-c', script, file] as const),
    ...mounts.flatMap(({ from, over }) => [from, over]),
    '--',
    ...rest,
  ];
}

/** A directory with these shell scripts, for `wrapWith`. */
export function programsIn(
  directory: string,
  scripts: Readonly<Record<string, string>>,
): { readonly from: string; readonly over: string } {
  mkdirSync(directory, { mode: 0o755 });
  for (const [name, script] of Object.entries(scripts))
    writeFileSync(`${directory}/${name}`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return { from: directory, over: FIRST_IN_PATH };
}

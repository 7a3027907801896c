// A containerizer_path under which a verb's calls come under a limit first: a cgroup that they enter, or prlimit(1).

import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { containerizerScript } from './containerizer-script.ts';
import type { Host } from './host.ts';

export interface LimitedCalls {
  readonly containerizer: string;
  /** From now on; a line of shell that runs "$@" in the end, undefined: nothing. */
  set(verb: string, line: string | undefined): void;
}

export function limitedCalls(host: Host, name: string): LimitedCalls {
  const { directory, containerizer } = containerizerScript(host, name, (own) => [
    `set -- ${host.containerizer} "$@"`,
    `if [ -e ${own}/$verb ]; then . ${own}/$verb; fi`,
    'exec "$@"',
  ]);
  return {
    containerizer,
    set: (verb, line) => {
      const file = `${directory}/${verb}`;
      if (line !== undefined) writeFileSync(file, `${line}\n`);
      else if (existsSync(file)) rmSync(file);
    },
  };
}

/** Lines for `set`. */
export const ENTER = (procs: string): string => `echo 0 >${procs}`;
export const WITH_DESCRIPTORS = (most: number): string => `exec prlimit --nofile=${most}:${most} "$@"`;

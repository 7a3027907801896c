// A containerizer_path under which a verb's calls come under a limit first: a cgroup that they enter, or prlimit(1).

import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import type { Host } from './host.ts';

export interface LimitedCalls {
  readonly containerizer: string;
  /** From now on; a line of shell that runs "$@" in the end, undefined: nothing. */
  set(verb: string, line: string | undefined): void;
}

export function limitedCalls(host: Host, name: string): LimitedCalls {
  const directory = host.directory.at(name);
  mkdirSync(directory);
  const script = `${directory}/containerizer`;
  const lines = [
    '#!/bin/sh',
    'for verb; do :; done',
    `set -- ${host.containerizer} "$@"`,
    `if [ -e ${directory}/$verb ]; then . ${directory}/$verb; fi`,
    'exec "$@"',
  ];
  writeFileSync(script, `${lines.join('\n')}\n`, { mode: 0o755 });
  return {
    containerizer: script,
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

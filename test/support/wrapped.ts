// A containerizer_path that is a small shell script around the binary: it can hold a verb back, and keeps what `wait`
// answered where a test finds it also after the slave that asked has died.

import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { containerizerScript } from './containerizer-script.ts';
import type { Host } from './host.ts';

export interface Wrapped {
  /** For a slave's containerizer. */
  readonly containerizer: string;
  /** Calls of that verb wait before they start, until let go. */
  hold(verb: string): void;
  letGo(verb: string): void;
  /** What each `wait` that has answered wrote to its stdout, framed, in no order. */
  answers(): readonly Buffer[];
}

/** `name` tells several of one host apart. */
export function wrap(host: Host, name: string): Wrapped {
  const { directory, containerizer } = containerizerScript(host, name, (own) => [
    `while [ -e ${own}/hold-$verb ]; do sleep 0.05; done`,
    `if [ "$verb" != wait ]; then exec ${host.containerizer} "$@"; fi`,
    // Its reader may be dead: the file is there before the pipe is written to.
    `${host.containerizer} "$@" >${own}/$$.part`,
    'status=$?',
    `mv ${own}/$$.part ${own}/$$.answer`,
    `cat ${own}/$$.answer`,
    'exit $status',
  ]);
  return {
    containerizer,
    hold: (verb) => writeFileSync(`${directory}/hold-${verb}`, ''),
    letGo: (verb) => {
      if (existsSync(`${directory}/hold-${verb}`)) rmSync(`${directory}/hold-${verb}`);
    },
    answers: () =>
      readdirSync(directory)
        .filter((file) => file.endsWith('.answer'))
        .map((file) => readFileSync(`${directory}/${file}`)),
  };
}

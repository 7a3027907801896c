// A containerizer_path that is a small shell script around the binary: what a test does to a call before or after it runs.

import { mkdirSync, writeFileSync } from 'node:fs';
import type { Host } from './host.ts';

export interface ContainerizerScript {
  /** The script's own, for what it notes and is told. */
  readonly directory: string;
  /** For a slave's containerizer. */
  readonly containerizer: string;
}

/** `body` are lines of sh: `$verb` is the call's, `"$@"` all of its words. `name` tells several of one host apart. */
export function containerizerScript(
  host: Host,
  name: string,
  body: (directory: string) => readonly string[],
): ContainerizerScript {
  const directory = host.directory.at(name);
  mkdirSync(directory);
  const containerizer = `${directory}/containerizer`;
  const lines = ['#!/bin/sh', 'for verb; do :; done', ...body(directory)];
  writeFileSync(containerizer, `${lines.join('\n')}\n`, { mode: 0o755 });
  return { directory, containerizer };
}

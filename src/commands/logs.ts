// `deimos logs`: what a task writes, from the files of its sandbox, for as long as it goes on.

import { existsSync } from 'node:fs';
import { escapeControl, Fault } from '../fault.ts';
import { FollowedFile } from '../host/followed-file.ts';
import { rest } from '../host/pauses.ts';
import { resolveState } from '../state/resolve.ts';
import { rootsToShow } from '../state/root.ts';
import { hasFact, readRequest, readTermination } from '../state/store.ts';
import type { Call } from './call.ts';
import { copyOn } from './copy-on.ts';

export interface LogsOptions {
  /** false: what is there, and no more. */
  readonly follow: boolean;
  /** Of each file only so many last lines to begin with. */
  readonly tail?: number;
  readonly streams: readonly ('stdout' | 'stderr')[];
}

/** How often more is looked for. */
const LOOK_MS = 100;

/**
 * stdout to stdout and stderr to stderr, until the task has ended, or there is more that nobody reads. Exit status 0. Faults: `not-found` for an unknown id or a
 * sandbox that is gone, `conflict` for a short id of several, `protocol` for a state of another release, `host`.
 */
export async function logs(call: Call, word: string, options: LogsOptions): Promise<number> {
  const { id, paths } = resolveState(
    rootsToShow(call.configuredRoot(), call.options.root !== undefined),
    word,
  );
  const request = readRequest(paths);
  if (request === undefined)
    throw new Fault('not-found', `the state of container ${id} does not say where its sandbox is`);
  const { sandbox } = request.task;
  if (!existsSync(sandbox)) throw new Fault('not-found', `the sandbox ${sandbox} is gone`);
  using files = new DisposableStack();
  const streams = options.streams.map((name) => ({
    file: files.use(new FollowedFile(`${sandbox}/${name}`, options.tail)),
    to: process[name],
  }));
  for (;;) {
    // Looked first: what was written before the end is in the files by then.
    const hasEnded = readTermination(paths) !== undefined || !hasFact(paths.directory);
    for (const { file, to } of streams) await copyOn(file, to);
    if (hasEnded || !options.follow) break;
    await rest(LOOK_MS, new AbortController().signal);
  }
  const message = options.follow && call.interactive ? readTermination(paths)?.message : undefined;
  if (message !== undefined) process.stderr.write(`deimos: ${escapeControl(message)}\n`);
  return 0;
}

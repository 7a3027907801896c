// One question to the supervisor through a FIFO, answered in a file: a seventh of what a call costs is a connection to a socket.
// It promises nothing. Where a file cannot be written, nobody reads the FIFO, or no answer is there soon, the caller asks over
// the socket, where it learns what is wrong: every request may be made twice.

import { closeSync, constants, fstatSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { basename } from 'node:path';
import { errnoOf } from '../fault.ts';
import { elapsedMs, pause } from '../host/clock.ts';
import { removeIfPossible, temporaryName } from '../host/facts.ts';
import { rootPaths } from '../state/layout.ts';
import type { Build } from './builds.ts';
import { LINE_BYTES_MAX, parseReplyLine, type Reply, type Request, requestLine } from './protocol.ts';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDWR, O_WRONLY } = constants;

/** What is answered in milliseconds, unless the host is very busy. A destroy takes a container's time to end. */
const QUICK: readonly Request['op'][] = ['run', 'hold', 'update'];
/** Over the socket nothing is looked for again and again. */
const PATIENCE_MS = 2_000;
/** The answer is looked for with these pauses. */
const LOOK_MS = 1;
const LOOK_MS_MAX = 16;

/** The answer of the supervisor of `root`; undefined: ask over the socket. */
export async function askByFile(
  root: string,
  request: Request,
  by: Build,
  timeoutMs: number,
): Promise<Reply | undefined> {
  if (!QUICK.includes(request.op)) return undefined;
  const { requests, supervisor } = rootPaths(root);
  // What is left of one goes when the supervisor tidies up.
  const path = temporaryName(`${supervisor}/answer`);
  const fifo = openFifo(requests);
  if (fifo === undefined) return undefined;
  let answer: number | undefined;
  try {
    answer = openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    writeSync(fifo, requestLine(request, by, basename(path)));
    return await answered(answer, Math.min(timeoutMs, PATIENCE_MS), () => isServed(requests, fifo));
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  } finally {
    closeSync(fifo);
    if (answer !== undefined) closeSync(answer);
    if (answer !== undefined) removeIfPossible(path);
  }
}

/** undefined if it is not there soon, is no reply, or whoever was asked is gone. */
async function answered(file: number, timeoutMs: number, isAsked: () => boolean): Promise<Reply | undefined> {
  const bytes = Buffer.allocUnsafe(LINE_BYTES_MAX);
  const deadline = elapsedMs() + timeoutMs;
  for (let wait = LOOK_MS; ; wait = Math.min(wait * 2, LOOK_MS_MAX)) {
    await pause(wait);
    // What was asked may have answered before it went.
    const mayCome = isAsked() && elapsedMs() < deadline;
    const text = bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, 0));
    if (text.endsWith('\n')) return parseReplyLine(text);
    if (!mayCome) return undefined;
  }
}

/** To write to; undefined if nobody reads it, or it is none. */
function openFifo(path: string): number | undefined {
  // Looked first: an error of the runtime's, with its stack, costs more.
  if (!statSync(path, { throwIfNoEntry: false })?.isFIFO()) return undefined;
  try {
    return openSync(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

/** Whether what was opened there as `fifo` is still read: the next supervisor makes one of its own. */
function isServed(path: string, fifo: number): boolean {
  const now = openFifo(path);
  if (now === undefined) return false;
  try {
    return fstatSync(now).ino === fstatSync(fifo).ino;
  } finally {
    closeSync(now);
  }
}

// Where a path of the host leads: every link in it followed, as far as it exists. What does not exist yet may be made
// there by whoever is given the path.

import { lstat, realpath } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoOf, Fault, systemWords } from '../fault.ts';
import { unlessAborted } from './pauses.ts';

/** A file server that is away keeps whoever looks waiting. */
const LOOK_MS = 30_000;

/**
 * An absolute path without links, `.`, `..` and doubled slashes; `..` is taken off before links are followed, as Docker
 * does. Fault `refused` where a part of it is a link that leads nowhere, `host` where it cannot be looked up, `timeout`
 * after 30 s; the signal's reason when aborted.
 */
export async function whereItLeads(path: string, signal: AbortSignal): Promise<string> {
  const bound = AbortSignal.timeout(LOOK_MS);
  try {
    return await unlessAborted(follow(posix.resolve('/', path)), AbortSignal.any([signal, bound]));
  } catch (error) {
    signal.throwIfAborted();
    if (bound.aborted)
      throw new Fault('timeout', `${path} could not be looked up within ${LOOK_MS / 1000} s`, error);
    throw error;
  }
}

async function follow(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    const code = errnoOf(error);
    if (code === undefined) throw error;
    if (code !== 'ENOENT') throw new Fault('host', `cannot look up ${path}: ${systemWords(error)}`, error);
  }
  if (await isThere(path)) throw new Fault('refused', `${path} is a link that leads nowhere`);
  const parent = await follow(posix.dirname(path));
  return posix.join(parent, posix.basename(path));
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

// As whom programs work in a sandbox: as its owner, so that a link laid there by the task's user leads nowhere that this
// user could not go himself. Where that is root, without root's powers over other people's files and over devices.

import { lstatSync } from 'node:fs';
import { runChild } from './child.ts';
import { CHILD_ENVIRONMENT, findProgram } from './programs.ts';
import { USER_LOOKUP_MS } from './users.ts';

export interface Owner {
  /** Options of setpriv(1) for programs that work on what came from outside. */
  readonly confined: readonly string[];
  /** For reading the host's files: root may read everybody's. */
  readonly plain: readonly string[];
}

/** The owner of a directory. Where we are not root there is nobody else that we could be. */
export async function ownerOf(directory: string, noteIn: string, signal: AbortSignal): Promise<Owner> {
  if (process.geteuid?.() !== 0) return { confined: ['--no-new-privs'], plain: [] };
  const { uid, gid } = lstatSync(directory);
  if (uid === 0) {
    return { confined: ['--inh-caps=-all', '--bounding-set=-all', '--no-new-privs'], plain: [] };
  }
  const known = await runChild([findProgram('getent'), 'passwd', String(uid)], {
    cwd: '/',
    env: CHILD_ENVIRONMENT,
    noteIn,
    signal,
    boundMs: USER_LOOKUP_MS,
  });
  const groups = known.code === 0 ? '--init-groups' : '--clear-groups';
  const words = [`--reuid=${uid}`, `--regid=${gid}`, groups, '--no-new-privs'];
  return { confined: words, plain: words };
}

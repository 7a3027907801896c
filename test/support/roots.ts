// The note that launches leave of their state roots, below /run.

import { existsSync, readdirSync, rmSync } from 'node:fs';

const ROOTS_IN_USE = '/run/deimos.roots';

/** Forgets those roots that lie below a directory of ours. */
export function forgetRoots(directory: string): void {
  for (const name of existsSync(ROOTS_IN_USE) ? readdirSync(ROOTS_IN_USE) : []) {
    if (decodeURIComponent(name).startsWith(`${directory}/`)) rmSync(`${ROOTS_IN_USE}/${name}`);
  }
}

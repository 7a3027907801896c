// The note that launches leave of their state roots, below /run.

import { existsSync, readdirSync, rmSync } from 'node:fs';

const ROOTS_IN_USE = '/run/deimos.roots';

/** The notes of roots that lie below a directory, as names. */
export function notedRoots(directory: string): readonly string[] {
  const names = existsSync(ROOTS_IN_USE) ? readdirSync(ROOTS_IN_USE) : [];
  return names.filter((name) => decodeURIComponent(name).startsWith(`${directory}/`));
}

/** Forgets those roots that lie below a directory of ours. */
export function forgetRoots(directory: string): void {
  for (const name of notedRoots(directory)) rmSync(`${ROOTS_IN_USE}/${name}`);
}

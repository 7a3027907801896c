// What lies in some directories while a program runs, looked at over and over: whose each file is, who may read it, and
// whether what others may read has a secret in it.

import { lstatSync, readdirSync, readFileSync, type Stats } from 'node:fs';

/** A breath between two looks: the program needs the processor, too. */
const PAUSE_MS = 10;
const OTHERS = 0o077;
const OTHERS_READ = 0o044;
const OTHERS_PASS = 0o011;

export interface SeenFile {
  readonly path: string;
  readonly stat: Stats;
  /** Nobody but its owner may do anything with it, or look it up; what a link says is where it leads. */
  readonly isPrivate: boolean;
  /** By its own mode, whatever directory it lies in. */
  readonly isPrivateItself: boolean;
}

export interface WatchedFiles extends Disposable {
  readonly looks: number;
  /** What was wrong, a line each, without repetition. */
  readonly wrong: readonly string[];
}

/**
 * Until disposed of. `wrong` says what is wrong with a file, if anything; beside that no file that others may read may have
 * one of `secrets` in it.
 */
export function watchFiles(
  directories: () => readonly string[],
  secrets: readonly string[],
  wrong: (file: SeenFile) => string | undefined,
): WatchedFiles {
  const found = new Set<string>();
  let looks = 0;
  const look = (path: string, reachable: boolean): void => {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return;
    const isReadable = reachable && stat.isFile() && (stat.mode & OTHERS_READ) !== 0;
    const isPrivateItself = stat.isSymbolicLink() || (stat.mode & OTHERS) === 0;
    const said = wrong({ path, stat, isPrivateItself, isPrivate: !reachable || isPrivateItself });
    if (said !== undefined) found.add(`${path}: ${said}`);
    if (isReadable) {
      const content = unlessGone(() => readFileSync(path, 'latin1')) ?? '';
      for (const secret of secrets) if (content.includes(secret)) found.add(`${path} has ${secret}`);
    }
    if (!stat.isDirectory()) return;
    for (const name of unlessGone(() => readdirSync(path)) ?? [])
      look(`${path}/${name}`, reachable && (stat.mode & OTHERS_PASS) !== 0);
  };
  const timer = setInterval(() => {
    for (const directory of directories()) look(directory, true);
    looks++;
  }, PAUSE_MS);
  return {
    get looks() {
      return looks;
    },
    get wrong() {
      return [...found];
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

function unlessGone<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}

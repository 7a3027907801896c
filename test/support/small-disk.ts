// A file system of a few megabytes that a test fills to the last byte, or makes read-only, and gives back.

import { appendFileSync, mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { outcomeOf, output } from './command.ts';

const PAGE = Buffer.alloc(4096, 1);
/** Directories that a test has made below it are not touched: what fills it has a name of its own. */
const FILLING = '.filling';

export interface SmallDisk extends AsyncDisposable {
  readonly path: string;
  /** Until no further byte can be written; `names`: nor any file, directory or link be made. */
  fill(what?: 'bytes' | 'names too'): void;
  /** There is room again. */
  empty(): void;
  /** false: somebody has a file open for writing; then the kernel does not make it read-only. */
  setReadOnly(): Promise<boolean>;
  setWritable(): Promise<void>;
}

/** Mounts it at `path`, which is made. What is mounted before a dockerd starts can be bound into its containers. */
export async function mountSmallDisk(path: string, options = 'size=8m'): Promise<SmallDisk> {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  await output(['mount', '-t', 'tmpfs', '-o', `${options},mode=711,nr_inodes=4k`, 'none', path]);
  const filling = `${path}/${FILLING}`;
  const untilRefused = (work: () => void): void => {
    try {
      for (;;) work();
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
    }
  };
  return {
    path,
    fill: (what = 'bytes') => {
      mkdirSync(filling, { recursive: true });
      untilRefused(() => appendFileSync(`${filling}/bytes`, PAGE));
      if (what === 'bytes') return;
      const made = { names: 0 };
      untilRefused(() => writeFileSync(`${filling}/${made.names++}`, ''));
    },
    empty: () => rmSync(filling, { recursive: true, force: true }),
    setReadOnly: async () => (await outcomeOf(['mount', '-o', 'remount,ro', path])).code === 0,
    setWritable: async () => {
      await output(['mount', '-o', 'remount,rw', path]);
    },
    [Symbol.asyncDispose]: async () => {
      await output(['umount', '--lazy', path]);
    },
  };
}

/** Bytes that can still be written. */
export function roomOn({ path }: SmallDisk): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}

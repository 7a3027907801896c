// Temporary directories of the tests: real paths, short enough for unix sockets, gone at the end of the block.

import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TempDirectory extends AsyncDisposable {
  readonly path: string;
  /** A path below it. */
  at(...names: string[]): string;
  /** Safe to call twice. */
  remove(): Promise<void>;
}

/**
 * Makes a directory below the system's temporary one. Mode 0711: a task's user must be able to pass through to
 * its sandbox. A path of a unix socket may have 107 bytes: keep `prefix` short.
 */
export async function tempDirectory(prefix = 'dt-'): Promise<TempDirectory> {
  const path = await realpath(await mkdtemp(join(tmpdir(), prefix)));
  await chmod(path, 0o711);
  const remove = async () => {
    await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };
  return { path, at: (...names) => join(path, ...names), remove, [Symbol.asyncDispose]: remove };
}

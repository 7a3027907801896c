// Debian systems as directories, to try things in: made by debootstrap once, and kept. Nobody writes into what is kept.

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TEST_CACHE } from './cache.ts';
import { outcomeOf, output } from './command.ts';

/** A slow mirror; half a minute where it is none. */
const MAKE_TIMEOUT_MS = 240_000;

/** The directory of one with what is essential and these packages; undefined if the archive has no such suite. */
export async function debian(suite: string, packages: readonly string[] = []): Promise<string | undefined> {
  const root = join(TEST_CACHE, ['debian', suite, ...packages].join('-'));
  if (existsSync(root)) return root;
  await mkdir(TEST_CACHE, { recursive: true });
  const fresh = await mkdtemp(`${root}.`);
  try {
    const include = packages.length === 0 ? [] : [`--include=${packages.join(',')}`];
    const mirror = process.env.DEBOOTSTRAP_MIRROR;
    const words = ['--variant=minbase', ...include, suite, fresh, ...(mirror === undefined ? [] : [mirror])];
    const made = await outcomeOf(['debootstrap', ...words], { timeoutMs: MAKE_TIMEOUT_MS });
    const said = `${made.stderr}${made.stdout.toString()}`.trim();
    if (made.code !== 0 && /Failed getting release file/.test(said)) return undefined;
    if (made.code !== 0) throw new Error(`debootstrap: ${said.split('\n').at(-1)}`);
    await output(['chmod', '755', fresh]);
    await rename(fresh, root);
    return root;
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

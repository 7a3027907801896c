// What test machines boot, made once by machine-image.sh and kept outside of the tree, keyed by what it was made of: the
// recipe and the versions that apt would take now. Several processes may ask at once; a directory that is there is whole.

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TEST_CACHE } from './cache.ts';
import { outcomeOf, output } from './command.ts';

const RECIPE = fileURLToPath(new URL('machine-image.sh', import.meta.url));
/** Whose versions make it another image: the others come with them. */
const PACKAGES = ['linux-image-cloud-amd64', 'systemd', 'docker.io', 'containerd', 'runc'];
/** A slow mirror and a machine with a lot to do; a minute where neither is. */
const MAKE_TIMEOUT_MS = 600_000;

export interface MachineImage {
  readonly kernel: string;
  readonly initrd: string;
  /** Written to by nobody: machines boot a snapshot. */
  readonly disk: string;
}

/** Makes it unless it is there. */
export async function machineImage(): Promise<MachineImage> {
  const show = ['apt-cache', 'show', '--no-all-versions', ...PACKAGES] as const;
  const known = await outcomeOf(show);
  // A machine fresh from its maker has no lists of packages.
  if (known.code !== 0) await output(['apt-get', '-q', 'update']);
  const versions = known.code === 0 ? known.stdout.toString() : await output(show);
  const relevant = versions.split('\n').filter((line) => /^(?:Package|Version|Depends):/.test(line));
  const hash = createHash('sha256').update(readFileSync(RECIPE)).update(relevant.join('\n'));
  const name = `machine-${hash.digest('hex').slice(0, 16)}`;
  const directory = join(TEST_CACHE, name);
  if (!existsSync(directory)) {
    await mkdir(TEST_CACHE, { recursive: true });
    const made = await mkdtemp(join(TEST_CACHE, `making-${process.pid}-`));
    try {
      await output(['sh', RECIPE, made, TEST_CACHE], { timeoutMs: MAKE_TIMEOUT_MS });
      for (const old of readdirSync(TEST_CACHE).filter((entry) => entry.startsWith('machine-')))
        rmSync(join(TEST_CACHE, old), { recursive: true, force: true });
      if (!existsSync(directory)) renameSync(made, directory);
    } finally {
      rmSync(made, { recursive: true, force: true });
    }
  }
  return {
    kernel: join(directory, 'vmlinuz'),
    initrd: join(directory, 'initrd'),
    disk: join(directory, 'root.ext4'),
  };
}

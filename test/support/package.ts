// Packages as scripts/package makes them of this tree, kept for all tests that install them.

import { createHash } from 'node:crypto';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BillOfMaterials } from '../../scripts/sbom.ts';
import { TEST_CACHE } from './cache.ts';
import { output } from './command.ts';

const TREE = fileURLToPath(new URL('../..', import.meta.url));
const MADE_OF = [
  'debian/**',
  'docs/**',
  'packaging/{*,rpm/*}',
  'scripts/{package,licences.ts,sbom.ts,parts.ts,lock-files.ts,bundle.ts,runtimes.ts}',
  '*.md',
  'LICENSE',
  'example.cfg',
];
const MINUTES_MS = 240_000;
/** What it needs on a host beside what is essential, as Debian's packages. */
export const NEEDED = ['bzip2', 'curl', 'unzip', 'xz-utils'];

export type Kind = 'deb' | 'rpm';
/** As Debian calls them. */
export type PackageArchitecture = keyof typeof EXECUTABLES;

const EXECUTABLES = { amd64: 'dist/deimos', arm64: 'dist/arm64/deimos' } as const;

/** The path of what is packed; built, if it is not up to date. That for amd64 has been before any test. */
export async function executableFor(architecture: PackageArchitecture): Promise<string> {
  if (architecture === 'arm64')
    await output([`${TREE}scripts/build`, '--arch', architecture], { timeoutMs: MINUTES_MS });
  return `${TREE}${EXECUTABLES[architecture]}`;
}

/** Makes one in `directory`, whatever is there of the kind elsewhere. */
export async function makePackage(
  directory: string,
  umask = '022',
  kind: Kind = 'deb',
  architecture: PackageArchitecture = 'amd64',
): Promise<string> {
  const script = `umask ${umask}; exec ${TREE}scripts/package ${kind} --arch ${architecture} --out ${directory}`;
  await output(['sh', '-ec', script], { timeoutMs: MINUTES_MS });
  const made = (await readdir(directory)).filter((name) => name.endsWith(`.${kind}`));
  if (made.length !== 1) throw new Error(`scripts/package made ${made.length} packages`);
  return join(directory, String(made[0]));
}

/**
 * The same package with another executable and version in it, or just without compression, which takes long to undo in an
 * emulated machine. `directory` is made, and may be removed afterwards.
 */
export async function repacked(
  deb: string,
  directory: string,
  to: string,
  other?: { readonly binary: string; readonly version: string },
): Promise<void> {
  await output(['dpkg-deb', '-R', deb, directory]);
  if (other !== undefined) {
    await output(['cp', other.binary, `${directory}/usr/local/bin/deimos`]);
    await output(['sed', '-i', `s/^Version: .*/Version: ${other.version}/`, `${directory}/DEBIAN/control`]);
  }
  await output(['dpkg-deb', '-Znone', '--root-owner-group', '-b', directory, to], { timeoutMs: MINUTES_MS });
}

/** The path of one; nobody writes to it. */
export async function packageOf(kind: Kind, architecture: PackageArchitecture = 'amd64'): Promise<string> {
  const hash = createHash('sha256').update(readFileSync(await executableFor(architecture)));
  for (const file of globSync(MADE_OF, { cwd: TREE, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort())
    hash.update(`${file.slice(TREE.length)}\0`).update(readFileSync(file));
  const kept = join(TEST_CACHE, `package-${architecture}-${kind}-${hash.digest('hex').slice(0, 16)}`);
  if (!existsSync(kept)) {
    await mkdir(TEST_CACHE, { recursive: true });
    const fresh = await mkdtemp(`${kept}.`);
    try {
      await makePackage(fresh, '022', kind, architecture);
      await rename(fresh, kept);
    } finally {
      await rm(fresh, { recursive: true, force: true });
    }
  }
  const [name] = await readdir(kept);
  return join(kept, String(name));
}

/** The bill of materials of a package that was unpacked into `tree`. */
export function readBill(tree: string): BillOfMaterials {
  return JSON.parse(readFileSync(`${tree}/usr/share/doc/deimos/sbom.cdx.json`, 'utf8')) as BillOfMaterials;
}

/** The Debian package of this machine's architecture. */
export async function debianPackage(): Promise<string> {
  return await packageOf('deb');
}

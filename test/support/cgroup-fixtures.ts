// The files of real containers' cgroups, kept so that quick tests read what kernels really write. Never edited by hand: the
// tests that look at such containers write them anew when they are asked to (see the README beside them).

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TempDirectory } from './temp.ts';
import { cgroupDirectories, type Files } from './usage-facts.ts';

const DIRECTORY = fileURLToPath(new URL('fixtures/cgroups', import.meta.url));

export interface CgroupFixture {
  readonly name: string;
  readonly pid: number;
  readonly dockerId: string;
  readonly files: Files;
}

/** Keeps it in the tree if DEIMOS_WRITE_FIXTURES says so. */
export async function keepFixture(name: string, pid: number, files: Files): Promise<void> {
  if (process.env.DEIMOS_WRITE_FIXTURES === undefined) return;
  const paths = Object.values(cgroupDirectories(files[`proc/${pid}/cgroup`] ?? ''));
  const dockerId = /[0-9a-f]{64}/.exec(paths[0] ?? '')?.[0];
  writeFileSync(
    join(DIRECTORY, `${name}.json`),
    `${JSON.stringify({ pid, dockerId, files }, undefined, 2)}\n`,
  );
}

export function cgroupFixtures(): CgroupFixture[] {
  const names = readdirSync(DIRECTORY).filter((name) => name.endsWith('.json'));
  return names.map((name) => ({
    name: name.replace('.json', ''),
    ...JSON.parse(readFileSync(join(DIRECTORY, name), 'utf8')),
  }));
}

/** Writes the files below a directory, `proc` and `cg`, beside a host's init and a reader with networks of their own. */
export function layOut(directory: TempDirectory, files: Files): void {
  const others = { 'proc/1/net/dev': '', 'proc/self/net/dev': '' };
  for (const [name, text] of Object.entries({ ...others, ...files })) {
    mkdirSync(dirname(directory.at(name)), { recursive: true });
    writeFileSync(directory.at(name), text);
  }
}

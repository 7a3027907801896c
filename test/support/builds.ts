// Real binaries of this source under another version, or with another version of the records, made once and kept: as
// releases before and after this one would be.

import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { fileURLToPath } from 'node:url';
import { TEST_CACHE } from './cache.ts';
import { output } from './command.ts';
import { tempDirectory } from './temp.ts';

const TREE = fileURLToPath(new URL('../..', import.meta.url));
const RECORDS = 'src/state/records.ts';
const SOURCES = ['src', 'scripts', 'package.json', 'package-lock.json'];

export interface OtherBuild {
  readonly version: string;
  /** The version of the records that it writes, and the only one that it reads. */
  readonly records?: number;
}

/** The path of the binary. Rejects when it cannot be built. */
export async function buildOf({ version, records }: OtherBuild): Promise<string> {
  const hash = createHash('sha256').update(`${version} ${records}`);
  for (const file of globSync(['src/**/*.ts', 'scripts/build.ts', 'package-lock.json'], { cwd: TREE }).sort())
    hash.update(`${file}\0`).update(readFileSync(`${TREE}/${file}`));
  const binary = `${TEST_CACHE}/deimos-${version}-${hash.digest('hex').slice(0, 16)}`;
  if (existsSync(binary)) return binary;
  await using directory = await tempDirectory('build-');
  const at = (name: string): string => directory.at(name);
  for (const name of SOURCES) cpSync(`${TREE}/${name}`, at(name), { recursive: true });
  symlinkSync(`${TREE}/node_modules`, at('node_modules'));
  const edit = (name: string, from: RegExp, to: string): void => {
    const text = readFileSync(at(name), 'utf8');
    if (!from.test(text)) throw new Error(`${name} has no ${from}`);
    writeFileSync(at(name), text.replace(from, to));
  };
  edit('package.json', /"version": "[^"]+"/, `"version": "${version}"`);
  if (records !== undefined) edit(RECORDS, /REQUEST_VERSION = \d+/, `REQUEST_VERSION = ${records}`);
  await output([process.execPath, at('scripts/build.ts'), '--out', at('out')], { cwd: directory.path });
  mkdirSync(TEST_CACHE, { recursive: true });
  cpSync(at('out/deimos'), `${binary}.${process.pid}`);
  renameSync(`${binary}.${process.pid}`, binary);
  return binary;
}

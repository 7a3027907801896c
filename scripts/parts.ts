// What the executable is made of: the runtime, and the npm packages of which something is in the bundle, each with its licence
// as the package brings it. The copyright file and the bill of materials of the packages say the same, since both ask here.

import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { bundledPackages } from './bundle.ts';
import { type Architecture, runtimeFor } from './runtimes.ts';

const root = resolve(import.meta.dirname, '..');

const ISC = `Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby
granted, provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED
WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR
CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT,
NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.`;

export interface Part {
  /** As the package calls itself. */
  readonly name: string;
  readonly version: string;
  /** As SPDX names it. */
  readonly licence: string;
  readonly text: string;
  /** Its key in the lock file. */
  readonly path: string;
}

function partOf(directory: string, path: string): Part {
  const about = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as {
    readonly name: string;
    readonly version: string;
    readonly license?: string;
    readonly author?: string | { readonly name: string };
  };
  const [file] = globSync('{LICENSE,LICENCE,License,license,COPYING}*', { cwd: directory }).sort();
  const readme = join(directory, 'README.md');
  // Some have it at the end of what they say about themselves.
  const inReadme = existsSync(readme)
    ? /^#+ *licen[sc]e\b.*$([\s\S]*)/im.exec(readFileSync(readme, 'utf8'))?.[1]
    : undefined;
  const author = typeof about.author === 'object' ? about.author.name : about.author;
  const text =
    (file === undefined ? inReadme : readFileSync(join(directory, file), 'utf8')) ??
    // Named, and no more: then its usual text, for whoever the package says that it is by.
    (about.license === 'ISC' && author !== undefined ? `Copyright ${author}\n\n${ISC}` : undefined);
  if (about.license === undefined || text === undefined)
    throw new Error(`${directory} says nothing of its licence: no package may be made with it`);
  return { name: about.name, version: about.version, licence: about.license, text: text.trim(), path };
}

/** The npm package that the runtime is in. */
export function runtimePart(architecture: Architecture): Part {
  const directory = dirname(dirname(runtimeFor(architecture).file));
  return partOf(directory, `node_modules/node-linux-${architecture}`);
}

/** In the order of their paths. */
export async function bundledParts(): Promise<readonly Part[]> {
  return (await bundledPackages()).map((path) => partOf(resolve(root, path), path));
}

/** One that takes part in the build, and of which nothing is in the executable. */
export function installedPart(name: string): Part {
  const path = `node_modules/${name}`;
  return partOf(resolve(root, path), path);
}

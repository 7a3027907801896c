// What the integration tests need of the machine, and what to type where it is missing. Checks only, installs nothing.

import { outcomeOf } from './command.ts';

const PACKAGES = [
  'docker.io',
  'docker-registry',
  'busybox-static',
  'iptables',
  'iproute2',
  'util-linux',
  'bsdutils',
];

/** What keeps the integration tests from running here, as one line that says what to type; undefined if nothing does. */
export async function missingTools(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'a dockerd of our own needs root: run the tests as root';
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
  const asked = await outcomeOf(['dpkg-query', '-W', '-f', '${Package} ${db:Status-Status}\n', ...PACKAGES]);
  const installed = new Set(
    asked.stdout
      .toString()
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0]),
  );
  const missing = PACKAGES.filter((name) => !installed.has(name));
  if (missing.length === 0) return undefined;
  return `missing: ${missing.join(' ')}; apt-get install -y --no-install-recommends ${missing.join(' ')}`;
}

/** Rejects with the line of `missingTools`. */
export async function ensureTools(): Promise<void> {
  const missing = await missingTools();
  if (missing !== undefined) throw new Error(missing);
}

/**
 * For node:test's `skip`: false where everything is there, else the reason, which the report shows. Where CI is set
 * a missing tool is a failure instead: a run that proves nothing must not be green.
 */
export async function skipWithoutTools(): Promise<string | false> {
  const missing = await missingTools();
  if (missing === undefined) return false;
  if (process.env.CI) throw new Error(missing);
  return missing;
}

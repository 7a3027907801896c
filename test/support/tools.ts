// What the integration tests need of the machine, and what to type where it is missing. Checks only, installs nothing.

import { outcomeOf } from './command.ts';

/** Programs, and the packages that have them in Debian. */
const PROGRAMS = {
  dockerd: 'docker.io',
  docker: 'docker.io',
  'docker-registry': 'docker-registry',
  busybox: 'busybox-static',
  iptables: 'iptables',
  ip: 'iproute2',
  setpriv: 'util-linux',
  logger: 'bsdutils',
  openssl: 'openssl',
} as const;

/** What keeps the integration tests from running here, as one line that says what to type; undefined if nothing does. */
export async function missingTools(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'a dockerd of our own needs root: run the tests as root';
  const script = 'for name; do command -v "$name" >/dev/null || echo "$name"; done';
  const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };
  const asked = await outcomeOf(['sh', '-c', script, 'sh', ...Object.keys(PROGRAMS)], { env });
  const absent = asked.stdout.toString().split('\n');
  const lacking = Object.entries(PROGRAMS).filter(([name]) => absent.includes(name));
  const packages = [...new Set(lacking.map(([, name]) => name))].join(' ');
  return packages === '' ? undefined : `missing: apt-get install -y --no-install-recommends ${packages}`;
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

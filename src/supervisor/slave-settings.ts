// What a slave wants of connections. Its environment at launch says so, and is kept; a slave that was restarted since
// may have SSL switched on or off, and then its living process says better. Read when asked, never kept in memory.

import { readFileSync } from 'node:fs';
import { errnoOf } from '../fault.ts';
import { readJsonFact } from '../host/facts.ts';
import { isAlive, parseProcess } from '../host/processes.ts';
import { parseSlaveSsl, type SlaveSsl } from '../mesos/slave-ssl.ts';
import type { ContainerPaths } from '../state/layout.ts';
import type { RequestRecord } from '../state/records.ts';

export function sslAtLaunch({ slaveEnvironment }: RequestRecord): SlaveSsl | undefined {
  return parseSlaveSsl(slaveEnvironment);
}

/** Of the slave that called `recover` or `wait` last, if it lives and its environment may be read; else as at launch. */
export function sslNow(request: RequestRecord, paths: ContainerPaths): SlaveSsl | undefined {
  for (const fact of [paths.slaveProcess, paths.waitSeen]) {
    const slave = parseProcess(readJsonFact(fact));
    if (slave === undefined || !isAlive(slave)) continue;
    const environment = environmentOf(slave.pid);
    // Read, and not another's: the pid was not given away meanwhile.
    if (environment !== undefined && isAlive(slave)) return parseSlaveSsl(environment);
  }
  return sslAtLaunch(request);
}

/** undefined where it cannot be read, or is empty: of a process that has overwritten it or is ending. */
function environmentOf(pid: number): Readonly<Record<string, string>> | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
  if (text === '') return undefined;
  return Object.fromEntries(
    text.split('\0').map((entry) => {
      const at = entry.indexOf('=');
      return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
    }),
  );
}

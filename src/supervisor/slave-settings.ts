// What a slave wants of connections. Its environment at launch says so, and is kept; a slave that was restarted since
// may have SSL switched on or off, and then its living process says better. Asked at each message and by whoever
// connects, so it is looked up once a second for each slave; a slave that comes back says so (`recover`), and what was
// known is forgotten.

import { readFileSync } from 'node:fs';
import { errnoOf } from '../fault.ts';
import { readJsonFact } from '../host/facts.ts';
import { isNotedAlive, type NotedProcess, parseNotedCaller } from '../host/processes.ts';
import { parseSlaveSsl, type SlaveSsl } from '../mesos/slave-ssl.ts';
import { containerPaths, rootPaths } from '../state/layout.ts';
import type { RequestRecord } from '../state/records.ts';

const KNOWN_MS = 1_000;

export function sslAtLaunch({ slaveEnvironment }: RequestRecord): SlaveSsl | undefined {
  return parseSlaveSsl(slaveEnvironment);
}

export class SlaveSettings {
  readonly #root: string;
  readonly #nowMs: () => number;
  /** By the slave's work directory. */
  readonly #known = new Map<string, { readonly ssl: SlaveSsl | undefined; readonly sinceMs: number }>();

  constructor(root: string, nowMs: () => number = () => performance.now()) {
    this.#root = root;
    this.#nowMs = nowMs;
  }

  /** Of the slave that called `recover`, or `wait` for this container, last, if it lives and its environment may be read; else as at launch. */
  sslNow(request: RequestRecord): SlaveSsl | undefined {
    const slave = request.workDirectory ?? request.task.containerId;
    const now = this.#nowMs();
    const known = this.#known.get(slave);
    if (known !== undefined && now - known.sinceMs < KNOWN_MS) return known.ssl;
    const ssl = this.#lookUp(request);
    this.#known.set(slave, { ssl, sinceMs: now });
    return ssl;
  }

  /** A slave has come back. */
  forget(): void {
    this.#known.clear();
  }

  #lookUp(request: RequestRecord): SlaveSsl | undefined {
    for (const slave of livingSlaves(this.#root, request)) {
      const environment = environmentOf(slave.pid);
      // Read, and not another's: the pid was not given away meanwhile.
      if (environment !== undefined && isNotedAlive(slave)) return parseSlaveSsl(environment);
    }
    return sslAtLaunch(request);
  }
}

/** The slave that called `recover` last, and the one that called `wait` for this container last, if they live. */
export function livingSlaves(root: string, { workDirectory, task }: RequestRecord): readonly NotedProcess[] {
  const facts = workDirectory === undefined ? [] : [rootPaths(root).slave(workDirectory)];
  return [...facts, containerPaths(root, task.containerId).waitSeen].flatMap((fact) => {
    const slave = parseNotedCaller(readJsonFact(fact));
    return slave !== undefined && isNotedAlive(slave) ? [slave] : [];
  });
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

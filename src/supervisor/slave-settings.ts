// What a slave wants of connections, and as whom it runs. Its environment at launch says so, and is kept; a slave that was restarted since
// may have SSL switched on or off, and then its living process says better. Asked at each message and by whoever
// connects, so it is looked up once a second for each slave; a slave that comes back says so (`recover`), and what was
// known is forgotten.

import { readFileSync } from 'node:fs';
import { errnoOf } from '../fault.ts';
import { readJsonFact } from '../host/facts.ts';
import { isNotedAlive, type NotedProcess, parseNotedCaller, usersOf } from '../host/processes.ts';
import { parseSlaveSsl, type SlaveSsl } from '../mesos/slave-ssl.ts';
import { containerPaths, rootPaths } from '../state/layout.ts';
import type { RequestRecord } from '../state/records.ts';

const KNOWN_MS = 1_000;

export function sslAtLaunch({ slaveEnvironment }: RequestRecord): SlaveSsl | undefined {
  return parseSlaveSsl(slaveEnvironment);
}

interface Known {
  readonly ssl: SlaveSsl | undefined;
  /** Of its processes that live. */
  readonly uids: ReadonlySet<number>;
  readonly sinceMs: number;
}

export class SlaveSettings {
  readonly #root: string;
  readonly #nowMs: () => number;
  /** By the slave's work directory. */
  readonly #known = new Map<string, Known>();

  constructor(root: string, nowMs: () => number = () => performance.now()) {
    this.#root = root;
    this.#nowMs = nowMs;
  }

  /** Of the slave that called `recover`, or `wait` for this container, last, if it lives and its environment may be read; else as at launch. */
  sslNow(request: RequestRecord): SlaveSsl | undefined {
    return this.#now(request).ssl;
  }

  /** Whether that user is the one of such a slave, or of the one that launched this, if it lives. */
  mayBeSlave(request: RequestRecord, uid: number): boolean {
    return this.#now(request).uids.has(uid);
  }

  #now(request: RequestRecord): Known {
    const slave = request.workDirectory ?? request.task.containerId;
    const now = this.#nowMs();
    const known = this.#known.get(slave);
    if (known !== undefined && now - known.sinceMs < KNOWN_MS) return known;
    const found = { ssl: this.#sslOf(request), uids: this.#uidsOf(request), sinceMs: now };
    this.#known.set(slave, found);
    return found;
  }

  /** A slave has come back. */
  forget(): void {
    this.#known.clear();
  }

  #uidsOf(request: RequestRecord): ReadonlySet<number> {
    const { slaveProcess } = request;
    const launcher = slaveProcess !== undefined && isNotedAlive(slaveProcess) ? [slaveProcess] : [];
    return new Set(
      [...livingSlaves(this.#root, request), ...launcher].flatMap((slave) => {
        const uids = usersOf(slave.pid);
        return isNotedAlive(slave) ? uids : [];
      }),
    );
  }

  #sslOf(request: RequestRecord): SlaveSsl | undefined {
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

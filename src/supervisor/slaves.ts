// The links to the slaves of this host (nearly always one): shared by all containers of a slave, opened when the first
// needs it. A slave that cannot be reached, or whose link breaks, is away. It is looked for again with growing pauses, and
// at once when it says itself that it is back (ReconnectExecutorMessage).

import { Fault, isFault, oneLine } from '../fault.ts';
import type { Log } from '../host/log.ts';
import { pauseMs, rest } from '../host/pauses.ts';
import { SlaveLink } from '../mesos/slave-link.ts';
import type { SlaveSsl } from '../mesos/slave-ssl.ts';
import { formatUpid, type Upid } from '../mesos/upid.ts';

/** A slave whose listen queue is full is given these tries (some 3 s in all) before it counts as away. */
const CONNECT_TRIES = 4;

export interface SlaveWatcher {
  there(): void;
  /** `why`, where somebody is there, but TLS with him does not come about. */
  away(why?: string): void;
}

/** One slave: it is tried for as long as anybody watches it. */
interface Entry {
  /** With how many tries in a row have failed for each. */
  readonly watchers: Map<SlaveWatcher, number>;
  /** Since somebody last had a reason to look again: the pauses grow with them. */
  failures: number;
  /** What it wants of a connection, asked at each try; its last watcher knows best. */
  ssl: () => SlaveSsl | undefined;
  link: SlaveLink | undefined;
  /** Ends the pause between two tries. */
  poke: () => void;
}

export class Slaves {
  readonly #entries = new Map<string, Entry>();
  readonly #signal: AbortSignal;
  readonly #log: Log;

  constructor(signal: AbortSignal, log: Log) {
    this.#signal = signal;
    this.#log = log;
  }

  /**
   * Tells `watcher` whether the slave is there, now and at each change, until `forget`. Repeatable: a slave that is
   * being tried with long pauses is tried at once.
   */
  watch(slave: Upid, watcher: SlaveWatcher, ssl: () => SlaveSsl | undefined = () => undefined): void {
    const key = formatUpid(slave);
    const before = this.#entries.get(key);
    const entry = before ?? { watchers: new Map(), failures: 0, ssl, link: undefined, poke: () => {} };
    entry.ssl = ssl;
    entry.failures = 0;
    if (!entry.watchers.has(watcher)) entry.watchers.set(watcher, 0);
    if (before === undefined) {
      this.#entries.set(key, entry);
      void this.#connect(slave, key, entry);
    } else if (entry.link?.open === true)
      queueMicrotask(() => entry.watchers.has(watcher) && watcher.there());
    else entry.poke();
  }

  /** The link is closed when its last watcher is forgotten. Repeatable. */
  forget(slave: Upid, watcher: SlaveWatcher): void {
    const key = formatUpid(slave);
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    entry.watchers.delete(watcher);
    if (entry.watchers.size > 0) return;
    this.#entries.delete(key);
    entry.link?.close();
    entry.poke();
  }

  /** Whether the link to that slave stands. */
  isThere(slave: Upid): boolean {
    return this.#entries.get(formatUpid(slave))?.link?.open === true;
  }

  /** Sends a message; Fault `host` if the slave is not there. */
  async post(slave: Upid, message: string, body: Uint8Array, from: Upid): Promise<'taken' | 'unknown'> {
    const link = this.#entries.get(formatUpid(slave))?.link;
    if (link === undefined || !link.open) {
      throw new Fault('host', `no link to the slave ${formatUpid(slave)}`);
    }
    return await link.post(message, body, from, this.#signal);
  }

  /** Until the link stands; who watches is told once that the slave is away. */
  async #connect(slave: Upid, key: string, entry: Entry): Promise<void> {
    const wanted = (): boolean => this.#entries.get(key) === entry && !this.#signal.aborted;
    entry.failures = 0;
    for (const watcher of entry.watchers.keys()) entry.watchers.set(watcher, 0);
    while (wanted()) {
      const ssl = entry.ssl();
      const link = new SlaveLink(slave, { ssl, onBroken: () => this.#broken(slave, key, entry) });
      let why: string | undefined;
      entry.link = link;
      try {
        await link.connect(this.#signal);
        if (!wanted()) return link.close();
        if (ssl !== undefined)
          this.#log.debug('link to a slave with SSL', { slave: key, secure: link.secure });
        for (const watcher of [...entry.watchers.keys()]) watcher.there();
        return;
      } catch (error) {
        if (!wanted()) return;
        if (!isFault(error, 'host', 'timeout', 'refused')) throw error;
        if (isFault(error, 'refused')) why = oneLine(error);
      }
      this.#failed(key, entry, why);
      await this.#pause(pauseMs(entry.failures++), entry);
    }
  }

  /** Each watcher is told once it has seen enough tries, however long others have watched. */
  #failed(key: string, entry: Entry, why: string | undefined): void {
    for (const [watcher, failed] of entry.watchers) entry.watchers.set(watcher, failed + 1);
    const enough = [...entry.watchers].filter(([, failed]) => failed === CONNECT_TRIES);
    if (enough.length > 0 && why !== undefined)
      this.#log.error('no TLS with the slave', { slave: key, error: why });
    for (const [watcher] of enough) watcher.away(why);
  }

  async #pause(ms: number, entry: Entry): Promise<void> {
    const poked = new AbortController();
    entry.poke = () => poked.abort();
    await rest(ms, AbortSignal.any([poked.signal, this.#signal])).catch(() => {});
    entry.poke = () => {};
  }

  #broken(slave: Upid, key: string, entry: Entry): void {
    if (this.#entries.get(key) !== entry) return;
    for (const watcher of [...entry.watchers.keys()]) watcher.away();
    // Those that go on without it keep watching: it may be back, or the connection alone may have broken.
    if (entry.watchers.size > 0 && this.#entries.get(key) === entry) void this.#connect(slave, key, entry);
  }
}

/** How long a slave that lives may take to accept a connection on the loopback. */
const ANSWER_MS = 2_000;

/** Whether anybody listens at the slave's address. */
export async function slaveAnswers(slave: Upid, signal: AbortSignal): Promise<boolean> {
  const link = new SlaveLink(slave, { onBroken: () => {} });
  try {
    await link.connect(AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]));
    return true;
  } catch (error) {
    if (signal.aborted) throw error;
    return false;
  } finally {
    link.close();
  }
}

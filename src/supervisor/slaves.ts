// The links to the slaves of this host (nearly always one): shared by all containers of a slave, opened when the first
// needs it. A slave that cannot be reached, or whose link breaks, is away. It is looked for again with growing pauses, and
// at once when it says itself that it is back (ReconnectExecutorMessage).

import { Fault, isFault } from '../fault.ts';
import { pauseMs, rest } from '../host/pauses.ts';
import { SlaveLink } from '../mesos/slave-link.ts';
import { formatUpid, type Upid } from '../mesos/upid.ts';

/** A slave whose listen queue is full is given these tries (some 3 s in all) before it counts as away. */
const CONNECT_TRIES = 4;

export interface SlaveWatcher {
  there(): void;
  away(): void;
}

/** One slave: it is tried for as long as anybody watches it. */
interface Entry {
  readonly watchers: Set<SlaveWatcher>;
  link: SlaveLink | undefined;
  /** Ends the pause between two tries. */
  poke: () => void;
}

export class Slaves {
  readonly #entries = new Map<string, Entry>();
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /**
   * Tells `watcher` whether the slave is there, now and at each change, until `forget`. Repeatable: a slave that is
   * being tried with long pauses is tried at once.
   */
  watch(slave: Upid, watcher: SlaveWatcher): void {
    const key = formatUpid(slave);
    const before = this.#entries.get(key);
    const entry = before ?? { watchers: new Set<SlaveWatcher>(), link: undefined, poke: () => {} };
    entry.watchers.add(watcher);
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
    for (let n = 0; wanted(); n++) {
      const link = new SlaveLink(slave, { onBroken: () => this.#broken(slave, key, entry) });
      entry.link = link;
      try {
        await link.connect(this.#signal);
        if (!wanted()) return link.close();
        for (const watcher of [...entry.watchers]) watcher.there();
        return;
      } catch (error) {
        if (!wanted()) return;
        if (!isFault(error, 'host', 'timeout')) throw error;
      }
      if (n === CONNECT_TRIES - 1) for (const watcher of [...entry.watchers]) watcher.away();
      await this.#pause(pauseMs(n), entry);
    }
  }

  async #pause(ms: number, entry: Entry): Promise<void> {
    const poked = new AbortController();
    entry.poke = () => poked.abort();
    await rest(ms, AbortSignal.any([poked.signal, this.#signal])).catch(() => {});
    entry.poke = () => {};
  }

  #broken(slave: Upid, key: string, entry: Entry): void {
    if (this.#entries.get(key) !== entry) return;
    for (const watcher of [...entry.watchers]) watcher.away();
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

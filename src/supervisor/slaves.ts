// The links to the slaves of this host (nearly always one): shared by all containers of a slave, opened when the first
// needs it. A slave that cannot be reached, or whose link breaks, is away; it is not looked for again by itself, since a
// slave that comes back says so (ReconnectExecutorMessage).

import { Fault, isFault } from '../fault.ts';
import { pauseMs, rest } from '../host/pauses.ts';
import { SlaveLink } from '../mesos/slave-link.ts';
import { formatUpid, type Upid } from '../mesos/upid.ts';

/** A slave that is starting, or whose listen queue is full, is given these tries (some 3 s in all). */
const CONNECT_TRIES = 4;

export interface SlaveWatcher {
  there(): void;
  away(): void;
}

interface Entry {
  readonly watchers: Set<SlaveWatcher>;
  link: SlaveLink | undefined;
}

export class Slaves {
  readonly #entries = new Map<string, Entry>();
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Tells `watcher` whether the slave is there, now and at each change, until `forget`. Repeatable. */
  watch(slave: Upid, watcher: SlaveWatcher): void {
    const key = formatUpid(slave);
    const entry = this.#entries.get(key) ?? { watchers: new Set<SlaveWatcher>(), link: undefined };
    this.#entries.set(key, entry);
    entry.watchers.add(watcher);
    if (entry.link === undefined) void this.#connect(slave, key, entry);
    else if (entry.link.open) queueMicrotask(() => entry.watchers.has(watcher) && watcher.there());
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
  }

  /** Whether the link to that slave stands. */
  isThere(slave: Upid): boolean {
    return this.#entries.get(formatUpid(slave))?.link?.open === true;
  }

  /** Sends a message; Fault `host` if the slave is not there. */
  async post(slave: Upid, message: string, body: Uint8Array, from: Upid): Promise<'taken' | 'unknown'> {
    const link = this.#entries.get(formatUpid(slave))?.link;
    if (link === undefined || !link.open) throw noLink(slave);
    return await link.post(message, body, from, this.#signal);
  }

  async #connect(slave: Upid, key: string, entry: Entry): Promise<void> {
    for (let n = 0; n < CONNECT_TRIES; n++) {
      const link = new SlaveLink(slave, { onBroken: () => this.#broken(key, entry, link) });
      entry.link = link;
      try {
        await link.connect(this.#signal);
        if (this.#entries.get(key) !== entry) return link.close();
        for (const watcher of [...entry.watchers]) watcher.there();
        return;
      } catch (error) {
        if (this.#signal.aborted || this.#entries.get(key) !== entry) return;
        if (!isFault(error, 'host', 'timeout')) throw error;
        if (n < CONNECT_TRIES - 1) await rest(pauseMs(n), this.#signal).catch(() => {});
      }
    }
    this.#broken(key, entry, entry.link);
  }

  #broken(key: string, entry: Entry, link: SlaveLink | undefined): void {
    if (this.#entries.get(key) !== entry || entry.link !== link) return;
    // The next watcher (after a reconnection, say) opens a new link; these are told once.
    this.#entries.delete(key);
    for (const watcher of [...entry.watchers]) watcher.away();
  }
}

function noLink(slave: Upid): Fault {
  return new Fault('host', `no link to the slave ${formatUpid(slave)}`);
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

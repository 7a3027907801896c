// The links to the slaves of this host (nearly always one): shared by all containers of a slave, opened when the first
// needs it. A slave that cannot be reached, or whose link breaks, is away. It is looked for again with growing pauses, and
// at once when it says itself that it is back (ReconnectExecutorMessage).

import { Fault, isFault, oneLine } from '../fault.ts';
import type { Log } from '../host/log.ts';
import { pauseMs, rest } from '../host/pauses.ts';
import { SlaveLink } from '../mesos/slave-link.ts';
import type { SlaveSsl } from '../mesos/slave-ssl.ts';
import { isRootOrUs, type MayBeSlave } from '../mesos/slave-users.ts';
import { formatUpid, type Upid } from '../mesos/upid.ts';

/** A slave whose listen queue is full is given these tries (some 3 s in all) before it counts as away. */
const CONNECT_TRIES = 4;
/** Certificate and key are renewed one after the other, and a slave is restarted for them: TLS may come about again. */
const REFUSED_MS = 10_000;
const REFUSED_PAUSE_MS_MAX = 2_000;

/** A link that breaks sooner counts as one that did not come about: whoever closes at once is not asked again at once. */
const STEADY_LINK_MS = 10_000;
/** That messages do not reach a slave, or do again, is said this often at most. */
const TROUBLE_EVERY_MS = 60_000;

export interface SlaveWatcher {
  there(): void;
  /** `why`, where somebody is there, but TLS with him does not come about. */
  away(why?: string): void;
}

/** What a watcher knows of the slave, now. */
export interface SlaveTerms {
  /** What it wants of a connection. */
  readonly ssl: () => SlaveSsl | undefined;
  /** Asked about users other than root and ours. */
  readonly mayBeSlave: MayBeSlave;
}

const PLAIN: SlaveTerms = { ssl: () => undefined, mayBeSlave: () => false };

interface Watch {
  readonly terms: SlaveTerms;
  /** Tries in a row, and when the first was, in milliseconds since the process began. */
  failed: number;
  sinceMs: number;
  toldAway: boolean;
}

/** One slave: it is tried for as long as anybody watches it. */
interface Entry {
  /** Who came last stands last. */
  readonly watchers: Map<SlaveWatcher, Watch>;
  /** Since somebody last had a reason to look again: the pauses grow with them. */
  failures: number;
  link: SlaveLink | undefined;
  /** The settings under which `link` was made. */
  linkSsl: SlaveSsl | undefined;
  /** Ends the pause between two tries. */
  poke: () => void;
  trouble: Trouble | undefined;
  /** Users who have been told of as no slave's. */
  readonly impostors: Set<number>;
}

/** Messages do not reach a slave, or did not. Times in milliseconds since the process began. */
interface Trouble {
  readonly sinceMs: number;
  /** When trouble with this slave was said last, be it this one or one before. */
  readonly toldMs: number;
  readonly told: boolean;
  readonly over: boolean;
}

export class Slaves {
  readonly #entries = new Map<string, Entry>();
  readonly #signal: AbortSignal;
  readonly #log: Log;
  readonly #refusedMs: number;

  constructor(signal: AbortSignal, log: Log, refusedMs = REFUSED_MS) {
    this.#signal = signal;
    this.#log = log;
    this.#refusedMs = refusedMs;
  }

  /**
   * Tells `watcher` whether the slave is there, now and at each change, until `forget`. Repeatable: a slave that is
   * being tried with long pauses is tried at once, and a link is made anew where the slave now wants another kind.
   */
  watch(slave: Upid, watcher: SlaveWatcher, terms: SlaveTerms = PLAIN): void {
    const key = formatUpid(slave);
    const before = this.#entries.get(key);
    const entry = before ?? newEntry();
    const watch = entry.watchers.get(watcher) ?? newWatch(terms);
    entry.watchers.delete(watcher);
    entry.watchers.set(watcher, { ...watch, terms });
    entry.failures = 0;
    if (before === undefined) {
      this.#entries.set(key, entry);
      this.#begin(slave, key, entry);
    } else if (entry.link?.open !== true) entry.poke();
    else if (isAsWanted(entry)) queueMicrotask(() => entry.watchers.has(watcher) && watcher.there());
    else {
      entry.link.close();
      this.#begin(slave, key, entry);
    }
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

  /**
   * Sends a message, unless it is not wanted any more when its turn comes; Fault `host` if the slave is not there. What goes
   * wrong is logged here, once for all who send.
   */
  async post(
    slave: Upid,
    message: string,
    body: Uint8Array,
    from: Upid,
    isWanted?: () => boolean,
  ): Promise<'taken' | 'unknown' | 'withdrawn'> {
    const key = formatUpid(slave);
    const entry = this.#entries.get(key);
    if (entry?.link?.open !== true) throw new Fault('host', `no link to the slave ${key}`);
    try {
      const answer = await entry.link.post(message, body, from, this.#signal, isWanted);
      if (answer === 'taken') this.#judge(key, entry, undefined);
      if (answer === 'unknown') this.#judge(key, entry, 'the slave does not know itself under its address');
      return answer;
    } catch (error) {
      if (!this.#signal.aborted) this.#judge(key, entry, oneLine(error));
      throw error;
    }
  }

  /** Notes whether the slave can be reached: `why` not. */
  #judge(key: string, entry: Entry, why: string | undefined): void {
    const before = entry.trouble;
    const nowMs = performance.now();
    if (why === undefined) {
      if (before === undefined || before.over) return;
      entry.trouble = { ...before, over: true };
      const durationMs = Math.round(nowMs - before.sinceMs);
      if (before.told) this.#log.info('messages reach the slave again', { slave: key, durationMs });
      return;
    }
    const isNew = before === undefined || before.over;
    if (!isNew && before.told) return;
    const told = before === undefined || nowMs - before.toldMs >= TROUBLE_EVERY_MS;
    if (told)
      this.#log.warning('messages do not reach the slave, will be tried again', { slave: key, error: why });
    entry.trouble = {
      sinceMs: isNew ? nowMs : before.sinceMs,
      toldMs: told ? nowMs : before.toldMs,
      ...{ told, over: false },
    };
  }

  #begin(slave: Upid, key: string, entry: Entry): void {
    entry.failures = 0;
    void this.#connect(slave, key, entry);
  }

  /** Until the link stands; who watches is told once that the slave is away. */
  async #connect(slave: Upid, key: string, entry: Entry): Promise<void> {
    const wanted = (): boolean => this.#entries.get(key) === entry && !this.#signal.aborted;
    for (const [watcher, { terms }] of entry.watchers) entry.watchers.set(watcher, newWatch(terms));
    while (wanted()) {
      const ssl = sslOf(entry);
      const stood = { sinceMs: performance.now() };
      const link = new SlaveLink(slave, {
        ssl,
        mayBeSlave: (uid) => this.#mayBeSlave(key, entry, uid),
        onBroken: () => void this.#broken(slave, key, entry, performance.now() - stood.sinceMs),
      });
      let why: string | undefined;
      let nobody = '';
      entry.link = link;
      entry.linkSsl = ssl;
      try {
        await link.connect(this.#signal);
        if (!wanted()) return link.close();
        if (!isAsWanted(entry)) {
          link.close();
          continue;
        }
        stood.sinceMs = performance.now();
        if (ssl !== undefined)
          this.#log.debug('link to a slave with SSL', { slave: key, secure: link.secure });
        for (const watcher of [...entry.watchers.keys()]) watcher.there();
        return;
      } catch (error) {
        if (!wanted()) return;
        if (!isFault(error, 'host', 'timeout', 'refused')) throw error;
        if (isFault(error, 'refused')) why = oneLine(error);
        nobody = oneLine(error);
      }
      this.#failed(key, entry, why, nobody);
      const isWaitedFor = why !== undefined && [...entry.watchers.values()].some((one) => !one.toldAway);
      const ms = pauseMs(entry.failures++);
      await this.#pause(isWaitedFor ? Math.min(ms, REFUSED_PAUSE_MS_MAX) : ms, entry);
    }
  }

  /** Each watcher is told once it has seen enough, however long others have watched. */
  #failed(key: string, entry: Entry, why: string | undefined, nobody: string): void {
    const enough: SlaveWatcher[] = [];
    for (const [watcher, watch] of entry.watchers) {
      if (watch.failed++ === 0) watch.sinceMs = performance.now();
      const isEnough =
        why === undefined
          ? watch.failed >= CONNECT_TRIES
          : performance.now() - watch.sinceMs >= this.#refusedMs;
      if (watch.toldAway || !isEnough) continue;
      watch.toldAway = true;
      enough.push(watcher);
    }
    if (enough.length > 0 && why === undefined) this.#judge(key, entry, nobody);
    if (enough.length > 0 && why !== undefined)
      this.#log.error('no TLS with the slave', { slave: key, error: why });
    for (const watcher of enough) watcher.away(why);
  }

  /** Who is told of another user at the address of a slave that has died is told once. */
  #mayBeSlave(key: string, entry: Entry, uid: number): boolean {
    if (mayBeSlave(entry, uid)) return true;
    if (!entry.impostors.has(uid))
      this.#log.warning('a user who cannot be the slave listens at its address', { slave: key, user: uid });
    entry.impostors.add(uid);
    return false;
  }

  async #pause(ms: number, entry: Entry): Promise<void> {
    const poked = new AbortController();
    entry.poke = () => poked.abort();
    await rest(ms, AbortSignal.any([poked.signal, this.#signal])).catch(() => {});
    entry.poke = () => {};
  }

  async #broken(slave: Upid, key: string, entry: Entry, stoodMs: number): Promise<void> {
    const broken = entry.link;
    if (this.#entries.get(key) !== entry) return;
    entry.failures = stoodMs >= STEADY_LINK_MS ? 0 : entry.failures + 1;
    this.#judge(key, entry, 'the slave closed the link');
    for (const watcher of [...entry.watchers.keys()]) watcher.away();
    // Those that go on without it keep watching: it may be back, or the connection alone may have broken.
    if (entry.failures > 0) await this.#pause(pauseMs(entry.failures - 1), entry);
    const isWatched = entry.watchers.size > 0 && this.#entries.get(key) === entry && !this.#signal.aborted;
    if (isWatched && entry.link === broken) await this.#connect(slave, key, entry);
  }
}

function newEntry(): Entry {
  return {
    watchers: new Map(),
    failures: 0,
    link: undefined,
    linkSsl: undefined,
    poke: () => {},
    impostors: new Set(),
    trouble: undefined,
  };
}

function newWatch(terms: SlaveTerms): Watch {
  return { terms, failed: 0, sinceMs: 0, toldAway: false };
}

/** Of those who still watch, who came last knows best. */
function sslOf({ watchers }: Entry): SlaveSsl | undefined {
  return [...watchers.values()].at(-1)?.terms.ssl();
}

function mayBeSlave({ watchers }: Entry, uid: number): boolean {
  return isRootOrUs(uid) || [...watchers.values()].some(({ terms }) => terms.mayBeSlave(uid));
}

/** A slave that was restarted may want another kind of link than the one that was made before it could say so. */
function isAsWanted(entry: Entry): boolean {
  return JSON.stringify(entry.linkSsl) === JSON.stringify(sslOf(entry));
}

/** How long a slave that lives may take to accept a connection on the loopback. */
const ANSWER_MS = 2_000;

/** Whether anybody listens at the slave's address who may be it. */
export async function slaveAnswers(
  slave: Upid,
  signal: AbortSignal,
  terms: Pick<SlaveTerms, 'mayBeSlave'> = PLAIN,
): Promise<boolean> {
  const mayBeSlave = (uid: number): boolean => isRootOrUs(uid) || terms.mayBeSlave(uid);
  const link = new SlaveLink(slave, { onBroken: () => {}, mayBeSlave });
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

// Connections to the executor port of which nothing is known yet. Anybody on the host can open them, without end: so they are
// few, and soon looked up in the kernel's list by the user who made them. Whose user is no slave's goes at once; whose it is
// may be silent for ever. Those whom the kernel does not show stay, and the oldest of them goes when there are too many.

import type { Socket } from 'node:net';
import { clientsAt } from '../host/tcp-owners.ts';
import type { MayBeSlave } from './slave-users.ts';

/** As many as there can be at once, unless told that fewer can. */
export const STRANGERS_MAX = 256;
/** After a connection was accepted; sooner when there are more than so many. */
const LOOK_MS = 100;
const MANY = 32;
/** Anybody can make the list long: no more than this share of the time is spent on reading it. */
const SHARE = 1 / 4;
/** Before one is closed of which nothing is known. */
const SHARE_WHEN_FULL = 1 / 2;
/** The list may lack one that was opened, or another that was closed, while it was read. */
const LOOKS_MAX = 3;

export interface StrangersParts {
  readonly max: number;
  readonly port: () => number;
  readonly mayBeSlave: MayBeSlave;
  /** Told whose connections were closed. */
  readonly onForeign: (uid: number) => void;
}

interface Stranger {
  looks: number;
  /** Fulfilled when it is known whose it is, or that this cannot be known, or it was closed. */
  readonly looked: PromiseWithResolvers<void>;
}

export class Strangers {
  readonly #parts: StrangersParts;
  /** The oldest first. */
  readonly #strangers = new Map<Socket, Stranger>();
  #timer: NodeJS.Timeout | undefined;
  /** When the list was read last, in milliseconds since the process began, and how long that took. */
  #lookedMs = Number.NEGATIVE_INFINITY;
  #lookMs = 0;

  constructor(parts: StrangersParts) {
    this.#parts = parts;
  }

  /** Each has a file open, and can be closed without harm. */
  get count(): number {
    return this.#strangers.size;
  }

  /** Takes one more; another may be closed for it. */
  admit(socket: Socket): void {
    if (this.#strangers.size >= MANY) this.#lookIfDue();
    if (this.#strangers.size >= this.#parts.max) this.#lookIfDue(SHARE_WHEN_FULL);
    const [oldest] = this.#strangers.keys();
    if (oldest !== undefined && this.#strangers.size >= this.#parts.max) {
      this.accept(oldest);
      oldest.resetAndDestroy();
    }
    this.#strangers.set(socket, { looks: 0, looked: Promise.withResolvers() });
    socket.once('close', () => this.accept(socket));
    this.#lookSoon();
  }

  /** It is none any more: it has addressed a name, or is closed. Repeatable. */
  accept(socket: Socket): void {
    this.#strangers.get(socket)?.looked.resolve();
    this.#strangers.delete(socket);
  }

  /** Whether this one, looked up now, is of a user who cannot be a slave; it is closed then. For one that has a name to show. */
  isForeign(socket: Socket): boolean {
    if (!this.#strangers.has(socket)) return false;
    return this.#look().has(socket);
  }

  /** Fulfilled as soon as is known whether it is to be closed; it is then. */
  async looked(socket: Socket): Promise<void> {
    this.#lookIfDue();
    await this.#strangers.get(socket)?.looked.promise;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #lookSoon(): void {
    if (this.#timer !== undefined) return;
    const ms = Math.max(LOOK_MS, this.#untilDueMs(SHARE));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#look();
      if ([...this.#strangers.values()].some(({ looks }) => looks < LOOKS_MAX)) this.#lookSoon();
    }, ms);
    this.#timer.unref();
  }

  #lookIfDue(share = SHARE): void {
    if (this.#untilDueMs(share) <= 0) this.#look();
  }

  #untilDueMs(share: number): number {
    return this.#lookedMs + this.#lookMs * (1 / share - 1) - performance.now();
  }

  /** Those that were closed. */
  #look(): ReadonlySet<Socket> {
    const beganMs = performance.now();
    const clients = clientsAt(this.#parts.port());
    const foreign = new Map<Socket, number>();
    const isSlaves = new Map<number, boolean>();
    for (const [socket, stranger] of this.#strangers) {
      const uid = clients.get(`${socket.remoteAddress}:${socket.remotePort}`);
      if (uid === undefined) {
        stranger.looks += 1;
        if (stranger.looks >= LOOKS_MAX) stranger.looked.resolve();
        continue;
      }
      const mayBe = isSlaves.get(uid) ?? this.#parts.mayBeSlave(uid);
      isSlaves.set(uid, mayBe);
      if (!mayBe) foreign.set(socket, uid);
      this.accept(socket);
    }
    // Reset: closed in order they would stay in the list for a minute.
    for (const [socket, uid] of foreign) {
      socket.resetAndDestroy();
      this.#parts.onForeign(uid);
    }
    this.#lookedMs = performance.now();
    this.#lookMs = this.#lookedMs - beganMs;
    return new Set(foreign.keys());
  }
}

// The kernel's counts of processes killed for memory, watched for all containers whose daemon is away: one timer, which
// runs only then, and one small read a container. What has nothing more to tell is no longer looked at.

/** What the kernel kills later than this before the daemon's return goes unnoticed. */
const LOOK_EVERY_MS = 250;

/** Looks once; false if looking again can show nothing more. Never throws. */
export type Look = () => boolean;

export class MemoryWatch {
  readonly #looks = new Set<Look>();
  #timer: NodeJS.Timeout | undefined;

  /** Looks at once, then until `remove`. Repeatable. */
  add(look: Look): void {
    if (this.#looks.has(look) || !look()) return;
    this.#looks.add(look);
    this.#timer ??= setInterval(() => this.#tick(), LOOK_EVERY_MS);
  }

  remove(look: Look): void {
    this.#looks.delete(look);
    if (this.#looks.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    for (const look of this.#looks) if (!look()) this.remove(look);
  }
}

// What Docker mounts of a sandbox. Docker looks its path up as root when it starts the container, and follows links; the
// sandbox's owner may put one there at any time, which leads to where he could not go himself. So for the time of the start
// each directory on the way is held (host/held-directory.ts), and a way that leads out of the sandbox is refused.

import { lstatSync, readlinkSync, realpathSync } from 'node:fs';
import type { ContainerFacts } from '../docker/engine.ts';
import { escapeControl, Fault, isFault, oneLine, refusal } from '../fault.ts';
import { readJsonFact, removeSync, writeFactSync } from '../host/facts.ts';
import { giveBack, type Held, OpenDirectory, parseHeld } from '../host/held-directory.ts';
import type { Log } from '../host/log.ts';

/** As the kernel's own bound on one look-up. */
const LINKS_MAX = 40;

export interface MountSourcesParts {
  readonly sandbox: string;
  /** Where it is noted which directories are held, for the next supervisor to give back. */
  readonly note: string;
  readonly log: Log;
}

export class MountSources {
  readonly #parts: MountSourcesParts;
  readonly #held = new Map<string, Held>();

  constructor(parts: MountSourcesParts) {
    this.#parts = parts;
    const noted = readJsonFact(parts.note);
    for (const one of Array.isArray(noted) ? noted : []) {
      const held = parseHeld(one);
      if (held !== undefined) this.#held.set(held.path, held);
    }
  }

  /**
   * From now on those of `sources` that lie in the sandbox lead to where they lead now. What the container has of these
   * directories it sees as ours for a moment: where it does not run as root (`isRoots`), and could not write there then, such
   * a directory is left alone, and a way is only looked at. Faults: `refused` where one leads out of the sandbox; `host`.
   * Repeatable.
   */
  hold(sources: readonly string[], isRoots: boolean): void {
    // Who is not root has no sandboxes but his own.
    if (process.geteuid?.() !== 0) return;
    const { sandbox } = this.#parts;
    try {
      const real = realpathSync(sandbox);
      const inside = sources.flatMap((source) =>
        [sandbox, real].flatMap((one) => (isAtOrBelow(source, one) ? [source.slice(one.length + 1)] : [])),
      );
      const seen = isRoots ? [] : inside.map((path) => (path === '' ? real : `${real}/${path}`));
      for (const path of new Set(inside)) if (path !== '') this.#walk(path, seen);
    } catch (error) {
      throw refusal(`cannot look at ${sandbox}`, error);
    }
  }

  /** All that is held, by this supervisor or an earlier one, goes back to its owner. Fault `host`. Repeatable. */
  release(): void {
    for (const held of [...this.#held.values()].reverse()) {
      giveBack(held);
      this.#held.delete(held.path);
    }
    removeSync(this.#parts.note);
  }

  #walk(path: string, seen: readonly string[]): void {
    const { sandbox } = this.#parts;
    const out = (): Fault =>
      new Fault('refused', `${escapeControl(`${sandbox}/${path}`)} leads out of the sandbox`);
    using opened = new DisposableStack();
    const way = [opened.use(new OpenDirectory(realpathSync(sandbox)))];
    let names = path.split('/');
    let links = 0;
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      if (name === '' || name === '.') continue;
      const at = way.at(-1);
      if (name === '..') {
        way.pop();
        if (way.length === 0) throw out();
        continue;
      }
      if (at === undefined) throw out();
      if (!seen.some((one) => isAtOrBelow(at.path, one))) this.#take(at);
      const kind = lstatSync(at.entry(name), { throwIfNoEntry: false });
      // What is not there Docker makes, or misses.
      if (kind === undefined || !(kind.isDirectory() || kind.isSymbolicLink())) return;
      if (kind.isDirectory()) {
        way.push(opened.use(at.below(name)));
        continue;
      }
      const target = readlinkSync(at.entry(name));
      if (++links > LINKS_MAX) throw out();
      if (target.startsWith('/')) {
        if (!target.startsWith(`${sandbox}/`)) throw out();
        way.splice(1);
        names = [...target.slice(sandbox.length + 1).split('/'), ...names];
      } else names = [...target.split('/'), ...names];
    }
  }

  #take(directory: OpenDirectory): void {
    if (this.#held.has(directory.path)) return;
    const held = directory.owned();
    if (held === undefined) return;
    this.#held.set(directory.path, held);
    writeFactSync(this.#parts.note, JSON.stringify([...this.#held.values()]));
    try {
      directory.take(held);
    } catch (error) {
      if (!isFault(error)) throw error;
      this.#parts.log.warning('the owner of a directory can exchange what is mounted of it', {
        error: oneLine(error),
      });
    }
  }
}

function isAtOrBelow(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`);
}

/** Whether a container's first process is root, as Docker tells its user: a name or number, perhaps with a group. */
export function runsAsRoot({ raw }: ContainerFacts): boolean {
  const config = raw.Config;
  const user = typeof config === 'object' && config !== null && 'User' in config ? config.User : '';
  return /^(?:root|0+)?(?::.*)?$/.test(String(user));
}

/** The host's paths that Docker mounts in a container, as it tells them. */
export function bindSources({ raw }: ContainerFacts): readonly string[] {
  const mounts: readonly unknown[] = Array.isArray(raw.Mounts) ? raw.Mounts : [];
  return mounts.flatMap((mount) =>
    typeof mount === 'object' && mount !== null && 'Source' in mount && typeof mount.Source === 'string'
      ? [mount.Source]
      : [],
  );
}

// The status updates of one task that its slave has not acknowledged: a file each, in order, on disk before anybody sends
// them. And which one was made last, so that none is made twice, by this supervisor or the next.

import { readdirSync } from 'node:fs';
import type { Health } from '../container/health.ts';
import { TaskState, type TaskStateNumber } from '../container/termination.ts';
import { errnoOf, isFault } from '../fault.ts';
import {
  makeDirectory,
  readFactBytes,
  readJsonFact,
  removeSync,
  writeFact,
  writeFactSync,
} from '../host/facts.ts';
import { decode } from '../mesos/codec.ts';
import { StatusUpdate } from '../mesos/messages.ts';
import type { ContainerPaths } from '../state/layout.ts';
import { hasFact } from '../state/store.ts';

export interface KeptUpdate {
  readonly path: string;
  readonly state: TaskStateNumber;
  /** With RUNNING, where it was said with it. */
  readonly health: Health | undefined;
  readonly uuid: Buffer;
  /** The StatusUpdate as it is sent each time. */
  readonly bytes: Buffer;
  /** It has gone out over the link that stands now. */
  sent: boolean;
}

/** Order in which states can follow one another. */
const RANK: Readonly<Record<number, number>> = {
  [TaskState.STARTING]: 0,
  [TaskState.RUNNING]: 1,
  [TaskState.KILLING]: 2,
};
const TERMINAL_RANK = 3;

function rank(state: number | undefined): number {
  return state === undefined ? -1 : (RANK[state] ?? TERMINAL_RANK);
}

/** Whether a state ends the task. */
export function isTerminal(state: TaskStateNumber): boolean {
  return rank(state) === TERMINAL_RANK;
}

/** `000012-1`: number and state; `000013-1-u2`, `000014-1-h0`: RUNNING and healthy or not, after so many failures. */
const NAME = /^(\d{6,15})-(\d)(?:-([hu])(\d{1,10}))?$/;

/**
 * Of the updates about a task's health so many may wait for their acknowledgement; then the oldest gives way. A slave may
 * be away for as long as its recovery timeout, and a health that changes with every check would fill the disk.
 */
export const HEALTH_UPDATES_MAX = 100;

interface Named {
  readonly sequence: number;
  readonly state: TaskStateNumber;
  readonly health: Health | undefined;
}

/** undefined for a file that is none of ours. */
function parseName(name: string): Named | undefined {
  const [, sequence, state, health, failures] = NAME.exec(name) ?? [];
  if (sequence === undefined) return undefined;
  return {
    sequence: Number(sequence),
    // The name was made from a TaskStateNumber.
    state: Number(state) as TaskStateNumber,
    health: health === undefined ? undefined : { healthy: health === 'h', failures: Number(failures) },
  };
}

function nameOf({ sequence, state, health }: Named): string {
  const said = health === undefined ? '' : `-${health.healthy ? 'h' : 'u'}${health.failures}`;
  return `${String(sequence).padStart(6, '0')}-${state}${said}`;
}

export class KeptUpdates {
  /** So many files that have the name of an update are none: what they told is told again, as far as it still holds. */
  readonly unreadable: number;
  readonly #paths: ContainerPaths;
  #pending: readonly KeptUpdate[];
  #last: Named | undefined;
  /** Of the last one made. */
  #sequence: number;
  /** Of the one that `reported` names. */
  #noted: number;
  /** Acknowledged, or given way: files that the disk has not let go of yet. */
  #forgotten: readonly string[] = [];
  #isAcknowledged = false;

  /** Reads what an earlier supervisor has kept. */
  constructor(paths: ContainerPaths) {
    this.#paths = paths;
    makeDirectory(paths.updates);
    const names = namesIn(paths.updates);
    this.#pending = names.flatMap(readUpdate);
    this.unreadable = names.length - this.#pending.length;
    const noted = parseReported(readJsonFact(paths.reported));
    this.#noted = noted?.sequence ?? 0;
    this.#sequence = Math.max(noted?.sequence ?? 0, names.at(-1)?.sequence ?? 0);
    this.#last = lastOf(names, this.#pending, noted);
  }

  /** Not acknowledged, oldest first. */
  get pending(): readonly KeptUpdate[] {
    return this.#pending;
  }

  /** Whether the slave has acknowledged any update of this task, ever. */
  get anyAcknowledged(): boolean {
    return this.#isAcknowledged || hasFact(this.#paths.acknowledged);
  }

  /** The task's health as it was said last; undefined where nothing was said of it, or something else since. */
  get health(): Health | undefined {
    return this.#last?.health;
  }

  /**
   * What a report of `state` would be: `new`; `made` before and kept or acknowledged; or `overtaken` by a later state. Only
   * STARTING may be said again, and RUNNING with a health that differs from the last: that comes behind RUNNING alone.
   */
  standing(state: TaskStateNumber, health?: Health): 'new' | 'kept' | 'acknowledged' | 'overtaken' {
    const last = this.#last?.state;
    if (health !== undefined && state === TaskState.RUNNING) {
      if (last !== TaskState.RUNNING) return 'overtaken';
      const said = this.#last?.health;
      if (said?.healthy !== health.healthy || said.failures !== health.failures) return 'new';
    }
    if (last === state && state !== TaskState.STARTING) {
      return this.#pending.some((update) => update.state === state) ? 'kept' : 'acknowledged';
    }
    return rank(last) > rank(state) || rank(last) === TERMINAL_RANK ? 'overtaken' : 'new';
  }

  /** On disk when it resolves. Errors of the disk pass through; may be called again with the same. */
  async keep(state: TaskStateNumber, uuid: Buffer, bytes: Buffer, health?: Health): Promise<void> {
    const said: Named = {
      sequence: this.#sequence + 1,
      state,
      health: state === TaskState.RUNNING ? health : undefined,
    };
    const path = `${this.#paths.updates}/${nameOf(said)}`;
    await writeFact(path, bytes);
    this.#noteLast(said);
    this.#sequence = said.sequence;
    this.#last = said;
    this.#pending = [...this.#pending, { path, state, health: said.health, uuid, bytes, sent: false }];
    if (said.health !== undefined) this.#forgetOldHealth();
    this.removeForgotten();
  }

  #noteLast(said: Named): void {
    const { sequence, state, health } = said;
    writeFactSync(this.#paths.reported, JSON.stringify({ sequence, state, ...health }));
    this.#noted = sequence;
  }

  #forgetOldHealth(): void {
    const [oldest, ...others] = this.#pending.filter((update) => update.health !== undefined);
    if (oldest === undefined || others.length < HEALTH_UPDATES_MAX) return;
    this.#pending = this.#pending.filter((one) => one !== oldest);
    this.#forgotten = [...this.#forgotten, oldest.path];
    this.removeForgotten();
  }

  /** The update that was acknowledged, now forgotten; undefined for a uuid that is none of ours (any more). */
  acknowledge(uuid: Buffer): KeptUpdate | undefined {
    const update = this.#pending.find((one) => one.uuid.equals(uuid));
    if (update === undefined) return undefined;
    this.#pending = this.#pending.filter((one) => one !== update);
    this.#forgotten = [...this.#forgotten, update.path];
    this.#isAcknowledged = true;
    this.removeForgotten();
    return update;
  }

  /** Removes what could not be removed at once. Repeatable. */
  removeForgotten(): void {
    if (this.#forgotten.length === 0) return;
    try {
      if (this.#isAcknowledged && !hasFact(this.#paths.acknowledged))
        writeFactSync(this.#paths.acknowledged, '');
      // Who kept it may have died before it could note it: without its file nothing else would tell that it was made.
      if (this.#last !== undefined && this.#last.sequence > this.#noted) this.#noteLast(this.#last);
      for (const path of this.#forgotten) removeSync(path);
      this.#forgotten = [];
    } catch (error) {
      // A full disk, for one. Should we die before it is free, the slave acknowledges once more what is sent once more.
      if (errnoOf(error) === undefined) throw error;
    }
  }

  /** What went out over a link that broke may not have arrived; the slave knows a repeated update by its uuid. */
  unsend(): void {
    for (const update of this.#pending) update.sent = false;
  }
}

/** The files of a directory that are updates, in their order; others are left alone. */
function namesIn(directory: string): readonly (Named & { readonly path: string })[] {
  return readdirSync(directory)
    .flatMap((name) => {
      const said = parseName(name);
      return said === undefined ? [] : [{ ...said, path: `${directory}/${name}` }];
    })
    .sort((a, b) => a.sequence - b.sequence);
}

/** Nothing where it cannot be read. */
function readUpdate({ path, state, health }: ReturnType<typeof namesIn>[number]): readonly KeptUpdate[] {
  const bytes = readFactBytes(path);
  const uuid = bytes === undefined ? undefined : uuidOf(bytes);
  return bytes === undefined || uuid === undefined ? [] : [{ path, state, health, uuid, bytes, sent: false }];
}

function uuidOf(bytes: Buffer): Buffer | undefined {
  try {
    const { uuid } = decode(StatusUpdate, bytes);
    return uuid === undefined ? undefined : Buffer.from(uuid);
  } catch (error) {
    if (isFault(error, 'protocol')) return undefined;
    throw error;
  }
}

/**
 * The note of the last update is written behind its file: whichever is later counts. One that was kept and cannot be read
 * counts as never made, as long as none is known to have come behind it.
 */
function lastOf(
  names: readonly (Named & { readonly path: string })[],
  readable: readonly KeptUpdate[],
  noted: Named | undefined,
): Named | undefined {
  const kept = new Set(readable.map(({ path }) => path));
  const isMade = ({ path }: { readonly path: string }): boolean => kept.has(path);
  const unmade = names.findLast((name) => !isMade(name))?.sequence ?? 0;
  const last = names.findLast(isMade);
  const counted = noted !== undefined && noted.sequence > unmade ? noted : undefined;
  return last !== undefined && last.sequence > (counted?.sequence ?? 0) ? last : counted;
}

function parseReported(value: unknown): Named | undefined {
  if (typeof value !== 'object' || value === null || !('sequence' in value) || !('state' in value))
    return undefined;
  const isHealth = 'healthy' in value && typeof value.healthy === 'boolean' && 'failures' in value;
  return {
    sequence: Number(value.sequence),
    // Written by ourselves from a TaskStateNumber.
    state: Number(value.state) as TaskStateNumber,
    health: isHealth ? { healthy: value.healthy === true, failures: Number(value.failures) } : undefined,
  };
}

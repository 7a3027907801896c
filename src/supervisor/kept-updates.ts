// The status updates of one task that its slave has not acknowledged: a file each, in order, on disk before anybody sends
// them. And which one was made last, so that none is made twice, by this supervisor or the next.

import { mkdirSync, readdirSync } from 'node:fs';
import { TaskState, type TaskStateNumber } from '../container/termination.ts';
import { errnoOf, isFault } from '../fault.ts';
import { readFactBytes, readJsonFact, removeSync, writeFact, writeFactSync } from '../host/facts.ts';
import { decode } from '../mesos/codec.ts';
import { StatusUpdate } from '../mesos/messages.ts';
import type { ContainerPaths } from '../state/layout.ts';
import { hasFact } from '../state/store.ts';

export interface KeptUpdate {
  readonly path: string;
  readonly state: TaskStateNumber;
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

/** `000012-1`: number and state. */
const NAME = /^(\d{6})-(\d)$/;

export class KeptUpdates {
  readonly #paths: ContainerPaths;
  #pending: readonly KeptUpdate[];
  #last: { readonly sequence: number; readonly state: TaskStateNumber | undefined };

  /** Reads what an earlier supervisor has kept. */
  constructor(paths: ContainerPaths) {
    this.#paths = paths;
    mkdirSync(paths.updates, { recursive: true, mode: 0o700 });
    this.#pending = readPending(paths.updates);
    this.#last = readLast(paths);
  }

  /** Not acknowledged, oldest first. */
  get pending(): readonly KeptUpdate[] {
    return this.#pending;
  }

  /** Whether the slave has acknowledged any update of this task, ever. */
  get anyAcknowledged(): boolean {
    return hasFact(this.#paths.acknowledged);
  }

  /**
   * What a report of `state` would be: `new`; `made` before and kept or acknowledged; or `overtaken` by a later state. Only
   * STARTING may be said again.
   */
  standing(state: TaskStateNumber): 'new' | 'kept' | 'acknowledged' | 'overtaken' {
    const { state: last } = this.#last;
    if (last === state && state !== TaskState.STARTING) {
      return this.#pending.some((update) => update.state === state) ? 'kept' : 'acknowledged';
    }
    return rank(last) > rank(state) || rank(last) === TERMINAL_RANK ? 'overtaken' : 'new';
  }

  /** On disk when it resolves. Errors of the disk pass through; may be called again with the same. */
  async keep(state: TaskStateNumber, uuid: Buffer, bytes: Buffer): Promise<void> {
    const sequence = this.#last.sequence + 1;
    const path = `${this.#paths.updates}/${String(sequence).padStart(6, '0')}-${state}`;
    await writeFact(path, bytes);
    writeFactSync(this.#paths.reported, JSON.stringify({ sequence, state }));
    this.#last = { sequence, state };
    this.#pending = [...this.#pending, { path, state, uuid, bytes, sent: false }];
  }

  /** The update that was acknowledged, now forgotten; undefined for a uuid that is none of ours (any more). */
  acknowledge(uuid: Buffer): KeptUpdate | undefined {
    const update = this.#pending.find((one) => one.uuid.equals(uuid));
    if (update === undefined) return undefined;
    this.#pending = this.#pending.filter((one) => one !== update);
    try {
      writeFactSync(this.#paths.acknowledged, '');
      removeSync(update.path);
    } catch (error) {
      // A full disk, for one: the next supervisor sends it again, and the slave acknowledges it again.
      if (errnoOf(error) === undefined) throw error;
    }
    return update;
  }

  /** What went out over a link that broke may not have arrived; the slave knows a repeated update by its uuid. */
  unsend(): void {
    for (const update of this.#pending) update.sent = false;
  }
}

/** Files that are none of ours are left alone. */
function readPending(directory: string): KeptUpdate[] {
  return readdirSync(directory)
    .sort()
    .flatMap((name) => {
      const path = `${directory}/${name}`;
      const state = NAME.exec(name)?.[2];
      const bytes = state === undefined ? undefined : readFactBytes(path);
      const uuid = bytes === undefined ? undefined : uuidOf(bytes);
      if (bytes === undefined || uuid === undefined) return [];
      // The name was made from a TaskStateNumber.
      return [{ path, state: Number(state) as TaskStateNumber, uuid, bytes, sent: false }];
    });
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

/** The note of the last update is written behind its file: whichever is later counts. */
function readLast(paths: ContainerPaths): { sequence: number; state: TaskStateNumber | undefined } {
  let sequence = 0;
  let state: TaskStateNumber | undefined;
  const value = readJsonFact(paths.reported);
  if (typeof value === 'object' && value !== null && 'sequence' in value && 'state' in value) {
    sequence = Number(value.sequence);
    state = Number(value.state) as TaskStateNumber;
  }
  for (const name of readdirSync(paths.updates).sort()) {
    const match = NAME.exec(name);
    if (match === null || Number(match[1]) <= sequence) continue;
    sequence = Number(match[1]);
    state = Number(match[2]) as TaskStateNumber;
  }
  return { sequence, state };
}

// A task's URIs into its sandbox: some at once, each made ready in a directory of its own beside the others, and put in
// place in the order of the record when all are there. What is in place is whole; a task that fails or is called off
// leaves nothing. Everything is done as the sandbox's owner; no link in the sandbox is followed.

import { dirname } from 'node:path';
import { LOGIN_FILES } from '../container/registry-login.ts';
import { type Fetch, leavesArchive, planUris, STAGING_NAME, type UrisAnswer } from '../container/uris.ts';
import { Fault, isFault, oneLine } from '../fault.ts';
import { endInWords, lastLine, runChild, type WriteBound } from '../host/child.ts';
import { fetchFile } from '../host/fetch.ts';
import type { Log } from '../host/log.ts';
import { type Owner, ownerOf } from '../host/owner.ts';
import { CHILD_ENVIRONMENT, findProgram } from '../host/programs.ts';
import { unpack } from '../host/unpack.ts';
import type { RequestRecord } from '../state/records.ts';
import { heldFetches } from './policy-check.ts';
import { UriBudget } from './uri-budget.ts';

/** A host's line and disk are shared by all its tasks. */
const AT_ONCE = 4;
/** Making, linking and removing files says a line for each; none for so long is a disk that hangs. */
const FILES_STALL_MS = 60_000;

export interface UrisParts {
  readonly request: RequestRecord;
  /** See ChildOptions. */
  readonly noteIn: string;
  readonly log: Log;
}

/** What is to be fetched for a task. */
export function urisOf({ task, config, slaveEnvironment }: RequestRecord): UrisAnswer {
  const frameworksHome = slaveEnvironment.MESOS_FRAMEWORKS_HOME;
  return planUris({
    uris: task.command.uris,
    unpack: config.uris.unpack,
    ...(frameworksHome === undefined ? {} : { frameworksHome }),
  });
}

/** Where URIs land. */
export function targetOf({ task }: RequestRecord): string {
  return task.container?.form === 'new' ? task.sandbox : `${task.sandbox}/fs`;
}

/**
 * Fetches all URIs of the task. Rejects with a Fault that names the first that cannot be had, or with the signal's
 * reason; either way no process is left and nothing but whole files of this or an earlier try. Repeatable.
 */
export async function fetchUris(
  parts: UrisParts,
  { signal, onProgress }: { readonly signal: AbortSignal; readonly onProgress: (text: string) => void },
): Promise<void> {
  const { request, noteIn, log } = parts;
  const answer = urisOf(request);
  if (!answer.ok) throw new Fault('refused', answer.why);
  if (answer.fetches.length === 0) return;
  const fetches = await heldFetches(request, answer.fetches, signal);
  const begin = Date.now();
  const target = targetOf(request);
  // Not of the target, in whose place the sandbox's owner may have moved something that belongs to root.
  const owner = await ownerOf(request.task.sandbox, noteIn, signal);
  const { maxUriBytes, maxUnpackedBytes } = request.config.policy;
  const budgets = {
    fetched: new UriBudget('max_uri_bytes', maxUriBytes),
    unpacked: new UriBudget('max_unpacked_bytes', maxUnpackedBytes),
  };
  const staging = new Staging(target, owner, noteIn);
  // What a supervisor that died was at.
  await staging.remove(signal);
  try {
    await staging.make('.', signal);
    await eachWithSignal(fetches, signal, onProgress, async (fetch, n, either) => {
      await prepareOne(fetch, n, staging, { ...parts, owner, budgets, signal: either });
    });
    for (const [n] of fetches.entries()) await staging.place(String(n), signal);
  } finally {
    // Also when called off: the sandbox stays, for people to read.
    await staging.remove(new AbortController().signal).catch((error: unknown) => {
      if (!isFault(error)) throw error;
      log.warning('what was being fetched is left in the sandbox', { error: oneLine(error) });
    });
  }
  log.info('URIs fetched', { count: fetches.length, durationMs: Date.now() - begin });
}

interface OneParts extends UrisParts {
  readonly owner: Owner;
  readonly budgets: { readonly fetched: UriBudget; readonly unpacked: UriBudget };
  readonly signal: AbortSignal;
}

/** Into `<n>/`, as it will be in the sandbox; an archive lies beside it in `<n>.packed/`. */
async function prepareOne(
  fetch: Fetch,
  n: number,
  staging: Staging,
  { request, noteIn, owner, budgets, signal }: OneParts,
): Promise<void> {
  const cwd = staging.path;
  const file = fetch.unpack === undefined ? fetch.file : fetch.file.replace(/^.*\//, '');
  const top = fetch.unpack === undefined ? `${n}` : `${n}.packed`;
  const directory = dirname(`${top}/${file}`);
  const common = { cwd, owner, noteIn, signal };
  await staging.make(directory, signal);
  await fetchFile(fetch, directory, file.slice(file.lastIndexOf('/') + 1), {
    ...common,
    slaveEnvironment: request.slaveEnvironment,
    ...boundOf(budgets.fetched, n),
  });
  const mode = fetch.executable ? '0755' : LOGIN_FILES.includes(fetch.file) ? '0600' : undefined;
  if (mode !== undefined) await staging.run(['chmod', '--verbose', mode, '--', `./${top}/${file}`], signal);
  if (fetch.unpack === undefined) return;
  await staging.make(String(n), signal);
  try {
    await unpack(fetch.unpack, `./${top}/${file}`, `./${n}`, {
      ...common,
      ...boundOf(budgets.unpacked, n),
      leaves: leavesArchive,
    });
  } catch (error) {
    if (!isFault(error)) throw error;
    throw new Fault(error.kind, `uri ${fetch.shown}: ${error.message}`, error);
  }
}

function boundOf(budget: UriBudget, n: number): { readonly bound?: WriteBound } {
  const bound = budget.share(n);
  return bound === undefined ? {} : { bound };
}

/** At most AT_ONCE at a time. The first failure calls the others off and is thrown when they have ended. */
async function eachWithSignal(
  fetches: readonly Fetch[],
  signal: AbortSignal,
  onProgress: (text: string) => void,
  work: (fetch: Fetch, n: number, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failure = new AbortController();
  const either = AbortSignal.any([signal, failure.signal]);
  const queue = [...fetches.entries()];
  let done = 0;
  const tell = (): void => {
    if (done < fetches.length) onProgress(`Fetching ${done + 1} of ${fetches.length} URIs`);
  };
  tell();
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      await work(next[1], next[0], either);
      done++;
      tell();
    }
  };
  const workers = Array.from({ length: AT_ONCE }, () =>
    worker().catch((error: unknown) => {
      failure.abort(error);
      throw error;
    }),
  );
  await Promise.allSettled(workers);
  signal.throwIfAborted();
  failure.signal.throwIfAborted();
}

/** The directory below the target where files are made ready: on the same disk, so that placing them is linking them. */
class Staging {
  readonly path: string;
  readonly #target: string;
  readonly #owner: Owner;
  readonly #noteIn: string;

  constructor(target: string, owner: Owner, noteIn: string) {
    this.path = `${target}/${STAGING_NAME}`;
    this.#target = target;
    this.#owner = owner;
    this.#noteIn = noteIn;
  }

  /** A directory in it, or with `.` itself, which nobody but the owner may pass. */
  async make(directory: string, signal: AbortSignal): Promise<void> {
    if (directory === '.')
      await this.run(['mkdir', '--verbose', '--mode=0700', '--', STAGING_NAME], signal, this.#target);
    else await this.run(['mkdir', '--verbose', '--parents', '--', `./${directory}`], signal);
  }

  /**
   * Links what is in `directory` into the target. cp puts no directory in the place of a link, and with
   * --remove-destination writes through none: it fails where a directory is a link already.
   */
  async place(directory: string, signal: AbortSignal): Promise<void> {
    await this.run(
      [
        ...['cp', '--verbose', '--recursive', '--link', '--no-dereference', '--remove-destination'],
        ...['--', `./${directory}/.`, '../'],
      ],
      signal,
    );
  }

  async remove(signal: AbortSignal): Promise<void> {
    await this.run(['rm', '--verbose', '--recursive', '--force', '--', STAGING_NAME], signal, this.#target);
  }

  async run(
    [program = '', ...words]: readonly string[],
    signal: AbortSignal,
    cwd = this.path,
  ): Promise<void> {
    const end = await runChild([findProgram(program), ...words], {
      cwd,
      env: CHILD_ENVIRONMENT,
      as: this.#owner.confined,
      noteIn: this.#noteIn,
      signal,
      // Their own words about each file are their progress.
      stall: { ms: FILES_STALL_MS, bytes: () => 0 },
    });
    if (end.how === 'ended' && end.code === 0) return;
    throw new Fault('host', `URIs: ${lastLine(end.stderr) ?? `${program} ${endInWords(end)}`}`);
  }
}

// The operator's programs at the beginning and the end of a container: each is started once, whatever crashes, has a
// minute, and changes nothing for the task. They run as root: of what a task says they are given what the operator names,
// and all of it in a file that only they can read. Their working directory is the container's state, not its sandbox,
// where the task's user could put something in their way.

import { closeSync, constants, fstatSync, openSync, readSync, unlinkSync } from 'node:fs';
import { portVariables } from '../container/environment.ts';
import { offeredPorts } from '../container/ports.ts';
import { isDiskRefusal, oneLine } from '../fault.ts';
import { type ChildEnd, endInWords, lastLine, runChild } from '../host/child.ts';
import { removeSync, writeFact, writeFactSync } from '../host/facts.ts';
import type { Log } from '../host/log.ts';
import { DISK_PATIENCE_MS, persist } from '../host/pauses.ts';
import { CHILD_ENVIRONMENT } from '../host/programs.ts';
import type { ContainerPaths } from '../state/layout.ts';
import type { RequestRecord } from '../state/records.ts';
import { hasFact } from '../state/store.ts';

/** A hook that takes longer is killed with its process group. */
export const HOOK_BOUND_MS = 60_000;
/** Of what a hook writes the last part is read. */
const OUTPUT_MAX_BYTES = 16 * 1024;

type HookName = 'onlaunch' | 'ondestroy';

export interface HooksParts {
  readonly request: RequestRecord;
  readonly paths: ContainerPaths;
  readonly log: Log;
  /** HOOK_BOUND_MS unless told. */
  readonly boundMs?: number;
}

export class Hooks {
  readonly #parts: HooksParts;
  readonly #stopping = new AbortController();
  #onlaunch: Promise<void> | undefined;
  #ondestroy: Promise<void> | undefined;

  constructor(parts: HooksParts) {
    this.#parts = parts;
  }

  /** Fulfilled when it has ended, at its bound at the latest; at once if it was started before or there is none. Never rejects. */
  onlaunch(): Promise<void> {
    this.#onlaunch ??= this.#once('onlaunch');
    return this.#onlaunch;
  }

  /** The same, and not before `onlaunch` has ended: the two never run at once. */
  ondestroy(): Promise<void> {
    this.#ondestroy ??= (this.#onlaunch ?? Promise.resolve()).then(() => this.#once('ondestroy'));
    return this.#ondestroy;
  }

  /** Kills what runs: the supervisor ends. */
  stop(): void {
    this.#stopping.abort();
  }

  async #once(name: HookName): Promise<void> {
    const { request, paths, log } = this.#parts;
    const argv = request.config.hooks[name];
    if (argv.length === 0 || hasFact(paths[name])) return;
    try {
      // Before it is started: one that a crash cut short is not started again.
      const mark = (): Promise<void> => writeFact(paths[name], '');
      const { signal } = this.#stopping;
      const options = { what: 'noting a hook', mayPass: isDiskRefusal, boundMs: DISK_PATIENCE_MS };
      await persist(mark, { ...options, signal, log });
      await this.#run(name, argv);
    } catch (error) {
      if (!this.#stopping.signal.aborted) log.warning('hook failed', { hook: name, error: oneLine(error) });
    }
  }

  async #run(name: HookName, argv: readonly string[]): Promise<void> {
    const { request, paths, log } = this.#parts;
    const boundMs = this.#parts.boundMs ?? HOOK_BOUND_MS;
    const begin = Date.now();
    const { given, all } = hookVariables(request);
    writeFactSync(paths.hookEnvironment, records(all));
    using stdout = new Output(`${paths.directory}/hook-stdout`);
    using stderr = new Output(`${paths.directory}/hook-stderr`);
    let end: ChildEnd;
    try {
      end = await runChild(argv, {
        cwd: paths.directory,
        env: {
          ...Object.fromEntries(given),
          ...CHILD_ENVIRONMENT,
          DEIMOS_TASK_ENV: paths.hookEnvironment,
        },
        // Files and not pipes: a shell's >/dev/stderr cannot open what Node takes for a pipe.
        output: { stdout: stdout.fd, stderr: stderr.fd },
        noteIn: paths.children,
        signal: this.#stopping.signal,
        boundMs,
      });
    } finally {
      removeSync(paths.hookEnvironment);
    }
    const words = { stdout: stdout.read(), stderr: stderr.read() };
    for (const stream of ['stdout', 'stderr'] as const) {
      for (const line of words[stream].split('\n').filter((one) => one !== ''))
        log.debug('hook says', { hook: name, stream, line: oneLine(line) });
    }
    const durationMs = Date.now() - begin;
    if (end.how === 'ended' && end.code === 0) {
      log.info('hook ended', { hook: name, durationMs });
      return;
    }
    const said = lastLine(words.stderr);
    log.warning('hook failed', {
      hook: name,
      how: end.how === 'late' ? `killed after ${boundMs / 1000} s` : endInWords(end),
      ...(said === undefined ? {} : { said }),
      durationMs,
    });
  }
}

/** Removes what a hook that died with its supervisor left in the state. Repeatable. */
export function tidyHooks(paths: ContainerPaths): void {
  removeSync(paths.hookEnvironment);
}

type Variables = ReadonlyMap<string, string>;

/** `given`: what is safe, and what the operator names. `all`: everything that the task says of its environment. */
export function hookVariables({ task, config }: RequestRecord): {
  readonly given: Variables;
  readonly all: Variables;
} {
  const ports = portVariables(offeredPorts(task.resources.ports));
  const usable = task.command.environment.filter(
    ([name, value]) => name !== '' && !/[=\0]/.test(name) && !value.includes('\0'),
  );
  const named = usable.filter(([name]) => config.hooks.environment.includes(name));
  const info = task.name.replaceAll('\0', '');
  return {
    given: new Map([...ports, ...named, ['TASK_INFO', info]]),
    all: new Map([...ports, ...usable, ['TASK_INFO', info]]),
  };
}

function records(variables: Variables): string {
  return [...variables].map(([name, value]) => `${name}=${value}\0`).join('');
}

/** A file without a name: gone with whoever has it open. */
class Output implements Disposable {
  readonly fd: number;

  constructor(path: string) {
    removeSync(path);
    const { O_RDWR, O_CREAT, O_EXCL, O_APPEND, O_NOFOLLOW } = constants;
    this.fd = openSync(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW, 0o600);
    unlinkSync(path);
  }

  /** The last part of it. */
  read(): string {
    const { size } = fstatSync(this.fd);
    const buffer = Buffer.alloc(Math.min(size, OUTPUT_MAX_BYTES));
    const length = readSync(this.fd, buffer, 0, buffer.length, Math.max(0, size - buffer.length));
    return buffer.subarray(0, length).toString();
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

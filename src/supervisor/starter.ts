// Starting a supervisor that is nobody's child. One caller at a time does, under a lock that the supervisor keeps until it
// ends; the others wait for what comes of it.

import type { ChildProcess } from 'node:child_process';
import { Fault } from '../fault.ts';
import { closeInherited } from '../host/descriptors.ts';
import { CHILD_ENVIRONMENT, findProgram } from '../host/programs.ts';
import { startProgram } from '../host/start.ts';
import { rootPaths } from '../state/layout.ts';
import { makeLockFile } from '../state/root.ts';
import { openStartErrors, type StartErrors } from './start-errors.ts';

/** One that does not appear is started again this often: the first may have died. */
const START_AGAIN_MS = 2_000;
/** flock(1) waits so many seconds for the right to start one. */
const START_LOCK_SECONDS = '2';

/**
 * Beside what every child gets, what keeps the process small over many tasks: by itself the C library keeps a heap for each
 * thread, and gives back less the more it was asked for. What has 16 KiB and more goes back to the kernel at once.
 */
export const SUPERVISOR_ENVIRONMENT: Readonly<Record<string, string>> = {
  ...CHILD_ENVIRONMENT,
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_THRESHOLD_: '16384',
  MALLOC_TRIM_THRESHOLD_: '131072',
};

/** What a supervisor is told by its starter, since it reads no configuration. */
export interface SupervisorStart {
  /** Our own executable, and its version: a supervisor of an older one makes room. */
  readonly executable: string;
  readonly version: string;
  /** Options after `supervise --root R`: log settings. */
  readonly options: readonly string[];
}

/**
 * Starts a supervisor that is nobody's child: `setsid --fork` gives it a session of its own and init as its parent, since
 * the slave kills the process tree of a `wait`, and its session. It inherits no environment, and no descriptor but that of
 * a lock, which it keeps until it ends, however that comes: a hundred callers at once start one, and not one each.
 */
export class Starter implements Disposable {
  readonly #root: string;
  readonly #how: SupervisorStart;
  #child: ChildProcess | undefined;
  #begunMs = Number.NEGATIVE_INFINITY;
  #fault: Fault | undefined;
  #errors: StartErrors | undefined;

  constructor(root: string, how: SupervisorStart) {
    this.#root = root;
    this.#how = how;
  }

  /** Unless that is under way already, or has just been done; whether it was begun now. Fault `host` where it cannot be done. */
  async start(): Promise<boolean> {
    if (this.#fault !== undefined) throw this.#fault;
    if (this.#child !== undefined || Date.now() - this.#begunMs <= START_AGAIN_MS) return false;
    closeInherited();
    const { startLock, supervisorErrors } = rootPaths(this.#root);
    makeLockFile(startLock);
    const { executable, options } = this.#how;
    const locked = ['--no-fork', '-x', '-w', START_LOCK_SECONDS, '-E', '0', startLock];
    const supervise = [executable, 'supervise', '--root', this.#root, ...options];
    const argv = [findProgram('prlimit'), '--core=0', '--', findProgram('setsid'), '--fork', ...supervise];
    this.#errors ??= openStartErrors(supervisorErrors);
    this.#begunMs = Date.now();
    const child = await startProgram('the supervisor', [findProgram('flock'), ...locked, ...argv], {
      cwd: '/',
      stdio: ['ignore', 'ignore', this.#errors?.fd ?? 'ignore'],
      env: SUPERVISOR_ENVIRONMENT,
    });
    this.#child = child;
    child.once('exit', (code) => {
      this.#child = undefined;
      if (code !== 0)
        this.#fault = new Fault('host', `cannot start the supervisor: setsid ended with status ${code}`);
    });
    return true;
  }

  /** What one that was started has said of itself, in a line; undefined: nothing. */
  said(): string | undefined {
    return this.#errors?.said();
  }

  /** Waits for the right to start one no longer. */
  [Symbol.dispose](): void {
    this.#errors?.[Symbol.dispose]();
    this.#child?.removeAllListeners('exit');
    this.#child?.kill('SIGKILL');
    this.#child?.unref();
  }
}

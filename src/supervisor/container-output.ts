// The copying of one container's output, from before its start to its last byte, as docker-work.ts sees it: opened, taken
// up again after a crash, drained at the end. Where the bytes go is here; how they are copied is in output-copy.ts.

import type { ContainerFacts } from '../docker/engine.ts';
import type { OutputSource } from '../docker/output.ts';
import { Fault, oneLine } from '../fault.ts';
import type { Log } from '../host/log.ts';
import { isShortage, persist, rest } from '../host/pauses.ts';
import { type OutputCopy, startCopy } from './output-copy.ts';

/** The rest of a container's output is read this long after its end at most. */
const DRAIN_BOUND_MS = 60_000;

export interface ContainerOutputParts {
  readonly sandbox: string;
  /** Where the journals of the streams are kept. */
  readonly stateDirectory: string;
  readonly log: Log;
  /** Aborted when the supervisor leaves: the rest is the next one's. */
  readonly leaving: AbortSignal;
}

export class ContainerOutput {
  readonly #parts: ContainerOutputParts;
  /** Aborted when nothing more is wanted. */
  readonly #stopping = new AbortController();
  /** The copier, when it has got hold of the output; undefined where it cannot. */
  #copy: Promise<OutputCopy | undefined> = Promise.resolve(undefined);

  constructor(parts: ContainerOutputParts) {
    this.#parts = parts;
  }

  /** Before the container is started. Resolves when its output is taken; Faults of Docker and `host`. */
  async open(source: OutputSource, facts: ContainerFacts): Promise<void> {
    const copy = await this.#start(source, facts, true);
    this.#copy = Promise.resolve(copy);
  }

  /**
   * Takes the output up where an earlier supervisor left it, beside whatever else is done: a log that cannot be read must not
   * keep the container's end from being noticed. What cannot be had is logged, and ends no task.
   */
  resume(source: () => Promise<OutputSource>, facts: ContainerFacts): void {
    const { leaving, log } = this.#parts;
    const signal = AbortSignal.any([leaving, this.#stopping.signal]);
    const options = { signal, log, what: 'taking up the output', mayPass: isShortage };
    this.#copy = persist(async () => this.#start(await source(), facts, false), options).catch(
      (error: unknown) => {
        if (!signal.aborted) log.error('the output cannot be taken up again', { error: oneLine(error) });
        return undefined;
      },
    );
  }

  async #start(source: OutputSource, facts: ContainerFacts, fresh: boolean): Promise<OutputCopy> {
    const { sandbox, stateDirectory, log, leaving } = this.#parts;
    return await startCopy(
      { source, log, signal: AbortSignal.any([leaving, this.#stopping.signal]) },
      { stdoutFile: `${sandbox}/stdout`, stderrFile: `${sandbox}/stderr`, stateDir: stateDirectory },
      { tty: facts.tty, logDriver: facts.logDriver, fresh },
    );
  }

  /**
   * Until every byte that the container wrote is in the sandbox. Not for one that never ran: Docker keeps its attach open
   * for as long as it lies there. Fault `timeout` past the bound; the copier's own failure; the signal's reason.
   */
  async drain(signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const late = rest(DRAIN_BOUND_MS, AbortSignal.any([signal, over.signal])).then(() => {
      throw new Fault('timeout', `the last output did not come within ${DRAIN_BOUND_MS / 1000} s`);
    });
    try {
      await Promise.race([this.#drained(), late]);
    } finally {
      over.abort();
      // Ended by us, and nobody waits for it any more.
      late.catch(() => {});
      await this.stop();
    }
  }

  async #drained(): Promise<void> {
    const copy = await this.#copy;
    copy?.noteEnded();
    await copy?.drained;
  }

  /** What has come so far is in the sandbox, and nothing more will be. Repeatable. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const copy = await this.#copy;
    await copy?.close();
  }
}

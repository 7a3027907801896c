// The stand-in slave's way to its containerizer: which verb gets which record, cwd, environment and sandbox.

import { join } from 'node:path';
import { encode, type Input } from '../../src/mesos/codec.ts';
import * as messages from '../../src/mesos/messages.ts';
import type { Executor } from './slave-memory.ts';
import type { SlaveEvent } from './slave-protocol.ts';
import { baseEnvironment, launchEnvironment, type SlaveFacts } from './slave-records.ts';
import { type RunningVerb, startVerb } from './slave-verbs.ts';

const ANSWERING = ['wait', 'usage', 'containers'];

export class Calls {
  readonly #slave: SlaveFacts;
  readonly #emit: (event: SlaveEvent) => void;
  #number = 0;
  /** Processes start in the order in which they were asked for, though not one after the other's end. */
  #started: Promise<unknown> = Promise.resolve();

  constructor(slave: SlaveFacts, emit: (event: SlaveEvent) => void) {
    this.#slave = slave;
    this.#emit = emit;
  }

  async launch(executor: Executor, record: Input<typeof messages.Launch>): Promise<RunningVerb> {
    const bytes = encode(messages.Launch, record);
    const environment = launchEnvironment(this.#slave, executor);
    return await this.#start('launch', executor.containerId, bytes, executor.sandbox, environment);
  }

  async update(
    executor: Executor,
    resources: Input<typeof messages.Update>['resources'],
  ): Promise<RunningVerb> {
    const record = encode(messages.Update, { container_id: { value: executor.containerId }, resources });
    return await this.#ofContainer('update', executor.containerId, record, executor);
  }

  /** Of a container that the slave knows as an executor's, or of an orphan. */
  async container(
    verb: 'wait' | 'usage' | 'destroy',
    containerId: string,
    executor: Executor | undefined,
  ): Promise<RunningVerb> {
    // The three records are alike.
    const record = encode(messages.Wait, { container_id: { value: containerId } });
    return await this.#ofContainer(verb, containerId, record, executor);
  }

  async plain(verb: 'recover' | 'containers'): Promise<RunningVerb> {
    return await this.#ofContainer(verb, undefined, undefined, undefined);
  }

  /** Any verb with any bytes. */
  async raw(verb: string, record: Uint8Array | undefined, cwd: string): Promise<RunningVerb> {
    return await this.#spawn(verb, undefined, record, cwd, undefined, baseEnvironment(this.#slave));
  }

  async #ofContainer(
    verb: string,
    containerId: string | undefined,
    record: Uint8Array | undefined,
    executor: Executor | undefined,
  ): Promise<RunningVerb> {
    return await this.#start(verb, containerId, record, executor?.sandbox, baseEnvironment(this.#slave));
  }

  async #start(
    verb: string,
    containerId: string | undefined,
    record: Uint8Array | undefined,
    sandbox: string | undefined,
    environment: Readonly<Record<string, string>>,
  ): Promise<RunningVerb> {
    return await this.#spawn(verb, containerId, record, sandbox ?? process.cwd(), sandbox, environment);
  }

  async #spawn(
    verb: string,
    containerId: string | undefined,
    record: Uint8Array | undefined,
    cwd: string,
    sandbox: string | undefined,
    environment: Readonly<Record<string, string>>,
  ): Promise<RunningVerb> {
    const { containerizer, stdinByteMs, leakDescriptors, workDirectory } = this.#slave.config;
    this.#number += 1;
    const number = this.#number;
    const start = () =>
      startVerb(
        {
          ...{ number, containerizer, verb, containerId, cwd, environment, record, sandbox },
          ...{ answers: ANSWERING.includes(verb), stdinByteMs, leakDescriptors },
          pipeDirectory: join(workDirectory, 'pipes'),
        },
        {
          started: (call) => this.#emit({ type: 'call', call }),
          ended: (end) => this.#emit({ type: 'call-end', end }),
          violation: (text) => this.#emit({ type: 'violation', text }),
        },
      );
    const running = this.#started.then(start);
    this.#started = running.catch(() => {});
    return await running;
  }
}

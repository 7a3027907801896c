// Commands inside a running container, by Docker's exec API: create one, start it and read what it writes, ask how it
// ended. Docker offers no way to end one: whoever starts a command sees to that itself, by the pid that Docker tells.

import type { DockerId } from '../container/identity.ts';
import { Fault, isFault } from '../fault.ts';
import { readAnswer } from './client.ts';
import type { Engine } from './engine.ts';
import { dockerFault } from './faults.ts';
import { Demultiplexer } from './frames.ts';

export type ExecId = string & { readonly exec: unique symbol };

export interface ExecOrder {
  readonly argv: readonly string[];
  /** `NAME=value`, added to the container's own. */
  readonly environment: readonly string[];
}

export interface ExecFacts {
  readonly running: boolean;
  /** undefined until it has ended, or where it never began. */
  readonly exitCode?: number;
  /** On the daemon's host. */
  readonly pid?: number;
}

/** As the container's own user, in its directory. Fault `conflict` where the container is paused or runs no more. One try. */
export async function createExec(
  engine: Engine,
  id: DockerId,
  { argv, environment }: ExecOrder,
  signal: AbortSignal,
): Promise<ExecId> {
  const doing = 'create a command in the container';
  const body = { AttachStdout: true, AttachStderr: true, Cmd: [...argv], Env: [...environment] };
  const answer = await engine.askOnce(doing, 'POST', `/containers/${id}/exec`, signal, { body });
  const exec = property(answer, 'Id');
  if (!isExecId(exec)) throw new Fault('protocol', `${doing}: Docker's answer has no id`);
  return exec;
}

/**
 * Starts it, and gives each piece of its output until nobody holds its ends any more: that may be long after its own
 * end, where it has left something behind. Not bounded. A command that cannot be started gives Docker's words as output.
 */
export async function* runExec(engine: Engine, exec: ExecId, signal: AbortSignal): AsyncGenerator<Buffer> {
  const doing = 'start a command in the container';
  try {
    const body = { Detach: false, Tty: false };
    const response = await engine.client.open('POST', `/exec/${exec}/start`, signal, { body });
    if (response.statusCode !== 200) {
      await readAnswer(response, signal);
      throw new Fault('protocol', `${doing}: Docker answers with status ${response.statusCode}`);
    }
    const close = (): void => void response.destroy();
    signal.addEventListener('abort', close, { once: true });
    try {
      const frames = new Demultiplexer();
      for await (const bytes of response as AsyncIterable<Buffer>) {
        const pieces: Buffer[] = [];
        frames.push(bytes, (_stream, start, end) => pieces.push(bytes.subarray(start, end)));
        yield Buffer.concat(pieces);
      }
    } finally {
      signal.removeEventListener('abort', close);
      close();
    }
  } catch (error) {
    signal.throwIfAborted();
    throw dockerFault(error, doing);
  }
}

/** `absent`: Docker has forgotten it, with its container or some minutes after its end. */
export async function inspectExec(
  engine: Engine,
  exec: ExecId,
  signal: AbortSignal,
): Promise<ExecFacts | 'absent'> {
  let answer: unknown;
  try {
    answer = await engine.askOnce('inspect a command', 'GET', `/exec/${exec}/json`, signal);
  } catch (error) {
    if (isFault(error, 'not-found')) return 'absent';
    throw error;
  }
  const exitCode = property(answer, 'ExitCode');
  const pid = property(answer, 'Pid');
  return {
    running: property(answer, 'Running') === true,
    ...(typeof exitCode === 'number' ? { exitCode } : {}),
    ...(typeof pid === 'number' && pid > 1 ? { pid } : {}),
  };
}

/** The commands that Docker knows of in a container, whoever started them. */
export function execsOf(inspected: Readonly<Record<string, unknown>>): readonly ExecId[] {
  const ids = inspected.ExecIDs;
  if (!Array.isArray(ids)) return [];
  return ids.filter(isExecId);
}

/** Hexadecimal digits; it becomes part of a path. */
function isExecId(id: unknown): id is ExecId {
  return typeof id === 'string' && /^[0-9a-f]{1,128}$/.test(id);
}

function property(of: unknown, name: string): unknown {
  return of !== null && typeof of === 'object' ? Reflect.get(of, name) : undefined;
}

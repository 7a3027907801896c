// The stand-in slave's own process, so that it can be SIGKILLed as a slave can: only then do its sockets and pipes break,
// its calls become orphans, and the parent of their session's leader vanish. Driven over IPC by slave.ts.

import { enableCompileCache } from 'node:module';
import { TEST_CACHE } from './cache.ts';
import type { Slave } from './slave-core.ts';
import type { Request, SlaveCommand, SlaveEvent } from './slave-protocol.ts';

// Tests start hundreds of these: most of what each costs is the compiling of the rest.
enableCompileCache(`${TEST_CACHE}/compiled`);

const held = { slave: undefined as Slave | undefined };

function emit(event: SlaveEvent): void {
  process.send?.(event);
}

async function carryOut(command: SlaveCommand): Promise<unknown> {
  if (command.type === 'start') {
    const { Slave } = await import('./slave-core.ts');
    held.slave = new Slave(command.config, emit);
    return await held.slave.start();
  }
  const { slave } = held;
  if (slave === undefined) throw new Error('not started');
  switch (command.type) {
    case 'run':
      return slave.run(command.order);
    case 'kill-task':
      return slave.killTask(command.frameworkId, command.taskId, command.graceMs);
    case 'shutdown-executor':
      return slave.shutdownExecutor(command.containerId);
    case 'destroy':
      return await slave.destroyContainer(command.containerId);
    case 'usage':
      return await slave.usage(command.containerId);
    case 'framework-message':
      return slave.frameworkMessage(command.containerId, command.data);
    case 'acks':
      return slave.setAcks(command.policy);
    case 'hold':
      return slave.hold(command.message);
    case 'let-go':
      return slave.letGo(command.message);
    case 'call':
      return await slave.call(command.verb, command.record, command.cwd);
  }
}

process.on('message', (message) => {
  // slave.ts sends nothing else.
  const { number, command } = message as Request;
  carryOut(command).then(
    (value) => emit({ type: 'answer', number, value }),
    (error: unknown) =>
      emit({ type: 'answer', number, error: error instanceof Error ? error.message : String(error) }),
  );
});

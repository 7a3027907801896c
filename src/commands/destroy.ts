// `deimos destroy`: returns only once the container is really gone, since the slave kills `wait` and forgets the container
// the moment this exits, whatever the status.

import { isFault, oneLine } from '../fault.ts';
import { tryLock } from '../host/flock.ts';
import { readRecord } from '../mesos/record.ts';
import { decodeContainerId } from '../mesos/task-view.ts';
import { findState } from '../state/find.ts';
import type { ContainerPaths } from '../state/layout.ts';
import { admission, hasFact, readRequest, readTermination } from '../state/store.ts';
import { ask } from '../supervisor/client.ts';
import type { Call } from './call.ts';
import { noteFact } from './note-fact.ts';

/** After the grace: 10 s until SIGKILL through Docker, 5 s until that of the pid, and what the removal takes. */
const BEYOND_GRACE_MS = 30_000;

/** Exit status 0 once it is gone, and for a container that is unknown or has ended. Faults: `timeout`, `host`, `protocol`. */
export async function destroy(call: Call): Promise<number> {
  const id = decodeContainerId('destroy', await readRecord());
  const state = findState(call.configuredRoot(), id);
  if (state === undefined) {
    call.log.info('destroy of an unknown container', { mesosId: id });
    return 0;
  }
  const { root, paths } = state;
  // Only to be seen by `deimos locks`: two at once do no harm.
  using _lock = await tryLock(paths.lock('destroy')).catch((error: unknown) => {
    call.log.warning('no lock for destroy', { mesosId: id, error: oneLine(error) });
    return undefined;
  });
  if (!hasFact(paths.removed) || readTermination(paths) === undefined) {
    await ask(
      root,
      { op: 'destroy', container: id },
      { timeoutMs: graceSeconds(paths) * 1000 + BEYOND_GRACE_MS, start: call.supervisorStart() },
    );
  }
  // The slave throws this container's `wait` away: nobody will ask for its end again. Gone is what it was asked for, and is:
  // without the note a slave that comes back destroys it once more.
  if (admission(paths) === 'accepted') noteFact(call, paths.delivered, '', { fields: { mesosId: id } });
  return 0;
}

function graceSeconds(paths: ContainerPaths): number {
  try {
    return readRequest(paths)?.config.containers.stopTimeoutSeconds ?? 0;
  } catch (error) {
    if (!isFault(error, 'protocol')) throw error;
    // Of a later release, whose supervisor may live, and can end it.
    return 0;
  }
}

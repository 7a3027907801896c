// `deimos destroy`: returns only once the container is really gone, since the slave kills `wait` and forgets the container
// the moment this exits, whatever the status.

import { oneLine } from '../fault.ts';
import { writeFactSync } from '../host/facts.ts';
import { tryLock } from '../host/flock.ts';
import { readRecord } from '../mesos/record.ts';
import { decodeContainerId } from '../mesos/task-view.ts';
import { findState } from '../state/find.ts';
import { admission, hasFact, readRequest } from '../state/store.ts';
import { ask } from '../supervisor/client.ts';
import type { Call } from './call.ts';

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
  if (!(hasFact(paths.termination) && hasFact(paths.removed))) {
    const graceSeconds = readRequest(paths)?.config.containers.stopTimeoutSeconds ?? 0;
    await ask(
      root,
      { op: 'destroy', container: id },
      { timeoutMs: graceSeconds * 1000 + BEYOND_GRACE_MS, start: call.supervisorStart() },
    );
  }
  // The slave throws this container's `wait` away: nobody will ask for its end again.
  if (admission(paths) === 'accepted') writeFactSync(paths.delivered, '');
  return 0;
}

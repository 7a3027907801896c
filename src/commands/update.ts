// `deimos update`: notes the limits that the slave wants and has them put into force. It is on the way of every task's
// start, and a status other than 0 would lose the task: whatever cannot be done now is noted, and done later.

import { errnoOf, isFault, oneLine } from '../fault.ts';
import { readRecord } from '../mesos/record.ts';
import { decodeUpdate } from '../mesos/task-view.ts';
import { findState } from '../state/find.ts';
import { noteLimits } from '../state/limits.ts';
import { admission, hasFact } from '../state/store.ts';
import type { Call } from './call.ts';

const UPDATE_TIMEOUT_MS = 5_000;

/** Exit status 0, also for a container that is unknown or has ended. Fault `protocol` for a record that is none. */
export async function update(call: Call): Promise<number> {
  const { containerId, resources } = decodeUpdate(await readRecord());
  const { cpus, memMb } = resources;
  if (cpus === undefined && memMb === undefined) return 0;
  const state = findState(call.configuredRoot(), containerId);
  if (state === undefined || admission(state.paths) !== 'accepted' || hasFact(state.paths.outcome)) return 0;
  try {
    noteLimits(state.paths, resources);
  } catch (error) {
    // A full disk, for one. The container keeps the limits that it has; failing here would lose it.
    if (errnoOf(error) === undefined) throw error;
    call.log.error('limits not noted, those before stay', { mesosId: containerId, error: oneLine(error) });
    return 0;
  }
  // Nothing runs yet: the limits are taken from the file when it does.
  if (!hasFact(state.paths.init)) return 0;
  const { ask } = await import('../supervisor/client.ts');
  try {
    const request = { op: 'update', container: containerId } as const;
    await ask(state.root, request, { timeoutMs: UPDATE_TIMEOUT_MS, start: call.supervisorStart() });
  } catch (error) {
    if (!isFault(error)) throw error;
    call.log.warning('limits noted, not yet in force', { mesosId: containerId, error: oneLine(error) });
  }
  return 0;
}

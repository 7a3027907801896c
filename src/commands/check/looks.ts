// The looks of `deimos check`, by name, in the order in which they are told.

import { escapeControl, Fault, isFault, oneLine } from '../../fault.ts';
import type { Call } from '../call.ts';
import { configuration } from './configuration.ts';
import { dockerClient, dockerDaemon } from './docker.ts';
import { type Finding, failure } from './finding.ts';
import { cron, mesosSlave, service, syslog } from './host.ts';
import { space, stateRoot, states, usage } from './state.ts';
import { executorPort, locks, supervisor } from './supervisor.ts';

type Look = (call: Call) => Finding | Promise<Finding>;

export const LOOKS: ReadonlyMap<string, Look> = new Map<string, Look>([
  ['configuration', configuration],
  ['docker client', dockerClient],
  ['docker daemon', dockerDaemon],
  ['state root', stateRoot],
  ['space', space],
  ['locks', locks],
  ['supervisor', supervisor],
  ['service', service],
  ['executor port', executorPort],
  ['states', states],
  ['usage', usage],
  ['mesos slave', mesosSlave],
  ['cron', cron],
  ['syslog', syslog],
]);

/** What a Fault says is a finding; a bug stays one. Fault `usage` if there is no such look. */
export async function look(call: Call, name: string): Promise<Finding> {
  const found = LOOKS.get(name);
  if (found === undefined)
    throw new Fault('usage', `no look ${escapeControl(name)} (${[...LOOKS.keys()].join(', ')})`);
  try {
    return await found(call);
  } catch (error) {
    if (!isFault(error)) throw error;
    return failure(oneLine(error), TODO[error.kind] ?? 'mend what it names');
  }
}

const TODO: Readonly<Partial<Record<Fault['kind'], string>>> = {
  config: 'mend the configuration, or what it names',
  docker: 'see that Docker runs and answers (`docker version`)',
  timeout: 'see what it waits for',
};

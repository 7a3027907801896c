// The variables inside the container. They go into the body of the create request and nowhere else: no argv, no log,
// no environment of another process. Pure. What of the slave's environment is not named here does not get in.

import type { TaskRequest } from './task.ts';

export type Variable = readonly [name: string, value: string];

export type EnvironmentAnswer =
  | { readonly ok: true; readonly variables: readonly Variable[] }
  | { readonly ok: false; readonly why: string };

/** Where the sandbox is seen inside: the old form has the URIs' directory alone, the new form the whole sandbox. */
export const SANDBOX_INSIDE = { old: '/tmp/mesos-sandbox', new: '/mnt/mesos/sandbox' } as const;

/**
 * What an executor reads about its slave and the record does not say. Not LIBPROCESS_* (the slave's own port: an
 * executor that gets it aborts), and no path of the host (MESOS_NATIVE_JAVA_LIBRARY, MESOS_WORK_DIRECTORY…).
 */
const SLAVE_FACTS = [
  'MESOS_RECOVERY_TIMEOUT',
  'MESOS_AGENT_ENDPOINT',
  'MESOS_SUBSCRIPTION_BACKOFF_MAX',
  'MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD',
  'MESOS_HTTP_COMMAND_EXECUTOR',
] as const;

/** PORT, PORT0…, PORTS for the offered ports in their order; none where none were offered. */
export function portVariables(ports: readonly number[]): readonly Variable[] {
  const first = ports[0];
  if (first === undefined) return [];
  return [
    ['PORT', String(first)],
    ...ports.map((port, i): Variable => [`PORT${i}`, String(port)]),
    ['PORTS', ports.join(',')],
  ];
}

/**
 * All variables of the container, each name once. Later sources win: `-e` of the options, the offered ports, the
 * task's own (a later one of the same name wins), then ours, which say what is so whatever the framework thinks.
 * `fromOptions` is Docker's list (`NAME=value`, or `NAME` alone to take it away from the image's).
 */
export function environment(
  task: TaskRequest,
  slaveEnvironment: Readonly<Record<string, string>>,
  ports: readonly number[],
  name: string,
  fromOptions: readonly string[],
): EnvironmentAnswer {
  for (const [variable, value] of task.command.environment) {
    if (variable === '' || /[=\0]/.test(variable)) {
      return { ok: false, why: `${JSON.stringify(variable)} cannot be the name of an environment variable` };
    }
    if (value.includes('\0')) {
      return { ok: false, why: `the value of the environment variable ${variable} contains a NUL` };
    }
  }
  const isNew = task.container?.form === 'new';
  const inside = SANDBOX_INSIDE[isNew ? 'new' : 'old'];
  const variables = new Map<string, string>();
  for (const [variable, value] of portVariables(ports)) variables.set(variable, value);
  // An `-e PORT=…` among the options is the framework's word too.
  for (const entry of fromOptions) {
    const [variable = '', value] = splitEntry(entry);
    if (value === undefined) variables.delete(variable);
    else variables.set(variable, value);
  }
  for (const [variable, value] of task.command.environment) variables.set(variable, value);
  for (const [variable, value] of ours(task, slaveEnvironment, inside, isNew ? name : undefined)) {
    variables.set(variable, value);
  }
  const unfit = [...variables].find(([variable, value]) => /\0/.test(variable + value))?.[0];
  if (unfit !== undefined)
    return { ok: false, why: `the environment variable ${JSON.stringify(unfit)} would contain a NUL` };
  return { ok: true, variables: [...variables] };
}

function ours(
  task: TaskRequest,
  slaveEnvironment: Readonly<Record<string, string>>,
  inside: string,
  containerName: string | undefined,
): Variable[] {
  const always: Variable[] = [
    ['TASK_INFO', task.name.replaceAll('\0', '')],
    ['MESOS_SANDBOX', inside],
  ];
  if (containerName !== undefined) always.push(['MESOS_CONTAINER_NAME', containerName]);
  if (task.kind === 'command') return always;
  // From the record, not from the environment: there the slave's own flags (MESOS_CHECKPOINT=true) would show through.
  const identity: Variable[] = [
    ['MESOS_FRAMEWORK_ID', task.frameworkId],
    ['MESOS_EXECUTOR_ID', task.executorId],
    ['MESOS_SLAVE_ID', task.slaveId],
    ...(task.slavePid === undefined ? [] : [['MESOS_SLAVE_PID', task.slavePid] as const]),
    ['MESOS_CHECKPOINT', task.checkpoint ? '1' : '0'],
    ['MESOS_DIRECTORY', inside],
  ];
  const facts = SLAVE_FACTS.flatMap((name): Variable[] => {
    const value = slaveEnvironment[name];
    return value === undefined ? [] : [[name, value]];
  });
  return [...always, ...identity, ...facts];
}

/** `NAME=value` → both, `NAME` → the name alone. */
function splitEntry(entry: string): readonly [string, string?] {
  const at = entry.indexOf('=');
  return at < 0 ? [entry] : [entry.slice(0, at), entry.slice(at + 1)];
}

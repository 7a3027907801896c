// `deimos launch`: writes the request down, hands it to the supervisor, and is done when that has accepted it. Nothing is
// fetched, pulled or run here: the slave holds back every other call for the container until launch returns.

import type { MesosContainerId } from '../container/identity.ts';
import { connectionOf } from '../docker/connection.ts';
import { errnoOf, Fault, isFault, oneLine } from '../fault.ts';
import { bootId, callerOfSession, noted } from '../host/processes.ts';
import { rawField } from '../mesos/codec.ts';
import { readRecord } from '../mesos/record.ts';
import { decodeLaunch, LAUNCH_TASK_INFO } from '../mesos/task-view.ts';
import { claimLaunch } from '../state/launch-claim.ts';
import { type ContainerPaths, containerPaths } from '../state/layout.ts';
import { REQUEST_VERSION, type RequestRecord } from '../state/records.ts';
import { noteRoot, prepareRoot } from '../state/root.ts';
import { createState, removeState, takeOver, withdraw, writeRequest } from '../state/store.ts';
import { realWorkDirectory } from '../state/work-directory.ts';
import { ask } from '../supervisor/client.ts';
import type { Call } from './call.ts';

/** Until the request is accepted; the slave's own registration timeout runs already. */
const ACCEPT_TIMEOUT_MS = 20_000;

/** Variables of the slave's environment that a container, a fetch, Docker's client or TLS to the slave may need; all others stop here. */
const WANTED_VARIABLE =
  /^(MESOS_\w+|(LIBPROCESS_)?SSL_(ENABLED|SUPPORT_DOWNGRADE|(KEY|CERT|CA)_FILE|CA_DIR|(VERIFY|REQUIRE)_CERT)|(https?|ftp|all|no)_proxy|(HTTPS?|FTP|ALL|NO)_PROXY|AWS_\w+|HADOOP_HOME|JAVA_HOME|DOCKER_(HOST|CONFIG|TLS_VERIFY|CERT_PATH))$/;

export interface Launched {
  readonly root: string;
  readonly paths: ContainerPaths;
  readonly request: RequestRecord;
}

/** Exit status 0 once the request is accepted. Faults: `config`, `protocol` (the record), `conflict` (launched before), `host`, `timeout`. */
export async function launch(call: Call): Promise<number> {
  await launchRecord(call);
  return 0;
}

/** The same, for whoever goes on with the container. */
export async function launchRecord(call: Call): Promise<Launched> {
  const record = await readRecord();
  const request = await readRequestRecord(call, record);
  const root = prepareRoot(call.options.root ?? request.config.state.root);
  noteRoot(root);
  const id = request.task.containerId;
  const paths = createState(root, id);
  using claim = await claimLaunch(paths);
  if (claim === undefined) throw new Fault('locked', `container ${id} is being launched by another call`);
  takeOver(paths, id);
  try {
    writeRequest(root, paths, request);
    await ask(
      root,
      { op: 'run', container: id },
      { timeoutMs: ACCEPT_TIMEOUT_MS, start: call.supervisorStart() },
    );
  } catch (error) {
    if (!(isFault(error) || errnoOf(error) !== undefined)) throw error;
    // Whoever renames `pending` first has decided: an exit status other than 0 must leave nothing running.
    if (withdraw(paths)) {
      discard(call, root, id);
      throw error;
    }
    call.log.warning('accepted, though the supervisor did not say so', { mesosId: id });
  }
  call.log.debug('launched', { mesosId: id, task: request.task.taskId ?? request.task.executorId });
  return { root, paths: containerPaths(root, id), request };
}

/** What was written before it failed. Why it failed is said, whatever becomes of this. */
function discard(call: Call, root: string, id: MesosContainerId): void {
  try {
    removeState(root, id);
  } catch (error) {
    if (!isFault(error) && errnoOf(error) === undefined) throw error;
    call.log.warning('what was written of a launch is left', { mesosId: id, error: oneLine(error) });
  }
}

/** The request that a Launch record makes, under the configuration in force. Faults: `config`, `protocol`. */
export async function readRequestRecord(call: Call, record: Buffer): Promise<RequestRecord> {
  const circumstances = await readCircumstances(call);
  const { environment } = call;
  const task = decodeLaunch(record, {
    ...defined('frameworkId', environment.MESOS_FRAMEWORK_ID),
    ...defined('executorId', environment.MESOS_EXECUTOR_ID),
    ...defined('slaveId', environment.MESOS_SLAVE_ID),
    ...defined('slavePid', environment.MESOS_SLAVE_PID),
  });
  const taskInfo = rawField(record, LAUNCH_TASK_INFO);
  return {
    ...circumstances,
    task,
    ...(taskInfo === undefined ? {} : { taskInfo: taskInfo.toString('base64') }),
  };
}

/** All of a request but the task itself: the configuration and what counts of the environment. Fault `config`. */
export async function readCircumstances(call: Call): Promise<Omit<RequestRecord, 'task' | 'taskInfo'>> {
  const { environment } = call;
  // The one verb of the slave's that needs all of the configuration.
  const { loadConfig } = await import('../config/load.ts');
  const { config, path, warnings } = loadConfig(call.place);
  for (const { file, line, text } of warnings) call.log.warning('configuration', { file, line, text });
  call.log.debug('configuration', { path: path ?? 'defaults' });
  const slaveEnvironment: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && WANTED_VARIABLE.test(name)) slaveEnvironment[name] = value;
  }
  // A Docker that cannot be meant is a mistake in the configuration, and said here, where a person may see it.
  for (const name of connectionOf(config.docker, slaveEnvironment, config.index.dockercfg).ignored)
    call.log.warning('an option of [docker] has no effect', { name });
  const workDirectory = realWorkDirectory(environment.MESOS_WORK_DIRECTORY);
  const slaveProcess = workDirectory === undefined ? undefined : callerOfSession();
  return {
    version: REQUEST_VERSION,
    slaveEnvironment,
    ...(workDirectory === undefined ? {} : { workDirectory }),
    config,
    launchedAt: new Date().toISOString(),
    bootId: bootId(),
    ...(slaveProcess === undefined ? {} : { slaveProcess: noted(slaveProcess) }),
  };
}

function defined<K extends string>(name: K, value: string | undefined): { [P in K]?: string } {
  // A computed key widens to an index signature; the object has exactly this one property.
  return value === undefined || value === '' ? {} : ({ [name]: value } as { [P in K]?: string });
}

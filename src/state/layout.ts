// Every path name below a state root, and nothing else. The layout is public: operators' scripts read it, and
// ARCHITECTURE.md documents it. One fact per file.

import type { DockerId, MesosContainerId } from '../container/identity.ts';

/** Of a file name made of a path, in bytes: room is left for the suffix under which a fact is written. */
const NAME_LENGTH_MAX = 200;

export interface RootPaths {
  readonly root: string;
  /** A directory for each container. */
  readonly containers: string;
  /** Symlinks named by Docker id. */
  readonly dockerIds: string;
  /** Symlinks named by the time of launch. */
  readonly startTimes: string;
  readonly supervisor: string;
  /** Held for as long as a supervisor lives; only its holder makes or unlinks the socket and the FIFO. */
  readonly supervisorLock: string;
  /** Lets woken waits through one at a time. */
  readonly wakeLock: string;
  /** Inherited by the supervisor that is being started, and kept until it ends: others wait before they start one. */
  readonly startLock: string;
  readonly socket: string;
  /** A FIFO, for short questions. */
  readonly requests: string;
  /** The executor port that was used last, kept so that a supervisor comes back on the same one. */
  readonly port: string;
  /** The version of the records that are written here, where it is not the first. */
  readonly records: string;
  /** The slave of a work directory that called `recover` last: pid and start time. */
  readonly slaves: string;
  slave(workDirectory: string): string;
  readonly supervisorLog: string;
  /** What supervisors have written to stderr: why one could not start, and how its runtime died. */
  readonly supervisorErrors: string;
  /** The lock of `state --rm`. */
  readonly cleanupLock: string;
}

export function rootPaths(root: string): RootPaths {
  const supervisor = `${root}/supervisor`;
  const slaves = `${supervisor}/slaves`;
  return {
    root,
    containers: `${root}/mesos`,
    dockerIds: `${root}/docker`,
    startTimes: `${root}/start-time`,
    supervisor,
    supervisorLock: `${supervisor}/lock`,
    wakeLock: `${supervisor}/wake`,
    startLock: `${supervisor}/start`,
    socket: `${supervisor}/socket`,
    requests: `${supervisor}/requests`,
    port: `${supervisor}/port`,
    records: `${supervisor}/records`,
    slaves,
    slave: (workDirectory) => `${slaves}/${encodeURIComponent(workDirectory).slice(-NAME_LENGTH_MAX)}`,
    supervisorLog: `${supervisor}/log`,
    supervisorErrors: `${supervisor}/errors`,
    cleanupLock: `${root}/cleanup`,
  };
}

export type LockName = 'launch' | 'wait' | 'destroy';

export interface ContainerPaths {
  readonly directory: string;
  /** The request, versioned, with the task's environment; 0600. Its absence marks a state of the Deimos of 2014. */
  readonly request: string;

  // As in the original; read by operators' scripts.
  readonly mesosContainerId: string;
  readonly executorId: string;
  readonly dockerId: string;
  readonly pid: string;
  readonly startTime: string;
  readonly exit: string;
  readonly termination: string;
  readonly fs: string;

  /** One of these three exists: a rename of `pending` decides between the launch and its supervisor. */
  readonly pending: string;
  readonly accepted: string;
  readonly withdrawn: string;

  /** Which launch has this state: pid, start time and boot id. */
  readonly launcher: string;
  /** MESOS_WORK_DIRECTORY of the launch as a real path: tells two slaves with one root apart. */
  readonly workDirectory: string;

  /** Our name in the executor protocol; a secret. */
  readonly executorName: string;
  /** The slave's address, where it came back under another than the request names. */
  readonly slaveAddress: string;
  readonly registering: string;
  readonly registered: string;
  readonly runTask: string;
  /** Status updates that the slave has not acknowledged, a file each, in order. */
  readonly updates: string;
  /** The last status update that was made: its number and state. */
  readonly reported: string;
  /** Exists once the slave has acknowledged any update of this task. */
  readonly acknowledged: string;

  /** Exists once Docker may have been asked to create the container. */
  readonly creating: string;
  /** Which daemon was asked to create the container, as `unix://…` or `tcp://…`. */
  readonly dockerHost: string;
  /** Directories of the sandbox that are not their owner's while Docker starts the container, and what they were. */
  readonly held: string;
  /** pid, start time and boot id of the container's init. */
  readonly init: string;
  /** The file in which the kernel counts the container's kills for memory; the fact that it counted one. */
  readonly oomKills: string;
  readonly oomKilled: string;
  /** The limits that `update` asked for last: both at once, and each by itself (state/limits.ts). */
  readonly limits: string;
  readonly limitsCpus: string;
  readonly limitsMem: string;
  /** Why and how gently the container is to end; written before anything is done about it. */
  readonly wantedEnd: string;
  /** Exists where the slave destroyed it when it was ending already. */
  readonly destroyed: string;
  /** How the container ended, or why it never ran. */
  readonly outcome: string;
  /** Each exists once that hook has been started: it is not started again. */
  readonly onlaunch: string;
  readonly ondestroy: string;
  /** The task's variables while a hook runs that may read them. */
  readonly hookEnvironment: string;
  /** The process groups that run for this container, a file each. */
  readonly children: string;
  /** Exists once the container has been removed from Docker. */
  readonly removed: string;
  /** Which caller's `wait` has been here. */
  readonly waitSeen: string;
  /** Exists once the Termination has reached its slave. */
  readonly delivered: string;

  readonly locks: string;
  lock(name: LockName): string;
}

export function containerPaths(root: string, id: MesosContainerId): ContainerPaths {
  const directory = `${root}/mesos/${id}`;
  const locks = `${directory}/lock`;
  return {
    directory,
    request: `${directory}/container.json`,
    mesosContainerId: `${directory}/mesos-container-id`,
    executorId: `${directory}/eid`,
    dockerId: `${directory}/cid`,
    pid: `${directory}/pid`,
    startTime: `${directory}/t`,
    exit: `${directory}/exit`,
    termination: `${directory}/termination`,
    fs: `${directory}/fs`,
    pending: `${directory}/pending`,
    accepted: `${directory}/accepted`,
    withdrawn: `${directory}/withdrawn`,
    launcher: `${directory}/launcher`,
    workDirectory: `${directory}/work-directory`,
    executorName: `${directory}/executor`,
    slaveAddress: `${directory}/slave`,
    registering: `${directory}/registering`,
    registered: `${directory}/registered`,
    runTask: `${directory}/run-task`,
    updates: `${directory}/updates`,
    reported: `${directory}/reported`,
    acknowledged: `${directory}/acknowledged`,
    creating: `${directory}/creating`,
    dockerHost: `${directory}/docker-host`,
    held: `${directory}/held`,
    init: `${directory}/init`,
    oomKills: `${directory}/oom-kills`,
    oomKilled: `${directory}/oom-killed`,
    limits: `${directory}/limits`,
    limitsCpus: `${directory}/limits-cpus`,
    limitsMem: `${directory}/limits-mem`,
    wantedEnd: `${directory}/wanted-end`,
    destroyed: `${directory}/destroyed`,
    outcome: `${directory}/outcome`,
    onlaunch: `${directory}/onlaunch`,
    ondestroy: `${directory}/ondestroy`,
    hookEnvironment: `${directory}/hook-environment`,
    children: `${directory}/children`,
    removed: `${directory}/removed`,
    waitSeen: `${directory}/wait-seen`,
    delivered: `${directory}/delivered`,
    locks,
    lock: (name) => `${locks}/${name}`,
  };
}

/** How a symlink of the root's `docker` and `start-time` begins that leads to a state; the id follows. */
export const STATES_FROM_LINK = '../mesos/';

/** The symlink that finds a container's state by its Docker id, and what it holds. */
export function dockerIdLink(
  root: string,
  dockerId: DockerId,
  id: MesosContainerId,
): { path: string; target: string } {
  return { path: `${root}/docker/${dockerId}`, target: `${STATES_FROM_LINK}${id}` };
}

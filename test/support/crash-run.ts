// One run of one scenario with one process killed, or refused something, at one point; then all is held against what has to
// be true whatever died (`INVARIANTS`). The points are found by a run in which nothing is done to anybody.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { TaskState } from '../../src/mesos/messages.ts';
import { type DockerRequest, type DoorFault, openDoor } from './docker-door.ts';
import { containersOf, removeContainers } from './docker-facts.ts';
import { type Dockerd, startDockerd } from './dockerd.ts';
import { REPEATED } from './endings.ts';
import { type Host, sandboxFile, startHost } from './host.ts';
import { makeImages } from './images.ts';
import { signalPid } from './proc.ts';
import { type Registry, startRegistry } from './registry.ts';
import type { LaunchedTask, StandInSlave } from './slave.ts';
import type { Update } from './slave-protocol.ts';
import { type Step, type StepFault, startDetached, stepsIn, stepsProgram, underSteps } from './steps.ts';
import { withSupervisorLog } from './told.ts';
import { until } from './until.ts';
import { wrap } from './wrapped.ts';

const { FAILED, RUNNING, STARTING } = TaskState;
/** A bound against hanging; each run has little to do, but the machine may be busy. */
const PATIENCE_MS = 60_000;
/** The exit status of what was killed, as steps.c gives it. */
const KILLED = 128 + 9;
const DOOR_SAYS = 'a fault of the tests';

/** What is held against every run. */
export const INVARIANTS = [
  'each status update once, by its uuid and its content',
  'none contradicts an earlier one, one ends the task, and that one is right',
  'the Termination says the same',
  'no call but a wait that was killed fails',
  'stdout and stderr of the sandbox to the byte',
  'the task has started once, hooks ran at most once',
  'no container, process, lock or update is left',
  'and no file of the state once it is removed',
] as const;

/** Where the supervisor is killed, or what is refused to it. */
export type Point =
  /** At the step with this number of those by which it changes the state root and the sandbox. */
  | { readonly kind: 'step'; readonly fault: StepFault }
  /** Killed when its request with this number reaches Docker, or has been carried out. */
  | { readonly kind: 'request'; readonly number: number; readonly when: 'before' | 'after' }
  /** Its request with this number meets a fault of the connection, or of who answers. */
  | { readonly kind: 'fault'; readonly number: number; readonly fault: RequestFault }
  /** Killed at its step `first`, and the next one, that takes its place, at its own step `second`, if that is given. */
  | { readonly kind: 'twice'; readonly first: number; readonly second?: number };

/**
 * What a connection can suffer has to be survived without anybody noticing: `refuse`, `lose-answer`, `delay`. An answer that
 * is an error, or is no answer of Docker's, may end a task that does not run yet, in words: `garbage`, `status-500`.
 */
export type RequestFault = 'refuse' | 'lose-answer' | 'delay' | 'garbage' | 'status-500';

/** Where a scenario is played. */
export interface Stage {
  readonly host: Host;
  readonly slave: StandInSlave;
  readonly registry: Registry;
  /** A directory of the run's own. */
  at(name: string): string;
  /**
   * Calls of `wait` are held back until the watched supervisor is there; then the supervisor that is, is killed. For
   * scenarios that are watched later.
   */
  holdWaits(): void;
  letWaitsGo(): void;
  /** Kills the supervisor, if one lives, starts the one that is watched, and lets the waits go. */
  watch(): Promise<void>;
  /** Since `watch` a supervisor has asked for the output of a container that runs. */
  follows(): Promise<void>;
}

/** How it has to have come out. */
export interface Outcome {
  readonly task: LaunchedTask;
  /** The states that the framework may have seen, each repeated update once. */
  readonly states: readonly (readonly number[])[];
  /** What was said of the task's health, `passed ` or `failed ` for each time; undefined: nothing. */
  readonly health?: RegExp;
  /** Of the Termination; `any`: the slave has killed its wait. */
  readonly termination: { readonly state: number | undefined; readonly status: number | undefined } | 'any';
  readonly stdout: string;
  readonly stderr: string | RegExp;
  /** How `launch` failed, where it had to. */
  readonly launchFails?: RegExp;
  /** What the slave may complain of. */
  readonly complaint?: RegExp;
}

/** The task has come to its end before the scenario wanted that. */
export class EndedEarly extends Error {
  readonly task: LaunchedTask;

  constructor(task: LaunchedTask) {
    const told = task.updates().map(({ state, message }) => [state, message]);
    super(`ended early: ${JSON.stringify(told)}`);
    this.name = 'EndedEarly';
    this.task = task;
  }
}

export interface Scenario {
  readonly name: string;
  /** The first supervisor, or the one that comes when the scenario says so. */
  readonly watched: 'from the start' | 'later';
  /** Of [hooks], for example. */
  readonly configuration?: (at: (name: string) => string) => string;
  /** What else dies, or is done, in the moment in which the watched supervisor has died. */
  readonly whenKilled?: (stage: Stage) => Promise<void>;
  /** Plays it until the task has ended. */
  readonly play: (stage: Stage) => Promise<Outcome>;
}

export interface Ran {
  readonly steps: readonly Step[];
  /** Of the one that took its place, where it was killed and that one watched as well. */
  readonly stepsOfNext: readonly Step[];
  readonly requests: readonly DockerRequest[];
  /** Whether the point was reached. */
  readonly isReached: boolean;
}

/** One dockerd and one registry, for one run after another. */
export interface Lane extends AsyncDisposable {
  run(scenario: Scenario, point?: Point): Promise<Ran>;
}

export async function openLane(): Promise<Lane> {
  const program = await stepsProgram();
  const dockerd = await startDockerd();
  await makeImages(dockerd);
  const registry = await startRegistry(dockerd);
  return {
    run: async (scenario, point) => {
      try {
        return await runOnce({ program, dockerd, registry }, scenario, point);
      } catch (error) {
        // The next run is to find nothing of this one.
        await removeContainers(dockerd);
        throw error;
      }
    },
    [Symbol.asyncDispose]: async () => {
      await registry[Symbol.asyncDispose]();
      await dockerd.stop();
    },
  };
}

interface Means {
  readonly program: string;
  readonly dockerd: Dockerd;
  readonly registry: Registry;
}

async function runOnce(means: Means, scenario: Scenario, point: Point | undefined): Promise<Ran> {
  const { dockerd, program, registry } = means;
  await using door = await openDoor(dockerd);
  await using host = await startHost({ dockerd, images: false });
  const at = (name: string): string => host.directory.at(name);
  await host.configure(scenario.configuration?.(at) ?? '', `host: ${door.host}`);
  const logs = [at('steps'), at('steps-of-next')] as const;
  const facts = { isReached: false, first: 0, isPlayed: false, isDead: false, afterDeath: Promise.resolve() };
  return await withSupervisorLog(host, async () => {
    const wrapped = wrap(host, 'wrapped');
    const slave = await host.slave({ containerizer: wrapped.containerizer });
    const broken = Promise.withResolvers<never>();
    /** Nobody but us starts the next one: a wait that sleeps would be faster. */
    const watchNext = async (second: number | undefined): Promise<void> => {
      const fault = second === undefined ? undefined : ({ at: second, kill: true } as const);
      await watchSupervisor(program, host, logs[1], fault);
      wrapped.letGo('wait');
    };
    const killed = async (): Promise<void> => {
      // At the end it is killed by whoever tidies up.
      if (facts.isPlayed) return;
      facts.isDead = true;
      if (point?.kind === 'twice') await watchNext(point.second);
      await scenario.whenKilled?.(stage);
    };
    const watch = async (): Promise<void> => {
      await endSupervisor(host);
      facts.first = door.requests.length;
      door.setRule((request, answered) => {
        const reached = ruleOf(point, request.number - facts.first, answered);
        if (reached === undefined) return { kind: 'pass' };
        facts.isReached = true;
        if (point?.kind === 'request') host.killSupervisorNow();
        return reached;
      });
      const watched = await watchSupervisor(program, host, logs[0], stepFaultOf(point));
      facts.afterDeath = watched.ended.then((status) => (status === KILLED ? killed() : undefined));
      facts.afterDeath.catch(broken.reject);
      if (point?.kind !== 'twice') wrapped.letGo('wait');
    };
    const holdWaits = (): void => wrapped.hold('wait');
    const letWaitsGo = (): void => wrapped.letGo('wait');
    const follows = async (): Promise<void> => {
      const asked = () => door.requests.slice(facts.first).some(({ route }) => route.endsWith('/attach'));
      await until('it follows the output', asked, { timeoutMs: PATIENCE_MS });
    };
    const stage: Stage = { host, slave, registry, at, watch, follows, holdWaits, letWaitsGo };
    if (point?.kind === 'twice') holdWaits();
    if (scenario.watched === 'from the start') await watch();
    const play = async (): Promise<Outcome> => {
      try {
        return await Promise.race([broken.promise, scenario.play(stage).catch(early(point))]);
      } finally {
        facts.isPlayed = true;
        if (facts.isDead) await facts.afterDeath;
      }
    };
    const outcome = await play();
    letWaitsGo();
    await removed(host, outcome.task);
    door.setRule(undefined);
    // What is asked from here on is asked on behalf of the checks.
    const asked = door.requests.length;
    await checkAll(host, slave, outcome);
    const [steps, stepsOfNext] = [stepsIn(logs[0]), stepsIn(logs[1])];
    const requests = door.requests.slice(facts.first, asked);
    const isReached = facts.isReached || isStepReached(point, steps, stepsOfNext);
    return { steps, stepsOfNext, requests, isReached };
  });
}

/** Its removal belongs to what is watched, as long as anybody is there to see to it. */
async function removed(host: Host, task: LaunchedTask): Promise<void> {
  await task.gone(PATIENCE_MS);
  const over = async (): Promise<boolean> =>
    host.supervisor() === undefined || (await containersOf(host.dockerd, task)).length === 0;
  await until('it is removed', over, { timeoutMs: PATIENCE_MS });
}

/** The outcome of a task that ended early, where the point allows that; anything else passes. */
function early(point: Point | undefined): (error: unknown) => Outcome {
  return (error) => {
    if (error instanceof EndedEarly && point?.kind === 'step' && 'errno' in point.fault)
      return refusedLaunch(error.task);
    const may = point?.kind === 'fault' && (point.fault === 'garbage' || point.fault === 'status-500');
    if (!(error instanceof EndedEarly) || !may) throw error;
    const { task } = error;
    const why = point.fault === 'garbage' ? '(Parse Error|not HTTP)' : DOOR_SAYS;
    return {
      task,
      states: [[FAILED]],
      termination: { state: FAILED, status: undefined },
      stdout: '',
      stderr: new RegExp(`^deimos: .*${why}.*\n$`),
    };
  };
}

/** What the disk refuses before a launch is accepted, the launch says; what was accepted waits a while for the disk. */
function refusedLaunch(task: LaunchedTask): Outcome {
  const launchFails =
    /^deimos launch: cannot (write|make|open|remove) \S+: (no space left on device|read-only file system)\n$/;
  return {
    task,
    launchFails,
    states: [[FAILED], [TaskState.LOST]],
    termination: 'any',
    stdout: '',
    stderr: launchFails,
  };
}

function stepFaultOf(point: Point | undefined): StepFault | undefined {
  if (point?.kind === 'twice') return { at: point.first, kill: true };
  return point?.kind === 'step' ? point.fault : undefined;
}

function isStepReached(point: Point | undefined, steps: readonly Step[], ofNext: readonly Step[]): boolean {
  if (point?.kind === 'step') return steps.length >= point.fault.at;
  return point?.kind === 'twice' && ofNext.length >= (point.second ?? 1);
}

/** What is done to a request; undefined: nothing. */
function ruleOf(point: Point | undefined, number: number, answered: boolean): DoorFault | undefined {
  if (point?.kind === 'request' && number === point.number && answered === (point.when === 'after'))
    return { kind: answered ? 'lose-answer' : 'refuse' };
  if (point?.kind === 'fault' && number === point.number) return faultOf(point.fault);
  return undefined;
}

function faultOf(fault: RequestFault): DoorFault {
  switch (fault) {
    case 'refuse':
    case 'lose-answer':
    case 'garbage':
      return { kind: fault };
    case 'status-500':
      return { kind: 'answer', status: 500, body: JSON.stringify({ message: DOOR_SAYS }) };
    case 'delay':
      return { kind: 'delay', ms: 1_500 };
  }
}

async function endSupervisor(host: Host): Promise<void> {
  const pid = host.supervisor();
  if (pid !== undefined) signalPid(pid, 'SIGKILL');
  await until('no supervisor', () => host.supervisor() === undefined);
}

/** Starts one whose steps are counted, and waits until it listens, or is dead. */
async function watchSupervisor(program: string, host: Host, log: string, fault: StepFault | undefined) {
  const socket = `${host.root}/supervisor/socket`;
  const before = markOf(socket);
  const under = [
    host.root,
    ...readdirSync(host.directory.path)
      .filter((name) => name.startsWith('work-'))
      .map((name) => host.directory.at(name)),
  ];
  const watched = startDetached(
    underSteps(program, { under, log, ...(fault === undefined ? {} : { fault }) }, [
      host.binary,
      'supervise',
      '--root',
      host.root,
    ]),
  );
  const facts = { ended: false };
  void watched.ended.then(() => {
    facts.ended = true;
  });
  await until('it listens', () => facts.ended || (markOf(socket) ?? before) !== before, {
    everyMs: 5,
    timeoutMs: PATIENCE_MS,
  });
  return watched;
}

/** An inode's number alone is given again to the next file. */
function markOf(path: string): string | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.ino} ${stat.ctimeNs}`;
}

/** What has to be true of every run. */
async function checkAll(host: Host, slave: StandInSlave, outcome: Outcome): Promise<void> {
  const { task } = outcome;
  const termination = await task.gone(PATIENCE_MS);
  checkUpdates(outcome);
  if (outcome.termination !== 'any') {
    assert.deepEqual(
      termination === undefined ? undefined : { state: termination.state, status: termination.status },
      outcome.termination,
    );
    const told = task.updates().at(-1);
    if (told?.uuid !== undefined) assert.equal(termination?.message, told.message);
  }
  assert.equal(await sandboxFile(task, 'stdout'), outcome.stdout);
  const said = await sandboxFile(task, 'stderr');
  if (typeof outcome.stderr === 'string') assert.equal(said, outcome.stderr);
  else assert.match(said, outcome.stderr);
  assert.deepEqual(
    slave.violations.filter((text) => !REPEATED.test(text) && outcome.complaint?.test(text) !== true),
    [],
  );
  for (const { verb, end } of task.calls()) {
    if (verb === 'launch' && outcome.launchFails !== undefined) {
      assert.equal(end?.code, 4);
      assert.match(end.stderr, outcome.launchFails);
    } else if (verb !== 'update' && verb !== 'usage')
      assert.equal(end?.code ?? 0, 0, `${verb}: ${end?.stderr}`);
  }
  // What is left to be cleaned up is so by whichever call needs a supervisor next.
  assert.equal((await host.deimos(['recover'])).code, 0);
  assert.deepEqual(await host.leftovers(), []);
  const states = `${host.root}/mesos`;
  // Gone from Docker; that it is so is noted a moment later.
  await until('its removal is noted', () =>
    readdirSync(states).every((id) => existsSync(`${states}/${id}/removed`)),
  );
  const { code, stderr } = await host.deimos(['state', '--rm']);
  assert.deepEqual([code, stderr], [0, '']);
  assert.deepEqual(remains(host), []);
}

/** The framework was told what it may be told: nothing twice, nothing that contradicts what came before, one end. */
function checkUpdates({ task, states, health }: Outcome): void {
  // An update whose acknowledgement was lost is sent again, the same.
  const once = new Map(task.updates().map((update) => [update.uuid ?? `slave ${update.state}`, update]));
  const told = [...once.values()];
  const story = `updates: ${JSON.stringify(told.map(({ state, message }) => [state, message]))}`;
  const isHealth = (update: Update): boolean => update.state === RUNNING && update.healthy !== undefined;
  // Whatever was said of the preparation came before all else; health is said of what runs.
  const firstAfter = told.findIndex(({ state }) => state !== STARTING);
  assert.ok(!told.slice(firstAfter).some(({ state }) => state === STARTING), story);
  const runs = told.findIndex(({ state }) => state === RUNNING);
  assert.ok(!told.slice(0, Math.max(runs, 0)).some(isHealth), story);
  const changes = told.filter((update) => update.state !== STARTING && !isHealth(update));
  assert.ok(
    states.some((expected) => expected.join() === changes.map(({ state }) => state).join()),
    story,
  );
  const said = told.filter(isHealth).map(({ healthy }) => (healthy ? 'passed ' : 'failed '));
  assert.match(said.join(''), health ?? /^$/, story);
}

/** What of the state root is neither the supervisor's own nor an empty directory. */
function remains(host: Host): readonly string[] {
  const own = /^(supervisor\/(lock|start|wake|socket|requests|port|log|errors|slaves\/[^/]+)|cleanup)$/;
  return readdirSync(host.root, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory() || /^[0-9a-f-]{36}$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(host.root.length + 1))
    .filter((path) => !own.test(path) && !path.endsWith('.tmp'));
}

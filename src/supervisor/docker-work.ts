// All that is done with Docker for one container, as a keeper asks for it: each task begins beside the keeper's queue and
// ends as an event. Everything can be repeated after a crash: what Docker already has is found by name and labels and
// taken up. "Not there" and "could not be looked up" are never mixed up: a daemon that is away is asked again.

import type { CreateRequest } from '../container/create-request.ts';
import { containerName, type DockerId } from '../container/identity.ts';
import type { LifeEvent } from '../container/life.ts';
import { LABEL_CONTAINER, LABEL_ROOT } from '../container/plan.ts';
import { updateLimits } from '../container/resources.ts';
import type { Outcome } from '../container/termination.ts';
import { formatEndpoint } from '../docker/connection.ts';
import type { ContainerFacts, Engine } from '../docker/engine.ts';
import { isDaemonAway, mayPass } from '../docker/faults.ts';
import { dockerOutput, type OutputSource } from '../docker/output.ts';
import { errnoOf, Fault, isFault, oneLine } from '../fault.ts';
import { isInCgroupNamed } from '../host/cgroups.ts';
import { readFact, readJsonFact, writeFact, writeFactSync } from '../host/facts.ts';
import type { Log } from '../host/log.ts';
import { type PersistOptions, pauseMs, persist, rest } from '../host/pauses.ts';
import { identify, isNotedAlive, noted, parseNoted } from '../host/processes.ts';
import type { ContainerPaths } from '../state/layout.ts';
import { readLimits } from '../state/limits.ts';
import type { RequestRecord } from '../state/records.ts';
import { hasFact, noteDockerId, readDockerId } from '../state/store.ts';
import { ContainerEnd } from './container-end.ts';
import { ContainerOutput } from './container-output.ts';
import type { Daemon, DockerHost } from './docker-host.ts';
import type { HealthTarget } from './health-checks.ts';
import type { Hooks } from './hooks.ts';
import { makeReady } from './make-ready.ts';
import { stopContainer } from './stop-container.ts';

/** A daemon that is away while a task is being started is waited for this long; then the task fails. */
export const DAEMON_AWAY_BOUND_MS = 60_000;
/** What Docker's status of a container says that it could not start. */
const START_FAILURES: Readonly<Record<number, string>> = {
  126: "The container's command cannot be executed",
  127: "The container's command, or a file that it needs, was not found",
};

/** A create whose answer was lost is done by then, or never will be. */
const LATE_CREATE_MS = 5_000;
const LATE_CREATE_LOOK_MS = 500;

export interface DockerWorkParts {
  readonly root: string;
  readonly paths: ContainerPaths;
  readonly request: RequestRecord;
  readonly host: DockerHost;
  readonly hooks: Hooks;
  readonly log: Log;
  readonly tell: (event: LifeEvent) => void;
  readonly onProgress: (text: string) => void;
}

export class DockerWork {
  readonly output: ContainerOutput;
  readonly #end: ContainerEnd;
  readonly #parts: DockerWorkParts;
  readonly #name: string;
  readonly #leaving = new AbortController();
  readonly #preparing = new AbortController();
  /** Aborted when the container has ended: stops need not go on. */
  readonly #ended = new AbortController();
  /** The task under way; never two at once. */
  #current: Promise<void> = Promise.resolve();
  #request: CreateRequest | undefined;
  #facts: ContainerFacts | undefined;
  /** The change of limits under way. */
  #limits: Promise<void> = Promise.resolve();
  /** We asked for the end. */
  #isStopped = false;
  /** Whether Docker may have a container of ours. */
  #mayExist: boolean;

  constructor(parts: DockerWorkParts) {
    this.#parts = parts;
    this.output = new ContainerOutput({
      sandbox: parts.request.task.sandbox,
      stateDirectory: parts.paths.directory,
      log: parts.log,
      leaving: this.#leaving.signal,
    });
    this.#end = new ContainerEnd({
      paths: parts.paths,
      log: parts.log,
      signal: this.#leaving.signal,
      insist: (what, work) => this.#insist(what, work, this.#leaving.signal),
      isStopped: () => this.#isStopped,
    });
    this.#name = containerName(parts.request.task.containerId);
    // After a crash a create may have been carried out though its answer was not noted.
    this.#mayExist = hasFact(parts.paths.creating) || hasFact(parts.paths.dockerId);
  }

  /** Begins a task; its outcome comes as an event. */
  begin(task: 'look' | 'prepare' | 'create' | 'start' | 'follow'): void {
    const work = {
      // Of a container that may run nothing is concluded from our own failure.
      look: () => this.#insist('looking for the container', () => this.#look(), this.#leaving.signal),
      prepare: () => this.#prepare(),
      create: () => this.#create(),
      start: () => this.#start(),
      follow: () => this.#follow(),
    }[task];
    this.#current = this.#current.then(work).catch((error: unknown) => this.#failed(task, error));
  }

  cancelPreparation(): void {
    this.#preparing.abort();
  }

  /** What TASK_RUNNING says of the container: `docker inspect` and its address. */
  running(): { data?: Uint8Array; ipAddress?: string } {
    if (this.#facts === undefined) return {};
    const { raw, ipAddress } = this.#facts;
    return { data: Buffer.from(JSON.stringify([raw])), ...(ipAddress === undefined ? {} : { ipAddress }) };
  }

  /** What health checks have to know of the container that runs. */
  target(): HealthTarget {
    const { paths } = this.#parts;
    return {
      facts: this.#expectFacts(),
      engine: (signal) => this.#engine(signal),
      mayRun: () => {
        const init = parseNoted(readJsonFact(paths.init));
        return init === undefined || isNotedAlive(init);
      },
    };
  }

  #failed(task: string, error: unknown): void {
    if (this.#leaving.signal.aborted) return;
    if (!isFault(error)) {
      const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#parts.log.error('a task failed by a bug', { task, error: oneLine(stack) });
    }
    this.#parts.tell({ type: 'failed', why: oneLine(error) });
  }

  /** The daemon that the container was prepared for; before, whichever answers. */
  async #engine(signal: AbortSignal): Promise<Engine> {
    const { host, paths } = this.#parts;
    const noted = host.at(readFact(paths.dockerHost)?.trim() ?? '');
    return (noted ?? (await host.choose(signal))).engine;
  }

  /** Chooses the daemon, and notes it first: on another one the container would be looked for in vain. */
  async #choose(signal: AbortSignal): Promise<Daemon> {
    const { host, log, paths } = this.#parts;
    // One that was asked to create it may do so yet.
    const noted = this.#mayExist ? host.at(readFact(paths.dockerHost)?.trim() ?? '') : undefined;
    const options = { what: 'choosing the daemon', signal, mayPass, boundMs: DAEMON_AWAY_BOUND_MS, log };
    const daemon = noted ?? (await persist(() => host.choose(signal), options));
    await writeFact(paths.dockerHost, `${formatEndpoint(daemon.engine.endpoint)}\n`);
    return daemon;
  }

  /**
   * Asks until there is an answer, whatever the error: of a container that may run nothing is concluded from not
   * having been able to look it up.
   */
  async #insist<T>(what: string, work: (engine: Engine) => Promise<T>, signal: AbortSignal): Promise<T> {
    const passes = (error: unknown): boolean => {
      if (isFault(error, 'timeout') || isDaemonAway(error)) this.#end.daemonAway();
      return true;
    };
    try {
      return await this.#persist(work, { what, signal, mayPass: passes });
    } finally {
      this.#end.daemonBack();
    }
  }

  /** Asks Docker, again where it is away, for as long as a task that is being started waits for it. */
  async #ask<T>(what: string, work: (engine: Engine) => Promise<T>, signal: AbortSignal): Promise<T> {
    return await this.#persist(work, { what, signal, mayPass, boundMs: DAEMON_AWAY_BOUND_MS });
  }

  async #persist<T>(work: (engine: Engine) => Promise<T>, options: Omit<PersistOptions, 'log'>): Promise<T> {
    const again = async (): Promise<T> => await work(await this.#engine(options.signal));
    return await persist(again, { ...options, log: this.#parts.log });
  }

  /** Whether that container was created for this one, by this or an earlier supervisor of this root. */
  #isOurs(facts: ContainerFacts): boolean {
    return (
      facts.labels[LABEL_CONTAINER] === this.#parts.request.task.containerId &&
      facts.labels[LABEL_ROOT] === this.#parts.root
    );
  }

  /** Our container as Docker has it now: by its noted id, else by name and labels. */
  async #find(engine: Engine, signal: AbortSignal): Promise<ContainerFacts | 'absent'> {
    const id = readDockerId(this.#parts.paths);
    if (id !== undefined) return await engine.inspect(id, signal);
    const facts = await engine.inspect(this.#name, signal);
    return facts === 'absent' || this.#isOurs(facts) ? facts : 'absent';
  }

  /** As #find; where a create was begun and never answered, its container may still appear: it is waited for, a while. */
  async #findLate(engine: Engine, signal: AbortSignal): Promise<ContainerFacts | 'absent'> {
    const deadline = Date.now() + LATE_CREATE_MS;
    for (;;) {
      const facts = await this.#find(engine, signal);
      if (facts !== 'absent' || this.#facts !== undefined || Date.now() > deadline) return facts;
      await rest(LATE_CREATE_LOOK_MS, signal);
    }
  }

  async #look(): Promise<void> {
    const { paths, tell } = this.#parts;
    const { signal } = this.#leaving;
    // Known without Docker, which may be away: nothing was ever asked of it.
    if (!this.#mayExist) return tell({ type: 'found', docker: 'absent' });
    this.#end.watchMemory();
    const facts = await this.#find(await this.#engine(signal), signal);
    if (facts === 'absent') {
      const id = readDockerId(paths);
      if (id === undefined) return tell({ type: 'found', docker: 'absent' });
      return this.#ends(await this.#end.outcome(id, facts, this.#limitBytes()));
    }
    this.#note(facts);
    switch (facts.state) {
      case 'created':
        return tell({ type: 'found', docker: 'created' });
      case 'running':
      case 'paused':
      case 'restarting':
        this.#noteInit(facts);
        return tell({ type: 'found', docker: 'running' });
      case 'removing':
      case 'exited':
      case 'dead':
        this.#resumeOutput(facts);
        return this.#ends(await this.#end.outcome(facts.id, facts, this.#limitBytes()));
    }
  }

  async #prepare(): Promise<void> {
    const { request, hooks, tell, log, onProgress, root, paths } = this.#parts;
    const signal = AbortSignal.any([this.#leaving.signal, this.#preparing.signal]);
    try {
      const daemon = await this.#choose(signal);
      this.#request = await makeReady(
        { request, root, daemon, log, noteIn: paths.children },
        { signal, onProgress, awayBoundMs: DAEMON_AWAY_BOUND_MS },
      );
      // Called off here, the hook goes on to its end and is no longer waited for.
      await unlessAborted(hooks.onlaunch(), signal);
      tell({ type: 'prepared' });
    } catch (error) {
      // Called off: whoever did so has gone on already.
      if (!this.#preparing.signal.aborted) throw error;
    }
  }

  async #create(): Promise<void> {
    const { paths, tell } = this.#parts;
    const { signal } = this.#leaving;
    const request = this.#request;
    if (request === undefined) throw new Error('create without a plan');
    this.#mayExist = true;
    await writeFact(paths.creating, '');
    const facts = await this.#ask(
      'creating the container',
      async (engine) => {
        // An earlier try may have been carried out though its answer was lost: look before each.
        const before = await this.#find(engine, signal);
        if (before !== 'absent') return before;
        const id = await engine.createContainer(request, signal).catch(async (error: unknown) => {
          if (!isFault(error, 'conflict')) throw error;
          const holder = await engine.inspect(this.#name, signal);
          if (holder !== 'absent' && !this.#isOurs(holder)) throw error;
          // Docker reserves a name before it shows the container: an earlier request of ours is under way.
          throw new Fault('timeout', `an earlier request for ${this.#name} is not done yet`, error);
        });
        const created = await engine.inspect(id, signal);
        if (created === 'absent')
          throw new Fault('docker', 'the container vanished right after its creation');
        return created;
      },
      signal,
    );
    this.#note(facts);
    tell({ type: 'created' });
  }

  async #start(): Promise<void> {
    const { tell } = this.#parts;
    const { signal } = this.#leaving;
    const facts = this.#expectFacts();
    await this.#ask(
      'attaching to the container',
      ({ endpoint }) => this.output.open(dockerOutput(endpoint, facts.id, facts.tty), facts),
      signal,
    );
    try {
      await this.#ask('starting the container', (engine) => engine.start(facts.id, signal), signal);
    } catch (error) {
      throw await this.#startFault(error, facts.id, signal);
    }
    const started = await this.#insist(
      'inspecting the container',
      (engine) => engine.inspect(facts.id, signal),
      signal,
    );
    if (started !== 'absent') {
      this.#note(started);
      this.#noteInit(started);
    }
    tell({ type: 'started' });
    void this.#awaitEnd(facts.id);
  }

  /** Docker keeps a shell's status for a start that failed: what it means is said before Docker's own words. */
  async #startFault(error: unknown, id: DockerId, signal: AbortSignal): Promise<unknown> {
    if (!isFault(error) || mayPass(error)) return error;
    const facts = await this.#ask('inspecting', (engine) => engine.inspect(id, signal), signal);
    const meaning = facts === 'absent' ? undefined : START_FAILURES[facts.exitCode];
    return meaning === undefined ? error : new Fault(error.kind, `${meaning}: ${oneLine(error)}`, error);
  }

  async #follow(): Promise<void> {
    const facts = this.#expectFacts();
    this.#resumeOutput(facts);
    void this.#awaitEnd(facts.id);
  }

  async #outputSource(facts: ContainerFacts, signal: AbortSignal): Promise<OutputSource> {
    const { endpoint } = await this.#engine(signal);
    return dockerOutput(endpoint, facts.id, facts.tty);
  }

  #resumeOutput(facts: ContainerFacts): void {
    this.output.resume(() => this.#outputSource(facts, this.#leaving.signal), facts);
  }

  /** Until the container no longer runs: then its outcome, whatever became of the daemon meanwhile. */
  async #awaitEnd(id: DockerId): Promise<void> {
    const { signal } = this.#leaving;
    try {
      for (let n = 0; ; n++) {
        const outcome = await this.#waitOnce(id, signal);
        if (outcome !== 'again') return this.#ends(outcome);
        await rest(pauseMs(n), signal);
      }
    } catch (error) {
      if (!signal.aborted) this.#failed('wait', error);
    }
  }

  async #waitOnce(id: DockerId, signal: AbortSignal): Promise<Outcome | 'again'> {
    const ended = await this.#insist(
      'waiting for the end',
      (engine) => engine.wait(id, 'not-running', signal),
      signal,
    );
    const facts =
      ended === 'absent'
        ? ended
        : await this.#insist('inspecting', (engine) => engine.inspect(id, signal), signal);
    // Docker answers a wait for a container that is removed meanwhile with its code, or with 404.
    const runs = facts !== 'absent' && ['running', 'paused', 'restarting'].includes(facts.state);
    return runs ? 'again' : await this.#end.outcome(id, facts, this.#limitBytes());
  }

  /** The memory limit that it had when it was looked at last. */
  #limitBytes(): number | undefined {
    return this.#facts?.hostConfig.Memory;
  }

  #ends(outcome: Outcome): void {
    this.#ended.abort();
    this.#parts.tell({ type: 'ended', outcome });
  }

  /** Stops the container within the grace, then kills it, then kills its init: ends only with the container. */
  stop(graceMs: number): void {
    this.#isStopped = true;
    const signal = AbortSignal.any([this.#leaving.signal, this.#ended.signal]);
    const { paths, log } = this.#parts;
    const { id } = this.#expectFacts();
    const ask = (what: string, work: (engine: Engine) => Promise<unknown>): Promise<unknown> =>
      this.#ask(what, work, signal);
    void stopContainer({ id, init: paths.init, ask, log }, graceMs, signal).catch((error: unknown) => {
      if (!signal.aborted) log.error('stopping failed', { error: oneLine(error) });
    });
  }

  /**
   * The limits that `update` left in the state directory, as far as they differ from those in force. A daemon that is away
   * is waited for as long as the container lives.
   */
  async applyLimits(): Promise<void> {
    // One after the other, each with what the file says then: two updates may overlap.
    this.#limits = this.#limits.then(() => this.#applyLimitsOnce());
    await this.#limits;
  }

  async #applyLimitsOnce(): Promise<void> {
    const { paths, request, log } = this.#parts;
    const signal = AbortSignal.any([this.#leaving.signal, this.#ended.signal]);
    if (this.#facts === undefined || signal.aborted) return;
    const { id } = this.#facts;
    const apply = async (engine: Engine): Promise<void> => {
      const wanted = readLimits(paths);
      const facts = wanted === undefined ? 'absent' : await engine.inspect(id, signal);
      if (wanted === undefined || facts === 'absent') return;
      const body = updateLimits(facts.hostConfig, request.task, wanted, request.config.limits);
      if (body === undefined) return;
      await engine.updateLimits(id, body, signal);
      log.info('limits changed', { ...body });
    };
    try {
      await this.#persist(apply, { what: 'updating limits', signal, mayPass });
    } catch (error) {
      // The container may have ended meanwhile; a task is never ended for its limits.
      if (!signal.aborted) log.warning('limits not changed', { error: oneLine(error) });
    }
  }

  /** Removes the container with its anonymous volumes; returns when it is gone. Never one that is not ours. */
  async remove(signal: AbortSignal): Promise<void> {
    await this.#current;
    if (!this.#mayExist) return;
    await this.#insist(
      'removing the container',
      async (engine) => {
        const facts = await this.#findLate(engine, signal);
        if (facts !== 'absent') await engine.remove(facts.id, { force: true, volumes: true }, signal);
      },
      signal,
    );
  }

  /** Lets go without ending anything. */
  async abandon(): Promise<void> {
    this.#leaving.abort();
    await this.output.stop();
  }

  #expectFacts(): ContainerFacts {
    if (this.#facts === undefined) throw new Error('no container yet');
    return this.#facts;
  }

  #note(facts: ContainerFacts): void {
    const { root, paths, request } = this.#parts;
    this.#facts = facts;
    this.#mayExist = true;
    if (readDockerId(paths) === facts.id) return;
    this.#bestEffort('the Docker id', () => noteDockerId(root, paths, request.task.containerId, facts.id));
  }

  /** A note of what Docker can be asked again: a full disk ends no task that runs. */
  #bestEffort(what: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      this.#parts.log.error('a fact could not be written', { what, error: oneLine(error) });
    }
  }

  /** pid, with what proves later that it is still that process. */
  #noteInit(facts: ContainerFacts): void {
    const { paths } = this.#parts;
    const init = facts.pid === undefined ? undefined : identify(facts.pid);
    if (init === undefined) return;
    // A daemon on another host, or in another pid namespace, counts its pids elsewhere: this would be anybody.
    if (!isInCgroupNamed(init.pid, facts.id)) {
      this.#parts.log.warning('the pid that Docker names is not in a cgroup of the container', {
        pid: init.pid,
      });
      return;
    }
    this.#bestEffort('the pid', () => {
      writeFactSync(paths.pid, `${init.pid}\n`);
      writeFactSync(paths.init, JSON.stringify(noted(init)));
      this.#end.noteCgroup(init.pid);
    });
  }
}

async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

// All that is done with Docker for one container, as a keeper asks for it: each task begins beside the keeper's queue and
// ends as an event. Everything can be repeated after a crash: what Docker already has is found by name and labels and
// taken up. "Not there" and "could not be looked up" are never mixed up: a daemon that is away is asked again.

import type { CreateRequest } from '../container/create-request.ts';
import type { DockerId } from '../container/identity.ts';
import type { LifeEvent } from '../container/life.ts';
import type { Outcome } from '../container/termination.ts';
import type { ContainerFacts, Engine } from '../docker/engine.ts';
import { mayPass } from '../docker/faults.ts';
import { dockerOutput, type OutputSource } from '../docker/output.ts';
import { errnoOf, Fault, isFault, oneLine } from '../fault.ts';
import { isInCgroupNamed } from '../host/cgroups.ts';
import { readJsonFact, writeFact, writeFactSync } from '../host/facts.ts';
import { isKillForMemoryLogged } from '../host/kernel-log.ts';
import type { Log } from '../host/log.ts';
import { pauseMs, rest, unlessAborted } from '../host/pauses.ts';
import { identify, isNotedAlive, noted, parseNoted } from '../host/processes.ts';
import type { ContainerPaths } from '../state/layout.ts';
import type { RequestRecord } from '../state/records.ts';
import { hasFact, noteDockerId, readDockerId } from '../state/store.ts';
import { ContainerDaemon, DAEMON_AWAY_BOUND_MS } from './container-daemon.ts';
import { ContainerEnd } from './container-end.ts';
import { ContainerLimits } from './container-limits.ts';
import { ContainerOutput } from './container-output.ts';
import type { DockerHost } from './docker-host.ts';
import type { HealthTarget } from './health-checks.ts';
import type { Hooks } from './hooks.ts';
import { makeReady } from './make-ready.ts';
import type { MemoryWatch } from './memory-watch.ts';
import { stopContainer } from './stop-container.ts';

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
  readonly memoryWatch: MemoryWatch;
  readonly log: Log;
  readonly tell: (event: LifeEvent) => void;
  readonly onProgress: (text: string) => void;
}

export class DockerWork {
  readonly output: ContainerOutput;
  readonly #end: ContainerEnd;
  readonly #daemon: ContainerDaemon;
  readonly #limits: ContainerLimits;
  readonly #parts: DockerWorkParts;
  readonly #leaving = new AbortController();
  readonly #preparing = new AbortController();
  /** Aborted when the container has ended: stops need not go on. */
  readonly #ended = new AbortController();
  readonly #endedOrLeaving = AbortSignal.any([this.#leaving.signal, this.#ended.signal]);
  /** The task under way; never two at once. */
  #current: Promise<void> = Promise.resolve();
  #request: CreateRequest | undefined;
  #facts: ContainerFacts | undefined;
  /** We asked for the end. */
  #isStopped = false;
  /** Its init was seen on this host. */
  #isHere = false;
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
      watch: parts.memoryWatch,
      log: parts.log,
      signal: this.#leaving.signal,
      insist: (what, work) => this.#insist(what, work, this.#leaving.signal),
      isStopped: () => this.#isStopped,
      isKillForMemoryLogged,
    });
    const { paths, request, log } = parts;
    const signal = this.#endedOrLeaving;
    this.#daemon = new ContainerDaemon(parts);
    this.#limits = new ContainerLimits({ paths, request, daemon: this.#daemon, log, signal });
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
    const { paths, host } = this.#parts;
    return {
      facts: this.#expectFacts(),
      isHere: this.#isHere || host.connection.endpoints.every(({ kind }) => kind === 'unix'),
      engine: (signal) => this.#daemon.engine(signal),
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

  async #insist<T>(what: string, work: (engine: Engine) => Promise<T>, signal: AbortSignal): Promise<T> {
    return await this.#daemon.insist(what, work, this.#end, signal);
  }

  /** Our container; where a create was begun and never answered, it may still appear: it is waited for, a while. */
  async #findLate(engine: Engine, signal: AbortSignal): Promise<ContainerFacts | 'absent'> {
    const deadline = Date.now() + LATE_CREATE_MS;
    for (;;) {
      const facts = await this.#daemon.find(engine, signal);
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
    const facts = await this.#daemon.find(await this.#daemon.engine(signal), signal);
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
        this.#end.seenRunning();
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
      const daemon = await this.#daemon.choose(this.#mayExist, signal);
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
    const facts = await this.#daemon.ask(
      'creating the container',
      async (engine) => {
        // An earlier try may have been carried out though its answer was lost: look before each.
        const before = await this.#daemon.find(engine, signal);
        if (before !== 'absent') return before;
        const id = await engine.createContainer(request, signal).catch(async (error: unknown) => {
          if (!isFault(error, 'conflict')) throw error;
          const holder = await engine.inspect(this.#daemon.name, signal);
          if (holder !== 'absent' && !this.#daemon.isOurs(holder)) throw error;
          // Docker reserves a name before it shows the container: an earlier request of ours is under way.
          throw new Fault('timeout', `an earlier request for ${this.#daemon.name} is not done yet`, error);
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
    await this.#daemon.ask(
      'attaching to the container',
      ({ endpoint }) => this.output.open(dockerOutput(endpoint, facts.id, facts.tty), facts),
      signal,
    );
    try {
      await this.#daemon.ask('starting the container', (engine) => engine.start(facts.id, signal), signal);
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
    const facts = await this.#daemon.ask('inspecting', (engine) => engine.inspect(id, signal), signal);
    const meaning = facts === 'absent' ? undefined : START_FAILURES[facts.exitCode];
    return meaning === undefined ? error : new Fault(error.kind, `${meaning}: ${oneLine(error)}`, error);
  }

  async #follow(): Promise<void> {
    const facts = this.#expectFacts();
    this.#resumeOutput(facts);
    void this.#awaitEnd(facts.id);
  }

  async #outputSource(facts: ContainerFacts, signal: AbortSignal): Promise<OutputSource> {
    const { endpoint } = await this.#daemon.engine(signal);
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
    let isAgain = false;
    const wait = async (engine: Engine) => {
      // A connection that broke says nothing of the container: one that still runs has not ended with the daemon.
      if (isAgain) this.#noteRunning(await engine.inspect(id, signal));
      isAgain = true;
      return await engine.wait(id, 'not-running', signal);
    };
    const ended = await this.#insist('waiting for the end', wait, signal);
    const facts =
      ended === 'absent'
        ? ended
        : await this.#insist('inspecting', (engine) => engine.inspect(id, signal), signal);
    // Docker answers a wait for a container that is removed meanwhile with its code, or with 404.
    return this.#noteRunning(facts) ? 'again' : await this.#end.outcome(id, facts, this.#limitBytes());
  }

  /** Whether it runs. */
  #noteRunning(facts: ContainerFacts | 'absent'): boolean {
    const runs = facts !== 'absent' && ['running', 'paused', 'restarting'].includes(facts.state);
    if (runs) this.#end.seenRunning();
    return runs;
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
    const signal = this.#endedOrLeaving;
    const { paths, log } = this.#parts;
    const { id } = this.#expectFacts();
    const ask = (what: string, work: (engine: Engine) => Promise<unknown>): Promise<unknown> =>
      this.#daemon.ask(what, work, signal);
    void stopContainer({ id, init: paths.init, ask, log }, graceMs, signal).catch((error: unknown) => {
      if (!signal.aborted) log.error('stopping failed', { error: oneLine(error) });
    });
  }

  /** The limits that `update` left in the state directory, once the container is there. */
  async applyLimits(): Promise<void> {
    if (this.#facts !== undefined) await this.#limits.apply(this.#facts.id);
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
    this.#isHere = true;
    this.#bestEffort('the pid', () => {
      writeFactSync(paths.pid, `${init.pid}\n`);
      writeFactSync(paths.init, JSON.stringify(noted(init)));
      this.#end.noteCgroup({ pid: init.pid, name: facts.id });
    });
  }
}

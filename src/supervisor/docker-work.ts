// All that is done with Docker for one container, as a keeper asks for it: each task begins beside the keeper's queue and
// ends as an event. Everything can be repeated after a crash: what Docker already has is found by name and labels and
// taken up. "Not there" and "could not be looked up" are never mixed up: a daemon that is away is asked again.

import type { CreateRequest } from '../container/create-request.ts';
import type { DockerId } from '../container/identity.ts';
import type { LifeEvent } from '../container/life.ts';
import type { Outcome } from '../container/termination.ts';
import type { ContainerFacts, Engine } from '../docker/engine.ts';
import { dockerOutput, type OutputSource } from '../docker/output.ts';
import { Fault, isDiskRefusal, isFault, oneLine } from '../fault.ts';
import { isInCgroupNamed } from '../host/cgroups.ts';
import { readJsonFact, writeFact, writeFactSync } from '../host/facts.ts';
import { isKillForMemoryLogged } from '../host/kernel-log.ts';
import type { Log } from '../host/log.ts';
import {
  DISK_PATIENCE_MS,
  hostMayPass,
  isShortage,
  pauseMs,
  persist,
  rest,
  unlessAborted,
} from '../host/pauses.ts';
import { bootId, identify, isNotedAlive, noted, parseNoted } from '../host/processes.ts';
import type { ContainerPaths } from '../state/layout.ts';
import type { RequestRecord } from '../state/records.ts';
import { hasFact, noteDockerId, readDockerId } from '../state/store.ts';
import { ContainerDaemon, DAEMON_AWAY_BOUND_MS } from './container-daemon.ts';
import { ContainerEnd } from './container-end.ts';
import { ContainerLimits } from './container-limits.ts';
import { ContainerOutput } from './container-output.ts';
import { ContainerStart } from './container-start.ts';
import { untilEnded } from './container-wait.ts';
import type { DockerHost } from './docker-host.ts';
import type { HealthTarget } from './health-checks.ts';
import type { Hooks } from './hooks.ts';
import { makeReady } from './make-ready.ts';
import type { MemoryWatch } from './memory-watch.ts';
import { bindSources, MountSources, runsAsRoot } from './mount-sources.ts';
import { killUnseen, stopContainer } from './stop-container.ts';

/** Docker begins the second half of a restart at once, and answers nothing about the container until it is done. */
const RESTART_SETTLE_MS = 500;

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
  readonly #starting: ContainerStart;
  readonly #mounts: MountSources;
  readonly #parts: DockerWorkParts;
  readonly #leaving = new AbortController();
  readonly #preparing = new AbortController();
  /** Aborted when the container has ended: stops need not go on. */
  readonly #ended = new AbortController();
  /** Aborted when Docker has said what it has of the container. */
  readonly #looked = new AbortController();
  readonly #endedOrLeaving = AbortSignal.any([this.#leaving.signal, this.#ended.signal]);
  /** The task under way; never two at once. */
  #current: Promise<void> = Promise.resolve();
  #request: CreateRequest | undefined;
  #facts: ContainerFacts | undefined;
  /** We asked for the end. */
  #isStopped = false;
  /** Its init was seen on this host. */
  #isHere = false;
  /** It was launched since the host was started. */
  readonly #isOfThisBoot: boolean;
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
    this.#isOfThisBoot = (parts.request.bootId ?? bootId()) === bootId();
    this.#end = new ContainerEnd({
      paths: parts.paths,
      isOfThisBoot: this.#isOfThisBoot,
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
    this.#starting = new ContainerStart({ daemon: this.#daemon, end: this.#end, log });
    this.#mounts = new MountSources({ sandbox: request.task.sandbox, note: paths.held, log });
    // After a crash a create may have been carried out though its answer was not noted.
    this.#mayExist = hasFact(parts.paths.creating) || hasFact(parts.paths.dockerId);
  }

  /** Begins a task; its outcome comes as an event. */
  begin(task: 'look' | 'prepare' | 'create' | 'start' | 'follow'): void {
    const work = {
      // Of a container that may run nothing is concluded from our own failure.
      look: () =>
        this.#insist('looking for the container', () => this.#look(), this.#leaving.signal).finally(() =>
          this.#looked.abort(),
        ),
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

  /** What a task needs before it runs waits for a disk that is full, a while. */
  async #whileDiskRefuses<T>(what: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const { log } = this.#parts;
    return await persist(work, { what, signal, log, mayPass: isDiskRefusal, boundMs: DISK_PATIENCE_MS });
  }

  /** Our container; where a create was begun and its answer never noted, it may still appear: it is waited for, a while. */
  async #findLate(engine: Engine, signal: AbortSignal): Promise<ContainerFacts | 'absent'> {
    const deadline = Date.now() + LATE_CREATE_MS;
    for (;;) {
      const facts = await this.#daemon.find(engine, signal);
      const isAnswered = this.#facts !== undefined || readDockerId(this.#parts.paths) !== undefined;
      if (facts !== 'absent' || isAnswered || Date.now() > deadline) return facts;
      await rest(LATE_CREATE_LOOK_MS, signal);
    }
  }

  async #look(): Promise<void> {
    const { paths, tell } = this.#parts;
    const { signal } = this.#leaving;
    // Known without Docker, which may be away: nothing was ever asked of it.
    if (!this.#mayExist) return this.#notStarted('absent');
    this.#end.watchMemory();
    const facts = await this.#daemon.find(await this.#daemon.engine(signal), signal);
    // What an earlier supervisor held; what is only created is held again before it is started.
    this.#giveBack();
    if (facts === 'absent') {
      const id = readDockerId(paths);
      if (id === undefined) return this.#notStarted('absent');
      return this.#ends(await this.#outcome(id, facts));
    }
    this.#note(facts);
    switch (facts.state) {
      case 'created':
        this.#starting.mayHaveBegun();
        return this.#notStarted('created');
      case 'running':
      case 'paused':
      case 'restarting':
        this.#end.seenRunning();
        if (this.#isAnotherInit(facts)) return this.#ends(await this.#endRestarted(facts.id, signal));
        this.#noteInit(facts);
        return tell({ type: 'found', docker: 'running' });
      case 'removing':
      case 'exited':
      case 'dead':
        this.#resumeOutput(facts);
        return this.#ends(await this.#outcome(facts.id, facts));
    }
  }

  /** It goes on from there, unless the host was restarted: its slave has given it up since, and may have a successor run. */
  #notStarted(docker: 'absent' | 'created'): void {
    if (this.#isOfThisBoot) this.#parts.tell({ type: 'found', docker });
    else this.#ends({ kind: 'lost', why: 'The host was restarted before the container had started' });
  }

  async #prepare(): Promise<void> {
    const { request, hooks, tell, log, onProgress, root, paths } = this.#parts;
    const signal = AbortSignal.any([this.#leaving.signal, this.#preparing.signal]);
    if (request.lost !== undefined) throw new Fault('refused', request.lost);
    try {
      this.#request = await this.#whileDiskRefuses('preparing the task', signal, async () => {
        const daemon = await this.#daemon.choose(this.#mayExist, signal);
        return await makeReady(
          { request, root, daemon, log, noteIn: paths.children },
          { signal, onProgress, awayBoundMs: DAEMON_AWAY_BOUND_MS },
        );
      });
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
    await this.#whileDiskRefuses('noting the creation', signal, () => writeFact(paths.creating, ''));
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
    const { tell, request } = this.#parts;
    const { signal } = this.#leaving;
    if (request.lost !== undefined) throw new Fault('refused', request.lost);
    const facts = this.#expectFacts();
    await this.#whileDiskRefuses('opening the output', signal, () =>
      this.#daemon.ask(
        'attaching to the container',
        ({ endpoint }) => this.output.open(dockerOutput(endpoint, facts.id, facts.tty), facts),
        signal,
      ),
    );
    const forgotten = await this.#startHeld(facts, signal);
    if (forgotten !== undefined) return this.#ends(forgotten);
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

  /** What Docker mounts of the sandbox stays where it is until it is mounted. */
  async #startHeld(facts: ContainerFacts, signal: AbortSignal): Promise<Outcome | undefined> {
    try {
      await this.#whileDiskRefuses('holding the sandbox', signal, async () =>
        this.#mounts.hold(bindSources(facts), runsAsRoot(facts)),
      );
      return await this.#starting.begin(facts.id, signal);
    } finally {
      // Docker may be at it still when we leave: the next supervisor gives it back.
      if (!signal.aborted) this.#giveBack();
    }
  }

  /** Directories of the sandbox to their owner. */
  #giveBack(): void {
    try {
      this.#mounts.release();
    } catch (error) {
      if (!isFault(error)) throw error;
      this.#parts.log.error('a directory of the sandbox is not given back', { error: oneLine(error) });
    }
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
    const inspect = (engine: Engine) => engine.inspect(id, signal);
    const wait = async (engine: Engine) => {
      // A connection that broke says nothing of the container: one that still runs has not ended with the daemon.
      if (isAgain && !this.#runsOn(await inspect(engine))) return;
      isAgain = true;
      const answer = await untilEnded(engine, id, this.#parts.paths.init, signal);
      if (answer !== undefined && answer !== 'absent') this.#end.told(answer.exitCode);
    };
    await this.#insist('waiting for the end', wait, signal);
    const facts = await this.#insist('inspecting', inspect, signal);
    if (this.#runsOn(facts)) return 'again';
    if (this.#noteRunning(facts)) return await this.#endRestarted(id, signal);
    const outcome = await this.#outcome(id, facts);
    return (await this.#isRestarted(id, outcome, signal)) ? await this.#endRestarted(id, signal) : outcome;
  }

  /** Whether it runs, and has done so since we know it. */
  #runsOn(facts: ContainerFacts | 'absent'): boolean {
    const known = this.#facts?.startedAt;
    return this.#noteRunning(facts) && facts !== 'absent' && (known ?? facts.startedAt) === facts.startedAt;
  }

  /** Whether its init is not the one that an earlier supervisor has noted. One that has just ended is: Docker learns of it later. */
  #isAnotherInit({ id, pid }: ContainerFacts): boolean {
    const before = parseNoted(readJsonFact(this.#parts.paths.init));
    if (before === undefined || pid === undefined) return false;
    if (pid !== before.pid || before.bootId !== bootId()) return true;
    const now = identify(pid);
    return now !== undefined && now.startTime !== before.startTime && isInCgroupNamed(pid, id);
  }

  /** `docker restart` begins as `docker stop` does: whether it was one shows a moment later. */
  async #isRestarted(id: DockerId, outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    if (this.#isStopped || outcome.kind !== 'exited' || outcome.outside !== 'docker-signal') return false;
    await rest(RESTART_SETTLE_MS, signal);
    const facts = await this.#insist('inspecting', (engine) => engine.inspect(id, signal), signal);
    return this.#noteRunning(facts);
  }

  /** What runs in it now is not the task that was launched: ended before anything is said of that. */
  async #endRestarted(id: DockerId, signal: AbortSignal): Promise<Outcome> {
    this.#parts.log.warning('somebody else has restarted the container, ending it', { dockerId: id });
    await this.#insist('ending the container', (engine) => engine.stop(id, 0, signal), signal);
    return { kind: 'lost', why: 'The container was restarted by somebody else' };
  }

  /** Whether it runs. */
  #noteRunning(facts: ContainerFacts | 'absent'): boolean {
    const runs = facts !== 'absent' && ['running', 'paused', 'restarting'].includes(facts.state);
    if (runs) this.#end.seenRunning();
    return runs;
  }

  /** Of one that has ended; what this host lacks just now ends nothing, and changes no end. */
  async #outcome(id: DockerId, facts: ContainerFacts | 'absent'): Promise<Outcome> {
    const { log } = this.#parts;
    // The memory limit that it had when it was looked at last.
    const limitBytes = this.#facts?.hostConfig.Memory;
    return await persist(() => this.#end.outcome(id, facts, limitBytes), {
      ...{ what: 'finding out how the container ended', signal: this.#leaving.signal, log },
      mayPass: isShortage,
    });
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

  /** Kills the init that an earlier supervisor has noted, unless Docker says within the bounds what it has of the container. */
  killUnseen(graceMs: number): void {
    const signal = AbortSignal.any([this.#endedOrLeaving, this.#looked.signal]);
    const { paths, log } = this.#parts;
    const onKill = (): void => {
      this.#isStopped = true;
    };
    void killUnseen({ init: paths.init, log, onKill }, graceMs, signal).catch((error: unknown) => {
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
        if (facts !== 'absent' && facts.state === 'created')
          await this.#starting.endForgotten(facts.id, signal);
        if (facts !== 'absent') await engine.remove(facts.id, { force: true, volumes: true }, signal);
      },
      signal,
    );
    this.#giveBack();
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
    this.#noteWhenPossible('noting the Docker id', () =>
      noteDockerId(root, paths, request.task.containerId, facts.id),
    );
  }

  /** Written when it returns; beside all else where the disk does not take it at once: a full one ends no task that runs. */
  #noteWhenPossible(what: string, work: () => void): void {
    const { log } = this.#parts;
    const signal = this.#endedOrLeaving;
    void persist(async () => work(), { what, signal, log, mayPass: hostMayPass }).catch((error: unknown) => {
      if (!signal.aborted) log.error('a task failed by a bug', { task: what, error: oneLine(error) });
    });
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
    this.#noteWhenPossible('noting the pid', () => {
      writeFactSync(paths.pid, `${init.pid}\n`);
      writeFactSync(paths.init, JSON.stringify(noted(init)));
      this.#end.noteCgroup({ pid: init.pid, name: facts.id });
    });
  }
}

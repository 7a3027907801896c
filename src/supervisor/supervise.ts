// The one long-lived process of a state root. Its start is its recovery: it reads the state directory, listens under the
// names that slaves know, and takes up every container that is not at its end. What it holds in memory is a cache.
// Exactly one lives for a root: the lock decides, and only its holder touches the socket.

import type { MesosContainerId } from '../container/identity.ts';
import { removeLeftDialogues } from '../docker/cli-dialogue.ts';
import type { Engine } from '../docker/engine.ts';
import { mayPass } from '../docker/faults.ts';
import { errnoOf, Fault, isFault, oneLine } from '../fault.ts';
import { endLeftovers } from '../host/child.ts';
import { removeAbandoned, removeSync } from '../host/facts.ts';
import { type FileLock, tryLock } from '../host/flock.ts';
import { type Log, withFields } from '../host/log.ts';
import { lowerOomScore } from '../host/oom-score.ts';
import { OpenFiles } from '../host/open-files.ts';
import { persist, rest } from '../host/pauses.ts';
import { ExecutorPort } from '../mesos/executor-port.ts';
import { STRANGERS_MAX } from '../mesos/strangers.ts';
import { parseUpid } from '../mesos/upid.ts';
import { type ContainerPaths, containerPaths, rootPaths } from '../state/layout.ts';
import { oddEntries } from '../state/odd-entries.ts';
import { REQUEST_VERSION, type RequestRecord } from '../state/records.ts';
import { removeFinished, removeIfFinished } from '../state/retention.ts';
import { noteRecords } from '../state/root.ts';
import {
  accept,
  admission,
  hasFact,
  listIds,
  needsSupervisor,
  readRequest,
  readTermination,
  withdraw,
} from '../state/store.ts';
import { askBySocket } from './ask-by-socket.ts';
import {
  type Build,
  isExecutableGone,
  isExecutableReplaced,
  makesRoom,
  makesRoomForService,
} from './builds.ts';
import { DockerHosts } from './docker-host.ts';
import { DockerWork } from './docker-work.ts';
import { findableAt, LOOPBACK, listenForSlaves } from './executor-address.ts';
import { Hooks, tidyHooks } from './hooks.ts';
import { Keeper, type KeeperParts } from './keeper.ts';
import { letGoOrDie } from './let-go.ts';
import { lostRequest } from './lost-request.ts';
import { MemoryWatch } from './memory-watch.ts';
import type { Asked, Request } from './protocol.ts';
import { ExecutorReporter } from './reporter.ts';
import { termsOf } from './restore.ts';
import { serveRequests } from './server.ts';
import { livingSlaves, SlaveSettings, sslAtLaunch } from './slave-settings.ts';
import { Slaves, slaveAnswers } from './slaves.ts';
import { removeStrays } from './strays.ts';
import { Turns } from './turns.ts';

/** With nothing to look after for this long the supervisor ends. */
const IDLE_MS = 60_000;
const IDLE_LOOK_MS = 1_000;
/** A supervisor that holds the lock and has no socket is on its way in or out; for so long its successor waits. */
const HANDOVER_MS = 10_000;
const HANDOVER_LOOK_MS = 50;
/** A service looks so often whether the lock has come free that another service has, or one that hangs. */
const SERVICE_LOOK_MS = 1_000;
/** For so long it waits for what that one says. */
const RELIEVE_MS = 2_000;
/** States are looked through for what may go this often. */
const RETENTION_EVERY_MS = 10 * 60_000;
/** For so long a state that is not to be kept is looked at each second: its end is yet to be delivered, by a wait that wakes. */
const DELIVERY_BOUND_MS = 60_000;
/** So long after a daemon was first needed it is asked for what an earlier boot has left there. */
const STRAYS_AFTER_MS = 30_000;
/** So many health checks begin at once: Docker takes some 0.1 s of a processor for each. */
const CHECKS_AT_ONCE = 4;
/** A task that runs has seven files open; one that is being started, with what it fetches, up to so many. */
const FILES_OF_START = 16;
/** Kept free of new tasks: for those that run, which end, are stopped and asked about, and for calls and slaves to be heard. */
const FILES_KEPT_FREE = 64;
/** Of all files; anybody on the host can have them opened, so they count as free where a task needs them. */
const STRANGERS_SHARE = 1 / 4;
/** With so few for so long, since somebody has lowered the limit, we go: the next supervisor begins with its own. */
const FILES_TOO_FEW = 16;
const FILES_TOO_FEW_MS = 10_000;

export interface SuperviseOptions {
  readonly root: string;
  /** For a service unit: wait for the lock, which one that was started on demand gives up; end for want of work only when our file is gone. */
  readonly stay: boolean;
  readonly log: Log;
  /** Our own, to see that it was replaced. */
  readonly executable: string;
  readonly version: string;
  /** Aborted when the process is asked to end: containers go on, and the next supervisor takes them up. */
  readonly signal: AbortSignal;
}

/**
 * Runs until there is nothing to do, another build is to take over, or aborted. Returns at once where another supervisor
 * lives (without `stay`).
 */
export async function supervise(options: SuperviseOptions): Promise<void> {
  const { root, stay, log, executable } = options;
  const own: Build = { version: options.version, records: REQUEST_VERSION };
  using lock = await takeLock(root, stay ? own : undefined, options.signal);
  if (lock === undefined) {
    log.debug('another supervisor lives', { root });
    return;
  }
  if (!lowerOomScore()) log.debug('the OOM score cannot be lowered', {});
  noteRecords(root);
  log.info('supervisor starts', { root, pid: process.pid, version: own.version });
  const relieved = new AbortController();
  const isRelievedBy = ({ request, by }: Asked): boolean => {
    if (by === undefined) return false;
    const isReplaced = (): boolean => isExecutableReplaced(executable);
    if (request.op === 'relieve') return !stay && makesRoomForService(own, by, isReplaced);
    return makesRoom(own, by, isReplaced);
  };
  const isOurs = (asked: Asked): boolean => {
    if (!isRelievedBy(asked)) return true;
    const who = asked.request.op === 'relieve' ? 'the service takes over' : 'another build takes over';
    if (!relieved.signal.aborted) log.info(who, { version: asked.by?.version ?? '' });
    // Nobody finds us any more; and who sees that waits for the lock.
    removeSync(rootPaths(root).requests);
    removeSync(rootPaths(root).socket);
    relieved.abort();
    return false;
  };
  const signal = AbortSignal.any([options.signal, relieved.signal]);
  const supervisor = new Supervisor(root, log);
  try {
    removeLeftDialogues();
    await supervisor.restore();
    const answer = (request: Request): Promise<void> => supervisor.answer(request);
    const server = await serveRequests(root, { answer, isOurs }, log);
    try {
      supervisor.resume();
      // A service that was removed, and not stopped since tasks run, ends behind them like any other; so does one whose root
      // was replaced: calls no longer find it.
      await supervisor.live(() => stay && lock.isInPlace() && !isExecutableGone(executable), signal);
    } finally {
      server.close();
    }
  } finally {
    await letGoOrDie(supervisor.abandon(), log);
    log.info('supervisor ends', { root });
  }
}

/** `service`: asks whoever has it to make room, and waits for as long as it takes; else undefined where somebody has it. */
async function takeLock(
  root: string,
  service: Build | undefined,
  signal: AbortSignal,
): Promise<FileLock | undefined> {
  const { supervisorLock, socket } = rootPaths(root);
  let handedOverBy = Date.now() + HANDOVER_MS;
  for (;;) {
    const lock = await tryLock(supervisorLock);
    if (lock !== undefined) return lock;
    const isServed = hasFact(socket);
    if (service === undefined && (isServed || Date.now() > handedOverBy)) return undefined;
    if (service !== undefined && isServed && (await relieves(root, service)))
      handedOverBy = Date.now() + HANDOVER_MS;
    // Others who find nobody there start one, too: who looks often comes first.
    const isNear = Date.now() < handedOverBy;
    await rest(isNear ? HANDOVER_LOOK_MS : SERVICE_LOOK_MS, signal).catch(() => {});
    if (signal.aborted) return undefined;
  }
}

/** Whether who serves `root` makes room for this service, or has gone. */
async function relieves(root: string, service: Build): Promise<boolean> {
  try {
    return (await askBySocket(root, { op: 'relieve' }, service, RELIEVE_MS)) === undefined;
  } catch (error) {
    if (!isFault(error)) throw error;
    return false;
  }
}

/** How long a state is kept; for ever where another release has to say. */
function keepMs(paths: ContainerPaths): number {
  try {
    return (readRequest(paths)?.config.state.keepSeconds ?? 0) * 1000;
  } catch (error) {
    if (!isFault(error, 'protocol')) throw error;
    return Number.POSITIVE_INFINITY;
  }
}

class Supervisor {
  readonly #root: string;
  readonly #log: Log;
  readonly #keepers = new Map<MesosContainerId, Keeper>();
  /** Requests that are being accepted right now. */
  readonly #accepting = new Map<MesosContainerId, Promise<void>>();
  /** Containers that could not be taken up at the start, being tried again right now. */
  readonly #takingUp = new Map<MesosContainerId, Promise<void>>();
  /** Ended, and not to be kept once that has been delivered; until when to look. */
  readonly #undelivered = new Map<MesosContainerId, number>();
  readonly #leaving = new AbortController();
  readonly #slaves: Slaves;
  readonly #settings: SlaveSettings;
  readonly #hosts: DockerHosts;
  readonly #checkTurns = new Turns(CHECKS_AT_ONCE);
  readonly #memoryWatch = new MemoryWatch();
  readonly #files = new OpenFiles();
  readonly #filesAtFirst = this.#files.limit;
  readonly #port = new ExecutorPort({
    onRefused: (why) => this.#log.warning('refused at the executor port', { error: why }),
    strangersMax: Math.min(STRANGERS_MAX, Math.ceil(this.#filesAtFirst * STRANGERS_SHARE)),
  });
  #listening: Promise<void> | undefined;
  #busySince = Date.now();

  constructor(root: string, log: Log) {
    this.#root = root;
    this.#log = log;
    this.#hosts = new DockerHosts(log, (engine) => void this.#removeStrays(engine));
    this.#slaves = new Slaves(this.#leaving.signal, log);
    this.#settings = new SlaveSettings(root);
  }

  /** Knows every container again, and listens under their names. Docker is not asked yet. */
  async restore(): Promise<void> {
    const { supervisor, slaves } = rootPaths(this.#root);
    for (const directory of [supervisor, slaves]) removeAbandoned(directory);
    const { ids, foreign } = listIds(this.#root);
    if (foreign.length > 0)
      this.#log.warning('entries that are no states are left alone', { count: foreign.length });
    for (const id of ids) {
      const request = this.#requestOf(id);
      if (request !== undefined) await this.#take(request, 'restore');
    }
    if (this.#keepers.size > 0) this.#log.info('containers taken up', { count: this.#keepers.size });
  }

  /** Everything that restore() found goes on from where it was. */
  resume(): void {
    for (const keeper of this.#keepers.values()) {
      void keeper.lock().catch((error: unknown) => this.#lockFailed(keeper, error));
      keeper.tell({ type: 'resume' });
    }
  }

  /** Until idle for long enough, without enough files for too long, or aborted. */
  async live(stays: () => boolean, signal: AbortSignal): Promise<void> {
    let tidied = 0;
    let hadFilesAt = Date.now();
    while (!signal.aborted) {
      if (!this.#isLimitLowered()) hadFilesAt = Date.now();
      else if (Date.now() - hadFilesAt > FILES_TOO_FEW_MS) {
        this.#log.error('the limit on open files was lowered too far: the next supervisor takes over', {});
        return;
      }
      if (this.#keepers.size > 0 || this.#accepting.size > 0) this.#busySince = Date.now();
      else if (Date.now() - this.#busySince > IDLE_MS && !stays()) return;
      this.#removeDelivered();
      if (Date.now() - tidied > RETENTION_EVERY_MS) {
        tidied = Date.now();
        this.#tidy();
      }
      await rest(IDLE_LOOK_MS, signal).catch(() => {});
    }
  }

  async abandon(): Promise<void> {
    this.#leaving.abort();
    await Promise.all([...this.#keepers.values()].map((keeper) => keeper.abandon()));
    await this.#port.close();
  }

  async answer(request: Request): Promise<void> {
    this.#busySince = Date.now();
    // A slave that comes back, or launches, may be another process than before.
    if (request.op === 'ready' || request.op === 'run') this.#settings.forget();
    if (request.op === 'ready') return;
    if (request.op === 'relieve')
      throw new Fault('refused', 'this supervisor does not make room for that service');
    const keeper = this.#keepers.get(request.container);
    switch (request.op) {
      case 'run':
        return await this.#run(request.container);
      case 'hold':
        return await this.#hold(request.container);
      case 'update':
        return await keeper?.applyLimits();
      case 'destroy':
        return await this.#destroy(request.container);
    }
  }

  async #run(id: MesosContainerId): Promise<void> {
    // What is under way may be the request of a launch that was killed, and withdrawn: this one is looked at by itself.
    for (let under = this.#accepting.get(id); under !== undefined; under = this.#accepting.get(id))
      await under.catch(() => {});
    if (this.#keepers.has(id)) return;
    const accepting = this.#acceptNew(id).finally(() => this.#accepting.delete(id));
    this.#accepting.set(id, accepting);
    await accepting;
  }

  async #acceptNew(id: MesosContainerId): Promise<void> {
    const paths = containerPaths(this.#root, id);
    if (admission(paths) === 'accepted') {
      // Accepted by a supervisor that died before it could say so: taken up like any other.
      await this.#hold(id);
      return;
    }
    this.#refuseWithoutFiles();
    const request = readRequest(paths);
    if (request === undefined) throw new Fault('not-found', `there is no request for container ${id}`);
    const keeper = await this.#make(request, 'new');
    await keeper.lock();
    if (this.#leaving.signal.aborted) {
      await keeper.abandon();
      throw new Fault('refused', 'the supervisor ends');
    }
    try {
      if (!accept(paths)) throw new Fault('refused', `the launch of container ${id} was withdrawn`);
    } catch (error) {
      // A disk that refuses may do so behind the decision: then the container's `wait` has it taken up.
      await keeper.abandon();
      throw error;
    }
    this.#keepers.set(id, keeper);
    this.#log.info('accepted', { mesosId: id, task: request.task.taskId ?? request.task.executorId });
    keeper.tell({ type: 'begin' });
  }

  /** One that was too low from the beginning is so for the next supervisor, too. */
  #isLimitLowered(): boolean {
    return this.#files.limit < this.#filesAtFirst && this.#filesLeft() < FILES_TOO_FEW;
  }

  /** What anybody on the host can have us open does not count: it gives way. */
  #filesLeft(): number {
    return this.#files.left + this.#port.strangers;
  }

  /** Before there are too few for the tasks that run. */
  #refuseWithoutFiles(): void {
    const starting = [...this.#keepers.values()].filter((keeper) => keeper.isStarting).length;
    if (this.#filesLeft() - FILES_OF_START * (starting + this.#accepting.size) < FILES_KEPT_FREE)
      throw new Fault(
        'host',
        `the limit on open files is too low for another task beside ${this.#keepers.size} (ulimit -n, LimitNOFILE)`,
      );
  }

  async #hold(id: MesosContainerId): Promise<void> {
    const paths = containerPaths(this.#root, id);
    if (!this.#keepers.has(id) && needsSupervisor(paths)) {
      // Two calls may come at once; one container has one keeper.
      const takingUp = this.#takingUp.get(id) ?? this.#takeUp(id).finally(() => this.#takingUp.delete(id));
      this.#takingUp.set(id, takingUp);
      await takingUp;
    }
    const keeper = this.#keepers.get(id);
    if (keeper !== undefined) return await keeper.lock();
    if (readTermination(paths) === undefined)
      throw new Fault('not-found', `container ${id} is not known here`);
  }

  async #takeUp(id: MesosContainerId): Promise<void> {
    const request = this.#requestOf(id);
    const keeper = request === undefined ? undefined : await this.#take(request, 'restore');
    keeper?.tell({ type: 'resume' });
  }

  async #destroy(id: MesosContainerId): Promise<void> {
    const paths = containerPaths(this.#root, id);
    await this.#accepting.get(id)?.catch(() => {});
    if (admission(paths) === 'pending' && withdraw(paths)) return;
    if (!this.#keepers.has(id) && needsSupervisor(paths)) await this.#hold(id);
    const keeper = this.#keepers.get(id);
    if (keeper === undefined) return;
    keeper.tell({ type: 'destroy' });
    await keeper.gone;
  }

  /** The request of a container that is not at its end; what cannot be read is logged and left alone. */
  #requestOf(id: MesosContainerId): RequestRecord | undefined {
    try {
      const paths = containerPaths(this.#root, id);
      if (!needsSupervisor(paths)) return undefined;
      for (const { name, what } of oddEntries(paths))
        this.#log.warning('an entry of a state is left alone', { mesosId: id, entry: name, what });
      const request = readRequest(paths);
      if (request !== undefined) return request;
      this.#log.error('the request of a container cannot be read: only its end will be told', {
        mesosId: id,
      });
      return lostRequest(paths, id);
    } catch (error) {
      this.#log.error('a state cannot be read and is left alone', { mesosId: id, error: oneLine(error) });
      return undefined;
    }
  }

  async #take(request: RequestRecord, from: 'restore'): Promise<Keeper | undefined> {
    const id = request.task.containerId;
    try {
      this.#endWhatOutlived(id);
      const keeper = await this.#make(request, from);
      this.#keepers.set(id, keeper);
      return keeper;
    } catch (error) {
      this.#log.error('a container cannot be taken up', { mesosId: id, error: oneLine(error) });
      return undefined;
    }
  }

  /** What an earlier supervisor had started for this container and could not end any more. */
  #endWhatOutlived(id: MesosContainerId): void {
    const paths = containerPaths(this.#root, id);
    for (const path of [paths.directory, paths.updates]) removeAbandoned(path);
    const killed = endLeftovers(paths.children);
    if (killed > 0)
      this.#log.warning('ended what an earlier supervisor had started', { mesosId: id, killed });
    tidyHooks(paths);
  }

  async #make(request: RequestRecord, from: 'new' | 'restore'): Promise<Keeper> {
    const root = this.#root;
    const id = request.task.containerId;
    const log = withFields(this.#log, { mesosId: id });
    const paths = containerPaths(root, id);
    const { reporting } = termsOf(request);
    if (reporting) await this.#listen(request.config.executor.port);
    const slave = parseUpid(request.task.slavePid ?? '');
    const ip = reporting ? await findableAt(this.#port, slave, sslAtLaunch(request), log) : LOOPBACK;
    const slaveTerms = {
      ssl: () => this.#settings.sslNow(request),
      mayBeSlave: (uid: number) => this.#settings.mayBeSlave(request, uid),
    };
    const slaveProcess = () => livingSlaves(root, request)[0];
    const host = this.#hosts.for(request.config, request.slaveEnvironment);
    const hooks = new Hooks({ request, paths, log });
    const memoryWatch = this.#memoryWatch;
    const parts: KeeperParts = {
      root,
      request,
      log,
      reporter: reporting
        ? (tell) =>
            new ExecutorReporter({
              ...{ paths, request, port: this.#port, ip, slaveTerms, slaveProcess },
              ...{ slaves: this.#slaves, log, tell },
            })
        : undefined,
      docker: (tell, onProgress) =>
        new DockerWork({ root, paths, request, host, hooks, memoryWatch, log, tell, onProgress }),
      hooks,
      checkTurns: this.#checkTurns,
      slaveLives: async () =>
        slave !== undefined && (await slaveAnswers(slave, this.#leaving.signal, slaveTerms)),
      onDone: () => {
        this.#keepers.delete(id);
        this.#busySince = Date.now();
        if (request.config.state.keepSeconds > 0) return;
        this.#undelivered.set(id, Date.now() + DELIVERY_BOUND_MS);
      },
    };
    return new Keeper(parts, from);
  }

  /** Opens the executor port when the first command task needs it. */
  async #listen(configured: number | undefined): Promise<void> {
    this.#listening ??= listenForSlaves(this.#port, this.#root, configured, this.#log, this.#leaving.signal);
    try {
      await this.#listening;
    } catch (error) {
      this.#listening = undefined;
      throw error;
    }
  }

  #lockFailed(keeper: Keeper, error: unknown): void {
    if (!this.#leaving.signal.aborted) {
      this.#log.error("a container's lock cannot be taken", { mesosId: keeper.id, error: oneLine(error) });
    }
  }

  /** Of each daemon once, when what is urgent has been asked of it. */
  async #removeStrays(engine: Engine): Promise<void> {
    const { signal } = this.#leaving;
    try {
      await rest(STRAYS_AFTER_MS, signal);
      const what = 'removing what an earlier boot has left';
      const work = (): Promise<number> => removeStrays(engine, this.#root, this.#log, signal);
      const count = await persist(work, { what, signal, mayPass, log: this.#log });
      if (count > 0) this.#log.info('containers of an earlier boot removed', { count });
    } catch (error) {
      if (!signal.aborted)
        this.#log.warning('containers of an earlier boot could not be removed', { error: oneLine(error) });
    }
  }

  #removeDelivered(): void {
    this.#removing(() => {
      const now = Date.now();
      for (const [id, until] of this.#undelivered) {
        if (this.#keepers.has(id) || this.#accepting.has(id)) continue;
        if (removeIfFinished(this.#root, id, now) || now > until) this.#undelivered.delete(id);
      }
    });
  }

  /** Removes states that have been kept for long enough. */
  #tidy(): void {
    this.#removing(() => {
      // Of callers that were killed before their answer.
      removeAbandoned(rootPaths(this.#root).supervisor);
      const now = Date.now();
      const removed = removeFinished(this.#root, now, (id, finishedMs, paths) => {
        if (this.#keepers.has(id) || this.#accepting.has(id)) return false;
        return now - finishedMs >= keepMs(paths);
      });
      if (removed.length > 0) this.#log.info('old states removed', { count: removed.length });
    });
  }

  #removing(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!isFault(error) && errnoOf(error) === undefined) throw error;
      this.#log.warning('old states could not be removed', { error: oneLine(error) });
    }
  }
}

// Tells a slave what becomes of a command task, and hears from it what is wanted. TaskReporter is all that the keeper
// knows of this; ExecutorReporter is the way that every slave of 0.19 – 1.0 speaks: we are the task's executor.
// A status update is on disk before it is sent, stays there until it is acknowledged, and is sent again after a reconnect.

import { randomBytes } from 'node:crypto';
import type { Health } from '../container/health.ts';
import type { LifeEvent } from '../container/life.ts';
import { TaskState, type TaskStateNumber } from '../container/termination.ts';
import { escapeControl, Fault, isFault, oneLine } from '../fault.ts';
import { readFact, readJsonFact, writeFact, writeFactSync } from '../host/facts.ts';
import type { Log } from '../host/log.ts';
import { hostMayPass, pauseMs, persist, rest } from '../host/pauses.ts';
import { isNotedAlive, type NotedProcess } from '../host/processes.ts';
import {
  parseSlaveMessage,
  registerExecutor,
  reregisterExecutor,
  statusUpdate,
  statusUpdateMessage,
} from '../mesos/executor-messages.ts';
import type { ExecutorPort, SlaveMessage } from '../mesos/executor-port.ts';
import type { Reason } from '../mesos/messages.ts';
import { formatUpid, parseUpid, type Upid } from '../mesos/upid.ts';
import type { ContainerPaths } from '../state/layout.ts';
import {
  parseRegistered,
  parseWaitSeen,
  type RegisteredRecord,
  type RequestRecord,
  type WaitSeen,
} from '../state/records.ts';
import { hasFact } from '../state/store.ts';
import { isTerminal, KeptUpdates } from './kept-updates.ts';
import type { Slaves, SlaveTerms } from './slaves.ts';

export interface Report {
  readonly state: TaskStateNumber;
  readonly message: string;
  readonly reason?: Reason;
  /** With RUNNING: the JSON of `docker inspect`. */
  readonly data?: Uint8Array;
  readonly ipAddress?: string;
  /** What the task's health checks say of it. */
  readonly health?: Health;
}

/** What reports a task's state to its slave. What it hears comes as events of the life. */
export interface TaskReporter {
  /** Connects, and registers unless that is done. Repeatable. */
  dial(): Promise<void>;
  /** The task's health as it was reported last, by an earlier supervisor too; undefined where it never was. */
  readonly health: Health | undefined;
  /**
   * Keeps the update durably and sends it when it may be sent: in the order of the calls, whichever of them are awaited. It
   * resolves when that is done, on a full disk when there is room again. A state that was reported before is not repeated,
   * nor is a health; one that comes before RUNNING, or behind a later state, is dropped.
   */
  report(report: Report): Promise<void>;
  /** Says and hears nothing more. Repeatable. */
  close(): void;
}

export interface ReporterParts {
  readonly paths: ContainerPaths;
  readonly request: RequestRecord;
  readonly port: ExecutorPort;
  /** At which of our addresses the slave is to find us. */
  readonly ip: string;
  /** What the slave wants of connections, now, and as whom it may run. */
  readonly slaveTerms: SlaveTerms;
  /** The slave that came back last, or launched this, if it lives and can be told. */
  readonly slaveProcess: () => NotedProcess | undefined;
  readonly slaves: Slaves;
  readonly log: Log;
  readonly tell: (event: LifeEvent) => void;
}

/** How we call ourselves to a slave. Anything else would break the requests that it makes of us by that name. */
const NAME = /^deimos-[0-9a-f]{32}$/;

/** A slave that answers, but not with "taken", is asked again with pauses up to this: an end has 60 s to be acknowledged. */
const SEND_PAUSE_MS_MAX = 5_000;

/** A slave answers two Registers one right after the other, unless its host is very busy. */
const SECOND_ANSWER_MS = 5_000;

/** Reports that the disk does not take yet: more are those of a task whose health changes all the time. */
export const WAITING_REPORTS_MAX = 100;

/** A slave that has restarted recovers, asks for its executors and gives them 2 s: all of that takes less. */
const RECONNECT_EXPECTED_MS = 60_000;

/** Where it asks for us in vain, because our port is another's: it is looked this often whether it is back. */
const WAIT_LOOK_MS = 200;

const UNHEARD_RETURN = 'the slave came back while no supervisor listened: reregistering unasked';

function isSame(one: NotedProcess, other: NotedProcess): boolean {
  return one.pid === other.pid && one.startTime === other.startTime && one.bootId === other.bootId;
}

export class ExecutorReporter implements TaskReporter {
  readonly #parts: ReporterParts;
  readonly #name: string;
  readonly #updates: KeptUpdates;
  readonly #closing = new AbortController();
  /** Not kept yet, oldest first, but for the one that is being written. */
  readonly #waiting: Report[] = [];
  /** Fulfilled when the last of them is kept, or cannot be. */
  #kept: Promise<void> = Promise.resolve();
  readonly #watcher = { there: () => this.#there(), away: (why?: string) => this.#away(why) };
  #slave: Upid;
  #registered: RegisteredRecord | undefined;
  #registersSent: number;
  /** A slave that came back has 2 s for our answer, and takes it once. `by`: that one, where it can be told. */
  #asked: { readonly by: NotedProcess | undefined } | undefined;
  /** To that slave it was given over this link without being asked: where it asks for it, that is late. */
  #unaskedOf: NotedProcess | undefined;
  /** The slave came back: if the link breaks now it may have been the old one's, of which we had not heard yet. */
  #mayDialAgain = false;
  /** The slave was away since it last spoke to us as its executor. */
  #awaitsReconnect = false;
  /** The slave whose link broke, where it is known. */
  #lostProcess: NotedProcess | undefined;
  #reconnectTimer: NodeJS.Timeout | undefined;
  #waitLook: NodeJS.Timeout | undefined;
  #noted: Promise<void> = Promise.resolve();
  /** Ends with the message that is being sent. Never rejects. */
  #underWay: Promise<void> = Promise.resolve();
  #sending: 'no' | 'yes' | 'once-more' = 'no';
  /** Ends the pause before the next try. */
  #poke = (): void => {};
  /** A Register is out on this link, its answer not in. */
  #registerPending = false;
  /** Names of messages that could not be used, of those that mean something here. */
  readonly #unusable = new Set<string>();
  /** Until when a Shutdown is taken for the answer to a repeated Register; milliseconds since the epoch. */
  #disbelievesShutdownUntil = 0;

  /** Listens under its name at once; says nothing before `dial`. Throws Fault `protocol` where the slave's address is none. */
  constructor(parts: ReporterParts) {
    this.#parts = parts;
    const { paths, request } = parts;
    const { slavePid = '' } = request.task;
    const slave = movedTo(paths.slaveAddress, parts.log) ?? parseUpid(slavePid);
    if (slave === undefined) throw new Fault('protocol', `the slave's address is not one: ${slavePid}`);
    this.#slave = slave;
    this.#registered = parseRegistered(readJsonFact(paths.registered));
    this.#registersSent = hasFact(paths.registering) ? 1 : 0;
    this.#updates = new KeptUpdates(paths);
    if (this.#updates.unreadable > 0)
      parts.log.warning('status updates cannot be read and are left alone', {
        count: this.#updates.unreadable,
      });
    this.#name = nameOf(paths.executorName, parts.log);
    parts.port.register(this.#name, (message) => this.#heard(message), { ...parts.slaveTerms, ip: parts.ip });
  }

  async dial(): Promise<void> {
    // Whoever listens at its address now does not know us before it has recovered, and says so then (Reconnect).
    const owner = this.#owner();
    if (owner !== undefined && !isNotedAlive(owner)) {
      // It may have said so while no supervisor listened, before its `wait` could tell of it.
      this.#lookForWait(UNHEARD_RETURN);
      this.#parts.tell({ type: 'slave-away' });
      return;
    }
    const seen = this.#waitSeen();
    if (this.#missedReconnect(seen)) {
      this.#parts.log.warning(UNHEARD_RETURN);
      this.#reregisterUnasked(seen);
    }
    this.#watch();
  }

  /**
   * The slave's process that has us, or waits for us, as far as that is known: one of them that lives, if any does. A disk
   * that was full may have kept either from being noted.
   */
  #owner(): NotedProcess | undefined {
    const { slave = this.#parts.request.slaveProcess } = this.#waitSeen();
    const known = [this.#registered?.by, slave].filter((one) => one !== undefined);
    return known.find(isNotedAlive) ?? known[0];
  }

  /** A slave that has asked for us in vain gives us 2 s: that it is back only its `wait` tells. */
  #lookForWait(why: string): void {
    clearInterval(this.#waitLook);
    if (this.#registered === undefined || !this.#parts.request.task.checkpoint) return;
    this.#waitLook = setInterval(() => {
      const seen = this.#waitSeen();
      if (!this.#missedReconnect(seen)) return;
      clearInterval(this.#waitLook);
      this.#parts.log.warning(why, { port: this.#registered?.port });
      this.#reregisterUnasked(seen);
      this.#awaitsReconnect = false;
      this.#mayDialAgain = true;
      this.#watch();
    }, WAIT_LOOK_MS);
  }

  #reregisterUnasked({ slave }: WaitSeen): void {
    this.#asked = { by: slave };
    this.#unaskedOf = slave;
    // If it had us already, it says so in this way.
    this.#disbelievesShutdownUntil = Number.POSITIVE_INFINITY;
  }

  /** Who called `wait` last. */
  #waitSeen(): WaitSeen {
    return parseWaitSeen(readJsonFact(this.#parts.paths.waitSeen));
  }

  /**
   * A slave that has restarted calls `wait` and asks its executors to reconnect in the same moment, once, and ends what does
   * not answer within 2 s. If another slave than the one that has us waits, then it has asked while nobody listened, or does
   * so right now. Only one that knows the task: to be told of one that it does not would make it abort.
   */
  #missedReconnect({ slave, knows }: WaitSeen): boolean {
    const { request } = this.#parts;
    const before = this.#registered?.by ?? request.slaveProcess;
    if (this.#registered === undefined || slave === undefined || before === undefined) return false;
    return knows && request.task.checkpoint && !isSame(slave, before) && isNotedAlive(slave);
  }

  get health(): Health | undefined {
    return this.#updates.health;
  }

  async report(report: Report): Promise<void> {
    this.#waiting.push(report);
    this.#boundWaiting();
    const kept = this.#kept.then(() => this.#reportNext(report));
    this.#kept = kept.catch(() => {});
    await kept;
  }

  /** A full disk must not fill the memory: what is said again and again gives way, the oldest first. */
  #boundWaiting(): void {
    if (this.#waiting.length <= WAITING_REPORTS_MAX) return;
    const at = this.#waiting.findIndex(
      ({ state, health }) =>
        state === TaskState.STARTING || (state === TaskState.RUNNING && health !== undefined),
    );
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  async #reportNext(report: Report): Promise<void> {
    const at = this.#waiting.indexOf(report);
    if (at < 0 || this.#closing.signal.aborted) return;
    this.#waiting.splice(at, 1);
    switch (this.#updates.standing(report.state, report.health)) {
      case 'overtaken':
        return;
      case 'acknowledged':
        if (isTerminal(report.state)) this.#parts.tell({ type: 'acknowledged' });
        return;
      case 'new':
        await this.#keep(report);
        break;
      case 'kept':
        break;
    }
    void this.#send();
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#updates.removeForgotten();
    clearTimeout(this.#reconnectTimer);
    clearInterval(this.#waitLook);
    this.#parts.port.unregister(this.#name);
    this.#parts.slaves.forget(this.#slave, this.#watcher);
  }

  #watch(): void {
    this.#parts.slaves.watch(this.#slave, this.#watcher, this.#parts.slaveTerms);
  }

  #upid(): Upid {
    return { name: this.#name, ip: this.#parts.ip, port: this.#parts.port.port };
  }

  #slaveId(): string {
    return this.#registered?.slaveId ?? this.#parts.request.task.slaveId;
  }

  async #keep(report: Report): Promise<void> {
    const { task } = this.#parts.request;
    const uuid = randomBytes(16);
    const { update } = statusUpdate({
      frameworkId: task.frameworkId,
      executorId: task.executorId,
      slaveId: this.#slaveId(),
      taskId: task.taskId ?? '',
      state: report.state,
      message: escapeControl(report.message),
      data: report.data,
      reason: report.reason,
      ipAddress: report.ipAddress,
      healthy: report.health?.healthy,
      uuid,
      timestampSeconds: Date.now() / 1000,
      pid: formatUpid(this.#upid()),
    });
    await this.#durably('keeping a status update', () =>
      this.#updates.keep(report.state, uuid, update, report.health),
    );
  }

  #there(): void {
    this.#forgetDeadAsker();
    this.#tellThere();
    this.#registerPending = false;
    this.#updates.unsend();
    void this.#send();
  }

  /** Who listens now is another slave: it asks for the executors that it knows, and aborts when told of any other. */
  #forgetDeadAsker(): void {
    const by = this.#asked?.by;
    if (by === undefined || isNotedAlive(by)) return;
    this.#asked = undefined;
    this.#awaitsReconnect = true;
    this.#lostProcess = by;
  }

  #away(why?: string): void {
    this.#unaskedOf = undefined;
    if (this.#mayDialAgain) {
      this.#mayDialAgain = false;
      this.#watch();
    } else {
      this.#awaitsReconnect = this.#registered !== undefined;
      this.#lostProcess = this.#owner();
      clearTimeout(this.#reconnectTimer);
      // One that knows us here asks us here.
      if (this.#registered?.port !== this.#parts.port.port)
        this.#lookForWait('the slave came back and knows another port of ours: reregistering unasked');
      // One that knows us may mend its files yet; one that does not is never heard of, and the task waits for nothing.
      if (why !== undefined && this.#registered === undefined) this.#parts.tell({ type: 'unreachable', why });
      this.#parts.tell({ type: 'slave-away' });
    }
  }

  /**
   * A link that stands again may be one to a slave that is still recovering: until it has asked for its executors it drops
   * what they say, and calls `wait` before. If the slave that we had still lives the connection alone was broken; where
   * that cannot be told, it is taken for so if it asks for nothing for long enough.
   */
  #tellThere(): void {
    clearTimeout(this.#reconnectTimer);
    const lost = this.#lostProcess;
    if (lost !== undefined && isNotedAlive(lost)) this.#awaitsReconnect = false;
    if (!this.#awaitsReconnect) {
      this.#parts.tell({ type: 'slave-there' });
      return;
    }
    if (lost !== undefined) return;
    this.#reconnectTimer = setTimeout(() => {
      if (this.#closing.signal.aborted || !this.#parts.slaves.isThere(this.#slave)) return;
      this.#awaitsReconnect = false;
      this.#parts.tell({ type: 'slave-there' });
      void this.#send();
    }, RECONNECT_EXPECTED_MS);
  }

  /** Sends what there is to send, in order: Register or Reregister, then updates. One at a time; safe to call at any time. */
  async #send(): Promise<void> {
    // What came up while the last look was under way may have escaped it.
    if (this.#sending !== 'no') {
      this.#sending = 'once-more';
      // A slave that has come back has 2 s for our answer.
      this.#poke();
      return;
    }
    try {
      for (let failures = 0; !this.#closing.signal.aborted; ) {
        this.#sending = 'yes';
        const outcome = await this.#sendNext();
        if (outcome === 'failed') await this.#pause(pauseMs(failures++));
        else failures = 0;
        if ((outcome === 'nothing' || outcome === 'no-link') && !this.#isToLookAgain()) return;
      }
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#parts.log.error('reporting failed', { error: oneLine(error) });
    } finally {
      this.#sending = 'no';
    }
  }

  async #pause(ms: number): Promise<void> {
    if (this.#isToLookAgain()) return;
    const poked = new AbortController();
    this.#poke = () => poked.abort();
    const { signal } = this.#closing;
    await rest(Math.min(ms, SEND_PAUSE_MS_MAX), AbortSignal.any([poked.signal, signal])).catch(() => {});
    this.#poke = () => {};
    signal.throwIfAborted();
  }

  /** Whether another turn of the event loop has asked to send meanwhile. */
  #isToLookAgain(): boolean {
    return this.#sending === 'once-more';
  }

  async #sendNext(): Promise<'sent' | 'failed' | 'nothing' | 'no-link'> {
    if (!this.#parts.slaves.isThere(this.#slave)) return 'no-link';
    if (this.#asked !== undefined) {
      const { by } = this.#asked;
      const updates = this.#updates.pending;
      const sent = await this.#post('ReregisterExecutorMessage', this.#reregistration());
      if (!sent) return 'failed';
      this.#asked = undefined;
      this.#mayDialAgain = false;
      for (const update of updates) update.sent = true;
      if (by !== undefined && this.#registered !== undefined)
        this.#noteRegistered({ ...this.#registered, by });
      return 'sent';
    }
    if (this.#awaitsReconnect) return 'nothing';
    if (this.#registered === undefined) return await this.#register();
    const update = this.#updates.pending.find((one) => !one.sent);
    if (update === undefined) return 'nothing';
    const sent = await this.#post(
      'StatusUpdateMessage',
      statusUpdateMessage(update.bytes, formatUpid(this.#upid())),
      () => this.#updates.pending.includes(update),
    );
    if (!sent) return 'failed';
    update.sent = true;
    this.#parts.log.debug('status update sent', { state: update.state });
    return 'sent';
  }

  /** Once for each link: the answer comes as a message of its own. */
  async #register(): Promise<'sent' | 'failed' | 'nothing'> {
    if (this.#registerPending) return 'nothing';
    const { paths, request } = this.#parts;
    // Before it is sent, however long the disk takes: who sends it again must know that this is not the first.
    if (this.#registersSent === 0)
      await this.#durably('noting the registration', () => writeFact(paths.registering, ''));
    this.#registersSent += 1;
    this.#registerPending = true;
    if (this.#registersSent > 1) this.#disbelievesShutdownUntil = Number.POSITIVE_INFINITY;
    const sent = await this.#post('RegisterExecutorMessage', registerExecutor(request.task));
    if (!sent) this.#registerPending = false;
    return sent ? 'sent' : 'failed';
  }

  #reregistration(): Buffer {
    const { task, taskInfo } = this.#parts.request;
    // A slave declares lost what it does not find here and has no acknowledged update of.
    const unacknowledged = !this.#updates.anyAcknowledged && taskInfo !== undefined;
    return reregisterExecutor({
      frameworkId: task.frameworkId,
      executorId: task.executorId,
      tasks: unacknowledged ? [Buffer.from(taskInfo, 'base64')] : [],
      updates: this.#updates.pending.map((update) => update.bytes),
    });
  }

  /**
   * Whether the slave has it. What keeps a message from a slave concerns all its tasks, and is logged where all are sent.
   * `isDue`: looked at when it is its turn.
   */
  async #post(message: string, body: Uint8Array, isDue = (): boolean => true): Promise<boolean> {
    const under = Promise.withResolvers<void>();
    this.#underWay = under.promise;
    try {
      // Behind the Termination nothing is said: the slave has forgotten the executor.
      const isWanted = (): boolean => !this.#closing.signal.aborted && isDue();
      const { slaves } = this.#parts;
      return (await slaves.post(this.#slave, message, body, this.#upid(), isWanted)) === 'taken';
    } catch (error) {
      if (!isFault(error, 'host', 'timeout', 'protocol', 'refused')) throw error;
      this.#parts.log.debug('a message did not reach the slave', { message, error: oneLine(error) });
      return false;
    } finally {
      under.resolve();
    }
  }

  #heard(message: SlaveMessage): void {
    try {
      this.#act(message);
    } catch (error) {
      // Whatever a slave, or somebody who knows the name, sends, and however often: it harms no task, nor the log.
      if (this.#unusable.has(message.message)) return;
      this.#unusable.add(message.message);
      this.#parts.log.warning('a message of the slave could not be used', {
        message: message.message,
        error: oneLine(error),
      });
    }
  }

  #act({ message, body, sender }: SlaveMessage): void {
    const { tell, request, log } = this.#parts;
    const said = parseSlaveMessage(message, body);
    log.debug('the slave says', { message });
    switch (said.type) {
      case 'registered':
        this.#noteRegistered({
          ...{ slaveId: said.slaveId, takesKilling: said.wantsKilling },
          port: this.#parts.port.port,
        });
        // Two Registers were under way when this is the first one's answer: the second one's follows.
        if (this.#registersSent > 1) this.#disbelievesShutdownUntil = Date.now() + SECOND_ANSWER_MS;
        tell({ type: 'registered', takesKilling: said.wantsKilling });
        void this.#send();
        return;
      case 'run-task':
        if (said.taskId === request.task.taskId) tell({ type: 'run-task' });
        return;
      case 'kill-task':
        if (said.taskId !== request.task.taskId) return;
        tell(said.graceMs === undefined ? { type: 'kill' } : { type: 'kill', graceMs: said.graceMs });
        return;
      case 'acknowledgement': {
        const update = this.#updates.acknowledge(said.uuid);
        // The same may be under way once more: the Termination must not overtake it.
        if (update !== undefined && isTerminal(update.state))
          void this.#underWay.then(() => tell({ type: 'acknowledged' }));
        return;
      }
      case 'reconnect': {
        // It has us registered, also where its word of that was lost.
        tell({ type: 'reconnected' });
        clearInterval(this.#waitLook);
        const by = this.#parts.slaveProcess();
        const isLate = this.#unaskedOf !== undefined && (by === undefined || isSame(by, this.#unaskedOf));
        const address = sender ?? this.#slave;
        if (!isLate) this.#noteAddress(address);
        this.#noteRegistered({
          ...{ takesKilling: false, ...this.#registered },
          slaveId: said.slaveId,
          port: this.#parts.port.port,
        });
        if (isLate) return;
        this.#asked = { by };
        this.#awaitsReconnect = false;
        this.#mayDialAgain = true;
        this.#moveTo(address);
        return;
      }
      case 'shutdown':
        if (Date.now() > this.#disbelievesShutdownUntil) {
          tell({ type: 'shutdown' });
          return;
        }
        this.#disbelievesShutdownUntil = 0;
        // The answer to a Register or Reregister that had to be repeated: "I have you already". Of what came with it nothing was taken.
        this.#updates.unsend();
        if (this.#registered === undefined) {
          this.#noteRegistered({ slaveId: request.task.slaveId, takesKilling: false });
          tell({ type: 'already-registered' });
        }
        void this.#send();
        return;
      case 'reregistered':
        this.#disbelievesShutdownUntil = 0;
        return;
      case 'other':
        return;
    }
  }

  /** Before whatever else of a slave that is back at another one: a supervisor that starts finds it there. */
  #noteAddress(address: Upid): void {
    if (formatUpid(address) !== formatUpid(this.#slave))
      this.#note(this.#parts.paths.slaveAddress, `${formatUpid(address)}\n`);
  }

  #noteRegistered(record: RegisteredRecord): void {
    this.#registered = record;
    this.#note(this.#parts.paths.registered, JSON.stringify(record));
  }

  /** A fact that the next supervisor needs, after those before it. What the slave said holds whether or not it can be written now. */
  #note(path: string, content: string): void {
    const note = (): Promise<void> =>
      this.#durably("noting the slave's word", () => writeFact(path, content));
    this.#noted = this.#noted.then(note).catch(() => {});
  }

  /** For as long as it takes; rejects when closed. */
  async #durably(what: string, work: () => Promise<void>): Promise<void> {
    const { signal } = this.#closing;
    await persist(work, { signal, log: this.#parts.log, what, mayPass: hostMayPass });
  }

  /** The slave is back, perhaps at another address: what is to be said goes over a link that stands, or is opened anew. */
  #moveTo(sender: Upid): void {
    this.#parts.slaves.forget(this.#slave, this.#watcher);
    this.#slave = sender;
    this.#watch();
  }
}

/** Where the slave was when it last came back, if it has moved and that was noted. */
function movedTo(path: string, log: Log): Upid | undefined {
  const noted = readFact(path)?.trim();
  if (noted === undefined) return undefined;
  const address = parseUpid(noted);
  if (address === undefined)
    log.warning('the noted address of the slave is none: that of the launch is used', { noted });
  return address;
}

/** The name by which slaves know us, noted. What was noted that is none of ours is replaced. */
function nameOf(path: string, log: Log): string {
  const noted = readFact(path)?.trim();
  if (noted !== undefined && NAME.test(noted)) return noted;
  if (noted !== undefined)
    log.warning('the noted executor name is none of ours: another one is made', { noted });
  const name = `deimos-${randomBytes(16).toString('hex')}`;
  writeFactSync(path, `${name}\n`);
  return name;
}

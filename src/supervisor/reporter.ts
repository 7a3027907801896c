// Tells a slave what becomes of a command task, and hears from it what is wanted. TaskReporter is all that the keeper
// knows of this; ExecutorReporter is the way that every slave of 0.19 – 1.0 speaks: we are the task's executor.
// A status update is on disk before it is sent, stays there until it is acknowledged, and is sent again after a reconnect.

import { randomBytes } from 'node:crypto';
import type { Health } from '../container/health.ts';
import type { LifeEvent } from '../container/life.ts';
import { TaskState, type TaskStateNumber } from '../container/termination.ts';
import { Fault, isFault, oneLine } from '../fault.ts';
import { readFact, readJsonFact, writeFact, writeFactSync } from '../host/facts.ts';
import type { Log } from '../host/log.ts';
import { hostMayPass, pauseMs, persist, rest } from '../host/pauses.ts';
import { isAlive, type ProcessIdentity, parseProcess } from '../host/processes.ts';
import {
  parseSlaveMessage,
  registerExecutor,
  reregisterExecutor,
  statusUpdate,
  statusUpdateMessage,
} from '../mesos/executor-messages.ts';
import type { ExecutorPort, SlaveMessage } from '../mesos/executor-port.ts';
import type { Reason } from '../mesos/messages.ts';
import type { SlaveSsl } from '../mesos/slave-ssl.ts';
import { formatUpid, parseUpid, type Upid } from '../mesos/upid.ts';
import type { ContainerPaths } from '../state/layout.ts';
import { parseRegistered, type RegisteredRecord, type RequestRecord } from '../state/records.ts';
import { hasFact } from '../state/store.ts';
import { isTerminal, KeptUpdates } from './kept-updates.ts';
import type { Slaves } from './slaves.ts';

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
  /** What the slave wants of connections, now. */
  readonly ssl: () => SlaveSsl | undefined;
  readonly slaves: Slaves;
  readonly log: Log;
  readonly tell: (event: LifeEvent) => void;
}

/** A slave that answers, but not with "taken", is asked again this often at most, and with no longer pauses than this: a
 * reconnection that comes meanwhile has 2 s for its answer. */
const SEND_PAUSE_MS_MAX = 500;
const SEND_TRIES_MAX = 50;

/** A slave answers two Registers one right after the other, unless its host is very busy. */
const SECOND_ANSWER_MS = 5_000;

/** Reports that the disk does not take yet: more are those of a task whose health changes all the time. */
export const WAITING_REPORTS_MAX = 100;

/** A slave that has restarted recovers, asks for its executors and gives them 2 s: all of that takes less. */
const RECONNECT_EXPECTED_MS = 60_000;

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
  /** A slave that came back has 2 s for this answer, and takes it once. */
  #mustReregister = false;
  /** The slave came back: if the link breaks now it may have been the old one's, of which we had not heard yet. */
  #mayDialAgain = false;
  /** The slave was away since it last spoke to us as its executor. */
  #awaitsReconnect = false;
  /** The slave whose link broke, where it is known. */
  #lostProcess: ProcessIdentity | undefined;
  #reconnectTimer: NodeJS.Timeout | undefined;
  #sending: 'no' | 'yes' | 'once-more' = 'no';
  /** A Register is out on this link, its answer not in. */
  #registerPending = false;
  /** Until when a Shutdown is taken for the answer to a repeated Register; milliseconds since the epoch. */
  #disbelievesShutdownUntil = 0;

  /** Listens under its name at once; says nothing before `dial`. Throws Fault `protocol` where the slave's address is none. */
  constructor(parts: ReporterParts) {
    this.#parts = parts;
    const { paths, request } = parts;
    const address = readFact(paths.slaveAddress)?.trim() ?? request.task.slavePid ?? '';
    const slave = parseUpid(address);
    if (slave === undefined) throw new Fault('protocol', `the slave's address is not one: ${address}`);
    this.#slave = slave;
    this.#registered = parseRegistered(readJsonFact(paths.registered));
    this.#registersSent = hasFact(paths.registering) ? 1 : 0;
    this.#updates = new KeptUpdates(paths);
    this.#name = readFact(paths.executorName)?.trim() ?? '';
    if (this.#name === '') {
      this.#name = `deimos-${randomBytes(16).toString('hex')}`;
      writeFactSync(paths.executorName, `${this.#name}\n`);
    }
    parts.port.register(this.#name, (message) => this.#heard(message), parts.ssl, parts.ip);
  }

  async dial(): Promise<void> {
    // Whoever listens at its address now does not know us before it has recovered, and says so then (Reconnect).
    const slave = this.#slaveProcess();
    if (slave !== undefined && !isAlive(slave)) this.#parts.tell({ type: 'slave-away' });
    else this.#watch();
  }

  /** The slave that called `wait` last; undefined where that cannot be told. */
  #slaveProcess(): ProcessIdentity | undefined {
    return parseProcess(readJsonFact(this.#parts.paths.waitSeen));
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
    clearTimeout(this.#reconnectTimer);
    this.#parts.port.unregister(this.#name);
    this.#parts.slaves.forget(this.#slave, this.#watcher);
  }

  #watch(): void {
    this.#parts.slaves.watch(this.#slave, this.#watcher, this.#parts.ssl);
  }

  #upid(): Upid {
    return { name: this.#name, ip: this.#parts.ip, port: this.#parts.port.port };
  }

  #slaveId(): string {
    return this.#registered?.slaveId ?? this.#parts.request.task.slaveId;
  }

  async #keep(report: Report): Promise<void> {
    const { request, log } = this.#parts;
    const { task } = request;
    const uuid = randomBytes(16);
    const { update } = statusUpdate({
      frameworkId: task.frameworkId,
      executorId: task.executorId,
      slaveId: this.#slaveId(),
      taskId: task.taskId ?? '',
      state: report.state,
      message: report.message,
      data: report.data,
      reason: report.reason,
      ipAddress: report.ipAddress,
      healthy: report.health?.healthy,
      uuid,
      timestampSeconds: Date.now() / 1000,
      pid: formatUpid(this.#upid()),
    });
    const { signal } = this.#closing;
    const what = 'keeping a status update';
    await persist(async () => this.#updates.keep(report.state, uuid, update, report.health), {
      signal,
      log,
      what,
      mayPass: hostMayPass,
    });
  }

  #there(): void {
    this.#tellThere();
    this.#registerPending = false;
    this.#updates.unsend();
    void this.#send();
  }

  #away(why?: string): void {
    if (this.#mayDialAgain) {
      this.#mayDialAgain = false;
      this.#watch();
    } else {
      this.#awaitsReconnect = this.#registered !== undefined;
      this.#lostProcess = this.#slaveProcess();
      clearTimeout(this.#reconnectTimer);
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
    if (lost !== undefined && isAlive(lost)) this.#awaitsReconnect = false;
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
      return;
    }
    try {
      for (let failures = 0; failures < SEND_TRIES_MAX && !this.#closing.signal.aborted; ) {
        this.#sending = 'yes';
        const outcome = await this.#sendNext();
        if (outcome === 'failed')
          await rest(Math.min(pauseMs(failures++), SEND_PAUSE_MS_MAX), this.#closing.signal);
        else failures = 0;
        if ((outcome === 'nothing' || outcome === 'no-link') && !this.#isToLookAgain()) return;
      }
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#parts.log.error('reporting failed', { error: oneLine(error) });
    } finally {
      this.#sending = 'no';
    }
  }

  /** Whether another turn of the event loop has asked to send meanwhile. */
  #isToLookAgain(): boolean {
    return this.#sending === 'once-more';
  }

  async #sendNext(): Promise<'sent' | 'failed' | 'nothing' | 'no-link'> {
    if (!this.#parts.slaves.isThere(this.#slave)) return 'no-link';
    if (this.#mustReregister) {
      const updates = this.#updates.pending;
      const sent = await this.#post('ReregisterExecutorMessage', this.#reregistration());
      if (!sent) return 'failed';
      this.#mustReregister = false;
      this.#mayDialAgain = false;
      for (const update of updates) update.sent = true;
      return 'sent';
    }
    if (this.#awaitsReconnect) return 'nothing';
    if (this.#registered === undefined) return await this.#register();
    const update = this.#updates.pending.find((one) => !one.sent);
    if (update === undefined) return 'nothing';
    const sent = await this.#post(
      'StatusUpdateMessage',
      statusUpdateMessage(update.bytes, formatUpid(this.#upid())),
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
    if (this.#registersSent === 0) writeFactSync(paths.registering, '');
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

  async #post(message: string, body: Uint8Array): Promise<boolean> {
    try {
      const answer = await this.#parts.slaves.post(this.#slave, message, body, this.#upid());
      if (answer === 'taken') return true;
      this.#parts.log.warning('the slave does not know itself under its address', { message });
    } catch (error) {
      if (!isFault(error, 'host', 'timeout', 'protocol', 'refused')) throw error;
      this.#parts.log.warning('a message did not reach the slave', { message, error: oneLine(error) });
    }
    return false;
  }

  #heard(message: SlaveMessage): void {
    try {
      this.#act(message);
    } catch (error) {
      // Whatever a slave, or somebody who knows the name, sends: it harms no task.
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
        this.#noteRegistered({ slaveId: said.slaveId, takesKilling: said.wantsKilling });
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
        if (update !== undefined && isTerminal(update.state)) tell({ type: 'acknowledged' });
        return;
      }
      case 'reconnect':
        // It has us registered, also where its word of that was lost.
        if (this.#registered === undefined) tell({ type: 'already-registered' });
        this.#noteRegistered({
          slaveId: said.slaveId,
          takesKilling: this.#registered?.takesKilling ?? false,
        });
        this.#mustReregister = true;
        this.#awaitsReconnect = false;
        this.#mayDialAgain = true;
        this.#moveTo(sender ?? this.#slave);
        return;
      case 'shutdown':
        if (Date.now() > this.#disbelievesShutdownUntil) {
          tell({ type: 'shutdown' });
          return;
        }
        this.#disbelievesShutdownUntil = 0;
        if (this.#registered !== undefined) return;
        // The answer to a Register that had to be repeated: "I have you already".
        this.#noteRegistered({ slaveId: request.task.slaveId, takesKilling: false });
        tell({ type: 'already-registered' });
        void this.#send();
        return;
      case 'reregistered':
      case 'other':
        return;
    }
  }

  #noteRegistered(record: RegisteredRecord): void {
    this.#registered = record;
    this.#note(this.#parts.paths.registered, JSON.stringify(record));
  }

  /** A fact that the next supervisor needs. What the slave said holds whether or not it can be written now. */
  #note(path: string, content: string): void {
    const { log } = this.#parts;
    const { signal } = this.#closing;
    const what = "noting the slave's word";
    void persist(async () => writeFact(path, content), { signal, log, what, mayPass: hostMayPass }).catch(
      () => {},
    );
  }

  /** The slave is back, perhaps at another address: what is to be said goes over a link that stands, or is opened anew. */
  #moveTo(sender: Upid): void {
    const { slaves, paths } = this.#parts;
    slaves.forget(this.#slave, this.#watcher);
    if (formatUpid(sender) !== formatUpid(this.#slave))
      this.#note(paths.slaveAddress, `${formatUpid(sender)}\n`);
    this.#slave = sender;
    this.#watch();
  }
}

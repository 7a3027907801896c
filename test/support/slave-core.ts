// The conduct of a Mesos slave with an external containerizer: which call follows what, which message is answered how,
// what the framework gets to see, what is checkpointed. Times and order are those of real slaves; whatever a real slave
// would suffer from is told as a violation and otherwise borne, so that the test sees all of it.

import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { decode, encode, type Infer, type Input } from '../../src/mesos/codec.ts';
import * as messages from '../../src/mesos/messages.ts';
import { Calls } from './slave-calls.ts';
import {
  type Executor,
  makeSandbox,
  newExecutor,
  newTask,
  readCheckpoint,
  saveCheckpoint,
  type Task,
} from './slave-memory.ts';
import type { AckPolicy, RunAnswer, SlaveConfig, SlaveEvent, TaskOrder } from './slave-protocol.ts';
import {
  atLeast,
  decodeTask,
  executorInfo,
  executorUpdate,
  FrameworkToExecutorMessage,
  frameworkInfo,
  isTerminal,
  merge,
  slaveInfo,
  slaveName,
  slaveUpdate,
  type TaskInfo,
  upidOf,
} from './slave-records.ts';
import { type SslOfSlave, sslOfSlave } from './slave-ssl.ts';
import type { VerbResult } from './slave-verbs.ts';
import { encodePost, type Incoming, listen, type Outgoing, outgoing } from './slave-wire.ts';

export class Slave {
  readonly #facts: { readonly config: SlaveConfig; port: number };
  readonly #calls: Calls;
  readonly #emit: (event: SlaveEvent) => void;
  readonly #out: Outgoing;
  readonly #ssl: SslOfSlave | undefined;
  readonly #executors = new Map<string, Executor>();
  /** What would have gone out meanwhile, by the name of the message that is kept back. */
  readonly #held = new Map<string, (() => void)[]>();
  #acks: AckPolicy;

  constructor(config: SlaveConfig, emit: (event: SlaveEvent) => void) {
    this.#facts = { config, port: 0 };
    this.#calls = new Calls(this.#facts, emit);
    this.#emit = emit;
    this.#ssl = config.withoutSsl ? undefined : sslOfSlave(config.environment);
    this.#out = outgoing(this.#ssl, (address, secure) => this.#emit({ type: 'dialled', address, secure }));
    this.#acks = config.acks;
    for (const message of config.held) this.hold(message);
  }

  /** Listens, then recovers: recover, containers, a `wait` and a Reconnect for each known one, orphans destroyed. Gives the port. */
  async start(): Promise<number> {
    mkdirSync(join(this.#config.workDirectory, 'pipes'), { recursive: true });
    const listening = await listen(
      { ip: this.#config.ip, port: this.#config.port, ssl: this.#ssl },
      slaveName(),
      (incoming) => this.#receive(incoming),
      (text) => this.#violation(text),
    );
    this.#facts.port = listening.port;
    const recovered = await (await this.#calls.plain('recover')).done;
    if (recovered.code !== 0) throw new Error(`recover: status ${recovered.code}: a slave ends`);
    const listed = await (await this.#calls.plain('containers')).done;
    if (listed.answer === undefined) throw new Error('containers: no record: a slave ends');
    const ids = decode(messages.Containers, listed.answer).containers.map((id) => id.value ?? '');
    this.#recover(ids);
    return this.#facts.port;
  }

  #recover(listed: readonly string[]): void {
    for (const executor of readCheckpoint(this.#config.workDirectory)) {
      this.#executors.set(executor.containerId, executor);
      if (!listed.includes(executor.containerId)) {
        this.#ended(executor, undefined, 'the container was not listed after recovery');
        continue;
      }
      void this.#wait(executor);
      if (executor.upid === undefined) {
        void this.#destroy(executor);
        continue;
      }
      this.#post(
        executor.upid,
        'ReconnectExecutorMessage',
        encode(messages.ReconnectExecutorMessage, this.#own()),
      );
      this.#timer(executor, this.#config.reregistrationTimeoutMs, () => {
        if (executor.state === 'reconnecting') void this.#destroy(executor);
      });
    }
    for (const containerId of listed) if (!this.#executors.has(containerId)) void this.#orphan(containerId);
  }

  async #orphan(containerId: string): Promise<void> {
    const waiting = await this.#calls.container('wait', containerId, undefined);
    await (await this.#calls.container('destroy', containerId, undefined)).done;
    waiting.killTree();
    this.#emit({ type: 'gone', containerId });
  }

  setAcks(policy: AckPolicy): void {
    this.#acks = policy;
  }

  /** From now on messages of that name do not go out. */
  hold(message: string): void {
    if (!this.#held.has(message)) this.#held.set(message, []);
  }

  /** What was kept back goes out now, whether or not somebody listens. */
  letGo(message: string): void {
    const kept = this.#held.get(message) ?? [];
    this.#held.delete(message);
    for (const send of kept) send();
  }

  /** A verb by itself, with any bytes as its record. */
  async call(verb: string, record: Uint8Array | undefined, cwd: string): Promise<VerbResult> {
    return await (await this.#calls.raw(verb, record, cwd)).done;
  }

  /** The slave gets a task from its master. Returns once the call to launch is on its way. */
  run(order: TaskOrder): RunAnswer {
    const task = decodeTask(order.task);
    const taskId = task.task_id?.value ?? '';
    const entry = newTask(taskId, order.task);
    const executorId = task.executor?.executor_id?.value ?? taskId;
    const present = this.#find(order.framework.id, executorId);
    if (present !== undefined) {
      present.tasks.set(taskId, entry);
      if (present.state === 'registered') void this.#handOver(present);
      return { containerId: present.containerId, executorId, sandbox: present.sandbox };
    }
    const containerId = randomUUID();
    const sandbox = join(
      this.#config.workDirectory,
      ...['slaves', this.#config.slaveId, 'frameworks', order.framework.id],
      ...['executors', executorId, 'runs', containerId],
    );
    const user = task.executor?.command?.user ?? task.command?.user ?? order.framework.user;
    makeSandbox(sandbox, user);
    const executor = newExecutor({
      ...{ framework: order.framework, id: executorId, containerId, sandbox },
      kind: task.executor === undefined ? 'command' : 'executor',
      info: encode(messages.ExecutorInfo, executorInfo(this.#config, order.framework.id, task)),
    });
    executor.tasks.set(taskId, entry);
    this.#executors.set(containerId, executor);
    this.#checkpoint();
    executor.launched = this.#launch(executor, task, user);
    this.#timer(executor, this.#config.registrationTimeoutMs, () => {
      if (executor.state === 'registering') void this.#destroy(executor);
    });
    if (this.#config.usageEveryMs > 0) this.#pollUsage(executor);
    return { containerId, executorId, sandbox };
  }

  async #launch(executor: Executor, task: TaskInfo, user: string): Promise<boolean> {
    const info = decode(messages.ExecutorInfo, executor.info);
    // 0.19 and later alike: the executor's info in the record has the resources of the task, too.
    const resources = merge([...info.resources, ...(executor.kind === 'command' ? task.resources : [])]);
    const running = await this.#calls.launch(executor, {
      container_id: { value: executor.containerId },
      task_info: executor.kind === 'command' ? task : undefined,
      executor_info: { ...info, resources },
      directory: executor.sandbox,
      user,
      slave_id: { value: this.#config.slaveId },
      slave_pid: upidOf(this.#facts),
      checkpoint: executor.framework.checkpoint,
    });
    const { code } = await running.done;
    if (executor.state === 'gone') return false;
    if (code !== 0) {
      // Up to 0.22 nothing happens until the registration timeout; later ones give up the container.
      if (!atLeast(this.#config, '0.23')) return false;
      this.#ended(executor, undefined, `launch: status ${code}`);
      return false;
    }
    void this.#wait(executor);
    return true;
  }

  async #wait(executor: Executor): Promise<void> {
    const running = await this.#calls.container('wait', executor.containerId, executor);
    executor.waiting = running;
    const { answer, code } = await running.done;
    if (executor.state === 'gone') return;
    if (answer === undefined) {
      this.#violation(`wait ${executor.containerId}: status ${code}, no Termination`);
      this.#ended(executor, undefined, 'Abnormal executor termination');
      return;
    }
    const termination = decode(messages.Termination, answer);
    this.#emit({
      type: 'termination',
      termination: {
        containerId: executor.containerId,
        killed: termination.killed,
        message: termination.message,
        status: termination.status,
        state: termination.state,
        reasons: termination.reasons,
        receivedAt: Date.now(),
      },
    });
    if (termination.killed === undefined || termination.message === undefined)
      this.#violation(
        `wait ${executor.containerId}: a Termination without killed or message is unreadable up to 0.25`,
      );
    if (this.#acks === 'send' && executor.state !== 'terminating') this.#checkReported(executor);
    this.#ended(executor, termination, termination.message ?? 'Abnormal executor termination');
  }

  /** A Termination that overtakes the executor's last word makes the slave report something else. */
  #checkReported(executor: Executor): void {
    for (const task of executor.tasks.values()) {
      const name = `wait ${executor.containerId}: answered`;
      if (task.terminal === 'received')
        this.#violation(`${name} before ${task.id}'s terminal update was acknowledged`);
      if (task.state === 'running' && executor.kind === 'command')
        this.#violation(`${name} without a terminal update of ${task.id}, which runs (${executor.state})`);
    }
  }

  /** The container is no more: tasks that have not ended are reported by the slave itself. */
  #ended(
    executor: Executor,
    termination: Infer<typeof messages.Termination> | undefined,
    text: string,
  ): void {
    executor.state = 'gone';
    for (const timer of executor.timers) clearTimeout(timer);
    for (const task of executor.tasks.values()) {
      if (task.state === 'ended') continue;
      task.state = 'ended';
      const known = atLeast(this.#config, '0.26') ? termination?.state : undefined;
      const fallback = executor.kind === 'command' ? messages.TaskState.FAILED : messages.TaskState.LOST;
      this.#emit({
        type: 'update',
        update: slaveUpdate(task.id, known ?? fallback, text, termination?.reasons[0]),
      });
    }
    this.#executors.delete(executor.containerId);
    this.#checkpoint();
    this.#emit({ type: 'gone', containerId: executor.containerId });
  }

  async destroyContainer(containerId: string): Promise<void> {
    const executor = this.#executors.get(containerId);
    if (executor !== undefined) await this.#destroy(executor);
  }

  async #destroy(executor: Executor): Promise<void> {
    executor.state = 'terminating';
    await executor.launched;
    if (this.#isGone(executor)) return;
    await (await this.#calls.container('destroy', executor.containerId, executor)).done;
    executor.waiting?.killTree();
    if (this.#isGone(executor)) return;
    this.#ended(executor, undefined, 'Container destroyed');
  }

  /** A state that another turn of the event loop may have changed. */
  #isGone(executor: Executor): boolean {
    return executor.state === 'gone';
  }

  async usage(containerId: string): Promise<Uint8Array | undefined> {
    const executor = this.#executors.get(containerId);
    await executor?.launched;
    return (await (await this.#calls.container('usage', containerId, executor)).done).answer;
  }

  #pollUsage(executor: Executor): void {
    this.#timer(executor, this.#config.usageEveryMs, async () => {
      await this.usage(executor.containerId);
      if (!this.#isGone(executor)) this.#pollUsage(executor);
    });
  }

  killTask(frameworkId: string, taskId: string, graceMs: number | undefined): void {
    const executor = [...this.#executors.values()].find(
      (one) => one.framework.id === frameworkId && one.tasks.has(taskId),
    );
    const task = executor?.tasks.get(taskId);
    if (executor === undefined || task === undefined || task.state === 'ended') return;
    if (task.state === 'queued') {
      task.state = 'ended';
      this.#emit({
        type: 'update',
        update: slaveUpdate(taskId, messages.TaskState.KILLED, 'Unregistered executor', undefined),
      });
      this.#checkpoint();
      // Later slaves wait for its registration and answer with Shutdown.
      if (executor.state === 'registering' && !atLeast(this.#config, '0.28.2')) void this.#destroy(executor);
      return;
    }
    const grace = graceMs === undefined ? undefined : { grace_period: { nanoseconds: graceMs * 1e6 } };
    if (executor.upid === undefined) return;
    const kill = {
      framework_id: { value: frameworkId },
      task_id: { value: taskId },
      kill_policy: atLeast(this.#config, '1.0') ? grace : undefined,
    };
    this.#post(executor.upid, 'KillTaskMessage', encode(messages.KillTaskMessage, kill));
  }

  shutdownExecutor(containerId: string): void {
    const executor = this.#executors.get(containerId);
    if (executor === undefined) return;
    executor.state = 'terminating';
    if (executor.upid !== undefined) this.#post(executor.upid, 'ShutdownExecutorMessage', Buffer.alloc(0));
    this.#timer(executor, this.#config.shutdownGraceMs, () => {
      if (!this.#isGone(executor)) void this.#destroy(executor);
    });
  }

  frameworkMessage(containerId: string, data: Uint8Array): void {
    const executor = this.#executors.get(containerId);
    if (executor?.upid === undefined) return;
    const body = encode(FrameworkToExecutorMessage, {
      slave_id: { value: this.#config.slaveId },
      framework_id: { value: executor.framework.id },
      executor_id: { value: executor.id },
      data,
    });
    this.#post(executor.upid, 'FrameworkToExecutorMessage', body);
  }

  #receive({ from, message, body, secure }: Incoming): boolean {
    const handlers: Readonly<Record<string, (from: string, body: Buffer) => void>> = {
      RegisterExecutorMessage: (...given) => this.#register(...given),
      ReregisterExecutorMessage: (...given) => this.#reregister(...given),
      StatusUpdateMessage: (...given) => this.#statusUpdate(...given),
    };
    const handler = handlers[message];
    if (handler === undefined) return false;
    this.#emit({
      type: 'message',
      message: { direction: 'to-slave', name: message, upid: from, body, at: Date.now(), secure },
    });
    try {
      handler(from, body);
    } catch (error) {
      this.#violation(`${message}: ${error instanceof Error ? error.message : error}`);
    }
    return true;
  }

  #register(from: string, body: Buffer): void {
    const asked = decode(messages.RegisterExecutorMessage, body);
    const executor = this.#find(asked.framework_id?.value, asked.executor_id?.value);
    const queued =
      executor === undefined ? [] : [...executor.tasks.values()].filter((task) => task.state === 'queued');
    if (executor === undefined || executor.state !== 'registering') {
      if (executor?.upid !== undefined && executor.state !== 'terminating')
        this.#violation(`a second RegisterExecutorMessage of ${executor.id} (${executor.state})`);
      this.#post(from, 'ShutdownExecutorMessage', Buffer.alloc(0));
      return;
    }
    executor.upid = from;
    if (queued.length === 0) {
      this.shutdownExecutor(executor.containerId);
      return;
    }
    executor.state = 'registered';
    this.#checkpoint();
    const registered = {
      executor_info: decode(messages.ExecutorInfo, executor.info),
      framework_id: { value: executor.framework.id },
      framework_info: frameworkInfo(this.#config, executor.framework),
      slave_id: { value: this.#config.slaveId },
      slave_info: slaveInfo(this.#facts),
    };
    this.#post(from, 'ExecutorRegisteredMessage', encode(messages.ExecutorRegisteredMessage, registered));
    void this.#handOver(executor);
  }

  /** The queued tasks go to the executor: in 0.19 at once, later when `update` has returned. */
  async #handOver(executor: Executor): Promise<void> {
    const queued = [...executor.tasks.values()].filter((task) => task.state === 'queued');
    const early = !atLeast(this.#config, '0.20');
    if (early) for (const task of queued) this.#runTask(executor, task);
    const { code } = await this.#update(executor);
    if (this.#isGone(executor)) return;
    if (code !== 0) {
      this.#violation(`update ${executor.containerId}: status ${code}: the tasks are lost`);
      for (const task of queued) {
        if (task.state === 'ended') continue;
        task.state = 'ended';
        this.#emit({
          type: 'update',
          update: slaveUpdate(task.id, messages.TaskState.LOST, 'update failed', undefined),
        });
      }
      await this.#destroy(executor);
      return;
    }
    if (!early) for (const task of queued) this.#runTask(executor, task);
    // All its tasks were killed meanwhile: later slaves send the executor away.
    const idle = [...executor.tasks.values()].every(
      (task) => task.state === 'ended' && task.terminal === 'none',
    );
    if (idle && atLeast(this.#config, '0.28.2')) this.shutdownExecutor(executor.containerId);
    this.#checkpoint();
  }

  /** `update` for tasks that run, or have ended: where it fails, the slave gives up the container. */
  async #adjust(executor: Executor): Promise<void> {
    const { code } = await this.#update(executor);
    if (code === 0 || this.#isGone(executor)) return;
    this.#violation(`update ${executor.containerId}: status ${code}: the slave destroys the container`);
    await this.#destroy(executor);
  }

  #runTask(executor: Executor, task: Task): void {
    if (task.state !== 'queued' || executor.upid === undefined || executor.state === 'terminating') return;
    task.state = 'running';
    const run = {
      framework: frameworkInfo(this.#config, executor.framework),
      pid: '@0.0.0.0:0',
      task: decodeTask(task.info),
    };
    this.#post(executor.upid, 'RunTaskMessage', encode(messages.RunTaskMessage, run));
  }

  #reregister(from: string, body: Buffer): void {
    const asked = decode(messages.ReregisterExecutorMessage, body);
    const executor = this.#find(asked.framework_id?.value, asked.executor_id?.value);
    if (executor === undefined) {
      this.#violation(
        `ReregisterExecutorMessage of an unknown executor ${asked.executor_id?.value}: a slave aborts`,
      );
      return;
    }
    if (executor.state !== 'reconnecting') {
      if (executor.state !== 'terminating')
        this.#violation(`a second ReregisterExecutorMessage of ${executor.id}`);
      this.#post(from, 'ShutdownExecutorMessage', Buffer.alloc(0));
      return;
    }
    executor.state = 'registered';
    executor.upid = from;
    this.#emit({ type: 'reregistered', containerId: executor.containerId });
    const reregistered = { ...this.#own(), slave_info: slaveInfo(this.#facts) };
    this.#post(
      from,
      'ExecutorReregisteredMessage',
      encode(messages.ExecutorReregisteredMessage, reregistered),
    );
    for (const update of asked.updates) this.#takeUpdate(from, update);
    const named = asked.tasks.map((bytes) => decodeTask(bytes).task_id?.value);
    for (const task of executor.tasks.values()) {
      if (task.state === 'queued') continue;
      if (task.state === 'ended' || task.acknowledged || named.includes(task.id)) continue;
      if (task.updates.size > 0) continue;
      task.state = 'ended';
      this.#violation(
        `${task.id}: not among the tasks of ReregisterExecutorMessage: the slave declares it lost`,
      );
      this.#emit({
        type: 'update',
        update: slaveUpdate(
          task.id,
          messages.TaskState.LOST,
          'Task launched during slave restart',
          undefined,
        ),
      });
    }
    this.#checkpoint();
    void this.#adjust(executor);
  }

  #statusUpdate(from: string, body: Buffer): void {
    const message = decode(messages.StatusUpdateMessage, body);
    if (message.update === undefined) throw new Error('no update');
    if (message.pid !== from) this.#violation(`StatusUpdateMessage.pid is ${message.pid}, sent by ${from}`);
    this.#takeUpdate(message.pid, message.update);
  }

  #takeUpdate(pid: string | undefined, bytes: Uint8Array): void {
    const update = decode(messages.StatusUpdate, bytes);
    const status = update.status;
    const taskId = status?.task_id?.value ?? '';
    const uuid = update.uuid?.toString('hex') ?? '';
    const name = `update ${status?.state} of ${taskId}`;
    if (update.uuid?.byteLength !== 16)
      this.#violation(`${name}: a uuid of ${update.uuid?.byteLength} bytes`);
    const own = this.#config.slaveId;
    if (update.slave_id?.value !== own || status?.slave_id?.value !== own) {
      this.#violation(
        `${name}: slave_id ${update.slave_id?.value} and ${status?.slave_id?.value}, not ${own}`,
      );
      if (atLeast(this.#config, '1.0.2')) return;
    }
    const executor = this.#find(update.framework_id?.value, update.executor_id?.value);
    const task = executor?.tasks.get(taskId);
    if (executor === undefined || task === undefined || status === undefined) {
      this.#violation(`${name}: unknown executor or task`);
      return;
    }
    const before = task.updates.get(uuid);
    if (before !== undefined) {
      if (!Buffer.from(before).equals(bytes)) this.#violation(`${name}: sent again with other content`);
      this.#acknowledge(pid, task, uuid, update.framework_id?.value ?? '', isTerminal(status.state));
      return;
    }
    task.updates.set(uuid, bytes);
    const terminal = isTerminal(status.state);
    if (task.terminal !== 'none') this.#violation(`${name}: after its terminal update`);
    const early = task.state === 'queued' && !terminal;
    if (early) this.#violation(`${name}: before RunTask`);
    const acknowledge = () => this.#acknowledge(pid, task, uuid, executor.framework.id, terminal);
    if (task.state === 'ended' || (early && atLeast(this.#config, '1.0.2'))) {
      acknowledge();
      return;
    }
    this.#emit({ type: 'update', update: executorUpdate(update, uuid) });
    if (!terminal) {
      acknowledge();
      this.#checkpoint();
      return;
    }
    task.terminal = 'received';
    task.state = 'ended';
    this.#checkpoint();
    if (!atLeast(this.#config, '0.20')) acknowledge();
    void this.#adjust(executor).then(() => {
      if (atLeast(this.#config, '0.20')) acknowledge();
    });
  }

  #acknowledge(
    pid: string | undefined,
    task: Task,
    uuid: string,
    frameworkId: string,
    terminal: boolean,
  ): void {
    if (pid === undefined || this.#acks === 'drop') return;
    if (this.#acks !== 'send') {
      const { delayMs } = this.#acks;
      setTimeout(() => this.#sendAck(pid, task, uuid, frameworkId, terminal), delayMs);
      return;
    }
    this.#sendAck(pid, task, uuid, frameworkId, terminal);
  }

  #sendAck(pid: string, task: Task, uuid: string, frameworkId: string, terminal: boolean): void {
    task.acknowledged = true;
    if (terminal) task.terminal = 'acknowledged';
    const ack = {
      slave_id: { value: this.#config.slaveId },
      framework_id: { value: frameworkId },
      task_id: { value: task.id },
      uuid: Buffer.from(uuid, 'hex'),
    };
    // First on disk, as with a real one: who has seen the acknowledgement may kill it.
    this.#checkpoint();
    this.#post(
      pid,
      'StatusUpdateAcknowledgementMessage',
      encode(messages.StatusUpdateAcknowledgementMessage, ack),
    );
    this.#emit({ type: 'acknowledged', taskId: task.id, uuid });
  }

  async #update(executor: Executor): Promise<VerbResult> {
    // Counted when the call is decided on, not when it is its turn.
    const own = decode(messages.ExecutorInfo, executor.info).resources;
    const active = [...executor.tasks.values()].filter((task) => task.state !== 'ended');
    const resources = merge([...own, ...active.flatMap((task) => decodeTask(task.info).resources)]);
    await executor.launched;
    return await (await this.#calls.update(executor, resources)).done;
  }

  get #config(): SlaveConfig {
    return this.#facts.config;
  }

  #checkpoint(): void {
    saveCheckpoint(this.#config.workDirectory, this.#executors.values());
  }

  #own(): Input<typeof messages.ReconnectExecutorMessage> {
    return { slave_id: { value: this.#config.slaveId } };
  }

  #post(upid: string, name: string, body: Buffer): void {
    const kept = this.#held.get(name);
    if (kept !== undefined) {
      kept.push(() => this.#post(upid, name, body));
      this.#emit({ type: 'held', message: name });
      return;
    }
    this.#emit({ type: 'message', message: { direction: 'to-executor', name, upid, body, at: Date.now() } });
    this.#out.send(upid, encodePost(this.#config.version, upidOf(this.#facts), upid, name, body));
  }

  #find(frameworkId: string | undefined, executorId: string | undefined): Executor | undefined {
    return [...this.#executors.values()].find(
      (executor) => executor.framework.id === frameworkId && executor.id === executorId,
    );
  }

  #timer(executor: Executor, afterMs: number, then: () => unknown): void {
    const timer = setTimeout(() => {
      executor.timers.delete(timer);
      then();
    }, afterMs);
    executor.timers.add(timer);
  }

  #violation(text: string): void {
    this.#emit({ type: 'violation', text });
  }
}

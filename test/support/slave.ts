// A stand-in for the Mesos slave, as a test uses it: starts it, gives it tasks, kills it, and tells what the framework
// saw. The conduct itself is in slave-core.ts, in a process of its own. Every test that uses it asserts that
// `violations` is empty, or says which one it wanted.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Argv } from './command.ts';
import { running } from './dockerd.ts';
import { allPids, isAlive, killAll, pidNamespaceOf, procFile, signalPid, statOf, treeOf } from './proc.ts';
import type {
  AckPolicy,
  Call,
  CallEnd,
  FrameworkDescription,
  MesosVersion,
  MessageSeen,
  Request,
  RunAnswer,
  SlaveCommand,
  SlaveConfig,
  SlaveEvent,
  TerminationSeen,
  Update,
} from './slave-protocol.ts';
import type { VerbResult } from './slave-verbs.ts';
import type { TaskToRun } from './tasks.ts';
import { until } from './until.ts';

const PROCESS = fileURLToPath(new URL('slave-process.ts', import.meta.url));
/** TaskState numbers that end a task: FINISHED, FAILED, KILLED, LOST, ERROR. */
const TERMINAL: readonly number[] = [2, 3, 4, 5, 7];
const DEFAULT_WAIT_MS = 30_000;

export interface SlaveOptions {
  /** The slave's --containerizer_path, as for /bin/sh; a program's path, perhaps with options. */
  readonly containerizer: string;
  readonly version?: MesosVersion;
  /** Absolute; MESOS_WORK_DIRECTORY. */
  readonly workDirectory: string;
  /** Checkpointing of the framework unless launch is told otherwise. */
  readonly checkpoint?: boolean;
  /** The slave's own environment in full, read anew at each start. SSL_* as for a real one (1.0). Unless told: PATH, LIBPROCESS_IP; LIBPROCESS_PORT is always there. {}: no PATH, no HOME. */
  readonly environment?: Readonly<Record<string, string>>;
  /** MESOS_DEFAULT_CONTAINER_IMAGE, HADOOP_HOME and the like: for launch only. */
  readonly launchEnvironment?: Readonly<Record<string, string>>;
  readonly registrationTimeoutMs?: number;
  readonly reregistrationTimeoutMs?: number;
  readonly shutdownGraceMs?: number;
  readonly recoveryTimeout?: string;
  /** 0 (unless told): `usage` only when asked for. Slaves up to 0.22 call it every second. */
  readonly usageEveryMs?: number;
  /** Records go out byte by byte with so long a pause after each. */
  readonly stdinByteMs?: number;
  readonly leakDescriptors?: boolean;
  readonly acks?: AckPolicy;
  /** How the slave's process itself is started, for example inside startSyslog's namespace. */
  readonly wrap?: (argv: Argv) => Argv;
  readonly capabilities?: readonly number[];
  readonly user?: string;
  /** Built without SSL: its SSL_* mean nothing to itself, though its calls inherit them. */
  readonly withoutSsl?: boolean;
  /** An address of the loopback at which it listens; 127.0.0.1 unless told. */
  readonly ip?: string;
  /** The port that it tells executors: of a door that stands before it. */
  readonly doorPort?: number;
}

/** What its process is told; what `options` does not say is as it usually is. */
export function slaveConfig(
  options: SlaveOptions,
  { slaveId, port }: Pick<SlaveConfig, 'slaveId' | 'port'>,
): SlaveConfig {
  return {
    containerizer: options.containerizer,
    version: options.version ?? '0.28.3',
    workDirectory: options.workDirectory,
    ip: options.ip ?? '127.0.0.1',
    withoutSsl: options.withoutSsl ?? false,
    port,
    slaveId,
    environment: options.environment ?? {
      LIBPROCESS_IP: '127.0.0.1',
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    },
    launchEnvironment: options.launchEnvironment ?? {},
    registrationTimeoutMs: options.registrationTimeoutMs ?? 60_000,
    reregistrationTimeoutMs: options.reregistrationTimeoutMs ?? 2_000,
    shutdownGraceMs: options.shutdownGraceMs ?? 5_000,
    recoveryTimeout: options.recoveryTimeout ?? '15mins',
    usageEveryMs: options.usageEveryMs ?? 0,
    stdinByteMs: options.stdinByteMs,
    leakDescriptors: options.leakDescriptors ?? false,
    acks: options.acks ?? 'send',
    held: [],
    doorPort: options.doorPort,
  };
}

export interface FinishedCall extends Call {
  /** undefined while it runs. */
  readonly end: CallEnd | undefined;
}

/** A task that was given to the slave. */
export interface LaunchedTask extends RunAnswer {
  readonly taskId: string;
  readonly frameworkId: string;
  /** As the framework saw them so far, in order. */
  readonly updates: () => readonly Update[];
  /** Waits for an update of that state (TaskState number). */
  readonly reached: (state: number, timeoutMs?: number) => Promise<Update>;
  /** Waits for the update that ends the task. */
  readonly ended: (timeoutMs?: number) => Promise<Update>;
  /** Waits until the slave has forgotten the container; what `wait` answered, undefined if it never did. */
  readonly gone: (timeoutMs?: number) => Promise<TerminationSeen | undefined>;
  readonly calls: (verb?: string) => readonly FinishedCall[];
}

export class StandInSlave implements AsyncDisposable {
  readonly options: SlaveOptions;
  readonly slaveId: string;
  readonly frameworkId: string;
  /** What a real slave would have suffered from, in words. */
  readonly violations: string[] = [];
  readonly updates: Update[] = [];
  readonly messages: MessageSeen[] = [];
  readonly terminations: TerminationSeen[] = [];
  /** What happened in what order: `call launch`, `end launch`, `to-slave RegisterExecutorMessage`, `to-executor …`. */
  readonly history: string[] = [];
  /** Its connections to executors: over TLS or not. */
  readonly dialled: boolean[] = [];
  /** `taskId uuid`, one for each acknowledgement sent. */
  readonly acknowledged: string[] = [];
  readonly #calls = new Map<string, { call: Call; end: CallEnd | undefined }>();
  readonly #gone = new Set<string>();
  readonly #reregistered: string[] = [];
  readonly #answers = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();
  #child: ChildProcess | undefined;
  #port = 0;
  #number = 0;
  #life = 0;
  #acks: AckPolicy;
  readonly #holding = new Set<string>();
  /** Messages that would have gone out, had they not been kept back. */
  readonly #held: string[] = [];

  constructor(options: SlaveOptions) {
    this.options = options;
    this.#acks = options.acks ?? 'send';
    const id = randomUUID();
    this.slaveId = `${id}-S0`;
    this.frameworkId = `${id}-0000`;
  }

  /** Makes one and starts it: recover, containers, listening. */
  static async start(options: SlaveOptions): Promise<StandInSlave> {
    const slave = new StandInSlave(options);
    await slave.start();
    return slave;
  }

  /** The slave's process; undefined while it is dead. */
  get pid(): number | undefined {
    return running(this.#child) ? this.#child?.pid : undefined;
  }

  /** The slave's UPID; the port stays the same over restarts. */
  get upid(): string {
    return `slave(1)@${this.options.ip ?? '127.0.0.1'}:${this.options.doorPort ?? this.#port}`;
  }

  /** At which it listens itself. */
  get port(): number {
    return this.#port;
  }

  get calls(): readonly FinishedCall[] {
    return [...this.#calls.values()].map(({ call, end }) => ({ ...call, end }));
  }

  /** Starts it, again after `kill`: it recovers from its checkpoint. Rejects when recover or containers fail, as a slave ends then. */
  async start(): Promise<void> {
    if (this.pid !== undefined) return;
    const argv: Argv = ['setpriv', '--pdeathsig', 'KILL', '--', process.execPath, PROCESS];
    const [file, ...rest] = this.options.wrap?.(argv) ?? argv;
    this.#life += 1;
    const life = this.#life;
    const child = spawn(file, rest, {
      cwd: '/',
      // As a slave's own process has them that its calls inherit.
      env: { ...process.env, ...sslOf(this.options.environment ?? {}) },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
    });
    this.#child = child;
    // slave-process.ts sends nothing else.
    child.on('message', (event) => this.#take(life, event as SlaveEvent));
    child.once('exit', (code, signal) => {
      for (const { reject } of this.#answers.values())
        reject(new Error(`the slave ended: ${signal ?? code}`));
      this.#answers.clear();
    });
    const port = await this.#ask({ type: 'start', config: this.#config() });
    if (typeof port !== 'number') throw new Error('no port');
    this.#port = port;
  }

  #config(): SlaveConfig {
    return {
      ...slaveConfig(this.options, { slaveId: this.slaveId, port: this.#port }),
      acks: this.#acks,
      held: [...this.#holding],
    };
  }

  /** Gives it a task; returns once `launch` is on its way. */
  async launch(task: TaskToRun, framework: Partial<FrameworkDescription> = {}): Promise<LaunchedTask> {
    const described = {
      id: this.frameworkId,
      name: 'stand-in',
      user: this.options.user ?? 'root',
      checkpoint: this.options.checkpoint ?? false,
      capabilities: this.options.capabilities ?? [],
      ...framework,
    };
    const order = { framework: described, task: task.encode(this.slaveId) };
    // slave-core.ts answers `run` with this.
    const answer = (await this.#ask({ type: 'run', order })) as RunAnswer;
    const { taskId } = task;
    const { containerId } = answer;
    const updates = () => this.updates.filter((update) => update.taskId === taskId);
    const named = (verb?: string) =>
      this.calls.filter((call) => call.containerId === containerId && (verb ?? call.verb) === call.verb);
    const story = () => `updates: ${JSON.stringify(updates().map(({ state, message }) => [state, message]))}`;
    return {
      ...answer,
      taskId,
      frameworkId: described.id,
      updates,
      calls: named,
      reached: async (state, timeoutMs = DEFAULT_WAIT_MS) =>
        await this.#until(`${taskId} in state ${state}`, story, timeoutMs, () =>
          updates().find((update) => update.state === state),
        ),
      ended: async (timeoutMs = DEFAULT_WAIT_MS) =>
        await this.#until(`${taskId} ended`, story, timeoutMs, () =>
          updates().find((update) => TERMINAL.includes(update.state)),
        ),
      gone: async (timeoutMs = DEFAULT_WAIT_MS) => {
        await this.#until(`${taskId}'s container gone`, story, timeoutMs, () => this.#gone.has(containerId));
        return this.terminations.find((termination) => termination.containerId === containerId);
      },
    };
  }

  async #until<T>(
    what: string,
    story: () => string,
    timeoutMs: number,
    probe: () => T | undefined | false,
  ): Promise<T> {
    try {
      return await until(what, probe, { timeoutMs });
    } catch (error) {
      const failed = this.calls.filter((call) => call.end !== undefined && call.end.code !== 0);
      const words = failed.map((call) => `${call.verb}: ${call.end?.code} ${call.end?.stderr.trim()}`);
      throw new Error(
        `${what}: not within ${timeoutMs} ms; ${story()}; ${[...words, ...this.violations].join('; ')}`,
        {
          cause: error,
        },
      );
    }
  }

  /** The framework kills a task; `graceMs` is KillTask's kill_policy (1.0). */
  async killTask(task: LaunchedTask, graceMs?: number): Promise<void> {
    const { frameworkId, taskId } = task;
    await this.#ask({
      type: 'kill-task',
      frameworkId,
      taskId,
      ...(graceMs === undefined ? {} : { graceMs }),
    });
  }

  /** Asks the executor to go; `destroy` follows after shutdownGraceMs. */
  async shutdownExecutor(task: LaunchedTask): Promise<void> {
    await this.#ask({ type: 'shutdown-executor', containerId: task.containerId });
  }

  /** Returns when `destroy` has ended and its `wait` was killed. */
  async destroy(task: LaunchedTask): Promise<void> {
    await this.#ask({ type: 'destroy', containerId: task.containerId });
  }

  /** The answer to `usage`, a ResourceStatistics without its length; undefined when the call failed. */
  async usage(task: LaunchedTask): Promise<Uint8Array | undefined> {
    const answer = await this.#ask({ type: 'usage', containerId: task.containerId });
    return answer instanceof Uint8Array ? answer : undefined;
  }

  async frameworkMessage(task: LaunchedTask, data: Uint8Array): Promise<void> {
    await this.#ask({ type: 'framework-message', containerId: task.containerId, data });
  }

  async setAcks(policy: AckPolicy): Promise<void> {
    this.#acks = policy;
    await this.#ask({ type: 'acks', policy });
  }

  /** Messages to executors of that name are kept back until `letGo`, in further lives of the slave, too. May be called while it is dead. */
  async hold(message: string): Promise<void> {
    this.#holding.add(message);
    if (this.pid !== undefined) await this.#ask({ type: 'hold', message });
  }

  /** They go out now. What was kept back by a slave that has died meanwhile never does. */
  async letGo(message: string): Promise<void> {
    this.#holding.delete(message);
    await this.#ask({ type: 'let-go', message });
  }

  /** Waits until so many messages of that name have been kept back, since the beginning. */
  async kept(message: string, count = 1, timeoutMs = DEFAULT_WAIT_MS): Promise<void> {
    await until(
      `${count} ${message} kept back`,
      () => this.#held.filter((name) => name === message).length >= count,
      { timeoutMs, everyMs: 5 },
    );
  }

  /** A verb by itself with any bytes as its record (its length is put before them); undefined: no record. */
  async call(verb: string, record?: Uint8Array, cwd = '/'): Promise<VerbResult> {
    // slave-core.ts answers `call` with this.
    return (await this.#ask({ type: 'call', verb, record, cwd })) as VerbResult;
  }

  /** Waits until an executor has reregistered after a restart. */
  async reregistered(task: LaunchedTask, timeoutMs = DEFAULT_WAIT_MS): Promise<void> {
    await until('reregistered', () => this.#reregistered.includes(task.containerId), { timeoutMs });
  }

  /** SIGKILL: sockets and pipes break, memory is lost, the checkpoint and the calls' processes stay. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !running(child)) return;
    child.kill('SIGKILL');
    // What it said last may still be in the channel when it is gone.
    await until('the slave gone', () => !running(child) && !child.connected);
  }

  /** `kill`, then `start`. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /**
   * Kills it, its calls that still run with their sessions, and whatever else has the environment of its calls (a call
   * that was started in the moment of the kill is in no list, and has no environment of its own yet). Safe to call twice.
   */
  async stop(): Promise<void> {
    // It starts no more: what it is starting is its child by now.
    this.signal('SIGSTOP');
    const children = this.pid === undefined ? [] : treeOf([this.pid]);
    await this.kill();
    const leaders = this.calls
      .filter((call) => call.end === undefined && statOf(call.pid)?.startTicks === call.startTicks)
      .map((call) => call.pid);
    const mark = `MESOS_WORK_DIRECTORY=${this.options.workDirectory}`;
    const members = allPids().filter(
      (pid) =>
        leaders.includes(statOf(pid)?.session ?? 0) ||
        (procFile(pid, 'environ')?.split('\0').includes(mark) &&
          pidNamespaceOf(pid) === pidNamespaceOf(process.pid)),
    );
    await killAll([...new Set([...children, ...treeOf(leaders), ...members])].filter(isAlive));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** SIGSTOP or SIGCONT to the slave's process: it answers nothing for a while. */
  signal(signal: NodeJS.Signals): void {
    if (this.pid !== undefined) signalPid(this.pid, signal);
  }

  async #ask(command: SlaveCommand): Promise<unknown> {
    const child = this.#child;
    if (child === undefined || !running(child)) throw new Error(`the slave does not run: ${command.type}`);
    this.#number += 1;
    const request: Request = { number: this.#number, command };
    return await new Promise((resolve, reject) => {
      this.#answers.set(request.number, { resolve, reject });
      child.send(request);
    });
  }

  #take(life: number, event: SlaveEvent): void {
    switch (event.type) {
      case 'answer': {
        const waiting = this.#answers.get(event.number);
        this.#answers.delete(event.number);
        if (event.error === undefined) waiting?.resolve(event.value);
        else waiting?.reject(new Error(event.error));
        return;
      }
      case 'call':
        this.history.push(`call ${event.call.verb}`);
        this.#calls.set(`${life} ${event.call.number}`, { call: event.call, end: undefined });
        return;
      case 'call-end': {
        const entry = this.#calls.get(`${life} ${event.end.number}`);
        if (entry !== undefined) entry.end = event.end;
        this.history.push(`end ${entry?.call.verb}`);
        return;
      }
      case 'message':
        this.history.push(`${event.message.direction} ${event.message.name}`);
        this.messages.push(event.message);
        return;
      case 'held':
        this.#held.push(event.message);
        return;
      case 'dialled':
        this.dialled.push(event.secure);
        return;
      case 'update':
        this.updates.push(event.update);
        return;
      case 'acknowledged':
        this.acknowledged.push(`${event.taskId} ${event.uuid}`);
        return;
      case 'termination':
        this.terminations.push(event.termination);
        return;
      case 'gone':
        this.#gone.add(event.containerId);
        return;
      case 'reregistered':
        this.#reregistered.push(event.containerId);
        return;
      case 'violation':
        this.violations.push(event.text);
    }
  }
}

function sslOf(environment: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => /^(LIBPROCESS_)?SSL_/.test(name)));
}

// What Deimos asks of the Docker engine, each call with its outcomes as values. Expected answers (absent, already
// stopped) are returned; everything else is a Fault whose kind tells the caller what to do. Every request but waiting is
// bounded, and repeated only where carrying it out twice is the same as once.

import type { CreateRequest, HostConfig } from '../container/create-request.ts';
import { type DockerId, dockerId } from '../container/identity.ts';
import type { ImageRef } from '../container/image.ts';
import { type ImageFacts, LABEL_BOOT, LABEL_CONTAINER, LABEL_ROOT } from '../container/plan.ts';
import { parseExposedPorts } from '../container/ports.ts';
import type { UpdateBody } from '../container/resources.ts';
import { Fault, isFault, oneLine } from '../fault.ts';
import { rest } from '../host/pauses.ts';
import { Client, type RequestOptions, readAnswer } from './client.ts';
import { type Connection, type Endpoint, formatEndpoint } from './connection.ts';
import { dockerFault, mayPass, statusOf } from './faults.ts';

export const REQUEST_TIMEOUT_MS = 30_000;
export const REQUEST_TRIES = 3;
const RETRY_PAUSE_MS = 200;
/** For choosing among several hosts: after this one is given up; and so long it has before the next is asked as well. */
const PING_TIMEOUT_MS = 5_000;
const HEAD_START_MS = 1_000;
/** A removal that somebody else has begun is awaited so long. */
const REMOVAL_TIMEOUT_MS = 30_000;
const REMOVAL_PAUSE_MS = 100;

export type ContainerState = 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';

const STATES: ReadonlySet<string> = new Set<ContainerState>([
  'created',
  'running',
  'paused',
  'restarting',
  'removing',
  'exited',
  'dead',
]);

/** `docker inspect`, what of it we need. Times are Docker's own texts (RFC 3339, ns), undefined where there is none. */
export interface ContainerFacts {
  readonly id: DockerId;
  readonly name: string;
  readonly state: ContainerState;
  /** Of the container's init; undefined unless it runs. */
  readonly pid?: number;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** Docker's own words about why it did not start or ended; empty if there are none. */
  readonly error: string;
  readonly startedAt?: string;
  readonly finishedAt?: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The address on the default bridge, else on the first network that gives one. */
  readonly ipAddress?: string;
  readonly tty: boolean;
  readonly logDriver: string;
  /** What `docker stop` sends, as it is written; empty: SIGTERM. */
  readonly stopSignal: string;
  readonly hostConfig: HostConfig;
  /** All of it: `docker inspect`'s object. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/** An image's facts, and for which platform it is, as the daemon says. */
export interface EngineImageFacts extends ImageFacts {
  readonly id: string;
  readonly os: string;
  readonly architecture: string;
}

export interface ListedContainer {
  readonly id: DockerId;
  readonly name: string;
  readonly state: string;
  /** The label's text: not checked to be a Mesos container id. */
  readonly mesosId: string;
  /** The host's boot at its launch; undefined where no label says it. */
  readonly bootId: string | undefined;
}

export class Engine {
  readonly endpoint: Endpoint;
  readonly client: Client;
  readonly #requestTimeoutMs: number;

  constructor(endpoint: Endpoint, requestTimeoutMs = REQUEST_TIMEOUT_MS) {
    this.endpoint = endpoint;
    this.client = new Client(endpoint);
    this.#requestTimeoutMs = requestTimeoutMs;
  }

  /**
   * The only host, not yet asked, or the first of several that answers: each is asked when those before it have failed, or
   * have said nothing for their head start. A Fault with what is wrong with each if none does; mayPass holds for it if it
   * does for one of them.
   */
  static async connect(connection: Connection, signal: AbortSignal): Promise<Engine> {
    const [only, ...others] = connection.endpoints;
    if (others.length === 0) return new Engine(only);
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    const answers: Promise<Engine>[] = [];
    try {
      for (const endpoint of connection.endpoints) {
        const answer = answering(endpoint, either);
        answers.push(answer);
        const found = await Promise.race([
          Promise.any(answers).catch(() => undefined),
          answer.catch(() => undefined),
          rest(HEAD_START_MS, either).then(() => undefined),
        ]);
        if (found !== undefined) return found;
      }
      return await Promise.any(answers);
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof AggregateError ? noneAnswers(error.errors) : error;
    } finally {
      over.abort();
    }
  }

  /** The headers of the daemon's `/_ping`: its versions. One try. */
  async ping(signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    const { headers } = await this.#once('ping', this.#requestTimeoutMs, signal, (bounded) =>
      this.client.ask('GET', '/_ping', bounded),
    );
    return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
  }

  /** `GET /version`. */
  async version(signal: AbortSignal): Promise<Readonly<Record<string, unknown>>> {
    return record(await this.#ask('version', 'GET', '/version', signal));
  }

  /** `GET /info`. */
  async info(signal: AbortSignal): Promise<Readonly<Record<string, unknown>>> {
    return record(await this.#ask('info', 'GET', '/info', signal));
  }

  async imageFacts(image: ImageRef, signal: AbortSignal): Promise<EngineImageFacts | 'absent'> {
    const answer = await absentOn404(this.#ask(`image ${image}`, 'GET', `/images/${image}/json`, signal));
    if (answer === 'absent') return answer;
    const facts = record(answer);
    const config = record(facts.Config);
    return {
      id: text(facts.Id),
      os: text(facts.Os),
      architecture: text(facts.Architecture),
      exposedPorts: parseExposedPorts(Object.keys(record(config.ExposedPorts))),
      entrypoint: words(config.Entrypoint),
      cmd: words(config.Cmd),
    };
  }

  /**
   * Creates a container, one try: whether a create whose reply was lost was carried out is for the caller to look up
   * under its name. Faults: `conflict` (the name is taken), `not-found` (no such image), `refused` (Docker does not
   * accept the request), `docker`, `timeout`.
   */
  async createContainer(request: CreateRequest, signal: AbortSignal): Promise<DockerId> {
    const doing = `create container ${request.query.name ?? ''}`.trim();
    const { json } = await this.#once(doing, this.#requestTimeoutMs, signal, (bounded) =>
      this.client.ask('POST', '/containers/create', bounded, {
        query: definedOnly(request.query),
        body: request.body,
      }),
    );
    const id = dockerId(text(record(json).Id));
    if (id === undefined) throw new Fault('protocol', `${doing}: Docker's answer has no id`);
    return id;
  }

  /** By id or name. */
  async inspect(idOrName: string, signal: AbortSignal): Promise<ContainerFacts | 'absent'> {
    const path = `/containers/${encodeURIComponent(idOrName)}/json`;
    const answer = await absentOn404(this.#ask(`inspect ${idOrName}`, 'GET', path, signal));
    return answer === 'absent' ? answer : containerFacts(record(answer));
  }

  /** One try, safe to call twice: `already` also when an earlier one started it and its reply was lost. */
  async start(id: DockerId, signal: AbortSignal): Promise<'started' | 'already'> {
    try {
      await this.askOnce(`start ${short(id)}`, 'POST', `/containers/${id}/start`, signal);
      return 'started';
    } catch (error) {
      if (statusOf(causeOf(error)) === 304) return 'already';
      throw error;
    }
  }

  /** SIGTERM (or the image's stop signal), after `graceSeconds` SIGKILL; returns when it has ended. Safe to call twice. */
  async stop(
    id: DockerId,
    graceSeconds: number,
    signal: AbortSignal,
  ): Promise<'stopped' | 'already-stopped' | 'absent'> {
    const seconds = Math.max(0, Math.ceil(graceSeconds));
    const options = { query: { t: seconds } };
    const timeoutMs = this.#requestTimeoutMs + seconds * 1000;
    return await stopOutcome(
      this.#ask(`stop ${short(id)}`, 'POST', `/containers/${id}/stop`, signal, options, timeoutMs),
    );
  }

  /** Its own stop signal, SIGTERM unless the image or the options say otherwise; does not wait for the end. */
  async sendStopSignal(id: DockerId, signal: AbortSignal): Promise<'stopped' | 'already-stopped' | 'absent'> {
    const found = await this.inspect(id, signal);
    return found === 'absent' ? found : await this.kill(id, found.stopSignal || 'SIGTERM', signal);
  }

  /** Sends a signal, by a name or number that Docker knows; does not wait for the end. Safe to call twice. */
  async kill(
    id: DockerId,
    name: string,
    signal: AbortSignal,
  ): Promise<'stopped' | 'already-stopped' | 'absent'> {
    const options = { query: { signal: name } };
    return await stopOutcome(
      this.#ask(`kill ${short(id)}`, 'POST', `/containers/${id}/kill`, signal, options),
    );
  }

  /**
   * Returns once it is really gone, also where another removal was already under way. `force` kills one that runs;
   * without it a running container is a Fault `conflict`. Safe to call twice.
   */
  async remove(
    id: DockerId,
    options: { readonly force: boolean; readonly volumes: boolean },
    signal: AbortSignal,
  ): Promise<'removed' | 'absent'> {
    const query = { force: options.force, v: options.volumes };
    const deadline = performance.now() + REMOVAL_TIMEOUT_MS;
    for (;;) {
      try {
        const path = `/containers/${id}`;
        const answer = await absentOn404(this.#ask(`remove ${short(id)}`, 'DELETE', path, signal, { query }));
        return answer === 'absent' ? 'absent' : 'removed';
      } catch (error) {
        if (!isFault(error, 'conflict')) throw error;
        const facts = await this.inspect(id, signal);
        if (facts === 'absent') return 'removed';
        // A forced removal conflicts with nothing but another one, which may not have marked the container yet.
        const isUnderWay = options.force || facts.state === 'removing';
        if (!isUnderWay || performance.now() > deadline) throw error;
        await rest(REMOVAL_PAUSE_MS, signal);
      }
    }
  }

  /**
   * Waits without a time limit. `not-running` answers at once for one that does not run; `next-exit` is for one that
   * is yet to be started. A Fault for which isDaemonAway holds says nothing about the container: look again.
   */
  async wait(
    id: DockerId,
    condition: 'not-running' | 'next-exit',
    signal: AbortSignal,
  ): Promise<{ readonly exitCode: number } | 'absent'> {
    const doing = `wait for ${short(id)}`;
    try {
      const response = await this.client.open('POST', `/containers/${id}/wait`, signal, {
        query: { condition },
      });
      const answer = record(await readAnswer(response, signal));
      if (typeof answer.StatusCode !== 'number') {
        throw new Fault('protocol', `${doing}: Docker's answer has no status`);
      }
      return { exitCode: answer.StatusCode };
    } catch (error) {
      signal.throwIfAborted();
      if (statusOf(error) === 404) return 'absent';
      throw dockerFault(error, doing);
    }
  }

  /** Safe to call twice. */
  async updateLimits(id: DockerId, body: UpdateBody, signal: AbortSignal): Promise<'updated' | 'absent'> {
    const path = `/containers/${id}/update`;
    const answer = await absentOn404(this.#ask(`update ${short(id)}`, 'POST', path, signal, { body }));
    return answer === 'absent' ? 'absent' : 'updated';
  }

  /** All containers, whatever their state, that were created for this state root. */
  async listByLabel(root: string, signal: AbortSignal): Promise<readonly ListedContainer[]> {
    const query = { all: true, filters: JSON.stringify({ label: [`${LABEL_ROOT}=${root}`] }) };
    const answer = await this.#ask('list containers', 'GET', '/containers/json', signal, { query });
    if (!Array.isArray(answer)) throw new Fault('protocol', "list containers: Docker's answer is not a list");
    return answer.flatMap((item: unknown) => {
      const entry = record(item);
      const id = dockerId(text(entry.Id));
      if (id === undefined) return [];
      const name = words(entry.Names)[0]?.replace(/^\//, '') ?? '';
      const labels = record(entry.Labels);
      const bootId = text(labels[LABEL_BOOT]) || undefined;
      return [{ id, name, state: text(entry.State), mesosId: text(labels[LABEL_CONTAINER]), bootId }];
    });
  }

  /** One try, bounded as every request: for what is asked of Docker elsewhere, and must not be done twice. */
  async askOnce(
    doing: string,
    method: 'GET' | 'POST',
    path: string,
    signal: AbortSignal,
    options: RequestOptions = {},
  ): Promise<unknown> {
    const call = (bounded: AbortSignal) => this.client.ask(method, path, bounded, options);
    return (await this.#once(doing, this.#requestTimeoutMs, signal, call)).json;
  }

  /** A request that may be repeated. */
  async #ask(
    doing: string,
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    signal: AbortSignal,
    options: RequestOptions = {},
    timeoutMs = this.#requestTimeoutMs,
  ): Promise<unknown> {
    for (let attempt = 1; ; attempt++) {
      try {
        const call = (bounded: AbortSignal) => this.client.ask(method, path, bounded, options);
        return (await this.#once(doing, timeoutMs, signal, call)).json;
      } catch (error) {
        if (!mayPass(error) || attempt >= REQUEST_TRIES) throw error;
        await rest(RETRY_PAUSE_MS * 2 ** (attempt - 1) * (0.5 + Math.random()), signal);
      }
    }
  }

  async #once<T>(
    doing: string,
    timeoutMs: number,
    signal: AbortSignal,
    call: (bounded: AbortSignal) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    // Not AbortSignal.timeout: that of an answered request would stay in memory until its time is over, nine for each task.
    const bound = new AbortController();
    const timer = setTimeout(() => bound.abort(), timeoutMs);
    try {
      return await call(AbortSignal.any([signal, bound.signal]));
    } catch (error) {
      signal.throwIfAborted();
      if (bound.signal.aborted) {
        throw new Fault('timeout', `${doing}: Docker gave no answer within ${timeoutMs / 1000} s`, error);
      }
      throw dockerFault(error, doing);
    } finally {
      clearTimeout(timer);
    }
  }
}

async function answering(endpoint: Endpoint, signal: AbortSignal): Promise<Engine> {
  try {
    await new Engine(endpoint, PING_TIMEOUT_MS).ping(signal);
    return new Engine(endpoint);
  } catch (error) {
    const fault = dockerFault(error, 'ping');
    throw new Fault(fault.kind, `${formatEndpoint(endpoint)}: ${fault.message}`, fault.cause);
  }
}

/** In the order of the hosts. One that may come back is waited for, whatever is wrong with the others. */
function noneAnswers(errors: readonly unknown[]): Fault {
  const failures = errors.filter((error) => isFault(error));
  const decisive = failures.find(mayPass) ?? failures[0];
  return new Fault(
    decisive?.kind ?? 'docker',
    `none of the Docker hosts answers: ${failures.map(oneLine).join('; ')}`,
    decisive?.cause,
  );
}

function causeOf(error: unknown): unknown {
  return isFault(error) ? error.cause : error;
}

async function absentOn404(answer: Promise<unknown>): Promise<unknown | 'absent'> {
  try {
    return await answer;
  } catch (error) {
    if (isFault(error, 'not-found')) return 'absent';
    throw error;
  }
}

async function stopOutcome(answer: Promise<unknown>): Promise<'stopped' | 'already-stopped' | 'absent'> {
  try {
    await answer;
    return 'stopped';
  } catch (error) {
    if (isFault(error, 'not-found')) return 'absent';
    // stop answers 304, kill 409.
    if (isFault(error, 'conflict') || statusOf(causeOf(error)) === 304) return 'already-stopped';
    throw error;
  }
}

function containerFacts(raw: Readonly<Record<string, unknown>>): ContainerFacts {
  const id = dockerId(text(raw.Id));
  const state = record(raw.State);
  const status = text(state.Status);
  if (id === undefined || !isState(status)) {
    throw new Fault('protocol', `inspect: Docker's answer has no id or no known state ('${status}')`);
  }
  const config = record(raw.Config);
  const hostConfig = record(raw.HostConfig);
  const pid = typeof state.Pid === 'number' && state.Pid > 0 ? state.Pid : undefined;
  const startedAt = time(state.StartedAt);
  const finishedAt = time(state.FinishedAt);
  const ipAddress = addressOf(record(raw.NetworkSettings));
  return {
    id,
    name: text(raw.Name).replace(/^\//, ''),
    state: status,
    ...(pid === undefined ? {} : { pid }),
    exitCode: typeof state.ExitCode === 'number' ? state.ExitCode : -1,
    oomKilled: state.OOMKilled === true,
    error: text(state.Error),
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(finishedAt === undefined ? {} : { finishedAt }),
    labels: Object.fromEntries(
      Object.entries(record(config.Labels)).map(([key, value]) => [key, text(value)]),
    ),
    ...(ipAddress === undefined ? {} : { ipAddress }),
    tty: config.Tty === true,
    stopSignal: text(config.StopSignal),
    logDriver: text(record(hostConfig.LogConfig).Type),
    // Docker's own answer in Docker's own shape: what we read of it is checked where it is used.
    hostConfig: hostConfig as HostConfig,
    raw,
  };
}

function isState(status: string): status is ContainerState {
  return STATES.has(status);
}

function addressOf(settings: Readonly<Record<string, unknown>>): string | undefined {
  const networks = Object.values(record(settings.Networks)).map((network) => text(record(network).IPAddress));
  return [text(settings.IPAddress), ...networks].find((address) => address !== '');
}

/** Docker writes the year 1 for "never". */
function time(value: unknown): string | undefined {
  const moment = text(value);
  return moment === '' || moment.startsWith('0001-') ? undefined : moment;
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {};
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Docker writes one word as a string, several as a list, none as null. */
function words(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  return Array.isArray(value) ? value.filter((word) => typeof word === 'string') : [];
}

function definedOnly(query: CreateRequest['query']): Record<string, string> {
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined));
}

function short(id: DockerId): string {
  return id.slice(0, 12);
}

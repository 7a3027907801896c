// What a dockerd itself says of a task's container: asked past the program under test, so that it can be held against
// what that one reports.

import { readFileSync } from 'node:fs';
import { output } from './command.ts';
import type { Dockerd } from './dockerd.ts';

export interface InspectedContainer {
  readonly Id: string;
  readonly Name: string;
  readonly State: {
    readonly Running: boolean;
    readonly Pid: number;
    readonly ExitCode: number;
    readonly OOMKilled: boolean;
  };
  readonly HostConfig: {
    readonly Binds: readonly string[] | null;
    readonly CpuShares: number;
    readonly Memory: number;
    readonly MemoryReservation: number;
    readonly PortBindings: Readonly<Record<string, readonly { HostIp: string; HostPort: string }[]>>;
    readonly NetworkMode: string;
    readonly Privileged: boolean;
    readonly CapAdd: readonly string[] | null;
    readonly CpuPeriod: number;
    readonly CpuQuota: number;
    /** 2 × Memory where Docker chose it. */
    readonly MemorySwap: number;
    readonly VolumeDriver: string;
    readonly AutoRemove: boolean;
    readonly LogConfig: { readonly Type: string };
  };
  readonly Mounts: readonly {
    readonly Type: string;
    /** Of a volume. */
    readonly Name?: string;
    readonly Driver?: string;
    readonly Source: string;
    readonly Destination: string;
    readonly RW: boolean;
  }[];
  readonly Config: {
    readonly Env: readonly string[];
    readonly Cmd: readonly string[] | null;
    readonly Entrypoint: readonly string[] | null;
    readonly Hostname: string;
    readonly User: string;
    readonly WorkingDir: string;
    readonly Image: string;
    readonly Labels: Readonly<Record<string, string>>;
  };
  readonly NetworkSettings: {
    readonly IPAddress: string;
    readonly Networks: Readonly<Record<string, { readonly IPAddress: string }>>;
  };
}

interface OfContainer {
  readonly containerId: string;
}

/** The Docker ids of a task's containers, running or not. */
export async function containersOf(dockerd: Dockerd, task: OfContainer): Promise<readonly string[]> {
  const label = `label=deimos.container=${task.containerId}`;
  const ids = await dockerd.run(['ps', '--all', '--quiet', '--no-trunc', '--filter', label]);
  return ids.split('\n').filter((id) => id !== '');
}

/** Removes every container, with its volumes: what a run that failed has left would be taken for the next one's. */
export async function removeContainers(dockerd: Dockerd): Promise<void> {
  const ids = (await dockerd.run(['ps', '-aq'])).split('\n').filter((id) => id !== '');
  if (ids.length > 0) await dockerd.run(['rm', '--force', '--volumes', ...ids]);
}

/** `docker inspect` of a task's one container. */
export async function inspectTask(dockerd: Dockerd, task: OfContainer): Promise<InspectedContainer> {
  const [id, ...more] = await containersOf(dockerd, task);
  if (id === undefined || more.length > 0)
    throw new Error(`${task.containerId} has ${more.length} more containers than one`);
  const [inspected] = JSON.parse(await dockerd.run(['inspect', '--type', 'container', id])) as [
    InspectedContainer,
  ];
  return inspected;
}

export interface DockerStats {
  readonly userSeconds: number;
  readonly systemSeconds: number;
  readonly memoryBytes: number;
  readonly memoryLimitBytes: number;
}

/** What Docker measures of a running container right now. */
export async function statsOf(dockerd: Dockerd, dockerId: string): Promise<DockerStats> {
  const url = `http://docker/containers/${dockerId}/stats?stream=false&one-shot=true`;
  const answer = await output(['curl', '--silent', '--fail', '--unix-socket', dockerd.socket, url]);
  const stats = JSON.parse(answer) as {
    cpu_stats: { cpu_usage: { usage_in_usermode: number; usage_in_kernelmode: number } };
    memory_stats: { usage: number; limit: number };
  };
  const { usage_in_usermode, usage_in_kernelmode } = stats.cpu_stats.cpu_usage;
  return {
    userSeconds: usage_in_usermode / 1e9,
    systemSeconds: usage_in_kernelmode / 1e9,
    memoryBytes: stats.memory_stats.usage,
    memoryLimitBytes: stats.memory_stats.limit,
  };
}

/** `stop <seconds>`, `kill <signal>`: what a dockerd with --debug was asked to end a container with, in order. */
export function endsAsked(dockerd: Dockerd, dockerId: string): readonly string[] {
  const call = new RegExp(
    `Calling POST (?:/v[0-9.]+)?/containers/${dockerId}/(stop|kill)\\?(?:t|signal)=(\\w+)`,
    'g',
  );
  return [...readFileSync(dockerd.logFile, 'utf8').matchAll(call)].map(([, what, how]) => `${what} ${how}`);
}

/** How often a dockerd with --debug was asked for an image. */
export function pullsOf(dockerd: Dockerd, image: string): number {
  const repository = image.replace(/:[^:/]*$/, '');
  const asked = `/images/create?fromImage=${encodeURIComponent(repository)}&`;
  return readFileSync(dockerd.logFile, 'utf8')
    .split('\n')
    .filter((line) => line.includes('Calling POST') && line.includes(asked)).length;
}

export interface ContainerDeath {
  /** Signals that were sent to it before it died, in order, and when; milliseconds since the epoch. */
  readonly signals: readonly { readonly signal: number; readonly atMs: number }[];
  readonly diedAtMs: number;
}

/** How a container died, by dockerd's own clock; also after its removal. */
export async function deathOf(dockerd: Dockerd, dockerId: string): Promise<ContainerDeath> {
  const until = (Date.now() / 1000 + 1).toFixed(3);
  const filters = ['--filter', `container=${dockerId}`, '--format', '{{json .}}'];
  const text = await dockerd.run(['events', '--since', '1', '--until', until, ...filters]);
  const events = text
    .split('\n')
    .filter((line) => line !== '')
    .map(
      (line) =>
        JSON.parse(line) as { Action: string; timeNano: number; Actor: { Attributes: { signal?: string } } },
    )
    .map(({ Action, timeNano, Actor }) => ({
      action: Action,
      atMs: timeNano / 1e6,
      signal: Actor.Attributes.signal,
    }));
  const died = events.findIndex(({ action }) => action === 'die');
  const death = events[died];
  if (death === undefined) throw new Error(`${dockerId} has not died: ${text}`);
  const signals = events
    .slice(0, died)
    .filter(({ action }) => action === 'kill')
    .map(({ signal, atMs }) => ({ signal: Number(signal), atMs }));
  return { signals, diedAtMs: death.atMs };
}

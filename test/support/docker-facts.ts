// What a dockerd itself says of a task's container: asked past the program under test, so that it can be held against
// what that one reports.

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

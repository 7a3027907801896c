// The shape of what is sent to POST /containers/create: the one JSON truth between the options of a task, the plan
// and Docker. Types and two small readers only; whatever Docker knows and we do not set passes through untouched.

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json | undefined };

/** Keys that we do not name pass through as the docker CLI wrote them. */
type Rest = { readonly [key: string]: Json | undefined };

export type PortBinding = { readonly HostIp?: string; readonly HostPort?: string };

/** `8080/tcp` → where it is published on the host. */
export type PortBindings = Readonly<Record<string, readonly PortBinding[] | null>>;

export type Mount = Rest & {
  readonly Type: string;
  readonly Source?: string;
  readonly Target: string;
  readonly ReadOnly?: boolean;
};

export type LogConfig = { readonly Type: string; readonly Config: Readonly<Record<string, string>> };

/** Memory in bytes, Docker's own words: 0 is "not set", MemorySwap -1 is "no limit". Periods and quotas in µs. */
export type HostConfig = Rest & {
  readonly Binds?: readonly string[] | null;
  readonly Mounts?: readonly Mount[];
  readonly NetworkMode?: string;
  readonly PortBindings?: PortBindings | null;
  readonly PublishAllPorts?: boolean;
  readonly CpuShares?: number;
  readonly CpuPeriod?: number;
  readonly CpuQuota?: number;
  readonly NanoCpus?: number;
  readonly Memory?: number;
  readonly MemoryReservation?: number;
  readonly MemorySwap?: number;
  readonly LogConfig?: LogConfig;
  readonly AutoRemove?: boolean;
  readonly RestartPolicy?: { readonly Name: string; readonly MaximumRetryCount: number };
};

export type CreateBody = Rest & {
  readonly Image: string;
  readonly Cmd?: readonly string[] | null;
  readonly Entrypoint?: readonly string[] | null;
  readonly Env?: readonly string[] | null;
  readonly WorkingDir?: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly ExposedPorts?: Readonly<Record<string, Readonly<Record<string, never>>>> | null;
  readonly Tty?: boolean;
  readonly OpenStdin?: boolean;
  readonly StdinOnce?: boolean;
  readonly AttachStdin?: boolean;
  readonly AttachStdout?: boolean;
  readonly AttachStderr?: boolean;
  readonly HostConfig?: HostConfig;
};

export interface CreateRequest {
  readonly query: { readonly name?: string; readonly platform?: string };
  readonly body: CreateBody;
}

/** Whether ports of a container in this network are published: not in the host's, another container's, or none. */
export function publishesPorts(networkMode: string | undefined): boolean {
  const mode = networkMode ?? '';
  return mode !== 'host' && mode !== 'none' && !mode.startsWith('container:');
}

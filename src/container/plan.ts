// What Docker is asked to create for a task: the task, its options as the docker CLI translated them, the image's facts
// and the configuration in, one create request out. Pure, and the only place where ours and the task's words meet.
// Invariant: what Mesos allocated, and what recovery relies on (name, labels, no auto-removal), is never the options' to say.

import type { Config } from '../config/schema.ts';
import {
  type CreateBody,
  type CreateRequest,
  type HostConfig,
  type LogConfig,
  publishesPorts,
} from './create-request.ts';
import { environment, SANDBOX_INSIDE } from './environment.ts';
import { containerName } from './identity.ts';
import type { ImageRef } from './image.ts';
import type { TaskOptions } from './options.ts';
import { type ExposedPort, offeredPorts, pairPorts } from './ports.ts';
import { createLimits } from './resources.ts';
import type { TaskRequest } from './task.ts';

/** What the plan needs to know of an image. */
export interface ImageFacts {
  readonly exposedPorts: readonly ExposedPort[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
}

export interface PlanInput {
  readonly task: TaskRequest;
  readonly config: Pick<Config, 'limits' | 'containers' | 'state'>;
  readonly image: ImageRef;
  readonly options: TaskOptions;
  /** The options as Docker's own client would send them; undefined where there are none. */
  readonly translated?: CreateRequest;
  readonly imageFacts: ImageFacts;
  readonly slaveEnvironment: Readonly<Record<string, string>>;
  /** The host's boot at launch. */
  readonly bootId?: string;
  /** `uid:gid` of the task's user where the container is to run as it; the options' `--user` goes first. */
  readonly user?: string;
}

export type PlanAnswer =
  | { readonly ok: true; readonly request: CreateRequest; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly why: string };

/** The labels by which a container is known as ours, and whose, and of which boot of the host it is. */
export const LABEL_CONTAINER = 'deimos.container';
export const LABEL_ROOT = 'deimos.root';
export const LABEL_BOOT = 'deimos.boot';

/** Docker's local log rotates into this many files; together they are as large as configured. */
const LOG_FILES = 2;
const LOG_FILE_MIN_BYTES = 64 * 1024;

export function plan(input: PlanInput): PlanAnswer {
  const { task, image, options, translated, imageFacts } = input;
  const name = containerName(task.containerId);
  const base = translated?.body ?? { Image: image };
  const warnings = [...options.warnings];

  const command = commandOf(task, options, warnings);
  if (!command.ok) return command;
  const runsSomething =
    [...(command.cmd ?? []), ...(base.Entrypoint ?? []), ...(command.entrypoint ?? [])].length > 0 ||
    [...imageFacts.entrypoint, ...imageFacts.cmd].length > 0;
  if (!runsSomething) return { ok: false, why: `neither the task nor image ${image} says what is to be run` };

  const ports = offeredPorts(task.resources.ports);
  const env = environment(task, input.slaveEnvironment, ports, name, base.Env ?? []);
  if (!env.ok) return env;
  const published = publish(task, ports, base, imageFacts, warnings);
  const limits = createLimits(task.resources, input.config.limits);
  const host = base.HostConfig ?? {};
  warnOverruled(translated, name, limits, warnings);

  const isNew = task.container?.form === 'new';
  const workingDir = base.WorkingDir || (isNew ? undefined : SANDBOX_INSIDE.old);
  const user = base.User || input.user;
  const { ContainerIDFile: _ignored, ...hostRest } = host;
  const body: CreateBody = {
    ...base,
    Image: image,
    ...(command.cmd === undefined ? {} : { Cmd: command.cmd }),
    ...(command.entrypoint === undefined ? {} : { Entrypoint: command.entrypoint }),
    Env: env.variables
      .map(([variable, value]) => `${variable}=${value}`)
      .concat(removedVariables(base, env.variables)),
    ...(workingDir === undefined ? {} : { WorkingDir: workingDir }),
    ...(user ? { User: user } : {}),
    Labels: {
      ...base.Labels,
      [LABEL_CONTAINER]: task.containerId,
      [LABEL_ROOT]: input.config.state.root,
      ...(input.bootId === undefined ? {} : { [LABEL_BOOT]: input.bootId }),
    },
    ...(published === undefined ? {} : { ExposedPorts: { ...base.ExposedPorts, ...published.exposed } }),
    // Output is taken by attaching; nobody ever writes to a task.
    AttachStdin: false,
    AttachStdout: true,
    AttachStderr: true,
    OpenStdin: false,
    StdinOnce: false,
    HostConfig: {
      ...hostRest,
      // The CLI gives them in another order each time; theirs means nothing, and two plans of a task are to be the same.
      ...(host.Binds ? { Binds: [...host.Binds].sort() } : {}),
      ...limits,
      Mounts: [...(host.Mounts ?? []), sandboxMount(task)],
      ...(published === undefined ? {} : { PortBindings: published.bindings }),
      LogConfig: logConfig(host.LogConfig, input.config.containers.logSizeBytes),
      AutoRemove: false,
      RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
    },
  };
  const platform = translated?.query.platform;
  return { ok: true, request: { query: { name, ...(platform ? { platform } : {}) }, body }, warnings };
}

type CommandAnswer =
  | { readonly ok: true; readonly cmd?: readonly string[]; readonly entrypoint?: readonly string[] }
  | { readonly ok: false; readonly why: string };

/** What runs. Old form: a raw argv goes before a value; a value is `sh -c`; neither is the image's own command. */
function commandOf(task: TaskRequest, options: TaskOptions, warnings: string[]): CommandAnswer {
  const { value, shell, arguments: args } = task.command;
  if (options.argv !== undefined) {
    if (value !== undefined)
      warnings.push("the task's command is not run: its options give an argv behind //");
    return options.argv.length === 0 ? { ok: true } : { ok: true, cmd: options.argv };
  }
  if (!shell) {
    const cmd = value === undefined ? args : [value, ...args];
    return cmd.length === 0 ? { ok: true } : { ok: true, cmd };
  }
  if (task.container?.form === 'new') {
    if (value === undefined) return { ok: false, why: 'the task asks for a shell and gives it no command' };
    return { ok: true, entrypoint: ['/bin/sh'], cmd: ['-c', value] };
  }
  return value === undefined ? { ok: true } : { ok: true, cmd: ['sh', '-c', value] };
}

/** A Mount and not a Bind: the path of a sandbox may contain colons. */
function sandboxMount(task: TaskRequest): { Type: string; Source: string; Target: string } {
  return task.container?.form === 'new'
    ? { Type: 'bind', Source: task.sandbox, Target: SANDBOX_INSIDE.new }
    : { Type: 'bind', Source: `${task.sandbox}/fs`, Target: SANDBOX_INSIDE.old };
}

interface Published {
  readonly exposed: Readonly<Record<string, Readonly<Record<string, never>>>>;
  readonly bindings: Readonly<Record<string, readonly { readonly HostPort: string }[]>>;
}

/** Undefined: the ports stay as the options have them. */
function publish(
  task: TaskRequest,
  ports: readonly number[],
  base: CreateBody,
  facts: ImageFacts,
  warnings: string[],
): Published | undefined {
  if (task.container?.form === 'new' || ports.length === 0) return undefined;
  const host = base.HostConfig ?? {};
  if (!publishesPorts(host.NetworkMode)) return undefined;
  if (host.PublishAllPorts === true || Object.keys(host.PortBindings ?? {}).length > 0) return undefined;
  const { pairs, unpaired } = pairPorts(ports, facts.exposedPorts);
  if (unpaired.length > 0) {
    const list = unpaired.map(({ port, protocol }) => `${port}/${protocol}`).join(', ');
    warnings.push(`the image exposes more ports than were offered, not reachable: ${list}`);
  }
  const exposed: Record<string, Record<string, never>> = {};
  const bindings: Record<string, { HostPort: string }[]> = {};
  for (const { hostPort, containerPort, protocol } of pairs) {
    const key = `${containerPort}/${protocol}`;
    exposed[key] = {};
    // An offered port that leads to itself may be one that another already leads to: Docker takes both.
    bindings[key] = [...(bindings[key] ?? []), { HostPort: String(hostPort) }];
  }
  return { exposed, bindings };
}

/** Docker's local log keeps bytes as they are; whoever chose a driver, or options for the daemon's own, has chosen. */
function logConfig(chosen: LogConfig | undefined, sizeBytes: number): LogConfig {
  if (chosen !== undefined && (chosen.Type !== '' || Object.keys(chosen.Config ?? {}).length > 0))
    return chosen;
  const fileBytes = Math.max(LOG_FILE_MIN_BYTES, Math.floor(sizeBytes / LOG_FILES));
  return { Type: 'local', Config: { 'max-size': String(fileBytes), 'max-file': String(LOG_FILES) } };
}

/** `-e NAME` without a value takes the image's variable away; that stays unless somebody sets it. */
function removedVariables(base: CreateBody, variables: readonly (readonly [string, string])[]): string[] {
  const set = new Set(variables.map(([name]) => name));
  return (base.Env ?? []).filter((entry) => !entry.includes('=') && !set.has(entry));
}

/** One line for each word of the options that ours replaces. */
function warnOverruled(
  translated: CreateRequest | undefined,
  name: string,
  limits: HostConfig,
  warnings: string[],
): void {
  const body = translated?.body;
  if (body === undefined) return;
  const host = body.HostConfig ?? {};
  if (translated?.query.name)
    warnings.push(`--name ${translated.query.name}: the container is named ${name}`);
  if (host.AutoRemove === true) warnings.push('--rm has no effect: Deimos removes the container');
  const restart = host.RestartPolicy?.Name ?? '';
  if (restart !== '' && restart !== 'no') {
    warnings.push(
      `--restart ${restart} has no effect: a task that has ended is started again by its framework`,
    );
  }
  if (body.OpenStdin === true) warnings.push('--interactive has no effect: nobody writes to a task');
  const overruled = [
    ['--cpu-shares', host.CpuShares, limits.CpuShares],
    ['--cpu-quota', host.CpuQuota, limits.CpuQuota],
    ['--cpus', host.NanoCpus, limits.NanoCpus],
    ['--memory', host.Memory, limits.Memory],
    ['--memory-reservation', host.MemoryReservation, limits.MemoryReservation],
    ['--memory-swap', host.MemorySwap, limits.MemorySwap],
  ] as const;
  for (const [option, theirs, own] of overruled) {
    if (theirs && own !== undefined && theirs !== own) {
      warnings.push(`${option} ${theirs} has no effect: Mesos allocated the resources of the task`);
    }
  }
}

// From Mesos resources to Docker's limits, at creation and on update. Pure. Bytes and microseconds as Docker counts.
// The one rule that must never break: an update never lowers the hard memory limit, since that kills the task.

import type { Config } from '../config/schema.ts';
import type { HostConfig } from './create-request.ts';
import type { Resources, TaskRequest } from './task.ts';

type LimitsConfig = Config['limits'];

const MB = 1024 * 1024;
/** The least that Mesos gives any container. */
const MEMORY_MIN_BYTES = 32 * MB;
/** Far above any host, far below where a double loses bytes or Docker's int64 overflows. */
const MEMORY_MAX_BYTES = 2 ** 52;
const SHARES_MIN = 2;
/** The kernel's own ceiling for cpu.shares. */
const SHARES_MAX = 262_144;
const CFS_PERIOD_US = 100_000;
const CFS_QUOTA_MIN_US = 1_000;
/** The kernel refuses quotas whose nanoseconds overflow; 10,000 CPUs are enough. */
const CFS_QUOTA_MAX_US = 1_000_000_000;

/** What the slave's `update` adds to a command task for an executor process that does not exist here. */
const ALLOWANCE = { cpus: 0.1, memMb: 32 } as const;
/** cpus travel as doubles and are added up by the slave: 0.5 + 0.1 need not be 0.6. */
const CPUS_EPSILON = 1e-6;

function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}

/** `--cpu-shares` for a number of CPUs. */
export function cpuShares(cpus: number): number {
  return clamp(Math.floor(1024 * cpus), SHARES_MIN, SHARES_MAX);
}

/** The CFS quota in µs of each period of 100 ms. */
export function cfsQuotaUs(cpus: number): number {
  return clamp(Math.floor(CFS_PERIOD_US * cpus), CFS_QUOTA_MIN_US, CFS_QUOTA_MAX_US);
}

/** The memory limit in bytes. */
export function memoryBytes(memMb: number): number {
  return clamp(Math.floor(memMb * MB), MEMORY_MIN_BYTES, MEMORY_MAX_BYTES);
}

/** A resource that is absent or no number sets nothing; one of 0 is the least that can be set, not all there is. */
function given(value: number | undefined): value is number {
  return value !== undefined && Number.isFinite(value) && value >= 0;
}

export type Limits = Pick<
  HostConfig,
  'CpuShares' | 'CpuPeriod' | 'CpuQuota' | 'NanoCpus' | 'Memory' | 'MemoryReservation' | 'MemorySwap'
>;

/** The part of HostConfig that a container is created with. Keys that it lacks are left to the task's own options. */
export function createLimits(resources: Resources, config: LimitsConfig): Limits {
  return { ...cpuLimits(resources.cpus, config), ...memoryLimits(resources.memMb, config) };
}

function cpuLimits(cpus: number | undefined, config: LimitsConfig): Limits {
  if (!given(cpus)) return {};
  // NanoCpus is the other spelling of a quota (`--cpus`), and Docker refuses both at once.
  const quota = config.cfs ? { CpuPeriod: CFS_PERIOD_US, CpuQuota: cfsQuotaUs(cpus), NanoCpus: 0 } : {};
  return { CpuShares: cpuShares(cpus), ...quota };
}

/**
 * MemorySwap counts memory and swap together. 0 lets Docker double the memory, its default: the task may swap.
 * It is always written, since a task's own `--memory-swap` belongs to the `--memory` that ours replaces.
 */
function memoryLimits(memMb: number | undefined, config: LimitsConfig): Limits {
  if (!given(memMb)) return {};
  const bytes = memoryBytes(memMb);
  return { Memory: bytes, MemoryReservation: bytes, MemorySwap: config.swap ? 0 : bytes };
}

/** What the container has now, as `docker inspect` shows it in HostConfig. 0 and undefined: no limit. */
export type CurrentLimits = Limits;

/** The body of POST /containers/<id>/update. */
export type UpdateBody = Limits;

/**
 * What has to be sent so that the container has what the slave wants it to have; undefined: nothing.
 * Shares, quota and reservation follow at once, the hard limit is only raised. Calling it again with the limits that
 * its answer led to gives undefined.
 */
export function updateLimits(
  current: CurrentLimits,
  task: Pick<TaskRequest, 'kind' | 'resources'>,
  requested: Pick<Resources, 'cpus' | 'memMb'>,
  config: LimitsConfig,
): UpdateBody | undefined {
  const wanted = task.kind === 'command' ? beyondAllowance(task.resources, requested) : requested;
  const cpu = cpuLimits(wanted.cpus, config);
  const body: { -readonly [K in keyof UpdateBody]: UpdateBody[K] } = {};
  if (cpu.CpuShares !== undefined && cpu.CpuShares !== current.CpuShares) body.CpuShares = cpu.CpuShares;
  // A container that the task's options gave `--cpus` cannot have a quota beside it: Docker refuses the update.
  if (cpu.CpuQuota !== undefined && cpu.CpuQuota !== current.CpuQuota && !current.NanoCpus) {
    body.CpuQuota = cpu.CpuQuota;
    body.CpuPeriod = CFS_PERIOD_US;
  }
  if (given(wanted.memMb)) Object.assign(body, memoryUpdate(current, memoryBytes(wanted.memMb), config));
  return Object.keys(body).length === 0 ? undefined : body;
}

/** What a container that does not run yet will have: as it is created, and as `requested` changes that at its start. */
export function plannedLimits(
  task: Pick<TaskRequest, 'kind' | 'resources'>,
  requested: Pick<Resources, 'cpus' | 'memMb'>,
  config: LimitsConfig,
): Limits {
  const created = createLimits(task.resources, config);
  return { ...created, ...updateLimits(created, task, requested, config) };
}

function memoryUpdate(current: CurrentLimits, bytes: number, config: LimitsConfig): UpdateBody {
  const reservation = bytes === current.MemoryReservation ? {} : { MemoryReservation: bytes };
  const hard = current.Memory ?? 0;
  // No hard limit at all is more than any: setting one now would lower it.
  if (hard === 0 || bytes <= hard) return reservation;
  // Docker refuses to raise the memory alone above the swap limit that it set itself at creation.
  const swapNow = current.MemorySwap ?? 0;
  const swap = config.swap ? (swapNow === -1 ? -1 : 2 * bytes) : bytes;
  return { ...reservation, Memory: bytes, MemorySwap: swap };
}

/**
 * Whether a slave that asks for this for a command task's container counts the task as ended: its executor alone is left.
 * No where that cannot be told: a task may have as much as the allowance, and 0.19 knows of none.
 */
export function isAllowanceAlone(
  own: Pick<Resources, 'cpus' | 'memMb'>,
  requested: Pick<Resources, 'cpus' | 'memMb'>,
): boolean {
  return isSame(requested, ALLOWANCE) && !isSame(requested, own);
}

function isSame(one: Pick<Resources, 'cpus' | 'memMb'>, other: Pick<Resources, 'cpus' | 'memMb'>): boolean {
  const isNear = (a = 0, b = 0): boolean => Math.abs(a - b) < CPUS_EPSILON;
  return isNear(one.cpus, other.cpus) && isNear(one.memMb, other.memMb);
}

/**
 * What a command task is to have: its own resources, and more only where the slave asks for more than these and the
 * allowance. Undefined where the container has that already from its creation on.
 */
function beyondAllowance(
  own: Resources,
  requested: Pick<Resources, 'cpus' | 'memMb'>,
): Pick<Resources, 'cpus' | 'memMb'> {
  const cpus = (requested.cpus ?? 0) - ALLOWANCE.cpus;
  const memMb = (requested.memMb ?? 0) - ALLOWANCE.memMb;
  return {
    ...(cpus > (own.cpus ?? 0) + CPUS_EPSILON ? { cpus } : {}),
    ...(memMb > (own.memMb ?? 0) ? { memMb } : {}),
  };
}

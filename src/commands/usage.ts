// `deimos usage`: what a container uses right now, from its cgroups' files. Old slaves call this every second for each
// container: it reads a handful of small files, asks nobody and starts nothing.

import { plannedLimits } from '../container/resources.ts';
import { Fault, isFault } from '../fault.ts';
import { type CgroupUsage, readUsage } from '../host/cgroups.ts';
import { readJsonFact } from '../host/facts.ts';
import { type NetUsage, readNetUsage } from '../host/net-counters.ts';
import { isAlive, isNotedAlive, parseNoted } from '../host/processes.ts';
import { readRecord, writeRecord } from '../mesos/record.ts';
import { decodeContainerId, encodeResourceStatistics } from '../mesos/task-view.ts';
import { findState } from '../state/find.ts';
import type { ContainerPaths } from '../state/layout.ts';
import { readLimits } from '../state/limits.ts';
import { admission, hasFact, readDockerId, readRequest } from '../state/store.ts';
import type { Call } from './call.ts';

/** The status of a known error. */
const EXIT_ENDED = 4;

/**
 * Exit status 0 with ResourceStatistics on stdout; 4 without a word for a container that has ended: a slave asks on until it
 * has heard of the end, and what is said here stands in the task's own stderr. Faults: `not-found` (unknown), `protocol`.
 */
export async function usage(call: Call): Promise<number> {
  const id = decodeContainerId('usage', await readRecord());
  const state = findState(call.configuredRoot(), id);
  if (state === undefined || admission(state.paths) !== 'accepted') {
    throw new Fault('not-found', `container ${id} is not known here`);
  }
  const used = usageOf(state.paths);
  if (used === 'ended') {
    call.log.info('usage of a container that has ended', { mesosId: id });
    return EXIT_ENDED;
  }
  writeRecord(1, encodeResourceStatistics({ timestamp: Date.now() / 1000, ...statisticsOf(used) }));
  return 0;
}

export type Used = CgroupUsage & NetUsage;

/** The largest of the fields that are uint32 on the wire. */
const LARGEST_UINT32 = 2 ** 32 - 1;

/** Periods of a millisecond are more than that after 50 days: a counter that has come to its end stays there. */
function uint32(count: number | undefined): number | undefined {
  return count === undefined ? undefined : Math.min(count, LARGEST_UINT32);
}

/** The same by the names of the wire. */
export function statisticsOf(used: Used) {
  return {
    cpus_user_time_secs: used.cpusUserTimeSecs,
    cpus_system_time_secs: used.cpusSystemTimeSecs,
    cpus_limit: used.cpusLimit,
    cpus_nr_periods: uint32(used.cpusNrPeriods),
    cpus_nr_throttled: uint32(used.cpusNrThrottled),
    cpus_throttled_time_secs: used.cpusThrottledTimeSecs,
    // Total usage up to 0.22, anonymous memory since. No call tells that it comes from such an old slave.
    mem_rss_bytes: used.memRssBytes,
    mem_limit_bytes: used.memLimitBytes,
    mem_file_bytes: used.memFileBytes,
    mem_anon_bytes: used.memRssBytes,
    mem_mapped_file_bytes: used.memMappedFileBytes,
    net_rx_packets: used.netRxPackets,
    net_rx_bytes: used.netRxBytes,
    net_rx_errors: used.netRxErrors,
    net_rx_dropped: used.netRxDropped,
    net_tx_packets: used.netTxPackets,
    net_tx_bytes: used.netTxBytes,
    net_tx_errors: used.netTxErrors,
    net_tx_dropped: used.netTxDropped,
    processes: used.processes,
    threads: used.threads,
    mem_total_bytes: used.memTotalBytes,
    mem_soft_limit_bytes: used.memSoftLimitBytes,
    mem_cache_bytes: used.memFileBytes,
    mem_swap_bytes: used.memSwapBytes,
    mem_unevictable_bytes: used.memUnevictableBytes,
  };
}

/** Before the container runs: what it is going to have. `ended`: it has, or never ran. */
function usageOf(paths: ContainerPaths): Used | 'ended' {
  const init = parseNoted(readJsonFact(paths.init));
  if (init === undefined) return hasFact(paths.outcome) ? 'ended' : limitsOf(paths);
  if (isNotedAlive(init)) {
    try {
      const used = { ...readUsage({ pid: init.pid, name: readDockerId(paths) }), ...readNetUsage(init.pid) };
      // Looked at again afterwards: a pid that was reused meanwhile would have given another's numbers.
      if (isAlive(init)) return used;
    } catch (error) {
      if (!isFault(error, 'not-found')) throw error;
    }
  }
  return 'ended';
}

function limitsOf(paths: ContainerPaths): CgroupUsage {
  const request = readRequest(paths);
  if (request === undefined) return {};
  const limits = plannedLimits(request.task, readLimits(paths) ?? {}, request.config.limits);
  const { CpuShares, CpuPeriod, CpuQuota, Memory, MemoryReservation } = limits;
  const cpusLimit = CpuQuota && CpuPeriod ? CpuQuota / CpuPeriod : CpuShares && CpuShares / 1024;
  return {
    ...(cpusLimit === undefined ? {} : { cpusLimit }),
    ...(Memory === undefined ? {} : { memLimitBytes: Memory }),
    ...(MemoryReservation === undefined ? {} : { memSoftLimitBytes: MemoryReservation }),
  };
}

// Which offered host port leads to which port of the container (the old form of tasks, where nobody says so).
// Pure: the order of the offer and the image's exposed ports decide, nothing else.

import type { PortRange } from './task.ts';

export const LARGEST_PORT = 65_535;

export interface ExposedPort {
  readonly port: number;
  readonly protocol: string;
}

export interface PortPair {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: string;
}

export interface Pairing {
  readonly pairs: readonly PortPair[];
  /** Exposed ports for which no host port was offered. */
  readonly unpaired: readonly ExposedPort[];
}

/** More than a task can use; an offer's ranges may span thousands, each pair costs Docker a rule and a process. */
export const OFFERED_PORTS_MAX = 1000;

/** The offered ports one by one, in the order of the record, each once, at most OFFERED_PORTS_MAX. */
export function offeredPorts(ranges: readonly PortRange[]): readonly number[] {
  const ports = new Set<number>();
  for (const { begin, end } of ranges) {
    for (let port = Math.max(1, begin); port <= Math.min(LARGEST_PORT, end); port++) {
      if (ports.size >= OFFERED_PORTS_MAX) return [...ports];
      ports.add(port);
    }
  }
  return [...ports];
}

/**
 * Reads the keys of an image's `ExposedPorts` (`80`, `80/tcp`, `53/udp`, `8000-8002/tcp`); others are dropped. Each port once,
 * for each protocol the smallest first: an image may have any number of keys, and all ports in each.
 */
export function parseExposedPorts(keys: readonly string[]): readonly ExposedPort[] {
  const byProtocol = new Map<string, PortRange[]>();
  for (const key of keys) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(key);
    if (match === null) continue;
    const begin = Number(match[1]);
    const end = Number(match[2] ?? match[1]);
    if (begin < 1 || end > LARGEST_PORT) continue;
    const protocol = match[3] ?? 'tcp';
    const ranges = byProtocol.get(protocol) ?? [];
    byProtocol.set(protocol, ranges);
    ranges.push({ begin, end });
  }
  return [...byProtocol].flatMap(([protocol, ranges]) => portsIn(ranges).map((port) => ({ port, protocol })));
}

/** Each once, in order. No port is looked at twice, however many ranges it is in. */
function portsIn(ranges: readonly PortRange[]): readonly number[] {
  const ports: number[] = [];
  let next = 1;
  for (const { begin, end } of [...ranges].sort((a, b) => a.begin - b.begin)) {
    next = Math.max(next, begin);
    for (; next <= end; next++) ports.push(next);
  }
  return ports;
}

/** Offered ports in their order ↔ exposed ports by number, then protocol; offered ones left over lead to themselves. */
export function pairPorts(offered: readonly number[], exposed: readonly ExposedPort[]): Pairing {
  const sorted = [...exposed].sort(
    (a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : a.protocol > b.protocol ? 1 : 0),
  );
  const pairs = offered.map((hostPort, i): PortPair => {
    const target = sorted[i];
    return target === undefined
      ? { hostPort, containerPort: hostPort, protocol: 'tcp' }
      : { hostPort, containerPort: target.port, protocol: target.protocol };
  });
  return { pairs, unpaired: sorted.slice(offered.length) };
}

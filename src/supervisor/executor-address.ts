// The one TCP port on which slaves reach our executors. It must stay the same across a crash: what a slave sends to the
// old one while we listen on another is lost. So it is kept in the state directory, and lies outside the range from
// which the kernel gives ports to others.

import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Fault, isFault, oneLine } from '../fault.ts';
import { readFact, writeFactSync } from '../host/facts.ts';
import type { Log } from '../host/log.ts';
import { rest } from '../host/pauses.ts';
import type { ExecutorPort } from '../mesos/executor-port.ts';
import type { SlaveSsl } from '../mesos/slave-ssl.ts';
import type { Upid } from '../mesos/upid.ts';
import { rootPaths } from '../state/layout.ts';

const PORTS = { from: 20_000, to: 29_999 } as const;
const TRIES = 100;
/**
 * For so long the port of before is tried: the sockets of an owner that was killed may close behind its lock. Little of the
 * 2 s for which a slave that came back waits, since another program may have it for good.
 */
const LAST_PORT_MS = 500;
const LAST_PORT_PAUSE_MS = 20;
export const LOOPBACK = '127.0.0.1';

/**
 * Listens on the port that was used last, else on the configured one, else on a free one, and notes it.
 * Throws Fault `conflict` if none can be had; the signal's reason.
 */
export async function listenForSlaves(
  port: ExecutorPort,
  root: string,
  configured: number | undefined,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const path = rootPaths(root).port;
  // Open already: an earlier call could not note it.
  if (port.isOpen) return writeFactSync(path, `${port.port}\n`);
  const last = Number(readFact(path)?.trim());
  if (Number.isInteger(last) && last > 0) {
    if (await insistOn(port, last, signal)) {
      if (configured !== undefined && configured !== last)
        log.warning('slaves know the executor port of before: it stays', { port: last, configured });
      return;
    }
    log.error(
      'the executor port was taken meanwhile: until the slave restarts, kills of running tasks reach us only as destroy',
      { port: last },
    );
  }
  const ephemeral = ephemeralRange();
  for (let n = 0; n < TRIES; n++) {
    const candidate = n === 0 && configured !== undefined ? configured : randomInt(PORTS.from, PORTS.to + 1);
    const chosen = n === 0 && configured !== undefined;
    if (!chosen && candidate >= ephemeral.from && candidate <= ephemeral.to) continue;
    if (await tryPort(port, candidate)) {
      writeFactSync(path, `${candidate}\n`);
      return;
    }
    if (chosen) log.warning('the configured executor port is taken, using another', { port: candidate });
  }
  throw new Fault('conflict', `no free port between ${PORTS.from} and ${PORTS.to} for the executor protocol`);
}

/**
 * Our address for a slave. One that verifies whom it dials wants a certificate for the name of that address; the one that
 * we share with it is for the slave's own, not for the loopback's. So that slave finds us beside itself.
 */
export async function findableAt(
  port: ExecutorPort,
  slave: Upid | undefined,
  ssl: SlaveSsl | undefined,
  log: Log,
): Promise<string> {
  if (slave === undefined || ssl?.verify !== true) return LOOPBACK;
  try {
    await port.listenAlsoAt(slave.ip);
    return slave.ip;
  } catch (error) {
    if (!isFault(error, 'host', 'conflict')) throw error;
    log.warning(
      'not to be found at the address of the slave, whose SSL_VERIFY_CERT may refuse the loopback',
      {
        error: oneLine(error),
      },
    );
    return LOOPBACK;
  }
}

async function insistOn(port: ExecutorPort, number: number, signal: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + LAST_PORT_MS;
  while (!(await tryPort(port, number))) {
    if (performance.now() > deadline) return false;
    await rest(LAST_PORT_PAUSE_MS, signal);
  }
  return true;
}

async function tryPort(port: ExecutorPort, number: number): Promise<boolean> {
  try {
    await port.listen(number);
    return true;
  } catch (error) {
    if (isFault(error, 'conflict')) return false;
    throw error;
  }
}

function ephemeralRange(): { from: number; to: number } {
  const [from = 32_768, to = 60_999] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
    .trim()
    .split(/\s+/)
    .map(Number);
  return { from, to };
}

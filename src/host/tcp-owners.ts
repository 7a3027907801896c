// Whose the sockets at a TCP port of this host are, by user, as the kernel lists them for our network namespace. A port above
// 1024 is anybody's who comes first, and a connection says nothing of who is at its other end: this does.

import { readLong } from './kernel-files.ts';

const LISTEN = '0A';
/** Of IPv6, in the words of /proc. */
const ANY_OF_6 = '0'.repeat(32);
const MAPPED = /^0{16}F{4}0{4}([0-9A-F]{8})$/;

/** `address`: IPv4. */
export interface TcpEnd {
  readonly address: string;
  readonly port: number;
}

interface TcpSocket {
  /** An address as /proc has it. */
  readonly local: readonly [address: string, port: number];
  readonly remote: readonly [address: string, port: number];
  readonly isListening: boolean;
  /** undefined: a connection that no process has yet, or has any more. */
  readonly uid: number | undefined;
}

/** The users who have connected to our port, by `address:port` of their ends; of a socket that no process has: none. */
export function clientsAt(port: number): ReadonlyMap<string, number> {
  const clients = new Map<string, number>();
  for (const { local, remote, uid, isListening } of socketsAt(port))
    if (!isListening && remote[1] === port && uid !== undefined)
      clients.set(`${addressOf(local[0])}:${local[1]}`, uid);
  return clients;
}

/**
 * The user at the other end of a connection of ours to `server`: whoever has accepted it, else whoever listens there, who
 * will. undefined where the kernel shows us neither: that end is in another network namespace, behind a translated address.
 */
export function userOfPeer(own: TcpEnd, server: TcpEnd): number | undefined {
  const listeners: (number | undefined)[] = [];
  for (const { local, remote, uid, isListening } of socketsAt(server.port)) {
    if (uid === undefined || local[1] !== server.port) continue;
    if (isListening) {
      const rank = rankOf(local[0], server.address);
      if (rank !== undefined) listeners[rank] ??= uid;
    } else if (addressOf(local[0]) === server.address && remote[1] === own.port) {
      if (addressOf(remote[0]) === own.address) return uid;
    }
  }
  return listeners.find((uid) => uid !== undefined);
}

/** Of several who listen the kernel takes the first by this; undefined: one that does not get what is for `address`. */
function rankOf(listening: string, address: string): number | undefined {
  if (addressOf(listening) === address) return MAPPED.test(listening) ? 1 : 0;
  if (addressOf(listening) === '0.0.0.0') return MAPPED.test(listening) ? 3 : 2;
  return listening === ANY_OF_6 ? 4 : undefined;
}

/** Those with that port at either end, of both families. Others of the host may be many: of their lines nothing is made. */
function* socketsAt(port: number): Generator<TcpSocket> {
  const hexPort = `:${port.toString(16).toUpperCase().padStart(4, '0')} `;
  for (const table of ['tcp', 'tcp6']) {
    const text = readLong(`/proc/self/net/${table}`) ?? '';
    for (let at = text.indexOf(hexPort); at >= 0; ) {
      const end = text.indexOf('\n', at);
      // sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode
      const fields = text
        .slice(text.lastIndexOf('\n', at) + 1, end)
        .split(' ')
        .filter(isWord);
      const [, local = '', remote = '', state, , , , uid, , inode] = fields;
      yield {
        local: endOf(local),
        remote: endOf(remote),
        isListening: state === LISTEN,
        // Without an inode the user is nobody's: older kernels write 0 then.
        uid: inode === '0' ? undefined : Number(uid),
      };
      at = text.indexOf(hexPort, end);
    }
  }
}

function isWord(field: string): boolean {
  return field !== '';
}

function endOf(text: string): readonly [address: string, port: number] {
  const [address = '', port = ''] = text.split(':');
  return [address, Number.parseInt(port, 16)];
}

/**
 * As people write it, also of a socket of IPv6 that speaks IPv4; any other of IPv6 as it is. /proc has words of 32 bits in the
 * order of the host's memory, which is little-endian wherever Docker runs.
 */
export function addressOf(hex: string): string {
  const word = hex.length === 8 ? hex : MAPPED.exec(hex)?.[1];
  if (word === undefined) return hex;
  return [6, 4, 2, 0].map((at) => Number.parseInt(word.slice(at, at + 2), 16)).join('.');
}

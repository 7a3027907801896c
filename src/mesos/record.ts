// The framing of the verbs' records on stdin and stdout: a 4-byte length in host byte order (little endian on every
// machine that Deimos is built for), then that many bytes. The slave does not close our stdin: nothing here waits
// for the end of the stream, takes a byte past the record, or leaves anything behind that keeps the process alive.
// process.stdin would cost milliseconds at start and read ahead; a read in Node's thread pool could not be given up.
// So reads are plain non-blocking read(2) calls: the record is nearly always there before Node has started.

import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { errnoOf, Fault } from '../fault.ts';
import { elapsedMs, pause } from '../host/clock.ts';

/** The largest record taken from a slave; a larger length is not believed. */
export const MAX_RECORD_BYTES = 64 * 1024 * 1024;
/** How long a record may stand still, on its way in or out. */
export const RECORD_IDLE_MS = 30_000;

/** The largest text that is taken in a record's place. */
const MAX_TEXT_BYTES = 4 * 1024 * 1024;

const HEADER_BYTES = 4;
/** Memory is taken as bytes arrive, and not because a length asks for it. */
const FIRST_CHUNK_BYTES = 64 * 1024;
/** Between two tries on an empty pipe: doubling, from the first to the longest. */
const SHORTEST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 16;

export interface ReadOptions {
  readonly signal?: AbortSignal;
  /** Longest time without a byte. */
  readonly idleMs?: number;
}

/**
 * The payload of the one record on `fd`. Fault 'protocol' if the stream ends early or the length is over 64 MiB,
 * 'timeout' after `idleMs` (30 s) without a byte, 'host' if reading fails; the signal's reason if that is aborted.
 */
export async function readRecord(fd = 0, options: ReadOptions = {}): Promise<Buffer> {
  using source = await openSource(fd);
  const header = await readExactly(source, HEADER_BYTES, 'length', options);
  // Awaited here: `using` closes the source as soon as this function returns.
  return await readPayload(source, header, options);
}

/**
 * What a person gives: the payload of a record, framed as a slave writes it, or all bytes up to the stream's end where
 * the first four cannot be the length of a record. Any text is told from any record: the fourth byte of a length that
 * is taken is a control character that no text has there. Faults as `readRecord`, 'protocol' also for over 4 MiB of text.
 */
export async function readRecordOrText(
  fd = 0,
  options: ReadOptions = {},
): Promise<{ readonly record: Buffer } | { readonly text: Buffer }> {
  using source = await openSource(fd);
  const start = await readUpTo(source, HEADER_BYTES, 'input', options);
  if (start.length === HEADER_BYTES && start.readUInt32LE(0) <= MAX_RECORD_BYTES)
    return { record: await readPayload(source, start, options) };
  const rest = await readUpTo(source, MAX_TEXT_BYTES, 'input', options);
  if (rest.length === MAX_TEXT_BYTES)
    throw new Fault('protocol', `what was given is larger than ${MAX_TEXT_BYTES} bytes`);
  return { text: Buffer.concat([start, rest]) };
}

async function readPayload(source: Source, header: Buffer, options: ReadOptions): Promise<Buffer> {
  const length = header.readUInt32LE(0);
  if (length > MAX_RECORD_BYTES) {
    throw new Fault('protocol', `record of ${length} bytes is larger than ${MAX_RECORD_BYTES}`);
  }
  return await readExactly(source, length, 'record', options);
}

/** A descriptor whose read(2) does not block, or is that of a file. */
interface Source extends Disposable {
  readonly fd: number;
}

const NOTHING_TO_CLOSE = { [Symbol.dispose](): void {} };

async function openSource(fd: number): Promise<Source> {
  const stat = fstatSync(fd);
  // Not opened again: a new descriptor would start at the file's beginning, and a file does not make us wait.
  if (stat.isFile()) return { fd, ...NOTHING_TO_CLOSE };
  if (!stat.isSocket()) {
    try {
      // An open file of our own on the same pipe or device: O_NONBLOCK on the one we were given would also hold for whoever shares it.
      const own = openSync(
        `/proc/self/fd/${fd}`,
        constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY,
      );
      return { fd: own, [Symbol.dispose]: () => closeSync(own) };
    } catch (error) {
      // No /proc, or the pipe is another user's: as with a socket, the given descriptor has to do.
      if (errnoOf(error) === undefined) throw error;
    }
  }
  // Sockets cannot be opened again. Node sets O_NONBLOCK on what it wraps; as a writer only, the wrapper takes no bytes
  // and does not keep the process alive, and it is left open because closing it would close `fd`.
  const { Socket } = await import('node:net');
  try {
    new Socket({ fd, readable: false, writable: true }).unref();
  } catch (error) {
    throw new Fault('host', `cannot read a record from descriptor ${fd}`, error);
  }
  return { fd, ...NOTHING_TO_CLOSE };
}

async function readExactly(
  source: Source,
  size: number,
  what: string,
  options: ReadOptions,
): Promise<Buffer> {
  const bytes = await readUpTo(source, size, what, options);
  if (bytes.length < size)
    throw new Fault('protocol', `${what} ends early: ${bytes.length} of ${size} bytes came`);
  return bytes;
}

/** Fewer bytes only where the stream has ended. */
async function readUpTo(source: Source, size: number, what: string, options: ReadOptions): Promise<Buffer> {
  const idleMs = options.idleMs ?? RECORD_IDLE_MS;
  let buffer = Buffer.allocUnsafe(Math.min(size, FIRST_CHUNK_BYTES));
  let filled = 0;
  let lastByteMs = elapsedMs();
  let pauseMs = SHORTEST_PAUSE_MS;
  while (filled < size) {
    options.signal?.throwIfAborted();
    if (filled === buffer.length) {
      const grown = Buffer.allocUnsafe(Math.min(size, buffer.length * 2));
      buffer.copy(grown);
      buffer = grown;
    }
    const count = readSome(source.fd, buffer, filled);
    if (count === 0) break;
    if (count !== 'nothing yet') {
      filled += count;
      lastByteMs = elapsedMs();
      pauseMs = SHORTEST_PAUSE_MS;
    } else if (elapsedMs() - lastByteMs >= idleMs) {
      throw new Fault(
        'timeout',
        `${what} stopped: ${filled} of ${size} bytes came, then none for ${idleMs} ms`,
      );
    } else {
      // Short enough that an abort can wait for its end.
      await pause(pauseMs);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }
  return buffer.subarray(0, filled);
}

function readSome(fd: number, buffer: Buffer, offset: number): number | 'nothing yet' {
  try {
    return readSync(fd, buffer, offset, buffer.length - offset, null);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'EAGAIN' || code === 'EINTR') return 'nothing yet';
    if (code === 'EOF') return 0;
    throw new Fault('host', `cannot read a record from descriptor ${fd}: ${code ?? 'unknown error'}`, error);
  }
}

/** `payload` with its length in front. RangeError above 4 GiB. */
export function frame(payload: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(HEADER_BYTES + payload.byteLength);
  framed.writeUInt32LE(payload.byteLength, 0);
  framed.set(payload, HEADER_BYTES);
  return framed;
}

/**
 * Writes `payload` as one record, and returns when the kernel has all of it. Blocks the thread: for the short verbs,
 * whose last act this is. Fault 'host' (its cause EPIPE: nobody reads any more), 'timeout' after `idleMs` (30 s) of a full pipe.
 */
export function writeRecord(fd: number, payload: Uint8Array, idleMs = RECORD_IDLE_MS): void {
  const framed = frame(payload);
  let written = 0;
  let lastByteMs = elapsedMs();
  while (written < framed.length) {
    try {
      written += writeSync(fd, framed, written, framed.length - written);
      lastByteMs = elapsedMs();
    } catch (error) {
      const code = errnoOf(error);
      if (code !== 'EAGAIN' && code !== 'EINTR') {
        throw new Fault(
          'host',
          `cannot write a record to descriptor ${fd}: ${code ?? 'unknown error'}`,
          error,
        );
      }
      if (elapsedMs() - lastByteMs >= idleMs) {
        throw new Fault(
          'timeout',
          `record not taken: ${written} of ${framed.length} bytes went out in ${idleMs} ms`,
        );
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LONGEST_PAUSE_MS);
    }
  }
}

// The counter file of one output stream: how many of its bytes are certainly in the sandbox's file, and a copy of the
// last ones. A record goes in before each append, its bytes with it, so that after a SIGKILL between any two instructions
// it can be told whether the append happened. Not fsynced: it outlives the process, not the machine.
//
// Two segments are filled in turn with records of consecutive numbers; a record that was torn falls back on the one
// before it, whose append was then complete. The file's size is fixed, and its blocks are taken when it is made.

import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  statfsSync,
  write,
  writeSync,
  writev,
  writevSync,
} from 'node:fs';
import { crc32 } from 'node:zlib';
import { StreamSearch } from '../container/join.ts';
import { Fault, systemWords } from '../fault.ts';
import { putAside } from '../host/facts.ts';
import { bootId } from '../host/processes.ts';

/** The largest append. */
export const CHUNK_BYTES_MAX = 64 * 1024;
const SEGMENT_BYTES = 192 * 1024;
const SEGMENTS = 2;
const HEADER_BYTES = 88;
const MAGIC = 0x314f4344;
const CRC_AT = HEADER_BYTES - 4;
/** A short append ends at a multiple of this in the file, whatever the file system's blocks are. */
const PARTIAL_ALIGN_BYTES = 512;
/** tmpfs and ramfs, as statfs(2) names them. */
const MEMORY_FILE_SYSTEMS: readonly number[] = [0x0102_1994, 0x8584_58f6];
/** From here on the number is not known: the field has four bytes. */
export const DROPPED_BYTES_MAX = 0xffff_ffff;
/** How much of what others appended to the file in the meantime is looked through. */
const FOREIGN_BYTES_MAX = 4 * 1024 * 1024;

/** What is known at the moment of an append. Positions count the stream's bytes from its beginning. */
export interface JournalState {
  /** Bytes of the stream before this append. */
  readonly position: number;
  /** A message of the log with this stamp begins at `anchorAt`; 0 while none is known, which is the log's beginning. */
  readonly anchorNs: bigint;
  readonly anchorAt: number;
  /** When the last bytes came, and when there was last nothing left to read: ms since 1970. */
  readonly receivedMs: number;
  readonly caughtUpMs: number;
  /**
   * Not one byte came behind `position` before that, and Docker had logged all bytes before it by then: what the log has with
   * a later stamp begins there. Ns since 1970; 0 where that is not known.
   */
  readonly silentNs: bigint;
  /** Bytes before `position` that could not be written and are yet to be reported as lost; at most DROPPED_BYTES_MAX. */
  readonly droppedBytes: number;
}

export interface Recovered {
  readonly state: JournalState;
  /** The stream's last bytes up to `state.position`, as many as the file still has. */
  readonly tail: Buffer;
  /** The file is of another boot of this machine: what reached the disk is not known. */
  readonly isOfThisBoot: boolean;
}

interface Found {
  readonly sequence: bigint;
  readonly state: JournalState;
  readonly sizeBefore: number;
  readonly bootCrc: number;
  readonly bytes: Buffer;
  readonly segment: number;
  readonly end: number;
}

export class Journal {
  readonly #path: string;
  readonly #fd: number;
  readonly #bootCrc = crc32(bootId());
  readonly #header = Buffer.alloc(HEADER_BYTES);
  /** A write to it waits for no disk: then one of a thread's would cost ten times as much. */
  readonly #isInMemory: boolean;
  #sequence = 1n;
  #segment = 0;
  #at = 0;

  /** Opens or makes the file. Fault `host`. */
  constructor(path: string) {
    this.#path = path;
    try {
      putAside(path);
      const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
      this.#fd = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
      this.#isInMemory = MEMORY_FILE_SYSTEMS.includes(statfsSync(path).type);
    } catch (error) {
      throw new Fault('host', `cannot open ${path}: ${systemWords(error)}`, error);
    }
  }

  /**
   * Reads what the file says and looks into `outputFd` (readable) for the append that it announces last.
   * undefined for a file without a record: nothing was ever written, if it `isBlank`. Goes on after the last record.
   */
  recover(outputFd: number | undefined): Recovered | undefined {
    const image = Buffer.alloc(SEGMENT_BYTES * SEGMENTS);
    readFully(this.#fd, image, 0);
    const found = [...recordsOf(image, 0), ...recordsOf(image, 1)].sort((a, b) =>
      a.sequence < b.sequence ? -1 : 1,
    );
    const last = found.at(-1);
    if (last === undefined) return undefined;
    this.#sequence = last.sequence + 1n;
    this.#segment = last.segment;
    this.#at = last.end;
    const done = outputFd === undefined ? last.bytes.length : appended(outputFd, last.sizeBefore, last.bytes);
    const parts: Buffer[] = [last.bytes.subarray(0, done)];
    let start = last.state.position;
    for (const record of found.slice(0, -1).reverse()) {
      if (record.state.position + record.bytes.length !== start) break;
      start = record.state.position;
      parts.unshift(record.bytes);
    }
    return {
      state: { ...last.state, position: last.state.position + done },
      tail: Buffer.concat(parts),
      isOfThisBoot: last.bootCrc === this.#bootCrc,
    };
  }

  /** Whether it is as `reset` leaves it. */
  isBlank(): boolean {
    const image = Buffer.alloc(SEGMENT_BYTES * SEGMENTS);
    return (
      fstatSync(this.#fd).size === image.length &&
      readFully(this.#fd, image, 0) === image.length &&
      image.every((byte) => byte === 0)
    );
  }

  /** Forgets all and takes the blocks. Fault `host` if the disk is full. */
  reset(): void {
    try {
      ftruncateSync(this.#fd, 0);
      writeSync(this.#fd, Buffer.alloc(SEGMENT_BYTES * SEGMENTS), 0, SEGMENT_BYTES * SEGMENTS, 0);
    } catch (error) {
      throw new Fault('host', `cannot write ${this.#path}: ${systemWords(error)}`, error);
    }
    this.#sequence = 1n;
    this.#segment = 0;
    this.#at = 0;
  }

  /** Announces an append of `pieces` (`length` bytes, at most CHUNK_BYTES_MAX) to a file of `sizeBefore` bytes. One write. */
  async announce(
    state: JournalState,
    sizeBefore: number,
    pieces: readonly Buffer[],
    length: number,
  ): Promise<void> {
    if (length > CHUNK_BYTES_MAX) throw new RangeError(`an append of ${length} bytes`);
    if (this.#at + HEADER_BYTES + length > SEGMENT_BYTES) {
      this.#segment = (this.#segment + 1) % SEGMENTS;
      this.#at = 0;
    }
    const header = this.#header;
    header.writeUInt32LE(MAGIC, 0);
    header.writeUInt32LE(length, 4);
    header.writeBigUInt64LE(this.#sequence, 8);
    header.writeBigUInt64LE(BigInt(state.position), 16);
    header.writeBigUInt64LE(BigInt(sizeBefore), 24);
    header.writeBigUInt64LE(state.anchorNs, 32);
    header.writeBigUInt64LE(BigInt(state.anchorAt), 40);
    header.writeDoubleLE(state.receivedMs, 48);
    header.writeDoubleLE(state.caughtUpMs, 56);
    header.writeUInt32LE(this.#bootCrc, 64);
    header.writeUInt32LE(
      pieces.reduce((crc, piece) => crc32(piece, crc), 0),
      68,
    );
    header.writeBigUInt64LE(state.silentNs, 72);
    header.writeUInt32LE(state.droppedBytes, 80);
    header.writeUInt32LE(crc32(header.subarray(0, CRC_AT)), CRC_AT);
    const place = this.#segment * SEGMENT_BYTES + this.#at;
    const record = [header, ...pieces];
    const written = this.#isInMemory
      ? writevSync(this.#fd, record, place)
      : await writevAt(this.#fd, record, place);
    if (written !== HEADER_BYTES + length)
      throw new Fault('host', 'a counter file could not be written whole');
    this.#at += written;
    this.#sequence += 1n;
  }

  /** Safe to call once. */
  close(): void {
    closeSync(this.#fd);
  }
}

function* recordsOf(image: Buffer, segment: number): Generator<Found> {
  const bytes = image.subarray(segment * SEGMENT_BYTES, (segment + 1) * SEGMENT_BYTES);
  let at = 0;
  let before: bigint | undefined;
  while (at + HEADER_BYTES <= bytes.length) {
    const header = bytes.subarray(at, at + HEADER_BYTES);
    if (header.readUInt32LE(0) !== MAGIC) return;
    if (header.readUInt32LE(CRC_AT) !== crc32(header.subarray(0, CRC_AT))) return;
    const length = header.readUInt32LE(4);
    const sequence = header.readBigUInt64LE(8);
    const end = at + HEADER_BYTES + length;
    if (end > bytes.length || (before !== undefined && sequence !== before + 1n)) return;
    const payload = bytes.subarray(at + HEADER_BYTES, end);
    if (crc32(payload) !== header.readUInt32LE(68)) return;
    yield {
      sequence,
      state: {
        position: Number(header.readBigUInt64LE(16)),
        anchorNs: header.readBigUInt64LE(32),
        anchorAt: Number(header.readBigUInt64LE(40)),
        receivedMs: header.readDoubleLE(48),
        caughtUpMs: header.readDoubleLE(56),
        silentNs: header.readBigUInt64LE(72),
        droppedBytes: header.readUInt32LE(80),
      },
      sizeBefore: Number(header.readBigUInt64LE(24)),
      bootCrc: header.readUInt32LE(64),
      bytes: payload,
      segment,
      end,
    };
    before = sequence;
    at = end;
  }
}

/**
 * How many of the announced bytes stand in the file from `sizeBefore` on. Others append to it too (each append is whole
 * and in one place, also theirs); a SIGKILL or a full disk may have cut ours short, at the end of a block.
 */
function appended(fd: number, sizeBefore: number, bytes: Buffer): number {
  const { size } = fstatSync(fd);
  // A file that was cut meanwhile (by whoever rotates it) is looked through from its beginning.
  const from = size < sizeBefore ? 0 : sizeBefore;
  const text = Buffer.alloc(Math.min(size - from, bytes.length + FOREIGN_BYTES_MAX));
  const got = text.subarray(0, readFully(fd, text, from));
  if (bytes.length === 0 || got.length === 0) return 0;
  if (endOfFirst(bytes, got) !== undefined) return bytes.length;
  if (got.length < bytes.length && bytes.subarray(0, got.length).equals(got)) return got.length;
  const begin = bytes.subarray(0, PARTIAL_ALIGN_BYTES / 2);
  const end = endOfFirst(begin, got);
  if (end === undefined) return 0;
  const at = end - begin.length;
  let same = 0;
  while (same < bytes.length && at + same < got.length && bytes[same] === got[at + same]) same += 1;
  // What follows may be another's and agree by chance: ours ended with a block, or with the file.
  return at + same === got.length ? same : Math.max(0, same - ((from + at + same) % PARTIAL_ALIGN_BYTES));
}

/** In linear time: a task may have written to the file what nearly repeats itself. */
function endOfFirst(pattern: Buffer, bytes: Buffer): number | undefined {
  const search = new StreamSearch(pattern);
  search.push(bytes);
  return search.firstEnd;
}

function readFully(fd: number, into: Buffer, from: number): number {
  let got = 0;
  while (got < into.length) {
    const count = readSync(fd, into, got, into.length - got, from + got);
    if (count === 0) break;
    got += count;
  }
  return got;
}

/** writev(2), at a place or (for a file opened to append) at the end. Gives the bytes written, perhaps fewer than asked. */
export function writevAt(fd: number, pieces: readonly Buffer[], at: number | null): Promise<number> {
  return new Promise((resolve, reject) => {
    const [only, second] = pieces;
    const done = (error: Error | null, written: number): void =>
      error === null ? resolve(written) : reject(error);
    if (only !== undefined && second === undefined) write(fd, only, 0, only.length, at, done);
    else if (at === null) writev(fd, pieces, done);
    else writev(fd, pieces, at, done);
  });
}

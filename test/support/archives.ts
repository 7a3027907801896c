// Archives made byte by byte, so that they can also be what no archiver would make: members that name other places,
// links to write through, devices.

import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';

export interface Member {
  readonly name: string;
  /** Default: a file. */
  readonly type?: keyof typeof TAR_TYPES;
  readonly content?: string;
  /** Of a link. */
  readonly target?: string;
  /** Permission bits; 0644 unless told. */
  readonly mode?: number;
}

const BLOCK = 512;
/** The last ones are tar's own: what the next member is, and GNU's directory of a backup and file with holes. */
const TAR_TYPES = {
  ...{ file: '0', hardlink: '1', symlink: '2', device: '3', directory: '5', fifo: '6' },
  ...{ pax: 'x', longName: 'L', longTarget: 'K', dumpedDirectory: 'D', sparse: 'S' },
} as const;
/** Of a file with holes: all that eleven octal digits can say, which is 8 GiB, and none of it is there. */
const HOLE = '77777777777';

/** POSIX ustar. Names of up to 100 bytes. Owned by user and group 1234. */
export function tarOf(members: readonly Member[]): Buffer {
  const blocks = members.flatMap((member) => {
    const content = Buffer.from(member.content ?? '');
    const padding = Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK);
    return [tarHeader(member, content.length), content, padding];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

function tarHeader(member: Member, size: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number) =>
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at);
  header.write(member.name, 0);
  octal(member.mode ?? 0o644, 100, 8);
  octal(1234, 108, 8);
  octal(1234, 116, 8);
  octal(size, 124, 12);
  octal(1_700_000_000, 136, 12);
  header.write(' '.repeat(8), 148);
  header.write(TAR_TYPES[member.type ?? 'file'], 156);
  header.write(member.target ?? '', 157);
  header.write('ustar\x0000', 257);
  // The device with these numbers is /dev/null.
  octal(1, 329, 8);
  octal(3, 337, 8);
  if (member.type === 'sparse') {
    header.write('ustar  \0', 257);
    header.write(`${HOLE}\0${'0'.repeat(11)}\0`, 386);
    header.write(HOLE, 483);
  }
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return header;
}

/** A record of a pax header: what it says goes before what the next member's own says. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  const length = [1, 2, 3].map((digits) => bytes + digits).find((all) => String(all).length === all - bytes);
  return `${length}${rest}`;
}

/** Files and symbolic links, stored as they are; `maker` as zip numbers systems: Unix unless told, DOS is 0. */
export function zipOf(members: readonly Member[], maker = 3): Buffer {
  const local: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const { name, type, content = '', target = '', mode = 0o644 } of members) {
    const isLink = type === 'symlink';
    // A link's content is where it leads.
    const data = Buffer.from(isLink ? target : content);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt32LE(crc32(data), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(data.length, 18);
    common.writeUInt16LE(Buffer.byteLength(name), 22);
    const entry = Buffer.concat([Buffer.from('PK\x03\x04'), common, Buffer.from(name), data]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(((isLink ? 0o120000 : 0o100000) | mode) * 0x10000, 6);
    tail.writeUInt32LE(offset, 10);
    // Made on Unix: the upper half of the attributes is the mode.
    central.push(
      Buffer.concat([
        Buffer.from([...Buffer.from('PK\x01\x02\x14'), maker]),
        common,
        tail,
        Buffer.from(name),
      ]),
    );
    local.push(entry);
    offset += entry.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(members.length, 4);
  end.writeUInt16LE(members.length, 6);
  end.writeUInt32LE(directory.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...local, directory, Buffer.from('PK\x05\x06'), end]);
}

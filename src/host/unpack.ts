// An archive into an empty directory that nobody else writes to, as the sandbox's owner. tar and unzip keep to that
// directory by themselves; an archive that tries to leave it is refused as a whole, so that nothing of it is used.

import { escapeControl, Fault } from '../fault.ts';
import {
  bytesWrittenBy,
  bytesWrittenByItself,
  type ChildEnd,
  endInWords,
  runChild,
  type WriteBound,
} from './child.ts';
import type { Owner } from './owner.ts';
import { CHILD_ENVIRONMENT, findProgram } from './programs.ts';

/** Unpacking that has written nothing for so long hangs: a disk or a file server does. */
const UNPACK_STALL_MS = 60_000;
/** unzip(1), DIAGNOSTICS: 1 is a warning, all has been unpacked. */
const UNZIP_WARNING = 1;
/** What a file takes on most disks beside its content, or instead of it. */
const FILE_COSTS_BYTES = 4096;
/** Lines of tar's that are not the reason. */
const TAR_AFTERTHOUGHT = /Removing leading|Exiting with failure|not recoverable|Child returned/;

export interface UnpackParts {
  readonly cwd: string;
  readonly owner: Owner;
  /** Whether a member of that name would land outside; its archive is refused. */
  readonly leaves: (member: string) => boolean;
  /** See ChildOptions. */
  readonly noteIn: string;
  readonly signal: AbortSignal;
  /** How much it may become on disk; absent: as much as it is. */
  readonly bound?: WriteBound;
}

/**
 * Unpacks `archive` into `directory`, both relative to the working directory. Files belong to the owner, none is setuid,
 * devices are refused. Faults: `refused` with the reason, without the URI; `timeout`; the signal's reason when aborted.
 * Against the bound it is looked how much is written while that goes on, and at its end how much is on disk.
 */
export async function unpack(
  kind: 'tar' | 'zip',
  archive: string,
  directory: string,
  parts: UnpackParts,
): Promise<void> {
  if (kind === 'tar') await untar(archive, directory, parts);
  else await unzip(archive, directory, parts);
  const { bound } = parts;
  if (bound?.isOver(await bytesOnDisk(directory, parts))) throw new Fault('refused', bound.words);
}

async function bytesOnDisk(directory: string, { bound: _, ...parts }: UnpackParts): Promise<number> {
  const end = await run([findProgram('du'), '--summarize', '--block-size=1', '--', directory], parts);
  const bytes = /^\d+/.exec(end.stdout)?.[0];
  if (end.code !== 0 || bytes === undefined) throw failed(linesOf(end.stderr)[0], 'du', end);
  return Number(bytes);
}

async function untar(archive: string, directory: string, parts: UnpackParts): Promise<void> {
  const members = new MemberNames(parts.leaves);
  const end = await run(
    [
      ...[findProgram('tar'), '--extract', '--verbose', '--quoting-style=escape'],
      // A colon in the name means another host to tar.
      ...['--no-same-owner', '--no-same-permissions', '--force-local'],
      ...[`--file=${archive}`, `--directory=${directory}`],
    ],
    parts,
    members,
  );
  members.check();
  if (end.code === 0) return;
  const lines = linesOf(end.stderr);
  const why = lines.find((line) => !TAR_AFTERTHOUGHT.test(line)) ?? lines[0];
  throw failed(why?.replace(/^tar: /, ''), 'tar', end);
}

async function unzip(archive: string, directory: string, parts: UnpackParts): Promise<void> {
  const members = new MemberNames(parts.leaves);
  const { bound: _, ...unbounded } = parts;
  const listed = await run([findProgram('unzip'), '-Z1', archive], unbounded, members);
  members.check();
  if (!wentWell(listed)) throw failed(complaintOf(listed), 'unzip', listed);
  const end = await run(
    [findProgram('unzip'), '-o', archive, '-d', directory],
    parts,
    undefined,
    members.count,
  );
  if (!wentWell(end)) throw failed(complaintOf(end), 'unzip', end);
}

function wentWell({ code }: ChildEnd): boolean {
  return code === 0 || code === UNZIP_WARNING;
}

function complaintOf(end: ChildEnd): string | undefined {
  return linesOf(end.stderr).find((line) => !/^(?:Archive:|\[)/.test(line));
}

async function run(
  argv: readonly string[],
  parts: UnpackParts,
  listing?: MemberNames,
  count = 0,
): Promise<ChildEnd> {
  const { bound } = parts;
  const bytes = (pid: number): number =>
    bytesWrittenByItself(pid) + (listing?.count ?? count) * FILE_COSTS_BYTES;
  const end = await runChild(argv, {
    cwd: parts.cwd,
    env: CHILD_ENVIRONMENT,
    as: parts.owner.confined,
    noteIn: parts.noteIn,
    signal: parts.signal,
    stall: { ms: UNPACK_STALL_MS, bytes: bytesWrittenBy },
    ...(listing === undefined ? {} : { onStdout: (chunk: Buffer) => listing.take(chunk) }),
    ...(bound === undefined ? {} : { most: { bound, bytes } }),
  });
  if (bound !== undefined && (end.how === 'over' || end.signal === 'SIGXFSZ'))
    throw new Fault('refused', bound.words);
  if (end.how === 'ended') return end;
  throw new Fault('timeout', `unpacking made no progress for ${UNPACK_STALL_MS / 1000} s`);
}

function failed(why: string | undefined, program: string, end: ChildEnd): Fault {
  return new Fault('refused', `cannot be unpacked: ${why ?? `${program} ${endInWords(end)}`}`);
}

function linesOf(text: string): string[] {
  return text
    .split('\n')
    .map((line) => escapeControl(line.trim()))
    .filter((line) => line !== '');
}

/** The names of an archive's members, a line each, looked at as they come. */
class MemberNames {
  readonly #leaves: (member: string) => boolean;
  #rest = '';
  #count = 0;
  #outside: string | undefined;

  constructor(leaves: (member: string) => boolean) {
    this.#leaves = leaves;
  }

  take(chunk: Buffer): void {
    // A character cut in two between chunks is none of those that matter.
    const lines = (this.#rest + chunk.toString('latin1')).split('\n');
    this.#rest = lines.pop() ?? '';
    this.#count += lines.length;
    this.#outside ??= lines.find(this.#leaves);
  }

  get count(): number {
    return this.#count;
  }

  /** Throws Fault `refused` where one would leave the directory. */
  check(): void {
    const outside = this.#outside ?? (this.#leaves(this.#rest) ? this.#rest : undefined);
    if (outside === undefined) return;
    const name = escapeControl(Buffer.from(outside, 'latin1').toString());
    throw new Fault('refused', `cannot be unpacked: its member ${name} would leave the directory`);
  }
}

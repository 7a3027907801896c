// Tasks that write all that output can be (writer.c), and what of it must be in the sandbox: every byte of each stream once,
// or, where something was lost and reported, all but that.

import { readFileSync } from 'node:fs';
import { outcomeOf } from './command.ts';
import { compiled } from './compiled.ts';
import { commandTask, type TaskToRun } from './tasks.ts';

export type Manner = 'steady' | 'bursts' | 'open' | 'mixed' | 'silent';
export type WriterStream = 'out' | 'err';

export interface Writing {
  readonly seed: number;
  readonly out: Manner;
  readonly err: Manner;
  /** Bytes a second of each stream; 2,000,000 unless told. */
  readonly rate?: number;
  /** No byte that is not ASCII. */
  readonly text?: true;
}

/** Static: it runs in any image. */
export async function writerProgram(): Promise<string> {
  return await compiled('writer.c', ['-static']);
}

/** A task that writes until its gate is opened (`openGate`), then ends at once. `options`: more of docker run's. */
export function writingTask(
  program: string,
  image: string,
  writing: Writing,
  options: readonly string[] = [],
): TaskToRun {
  const { seed, out, err, rate, text } = writing;
  const words = [
    ...['--seed', seed, '--until', '/tmp/mesos-sandbox/go', '--count', '/tmp/mesos-sandbox'],
    ...['--out', out, '--err', err],
    ...(rate === undefined ? [] : ['--rate', rate]),
    ...(text ? ['--text'] : []),
  ];
  const value = `exec /writer ${words.join(' ')}`;
  return commandTask({ image, options: ['-v', `${program}:/writer:ro`, ...options], value });
}

/** What the ended task has written to a stream. */
export async function writtenTo(
  program: string,
  task: { readonly sandbox: string },
  writing: Writing,
  stream: WriterStream,
): Promise<Buffer> {
  const lines = readFileSync(`${task.sandbox}/fs/${stream}.lines`, 'utf8').trim();
  const text = writing.text ? ['--text'] : [];
  const argv = [
    program,
    '--seed',
    String(writing.seed),
    '--expect',
    stream,
    '--lines',
    lines,
    ...text,
  ] as const;
  const { code, stdout, stderr } = await outcomeOf(argv);
  if (code !== 0) throw new Error(`the writer: ${stderr}`);
  return stdout;
}

/** What is missing: `bytes` of them from `at` on. */
export interface Hole {
  readonly at: number;
  readonly bytes: number;
}

/** So many bytes of the writer's are found at one place only; of what lies between two holes there may be less, which is most likely found once. */
const UNIQUE_BYTES = 24;
const MOSTLY_UNIQUE_BYTES = 8;

/**
 * What `actual` lacks of `expected`. Throws where it has something else, or something twice: that is no hole. The bytes on
 * both sides of a hole may agree by chance, so its edges are not exact to the byte, its length is.
 */
export function holesIn(actual: Buffer, expected: Buffer): readonly Hole[] {
  const holes: Hole[] = [];
  let from = 0;
  let at = 0;
  while (from < actual.length) {
    const same = agreeing(actual, from, expected, at);
    from += same;
    at += same;
    if (from === actual.length) break;
    const next = [UNIQUE_BYTES, MOSTLY_UNIQUE_BYTES]
      .map((length) => expected.indexOf(actual.subarray(from, from + length), at))
      .find((found) => found >= 0);
    if (next === undefined) throw new Error(difference(actual, from, expected, at));
    holes.push({ at, bytes: next - at });
    at = next;
  }
  if (at < expected.length) holes.push({ at, bytes: expected.length - at });
  return holes;
}

function agreeing(a: Buffer, from: number, b: Buffer, at: number): number {
  const most = Math.min(a.length - from, b.length - at);
  let same = 0;
  for (let step = 64 * 1024; step > 0; ) {
    const end = Math.min(same + step, most);
    if (a.compare(b, at + same, at + end, from + same, from + end) === 0) {
      same = end;
      if (same === most) return same;
    } else step = Math.floor(step / 2);
  }
  return same;
}

function difference(actual: Buffer, from: number, expected: Buffer, at: number): string {
  const around = (bytes: Buffer, place: number): string =>
    JSON.stringify(bytes.toString('latin1', Math.max(0, place - 60), place + 60));
  return `byte ${from} of ${actual.length} is not what was written at ${at} of ${expected.length} or later: ${around(actual, from)} for ${around(expected, at)}`;
}

const NOTICE = /deimos: (stdout|stderr): [^\n]+\n/g;

/** What `stderr` of a sandbox has of the task's, and the lines that tell of losses. */
export function noticesApart(stderr: Buffer): { readonly own: Buffer; readonly notices: readonly string[] } {
  const text = stderr.toString('latin1');
  return { own: Buffer.from(text.replaceAll(NOTICE, ''), 'latin1'), notices: text.match(NOTICE) ?? [] };
}

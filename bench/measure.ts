// Whole processes, measured by measure.c: a run each, in turns, so that whatever else the machine does meets all alike.

import { type Argv, output } from '../test/support/command.ts';
import { compiledFile } from '../test/support/compiled.ts';

export interface Sample {
  /** User and system time of the process and its children, milliseconds. */
  readonly cpuMs: number;
  readonly wallMs: number;
  /** When it was started, milliseconds of the monotonic clock. */
  readonly beganMs: number;
}

export interface Subject {
  readonly argv: Argv;
  /** A file for stdin; none: /dev/null. */
  readonly stdin?: string;
  /** A file for stdout; none: /dev/null. */
  readonly stdout?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What it becomes, to sleep in flock(2): ended there. */
  readonly asleepAs?: string;
  /** The exit status that it has to have; 0 unless told. */
  readonly status?: number;
}

const SOURCE = new URL('measure.c', import.meta.url);
const PATIENCE_MS = 300_000;
const OUTPUT = /^(\d+) (\d+) (\d+) (\d+)$/;

export async function measured(subject: Subject): Promise<Sample> {
  const { argv, stdin, stdout, env, asleepAs, status = 0 } = subject;
  const program = await compiledFile(SOURCE);
  const options = [
    ...(stdin === undefined ? [] : ['--stdin', stdin]),
    ...(stdout === undefined ? [] : ['--stdout', stdout]),
    ...(asleepAs === undefined ? [] : ['--asleep', asleepAs]),
  ];
  const said = await output([program, ...options, '--', ...argv], { env: env ?? {}, timeoutMs: PATIENCE_MS });
  const [, began, cpu, wall, code] = OUTPUT.exec(said) ?? [];
  if (Number(code) !== status) throw new Error(`${argv.join(' ')}: status ${code}: ${said}`);
  return { beganMs: Number(began) / 1000, cpuMs: Number(cpu) / 1000, wallMs: Number(wall) / 1000 };
}

/** Rounds of one run each; those of the first rounds, which fill caches, are not given. */
export async function inTurns<Name extends string>(
  rounds: number,
  subjects: Readonly<Record<Name, () => Promise<Sample>>>,
): Promise<Readonly<Record<Name, readonly Sample[]>>> {
  const WARM_UP = 3;
  const names = Object.keys(subjects) as Name[];
  const samples = Object.fromEntries(names.map((name) => [name, [] as Sample[]])) as Record<Name, Sample[]>;
  for (let round = 0; round < rounds + WARM_UP; round++) {
    // Each round begins with another one: nobody always runs behind the same one.
    for (let at = 0; at < names.length; at++) {
      const name = names[(at + round) % names.length];
      if (name === undefined) continue;
      const sample = await subjects[name]();
      if (round >= WARM_UP) samples[name].push(sample);
    }
  }
  return samples;
}

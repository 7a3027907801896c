// A containerizer_path around the binary with which one call of a verb is killed, or refused something, at one of its steps. What the slave has
// sent stays, so that the same call can come again, in the same place, with the same environment and bytes.

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { containerizerScript } from './containerizer-script.ts';
import type { Host } from './host.ts';
import { faultWords, type Step, type StepFault, stepsIn, underSteps } from './steps.ts';

/** After the fault: nothing; the same call again; or the slave is killed, too. */
export type Afterwards = 'stop' | 'again' | 'kill-slave';

export interface CallEnded {
  readonly status: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface SteppedCalls {
  /** For a slave's containerizer. */
  readonly containerizer: string;
  /** The next call of the verb meets that fault; undefined: its steps are only counted. */
  arm(verb: string, fault: StepFault | undefined, afterwards: Afterwards): void;
  /** Whether it has ended. */
  hasEnded(which: 'first' | 'again'): boolean;
  ended(which: 'first' | 'again'): CallEnded;
  steps(): readonly Step[];
}

const LAUNCHED_ALREADY = 'has been launched already';

/** `program` is `stepsProgram()`; `under` are the places whose changes count. */
export function stepCalls(host: Host, program: string, under: readonly string[]): SteppedCalls {
  const { directory, containerizer } = containerizerScript(host, 'stepped', (own) => [
    `d=${own}`,
    `mv $d/armed-$verb $d/taken 2>/dev/null || exec ${host.containerizer} "$@"`,
    'read -r afterwards fault <$d/taken',
    // Exactly one record: stdin stays open.
    'record=/dev/null',
    'case $verb in containers | recover) ;; *)',
    '  record=$d/record',
    '  head -c 4 >$record',
    '  head -c "$(od -An -tu4 $record | tr -d " ")" >>$record',
    'esac',
    `${countedBy(program, under, logIn(own))} $fault -- ${host.containerizer} "$@" <$record >$d/first.out 2>$d/first.err`,
    'status=$?',
    'echo $status >$d/first',
    'name=first',
    'if [ $afterwards = kill-slave ]; then',
    // Ours, or that of the shell that has started us.
    '  slave=$PPID; while [ "$(cat /proc/$slave/comm)" = sh ]; do slave=$(ps -o ppid= -p $slave | tr -d " "); done',
    '  kill -9 $slave',
    'fi',
    'if [ $afterwards = again ] && [ -n "$fault" ]; then',
    `  ${host.containerizer} "$@" <$record >$d/again.out 2>$d/again.err`,
    '  status=$?',
    '  echo $status >$d/again',
    '  name=again',
    // The slave of this test takes that for what it is: the first one has been accepted.
    `  if [ $verb = launch ] && grep -q '${LAUNCHED_ALREADY}' $d/again.err; then status=0; fi`,
    'fi',
    'cat $d/$name.err >&2',
    'cat $d/$name.out',
    'exit $status',
  ]);
  return {
    containerizer,
    arm: (verb, fault, afterwards) => {
      writeFileSync(`${directory}/arming`, `${[afterwards, ...faultWords(fault)].join(' ')}\n`);
      renameSync(`${directory}/arming`, `${directory}/armed-${verb}`);
    },
    hasEnded: (which) => existsSync(`${directory}/${which}`),
    ended: (which) => ({
      status: Number(readFileSync(`${directory}/${which}`, 'utf8')),
      stdout: readFileSync(`${directory}/${which}.out`),
      stderr: readFileSync(`${directory}/${which}.err`, 'utf8'),
    }),
    steps: () => stepsIn(logIn(directory)),
  };
}

const logIn = (directory: string): string => `${directory}/steps`;

/** The words before `--`; those of the fault come from a file. */
const countedBy = (program: string, under: readonly string[], log: string): string =>
  underSteps(program, { under, log }, ['true']).slice(0, -2).join(' ');

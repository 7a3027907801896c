// argv → command → exit status. The only file that looks at the real argv and environment, or ends the process.
//
//   0  done          1  usage        4  a known error: the line on stderr says which
//   8  a bug         16 configuration

import { fstatSync, type Stats } from 'node:fs';
import { errorLine, exitStatus } from './cli/exit-status.ts';
import { fastCall } from './cli/fast.ts';
import { Call, type GlobalOptions } from './commands/call.ts';
import { oneLine } from './fault.ts';
import { keepOutOfCoreDumps } from './host/core-dumps.ts';

declare const DEIMOS_VERSION: string;
declare const DEIMOS_COMMIT: string;

function currentDirectory(): string {
  try {
    return process.cwd();
  } catch {
    // Removed meanwhile: a sandbox that was collected.
    return '.';
  }
}

function home(): string | undefined {
  if (process.env.HOME !== undefined && process.env.HOME !== '') return process.env.HOME;
  // A slave that was started without HOME: our user's own. Loaded here since nearly every call has one.
  const { userInfo } = process.getBuiltinModule('node:os');
  return userInfo().homedir;
}

/** As isatty(3), near enough: of the character devices, /dev/null is none. (node:tty would load all of net and stream.) */
function isTerminal(fd: number): boolean {
  let stat: Stats;
  try {
    stat = fstatSync(fd);
  } catch {
    // Closed: nobody is there to read.
    return false;
  }
  const MAJOR_MEMORY = 1;
  return stat.isCharacterDevice() && stat.rdev >> 8 !== MAJOR_MEMORY;
}

/** Our environment; what is meant for Docker stops here, since Docker's client would look into it behind our back. */
function takeEnvironment(): Readonly<Record<string, string | undefined>> {
  const taken = { ...process.env };
  for (const name of Object.keys(taken)) if (name.startsWith('DOCKER_')) delete process.env[name];
  return taken;
}

/** Replaced in the moment of our start, our own file has its old name no more: the new one has it. */
function executable(): string {
  return process.execPath.replace(/ \(deleted\)$/, '');
}

/** Makes the call of this process. */
function callMaker(): (options: GlobalOptions) => Call {
  const environment = takeEnvironment();
  return (options) =>
    new Call({
      environment,
      executable: executable(),
      version: DEIMOS_VERSION,
      options,
      interactive: isTerminal(2),
      place: { cwd: currentDirectory(), home: home(), uid: process.getuid?.() ?? 0 },
    });
}

function show(argv: readonly string[], error: unknown): void {
  const command = argv.find((word) => /^[a-z]+$/.test(word)) ?? '';
  process.stderr.write(`${errorLine(command, error)}\n`);
}

/** What a command line asks for. */
interface Command {
  readonly call: Call;
  readonly run: () => Promise<number>;
}

/** Runs it, shows and logs what fails, and leaves the exit status with the process. */
async function play(argv: readonly string[], understand: () => Command | Promise<Command>): Promise<void> {
  let call: Call | undefined;
  keepOutOfCoreDumps();
  try {
    const command = await understand();
    call = command.call;
    process.exitCode = await command.run();
  } catch (error) {
    show(argv, error);
    call?.log.error('failed', { command: argv.join(' '), error: oneLine(error) });
    process.exitCode = exitStatus(error);
  } finally {
    await call?.flush();
  }
}

/** One of the calls that a slave makes, to the end of the process; false, and nothing is done, for any other command line. */
export function startCall(): boolean {
  const argv = process.argv.slice(2);
  const fast = fastCall(argv);
  if (fast === undefined) return false;
  const newCall = callMaker();
  void play(argv, () => {
    const call = newCall(fast.options);
    return { call, run: () => fast.run(call) };
    // Nothing that is still open may hold us up: a slave waits for our end, and a supervisor has let go of its lock. Records
    // were written synchronously.
  }).then(() => process.exit());
  return true;
}

/** Any command line, to the end of the process. */
export function start(): void {
  const argv = process.argv.slice(2);
  const newCall = callMaker();
  void play(argv, async () => {
    const { parseCommandLine } = await import('./cli/commands.ts');
    // Whoever reads may have seen enough (`deimos state | head`).
    process.stdout.on('error', () => process.exit());
    const write = (text: string): void => void process.stdout.write(text);
    return parseCommandLine(argv, { version: `${DEIMOS_VERSION} (${DEIMOS_COMMIT})`, newCall, write });
    // As with a call; what was printed for people is let out first.
  }).then(() => process.stdout.write('', () => process.exit()));
}

// The command line as cac understands it: every command, its options, its help. Loaded only where the words are not one of
// the slave's own calls, which main.ts recognizes itself.

import { cac } from 'cac';
import type { Call, GlobalOptions } from '../commands/call.ts';
import { Fault } from '../fault.ts';
import type { LogLevel } from '../host/log.ts';

export interface CliParts {
  readonly version: string;
  readonly newCall: (options: GlobalOptions) => Call;
  readonly write: (text: string) => void;
}

interface Parsed {
  readonly call: Call;
  readonly run: () => Promise<number>;
}

type Options = Readonly<Record<string, unknown>>;

/** What is to be run for these words. Throws Fault `usage` for a command or an option that does not exist. */
export function parseCommandLine(argv: readonly string[], parts: CliParts): Parsed {
  const cli = cac('deimos');
  const { write } = parts;
  cli.option('--config <file>', 'Read this configuration file and no other');
  cli.option('--root <directory>', 'The state root, whatever the configuration says');
  cli.option('-v, --version', 'Print version and commit');
  cli.option('-h, --help', 'Print this, or what a command takes');

  const found: { parsed?: Parsed } = {};
  const command = (
    name: string,
    summary: string,
    options: readonly (readonly [flag: string, summary: string])[],
    run: (call: Call, options: Options, words: readonly string[]) => Promise<number>,
  ): void => {
    const added = cli.command(name, summary);
    for (const [flag, text] of options) added.option(flag, text);
    added.action((...given: unknown[]) => {
      // cac hands over the positional words and, last, the options.
      const last = given.pop();
      const values: Options = typeof last === 'object' && last !== null ? { ...last } : {};
      const call = parts.newCall(globalOptions(values));
      const words = given.filter((word) => typeof word === 'string');
      found.parsed = { call, run: () => run(call, values, words) };
    });
  };

  command(
    'launch',
    'Run the task of the Launch record on stdin',
    [['--no-fork', 'Stay in the foreground, show what happens, exit with the code of the task']],
    async (call, options) =>
      options.fork === false
        ? (await import('../commands/foreground.ts')).foreground(call, write)
        : (await import('../commands/launch.ts')).launch(call),
  );
  command('wait', 'Answer how the container of the Wait record ended, once it has', [], async (call) =>
    (await import('../commands/wait.ts')).wait(call),
  );
  command('usage', 'Answer what the container of the Usage record uses', [], async (call) =>
    (await import('../commands/usage.ts')).usage(call),
  );
  command('update', 'Change the limits of a container', [], async (call) =>
    (await import('../commands/update.ts')).update(call),
  );
  command('destroy', 'End a container; returns when it is gone', [], async (call) =>
    (await import('../commands/destroy.ts')).destroy(call),
  );
  command('containers', 'Answer which containers run', [], async (call) =>
    (await import('../commands/containers.ts')).containers(call),
  );
  command('recover', 'Look after everything again after a restart of the slave', [], async (call) =>
    (await import('../commands/recover.ts')).recover(call),
  );
  command(
    'supervise',
    'Look after the containers of a state root (started by the other commands)',
    [
      ['--stay', 'Do not end when there is nothing to do'],
      ['--syslog <level>', 'Log to syslog from this level on'],
    ],
    async (call, options) =>
      (await import('../commands/supervise.ts')).supervise({
        root: call.configuredRoot(),
        stay: options.stay === true,
        syslog: levelOf(options.syslog) ?? call.lenient().log.syslog,
        executable: call.executable,
        version: call.version,
      }),
  );
  command('config', 'Print the configuration in force', [], async (call) => {
    const { configCommand } = await import('../commands/config.ts');
    const { loadConfig } = await import('../config/load.ts');
    const { root } = call.options;
    return configCommand({
      loaded: loadConfig(call.place),
      ...(root === undefined ? {} : { root }),
      environment: call.environment,
      write,
    });
  });
  command(
    'state [before]',
    'List the states of containers, by the time of their launch; before: only those launched before this ISO time',
    [
      ['--rm', 'Remove those whose container has ended and whose end was delivered'],
      ['--older-than <age>', 'Only those that ended longer ago: 30s, 90m, 24h, 7d'],
    ],
    async (call, options, [before]) =>
      (await import('../commands/state.ts')).state(
        call,
        {
          remove: options.rm === true,
          ...(before === undefined ? {} : { before }),
          ...(options.olderThan === undefined ? {} : { olderThan: String(options.olderThan) }),
        },
        write,
      ),
  );
  command(
    'check',
    'Say what is wrong with this host: a line each, ok, warning, or failure with what to do; exit status 0, 1 or 2',
    [
      ['--json', 'As JSON, an array of objects'],
      ['--look <name>', 'One look alone, as JSON'],
    ],
    async (call, options) => {
      const look = wordOf(options, 'look');
      return (await import('../commands/check.ts')).check(
        call,
        { json: options.json === true, ...(look === undefined ? {} : { look }) },
        write,
      );
    },
  );
  command(
    'ps',
    'List the containers of this host with what they use, those that are over only with --all',
    [
      ['--all', 'Those also whose end their slave knows, and what is no state of this deimos'],
      ['--json', 'As JSON, an array of objects'],
      ['--watch', 'Draw the table again every two seconds'],
    ],
    async (call, { all, json, watch }) =>
      (await import('../commands/ps.ts')).ps(
        call,
        { all: all === true, json: json === true, watch: watch === true },
        write,
      ),
  );
  command(
    'logs <id>',
    'Follow what a task writes, until it has ended; id: of the task, the container or Docker, or the beginning of one',
    [
      ['--no-follow', 'Show what is there and end'],
      ['--tail <lines>', 'Begin with so many last lines of each file'],
      ['--stdout', 'Only stdout'],
      ['--stderr', 'Only stderr'],
    ],
    async (call, options, [id = '']) => {
      const tail = tailOf(wordOf(options, 'tail'));
      const asked = (['stdout', 'stderr'] as const).filter((name) => options[name] === true);
      return (await import('../commands/logs.ts')).logs(call, id, {
        follow: options.follow !== false,
        ...(tail === undefined ? {} : { tail }),
        streams: asked.length === 0 ? ['stdout', 'stderr'] : asked,
      });
    },
  );
  command('locks', 'List every lock file with who holds it and who waits for it', [], async (call) =>
    (await import('../commands/locks.ts')).locks(call, write),
  );
  command(
    'plan [file]',
    'Show what a Launch record or a Marathon app (JSON), in a file or on stdin, would create, as JSON and as docker run; pulls an absent image',
    [],
    async (call, _options, [file]) => (await import('../commands/plan.ts')).plan(call, file, write),
  );

  try {
    // cac takes node and script in front.
    cli.parse(['deimos', 'deimos', ...argv], { run: false });
    const done: Parsed = { call: parts.newCall({}), run: async () => 0 };
    const { matchedCommand, args } = cli;
    (matchedCommand ?? cli.globalCommand).checkUnknownOptions();
    const about =
      args[0] === 'help' && matchedCommand === undefined
        ? cli.commands.find(({ name }) => name === args[1])
        : undefined;
    if (args[0] === 'help' && args.length > 1 && about === undefined) {
      throw new Fault('usage', `no command ${args[1]}; see deimos --help`);
    }
    if (cli.options.help === true || args[0] === 'help') {
      if (args[0] !== 'help' && args[0] !== undefined && matchedCommand === undefined) {
        throw new Fault('usage', `no command ${args[0]}; see deimos --help`);
      }
      (about ?? matchedCommand ?? cli.globalCommand).outputHelp();
      return done;
    }
    if (cli.options.version === true) {
      write(`deimos ${parts.version}\n`);
      return done;
    }
    if (cli.matchedCommand === undefined) {
      const word = cli.args[0];
      throw new Fault(
        'usage',
        word === undefined ? 'no command; see deimos --help' : `no command ${word}; see deimos --help`,
      );
    }
    void cli.runMatchedCommand();
  } catch (error) {
    if (error instanceof Error && error.name === 'CACError') throw new Fault('usage', error.message, error);
    throw error;
  }
  if (found.parsed === undefined) throw new Error('the command was not taken');
  return found.parsed;
}

function globalOptions(options: Options): GlobalOptions {
  const config = wordOf(options, 'config');
  const root = wordOf(options, 'root');
  return { ...(config === undefined ? {} : { config }), ...(root === undefined ? {} : { root }) };
}

/** The one value of an option that takes a word. Throws Fault `usage` where it was given twice or has none. */
function wordOf(options: Options, name: string): string | undefined {
  const value = options[name];
  if (value === undefined) return undefined;
  if (Array.isArray(value)) throw new Fault('usage', `--${name} is given more than once`);
  // cac makes numbers of words that look like one.
  if (typeof value !== 'string' && typeof value !== 'number')
    throw new Fault('usage', `--${name} needs a value`);
  return String(value);
}

/** Throws Fault `usage` for what is no number of lines. */
function tailOf(word: string | undefined): number | undefined {
  if (word === undefined) return undefined;
  if (!/^\d{1,9}$/.test(word)) throw new Fault('usage', `--tail needs a number of lines, not ${word}`);
  return Number(word);
}

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warning', 'error', 'critical'];

/** Throws Fault `usage` for a word that is no level. */
export function levelOf(value: unknown): LogLevel | undefined {
  if (value === undefined) return undefined;
  const level = LEVELS.find((one) => one === String(value).toLowerCase());
  if (level === undefined)
    throw new Fault('usage', `not a log level: ${String(value)} (${LEVELS.join(', ')})`);
  return level;
}

// One of the pictures and examples of docs/, from a true run: `./scripts/demo` as a film, `deimos ps` on a host with tasks, and what
// `deimos check` says of that host while all is well, and when something is wrong with it.

import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { TaskState } from '../src/mesos/messages.ts';
import { outcomeOf, output } from '../test/support/command.ts';
import { signalPid } from '../test/support/proc.ts';
import { onTerminal, type Piece } from '../test/support/pty.ts';
import type { LaunchedTask } from '../test/support/slave.ts';
import { commandTask, type TaskOptions } from '../test/support/tasks.ts';
import { type ExampleHost, IMAGE, PATH, startExampleHost } from './example-host.ts';
import { film, still } from './terminal-svg.ts';

const PROJECT = new URL('..', import.meta.url);
const { PATH: OWN_PATH = PATH, HOME = '/root' } = process.env;
const TERMINAL = { TERM: 'xterm-256color', LANG: 'C.UTF-8', PATH: OWN_PATH, HOME };
const SLAVE_OPTIONS = ['--isolation=external', '--containerizer_path=/usr/local/bin/deimos'];

/** Memory that cannot be taken back, a megabyte at a time, and then little work. */
const holding = (megabytes: number, then = 'while :; do sleep 5; done'): string =>
  `i=0; while [ $i -lt ${megabytes} ]; do eval "x$i=\\$(head -c 1000000 /dev/zero | tr '\\\\0' x)"; i=$((i+1)); done; ${then}`;

const RUNNING: readonly TaskOptions[] = [
  { taskId: 'web.1', value: holding(20, 'while :; do sha1sum /bin/busybox; sleep 0.05; done'), mem: 128 },
  { taskId: 'web.2', value: holding(23, 'while :; do sha1sum /bin/busybox; sleep 0.2; done'), mem: 128 },
  { taskId: 'search.1', value: holding(110, 'while :; do :; done'), cpus: 0.5, mem: 128 },
  { taskId: 'cache.1', value: holding(61), mem: 64 },
  { taskId: 'mail.1', value: 'trap "" TERM; while :; do sleep 1; done', killGraceMs: 60_000 },
];
const OVER: readonly TaskOptions[] = [
  { taskId: 'report.1', value: 'sleep 1' },
  { taskId: 'import.1', value: 'exit 3' },
  { taskId: 'resize.1', value: holding(64), mem: 32 },
  { taskId: 'web.3', image: 'shop/web:1.5', value: 'true' },
];

const MAKERS = { demo, ps, check } as const;

async function demo(): Promise<void> {
  const columns = 118;
  const script = fileURLToPath(new URL('scripts/demo', PROJECT));
  await using terminal = onTerminal([script], { columns, rows: 50 }, TERMINAL);
  const status = await terminal.ended();
  if (status !== 0) throw new Error(`the demo ended with ${status}: ${terminal.drawn()}`);
  write(
    'demo.svg',
    film(terminal.pieces(), {
      label: 'a run of ./scripts/demo: a task is launched, writes, is measured, and fails with status 3',
      ...{ typed: './scripts/demo', columns },
      ...{ silenceMs: 1500, holdMs: 8000 },
    }),
  );
}

async function ps(): Promise<void> {
  await using host = await startExampleHost();
  await using _tasks = await tasksOn(host);
  const columns = 110;
  const pieces = await shown(host, ['deimos', 'ps', '--all'], columns);
  const label = 'deimos ps --all: four tasks run, one is about to end, four are over';
  write('ps.svg', still(pieces, { label, typed: 'deimos ps --all', columns }));
}

async function shown(
  host: ExampleHost,
  argv: readonly [string, ...string[]],
  columns: number,
): Promise<readonly Piece[]> {
  await using terminal = onTerminal(host.on(argv), { columns, rows: 50 }, { ...TERMINAL, PATH });
  await terminal.ended();
  return terminal.pieces();
}

async function tasksOn({ slave }: ExampleHost): Promise<AsyncDisposable> {
  const launch = async (options: TaskOptions) =>
    await slave.launch(commandTask({ image: IMAGE, ...options }));
  const over: LaunchedTask[] = [];
  for (const options of OVER) over.push(await launch(options));
  for (const task of over) await task.gone(60_000);
  const running: LaunchedTask[] = [];
  for (const options of RUNNING) {
    const task = await launch(options);
    await task.reached(TaskState.RUNNING);
    running.push(task);
  }
  // Until they have the memory that they want.
  await pause(15_000);
  const ending = running.at(-1);
  if (ending !== undefined) await slave.killTask(ending);
  await pause(1_000);
  return {
    [Symbol.asyncDispose]: async () => {
      for (const task of running) await slave.destroy(task);
    },
  };
}

/** What is wrong, and how that comes about and passes. */
interface Wrong {
  readonly name: string;
  readonly begin: (host: ExampleHost) => Promise<void>;
  readonly end: (host: ExampleHost) => Promise<void>;
}

const sh = (script: string) => async (): Promise<void> => void (await output(['sh', '-euc', script]));

const WRONG: readonly Wrong[] = [
  {
    name: 'configuration',
    begin: sh("sed -i 's/^stop_timeout: 2$/stop_timeout: soon/' /etc/deimos.cfg"),
    end: sh("sed -i 's/^stop_timeout: soon$/stop_timeout: 2/' /etc/deimos.cfg"),
  },
  {
    name: 'docker',
    begin: async ({ dockerd }) => await dockerd.halt(),
    end: async ({ dockerd }) => await dockerd.start(),
  },
  { name: 'root', begin: sh('chmod 777 /run/deimos'), end: sh('chmod 700 /run/deimos') },
  {
    name: 'supervisor',
    begin: async (host) => void signalPid(host.supervisor(), 'SIGSTOP'),
    end: async (host) => void signalPid(host.supervisor(), 'SIGCONT'),
  },
  {
    name: 'slave',
    begin: async (host) => {
      await host.named('mesos-slave', ['--isolation=posix/cpu,posix/mem', '--work_dir=/var/lib/mesos']);
      await sh('rm /etc/cron.d/deimos')();
    },
    end: async () => {},
  },
];

async function check(): Promise<void> {
  await using host = await startExampleHost();
  await host.named('mesos-slave', SLAVE_OPTIONS);
  await host.named('cron', ['-f']);
  const task = await host.slave.launch(commandTask({ image: IMAGE, value: 'sleep 1000', mem: 64 }));
  await task.reached(TaskState.RUNNING);
  block('good', 'deimos check', await said(host, 'deimos check'));
  const findings = "deimos check | grep -v '^ok'";
  for (const { name, begin, end } of WRONG) {
    await begin(host);
    try {
      block(name, findings, await said(host, findings));
    } finally {
      await end(host);
    }
  }
  await host.slave.killTask(task);
  await task.gone();
}

async function said(host: ExampleHost, command: string): Promise<string> {
  const { stdout, stderr } = await outcomeOf(host.on(['sh', '-c', command]), {
    env: { PATH, LANG: 'C.UTF-8' },
  });
  if (stderr !== '' || stdout.length === 0) throw new Error(`${command}: ${stderr || 'nothing'}`);
  return stdout.toString();
}

function write(name: string, text: string): void {
  writeFileSync(new URL(`docs/${name}`, PROJECT), text);
  console.log(`docs/${name}: ${text.length} bytes`);
}

/** Puts what was said into the page, in the block that has this name. */
function block(name: string, typed: string, text: string): void {
  const page = new URL('docs/check.md', PROJECT);
  const before = readFileSync(page, 'utf8');
  const place = new RegExp(`(<!-- ${name}, by scripts/pictures -->\n+\`\`\`text\n)[\\s\\S]*?(^\`\`\`$)`, 'm');
  if (!place.test(before)) throw new Error(`docs/check.md has no block ${name}`);
  writeFileSync(
    page,
    before.replace(place, (_, begin: string, end: string) => `${begin}# ${typed}\n${text}${end}`),
  );
  console.log(`docs/check.md: ${name}`);
}

const [, , name] = process.argv;
const [, make] = Object.entries(MAKERS).find(([one]) => one === name) ?? [];
if (make === undefined) throw new Error(`no picture ${name} (${Object.keys(MAKERS).join(', ')})`);
await make();

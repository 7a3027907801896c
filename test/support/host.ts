// A host as the integration tests need it: a dockerd with images, a state root with its configuration file, the built
// binary, and slaves on it. At the end everything is looked for that a host must be free of when its tasks have ended.

import { existsSync, readdirSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type Argv, type Outcome, outcomeOf } from './command.ts';
import { type Dockerd, startDockerd } from './dockerd.ts';
import { makeImages } from './images.ts';
import { allPids, argvOf, killAll, signalPid } from './proc.ts';
import { type FoundProcess, processesOf } from './processes.ts';
import { forgetRoots } from './roots.ts';
import { type SlaveOptions, StandInSlave } from './slave.ts';
import { type TempDirectory, tempDirectory } from './temp.ts';
import { until } from './until.ts';

export const BINARY = fileURLToPath(new URL('../../dist/deimos', import.meta.url));

const CALLS_END_MS = 10_000;

export interface Host extends AsyncDisposable {
  readonly dockerd: Dockerd;
  readonly directory: TempDirectory;
  readonly root: string;
  readonly configFile: string;
  /** `dist/deimos --config FILE`, as a containerizer_path. */
  readonly containerizer: string;
  readonly binary: string;
  /** Runs a command of deimos to its end, as a person would; with nothing but `env` in its environment if that is given. */
  deimos(
    args: readonly string[],
    input?: Uint8Array,
    env?: Readonly<Record<string, string>>,
  ): Promise<Outcome>;
  /** A slave that uses this host's deimos; ended with the host. */
  slave(options?: Partial<SlaveOptions>): Promise<StandInSlave>;
  /** Every process of this host's deimos: the binary's own and the flocks that stand for a wait. */
  processes(): readonly FoundProcess[];
  /** The pid of the supervisor, if one lives. */
  supervisor(): number | undefined;
  killSupervisor(): Promise<void>;
  /** SIGKILL to it, if one lives, without waiting for anything. */
  killSupervisorNow(): void;
  /** Writes the configuration anew; `[docker] host` (or what `docker` says in its place) and `[state] root` are added. */
  configure(text: string, docker?: string): Promise<void>;
  /** Waits until no container of Docker's is left, and says what else is left over: nothing, if all is well. */
  leftovers(): Promise<readonly string[]>;
}

export interface HostOptions {
  /** Configuration beside [docker] host and [state] root. */
  readonly configuration?: string;
  readonly dockerd?: Dockerd;
  /** Slaves and deimos run in dockerd's network namespace, where its TCP addresses are. */
  readonly inNetns?: boolean;
  /** Unless told dist/deimos: a copy, for whoever must not share its pages with the hosts of other files. */
  readonly binary?: string;
  /** false: they have been made in this dockerd. */
  readonly images?: false;
  /** The state root; unless told, in the host's own directory. */
  readonly root?: string;
}

export async function startHost(options: HostOptions = {}): Promise<Host> {
  if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: run ./scripts/build`);
  const binary = options.binary ?? BINARY;
  const directory = await tempDirectory('host-');
  const dockerd = options.dockerd ?? (await startDockerd());
  if (options.images !== false) await makeImages(dockerd);
  const root = options.root ?? directory.at('state');
  const configFile = directory.at('deimos.cfg');
  const wrap = (argv: Argv): Argv => (options.inNetns ? dockerd.inNetns(argv) : argv);
  const slaves: StandInSlave[] = [];
  const made = { slaves: 0 };
  const ours = (): readonly FoundProcess[] =>
    processesOf(binary).filter(({ argv }) =>
      argv.some((word) => word.includes(directory.path) || word.includes(root)),
    );
  // By its root alone: the `recover` of another build on this machine may have started it.
  const supervisor = (): number | undefined =>
    allPids().find((pid) => {
      const argv = argvOf(pid);
      // Neither setsid, which starts it, nor what counts its steps.
      return argv?.[1] === 'supervise' && argv.includes('--root') && argv.includes(root);
    });

  const host: Host = {
    dockerd,
    directory,
    root,
    configFile,
    containerizer: `${binary} --config ${configFile}`,
    binary,
    deimos: async (args, input, env) =>
      await outcomeOf(wrap([binary, '--config', configFile, ...args]), {
        ...(input === undefined ? {} : { input }),
        // nsenter is looked up in PATH.
        ...(env === undefined ? {} : { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...env } }),
      }),
    slave: async (more = {}) => {
      // Counted before anything is waited for: several may be started at once.
      made.slaves += 1;
      const workDirectory = directory.at(`work-${made.slaves}`);
      await mkdir(workDirectory, { recursive: true });
      const slave = await StandInSlave.start({
        containerizer: host.containerizer,
        workDirectory,
        wrap,
        ...more,
      });
      slaves.push(slave);
      return slave;
    },
    processes: ours,
    supervisor,
    killSupervisor: async () => {
      const pid = supervisor();
      if (pid === undefined) throw new Error('no supervisor');
      signalPid(pid, 'SIGKILL');
      await until('the supervisor is dead', () => supervisor() !== pid);
    },
    killSupervisorNow: () => {
      const pid = supervisor();
      if (pid !== undefined) signalPid(pid, 'SIGKILL');
    },
    configure: async (text, docker = `host: ${dockerd.host}`) => {
      await writeFile(configFile, `[docker]\n${docker}\n[state]\nroot: ${root}\n${text}\n`);
      await chmod(configFile, 0o600);
    },
    leftovers: async () => {
      await until('containers removed', async () => (await dockerd.run(['ps', '-aq'])) === '', {
        timeoutMs: 15_000,
      });
      const left: string[] = [];
      const calls = () => ours().filter(({ argv }) => !argv.includes('supervise'));
      // A wait whose slave is dead wakes as well, one behind the other, and ends by itself.
      await until('calls ended', () => calls().length === 0, { timeoutMs: CALLS_END_MS }).catch(() => {});
      for (const { argv } of calls()) left.push(`process: ${argv.join(' ')}`);
      for (const id of existsSync(`${root}/mesos`) ? readdirSync(`${root}/mesos`) : []) {
        // An executor task has none: its own executor reports.
        const updates = `${root}/mesos/${id}/updates`;
        // What a disk that became read-only has kept of a try is none.
        const kept = existsSync(updates) ? readdirSync(updates) : [];
        for (const name of kept.filter((one) => !one.endsWith('.tmp')))
          left.push(`update not acknowledged: ${id}/${name}`);
      }
      const locks = await host.deimos(['locks']);
      for (const line of locks.stdout.toString().split('\n')) {
        if (line !== '' && !line.includes('\tfree\t') && !/\/supervisor\/(lock|start)$/.test(line))
          left.push(`lock: ${line}`);
      }
      return left;
    },
    [Symbol.asyncDispose]: async () => {
      for (const slave of slaves) await slave[Symbol.asyncDispose]();
      await killAll(ours().map(({ pid }) => pid));
      if (options.dockerd === undefined) await dockerd.stop();
      forgetRoots(directory.path);
      await directory[Symbol.asyncDispose]();
    },
  };
  await host.configure(options.configuration ?? '');
  return host;
}

/** A file of the sandbox; '' where it is not there. */
export async function sandboxFile(task: { readonly sandbox: string }, name: string): Promise<string> {
  try {
    return await readFile(`${task.sandbox}/${name}`, 'utf8');
  } catch {
    return '';
  }
}

// A real dockerd of the tests' own: data root, exec root, socket, cgroup parent, and a network and a mount namespace
// that nobody else has, so that bridges, published ports and iptables rules work and nothing of the machine is touched.
// Any number may run side by side. Everything it leaves (containers, shims, mounts, cgroups, directories) goes with stop().
//
// The machine sees the containers' processes and cgroups as with any dockerd, and bind mounts of host paths work.
// It does not see their network: published ports, `--network host` and bridge addresses live in dockerd's namespace.
// Reach them with inNetns(['curl', …]). Not `ip netns exec`: that remounts /sys and hides the cgroups of version 1.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Argv, type CommandOptions, type Outcome, outcomeOf, output } from './command.ts';
import type { Certificates } from './docker-certificates.ts';
import { DIRECTORY_PREFIX, leaveNote, leftovers, removeCgroups, sweepAborted } from './dockerd-leftovers.ts';
import { argvOf, killAll } from './proc.ts';
import { tempDirectory } from './temp.ts';
import { ensureTools } from './tools.ts';
import { until } from './until.ts';

/** Debian's own client, also where a newer one comes first in PATH: the tests then say the same everywhere. */
export const DOCKER_CLI = '/usr/bin/docker';

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 15_000;

/** Nobody else listens in its namespace. */
const TCP = { v4: 'tcp://127.0.0.1:2376', v6: 'tcp://[::1]:2376' } as const;

export interface DockerdOptions {
  /** Containers live on while dockerd is away. */
  readonly liveRestore?: boolean;
  /** `systemd` needs a machine that runs systemd. */
  readonly cgroupDriver?: 'cgroupfs' | 'systemd';
  /** It also listens on TCP in its own network namespace, with TLS, and asks clients for a certificate of that CA. */
  readonly tls?: Pick<Certificates, 'ca' | 'server'>;
  /** More of dockerd's own options. */
  readonly arguments?: readonly string[];
}

export interface Dockerd extends AsyncDisposable {
  readonly socket: string;
  /** For DOCKER_HOST or `-H`. */
  readonly host: string;
  /** Where it listens with TLS, reached from its network namespace only; undefined unless asked for. */
  readonly tcp: { readonly v4: string; readonly v6: string } | undefined;
  /** The path of the network namespace (`nsenter --net=<netns>`). */
  readonly netns: string;
  readonly dataRoot: string;
  /** What dockerd and containerd wrote. */
  readonly logFile: string;
  /** Below it lie the containers' cgroups, in each hierarchy. */
  readonly cgroupParent: string;
  /** undefined while it is not running. */
  pid(): number | undefined;
  /** The docker CLI against this dockerd: stdout without the last line end; rejects when it fails. */
  run(args: readonly string[], options?: CommandOptions): Promise<string>;
  /** The same, any exit status being an answer. */
  outcome(args: readonly string[], options?: CommandOptions): Promise<Outcome>;
  /** `argv` so that it runs in the containers' network. */
  inNetns(argv: Argv): Argv;
  /** Starts it again after `kill` or `halt`; does nothing while it runs. */
  start(): Promise<void>;
  /** SIGKILL to dockerd (its containerd dies with it; the shims and containers live on). */
  kill(): Promise<void>;
  /** SIGTERM to dockerd, and waits for its end. With liveRestore the containers live on. */
  halt(): Promise<void>;
  /** `halt`, then `start`. */
  restart(): Promise<void>;
  /** SIGSTOP: it takes connections and answers nothing. */
  freeze(): void;
  /** SIGCONT. */
  thaw(): void;
  /** Ends it and everything that it started, and removes all that it left. Safe to call twice. */
  stop(): Promise<void>;
}

/** Starts one; about half a second. Rejects with the end of dockerd's log if it does not come up. */
export async function startDockerd(options: DockerdOptions = {}): Promise<Dockerd> {
  await ensureTools();
  sweepAborted();
  const directory = await tempDirectory(DIRECTORY_PREFIX);
  const name = `deimos-test-${randomBytes(6).toString('hex')}`;
  const cgroupfs = options.cgroupDriver !== 'systemd';
  const files = {
    socket: directory.at('s'),
    dataRoot: directory.at('d'),
    execRoot: directory.at('x'),
    pidFile: directory.at('p'),
    config: directory.at('c'),
    configFile: directory.at('daemon.json'),
    logFile: directory.at('log'),
  };
  await mkdir(files.config, { mode: 0o700 });
  await writeFile(files.configFile, '{}');
  leaveNote(directory.path, name);
  const holder = await startHolder();
  const held = { daemon: undefined as ChildProcess | undefined, stopped: false };
  const containerdPidFile = join(files.execRoot, 'containerd/containerd.pid');
  const containerdConfig = join(files.execRoot, 'containerd/containerd.toml');
  const netns = `/proc/${holder.pid}/ns/net`;
  const host = `unix://${files.socket}`;

  const daemonArgv = [
    ...['--net', '--mount', '--target', String(holder.pid), '--', '/usr/sbin/dockerd'],
    ...[
      '--host',
      host,
      '--data-root',
      files.dataRoot,
      '--exec-root',
      files.execRoot,
      '--pidfile',
      files.pidFile,
    ],
    // Not the machine's own /etc/docker/daemon.json.
    ...['--config-file', files.configFile],
    ...(cgroupfs ? ['--cgroup-parent', `/${name}`, '--exec-opt', 'native.cgroupdriver=cgroupfs'] : []),
    ...(cgroupfs ? [] : ['--exec-opt', 'native.cgroupdriver=systemd']),
    ...tlsArguments(options.tls),
    ...(options.liveRestore ? ['--live-restore'] : []),
    ...(options.arguments ?? []),
  ];

  const outcome = (args: readonly string[], more: CommandOptions = {}) =>
    outcomeOf([DOCKER_CLI, '--config', files.config, '-H', host, ...args], more);
  const run = (args: readonly string[], more: CommandOptions = {}) =>
    output([DOCKER_CLI, '--config', files.config, '-H', host, ...args], more);
  const pid = () => (running(held.daemon) ? held.daemon?.pid : undefined);

  const start = async () => {
    if (pid() !== undefined) return;
    // After a SIGKILL these name pids that may be somebody else's, or a zombie that init has not reaped: dockerd
    // would refuse to start, or take the dead containerd for a running one.
    rmSync(files.pidFile, { force: true });
    rmSync(containerdPidFile, { force: true });
    held.daemon = spawnUnderUs(['nsenter', ...daemonArgv], 'TERM', files.logFile);
    const daemon = held.daemon;
    try {
      await until(
        'dockerd answers',
        async () => {
          if (!running(daemon)) throw new Error('dockerd ended');
          return existsSync(files.socket) && (await outcome(['version'])).code === 0;
        },
        { timeoutMs: START_TIMEOUT_MS },
      );
    } catch (error) {
      throw new Error(`dockerd did not start; its log ends:\n${tail(files.logFile, 30)}`, { cause: error });
    }
  };
  const end = async (signal: NodeJS.Signals) => {
    const daemon = held.daemon;
    if (daemon === undefined || !running(daemon)) return;
    daemon.kill('SIGCONT');
    daemon.kill(signal);
    await until('dockerd gone', () => !running(daemon), { timeoutMs: STOP_TIMEOUT_MS });
    // The kernel kills it when dockerd dies, but that takes a moment.
    const containerd = existsSync(containerdPidFile) ? Number(readFileSync(containerdPidFile, 'utf8')) : 0;
    if (containerd > 1) {
      await until('containerd gone', () => !argvOf(containerd)?.includes(containerdConfig), {
        timeoutMs: STOP_TIMEOUT_MS,
      });
    }
  };
  const halt = () => end('SIGTERM');
  const stop = async () => {
    if (held.stopped) return;
    held.stopped = true;
    held.daemon?.kill('SIGCONT');
    // Without this dockerd would give each container ten seconds to obey SIGTERM.
    if (pid() !== undefined) await removeContainers(outcome);
    try {
      await halt();
    } catch {
      await end('SIGKILL');
    }
    await killAll(leftovers(files.execRoot, cgroupfs ? name : undefined));
    holder.kill('SIGKILL');
    await until('the namespaces are free', () => !running(holder));
    if (cgroupfs) removeCgroups(name);
    await directory.remove();
  };

  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    socket: files.socket,
    host,
    tcp: options.tls === undefined ? undefined : TCP,
    netns,
    dataRoot: files.dataRoot,
    logFile: files.logFile,
    cgroupParent: cgroupfs ? `/${name}` : '',
    pid,
    run,
    outcome,
    inNetns: (argv) => ['nsenter', `--net=${netns}`, '--', ...argv],
    start,
    kill: () => end('SIGKILL'),
    halt,
    restart: async () => {
      await halt();
      await start();
    },
    freeze: () => void held.daemon?.kill('SIGSTOP'),
    thaw: () => void held.daemon?.kill('SIGCONT'),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function tlsArguments(tls: DockerdOptions['tls']): readonly string[] {
  if (tls === undefined) return [];
  const files = ['--tlscacert', tls.ca, '--tlscert', tls.server.cert, '--tlskey', tls.server.key];
  return ['--host', TCP.v4, '--host', TCP.v6, '--tlsverify', ...files];
}

/** A process that does nothing but keep the namespaces, also while dockerd is away. */
async function startHolder(): Promise<ChildProcess & { readonly pid: number }> {
  const argv = ['unshare', '--net', '--mount', '--propagation', 'slave', '--', 'sh', '-c'];
  const child = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', '--', ...argv, 'ip link set lo up && echo up && exec sleep infinity'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    },
  );
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => reject(new Error('no network namespace could be made (unshare --net failed)')));
    child.stdout?.once('data', () => resolve());
  });
  child.stdout?.destroy();
  child.removeAllListeners('exit');
  child.unref();
  const { pid } = child;
  if (pid === undefined) throw new Error('the holder of the namespaces has no pid');
  return Object.assign(child, { pid });
}

/** Starts a program that gets `deathSignal` when this process dies, however it dies, so that an aborted test leaves nothing. */
export function spawnUnderUs(argv: Argv, deathSignal: 'TERM' | 'KILL', logFile: string): ChildProcess {
  const log = openSync(logFile, 'a');
  try {
    return spawn('setpriv', ['--pdeathsig', deathSignal, '--', ...argv], {
      stdio: ['ignore', log, log],
      detached: true,
      cwd: '/',
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/' },
    });
  } finally {
    closeSync(log);
  }
}

/** Whether a child of ours has neither exited nor been killed. */
export function running(child: ChildProcess | undefined): boolean {
  return (
    child !== undefined && child.pid !== undefined && child.exitCode === null && child.signalCode === null
  );
}

/** The last lines of a file, for an error message. */
export function tail(file: string, lines: number): string {
  if (!existsSync(file)) return '(nothing)';
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
}

async function removeContainers(outcome: Dockerd['outcome']): Promise<void> {
  try {
    const list = await outcome(['ps', '--all', '--quiet', '--no-trunc'], { timeoutMs: STOP_TIMEOUT_MS });
    const ids = list.stdout
      .toString()
      .split('\n')
      .filter((id) => id !== '');
    if (ids.length > 0)
      await outcome(['rm', '--force', '--volumes', ...ids], { timeoutMs: STOP_TIMEOUT_MS * 2 });
  } catch {
    // A dockerd that hangs: what it started is found through its cgroups and shims.
  }
}

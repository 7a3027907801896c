// A host to be shown: Deimos installed as its package installs it, a Docker engine, syslog, and the stand-in slave, all in mount
// namespaces of their own. Nothing outside of them is changed, and nothing is left.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Argv, output } from '../test/support/command.ts';
import { type Dockerd, startDockerd } from '../test/support/dockerd.ts';
import { busyboxTar, importTar } from '../test/support/images.ts';
import { allPids, argvOf, killAll } from '../test/support/proc.ts';
import { StandInSlave } from '../test/support/slave.ts';
import { startSyslog } from '../test/support/syslog.ts';

export const IMAGE = 'shop/web:1.4';
export const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const DEIMOS = '/usr/local/bin/deimos';
const PROJECT = fileURLToPath(new URL('..', import.meta.url));
/** In the mounts of `scripts/pictures`, where all that is below goes with the last process. */
const SLAVE_WORK = '/run/mesos';
const NAMES = '/run/names';

/** What the package brings, and the options that it sets. /etc and /usr/local/bin are covered by copies. */
const INSTALL = `
mkdir /run/etc
cp -a /etc/. /run/etc/
mount --bind /run/etc /etc
rm -rf /etc/docker /etc/cron.d/deimos /etc/mesos-slave
mkdir -p /etc/mesos-slave /etc/cron.d
echo ${DEIMOS} >/etc/mesos-slave/containerizer_path
echo external >/etc/mesos-slave/isolation
sed 's|^root: /tmp/deimos$|root: /run/deimos|' "$1/example.cfg" >/etc/deimos.cfg
cp "$1/debian/deimos.cron.d" /etc/cron.d/deimos
mount -t tmpfs -o mode=0755 deimos-pictures /usr/local/bin
: >${DEIMOS}
mount --bind "$1/dist/deimos" ${DEIMOS}
`;

/** Nobody writes to it: whoever reads it waits, without a process of its own for that. */
const NAMED = `#!/bin/sh\nread -r _ <>${NAMES}/never\n`;

export interface ExampleHost extends AsyncDisposable {
  readonly dockerd: Dockerd;
  readonly slave: StandInSlave;
  /** The pid of the supervisor, which has to live. */
  supervisor(): number;
  /** `argv` so that it runs on this host. */
  on(argv: Argv): Argv;
  /** A process with that name, and these arguments behind it; in place of the one of that name before. */
  named(name: string, args: readonly string[]): Promise<void>;
}

/** Needs `scripts/pictures` around it. */
export async function startExampleHost(): Promise<ExampleHost> {
  if (!/^deimos-pictures \/run /m.test(readFileSync('/proc/self/mounts', 'utf8')))
    throw new Error('this is for scripts/pictures to start');
  await output(['sh', '-euc', INSTALL, 'sh', PROJECT]);
  for (const directory of [SLAVE_WORK, NAMES]) mkdirSync(directory, { mode: 0o711 });
  await output(['mkfifo', `${NAMES}/never`]);

  await using stack = new AsyncDisposableStack();
  const dockerd = stack.use(await startDockerd({ liveRestore: true }));
  symlinkSync(dockerd.socket, '/run/docker.sock');
  await importTar(dockerd, await busyboxTar(), IMAGE);
  const syslog = stack.use(await startSyslog());
  // What Deimos has started has no other descriptor or parent by which it could be told from that of another host.
  const namespace = await output(syslog.wrap(['readlink', '/proc/self/ns/mnt']));
  stack.defer(async () => await killAll(allPids().filter((pid) => namespaceOf(pid) === namespace)));
  const processes = new Map<string, ChildProcess>();
  const end = async (name: string): Promise<void> => {
    const { pid } = processes.get(name) ?? {};
    if (pid !== undefined) await killAll([pid]);
    processes.delete(name);
  };
  stack.defer(async () => {
    for (const name of [...processes.keys()]) await end(name);
  });
  const slave = stack.use(
    await StandInSlave.start({
      containerizer: DEIMOS,
      workDirectory: SLAVE_WORK,
      wrap: syslog.wrap,
      version: '0.28.3',
    }),
  );
  const all = stack.move();
  return {
    dockerd,
    slave,
    supervisor: () => {
      const found = allPids().find(
        (pid) => namespaceOf(pid) === namespace && argvOf(pid)?.[1] === 'supervise',
      );
      if (found === undefined) throw new Error('no supervisor lives');
      return found;
    },
    on: (argv) => syslog.wrap(argv),
    named: async (name, args) => {
      await end(name);
      const file = `${NAMES}/${name}`;
      // Its name is that of the script, not of the shell that reads it.
      writeFileSync(file, NAMED, { mode: 0o755 });
      processes.set(
        name,
        spawn('setpriv', ['--pdeathsig', 'KILL', '--', file, ...args], { stdio: 'ignore' }),
      );
    },
    [Symbol.asyncDispose]: async () => await all.disposeAsync(),
  };
}

function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch (error) {
    // It has ended.
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}

// Shows a task's life: plays the Mesos slave against the built binary and a real Docker engine, and tells what is seen
// at each end: status updates, output in the sandbox, usage, what Docker was asked for, how it ended.

import { existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { decode } from '../src/mesos/codec.ts';
import { ResourceStatistics } from '../src/mesos/messages.ts';
import { outcomeOf } from '../test/support/command.ts';
import { startDockerd } from '../test/support/dockerd.ts';
import { busyboxTar } from '../test/support/images.ts';
import { killAll } from '../test/support/proc.ts';
import { processesOf } from '../test/support/processes.ts';
import { forgetRoots } from '../test/support/roots.ts';
import { type LaunchedTask, StandInSlave } from '../test/support/slave.ts';
import { commandTask } from '../test/support/tasks.ts';
import { tempDirectory } from '../test/support/temp.ts';

const BINARY = fileURLToPath(new URL('../dist/deimos', import.meta.url));
const HOST_SOCKET = '/var/run/docker.sock';
const IMAGE = 'deimos-demo:latest';
const STATES: Readonly<Record<number, string>> = {
  0: 'STARTING',
  1: 'RUNNING',
  2: 'FINISHED',
  3: 'FAILED',
  4: 'KILLED',
  5: 'LOST',
};
const COMMAND = [
  'echo "hello from $TASK_INFO, my ports are $PORTS"',
  'for i in 1 2 3 4; do echo "working, step $i"; head -c 3000000 /dev/zero | sha1sum >/dev/null; sleep 1; done',
  'echo "something went wrong on purpose" >&2',
  'exit 3',
].join('\n');

const bold =
  process.stdout.isTTY === true ? (text: string) => `\u001b[1m${text}\u001b[0m` : (text: string) => text;

function say(who: string, text: string): void {
  console.log(`${bold(who.padEnd(9))} ${text}`);
}

interface Engine extends AsyncDisposable {
  readonly host: string;
  readonly docker: (args: readonly string[], input?: Uint8Array) => Promise<string>;
}

/** The machine's own engine if one serves, else one of ours. */
async function engine(): Promise<Engine> {
  const over = (host: string): Engine['docker'] => {
    return async (args, input) => {
      const done = await outcomeOf(['docker', '--host', host, ...args], input === undefined ? {} : { input });
      if (done.code !== 0) throw new Error(`docker ${args.join(' ')}: ${done.stderr.trim()}`);
      return done.stdout.toString().trim();
    };
  };
  const own = `unix://${HOST_SOCKET}`;
  if (existsSync(HOST_SOCKET) && (await outcomeOf(['docker', '--host', own, 'version'])).code === 0) {
    say('docker', `the engine of this machine serves at ${own}`);
    return { host: own, docker: over(own), [Symbol.asyncDispose]: async () => {} };
  }
  const dockerd = await startDockerd();
  say('docker', `none serves here: started one at ${dockerd.host}, for this demo only`);
  return {
    host: dockerd.host,
    docker: over(dockerd.host),
    [Symbol.asyncDispose]: async () => await dockerd.stop(),
  };
}

async function demo(): Promise<void> {
  await using docker = await engine();
  await docker.docker(['import', '--change', 'EXPOSE 8080 9090', '-', IMAGE], await busyboxTar());
  await using directory = await tempDirectory('demo-');
  const config = directory.at('deimos.cfg');
  const root = directory.at('state');
  await writeFile(config, `[docker]\nhost: ${docker.host}\n[state]\nroot: ${root}\n`, { mode: 0o600 });
  await mkdir(directory.at('work'));
  const slave = await StandInSlave.start({
    containerizer: `${BINARY} --config ${config}`,
    workDirectory: directory.at('work'),
    version: '0.28.3',
  });
  try {
    say('slave', `a stand-in for Mesos 0.28.3 is up as ${slave.upid}; it has called recover and containers`);
    const task = await slave.launch(
      commandTask({
        taskId: 'demo',
        name: 'demo',
        value: COMMAND,
        image: IMAGE,
        options: ['--label', 'shown=yes'],
        cpus: 0.5,
        mem: 64,
        ports: [[31000, 31001]],
        env: { GREETING: 'hello' },
      }),
    );
    await follow(slave, task, docker);
    const termination = await task.gone();
    say('wait', `answered: status ${termination?.status} (exit code << 8), "${termination?.message}"`);
    say('sandbox', `stderr: ${JSON.stringify(readFileSync(`${task.sandbox}/stderr`, 'utf8'))}`);
    for (const violation of slave.violations) say('slave', `NOT AS A SLAVE EXPECTS: ${violation}`);
    if (slave.violations.length > 0 || task.updates().at(-1)?.state !== 3) process.exitCode = 1;
  } finally {
    await slave[Symbol.asyncDispose]();
    const ours = processesOf(BINARY).filter(({ argv }) => argv.some((word) => word.includes(directory.path)));
    await killAll(ours.map(({ pid }) => pid));
    await docker.docker(['rmi', IMAGE]).catch(() => {});
    forgetRoots(directory.path);
  }
  say('demo', 'done; nothing of it is left on this machine');
}

/** Tells what happens until the task has ended. */
async function follow(slave: StandInSlave, task: LaunchedTask, docker: Engine): Promise<void> {
  say('slave', `deimos launch: container ${task.containerId}`);
  let told = 0;
  let shown = 0;
  let looked = 0;
  for (let ended = false; !ended; await pause(100)) {
    for (const { state, message } of task.updates().slice(told)) {
      say('update', `TASK_${STATES[state] ?? state}: ${message}`);
      told += 1;
      if (state === 1) await tellDocker(task, docker);
      ended ||= state >= 2;
    }
    const path = `${task.sandbox}/stdout`;
    const output = existsSync(path) ? readFileSync(path, 'utf8') : '';
    for (const line of output
      .slice(shown)
      .split('\n')
      .filter((one) => one !== ''))
      say('stdout', line);
    shown = output.length;
    if (told > 0 && !ended && Date.now() - looked > 1000) {
      looked = Date.now();
      await tellUsage(slave, task);
    }
  }
}

async function tellDocker(task: LaunchedTask, docker: Engine): Promise<void> {
  const format =
    'shares={{.HostConfig.CpuShares}} memory={{.HostConfig.Memory}} ports={{json .HostConfig.PortBindings}}';
  say('docker', await docker.docker(['inspect', '--format', format, `deimos-${task.containerId}`]));
}

async function tellUsage(slave: StandInSlave, task: LaunchedTask): Promise<void> {
  const record = await slave.usage(task);
  if (record === undefined) return;
  const used = decode(ResourceStatistics, record);
  const mb = (bytes: number | undefined): string => `${((bytes ?? 0) / 1024 / 1024).toFixed(1)} MB`;
  const cpu = (used.cpus_user_time_secs ?? 0) + (used.cpus_system_time_secs ?? 0);
  say(
    'usage',
    `${cpu.toFixed(2)} s of CPU (limit ${used.cpus_limit} CPUs), ${mb(used.mem_total_bytes)} of ${mb(used.mem_limit_bytes)}`,
  );
}

await demo();

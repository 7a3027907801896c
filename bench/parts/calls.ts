// What a call of the slave's costs, as a whole process, beside a program that does nothing on the same runtime.

import { writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { encode } from '../../src/mesos/codec.ts';
import { TaskState, Update } from '../../src/mesos/messages.ts';
import type { Host } from '../../test/support/host.ts';
import { IMAGES } from '../../test/support/images.ts';
import { containerRecord, framed, launchRecord } from '../../test/support/installation.ts';
import type { LaunchedTask, StandInSlave } from '../../test/support/slave.ts';
import { commandTask } from '../../test/support/tasks.ts';
import { figure, spread } from '../figures.ts';
import { inTurns, measured, type Sample } from '../measure.ts';
import { EMPTY, type Findings, PATH, type Row, ratioRow, type Say, stage } from '../stage.ts';

const ROUNDS = 60;
const LAUNCH_ROUNDS = 30;
/** Until a container that was destroyed has been cleaned up after. */
const CALM_MS = 300;
const MARKS = { usage: 1.15, launch: 1.25, update: 1.25, wait: 1.25, containers: 1.25 } as const;

export async function calls(say: Say): Promise<Findings> {
  await using host = await stage();
  const slave = await host.slave();
  const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'sleep 100000', mem: 64 }));
  await task.reached(TaskState.RUNNING);
  say(`calls: ${ROUNDS} rounds`);
  const { launch, ...quiet } = await subjects(host, slave, task);
  const samples = await inTurns(ROUNDS, quiet);
  // A launch leaves dockerd with work to do, which is not to be in the way of the others.
  const launches = await inTurns(LAUNCH_ROUNDS, { empty: quiet.empty, launch });
  // Or its `wait` would have another supervisor started, behind the end of this host.
  await slave.killTask(task);
  await task.gone();
  const pairs = { ...samples, launch: launches.launch };
  const cpu = (list: readonly Sample[]) => list.map(({ cpuMs }) => cpuMs);
  const rows = (Object.keys(MARKS) as (keyof typeof MARKS)[]).map((verb): Row => {
    const base = verb === 'launch' ? launches.empty : samples.empty;
    const names = { what: `${verb}, CPU`, against: 'an empty program', mark: MARKS[verb] };
    const row = ratioRow(names, cpu(pairs[verb]), cpu(base));
    const wall = spread(pairs[verb].map(({ wallMs }) => wallMs)).median;
    return { ...row, detail: `${row.detail}; ${figure(wall)} ms wall` };
  });
  return { rows };
}

type Verb = keyof typeof MARKS | 'empty';

async function subjects(
  host: Host,
  slave: StandInSlave,
  task: LaunchedTask,
): Promise<Readonly<Record<Verb, () => Promise<Sample>>>> {
  const write = async (name: string, bytes: Uint8Array): Promise<string> => {
    await writeFile(host.directory.at(name), bytes);
    return host.directory.at(name);
  };
  const call = (verb: string) => [host.binary, '--config', host.configFile, verb] as const;
  const env = { PATH, MESOS_WORK_DIRECTORY: slave.options.workDirectory };
  const ofTask = await write('task.record', containerRecord(task.containerId));
  const resources = ['cpus', 'mem'].map((name) => ({
    name,
    type: 0,
    scalar: { value: name === 'cpus' ? 0.2 : 96 },
    role: '*',
  }));
  const update = encode(Update, { container_id: { value: task.containerId }, resources });
  const ofUpdate = await write('update.record', framed(update));
  return {
    empty: async () => await measured({ argv: [EMPTY], env }),
    usage: async () => await measured({ argv: call('usage'), stdin: ofTask, env }),
    update: async () => await measured({ argv: call('update'), stdin: ofUpdate, env }),
    wait: async () => await measured({ argv: call('wait'), stdin: ofTask, env, asleepAs: 'flock' }),
    containers: async () => await measured({ argv: call('containers'), env }),
    launch: async () => {
      // Without a slave nobody is to be told: it runs, ends, and leaves nothing to the next round.
      const one = commandTask({ image: IMAGES.busybox, value: 'true' });
      const { containerId, stdin } = await launchRecord(one, slave.options.workDirectory);
      const record = await write('launch.record', stdin);
      const sample = await measured({ argv: call('launch'), stdin: record, env });
      await host.deimos(['destroy'], containerRecord(containerId), env);
      await pause(CALM_MS);
      return sample;
    },
  };
}

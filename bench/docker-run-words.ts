// The `docker run` that asks for the same as Deimos does for a task: what `deimos plan` shows, as words to run.

import { mkdir } from 'node:fs/promises';
import { output } from '../test/support/command.ts';
import type { Host } from '../test/support/host.ts';
import { launchRecord } from '../test/support/installation.ts';
import type { TaskToRun } from '../test/support/tasks.ts';

export interface RunWords {
  /** What follows `docker`, with this name for the container and this directory for its sandbox. */
  for(name: string, sandbox: string): readonly string[];
}

export async function dockerRunWords(host: Host, task: TaskToRun): Promise<RunWords> {
  const sandboxes = host.directory.at('planned');
  await mkdir(sandboxes, { recursive: true });
  const { sandbox, stdin, containerId } = await launchRecord(task, sandboxes);
  const planned = await host.deimos(['plan'], stdin, { MESOS_WORK_DIRECTORY: sandboxes });
  if (planned.code !== 0) throw new Error(`deimos plan: ${planned.stderr}`);
  const line = planned.stdout
    .toString()
    .split('\n')
    .find((one) => one.startsWith('docker run '));
  if (line === undefined) throw new Error('deimos plan shows no docker run');
  // Quoted for a shell; a shell takes it apart.
  const words = (await output(['sh', '-c', `printf '%s\\0' ${line}`])).split('\0').slice(1, -1);
  return {
    for: (name, directory) =>
      // A label that names our state root would make it a container of ours.
      words.map((word) =>
        word.replaceAll(sandbox, directory).replaceAll(containerId, name).replaceAll(host.root, '/nowhere'),
      ),
  };
}

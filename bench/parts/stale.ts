// What 10,000 states of containers that have ended cost: a call of `usage` among them, listing and removing them.

import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { TaskState } from '../../src/mesos/messages.ts';
import { output } from '../../test/support/command.ts';
import type { Host } from '../../test/support/host.ts';
import { IMAGES } from '../../test/support/images.ts';
import { commandTask } from '../../test/support/tasks.ts';
import { figure } from '../figures.ts';
import { inTurns, measured, type Sample, type Subject } from '../measure.ts';
import { type Findings, PATH, type Row, ratioRow, type Say, stage } from '../stage.ts';
import { usageRatio } from '../usage-ratio.ts';

const STATES = 10_000;
const FOREIGN = 400;
const FOREIGN_AT_ONCE = 4;
const USAGE_ROUNDS = 40;
const LIST_ROUNDS = 10;
const REMOVALS = 3;
const PATIENCE_MS = 300_000;

export async function stale(say: Say): Promise<Findings> {
  await using host = await stage();
  const slave = await host.slave();
  const ended = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'true' }));
  await ended.gone();
  const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'sleep 100000' }));
  await task.reached(TaskState.RUNNING);

  say('stale: usage without them');
  const without = await usageRatio(host, task.containerId, USAGE_ROUNDS);
  say(`stale: ${STATES} states and ${FOREIGN} containers of others`);
  await multiply(host.root, ended.containerId);
  await foreignContainers(host);
  const among = await usageRatio(host, task.containerId, USAGE_ROUNDS);
  await slave.killTask(task);
  await task.gone();

  say('stale: state');
  const listing = await inTurns(LIST_ROUNDS, {
    own: async () => await measured(stateCall(host)),
    ls: async () => await measured({ argv: ['/bin/ls', '-l', `${host.root}/start-time`], env: { PATH } }),
  });
  const [own, rms]: [Sample[], Sample[]] = [[], []];
  const kept = host.directory.at('kept');
  await copy([`${host.root}/mesos`, `${host.root}/docker`, `${host.root}/start-time`], kept);
  for (let round = 0; round < REMOVALS; round++) {
    say(`stale: state --rm, ${round + 1} of ${REMOVALS}`);
    own.push(await measured(stateCall(host, '--rm')));
    const left = await readdir(`${host.root}/mesos`);
    if (left.length > 0) throw new Error(`state --rm leaves ${left.length} states`);
    // On the same file system.
    const other = `${host.root}.other`;
    await copy([kept], other);
    rms.push(await measured({ argv: ['/bin/rm', '-rf', other], env: { PATH } }));
    if (round + 1 < REMOVALS) await copy([`${kept}/.`], host.root);
  }
  return {
    rows: [
      {
        what: `usage among ${STATES} stale states and ${FOREIGN} foreign containers, CPU`,
        against: 'without them',
        ...{ mark: 1.05, value: among / without, unit: '×' },
        detail: `${figure(among)} beside ${figure(without)} of an empty program`,
      },
      wallRow('state', 'ls -l of their links, which reads each, as state does', listing.own, listing.ls),
      wallRow('state --rm', 'rm -rf of the same', own, rms),
    ],
  };
}

/** As cp(1) does it: Node's own takes minutes. */
async function copy(from: readonly string[], to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  await output(['cp', '-a', ...from, to], { timeoutMs: PATIENCE_MS });
}

function stateCall(host: Host, ...words: readonly string[]): Subject {
  return { argv: [host.binary, '--config', host.configFile, 'state', ...words], env: { PATH } };
}

function wallRow(verb: string, against: string, own: readonly Sample[], others: readonly Sample[]): Row {
  const wall = (samples: readonly Sample[]) => samples.map(({ wallMs }) => wallMs);
  const what = `${verb} over ${STATES} stale states, wall`;
  return ratioRow({ what, against, mark: 3 }, wall(own), wall(others));
}

/** As many states as that of a container that has ended, each with an id and a time of its own. */
async function multiply(root: string, containerId: string): Promise<void> {
  const first = `${root}/mesos/${containerId}`;
  const request = await readFile(`${first}/container.json`, 'utf8');
  const docker = (await readFile(`${first}/cid`, 'utf8')).trim();
  const ids = Array.from({ length: STATES - 1 }, () => randomUUID());
  const to = ids.map((id) => `${root}/mesos/${id}\n`).join('');
  await output(['xargs', '-I', '{}', 'cp', '-a', first, '{}'], { input: to, timeoutMs: PATIENCE_MS });
  for (const [n, id] of ids.entries()) {
    const directory = `${root}/mesos/${id}`;
    await writeFile(`${directory}/container.json`, request.replaceAll(containerId, id));
    await writeFile(`${directory}/mesos-container-id`, `${id}\n`);
    const otherDocker = n.toString(16).padStart(docker.length, '0');
    await writeFile(`${directory}/cid`, `${otherDocker}\n`);
    await symlink(`../mesos/${id}`, `${root}/docker/${otherDocker}`);
    const time = `2026-01-01T00:00:00.${String(n).padStart(6, '0')}Z`;
    await writeFile(`${directory}/t`, `${time}\n`);
    await symlink(`../mesos/${id}`, `${root}/start-time/${time}`);
  }
}

async function foreignContainers(host: Host): Promise<void> {
  for (let n = 0; n < FOREIGN; n += FOREIGN_AT_ONCE) {
    const some = Array.from({ length: FOREIGN_AT_ONCE }, (_, at) => `foreign-${n + at}`);
    await Promise.all(
      some.map((name) => host.dockerd.run(['create', '--name', name, IMAGES.busybox, 'true'])),
    );
  }
}

// What lies in a state root and is not what Deimos wrote: facts that are torn, empty, somebody else's, links, directories, of
// another release, and thousands of entries that nobody knows. Each is told in the log once and left alone, and every task
// still ends rightly. Which facts there are is read from the state directories of tasks that run and have ended.

import assert from 'node:assert/strict';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { decode } from '../../src/mesos/codec.ts';
import { Containers, TaskState } from '../../src/mesos/messages.ts';
import { removeContainers } from '../support/docker-facts.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { extent, FAULT_FILE_TIMEOUT_MS, FAULT_SEED, tell } from '../support/faults.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES, makeImages } from '../support/images.ts';
import { drawn } from '../support/lot.ts';
import { signalPid } from '../support/proc.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { wrap } from '../support/wrapped.ts';

const { RUNNING, FAILED } = TaskState;
const PATIENCE_MS = 120_000;
const PATIENTLY = { timeoutMs: PATIENCE_MS };
/** Tasks at once; one more is left as it is. */
const AT_ONCE = extent(4, 12);
/** Of a stage, in the quick form. */
const SAMPLE = extent(4, Number.POSITIVE_INFINITY);
const STALE = extent(1_000, 5_000);
/** Older than any launch that may be under way. */
const LONG_AGO = new Date(Date.now() - 24 * 3_600_000);
const WORDS = 'not for you\n';

const VALUE = `echo out; echo err >&2; ${AT_GATE}; echo last; exit 3`;
const ENDS = { state: FAILED, status: 3 << 8, message: 'Container exited with status 3' };

const DISTURBANCES = {
  torn: (path) => truncateSync(path, Math.floor(statSync(path).size / 2)),
  emptied: (path) => truncateSync(path, 0),
  'of foreign text': (path) => writeFileSync(path, WORDS),
  'a link to /dev/null': (path) => replace(path, () => symlinkSync('/dev/null', path)),
  'a dangling link': (path) => replace(path, () => symlinkSync('/nowhere/at/all', path)),
  'a directory': (path) =>
    replace(path, () => {
      mkdirSync(path);
      writeFileSync(`${path}/precious`, WORDS);
    }),
  'of a future release': (path) => {
    const record: unknown = JSON.parse(readFileSync(path, 'utf8'));
    assert.ok(typeof record === 'object');
    writeFileSync(path, JSON.stringify({ ...record, version: 1_000 }));
  },
} as const satisfies Readonly<Record<string, (path: string) => void>>;
type Disturbance = keyof typeof DISTURBANCES;

function replace(path: string, put: () => void): void {
  rmSync(path);
  put();
}

interface Case {
  /** Below the state directory. */
  readonly file: string;
  readonly disturbance: Disturbance;
}

const nameOf = ({ file, disturbance }: Case): string => `${file} ${disturbance}`;

/** Empty, or of any text, these mean something, or nothing but that they are there. */
const ANY_TEXT = /\.copied$|^hook-/;

/** Whether it can be told from a fact: `held` is what the file held before. */
function isSeen({ file, disturbance }: Case, held: string): boolean {
  if (file.includes('/')) return false;
  switch (disturbance) {
    case 'a link to /dev/null':
    case 'a dangling link':
    case 'a directory':
      return true;
    case 'emptied':
      return held !== '' && !ANY_TEXT.test(file);
    case 'torn':
    case 'of foreign text':
      return held.startsWith('{');
    case 'of a future release':
      return false;
  }
}

/** When the supervisor is stopped, its files are disturbed, and it is killed. */
interface Stage {
  readonly name: string;
  readonly waitsAreHeld?: true;
  /** Brings a task that runs there. The supervisor lives. */
  readonly before?: (slave: StandInSlave, task: LaunchedTask) => Promise<void>;
  /** The supervisor is stopped. */
  readonly whenStopped?: (host: Host, tasks: readonly LaunchedTask[]) => Promise<void>;
}

describe('a state that was tampered with', {
  skip: await skipWithoutTools(),
  timeout: FAULT_FILE_TIMEOUT_MS,
}, () => {
  let dockerd: Dockerd;
  const done: string[] = [];
  before(async () => {
    dockerd = await startDockerd();
    await makeImages(dockerd);
  });
  after(async () => {
    await dockerd.stop();
    tell(`foreign state, seed ${FAULT_SEED}: ${done.join('; ')}`);
  });

  const stages: readonly Stage[] = [
    { name: 'while it runs' },
    {
      name: 'when it has ended and nobody knows',
      whenStopped: async (host, tasks) => {
        for (const task of tasks) openGate(task);
        await until('ended', async () => (await host.dockerd.run(['ps', '-q'])) === '', PATIENTLY);
      },
    },
    {
      name: 'when its end was told and not acknowledged',
      before: async (slave, task) => {
        await slave.setAcks('drop');
        openGate(task);
        await task.ended(PATIENCE_MS);
      },
    },
    {
      name: 'when its Termination is written and nobody has asked for it',
      waitsAreHeld: true,
      before: async (_, task) => openGate(task),
    },
  ];
  for (const stage of stages) {
    it(stage.name, { timeout: FAULT_FILE_TIMEOUT_MS }, async () => {
      const cases: Case[] = [];
      let found = 0;
      for (let round = 0; round === 0 || cases.length > 0; round++) {
        await using host = await startHost({ dockerd, images: false });
        await using _ = leavesNoContainers(dockerd);
        await withSupervisorLog(host, () =>
          playRound(host, stage, (files) => {
            // Which facts there are is known now.
            if (round === 0) {
              const all = casesOf(files);
              found = all.length;
              cases.push(...drawn(all, SAMPLE, `${FAULT_SEED} ${stage.name}`, nameOf));
            }
            return cases.splice(0, AT_ONCE);
          }),
        );
      }
      done.push(`${stage.name}: ${found} found, ${Math.min(found, SAMPLE)} run`);
    });
  }

  it('its supervisor’s own files: a task that runs ends as ever', async () => {
    const all = ['port', 'slaves/*', 'log', 'socket', 'requests'].flatMap((file) =>
      (['of foreign text', 'a dangling link', 'a directory'] as const).map((disturbance) => ({
        file,
        disturbance,
      })),
    );
    // Nothing can be written into a socket's file, and what is written into a FIFO its reader takes.
    const possible = all.filter((one) => !/^(socket|requests) of foreign text$/.test(nameOf(one)));
    const some = drawn(possible, extent(1, possible.length), FAULT_SEED, nameOf);
    for (const { file: name, disturbance } of some) {
      await using host = await startHost({ dockerd, images: false });
      await using _ = leavesNoContainers(dockerd);
      const slave = await host.slave();
      const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: VALUE }));
      await task.reached(RUNNING, PATIENCE_MS);
      await slave.call('recover');
      const pid = host.supervisor() ?? assert.fail('no supervisor');
      signalPid(pid, 'SIGSTOP');
      const directory = `${host.root}/supervisor`;
      const names =
        name === 'slaves/*' ? readdirSync(`${directory}/slaves`).map((one) => `slaves/${one}`) : [name];
      for (const one of names) DISTURBANCES[disturbance](`${directory}/${one}`);
      signalPid(pid, 'SIGKILL');
      await until('another supervisor', () => ![undefined, pid].includes(host.supervisor()), PATIENTLY);
      openGate(task);
      await checkEnd(task);
      assert.deepEqual(await host.leftovers(), [], `${name} ${disturbance}`);
    }
    done.push(`${some.length} of ${possible.length} of the supervisor’s own files`);
  });

  const inTheWay = extent(['wake'], ['wake', 'lock', 'start']);
  it(`a directory in the place of ${inTheWay.join(' or ')}: the launch says so, the task that runs ends as ever when it is gone`, async () => {
    for (const file of inTheWay) {
      await using host = await startHost({ dockerd, images: false });
      await using _ = leavesNoContainers(dockerd);
      const wrapped = wrap(host, 'wrapped');
      const slave = await host.slave({ containerizer: wrapped.containerizer });
      wrapped.hold('wait');
      const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: VALUE }));
      await task.reached(RUNNING, PATIENCE_MS);
      await host.killSupervisor();
      const path = `${host.root}/supervisor/${file}`;
      DISTURBANCES['a directory'](path);
      const refused = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'true' }));
      const { end } = await until(
        'it is refused',
        () => refused.calls('launch').find((call) => call.end),
        PATIENTLY,
      );
      assert.match(end?.stderr ?? '', new RegExp(`^deimos launch: [^\\n]*/supervisor/${file}: [^\\n]*\\n$`));
      assert.ok([4, 16].includes(end?.code ?? 0), `${end?.code}`);
      rmSync(path, { recursive: true });
      wrapped.letGo('wait');
      openGate(task);
      await checkEnd(task);
      await refused.gone(PATIENCE_MS);
      assert.deepEqual(await host.leftovers(), []);
    }
  });

  it(`${STALE} entries of others in each directory: nobody minds them, and nobody touches them`, async () => {
    await using host = await startHost({ dockerd, images: false });
    await using _ = leavesNoContainers(dockerd);
    await withSupervisorLog(host, async () => {
      const slave = await host.slave();
      await (await slave.launch(commandTask({ image: IMAGES.busybox, value: 'true' }))).gone(PATIENCE_MS);
      assert.equal((await host.deimos(['state', '--rm'])).code, 0);
      strew(host.root);
      const strewn = entriesBelow(host.root);
      const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: VALUE }));
      await task.reached(RUNNING, PATIENCE_MS);
      await host.killSupervisor();
      await answersAll(host, slave, [task]);
      openGate(task);
      await checkEnd(task);
      await checkUnharmed(task);
      assert.deepEqual(await host.leftovers(), []);
      await until('removed', () => existsSync(`${host.root}/mesos/${task.containerId}/removed`), PATIENTLY);
      const { code, stderr } = await host.deimos(['state', '--rm']);
      assert.deepEqual([code, stderr], [0, '']);
      assert.deepEqual(entriesBelow(host.root), strewn);
      const log = readFileSync(`${host.root}/supervisor/log`, 'utf8');
      assert.equal(log.split('entries that are no states are left alone').length - 1, 1);
      done.push(`${strewn.length} entries of others`);
    });
  });
});

/** Whatever became of a test: the next one shares the dockerd. */
function leavesNoContainers(dockerd: Dockerd): AsyncDisposable {
  return {
    [Symbol.asyncDispose]: async () => await removeContainers(dockerd),
  };
}

/** One host, one task for each case and one more, one death of the supervisor. */
async function playRound(
  host: Host,
  stage: Stage,
  casesFor: (files: readonly string[]) => readonly Case[],
): Promise<void> {
  const wrapped = wrap(host, 'wrapped');
  const slave = await host.slave({ containerizer: wrapped.containerizer });
  if (stage.waitsAreHeld) wrapped.hold('wait');
  const tasks = await Promise.all(
    Array.from({ length: AT_ONCE + 1 }, () =>
      slave.launch(commandTask({ image: IMAGES.busybox, value: VALUE }), { checkpoint: true }),
    ),
  );
  await Promise.all(tasks.map((task) => task.reached(RUNNING, PATIENCE_MS)));
  for (const task of tasks) {
    await until('output', async () => (await sandboxFile(task, 'stderr')) === 'err\n', PATIENTLY);
    if (!stage.waitsAreHeld) await until('its wait', () => existsSync(`${stateOf(host, task)}/wait-seen`));
  }
  for (const task of tasks) await stage.before?.(slave, task);
  if (stage.waitsAreHeld)
    for (const task of tasks)
      await until('removed', () => existsSync(`${stateOf(host, task)}/removed`), PATIENTLY);
  const pid = host.supervisor() ?? assert.fail('no supervisor');
  signalPid(pid, 'SIGSTOP');
  await stage.whenStopped?.(host, tasks);
  const [untouched = assert.fail(), ...others] = tasks;
  const cases = casesFor(factsOf(stateOf(host, untouched)));
  const seen = new Set<Case>();
  for (const [n, one] of cases.entries()) {
    const { file, disturbance } = one;
    const task = others[n] ?? assert.fail();
    const path = `${stateOf(host, task)}/${file}`;
    if (isSeen(one, readFileSync(path, 'utf8'))) seen.add(one);
    // For its return to this release.
    if (disturbance === 'of a future release') writeFileSync(host.directory.at('kept'), readFileSync(path));
    DISTURBANCES[disturbance](path);
  }
  await slave.setAcks('send');
  signalPid(pid, 'SIGKILL');
  await answersAll(host, slave, tasks);
  wrapped.letGo('wait');
  for (const task of tasks) openGate(task);
  await checkEnd(untouched);
  await checkUnharmed(untouched);
  for (const [n, one] of cases.entries())
    await checkCase(host, others[n] ?? assert.fail(), { ...one, isSeen: seen.has(one) }, stage);
  for (const task of others.slice(cases.length)) await checkEnd(task);
  await checkNothingLeft(host, slave, tasks, cases);
}

async function checkCase(
  host: Host,
  task: LaunchedTask,
  one: Case & { readonly isSeen: boolean },
  stage: Stage,
): Promise<void> {
  const { file, disturbance } = one;
  const path = `${stateOf(host, task)}/${file}`;
  try {
    // What is at its end already needs nobody who can read the request.
    if (disturbance === 'of a future release' && stage.waitsAreHeld === undefined) {
      // That release is waited for.
      assert.equal(
        (await host.dockerd.run(['ps', '-aq', '--filter', `name=${task.containerId}`])) === '',
        false,
      );
      assert.ok(task.calls('wait').every(({ end }) => end === undefined));
      const kept = host.directory.at('kept');
      writeFileSync(`${kept}.new`, readFileSync(kept));
      renameSync(`${kept}.new`, path);
    }
    await checkEnd(task);
    await checkOutput(task, file);
    if (disturbance === 'a directory') {
      const beside = readdirSync(dirname(path)).filter((name) => name.startsWith(basename(path)));
      assert.ok(
        beside.some((name) => existsSync(`${dirname(path)}/${name}/precious`)),
        'what was in it is gone',
      );
    }
    const log = readFileSync(`${host.root}/supervisor/log`, 'utf8').split('\n');
    const said = log.filter(
      (line) =>
        line.includes('left alone') && line.includes(task.containerId) && line.includes(`entry=${file} `),
    );
    // Nobody looks into a state that is at its end.
    const isLookedAt = stage.waitsAreHeld === undefined || file === 'termination';
    assert.ok(
      said.length <= 1 && (said.length === 1 || !one.isSeen || !isLookedAt),
      `said: ${said.join('\n')}`,
    );
  } catch (error) {
    throw new Error(`${nameOf(one)}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

/** It ended with its own status, and everybody was told so. */
async function checkEnd(task: LaunchedTask): Promise<void> {
  const termination = await task.gone(PATIENCE_MS);
  const { state, status, message } = termination ?? assert.fail('its wait was not answered');
  assert.deepEqual({ state, status, message }, ENDS);
  const states = task.updates().map((update) => update.state);
  assert.equal(states.at(-1), FAILED);
  assert.ok(
    states.slice(0, -1).every((one) => one === RUNNING || one === FAILED),
    states.join(),
  );
}

async function checkUnharmed(task: LaunchedTask): Promise<void> {
  const once = new Map(task.updates().map((update) => [update.uuid, update.state]));
  assert.deepEqual([...once.values()], [RUNNING, FAILED]);
  assert.equal(await sandboxFile(task, 'stdout'), 'out\nlast\n');
  assert.equal(await sandboxFile(task, 'stderr'), 'err\n');
}

/** Nothing twice; what is missing is said. */
async function checkOutput(task: LaunchedTask, file: string): Promise<void> {
  const [stdout, stderr] = [await sandboxFile(task, 'stdout'), await sandboxFile(task, 'stderr')];
  if (!file.endsWith('.copied')) assert.deepEqual([stdout, stderr], ['out\nlast\n', 'err\n']);
  assert.ok(['out\nlast\n', 'out\n'].includes(stdout), `stdout: ${stdout}`);
  assert.match(stderr, /^err\n(deimos: (stdout|stderr): .* lost\b.*\n)?$/);
  if (stdout === 'out\n') assert.match(stderr, /deimos: stdout: .* lost\b/);
}

/** While all that is so, calls about others are answered. */
async function answersAll(host: Host, slave: StandInSlave, tasks: readonly LaunchedTask[]): Promise<void> {
  const containers = await slave.call('containers');
  const { containers: listed } = decode(Containers, containers.answer ?? assert.fail('no Containers'));
  // What was delivered meanwhile is not listed any more.
  for (const task of tasks.filter((one) => !existsSync(`${stateOf(host, one)}/delivered`)))
    assert.ok(listed.some(({ value }) => value === task.containerId));
  assert.equal((await slave.call('recover')).code, 0);
  const state = await host.deimos(['state']);
  assert.deepEqual([state.code, state.stderr], [0, '']);
  const [untouched = assert.fail()] = tasks;
  const runs = (await host.dockerd.run(['ps', '-q', '--filter', `name=${untouched.containerId}`])) !== '';
  if (runs) assert.ok((await slave.usage(untouched)) !== undefined);
}

async function checkNothingLeft(
  host: Host,
  slave: StandInSlave,
  tasks: readonly LaunchedTask[],
  cases: readonly Case[],
): Promise<void> {
  // An update that cannot be read is not sent.
  const lost = tasks.filter((_, n) => cases[n - 1]?.file === 'container.json');
  // Only its wait tells of it.
  const isOfLost = (text: string): boolean =>
    lost.some(
      ({ containerId }) =>
        text.startsWith(`wait ${containerId}: answered `) ||
        text.startsWith(`update not acknowledged: ${containerId}/`),
    );
  // Under which uuid it was told is not known any more: it is told again.
  const isOfUpdates = (text: string): boolean =>
    tasks.some(
      ({ taskId }, n) =>
        cases[n - 1]?.file.startsWith('updates/') &&
        text === `update ${FAILED} of ${taskId}: after its terminal update`,
    );
  const ofUpdates = cases.some(({ file }) => file.startsWith('updates/'));
  const left = await host.leftovers();
  assert.deepEqual(
    left.filter((line) => !isOfLost(line) && !(ofUpdates && line.startsWith('update not acknowledged'))),
    [],
  );
  assert.deepEqual(
    slave.violations.filter(
      (text) => !text.startsWith('a second RegisterExecutorMessage') && !isOfLost(text) && !isOfUpdates(text),
    ),
    [],
  );
  for (const task of tasks)
    await until(
      'removed',
      () => lstatSync(`${stateOf(host, task)}/removed`, { throwIfNoEntry: false }),
      PATIENTLY,
    );
  const { code, stderr } = await host.deimos(['state', '--rm']);
  assert.deepEqual([code, stderr], [0, '']);
  assert.deepEqual(readdirSync(`${host.root}/mesos`), []);
}

function stateOf(host: Host, { containerId }: LaunchedTask): string {
  return `${host.root}/mesos/${containerId}`;
}

/** The files of a state directory, those below `lock` and `updates` too. */
function factsOf(directory: string): readonly string[] {
  return (
    readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.endsWith('.tmp'))
      .map((entry) => `${entry.parentPath}/${entry.name}`.slice(directory.length + 1))
      // The work directory in the sandbox, which a link names, is the task's.
      .filter((file) => !file.startsWith('fs/'))
      .sort()
  );
}

function casesOf(files: readonly string[]): readonly Case[] {
  const disturbances = Object.keys(DISTURBANCES) as Disturbance[];
  return files.flatMap((file) =>
    disturbances
      .filter((disturbance) => disturbance !== 'of a future release' || file === 'container.json')
      .map((disturbance) => ({ file, disturbance })),
  );
}

/** What a state root may gather in years: of other programs, of people, of the Deimos of 2014. */
function strew(root: string): void {
  for (const directory of ['mesos', 'docker', 'start-time']) {
    const kinds: readonly ((path: string) => void)[] = [
      (path) => writeFileSync(path, WORDS),
      (path) => symlinkSync('../mesos/gone', path),
      (path) => symlinkSync('/dev/null', path),
      (path) => {
        mkdirSync(path);
        writeFileSync(`${path}/precious`, WORDS);
      },
      (path) => {
        mkdirSync(path);
        for (const name of ['cid', 'mesos-container-id', 'exit'])
          writeFileSync(`${path}/${name}`, `${name}\n`);
      },
      (path) => writeFileSync(`${path} with a space\n`, WORDS),
    ];
    for (let n = 0; n < STALE; n++) {
      const path = `${root}/${directory}/${n % 2 === 0 ? `stale-${n}` : `${n}`.padStart(64, 'a')}`;
      (kinds[n % kinds.length] ?? assert.fail())(path);
      if (existsSync(path)) utimesSync(path, LONG_AGO, LONG_AGO);
    }
  }
}

function entriesBelow(root: string): readonly string[] {
  return ['mesos', 'docker', 'start-time'].flatMap((directory) =>
    readdirSync(`${root}/${directory}`, { recursive: true, encoding: 'utf8' })
      .map((name) => `${directory}/${name}`)
      .sort(),
  );
}

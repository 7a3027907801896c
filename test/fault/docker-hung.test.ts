// Docker hangs on one route, for ever as far as anybody can tell: what is asked there is not answered, be it carried out or
// not, and all else goes on. Every call of the slave ends by itself, with one line where it fails, nothing is told that is
// not so, and all goes on when Docker answers again. The routes are those that a run of everything was seen to use. Quick:
// some of them by lot, until the slave's calls have ended. DEIMOS_FAULTS=all: every one, for longer than anything is waited for.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { decode, encode } from '../../src/mesos/codec.ts';
import { Containers, Reason, TaskState, Update, ValueType } from '../../src/mesos/messages.ts';
import { type DockerDoor, openDoor } from '../support/docker-door.ts';
import { containersOf, inspectTask } from '../support/docker-facts.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { ALL_FAULTS, extent, FAULT_FILE_TIMEOUT_MS, FAULT_SEED, tell } from '../support/faults.ts';
import { AT_GATE, openGate } from '../support/gated.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES, makeImages } from '../support/images.ts';
import { drawn } from '../support/lot.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { Tried } from '../support/tried.ts';
import { until } from '../support/until.ts';

const { RUNNING, STARTING, FAILED } = TaskState;
/** `hang POST /containers/create`: only that one. */
const ONLY = process.env.DEIMOS_FAULT_ONLY;
const SAMPLE = 4;
/** Asked when something ends, for which the quick form does not wait while Docker hangs; events, for an end that needs a reason. */
const ASKED_LATE = /^(DELETE |POST \/containers\/\{\}\/(kill|stop)$)|^GET \/events$/;
const AT_ONCE = extent(SAMPLE, 8);
/** A bound against hanging: more than Deimos waits for any answer before it asks again. */
const PATIENCE_MS = 240_000;
/** The grace, and 30 s: what `destroy` waits for. The rest is for a busy machine. */
const CALL_BOUND_MS = 60_000;
/** Longer than Deimos waits for an answer, a daemon that is away, or a pull without progress. */
const FOR_EVER_MS = 150_000;

const KINDS = ['hang', 'hold-answer'] as const;

interface Fault {
  readonly kind: (typeof KINDS)[number];
  readonly route: string;
}

const nameOf = ({ kind, route }: Fault): string => `${kind} ${route}`;

/** Says something on both streams, waits, says more, ends with 3. */
const VALUE = `echo s >>/tmp/mesos-sandbox/starts; echo out; echo err >&2; ${AT_GATE}; echo last; exit 3`;
const HEALTH = { delay_seconds: 0, interval_seconds: 1, grace_period_seconds: 0, consecutive_failures: 99 };
const task = (image: string, more: TaskOptions = {}) =>
  commandTask({
    ...{ image, value: VALUE, options: ['--label', 'a=b'] },
    healthCheck: { ...HEALTH, command: { value: 'true' } },
    ...more,
  });

interface Place {
  readonly door: DockerDoor;
  readonly host: Host;
  readonly slave: StandInSlave;
}

describe('Docker that hangs on one route', {
  skip: await skipWithoutTools(),
  timeout: FAULT_FILE_TIMEOUT_MS,
}, () => {
  let dockerd: Dockerd;
  let registry: Registry;
  const told = { routes: 0, tried: new Tried('every call ends') };
  before(async () => {
    dockerd = await startDockerd();
    await makeImages(dockerd);
    registry = await startRegistry(dockerd);
  });
  after(async () => {
    await registry?.stop();
    await dockerd?.stop();
    tell(`Docker hangs on one route, seed ${FAULT_SEED}:`);
    tell(`  ${told.routes} routes seen; ${told.tried}`);
  });

  const at = async <T>(body: (place: Place) => Promise<T>): Promise<T> => {
    await using door = await openDoor(dockerd);
    await using host = await startHost({ dockerd, images: false });
    await host.configure('[containers]\nstop_timeout: 0', `host: ${door.host}`);
    return await withSupervisorLog(host, async () => {
      const slave = await host.slave({ checkpoint: true });
      const result = await body({ door, host, slave });
      assert.deepEqual(slave.violations, []);
      return result;
    });
  };
  /** An image that has to be pulled. */
  const remoteImage = async (): Promise<string> => {
    const name = `hung-${Math.random().toString(36).slice(2)}`;
    await dockerd.run(['tag', IMAGES.busybox, `${name}:test`]);
    return await registry.push(`${name}:test`, name);
  };

  it('every call ends, nothing is made up, and all goes on when it answers again', {
    timeout: FAULT_FILE_TIMEOUT_MS,
  }, async () => {
    const routes = await at(async (place) => await everything(place, await remoteImage()));
    const found = routes.flatMap((route) => KINDS.map((kind) => ({ kind, route })));
    const wanted = ONLY === undefined ? found : found.filter((fault) => nameOf(fault) === ONLY);
    const asked = wanted.filter(({ route }) => ONLY !== undefined || !ASKED_LATE.test(route));
    const chosen = ALL_FAULTS ? wanted : drawn(asked, SAMPLE, `${FAULT_SEED} hung`, nameOf);
    const { tried } = told;
    told.routes = routes.length;
    tried.addFound(found.length);
    const rest = [...chosen];
    const one = async (fault: Fault): Promise<void> => {
      const isSure = ONLY !== undefined || !ASKED_LATE.test(fault.route);
      await tried.attempt(
        { name: nameOf(fault), isSure },
        async () => await at(async (place) => await hangs(place, fault, await remoteImage())),
        (isAsked) => isAsked,
      );
    };
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (let fault = rest.shift(); fault !== undefined; fault = rest.shift()) await one(fault);
      }),
    );
    tried.checkAll();
    // What is left of each is looked for on the one daemon that they share.
    await until('containers removed', async () => (await dockerd.run(['ps', '-aq'])) === '', {
      timeoutMs: PATIENCE_MS,
    });
  });
});

/** All that Deimos does with a daemon, once: the routes that it asks for that. */
async function everything({ door, host, slave }: Place, image: string): Promise<readonly string[]> {
  const { dockerd } = host;
  const [byItself, byFramework, byStranger] = await Promise.all([
    slave.launch(task(image)),
    slave.launch(task(IMAGES.busybox, { killGraceMs: 200 })),
    slave.launch(task(IMAGES.busybox)),
  ]);
  const destroyed = await slave.launch(task(IMAGES.busybox));
  for (const one of [byItself, byFramework, byStranger, destroyed]) await isRunning(one);
  await until('health was checked', () => byItself.updates().some(({ healthy }) => healthy === true));
  assert.equal((await slave.call('update', updateOf(byItself))).code, 0);
  await host.killSupervisor();
  // When this returns it listens: what a slave says to nobody is lost.
  assert.equal((await slave.call('recover')).code, 0);
  await slave.killTask(byFramework);
  await slave.destroy(destroyed);
  await dockerd.run(['kill', '--signal', 'TERM', (await inspectTask(dockerd, byStranger)).Id]);
  await dockerd.run(['stop', '--time', '0', (await inspectTask(dockerd, byStranger)).Id]);
  openGate(byItself);
  for (const one of [byItself, byFramework, byStranger]) await one.gone(PATIENCE_MS);
  assert.deepEqual(await host.leftovers(), []);
  return [...new Set(door.requests.map(({ route }) => route))].sort();
}

/** Two tasks run, one of them to be destroyed, and one is launched, while it hangs; whether anything was asked there. */
async function hangs({ door, host, slave }: Place, { kind, route }: Fault, image: string): Promise<boolean> {
  const facts = { isReached: false };
  const [early, doomed] = await Promise.all([
    slave.launch(task(IMAGES.busybox)),
    slave.launch(task(IMAGES.busybox)),
  ]);
  for (const one of [early, doomed]) await isRunning(one);
  door.setRule((request) => {
    if (request.route !== route) return { kind: 'pass' };
    facts.isReached = true;
    return { kind };
  });
  // Whoever takes up now has to ask all that a supervisor asks.
  await host.killSupervisor();
  const [late, unwanted] = await Promise.all([slave.launch(task(image)), slave.launch(task(IMAGES.busybox))]);
  for (const verb of ['recover', 'containers'])
    assert.equal((await slave.call(verb)).code, 0, `${verb} while ${route} hangs`);
  assert.ok(await slave.usage(early), 'usage of one that runs');
  for (const one of [early, late])
    assert.equal((await slave.call('update', updateOf(one))).code, 0, `update while ${route} hangs`);
  const destroyed = Promise.all([slave.destroy(doomed), slave.destroy(unwanted)]);
  openGate(early);
  // What hangs goes on hanging: `destroy` ends nevertheless.
  if (ALL_FAULTS) await Promise.all([sleep(FOR_EVER_MS), ...[doomed, unwanted].map(endsInTime)]);
  else {
    await until('launches have ended', () => late.calls('launch').every(({ end }) => end !== undefined));
    // What is launched goes on by itself, sooner or later.
    if (!ASKED_LATE.test(route))
      await until('it is asked', () => facts.isReached, { timeoutMs: PATIENCE_MS });
  }
  if (ALL_FAULTS) await destroyed;
  door.setRule(undefined);
  // Quick: whoever waits is told that nothing comes. Else what was asked meanwhile is never answered.
  if (!ALL_FAULTS) door.breakAll();

  openGate(late);
  await destroyed;
  for (const one of [doomed, unwanted]) await endsInTime(one);
  // It ran before: that Docker hangs neither ends it nor changes how it ended.
  const end = await early.ended(PATIENCE_MS);
  assert.equal(end.message, 'Container exited with status 3');
  assert.equal((await early.gone(PATIENCE_MS))?.status, 3 << 8);
  assertStory(early, [RUNNING, FAILED]);
  assert.equal(await sandboxFile(early, 'fs/starts'), 's\n');
  await assertOutput(early);
  const last = await late.ended(PATIENCE_MS);
  const termination = await late.gone(PATIENCE_MS);
  if (last.reason === Reason.CONTAINER_LAUNCH_FAILED) {
    assert.ok(ALL_FAULTS, `launched in vain: ${last.message}`);
    assert.match(last.message ?? '', /^[^\n]*(Docker|progress)[^\n]*$/);
    assert.deepEqual([termination?.state, termination?.status], [FAILED, undefined]);
    assert.equal(await sandboxFile(late, 'fs/starts'), '');
    assertStory(late, [FAILED]);
  } else {
    assert.equal(last.message, 'Container exited with status 3');
    assert.equal(termination?.status, 3 << 8);
    assert.equal(await sandboxFile(late, 'fs/starts'), 's\n');
    assertStory(late, [RUNNING, FAILED]);
    await assertOutput(late);
  }
  // Asked again after a hang: whoever removes them dies with this host.
  for (const one of [early, doomed, late, unwanted])
    await until(
      'its container is removed',
      async () => (await containersOf(host.dockerd, one)).length === 0,
      {
        timeoutMs: PATIENCE_MS,
      },
    );
  // Nor is anybody told of them any more, whether or not `destroy` waited for it.
  for (const one of [doomed, unwanted])
    await until('it is forgotten', async () => !(await listed(slave)).includes(one.containerId), {
      timeoutMs: PATIENCE_MS,
    });
  for (const { verb, end: ended } of slave.calls)
    if (verb !== 'destroy' && verb !== 'usage' && ended?.signal === null)
      assert.equal(ended.code, 0, `${verb}: ${ended.stderr}`);
  return facts.isReached;
}

async function listed(slave: StandInSlave): Promise<readonly (string | undefined)[]> {
  const { answer } = await slave.call('containers');
  return decode(Containers, answer ?? assert.fail('no record')).containers.map(({ value }) => value);
}

/** Everything is there; an output that could not be had is said to be missing, which is for the long form only. */
async function assertOutput(one: LaunchedTask): Promise<void> {
  const [stdout, stderr] = [await sandboxFile(one, 'stdout'), await sandboxFile(one, 'stderr')];
  if (ALL_FAULTS && /^deimos: .*(incomplete|lost)/m.test(stderr)) return;
  assert.deepEqual([stdout, stderr], ['out\nlast\n', 'err\n']);
}

/** Its `destroy` has ended: well, or with one line. */
async function endsInTime(one: LaunchedTask): Promise<void> {
  // A slave calls it when `launch` has ended, which may take as long.
  const end = await until('destroy has ended', () => one.calls('destroy')[0]?.end, {
    timeoutMs: 2 * CALL_BOUND_MS,
  });
  if (end.code !== 0) assert.match(end.stderr, /^deimos destroy: [^\n]+\n$/);
  const states = one.updates().map(({ state }) => state);
  assert.ok(!states.includes(TaskState.FINISHED), `states: ${states}`);
}

/** Nothing that contradicts what came before; what was said of health and of how far a pull is does not matter. */
function assertStory(one: LaunchedTask, states: readonly number[]): void {
  const told = new Map(one.updates().map((update) => [update.uuid, update]));
  const changes = [...told.values()].filter(
    ({ state, healthy }) => state !== STARTING && !(state === RUNNING && healthy !== undefined),
  );
  assert.deepEqual(
    changes.map(({ state }) => state),
    states,
  );
}

async function isRunning(one: LaunchedTask): Promise<void> {
  await one.reached(RUNNING, PATIENCE_MS);
  await until('output', async () => (await sandboxFile(one, 'stderr')) === 'err\n', {
    timeoutMs: PATIENCE_MS,
  });
}

function updateOf({ containerId }: LaunchedTask): Uint8Array {
  const scalar = (name: string, value: number) => ({
    ...{ name, type: ValueType.SCALAR, scalar: { value }, role: '*' },
  });
  return encode(Update, {
    container_id: { value: containerId },
    resources: [scalar('cpus', 0.2), scalar('mem', 48)],
  });
}

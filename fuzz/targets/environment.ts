// The variables inside a container, the pairing of ports, and the limits: each variable once and fit for one, what we say of
// the task said last, every pair of ports within what was offered, every limit one that Docker can take.

import assert from 'node:assert/strict';
import { environment, portVariables } from '../../src/container/environment.ts';
import { mesosContainerId } from '../../src/container/identity.ts';
import { OFFERED_PORTS_MAX, offeredPorts, pairPorts, parseExposedPorts } from '../../src/container/ports.ts';
import {
  createLimits,
  isAllowanceAlone,
  plannedLimits,
  updateLimits,
} from '../../src/container/resources.ts';
import type { TaskRequest } from '../../src/container/task.ts';
import { Choices } from '../engine/choices.ts';
import type { Random } from '../engine/random.ts';
import type { Target } from '../engine/target.ts';

const NAMES = [
  'A',
  'PORT',
  'PORT0',
  'PORTS',
  'MESOS_TASK_ID',
  'MESOS_SANDBOX',
  'TASK_INFO',
  '',
  'a=b',
  '__proto__',
  'a b',
];
const VALUES = ['', 'x', 'a=b', '\0', '\n', '%', '$HOME'];
/** Memory and as much swap: the largest whole number that a double counts up to. */
const LIMIT_MAX = 2 ** 53;
const EXPOSED = [
  '80',
  '80/tcp',
  '53/udp',
  '8000-8002/tcp',
  '1-300',
  '9-1',
  '0',
  '65536',
  '80/x',
  '00080/sctp',
  '-',
  '1e3',
];

export function target(): Target {
  return {
    dictionary: [],
    maxBytes: 512,
    make: (random) => random.bytes(8 + random.below(200)),
    run(input) {
      const from = new Choices(input);
      const task = someTask(from);
      const ports = checkPorts(task, from);
      checkEnvironment(task, ports, from);
      checkLimits(task, from);
    },
  };
}

function someTask(from: Random): TaskRequest {
  const containerId = mesosContainerId('c-1');
  assert.ok(containerId !== undefined);
  const amount = (): number | undefined =>
    from.pick([
      undefined,
      0,
      0.1,
      0.5,
      1,
      2,
      32,
      512,
      1e9,
      Number.MAX_VALUE,
      Number.MIN_VALUE,
      from.below(4096),
    ]);
  const cpus = amount();
  const memMb = amount();
  return {
    kind: from.oneIn(3) ? 'executor' : 'command',
    containerId,
    frameworkId: from.text(VALUES, 2),
    executorId: from.text(VALUES, 2),
    name: from.text(VALUES, 2),
    sandbox: '/sandbox',
    slaveId: from.text(VALUES, 1),
    ...(from.oneIn(2) ? { slavePid: from.text(VALUES, 2) } : {}),
    checkpoint: from.oneIn(2),
    command: {
      shell: true,
      arguments: [],
      environment: from.several(5, () => [from.pick(NAMES), from.text(VALUES, 2)] as const),
      uris: [],
    },
    resources: {
      ...(cpus === undefined ? {} : { cpus }),
      ...(memMb === undefined ? {} : { memMb }),
      ports: from.several(4, () => {
        const begin = from.oneIn(3) ? from.below(65_536) : 31_000 + from.below(8);
        return { begin, end: Math.min(65_535, begin + from.below(from.oneIn(40) ? 2000 : 4)) };
      }),
    },
  };
}

function checkPorts(task: TaskRequest, from: Random): readonly number[] {
  const { ports: ranges } = task.resources;
  const offered = offeredPorts(ranges);
  assert.ok(offered.length <= OFFERED_PORTS_MAX && new Set(offered).size === offered.length);
  for (const port of offered)
    assert.ok(port > 0 && ranges.some(({ begin, end }) => begin <= port && port <= end));
  const exposed = parseExposedPorts(
    from.several(4, () => (from.oneIn(4) ? from.text(EXPOSED, 2) : from.pick(EXPOSED))),
  );
  for (const { port, protocol } of exposed)
    assert.ok(
      Number.isInteger(port) && port > 0 && port < 65_536 && ['tcp', 'udp', 'sctp'].includes(protocol),
    );
  assert.equal(
    new Set(exposed.map(({ port, protocol }) => `${port}/${protocol}`)).size,
    exposed.length,
    'a port twice',
  );
  const { pairs, unpaired } = pairPorts(offered, exposed);
  assert.deepEqual(
    pairs.map(({ hostPort }) => hostPort),
    offered,
    'other ports of the host than were offered',
  );
  const led = Math.min(offered.length, exposed.length);
  assert.equal(led + unpaired.length, exposed.length, 'an exposed port is lost');
  return offered;
}

function checkEnvironment(task: TaskRequest, ports: readonly number[], from: Random): void {
  const options = from.several(4, () =>
    from.oneIn(2) ? from.pick(NAMES) : `${from.pick(NAMES)}=${from.text(['x'], 2)}`,
  );
  const answer = environment(
    task,
    { MESOS_RECOVERY_TIMEOUT: '15mins', SECRET: 'x' },
    ports,
    'deimos-c',
    options,
  );
  if (!answer.ok) return;
  const variables = new Map(answer.variables);
  assert.equal(variables.size, answer.variables.length, 'a variable twice');
  for (const [name, value] of variables)
    assert.ok(!name.includes('\0') && !value.includes('\0'), `${JSON.stringify(name)} has a NUL`);
  assert.equal(variables.has('SECRET'), false, "a variable of the slave's gets in");
  assert.equal(variables.get('MESOS_SANDBOX'), '/tmp/mesos-sandbox');
  for (const [name] of task.command.environment) assert.ok(variables.has(name), `${name} is lost`);
  const named = new Set([
    ...options.map((option) => option.split('=')[0]),
    ...task.command.environment.map(([name]) => name),
  ]);
  for (const [name, value] of portVariables(ports))
    if (!named.has(name)) assert.equal(variables.get(name), value);
}

function checkLimits(task: TaskRequest, from: Random): void {
  const config = { cfs: from.oneIn(2), swap: from.oneIn(2) };
  const created = createLimits(task.resources, config);
  const requested = {
    ...(from.oneIn(4) ? {} : { cpus: from.pick([0, 0.1, 0.6, 4, 1e12]) }),
    ...(from.oneIn(4) ? {} : { memMb: from.pick([0, 32, 544, 1e12]) }),
  };
  const update = updateLimits(created, task, requested, config);
  const planned = plannedLimits(task, requested, config);
  for (const limit of [...Object.values(created), ...Object.values(update ?? {})])
    assert.ok(Number.isInteger(limit) && limit <= LIMIT_MAX, `no limit: ${limit}`);
  assert.deepEqual(planned, { ...created, ...update });
  if (created.Memory !== undefined && update?.Memory !== undefined)
    assert.ok(update.Memory > created.Memory, 'a limit is lowered');
  assert.equal(updateLimits(planned, task, requested, config), undefined, 'asked again it is not done');
  isAllowanceAlone(task.resources, requested);
}

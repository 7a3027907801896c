// Marathon's apps for `deimos plan`: a task or a Fault of one line that names the place, and shows no value.

import assert from 'node:assert/strict';
import { mesosContainerId } from '../../src/container/identity.ts';
import { marathonTask } from '../../src/container/marathon.ts';
import type { Random } from '../engine/random.ts';
import { attempt, checkKept, type Target } from '../engine/target.ts';

const SECRET = 's3cret-value';
const OFFER = { begin: 31_000, end: 31_009 };
const FIELDS = [
  ...[
    'id',
    'cmd',
    'args',
    'env',
    'cpus',
    'mem',
    'disk',
    'ports',
    'portDefinitions',
    'container',
    'docker',
    'image',
    'network',
  ],
  ...[
    'portMappings',
    'hostPort',
    'containerPort',
    'protocol',
    'name',
    'labels',
    'healthChecks',
    'command',
    'value',
    'uris',
    'fetch',
  ],
  ...[
    'uri',
    'user',
    'executor',
    'storeUrls',
    'residency',
    'app',
    'apps',
    'type',
    'volumes',
    'containerPath',
    'hostPath',
    'mode',
  ],
  ...[
    'external',
    'provider',
    'options',
    'dvdi/driver',
    'ipAddress',
    'networkName',
    'parameters',
    'key',
    'requirePorts',
    '__proto__',
  ],
  ...[
    'taskKillGracePeriodSeconds',
    'version',
    'persistent',
    'privileged',
    'forcePullImage',
    'maxConsecutiveFailures',
    'toString',
  ],
];
const TEXTS = [
  '/a/b',
  'a',
  '',
  'sleep 1',
  'DOCKER',
  'BRIDGE',
  'USER',
  'COMMAND',
  'udp,tcp',
  'RW',
  'dvdi',
  SECRET,
  '\u001b[31m',
  '\u2028',
  '//cmd',
];

export function target(): Target {
  const containerId = mesosContainerId('planned');
  assert.ok(containerId !== undefined);
  const assumed = {
    containerId,
    sandbox: '/sandbox',
    host: 'host',
    offer: OFFER,
    now: '2020-01-01T00:00:00Z',
  };
  return {
    dictionary: [
      ...FIELDS.map((name) => `"${name}":`),
      ...TEXTS.map((text) => JSON.stringify(text)),
      ...['{', '}', '[', ']', ',', 'null', 'true', '1', '0', '-1', '0.5', '1e999', '65536', '{}', '[{}]'],
    ],
    make: (random) => Buffer.from(JSON.stringify(app(random))),
    run(input) {
      const { value, fault } = attempt(['protocol', 'refused'], () =>
        marathonTask(input.toString('utf8'), assumed),
      );
      if (value === undefined) {
        assert.ok(
          !fault?.message.includes(SECRET) || isName(SECRET, input.toString('utf8')),
          'a value is shown',
        );
        return;
      }
      const { task, assignedPorts } = value;
      checkKept(task);
      for (const port of assignedPorts) assert.ok(Number.isInteger(port) && port > 0 && port < 65_536);
      for (const { begin, end } of task.resources.ports)
        assert.ok(begin <= end && begin >= 0 && end < 65_536);
      const { cpus = 0, memMb = 0 } = task.resources;
      assert.ok(Number.isFinite(cpus) && Number.isFinite(memMb) && cpus >= 0 && memMb >= 0);
      assert.ok(task.killGraceMs === undefined || Number.isFinite(task.killGraceMs), 'no time to wait');
    },
  };
}

/** Names of fields are shown, and chance may have made one of it. */
function isName(word: string, text: string): boolean {
  let found = false;
  JSON.parse(text, (name, value: unknown) => {
    found ||= name.includes(word);
    return value;
  });
  return found;
}

function app(random: Random): unknown {
  const own = Object.fromEntries(random.several(6, () => [random.pick(FIELDS), json(random, 0)]));
  const container = random.oneIn(2)
    ? {
        type: 'DOCKER',
        docker: {
          image: 'a',
          network: random.pick(['BRIDGE', 'HOST', 'USER']),
          portMappings: random.several(3, () => mapping(random)),
        },
        volumes: random.several(2, () => ({ containerPath: '/d', hostPath: '/h', mode: 'RO' })),
      }
    : undefined;
  return {
    id: '/a/b',
    cmd: 'sleep 1',
    env: { A: SECRET },
    ...(container === undefined ? {} : { container }),
    ...(random.oneIn(2) ? { healthChecks: [{ protocol: 'COMMAND', command: { value: 'true' } }] } : {}),
    ...(random.oneIn(2) ? { fetch: [{ uri: 'http://h/x', destPath: 'y' }] } : {}),
    ...(random.oneIn(2) ? { ports: random.several(3, () => random.below(70_000)) } : {}),
    ...(random.oneIn(2) ? own : {}),
  };
}

function mapping(random: Random): unknown {
  return {
    containerPort: random.below(65_536),
    hostPort: random.pick([0, 31_002, 80]),
    protocol: random.pick(['tcp', 'udp', 'udp,tcp']),
    name: 'http',
  };
}

function json(random: Random, depth: number): unknown {
  switch (random.below(depth > 2 ? 5 : 7)) {
    case 0:
      return random.pick([null, true, false]);
    case 1:
      return random.edge();
    case 2:
      return random.below(100) / 4;
    case 3:
    case 4:
      return random.pick(TEXTS);
    case 5:
      return random.several(3, () => json(random, depth + 1));
    default:
      return Object.fromEntries(random.several(4, () => [random.pick(FIELDS), json(random, depth + 1)]));
  }
}

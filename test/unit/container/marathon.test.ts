// A Marathon app becomes the task that Marathon would send and a slave hand over, or is refused with the place of what is
// wrong. What is expected is written down by hand, from what Marathon's task builder does.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { mesosContainerId } from '../../../src/container/identity.ts';
import { marathonTask } from '../../../src/container/marathon.ts';
import type { TaskRequest } from '../../../src/container/task.ts';
import { Fault } from '../../../src/fault.ts';
import { newContainer } from './task-request.ts';

const containerId = mesosContainerId('c-1');
assert.ok(containerId !== undefined);
const ASSUMED = {
  ...{ containerId, sandbox: '/sandbox', host: 'slave-1', now: '2026-01-02T03:04:05.678Z' },
  offer: { begin: 31_000, end: 31_003 },
};

function translated(app: unknown) {
  return marathonTask(typeof app === 'string' ? app : JSON.stringify(app), ASSUMED);
}

function taskOf(app: unknown): TaskRequest {
  return translated(app).task;
}

function variablesOf(app: unknown): Record<string, string> {
  return Object.fromEntries(taskOf(app).command.environment);
}

const image = (docker: object = {}) => ({ docker: { image: 'app:1', ...docker } });

describe('an app of Marathon', () => {
  it('is the task that Marathon would send, every field', () => {
    const { task, assignedPorts } = translated({
      ...{ id: '/shop/web', cmd: 'serve $PORT0', cpus: 0.5, mem: 64, disk: 10, instances: 3, user: 'www' },
      env: { B: '2', A: '1' },
      labels: { team: 'shop', 'a-b': 'c d' },
      fetch: [
        { uri: 'http://files/a.tgz', cache: true },
        { uri: 'http://files/b', extract: false, executable: true },
      ],
      container: {
        type: 'DOCKER',
        docker: {
          ...{ image: 'registry:5000/app:1', network: 'BRIDGE', privileged: true, forcePullImage: true },
          portMappings: [
            { containerPort: 8080, hostPort: 0, servicePort: 9000, protocol: 'tcp', name: 'web' },
            { containerPort: 53, hostPort: 31_000, protocol: 'udp' },
          ],
          parameters: [
            { key: 'label', value: 'a=b' },
            { key: 'label', value: 'c=d' },
          ],
        },
        volumes: [
          { containerPath: '/etc/host', hostPath: '/etc', mode: 'RO' },
          { containerPath: '/data', hostPath: 'data', mode: 'RW' },
        ],
      },
      healthChecks: [
        { protocol: 'HTTP', path: '/health', portIndex: 0 },
        {
          protocol: 'COMMAND',
          command: { value: 'test -e /ok' },
          intervalSeconds: 5,
          maxConsecutiveFailures: 2,
        },
      ],
      ...{ taskKillGracePeriodSeconds: 30, version: '2016-01-01T00:00:00.000Z' },
      ...{ constraints: [['hostname', 'UNIQUE']], upgradeStrategy: {}, backoffSeconds: 1, dependencies: [] },
    });
    const { environment, ...command } = task.command;
    const { command: _, ...rest } = task;
    assert.deepEqual(rest, {
      ...{ kind: 'command', containerId, frameworkId: 'marathon', slaveId: 'planned', checkpoint: true },
      ...{ taskId: 'shop_web.planned', executorId: 'shop_web.planned', name: 'web.shop' },
      ...{ sandbox: '/sandbox', user: 'www', killGraceMs: 30_000 },
      // 31000 is taken by the app itself.
      resources: {
        cpus: 0.5,
        memMb: 64,
        ports: [
          { begin: 31_001, end: 31_001 },
          { begin: 31_000, end: 31_000 },
        ],
      },
      container: newContainer({
        ...{ image: 'registry:5000/app:1', network: 'BRIDGE', privileged: true, forcePull: true },
        portMappings: [
          { hostPort: 31_001, containerPort: 8080, protocol: 'tcp' },
          { hostPort: 31_000, containerPort: 53, protocol: 'udp' },
        ],
        parameters: [
          ['label', 'a=b'],
          ['label', 'c=d'],
        ],
        volumes: [
          { containerPath: '/etc/host', hostPath: '/etc', mode: 'RO' },
          { containerPath: '/data', hostPath: 'data', mode: 'RW' },
        ],
      }),
      healthCheck: {
        command: { value: 'test -e /ok', shell: true, arguments: [], environment: [], uris: [] },
        ...{ delaySeconds: 15, gracePeriodSeconds: 300, intervalSeconds: 5, timeoutSeconds: 20 },
        consecutiveFailures: 2,
      },
    });
    assert.deepEqual(command, {
      ...{ value: 'serve $PORT0', shell: true, arguments: [], user: 'www' },
      uris: [
        { value: 'http://files/a.tgz', executable: false, extract: true, cache: true },
        { value: 'http://files/b', executable: true, extract: false, cache: false },
      ],
    });
    assert.deepEqual(Object.fromEntries(environment), {
      ...{ MESOS_TASK_ID: 'shop_web.planned', MARATHON_APP_ID: '/shop/web', HOST: 'slave-1' },
      ...{
        MARATHON_APP_VERSION: '2016-01-01T00:00:00.000Z',
        MARATHON_APP_DOCKER_IMAGE: 'registry:5000/app:1',
      },
      ...{
        MARATHON_APP_RESOURCE_CPUS: '0.5',
        MARATHON_APP_RESOURCE_MEM: '64.0',
        MARATHON_APP_RESOURCE_DISK: '10.0',
      },
      ...{ MARATHON_APP_LABELS: 'TEAM A_B', MARATHON_APP_LABEL_TEAM: 'shop', MARATHON_APP_LABEL_A_B: 'c d' },
      ...{ PORT: '31001', PORT0: '31001', PORT1: '31000', PORTS: '31001,31000' },
      ...{ PORT_8080: '31001', PORT_53: '31000', PORT_WEB: '31001', A: '1', B: '2' },
    });
    assert.deepEqual(assignedPorts, [31_001]);
  });

  it('that says next to nothing has the defaults of Marathon, and one port', () => {
    const { task, assignedPorts } = translated({ id: 'a', cmd: 'true' });
    assert.deepEqual(task.resources, { cpus: 1, memMb: 128, ports: [{ begin: 31_000, end: 31_000 }] });
    assert.deepEqual(
      [task.name, task.user, task.container, task.healthCheck],
      ['a', 'root', undefined, undefined],
    );
    assert.equal(task.killGraceMs, undefined);
    assert.deepEqual(assignedPorts, [31_000]);
    const { MARATHON_APP_ID, MARATHON_APP_VERSION, MARATHON_APP_LABELS, PORT_31000 } = Object.fromEntries(
      task.command.environment,
    );
    assert.deepEqual([MARATHON_APP_ID, MARATHON_APP_VERSION, MARATHON_APP_LABELS], ['/a', ASSUMED.now, '']);
    assert.equal(PORT_31000, '31000');
  });

  it('is run by a shell if it has a cmd, as it is if it has args or nothing', () => {
    const run = (app: object) => {
      const { value, shell, arguments: args } = taskOf({ id: 'a', container: image(), ...app }).command;
      return [value, shell, args];
    };
    assert.deepEqual(run({ cmd: 'a b' }), ['a b', true, []]);
    assert.deepEqual(run({ args: ['a b', 'c'] }), [undefined, false, ['a b', 'c']]);
    assert.deepEqual(run({ args: [] }), [undefined, false, []]);
    assert.deepEqual(run({}), [undefined, false, []]);
    assert.deepEqual(run({ cmd: '' }), [undefined, false, []]);
  });

  it('of the time before container.docker names its image as an URL, with options', () => {
    const { task } = translated({
      ...{ id: 'a', cmd: 'true', ports: [8080, 0] },
      container: { image: 'docker:///app:1', options: ['-v', '/etc:/etc'] },
    });
    assert.deepEqual(task.container, { form: 'old', image: 'docker:///app:1', options: ['-v', '/etc:/etc'] });
    assert.deepEqual(task.resources.ports, [{ begin: 31_000, end: 31_001 }]);
    assert.deepEqual(taskOf({ id: 'a', container: { options: [] } }).container, { form: 'old', options: [] });
  });

  it('gets the ports that it insists on, else those of the offer, whatever it calls them', () => {
    const ports = (app: object) => {
      const { task, assignedPorts } = translated({ id: 'a', cmd: 'true', ...app });
      const { PORTS } = Object.fromEntries(task.command.environment);
      return [
        task.resources.ports.map(({ begin, end }) => `${begin}-${end}`).join(' '),
        PORTS,
        assignedPorts.length,
      ];
    };
    assert.deepEqual(ports({ ports: [8080, 9090] }), ['31000-31001', '31000,31001', 2]);
    assert.deepEqual(ports({ ports: [8080, 9090], requirePorts: true }), [
      '8080-8080 9090-9090',
      '8080,9090',
      0,
    ]);
    assert.deepEqual(ports({ portDefinitions: [{ port: 80, protocol: 'tcp', name: 'x', labels: {} }] }), [
      ...['31000-31000', '31000', 1],
    ]);
    assert.deepEqual(ports({ ports: [] }), ['', undefined, 0]);
    assert.deepEqual(variablesOf({ id: 'a', ports: [8080], requirePorts: true }).PORT_8080, '8080');
  });

  it('has a container port of 0 mapped to itself, and a mapping for each protocol', () => {
    const portMappings = [{ containerPort: 0 }, { containerPort: 53, protocol: 'udp,tcp' }];
    const { container } = taskOf({ id: 'a', container: image({ network: 'BRIDGE', portMappings }) });
    assert.deepEqual(container?.form === 'new' && container.portMappings, [
      { hostPort: 31_000, containerPort: 31_000, protocol: 'tcp' },
      { hostPort: 31_001, containerPort: 53, protocol: 'udp' },
      { hostPort: 31_001, containerPort: 53, protocol: 'tcp' },
    ]);
  });

  it('on a network of the user has its name, and host ports only where it asks for them', () => {
    const { task } = translated({
      ...{ id: 'a', ipAddress: { networkName: 'dev', groups: [], discovery: {} } },
      container: image({
        network: 'USER',
        portMappings: [{ containerPort: 80 }, { containerPort: 81, hostPort: 0 }],
      }),
    });
    const { container } = task;
    assert.ok(container?.form === 'new');
    assert.deepEqual([container.network, container.networkName], ['USER', 'dev']);
    assert.deepEqual(container.portMappings, [{ hostPort: 31_000, containerPort: 81, protocol: 'tcp' }]);
    assert.deepEqual(task.resources.ports, [{ begin: 31_000, end: 31_000 }]);
    const { PORT0, PORT1, PORT_80, PORTS } = Object.fromEntries(task.command.environment);
    assert.deepEqual([PORT0, PORT1, PORT_80, PORTS], ['80', '31000', '80', '31000']);
    assert.deepEqual(taskOf({ id: 'a', ipAddress: {}, container: image() }).resources.ports, []);
  });

  it('has the volume driver of its external volumes', () => {
    const external = { name: 'vol', provider: 'dvdi', options: { 'dvdi/driver': 'rexray' } };
    const { container } = taskOf({
      id: 'a',
      container: { ...image(), volumes: [{ containerPath: '/data', external, mode: 'RW' }] },
    });
    assert.ok(container?.form === 'new');
    assert.equal(container.volumeDriver, 'rexray');
    assert.deepEqual(container.volumes, [{ containerPath: '/data', hostPath: 'vol', mode: 'RW' }]);
  });

  it('unpacks its uris by their suffix, and takes fetch where both are there', () => {
    const uris = (app: object) =>
      taskOf({ id: 'a', ...app }).command.uris.map(({ value, extract }) => [value, extract]);
    assert.deepEqual(uris({ uris: ['http://h/a.tar.gz', 'http://h/b.jar'] }), [
      ['http://h/a.tar.gz', true],
      ['http://h/b.jar', false],
    ]);
    assert.deepEqual(uris({ uris: ['http://h/a.zip'], fetch: [{ uri: 'http://h/c' }] }), [
      ['http://h/c', true],
    ]);
    assert.deepEqual(uris({ uris: ['http://h/a.zip'], fetch: [] }), [['http://h/a.zip', true]]);
  });

  it("is taken as Marathon's API answers it: in an envelope, with nulls and facts of its own", () => {
    const { task } = translated({
      app: {
        ...{ id: '/a', cmd: null, args: null, user: null, container: image(), executor: '', storeUrls: [] },
        ...{
          tasksRunning: 1,
          tasksStaged: 0,
          deployments: [],
          versionInfo: { lastScalingAt: 'x' },
          residency: null,
        },
        ...{ ipAddress: null, acceptedResourceRoles: null, healthChecks: [], uris: [], tasks: [] },
      },
    });
    assert.equal(task.taskId, 'a.planned');
  });

  const SECRET = 'hunter2';
  const docker = (more: object) => ({ id: 'a', container: image(more) });
  const WRONG: readonly (readonly [app: unknown, says: string | RegExp])[] = [
    ['{"id": "a",\n "env": {"P": "hunter2" "Q"}}', 'the JSON cannot be read: line 2 column 25'],
    ['{"id": hunter2}', 'the JSON cannot be read'],
    ['', 'the JSON cannot be read'],
    ['7', 'the JSON is not an object'],
    [[{ id: 'a' }], 'the JSON is a list of apps: give one of them'],
    [{ id: '/g', apps: [] }, 'apps: this is a group of apps: give one of them'],
    [{ id: '/g', groups: [] }, 'groups: this is a group of apps: give one of them'],
    [{ id: '/p', containers: [] }, 'containers: this is a pod: it has no single container to plan'],
    [{}, 'id: is missing'],
    [{ id: '/' }, 'id: is missing'],
    [{ id: '/a b' }, 'id: is not the path of an app'],
    [{ id: 7 }, 'id: is not a string'],
    [{ app: { id: 'a', cpu: 1 } }, 'app.cpu: is not a field that is known here'],
    [{ id: 'a', command: 'true' }, 'command: is not a field that is known here'],
    [{ id: 'a', cmd: 'x', args: ['y'] }, 'args: the app has a cmd already: Marathon takes one of them'],
    [{ id: 'a', args: 'y' }, 'args: is not a list'],
    [{ id: 'a', args: ['y', 7] }, 'args[1]: is not a string'],
    [{ id: 'a', cpus: '1' }, 'cpus: is not a number of at least 0'],
    [{ id: 'a', mem: -1 }, 'mem: is not a number of at least 0'],
    [{ id: 'a', env: { PASSWORD: { secret: SECRET } } }, 'env.PASSWORD: is not a string'],
    [{ id: 'a', env: { 'A B': null } }, 'env."A B": is not a string'],
    [{ id: 'a', env: [SECRET] }, 'env: is not an object'],
    [{ id: 'a', ports: [80, 65_536] }, 'ports[1]: is not a whole number from 0 to 65535'],
    [
      { id: 'a', executor: '/opt/executor' },
      "executor: a framework's own executor is not planned, only //cmd",
    ],
    [
      { id: 'a', storeUrls: ['x'] },
      'storeUrls: only Marathon knows its artifact store: name the files in fetch',
    ],
    [{ id: 'a', residency: {} }, 'residency: persistent volumes are not planned'],
    [{ id: 'a', container: {} }, 'container.docker: is missing'],
    [docker({ imge: 'x' }), 'container.docker.imge: is not a field that is known here'],
    [docker({ network: 'bridge' }), 'container.docker.network: is not one of HOST, BRIDGE, NONE, USER'],
    [docker({ privileged: 'yes' }), 'container.docker.privileged: is not true or false'],
    [
      docker({ network: 'BRIDGE', portMappings: [{ containerPort: 80 }, { hostPort: 1.5 }] }),
      'container.docker.portMappings[1].hostPort: is not a whole number from 0 to 65535',
    ],
    [
      docker({ portMappings: [{ protocol: 'icmp' }] }),
      /^container\.docker\.portMappings\[0\]\.protocol: is not one of/,
    ],
    [docker({ parameters: [{ value: 'x' }] }), 'container.docker.parameters[0].key: is missing'],
    [docker({ parameters: { a: 'b' } }), 'container.docker.parameters: is not a list'],
    [
      { id: 'a', container: { ...image(), volumes: [{ hostPath: '/x' }] } },
      'container.volumes[0].containerPath: is missing',
    ],
    [
      { id: 'a', container: { ...image(), volumes: [{ containerPath: '/x', persistent: { size: 1 } }] } },
      'container.volumes[0].persistent: persistent volumes are not planned',
    ],
    [
      { id: 'a', container: { image: 'docker:///x', docker: {} } },
      'container.docker: is not a field that is known here',
    ],
    [{ id: 'a', healthChecks: [{ protocol: 'COMMAND' }] }, 'healthChecks[0].command: has no value'],
    [{ id: 'a', healthChecks: [{ every: 5 }] }, 'healthChecks[0].every: is not a field that is known here'],
    [{ id: 'a', fetch: [{ url: 'x' }] }, 'fetch[0].uri: is missing'],
  ];

  for (const [app, says] of WRONG) {
    it(`is refused in one line: ${String(says)}`, () => {
      assert.throws(
        () => translated(app),
        (error) => {
          assert.ok(error instanceof Fault && error.kind === 'protocol');
          if (typeof says === 'string') assert.equal(error.message, says);
          else assert.match(error.message, says);
          assert.ok(!error.message.includes(SECRET) && !error.message.includes('\n'));
          return true;
        },
      );
    });
  }
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { mesosContainerId } from '../../../src/container/identity.ts';
import { Fault } from '../../../src/fault.ts';
import { decode, encode, type Input } from '../../../src/mesos/codec.ts';
import {
  Containers,
  Launch,
  Reason,
  ResourceStatistics,
  TaskState,
  Termination,
  Update,
} from '../../../src/mesos/messages.ts';
import {
  decodeContainerId,
  decodeLaunch,
  decodeUpdate,
  encodeContainers,
  encodeResourceStatistics,
  encodeTermination,
} from '../../../src/mesos/task-view.ts';
import { CALLS, type FILES, only } from './recordings.ts';

type LaunchInput = Input<typeof Launch>;

function recorded(file: (typeof FILES)[number], verb: string): Buffer[] {
  return CALLS.filter((call) => call.file === file && call.verb === verb).map(({ stdin }) =>
    stdin.subarray(4),
  );
}

const id = (value: string) => {
  const checked = mesosContainerId(value);
  assert.ok(checked);
  return checked;
};

const minimal: LaunchInput = {
  container_id: { value: 'c-1' },
  task_info: { name: 'web', task_id: { value: 't-1' } },
  executor_info: { executor_id: { value: 'e-1' }, framework_id: { value: 'f-1' } },
  directory: '/sandbox',
};

const viewOf = (launch: LaunchInput) => decodeLaunch(encode(Launch, launch));
const withTask = (task: LaunchInput['task_info']) =>
  viewOf({ ...minimal, task_info: { ...minimal.task_info, ...task } });

function refuses(work: () => unknown, field: string): void {
  assert.throws(work, (error) => {
    assert.ok(error instanceof Fault, String(error));
    assert.equal(error.kind, 'protocol');
    assert.ok(error.message.startsWith(field), error.message);
    return true;
  });
}

describe('decodeLaunch of recorded records', () => {
  it('reads a command task of 0.28.3 in the new form, every field', () => {
    const framework = '430a044f-24a2-4fd6-94fc-7384daa09fab';
    assert.deepEqual(decodeLaunch(only(recorded('command-task', 'launch'))), {
      kind: 'command',
      containerId: '097bb7e3-6899-459e-b5f5-5ab97c714b83',
      frameworkId: `${framework}-0000`,
      executorId: 'web-0',
      taskId: 'web-0',
      name: 'web-0',
      sandbox: `/var/lib/mesos/slaves/${framework}-S0/frameworks/${framework}-0000/executors/web-0/runs/097bb7e3-6899-459e-b5f5-5ab97c714b83`,
      user: 'root',
      slaveId: `${framework}-S0`,
      slavePid: 'slave(1)@127.0.0.1:5051',
      checkpoint: false,
      command: {
        value: '/webapp/start.sh --port $PORT0',
        shell: true,
        arguments: [],
        environment: [
          ['VAR', 'VALUE'],
          ['PORT0', '31014'],
          ['MULTI', 'two\nlines'],
        ],
        uris: [
          { value: 'http://artifacts.example/webapp.tgz', executable: false, extract: true, cache: false },
          { value: 'file:///etc/hostname', executable: true, extract: false, cache: false },
        ],
        user: 'root',
      },
      container: {
        form: 'new',
        type: 'DOCKER',
        image: 'registry.example:5000/marketing:latest',
        network: 'BRIDGE',
        portMappings: [
          { hostPort: 31014, containerPort: 3000, protocol: 'tcp' },
          { hostPort: 31015, containerPort: 3001, protocol: 'udp' },
        ],
        privileged: false,
        parameters: [
          ['label', 'team=web'],
          ['cap-add', 'NET_ADMIN'],
        ],
        forcePull: true,
        volumes: [
          { containerPath: '/srv', hostPath: '/srv', mode: 'RO' },
          { containerPath: '/cache', hostPath: 'cache', mode: 'RW' },
        ],
        hostname: 'web-1',
      },
      resources: {
        cpus: 0.5,
        memMb: 64,
        ports: [
          { begin: 31014, end: 31015 },
          { begin: 31020, end: 31020 },
        ],
      },
      healthCheck: {
        command: { value: 'true', shell: true, arguments: [], environment: [], uris: [] },
        delaySeconds: 1,
        intervalSeconds: 2,
        timeoutSeconds: 3,
        consecutiveFailures: 2,
        gracePeriodSeconds: 4,
      },
    });
  });

  for (const file of ['command-task-0.19.1', 'command-task-0.22.2'] as const) {
    it(`reads a ${file}`, () => {
      const task = decodeLaunch(only(recorded(file, 'launch')));
      assert.equal(task.kind, 'command');
      assert.equal(task.executorId, 'web');
      assert.equal(task.taskId, 'web');
      assert.match(task.frameworkId, /^20261122-0846\d\d-16777343-5050-\d+-0000$/);
      assert.equal(task.slavePid, 'slave(1)@127.0.0.1:5051');
      assert.equal(task.command.value, '/webapp/start.sh');
      assert.equal(task.command.shell, true);
      assert.equal(task.container, undefined);
      assert.equal(task.healthCheck, undefined);
      assert.deepEqual(task.resources, { cpus: 0.5, memMb: 64, ports: [{ begin: 31014, end: 31015 }] });
    });
  }

  it('reads an executor task: its own command, name and resources, no task id', () => {
    const task = decodeLaunch(only(recorded('executor-task', 'launch')));
    assert.equal(task.kind, 'executor');
    assert.equal(task.containerId, 'fb7c38a2-c09e-4e16-a321-7ddffce255ab');
    assert.equal(task.executorId, 'ex-exec');
    assert.equal(task.name, 'ex');
    assert.equal('taskId' in task, false);
    assert.equal(task.command.value, './my-executor --flag');
    assert.deepEqual(task.resources, { cpus: 0.1, memMb: 32, ports: [] });
  });

  it('sees checkpointing', () => {
    assert.equal(decodeLaunch(only(recorded('slave-restart', 'launch'))).checkpoint, true);
    assert.equal(decodeLaunch(only(recorded('kill-task', 'launch'))).checkpoint, false);
  });
});

describe('decodeLaunch', () => {
  it('gives a value that JSON keeps as it is', () => {
    for (const { verb, stdin } of CALLS) {
      if (verb !== 'launch') continue;
      const task = decodeLaunch(stdin.subarray(4));
      assert.deepEqual(JSON.parse(JSON.stringify(task)), task);
    }
  });

  it('takes an absent and an empty command value as none', () => {
    assert.equal(withTask({}).command.value, undefined);
    assert.equal(withTask({ command: {} }).command.value, undefined);
    assert.equal(withTask({ command: { value: '' } }).command.value, undefined);
    assert.deepEqual(withTask({ command: { shell: false, value: 'a', arguments: ['a', ''] } }).command, {
      value: 'a',
      shell: false,
      arguments: ['a', ''],
      environment: [],
      uris: [],
    });
  });

  it('adds up resources of several roles, keeps ports in their order, ignores what it does not know', () => {
    const scalar = (name: string, value: number, role: string) => ({
      name,
      type: 0,
      scalar: { value },
      role,
    });
    const ports = (begin: number, end: number) => ({ name: 'ports', ranges: { range: [{ begin, end }] } });
    const resources = [
      scalar('cpus', 0.5, '*'),
      ports(31_010, 31_012),
      scalar('mem', 64, '*'),
      scalar('cpus', 1.25, 'prod'),
      scalar('disk', Number.NaN, '*'),
      ports(31_000, 31_000),
      scalar('mem', 36, 'prod'),
    ];
    assert.deepEqual(withTask({ resources }).resources, {
      cpus: 1.75,
      memMb: 100,
      ports: [
        { begin: 31_010, end: 31_012 },
        { begin: 31_000, end: 31_000 },
      ],
    });
    assert.deepEqual(withTask({}).resources, { ports: [] });
  });

  it('reads the old container form, and prefers the new one where both are there', () => {
    const container = { image: 'docker:///busybox', options: ['-c', '10'] };
    assert.deepEqual(withTask({ command: { container } }).container, {
      form: 'old',
      image: 'docker:///busybox',
      options: ['-c', '10'],
    });
    const both = withTask({
      command: { container },
      container: { type: 1, docker: { image: 'busybox' } },
    }).container;
    assert.equal(both?.form, 'new');
    assert.equal(both?.image, 'busybox');
  });

  it("takes no container for a command task from executor_info: that is the slave's own executor's", () => {
    const executor_info = {
      ...minimal.executor_info,
      container: { type: 1, docker: { image: 'of-the-executor' } },
      command: { value: 'mesos-executor', container: { image: 'docker:///of-the-executor' } },
    };
    const of = (task: object) =>
      viewOf({ ...minimal, task_info: { ...minimal.task_info, ...task }, executor_info });
    assert.equal(of({}).container, undefined);
    const old = of({ command: { value: 'x', container: { image: 'docker:///old' } } });
    assert.deepEqual(
      [old.container?.form, old.container?.image, old.command.value],
      ['old', 'docker:///old', 'x'],
    );
    assert.equal(of({ container: { type: 1, docker: { image: 'new' } } }).container?.image, 'new');
  });

  it("reads an executor's container in both forms", () => {
    const executor = minimal.executor_info;
    const { task_info: _, ...withoutTask } = minimal;
    const old = viewOf({
      ...withoutTask,
      executor_info: { ...executor, command: { container: { image: 'docker:///a' } } },
    });
    assert.deepEqual(old.container, { form: 'old', image: 'docker:///a', options: [] });
    const current = viewOf({
      ...withoutTask,
      executor_info: { ...executor, command: { container: { image: 'x' } }, container: { type: 2 } },
    });
    assert.deepEqual(current.container, {
      form: 'new',
      type: 'MESOS',
      network: 'HOST',
      portMappings: [],
      privileged: false,
      parameters: [],
      forcePull: false,
      volumes: [],
    });
  });

  it('reads what 1.0 added to the new form: USER networks by name, Docker volumes, a driver', () => {
    const view = withTask({
      container: {
        type: 1,
        docker: { image: 'a', network: 4, privileged: true, volume_driver: 'rexray' },
        network_infos: [{}, { name: 'blue' }],
        volumes: [
          {
            container_path: '/data',
            mode: 1,
            source: {
              type: 1,
              docker_volume: {
                driver: 'nfs',
                name: 'vol',
                driver_options: { parameter: [{ key: 'size', value: '1G' }] },
              },
            },
          },
        ],
      },
    }).container;
    assert.equal(view?.form, 'new');
    assert.equal(view.network, 'USER');
    assert.equal(view.networkName, 'blue');
    assert.equal(view.privileged, true);
    assert.equal(view.volumeDriver, 'rexray');
    assert.deepEqual(view.volumes, [
      {
        containerPath: '/data',
        mode: 'RW',
        dockerVolume: { driver: 'nfs', name: 'vol', driverOptions: [['size', '1G']] },
      },
    ]);
  });

  it('reads the health check of 0.19 in CommandInfo, which has neither grace nor command', () => {
    const command = { health_check: { http: { port: 80, statuses: [200, 204] }, failures: 7 } };
    assert.deepEqual(withTask({ command }).healthCheck, {
      http: { port: 80, path: '/', statuses: [200, 204] },
      delaySeconds: 15,
      intervalSeconds: 10,
      timeoutSeconds: 20,
      consecutiveFailures: 7,
      gracePeriodSeconds: 0,
    });
    const own = { delay_seconds: 1, interval_seconds: 2, timeout_seconds: 3, failures: 4 };
    assert.deepEqual(
      withTask({ command: { health_check: { http: { port: 81, path: '/up' }, ...own } } }).healthCheck,
      {
        http: { port: 81, path: '/up', statuses: [] },
        delaySeconds: 1,
        intervalSeconds: 2,
        timeoutSeconds: 3,
        consecutiveFailures: 4,
        gracePeriodSeconds: 0,
      },
    );
    const asked = withTask({ command: { value: 'x', health_check: {} } });
    assert.equal(asked.healthCheck?.gracePeriodSeconds, 0);
    // In its place stands `shell` of later versions, which is true where nobody says otherwise.
    assert.equal(asked.command.shell, true);
  });

  it('gives a health check the defaults of Mesos', () => {
    assert.deepEqual(withTask({ health_check: {} }).healthCheck, {
      delaySeconds: 15,
      intervalSeconds: 10,
      timeoutSeconds: 20,
      consecutiveFailures: 3,
      gracePeriodSeconds: 10,
    });
  });

  it('keeps what makes no sense in a health check: a task is not refused for it', () => {
    const health_check = {
      http: { port: 70_000 },
      delay_seconds: -1,
      interval_seconds: Number.NaN,
      timeout_seconds: Number.POSITIVE_INFINITY,
      consecutive_failures: 0,
    };
    assert.deepEqual(withTask({ health_check }).healthCheck, {
      http: { port: 70_000, path: '/', statuses: [] },
      delaySeconds: -1,
      intervalSeconds: null,
      timeoutSeconds: null,
      consecutiveFailures: 0,
      gracePeriodSeconds: 10,
    });
    assert.equal(withTask({ health_check: { http: {} } }).healthCheck?.http?.port, 0);
  });

  it('takes the new form of a health check where both are there', () => {
    const command = { health_check: { http: { port: 80 } } };
    const health_check = { http: { port: 81 } };
    assert.equal(withTask({ command, health_check }).healthCheck?.http?.port, 81);
  });

  it("leaves the health of a framework's own executor to it", () => {
    const { task_info: _, ...rest } = minimal;
    const command = { value: 'run', health_check: { http: { port: 80 } } };
    const view = viewOf({ ...rest, executor_info: { ...minimal.executor_info, command } });
    assert.deepEqual([view.kind, view.healthCheck], ['executor', undefined]);
  });

  it('reads graces in milliseconds, a negative one as none at all', () => {
    const launch = {
      ...minimal,
      task_info: { ...minimal.task_info, kill_policy: { grace_period: { nanoseconds: 2_500_000_000 } } },
      executor_info: { ...minimal.executor_info, shutdown_grace_period: { nanoseconds: -5 } },
    };
    assert.equal(viewOf(launch).killGraceMs, 2500);
    assert.equal(viewOf(launch).shutdownGraceMs, 0);
    assert.equal(viewOf(minimal).killGraceMs, undefined);
  });

  it("takes ids that a record lacks from launch's environment, but never over the record's", () => {
    const defaults = { frameworkId: 'F', executorId: 'E', slaveId: 'S', slavePid: 'slave(1)@1.2.3.4:5' };
    const { executor_info: _, ...byHand } = minimal;
    const view = decodeLaunch(encode(Launch, byHand), defaults);
    assert.deepEqual(
      [view.frameworkId, view.executorId, view.slaveId, view.slavePid],
      ['F', 'E', 'S', defaults.slavePid],
    );
    assert.equal(decodeLaunch(encode(Launch, minimal), defaults).frameworkId, 'f-1');
    const bare = viewOf(byHand);
    assert.deepEqual(
      [bare.frameworkId, bare.executorId, bare.slaveId, bare.slavePid],
      ['', 't-1', '', undefined],
    );
  });

  it('takes the slave from the task where the record does not name it', () => {
    const { slave_id: _, ...unnamed } = minimal;
    const task_info = { ...minimal.task_info, slave_id: { value: 'of-the-task' } };
    assert.equal(viewOf({ ...unnamed, task_info }).slaveId, 'of-the-task');
    assert.equal(
      viewOf({ ...minimal, slave_id: { value: 'of-the-record' }, task_info }).slaveId,
      'of-the-record',
    );
  });

  it('names a task without a name after its executor', () => {
    assert.equal(withTask({ name: '' }).name, 'e-1');
    assert.equal(withTask({ name: 'x' }).name, 'x');
  });

  it('refuses amounts whose sum is no number', () => {
    const cpus = { name: 'cpus', type: 0, scalar: { value: 1e308 } };
    const update = encode(Update, { container_id: { value: 'c' }, resources: [cpus, cpus] });
    refuses(() => decodeUpdate(update), 'Update.resources[1] (cpus) is not a usable number');
  });

  it('refuses what is malformed and names the field', () => {
    const { task_info, executor_info, container_id, directory, ...rest } = minimal;
    const whole = { task_info, executor_info, container_id, directory, ...rest };
    refuses(() => viewOf({ ...whole, container_id: undefined }), 'Launch.container_id');
    refuses(() => viewOf({ ...whole, container_id: { value: '' } }), 'Launch.container_id');
    refuses(() => viewOf({ ...whole, container_id: { value: '../etc' } }), 'Launch.container_id');
    refuses(() => viewOf({ ...whole, container_id: { value: 'a\nb' } }), 'Launch.container_id');
    refuses(() => viewOf({ ...whole, directory: undefined }), 'Launch.directory is missing');
    refuses(() => viewOf({ ...whole, directory: 'sandbox' }), 'Launch.directory is not an absolute path');
    refuses(() => viewOf({ container_id, directory }), 'Launch has neither');
    refuses(() => viewOf({ ...whole, task_info: { name: 'x' } }), 'Launch.task_info.task_id');
    refuses(() => decodeLaunch(Buffer.alloc(0)), 'Launch.container_id');
    refuses(() => decodeLaunch(Buffer.from('not a record')), 'Launch: ');
  });

  it('refuses resources that cannot be', () => {
    const bad = (name: string, value: number) => () => withTask({ resources: [{ name, scalar: { value } }] });
    for (const value of [Number.NaN, -0.1, Number.POSITIVE_INFINITY]) {
      refuses(bad('cpus', value), 'Launch.task_info.resources[0] (cpus)');
      refuses(bad('mem', value), 'Launch.task_info.resources[0] (mem)');
    }
    const ports = (range: { begin?: number; end?: number }) => () =>
      withTask({ resources: [{ name: 'ports', ranges: { range: [range] } }] });
    refuses(ports({ begin: 1, end: 65_536 }), 'Launch.task_info.resources[0] (ports).end');
    refuses(ports({ begin: 2 ** 40, end: 2 ** 40 }), 'Launch.task_info.resources[0] (ports).begin');
    refuses(ports({ begin: 2, end: 1 }), 'Launch.task_info.resources[0] (ports) begins after its end');
    refuses(ports({ begin: 2 }), 'Launch.task_info.resources[0] (ports).end');
  });

  it('keeps what decodes and cannot be run, with the reason: that is for the task to fail with', () => {
    const docker = { image: 'a' };
    const table: readonly (readonly [container: object, why: RegExp | undefined])[] = [
      [{ type: 1, docker }, undefined],
      [{ type: 1 }, /^the container has type DOCKER and no DockerInfo$/],
      [{ type: 1, docker: { ...docker, network: 9 } }, /^network 9 /],
      [{ type: 1, docker: { ...docker, network: 4 }, network_infos: [{ name: 'a' }, { name: 'b' }] }, /a, b/],
      [
        { type: 1, docker: { ...docker, network: 2 }, network_infos: [{ name: 'a' }, { name: 'b' }] },
        undefined,
      ],
      [{ type: 1, docker, volumes: [{ container_path: '/v', mode: 1, source: { type: 7 } }] }, /at \/v is/],
      [
        {
          type: 1,
          docker,
          volumes: [{ container_path: '/v', mode: 1, source: { type: 7 }, host_path: '/h' }],
        },
        undefined,
      ],
    ];
    for (const [container, why] of table) {
      const view = withTask({ container }).container;
      assert.equal(view?.form, 'new');
      if (why === undefined) assert.equal(view.unusable, undefined);
      else assert.match(view.unusable ?? '', why);
    }
    const types = [2, 7, undefined].map((type) => withTask({ container: { type } }).container);
    assert.deepEqual(
      types.map((view) => view?.form === 'new' && view.type),
      ['MESOS', 'unknown', 'unknown'],
    );
    // Never the host's, the most powerful there is.
    const strange = withTask({ container: { type: 1, docker: { network: 9 } } }).container;
    assert.equal(strange?.form === 'new' && strange.network, 'NONE');
    const port_mappings = [{ host_port: 70_000, container_port: 4_000_000_000 }];
    const mapped = withTask({ container: { type: 1, docker: { ...docker, port_mappings } } }).container;
    assert.deepEqual(mapped?.form === 'new' && mapped.portMappings, [
      { hostPort: 70_000, containerPort: 4_000_000_000 },
    ]);
  });

  it('takes a path of the host before a source', () => {
    const source = { type: 1, docker_volume: { name: 'vol' } };
    const volumes = [{ container_path: '/v', host_path: '/h', mode: 2, source }];
    const view = withTask({ container: { type: 1, docker: {}, volumes } }).container;
    assert.deepEqual(view?.form === 'new' && view.volumes, [
      { containerPath: '/v', hostPath: '/h', mode: 'RO' },
    ]);
  });

  it('takes a volume without a mode for a writable one', () => {
    const volumes = [{ container_path: '/v', host_path: '/h' }];
    const view = withTask({ container: { type: 1, docker: {}, volumes } }).container;
    assert.equal(view?.form === 'new' && view.volumes[0]?.mode, 'RW');
  });

  it('refuses a mode that it does not know and what cannot be left out, rather than guess', () => {
    const container =
      (docker: object, volumes: object[] = []) =>
      () =>
        withTask({ container: { type: 1, docker, volumes } });
    const where = 'Launch.task_info.container';
    refuses(
      container({ port_mappings: [{ host_port: 1 }] }),
      `${where}.docker.port_mappings[0].container_port`,
    );
    refuses(container({}, [{ mode: 1 }]), `${where}.volumes[0].container_path`);
    refuses(container({}, [{ container_path: '/a', mode: 3 }]), `${where}.volumes[0].mode`);
    refuses(
      container({}, [{ container_path: '/a', source: { type: 1, docker_volume: {} } }]),
      `${where}.volumes[0].source.docker_volume.name`,
    );
  });
});

describe('the other records', () => {
  it('reads the recorded updates', () => {
    const updates = recorded('command-task', 'update').map(decodeUpdate);
    assert.deepEqual(updates, [
      {
        containerId: '097bb7e3-6899-459e-b5f5-5ab97c714b83',
        resources: {
          cpus: 0.6,
          memMb: 96,
          ports: [
            { begin: 31014, end: 31015 },
            { begin: 31020, end: 31020 },
          ],
        },
      },
      { containerId: '097bb7e3-6899-459e-b5f5-5ab97c714b83', resources: { cpus: 0.1, memMb: 32, ports: [] } },
    ]);
    // 0.19 names nothing at all when the task has ended.
    assert.deepEqual(recorded('command-task-0.19.1', 'update').map(decodeUpdate)[1]?.resources, {
      ports: [],
    });
    refuses(() => decodeUpdate(encode(Update, {})), 'Update.container_id');
  });

  it('reads the container of wait, usage and destroy', () => {
    assert.equal(
      decodeContainerId('wait', only(recorded('kill-task', 'wait'))),
      'b69c7c9b-c6b6-47f2-a3e4-ca4f3bb83c52',
    );
    assert.equal(
      decodeContainerId('usage', only(recorded('kill-task', 'usage'))),
      'b69c7c9b-c6b6-47f2-a3e4-ca4f3bb83c52',
    );
    refuses(() => decodeContainerId('destroy', Buffer.alloc(0)), 'Destroy.container_id');
  });

  it('writes a Termination that slaves of every version can read', () => {
    const bytes = encodeTermination({
      state: TaskState.FAILED,
      message: 'm',
      status: 3 << 8,
      killed: false,
      reasons: [Reason.CONTAINER_LAUNCH_FAILED],
    });
    assert.equal(bytes.toString('hex'), '08001201' + '6d' + '188006' + '2003' + '2815');
    // What slaves up to 0.25 require is there even if it is false or empty: the answer that a real 0.19.1 accepted.
    const least = encodeTermination({
      state: TaskState.FINISHED,
      message: '',
      status: 768,
      killed: false,
      reasons: [],
    });
    assert.equal(least.subarray(0, 7).toString('hex'), '08001200188006');
    const killed = {
      state: TaskState.FAILED,
      message: '',
      killed: true,
      reasons: [Reason.CONTAINER_LIMITATION_MEMORY],
    };
    assert.deepEqual(decode(Termination, encodeTermination(killed)), killed);
  });

  it('writes Containers, an empty record where there are none', () => {
    assert.equal(encodeContainers([]).length, 0);
    const bytes = encodeContainers([id('a'), id('b')]);
    assert.deepEqual(decode(Containers, bytes), { containers: [{ value: 'a' }, { value: 'b' }] });
    // As it was given to a real slave after its restart.
    const one = encodeContainers([id('a96b0648-4b89-46f6-bc5a-b97684a8340a')]);
    assert.equal(
      one.toString('hex'),
      `0a260a24${Buffer.from('a96b0648-4b89-46f6-bc5a-b97684a8340a').toString('hex')}`,
    );
  });

  it('writes ResourceStatistics', () => {
    const statistics = {
      timestamp: 1.5,
      cpus_limit: 0.5,
      mem_rss_bytes: 2 ** 40,
      mem_total_bytes: 7,
      processes: 3,
    };
    assert.deepEqual(decode(ResourceStatistics, encodeResourceStatistics(statistics)), statistics);
  });
});

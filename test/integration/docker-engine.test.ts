// The engine's calls against a real dockerd, and a planned container all the way into it.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { DEFAULT_CONFIG } from '../../src/config/schema.ts';
import type { CreateBody } from '../../src/container/create-request.ts';
import { containerName, type DockerId, mesosContainerId } from '../../src/container/identity.ts';
import { parseReference } from '../../src/container/image.ts';
import { taskOptions } from '../../src/container/options.ts';
import { plan } from '../../src/container/plan.ts';
import { updateLimits } from '../../src/container/resources.ts';
import type { TaskRequest } from '../../src/container/task.ts';
import { readAnswer } from '../../src/docker/client.ts';
import { Engine } from '../../src/docker/engine.ts';
import { isDaemonAway } from '../../src/docker/faults.ts';
import { translateOptions } from '../../src/docker/translate.ts';
import { isFault } from '../../src/fault.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { IMAGES, makeImages } from '../support/images.ts';
import { tempDirectory } from '../support/temp.ts';
import { skipWithoutTools } from '../support/tools.ts';

const never = new AbortController().signal;

function ref(name: string) {
  const answer = parseReference(name);
  assert.ok(answer.ok);
  return answer.image;
}

const skip = await skipWithoutTools();

describe('the engine', { skip }, () => {
  let dockerd: Dockerd;
  let engine: Engine;
  before(async () => {
    dockerd = await startDockerd({ liveRestore: true });
    await makeImages(dockerd);
    engine = new Engine({ kind: 'unix', path: dockerd.socket });
  });
  after(() => dockerd.stop());

  const create = async (name: string, body: Partial<CreateBody>) =>
    engine.createContainer({ query: { name }, body: { Image: IMAGES.busybox, ...body } }, never);
  const facts = async (id: DockerId) => {
    const found = await engine.inspect(id, never);
    assert.notEqual(found, 'absent');
    return found === 'absent' ? assert.fail() : found;
  };
  const remove = (id: DockerId) => engine.remove(id, { force: true, volumes: true }, never);

  test("an image's facts; one that is not there", async () => {
    const found = await engine.imageFacts(ref(IMAGES.ports), never);
    assert.ok(found !== 'absent');
    assert.deepEqual(found.exposedPorts.map(({ port, protocol }) => `${port}/${protocol}`).sort(), [
      '53/udp',
      '8080/tcp',
      '9090/tcp',
    ]);
    const entry = await engine.imageFacts(ref(IMAGES.entrypoint), never);
    assert.ok(entry !== 'absent');
    assert.deepEqual([entry.entrypoint, entry.cmd], [['echo', 'entry'], ['default']]);
    assert.equal(await engine.imageFacts(ref('no/such:1'), never), 'absent');
  });

  test('created, started, waited for, removed; each again is an answer and no error', async () => {
    const id = await create('life', { Cmd: ['sh', '-c', 'exit 7'], Labels: { 'deimos.root': '/r' } });
    assert.equal((await facts(id)).state, 'created');
    const ended = engine.wait(id, 'next-exit', never);
    assert.equal(await engine.start(id, never), 'started');
    assert.deepEqual(await ended, { exitCode: 7 });
    assert.deepEqual(await engine.wait(id, 'not-running', never), { exitCode: 7 });
    const after = await facts(id);
    assert.deepEqual([after.state, after.exitCode, after.pid, after.name], ['exited', 7, undefined, 'life']);
    assert.match(after.startedAt ?? '', /^20/);
    assert.equal(await engine.stop(id, 1, never), 'already-stopped');
    assert.equal(await engine.kill(id, 'SIGKILL', never), 'already-stopped');
    assert.equal(await remove(id), 'removed');
    assert.equal(await remove(id), 'absent');
    assert.equal(await engine.stop(id, 1, never), 'absent');
    assert.equal(await engine.kill(id, 'SIGTERM', never), 'absent');
    assert.equal(await engine.wait(id, 'not-running', never), 'absent');
    assert.equal(await engine.inspect('life', never), 'absent');
    assert.equal(await engine.updateLimits(id, { CpuShares: 5 }, never), 'absent');
  });

  test('a running container: started already, its pid and address, stopped after its grace', async () => {
    const id = await create('ignores', { Cmd: ['sh', '-c', "trap '' TERM; while :; do sleep 1; done"] });
    await engine.start(id, never);
    assert.equal(await engine.start(id, never), 'already');
    const running = await facts(id);
    assert.equal(running.state, 'running');
    assert.ok((running.pid ?? 0) > 1);
    assert.match(running.ipAddress ?? '', /^\d+\.\d+\.\d+\.\d+$/);
    await assert.rejects(engine.remove(id, { force: false, volumes: true }, never), (error) =>
      isFault(error, 'conflict'),
    );
    assert.equal(await engine.stop(id, 1, never), 'stopped');
    assert.equal((await facts(id)).exitCode, 137);
    await remove(id);
  });

  test('create: a taken name, an absent image and a bad request are three kinds', async () => {
    const id = await create('taken', {});
    await assert.rejects(create('taken', {}), (error) => isFault(error, 'conflict'));
    await assert.rejects(create('other', { Image: 'no/such:1' }), (error) => isFault(error, 'not-found'));
    await assert.rejects(
      create('bad', { HostConfig: { Memory: 5 } }),
      (error) => isFault(error, 'refused') && /memory/i.test(error.message) && !/\n|HTTP/.test(error.message),
    );
    await remove(id);
  });

  test('containers are listed by the root that they belong to, whatever their state', async () => {
    const labels = (root: string) => ({ 'deimos.root': root, 'deimos.container': `of ${root}` });
    const ours = await create('ours', { Labels: { ...labels('/root/a'), 'deimos.boot': 'one' } });
    const others = await create('others', { Labels: labels('/root/b') });
    assert.deepEqual(await engine.listByLabel('/root/a', never), [
      { id: ours, name: 'ours', state: 'created', mesosId: 'of /root/a', bootId: 'one' },
    ]);
    await remove(ours);
    await remove(others);
  });

  test('two removals at once: both return when it is gone', async () => {
    const id = await create('twice', { Cmd: ['sleep', '60'] });
    await engine.start(id, never);
    const outcomes = await Promise.all([remove(id), remove(id)]);
    assert.ok(outcomes.includes('removed'));
    assert.equal(await engine.inspect(id, never), 'absent');
  });

  test('a daemon that dies ends a wait, as away; an abort ends one with its reason', async () => {
    const id = await create('survivor', { Cmd: ['sleep', '60'] });
    await engine.start(id, never);
    const controller = new AbortController();
    const aborted = engine.wait(id, 'not-running', controller.signal);
    const reason = new Error('no longer wanted');
    controller.abort(reason);
    await assert.rejects(aborted, (error) => error === reason);

    const outcome = engine.wait(id, 'not-running', never).then(
      () => 'an answer',
      (error: unknown) => (isFault(error, 'docker') && isDaemonAway(error) ? 'away' : error),
    );
    // One of which we know that the daemon has taken it: the head of its answer is here, the rest is not.
    const taken = await engine.client.open('POST', `/containers/${id}/wait`, never);
    const broken = readAnswer(taken, never).then(
      () => 'an answer',
      (error: unknown) => (isDaemonAway(error) ? 'away' : error),
    );
    await dockerd.kill();
    assert.equal(await broken, 'away');
    assert.equal(await outcome, 'away');
    await assert.rejects(
      engine.inspect(id, never),
      (error) => isFault(error, 'docker') && isDaemonAway(error),
    );
    await dockerd.start();
    assert.equal((await facts(id)).state, 'running');
    await remove(id);
  });

  test('a daemon that takes connections and answers nothing is a timeout, and used again when it answers', async () => {
    const id = await create('frozen', {});
    const impatient = new Engine({ kind: 'unix', path: dockerd.socket }, 200);
    dockerd.freeze();
    try {
      await assert.rejects(impatient.inspect(id, never), (error) => isFault(error, 'timeout'));
      const controller = new AbortController();
      const reason = new Error('no longer wanted');
      const asked = engine.inspect(id, controller.signal);
      controller.abort(reason);
      await assert.rejects(asked, (error) => error === reason);
    } finally {
      dockerd.thaw();
    }
    assert.equal((await facts(id)).state, 'created');
    await remove(id);
  });

  test('of several hosts the first that answers is taken', async () => {
    const dead = { kind: 'unix', path: '/nonexistent/docker.sock' } as const;
    const alive = { kind: 'unix', path: dockerd.socket } as const;
    const found = await Engine.connect({ endpoints: [dead, alive], ignored: [] }, never);
    assert.deepEqual(found.endpoint, alive);
    await assert.rejects(Engine.connect({ endpoints: [dead, dead], ignored: [] }, never), isDaemonAway);
  });

  test('a planned task is created as planned, and its limits follow an update', async () => {
    await using directory = await tempDirectory();
    const sandbox = directory.at('with:colon');
    await mkdir(`${sandbox}/fs`, { recursive: true });
    const containerId = mesosContainerId('a1b2:c3_d4');
    assert.ok(containerId !== undefined);
    const image = ref(IMAGES.ports);
    const task: TaskRequest = {
      kind: 'command',
      containerId,
      frameworkId: 'f',
      executorId: 'e',
      taskId: 't',
      name: 'the task',
      sandbox,
      slaveId: 's',
      checkpoint: false,
      command: {
        value: 'env; touch $MESOS_SANDBOX/was-here',
        shell: true,
        arguments: [],
        environment: [['SECRET', 'hunter2']],
        uris: [],
      },
      container: {
        form: 'old',
        image: `docker:///${IMAGES.ports}`,
        options: ['--label', 'a=b', '-v /etc:/etc-host:ro', '--cap-add=NET_ADMIN', '-c', '10240', '--rm'],
      },
      resources: { cpus: 0.5, memMb: 64, ports: [{ begin: 31000, end: 31003 }] },
    };
    const options = taskOptions(task, DEFAULT_CONFIG.options);
    assert.ok(options.ok);
    const { request: translated } = await translateOptions(options.options, image, engine, never);
    const imageFacts = await engine.imageFacts(image, never);
    assert.ok(imageFacts !== 'absent');
    const planned = plan({
      task,
      config: DEFAULT_CONFIG,
      image,
      options,
      translated,
      imageFacts,
      slaveEnvironment: {},
    });
    assert.ok(planned.ok);
    assert.equal(planned.warnings.length, 2, planned.warnings.join('\n'));

    const id = await engine.createContainer(planned.request, never);
    const created = await facts(id);
    assert.equal(created.name, containerName(containerId));
    assert.equal(created.hostConfig.CpuShares, 512);
    assert.equal(created.hostConfig.Memory, 64 * 1024 * 1024);
    assert.match(String(created.hostConfig.CapAdd), /^(CAP_)?NET_ADMIN$/);
    assert.deepEqual(created.hostConfig.Binds, ['/etc:/etc-host:ro']);
    assert.equal(created.labels.a, 'b');
    assert.equal(created.labels['deimos.container'], containerId);
    assert.equal(created.logDriver, 'local');
    assert.equal(created.hostConfig.AutoRemove, false);
    assert.deepEqual(
      Object.entries(created.hostConfig.PortBindings ?? {}).map(([port, to]) => [port, to?.[0]?.HostPort]),
      [
        ['31003/tcp', '31003'],
        ['53/udp', '31000'],
        ['8080/tcp', '31001'],
        ['9090/tcp', '31002'],
      ],
    );
    await engine.start(id, never);
    assert.deepEqual(await engine.wait(id, 'not-running', never), { exitCode: 0 });
    const output = await dockerd.run(['logs', id]);
    for (const line of [
      'SECRET=hunter2',
      'TASK_INFO=the task',
      'PORT0=31000',
      'PORTS=31000,31001,31002,31003',
    ]) {
      assert.ok(output.split('\n').includes(line), line);
    }
    assert.ok(existsSync(`${sandbox}/fs/was-here`));

    const before = (await facts(id)).hostConfig;
    const update = updateLimits(before, task, { cpus: 1.1, memMb: 160 }, DEFAULT_CONFIG.limits);
    assert.ok(update !== undefined);
    assert.equal(await engine.updateLimits(id, update, never), 'updated');
    const raised = (await facts(id)).hostConfig;
    assert.deepEqual([raised.CpuShares, raised.Memory], [1024, 128 * 1024 * 1024]);
    assert.equal(updateLimits(raised, task, { cpus: 1.1, memMb: 160 }, DEFAULT_CONFIG.limits), undefined);
    await remove(id);
  });
});

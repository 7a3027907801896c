// A Launch record all the way to what Docker would be asked for: what a framework's user writes reaches all of this.
// Beside it the small records of the other verbs.

import assert from 'node:assert/strict';
import { DEFAULT_CONFIG } from '../../src/config/schema.ts';
import { environment } from '../../src/container/environment.ts';
import { planHealth } from '../../src/container/health.ts';
import { containerName, dockerId, mesosContainerId } from '../../src/container/identity.ts';
import { chooseImage } from '../../src/container/image.ts';
import { taskOptions } from '../../src/container/options.ts';
import { offeredPorts, pairPorts } from '../../src/container/ports.ts';
import { createLimits, plannedLimits } from '../../src/container/resources.ts';
import type { TaskRequest } from '../../src/container/task.ts';
import { planUris } from '../../src/container/uris.ts';
import * as messages from '../../src/mesos/messages.ts';
import { decodeContainerId, decodeLaunch, decodeUpdate } from '../../src/mesos/task-view.ts';
import { attempt, byteWords, checkKept, type Target } from '../engine/target.ts';
import { makeMessage } from '../protobuf-grammar.ts';

const HABITS = {
  words: {
    other: ['a', '', 'task-1', '-x', '../..', '漢'],
    value: ['c-1', 'sleep 1', 'docker:///busybox', 'http://h/a.tgz', 'file:///etc/passwd', '..', 'A=b'],
    directory: ['/sandbox', '/tmp/a:b', 'relative', ''],
    image: ['docker:///ubuntu:14.04', 'ubuntu', '-v', 'docker://registry:5000/a/b@sha256:00'],
    options: ['-p 80:80', '-v', '/:/host', '--', '//', '-e', 'A=b c', '--net=host', '\0'],
    name: ['cpus', 'mem', 'ports', 'disk', 'the task'],
    container_path: ['/data', 'data', 'a:b', ''],
    host_path: ['/srv', 'x', '../x', 'a,b"c'],
    key: ['label', 'net', 'env', 'volume', '--x', ''],
    protocol: ['tcp', 'UDP', 'x'],
  },
  usual: [
    ...[
      'Launch.container_id',
      'ContainerID.value',
      'Launch.directory',
      'Launch.task_info',
      'TaskInfo.task_id',
    ],
    ...[
      'TaskID.value',
      'TaskInfo.command',
      'TaskInfo.container',
      'ContainerInfo.type',
      'ContainerInfo.docker',
    ],
    ...['TaskInfo.resources', 'Resource.name', 'Scalar.value', 'Volume.container_path', 'Volume.mode'],
    ...['Value.Range.begin', 'Value.Range.end', 'Resource.scalar', 'Resource.ranges', 'Value.Ranges.range'],
    ...['DockerInfo.PortMapping.host_port', 'DockerInfo.PortMapping.container_port', 'Parameter.key'],
  ],
};

/** The first byte of an input says which verb it is for. */
export function target(): Target {
  return {
    dictionary: byteWords(
      '\x0a',
      '\x12',
      '\x22\x01/',
      '\x0a\x03\x0a\x01c',
      '//',
      '-e',
      'docker:///',
      '..',
      '/',
      '\0',
      '\x1b',
    ),
    make(random) {
      const verb = random.oneIn(4) ? 1 + random.below(4) : 0;
      const type =
        [messages.Launch, messages.Update, messages.Wait, messages.Destroy, messages.Usage][verb] ??
        messages.Launch;
      return Buffer.concat([Buffer.of(verb), makeMessage(type, random, HABITS)]);
    },
    run(input) {
      const record = input.subarray(1);
      switch ((input[0] ?? 0) % 5) {
        case 0:
          return launches(record);
        case 1: {
          const { value } = attempt(['protocol'], () => decodeUpdate(record));
          if (value !== undefined) checkResources(value.resources);
          return;
        }
        default: {
          const verb = (['wait', 'destroy', 'usage'] as const)[(input[0] ?? 0) % 3] ?? 'wait';
          const { value } = attempt(['protocol'], () => decodeContainerId(verb, record));
          if (value !== undefined) checkId(value);
        }
      }
    },
  };
}

function launches(record: Buffer): void {
  const { value: task } = attempt(['protocol'], () => decodeLaunch(record));
  if (task === undefined) return;
  checkId(task.containerId);
  assert.ok(task.sandbox.startsWith('/'));
  assert.ok(task.kind === 'executor' || task.taskId);
  checkKept(task);
  checkResources(task.resources);
  for (const term of [task.killGraceMs, task.shutdownGraceMs])
    assert.ok(term === undefined || (Number.isFinite(term) && term >= 0));
  checkPlanned(task);
}

/** What comes of it is an answer, whatever it is: nothing throws. */
function checkPlanned(task: TaskRequest): void {
  const image = chooseImage(task, DEFAULT_CONFIG, {}, { id: 'debian', versionId: '12' });
  if (image.ok) assert.match(image.image, /^[a-zA-Z0-9[]/);
  const options = taskOptions(task, DEFAULT_CONFIG.options);
  if (options.ok)
    assert.ok(
      ![...options.options, ...(options.argv ?? [])].some((word) => word.includes('\0')),
      'a NUL in a word',
    );
  const ports = offeredPorts(task.resources.ports);
  assert.equal(pairPorts(ports, []).pairs.length, ports.length);
  const variables = environment(task, {}, ports, containerName(task.containerId), []);
  if (variables.ok)
    for (const [name, value] of variables.variables)
      assert.ok(
        name !== '' && !/[=\0]/.test(name) && !value.includes('\0'),
        `${JSON.stringify(name)} is no variable`,
      );
  planUris({ uris: task.command.uris, unpack: true });
  for (const swap of [true, false]) {
    const created = createLimits(task.resources, { cfs: true, swap });
    for (const limit of Object.values(created)) assert.ok(Number.isSafeInteger(limit));
    plannedLimits(task, task.resources, { cfs: true, swap });
  }
  if (task.healthCheck === undefined) return;
  const health = planHealth(task.healthCheck);
  if (!health.ok) return;
  const { delayMs, intervalMs, timeoutMs, graceMs } = health.terms;
  for (const ms of [delayMs, intervalMs, timeoutMs, graceMs])
    assert.ok(ms >= 0 && ms < 2 ** 31, 'no term for a timer');
}

function checkId(id: string): void {
  assert.equal(mesosContainerId(id), id);
  assert.match(id, /^[A-Za-z0-9._:-]+$/);
  assert.ok(id !== '.' && id !== '..');
  assert.equal(dockerId(id) === undefined, !/^[0-9a-f]{64}$/.test(id));
}

function checkResources({ cpus, memMb, ports }: TaskRequest['resources']): void {
  for (const amount of [cpus, memMb])
    assert.ok(amount === undefined || (Number.isFinite(amount) && amount >= 0), `no amount: ${amount}`);
  for (const { begin, end } of ports) assert.ok(begin >= 0 && begin <= end && end <= 65_535);
}

// That the stand-in slave does what real slaves were recorded to do, and that it notices what a slave would suffer from.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decode, encode } from '../../../src/mesos/codec.ts';
import * as messages from '../../../src/mesos/messages.ts';
import { allPids, isAlive, procFile, statOf } from '../../support/proc.ts';
import { type LaunchedTask, type SlaveOptions, StandInSlave } from '../../support/slave.ts';
import type { MesosVersion } from '../../support/slave-protocol.ts';
import { encodePost, outgoing } from '../../support/slave-wire.ts';
import { commandTask, executorTask } from '../../support/tasks.ts';
import { tempDirectory } from '../../support/temp.ts';
import { until } from '../../support/until.ts';

const FAKE = fileURLToPath(new URL('../../support/fixtures/fake-containerizer.ts', import.meta.url));
const { FINISHED, FAILED, KILLED, RUNNING } = messages.TaskState;
const RECORDINGS: Readonly<Record<string, MesosVersion>> = {
  'command-task-0.19.1': '0.19.1',
  'command-task-0.22.2': '0.22.2',
  'command-task': '0.28.3',
  'kill-task': '0.28.3',
  'slave-restart': '0.28.3',
  shutdown: '0.28.3',
};

interface Line {
  readonly call?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly message?: string;
  readonly url?: string;
  readonly httpVersion?: string;
  readonly rawHeaders?: readonly string[];
  readonly body?: string;
}

function recording(name: string): Line[] {
  const file = new URL(`../../contract/recordings/${name}.jsonl`, import.meta.url);
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  return lines.map((line): Line => JSON.parse(line));
}

/** A slave with the fake containerizer, in a directory that goes with it. */
async function withSlave(
  options: Partial<SlaveOptions> & { readonly fault?: string },
  body: (slave: StandInSlave, root: string) => Promise<void>,
): Promise<void> {
  await using directory = await tempDirectory('ss-');
  const root = directory.at('fake');
  await using slave = await StandInSlave.start({
    containerizer: `${process.execPath} ${FAKE}`,
    workDirectory: directory.at('work'),
    environment: {
      LIBPROCESS_IP: '127.0.0.1',
      PATH: '/usr/bin:/bin',
      FAKE_ROOT: root,
      FAKE_FAULT: options.fault ?? '',
    },
    ...options,
  });
  try {
    await body(slave, root);
    await slave.stop();
    const mark = `MESOS_WORK_DIRECTORY=${slave.options.workDirectory}`;
    assert.deepEqual(
      allPids().filter((pid) => procFile(pid, 'environ')?.split('\0').includes(mark)),
      [],
      'stop leaves nothing',
    );
  } finally {
    for (const call of slave.calls.filter((one) => one.verb === 'launch')) {
      const file = `${root}/${call.containerId}/pid`;
      if (existsSync(file)) killGroup(Number(readFileSync(file, 'utf8')));
    }
  }
}

function killGroup(leader: number): void {
  if (leader > 1 && isAlive(leader) && statOf(leader)?.session === leader) process.kill(-leader, 'SIGKILL');
}

describe('the bytes of a message to an executor', () => {
  for (const [name, version] of Object.entries(RECORDINGS)) {
    it(`are those of ${name}`, () => {
      const sent = recording(name).filter((line) => line.url !== undefined);
      assert.ok(sent.length > 0);
      for (const line of sent) {
        const [, target = '', message = ''] =
          /^\/([^/]+)\/mesos\.internal\.(\w+)$/.exec(line.url ?? '') ?? [];
        const raw = encodePost(
          version,
          'slave(1)@127.0.0.1:5051',
          `${target}@h:1`,
          message,
          Buffer.from(line.body ?? '', 'hex'),
        );
        const head = raw.subarray(0, raw.indexOf('\r\n\r\n')).toString().split('\r\n');
        assert.equal(head[0], `POST ${line.url} HTTP/${line.httpVersion}`);
        assert.deepEqual(
          head.slice(1).flatMap((field) => field.split(': ')),
          line.rawHeaders,
        );
        const rest = raw.subarray(raw.indexOf('\r\n\r\n') + 4).toString('latin1');
        const text = Buffer.from(line.body ?? '', 'hex').toString('latin1');
        assert.equal(rest, text === '' ? '' : `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`);
      }
    });
  }
});

describe('the way to executors', () => {
  it('sends messages of one moment in one segment on one connection, which stays, and a new one when it broke', async () => {
    const connections: { readonly socket: Socket; readonly chunks: string[] }[] = [];
    const server = createServer((socket) => {
      const chunks: string[] = [];
      connections.push({ socket, chunks });
      socket.on('data', (chunk) => chunks.push(chunk.toString()));
      socket.on('error', () => {});
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    // Listening on TCP, the address is one of these.
    const { port } = server.address() as AddressInfo;
    const out = outgoing();
    out.send(`one@127.0.0.1:${port}`, Buffer.from('first '));
    out.send(`two@127.0.0.1:${port}`, Buffer.from('second '));
    await until('both', () => connections[0]?.chunks.join('').length === 13);
    assert.deepEqual(connections[0]?.chunks, ['first second ']);
    out.send(`one@127.0.0.1:${port}`, Buffer.from('third'));
    await until('the third', () => connections[0]?.chunks.join('').endsWith('third'));
    assert.equal(connections.length, 1);
    connections[0]?.socket.destroy();
    await until('a new connection', () => {
      out.send(`one@127.0.0.1:${port}`, Buffer.from('again'));
      return connections[1]?.chunks.join('').startsWith('again');
    });
    for (const { socket } of connections) socket.destroy();
    server.close();
  });
});

/** Messages of a conversation in their order, acknowledgements' place among the calls left out. */
function orderOf(words: readonly string[], kind: 'calls' | 'messages'): string[] {
  if (kind === 'messages') return words.filter((word) => word.endsWith('Message'));
  return words.filter((word) => !word.endsWith('Message') && word !== 'usage');
}

describe('a command task', { concurrency: 3 }, () => {
  for (const name of ['command-task-0.19.1', 'command-task-0.22.2', 'command-task']) {
    it(`goes as in ${name}: records, environment, order`, { timeout: 60_000 }, async () => {
      const lines = recording(name);
      const version = RECORDINGS[name];
      assert.ok(version);
      const launch = lines.find((line) => line.call === 'launch');
      const record = decode(messages.Launch, Buffer.from(launch?.stdin ?? '', 'hex').subarray(4));
      const frameworkId = record.executor_info?.framework_id?.value ?? '';
      await withSlave({ version }, async (slave, root) => {
        const recorded = {
          taskId: record.task_info?.task_id?.value ?? '',
          executorId: record.task_info?.task_id?.value ?? '',
          encode: (value: string) => encode(messages.TaskInfo, { ...record.task_info, slave_id: { value } }),
        };
        const launched = await slave.launch(recorded, {
          id: frameworkId,
          name: name === 'command-task' ? 'trace-web' : '',
        });
        await launched.ended();
        await launched.gone();
        await until('all calls ended', () => slave.calls.every((call) => call.end !== undefined));
        assert.deepEqual(slave.violations, []);

        const { containerId, sandbox } = launched;
        const own = JSON.stringify(decode(messages.Launch, await readFile(`${root}/${containerId}/launch`)));
        const renamed = own
          .replaceAll(slave.slaveId, record.slave_id?.value ?? '')
          .replaceAll(slave.upid, 'slave(1)@127.0.0.1:5051')
          .replaceAll(slave.options.workDirectory, '/var/lib/mesos')
          .replaceAll(containerId, record.container_id?.value ?? '');
        assert.deepEqual(JSON.parse(renamed), JSON.parse(JSON.stringify(record)));

        const environment = JSON.parse(await readFile(`${root}/${containerId}/environment`, 'utf8'));
        for (const added of ['FAKE_ROOT', 'FAKE_FAULT', 'PWD', '_', 'SHLVL', 'OLDPWD'])
          delete environment[added];
        assert.deepEqual(Object.keys(environment).sort(), Object.keys(launch?.env ?? {}).sort());
        const port = launch?.env?.LIBPROCESS_PORT === '0' ? '0' : slave.upid.split(':')[1];
        assert.equal(environment.LIBPROCESS_PORT, port);
        assert.equal(environment.MESOS_DIRECTORY, sandbox);

        const updates = lines.filter((line) => line.call === 'update');
        const resourcesOf = (bytes: Buffer) =>
          JSON.stringify(decode(messages.Update, bytes).resources.map(rounded));
        const wanted = updates.map((line) => resourcesOf(Buffer.from(line.stdin ?? '', 'hex').subarray(4)));
        const names = (await readdir(`${root}/${containerId}`)).filter((file) => file.startsWith('update-'));
        const files = names.map((file) => `${root}/${containerId}/${file}`);
        const had = await Promise.all(files.map(async (file) => resourcesOf(await readFile(file))));
        // Two that overlap may finish in any order.
        assert.deepEqual(had.sort(), wanted.sort());

        const theirs = lines.flatMap(
          (line) => line.call ?? line.message ?? line.url?.split('.').at(-1) ?? [],
        );
        const withoutShutdown = theirs.filter((word) => word !== 'ShutdownExecutorMessage');
        const ours = slave.history
          .filter((word) => !word.startsWith('end '))
          .map((word) => word.split(' ')[1] ?? '');
        assert.deepEqual(orderOf(ours, 'messages'), orderOf(withoutShutdown, 'messages'));
        // wait and update are called at the same moment.
        assert.deepEqual(orderOf(ours, 'calls').sort(), orderOf(withoutShutdown, 'calls').sort());
        assert.deepEqual(orderOf(ours, 'calls').slice(0, 3), ['recover', 'containers', 'launch']);
        const place = (word: string) => slave.history.indexOf(word);
        const early = version === '0.19.1';
        assert.equal(place('to-executor RunTaskMessage') < place('end update'), early);
        assert.ok(place('end launch') < place('call wait') && place('end launch') < place('call update'));
      });
    });
  }
});

function rounded(resource: messages.Resource) {
  const { name, ranges } = resource;
  return { name, ranges, value: Math.round((resource.scalar?.value ?? 0) * 1000) / 1000 };
}

const sleeper = (seconds: number) => commandTask({ value: `sleep ${seconds}` });

/** The process that the fake's executor runs; undefined once it has ended. */
function executorPid(root: string, task: LaunchedTask): number {
  return Number(readFileSync(`${root}/${task.containerId}/pid`, 'utf8'));
}

describe('the stand-in slave', { concurrency: 3, timeout: 120_000 }, () => {
  it('shows the framework each update once and in order, and what wait said', async () => {
    await withSlave({}, async (slave) => {
      const task = await slave.launch(commandTask({ value: 'exit 3' }));
      await task.ended();
      const termination = await task.gone();
      assert.deepEqual(
        task.updates().map(({ state, message, from }) => [state, message, from]),
        [
          [RUNNING, 'running', 'executor'],
          [FAILED, '3', 'executor'],
        ],
      );
      assert.equal(termination?.status, 3 << 8);
      assert.equal(slave.acknowledged.length, 2);
      assert.deepEqual(slave.violations, []);
      assert.match(readFileSync(`${task.sandbox}/stderr`, 'utf8'), /fake launch\n[\s\S]*fake wait\n/);
    });
  });

  it('leads each call in a session of its own, under the slave, in the sandbox', async () => {
    await withSlave({}, async (slave) => {
      const task = await slave.launch(sleeper(60));
      await task.reached(RUNNING);
      const [wait] = task.calls('wait');
      assert.ok(wait);
      const stat = statOf(wait.pid);
      assert.deepEqual([stat?.session, stat?.group, stat?.parent], [wait.pid, wait.pid, slave.pid]);
      assert.equal(wait.cwd, task.sandbox);
      assert.match(
        readFileSync(`/proc/${wait.pid}/status`, 'utf8'),
        /^SigIgn:\t[0-9a-f]+[13579bdf][0-9a-f]{3}$/m,
      );
      await slave.killTask(task);
      assert.equal((await task.ended()).state, KILLED);
      await task.gone();
      assert.deepEqual(slave.violations, []);
    });
  });

  it('can write byte by byte, leak descriptors, and have neither PATH nor HOME', async () => {
    await using directory = await tempDirectory('ss-');
    const environment = { FAKE_ROOT: directory.at('fake') };
    await withSlave({ stdinByteMs: 1, leakDescriptors: true, environment }, async (slave) => {
      const task = await slave.launch(commandTask({ value: 'exit 0' }));
      assert.equal((await task.ended()).state, FINISHED);
      await task.gone();
      const file = directory.at('fake', task.containerId, 'environment');
      const seen = JSON.parse(await readFile(file, 'utf8'));
      assert.equal(seen.HOME, undefined);
      assert.deepEqual(slave.violations, []);
    });
  });

  it('gives usage its answer, and calls it by itself where old slaves do', async () => {
    await withSlave({ usageEveryMs: 100 }, async (slave) => {
      const task = await slave.launch(sleeper(60));
      await task.reached(RUNNING);
      await until('usage called twice', () => task.calls('usage').length >= 2);
      const answer = await slave.usage(task);
      assert.ok(answer && (decode(messages.ResourceStatistics, answer).timestamp ?? 0) > 1e9);
      await slave.frameworkMessage(task, Buffer.from('words'));
      await slave.killTask(task);
      await task.gone();
    });
  });

  it('destroys a container whose executor does not register in time, and its wait with all its tree', async () => {
    await withSlave({ fault: 'never-registers', registrationTimeoutMs: 1_500 }, async (slave, root) => {
      const task = await slave.launch(sleeper(60));
      const wait = await until('wait', () => task.calls('wait')[0]);
      assert.equal((await task.ended()).state, FAILED);
      assert.equal(await task.gone(), undefined);
      assert.equal(task.calls('destroy').length, 1);
      await until('wait killed', () => !isAlive(wait.pid));
      await until('executor killed', () => !isAlive(executorPid(root, task)));
    });
  });

  it('reports a task that is killed before its executor registered, and destroys it or shuts the executor down', async () => {
    for (const [version, destroys] of [
      ['0.22.2', 1],
      ['1.0.4', 0],
    ] as const) {
      await withSlave({ version, stdinByteMs: 3 }, async (slave) => {
        const task = await slave.launch(sleeper(60));
        await slave.killTask(task);
        assert.deepEqual([(await task.ended()).state, (await task.ended()).from], [KILLED, 'slave']);
        await task.gone();
        assert.equal(task.calls('destroy').length, destroys);
        assert.ok(!slave.history.includes('to-executor RunTaskMessage'));
        assert.deepEqual(slave.violations, []);
      });
    }
  });

  it('destroys a container whose executor does not go when asked to', async () => {
    await withSlave({ fault: 'ignores-shutdown', shutdownGraceMs: 500 }, async (slave) => {
      const task = await slave.launch(sleeper(60));
      await task.reached(RUNNING);
      await slave.shutdownExecutor(task);
      await task.gone();
      assert.equal(task.calls('destroy').length, 1);
    });
  });

  it('SIGKILLed and started again, takes up checkpointed executors', async () => {
    await withSlave({ checkpoint: true }, async (slave) => {
      const task = await slave.launch(sleeper(60));
      await task.reached(RUNNING);
      await until('acknowledged', () => slave.acknowledged.length === 1);
      const [wait] = task.calls('wait');
      assert.ok(wait);
      await slave.kill();
      assert.ok(isAlive(wait.pid), 'calls outlive the slave');
      await slave.start();
      await slave.reregistered(task);
      await until('a second wait', () => task.calls('wait').length === 2);
      await slave.killTask(task);
      assert.equal((await task.ended()).state, KILLED);
      await task.gone();
      assert.equal(task.calls('destroy').length, 0);
      assert.deepEqual(slave.violations, []);
    });
  });

  it('destroys what does not reregister, and what it does not know', async () => {
    await withSlave(
      { checkpoint: true, fault: 'never-reregisters', reregistrationTimeoutMs: 500 },
      async (slave) => {
        const known = await slave.launch(sleeper(60));
        const unknown = await slave.launch(sleeper(60), { id: 'other', checkpoint: false });
        await known.reached(RUNNING);
        await unknown.reached(RUNNING);
        await slave.restart();
        await known.gone();
        await unknown.gone();
        assert.equal((await known.ended()).from, 'slave');
        assert.deepEqual(
          [known, unknown].map((task) => task.calls('destroy').length),
          [1, 1],
        );
      },
    );
  });

  it('hands a task for an own executor over without task_info', async () => {
    await withSlave({}, async (slave, root) => {
      const task = await slave.launch(executorTask({ value: './executor', image: 'x', env: { A: 'b' } }));
      await task.reached(RUNNING);
      const record = decode(messages.Launch, await readFile(`${root}/${task.containerId}/launch`));
      assert.equal(record.task_info, undefined);
      assert.equal(record.executor_info?.command?.value, './executor');
      assert.equal(record.executor_info?.command?.container?.image, 'docker:///x');
    });
  });

  it('keeps acknowledgements back when told', async () => {
    await withSlave({ acks: 'drop' }, async (slave) => {
      const task = await slave.launch(commandTask({ value: 'exit 0' }));
      await task.ended();
      assert.deepEqual(slave.acknowledged, []);
    });
  });

  const FAULTS: Readonly<Record<string, RegExp>> = {
    chatters: /update .*5 bytes on stdout/,
    'holds-stdout': /launch .*holds its stdout open/,
    'early-termination': /answered without a terminal update/,
    'impatient-termination': /answered before .* terminal update was acknowledged/,
    'registers-twice': /a second RegisterExecutorMessage/,
    'goes-on': /after its terminal update|unknown executor or task/,
    'update-fails': /update .*status 1: the tasks are lost/,
  };
  for (const [fault, wanted] of Object.entries(FAULTS)) {
    it(`notices a containerizer that ${fault.replace('-', ' ')}`, async () => {
      await withSlave({ fault }, async (slave) => {
        await slave.launch(commandTask({ value: 'sleep 0.5' }));
        await until('the violation', () => slave.violations.some((text) => wanted.test(text)));
      });
    });
  }
});

// `deimos plan` shows what a launch would create, and creates nothing: the very request, as JSON, and a line for a person who
// knows docker run, values of the environment masked in both.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { output } from '../support/command.ts';
import { type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { launchRecord } from '../support/installation.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';

const SECRET = randomBytes(12).toString('hex');

describe('plan', { skip: await skipWithoutTools() }, () => {
  let host: Host;
  before(async () => {
    host = await startHost();
  });
  after(async () => await host[Symbol.asyncDispose]());

  const plan = async (options: TaskOptions) => {
    const record = await launchRecord(commandTask(options), host.directory.at('sandboxes'));
    const { code, stdout, stderr } = await host.deimos(['plan'], record.stdin);
    const text = stdout.toString();
    const end = text.indexOf('\n}\n') + 2;
    return {
      record,
      code,
      stderr,
      json: code === 0 ? JSON.parse(text.slice(0, end)) : undefined,
      rest: text.slice(end).trim(),
      text,
    };
  };

  it('is the request that the options, the task and the image make', async () => {
    const { record, code, stderr, json, rest } = await plan({
      value: 'echo hello "world"',
      image: IMAGES.ports,
      options: ['-v', '/etc:/etc-host:ro', '--cap-add=NET_ADMIN', '--label', 'a=b', '-e', `ALSO=${SECRET}`],
      env: { PASSWORD: SECRET, EMPTY: '' },
      cpus: 0.5,
      mem: 64,
      ports: [[31000, 31001]],
    });
    assert.deepEqual([code, stderr], [0, '']);
    const { body } = json;
    assert.equal(body.Image, IMAGES.ports);
    assert.deepEqual(body.Cmd, ['sh', '-c', 'echo hello "world"']);
    assert.deepEqual([body.HostConfig.CpuShares, body.HostConfig.Memory], [512, 64 * 1024 * 1024]);
    assert.deepEqual(body.HostConfig.Binds, ['/etc:/etc-host:ro']);
    assert.equal(body.Labels.a, 'b');
    assert.equal(body.Labels['deimos.container'], record.containerId);
    // 53/udp, 8080, 9090 are exposed; two are offered.
    assert.deepEqual(body.HostConfig.PortBindings, {
      '53/udp': [{ HostPort: '31000' }],
      '8080/tcp': [{ HostPort: '31001' }],
    });
    for (const name of ['PASSWORD', 'EMPTY', 'ALSO', 'TASK_INFO', 'MESOS_SANDBOX'])
      assert.ok(body.Env.includes(`${name}=***`), name);
    assert.match(rest, /^docker run /);
    for (const word of ['--cpu-shares 512', '-v /etc:/etc-host:ro', '--label a=b', IMAGES.ports])
      assert.ok(rest.includes(word), `${word} in ${rest}`);
    assert.match(rest, /NET_ADMIN/);
    assert.match(rest, /31001:8080/);
  });

  it("runs as the task's user where the operator wants it so, and never as somebody whom the host does not know", async () => {
    await host.configure('[containers]\nswitch_user: true');
    try {
      const known = await plan({ value: 'id', image: IMAGES.busybox, user: 'nobody' });
      assert.equal(known.json.body.User, '65534:65534');
      const unknown = await plan({ value: 'id', image: IMAGES.busybox, user: 'no-such-user' });
      assert.equal(unknown.code, 4);
      assert.match(unknown.stderr, /^deimos plan: this host has no user no-such-user\n$/);
    } finally {
      await host.configure('');
    }
  });

  it('shows no value of the environment, in no form', async () => {
    for (const options of [
      { env: { PASSWORD: SECRET, 'A B': SECRET, MULTI: `one\n${SECRET}\nthree` } },
      { options: ['-e', `X=${SECRET}`, `--env=Y=${SECRET}`] },
      { options: ['-e', `X=${SECRET}`, '--bogus'] },
      {
        form: 'new' as const,
        env: { PASSWORD: SECRET },
        docker: { parameters: [{ key: 'env', value: `Z=${SECRET}` }] },
      },
    ]) {
      const { text, stderr } = await plan({ value: 'true', image: IMAGES.busybox, ...options });
      assert.ok(!`${text}${stderr}`.includes(SECRET), `${text}${stderr}`);
    }
  });

  it('is a line that a shell takes apart into the same words', async () => {
    const { rest, code } = await plan({
      value: "printf '%s|' \"$HOSTNAME\" 'a b' \"it's\" '$x'",
      image: IMAGES.busybox,
      options: ['--hostname', 'planned'],
    });
    assert.equal(code, 0);
    const line = rest.split('\n')[0] ?? '';
    const words = await shellWords(line);
    const at = words.indexOf(IMAGES.busybox);
    assert.deepEqual(words.slice(at + 1), ['sh', '-c', "printf '%s|' \"$HOSTNAME\" 'a b' \"it's\" '$x'"]);
    assert.ok(words.slice(0, at).join(' ').includes('--hostname planned'));
  });

  it('ends as the launch would: one line, status 4', async () => {
    for (const [options, says] of [
      [{ image: 'http://x/y' }, /http:\/\/x\/y/],
      [{ image: IMAGES.busybox, options: ['--bogus'] }, /unknown flag: --bogus/],
      [{ image: '127.0.0.1:5999/none' }, /connection refused/],
    ] as const) {
      const { code, text, stderr } = await plan({ value: 'true', ...options });
      assert.deepEqual([code, text], [4, '']);
      assert.match(stderr, /^deimos plan: [^\n]+\n$/);
      assert.match(stderr, says);
    }
  });

  it('creates nothing: no container, no state, no supervisor', async () => {
    assert.equal(await host.dockerd.run(['ps', '-aq']), '');
    assert.equal(host.processes().length, 0);
    assert.deepEqual(existsSync(host.root) ? readdirSync(host.root) : [], []);
  });
});

/** The words of a line as sh takes them apart. */
async function shellWords(line: string): Promise<readonly string[]> {
  const text = await output(['sh', '-c', `set -- ${line}\nfor word; do printf '%s\\0' "$word"; done`]);
  return text.split('\0').slice(0, -1);
}

// What the operator does not allow is refused whatever words it is asked for in: by every spelling that the docker CLI has
// for it, by fields and parameters of the new form, behind other options. The built binary, Docker's own CLI, a real dockerd.

import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { Network, TaskState } from '../../src/mesos/messages.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { derive, IMAGES } from '../support/images.ts';
import { launchRecord } from '../support/installation.ts';
import { startRegistry } from '../support/registry.ts';
import { commandTask, executorTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';

const LONG_MS = 60_000;

const options = (...words: string[]): Partial<TaskOptions> => ({ options: words });
const parameter = (key: string, value: string): Partial<TaskOptions> => ({
  form: 'new',
  docker: { parameters: [{ key, value }] },
});

describe('policy', { skip: await skipWithoutTools() }, () => {
  let host: Host;
  before(async () => {
    host = await startHost();
    const at = (name: string): string => host.directory.at(name);
    for (const directory of ['allowed/data', 'allowed-not', 'secret'])
      mkdirSync(at(directory), { recursive: true });
    symlinkSync(at('secret'), at('allowed/link'));
    symlinkSync(at('allowed/data'), at('to-data'));
  });
  after(async () => await host[Symbol.asyncDispose]());

  const plan = async (task: Partial<TaskOptions>) => {
    const record = await launchRecord(
      commandTask({ value: 'true', image: IMAGES.busybox, ...task }),
      host.directory.at('sandboxes'),
    );
    return await host.deimos(['plan'], record.stdin);
  };
  const refused = async (rule: string, task: Partial<TaskOptions>): Promise<void> => {
    const { code, stderr, stdout } = await plan(task);
    const what = JSON.stringify(task.options ?? task.docker ?? task.container ?? task);
    assert.equal(code, 4, `${what} was planned: ${stdout}`);
    const line = new RegExp(
      `^deimos plan: not allowed on this host: [^\\n]+ \\(\\[policy\\] ${rule}: [^\\n]*\\)\\n$`,
    );
    assert.match(stderr, line, what);
  };
  const allowed = async (task: Partial<TaskOptions>): Promise<string> => {
    const { code, stderr, stdout } = await plan(task);
    assert.equal(code, 0, `${JSON.stringify(task)}: ${stderr}`);
    return stdout.toString();
  };

  it('privileged, in every spelling', async () => {
    await host.configure('[policy]\nprivileged: false');
    for (const task of [
      options('--privileged'),
      options('--privileged=true'),
      options('--privileged=1'),
      options('--privileged=T'),
      options('--privileged=false', '--privileged'),
      options('-e', 'A=b', '--privileged', '--label', 'x=y'),
      parameter('privileged', 'true'),
      { form: 'new' as const, docker: { privileged: true } },
      options('--security-opt', 'seccomp=unconfined'),
      options('--security-opt=seccomp:unconfined'),
      options('--security-opt=apparmor=unconfined'),
      options('--security-opt=label=disable'),
      options('--security-opt=systempaths=unconfined'),
      options('--userns=host'),
      parameter('security-opt', 'seccomp=unconfined'),
    ])
      await refused('privileged', task);
    await allowed(options('--privileged=false'));
    // An abbreviation is no option.
    assert.match((await plan(options('--privil'))).stderr, /unknown flag: --privil/);
    await allowed(options('--security-opt', 'no-new-privileges'));
    // Behind the slashes stand words of the container's own command.
    await allowed(options('--label', 'x=y', '//', 'echo', '--privileged'));
  });

  it('capabilities, with and without CAP_, and all of them by way of privileges', async () => {
    await host.configure('[policy]\ncapabilities: ["net_admin", "CAP_SYS_NICE"]');
    for (const task of [
      options('--cap-add=SYS_ADMIN'),
      options('--cap-add', 'CAP_SYS_ADMIN'),
      options('--cap-add', 'sys_admin'),
      options('--cap-add=NET_ADMIN', '--cap-add=SYS_PTRACE'),
      options('--cap-add=ALL'),
      options('--cap-drop=ALL', '--cap-add=all'),
      options('--privileged'),
      parameter('cap-add', 'SYS_ADMIN'),
      { form: 'new' as const, docker: { privileged: true } },
    ])
      await refused('capabilities', task);
    await allowed(options('--cap-add=NET_ADMIN', '--cap-add', 'CAP_SYS_NICE', '--cap-drop=CHOWN'));
  });

  it("the host's namespaces, and another container's", async () => {
    await host.configure('[policy]\nhost_network: no\nhost_pid: no\nhost_ipc: no\nhost_uts: no');
    for (const [rule, task] of [
      ['host_network', options('--network', 'host')],
      ['host_network', options('--net=host')],
      ['host_network', options('--network=name=host')],
      ['host_network', options('--net', 'container:other')],
      ['host_network', options('--net=bridge --net=host')],
      ['host_network', { form: 'new' as const, docker: { network: Network.HOST } }],
      ['host_network', parameter('net', 'host')],
      ['host_network', parameter('network', 'container:other')],
      ['host_pid', options('--pid', 'host')],
      ['host_pid', options('--pid=container:other')],
      ['host_pid', parameter('pid', 'host')],
      ['host_ipc', options('--ipc=host')],
      ['host_ipc', parameter('ipc', 'container:other')],
      ['host_uts', options('--uts=host')],
      ['host_uts', parameter('uts', 'host')],
    ] as const) {
      const { code, stderr } = await plan(task);
      // What the CLI does not take at all is refused by it.
      if (code === 4 && stderr.startsWith('deimos plan: docker run ')) continue;
      await refused(rule, task);
    }
    await allowed(options('--ipc=private', '--network=none'));
    await allowed({ form: 'new', docker: { network: Network.BRIDGE } });
  });

  it('devices', async () => {
    await host.configure('[policy]\ndevices: false');
    for (const task of [
      options('--device', '/dev/null'),
      options('--device=/dev/null:/dev/x:r'),
      options('--device-cgroup-rule=b 8:* rmw'),
      options('--gpus', 'all'),
      options('--privileged'),
      parameter('device', '/dev/null'),
      { form: 'new' as const, docker: { privileged: true } },
    ])
      await refused('devices', task);
  });

  it('volumes: by every option, through links, dots and slashes', async () => {
    const at = (name: string): string => host.directory.at(name);
    await host.configure(`[policy]\nvolumes: [${JSON.stringify(at('allowed'))}]`);
    const volume = (hostPath: string, containerPath = '/x'): Partial<TaskOptions> => ({
      form: 'new',
      container: { type: 1, volumes: [{ host_path: hostPath, container_path: containerPath, mode: 1 }] },
    });
    for (const task of [
      options('-v', '/:/x'),
      options('-v=/:/x'),
      options('-v/:/x'),
      options('-v /:/x'),
      options('--volume', '/etc:/x:ro'),
      options('--volume=/etc:/x'),
      options('-itv', '/:/x', '-t=false'),
      options('-v', `${at('secret')}:/x`),
      options('-v', `${at('allowed-not')}:/x`),
      options('-v', `${at('allowed')}/../secret:/x`),
      options('-v', `${at('allowed')}//../secret/:/x`),
      options('-v', `${at('allowed')}/./link:/x`),
      options('-v', `${at('allowed')}/link/below/it:/x`),
      options('--mount', 'type=bind,source=/,target=/x'),
      options('--mount=src=/,dst=/x,type=bind'),
      options('--mount', `type=bind,"source=${at('secret')}",target=/x`),
      options('--mount', `type=bind,source=${at('allowed/link')},target=/x`),
      options(
        '--mount',
        'type=volume,source=v,target=/x,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/',
      ),
      options('--mount', 'type=volume,source=v,target=/x,volume-driver=local,volume-opt=device=/'),
      options('--mount', 'type=volume,source=v,target=/x,volume-driver=other'),
      options('-v', 'name:/x', '--volume-driver=other'),
      options('--volumes-from', 'other'),
      parameter('volume', '/:/x'),
      parameter('mount', 'type=bind,source=/etc,target=/x'),
      parameter('volumes-from', 'other'),
      volume('/etc'),
      volume(at('allowed/link')),
    ])
      await refused('volumes', task);
    await allowed(
      options('-v', `${at('allowed')}:/x`, '-v', '/anonymous', '-v', 'named:/y', '--tmpfs', '/z'),
    );
    await allowed(options('--mount', `type=bind,source=${at('allowed/data')},target=/x`));
    await allowed(volume('in-the-sandbox'));
    const through = await allowed(options('-v', `${at('to-data')}/new:/x:ro`));
    assert.ok(through.includes(`"${at('allowed/data')}/new:/x:ro"`), through);
  });

  it('what the operator’s own options ask for, for tasks that ask for nothing else', async () => {
    await host.configure(
      [
        '[containers.options]',
        'append: ["-v", "/etc:/etc-host:ro", "--cap-add=NET_ADMIN", "--net=host"]',
        '[policy]',
        'privileged: false\ncapabilities: []\nvolumes: []\nhost_network: false\ndevices: false\noptions: []',
      ].join('\n'),
    );
    await allowed({});
    await refused('options', options('--label=a=b'));
    await refused('volumes', options('-v', '/etc:/x:ro'));
    await refused('capabilities', options('--cap-add=SYS_ADMIN'));
  });

  it('options, by what comes of them', async () => {
    await host.configure('[policy]\noptions: ["--env", "ulimit", "v"]');
    for (const task of [
      options('--label', 'a=b'),
      options('-la=b'),
      options('-e', 'A=b', '--init'),
      options('-te', 'A=b'),
      options('--network-alias=x', '--net=somewhere'),
      options('--publish', '31000:80'),
      options('-p31000:80'),
      options('--mount', 'type=bind,source=/etc,target=/x'),
      options('--name', 'mine'),
      options('--pull', 'always'),
      options('--health-cmd', 'true'),
      options('--log-opt', 'a=b'),
      parameter('label', 'a=b'),
      { form: 'new' as const, docker: { privileged: true } },
    ])
      await refused('options', task);
    await allowed(options('-e', 'A=b', '--env=C=d', '--ulimit', 'core=0', '-v', '/etc:/x'));
    // Where the new form has a task run is no option of its.
    await allowed({ form: 'new', docker: { network: Network.HOST } });
    await allowed({
      form: 'new',
      docker: { network: Network.BRIDGE },
      container: { type: 1, hostname: 'h' },
    });
  });

  it('images: refused before anything is pulled, in a line that the framework has, by each form', async () => {
    await using registry = await startRegistry(host.dockerd);
    await derive(host.dockerd, 'pulled:test', ['ENV A=b']);
    const pulled = await registry.push('pulled:test', 'other/pulled');
    const list = JSON.stringify(['busybox', `${pulled.split('/')[0]}/team/**`]);
    await host.configure(`[policy]\nimages: ${list}`);
    const id = (await host.dockerd.run(['image', 'inspect', IMAGES.command, '--format', '{{.Id}}'])).trim();
    for (const image of [pulled, IMAGES.command, `docker.io/library/${IMAGES.ports}`, id, id.slice(0, 20)])
      await refused('images', { image });
    await allowed({ image: 'docker.io/library/busybox:test' });

    const slave = await host.slave();
    const tasks = [
      await slave.launch(commandTask({ value: 'true', image: pulled })),
      await slave.launch(commandTask({ value: 'true', image: pulled, form: 'new' })),
      await slave.launch(executorTask({ value: 'true', image: pulled })),
    ];
    for (const task of tasks) {
      const { state, message = '' } = await task.ended(LONG_MS);
      assert.equal(state, TaskState.FAILED);
      assert.match(
        message,
        /^not allowed on this host: image [^\n]+ \(\[policy\] images: busybox, [^\n]+\)$/,
      );
      assert.equal((await task.gone(LONG_MS))?.message, message);
      assert.equal(await sandboxFile(task, 'stderr'), `deimos: ${message}\n`);
    }
    assert.deepEqual(slave.violations, []);
    assert.equal(await host.dockerd.run(['image', 'ls', '--quiet', pulled]), '');
    assert.deepEqual(await host.leftovers(), []);
  });
});

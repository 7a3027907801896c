// Which image of a real registry a task gets: pulled anew where that is asked for, never where it is here or local, by
// tag, without one, and by digest.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { startDockerd } from '../support/dockerd.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { derive, IMAGES } from '../support/images.ts';
import { supervisorLog } from '../support/on-host.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import type { StandInSlave } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';

const { FINISHED, FAILED } = TaskState;

describe('the image of a registry', { skip: await skipWithoutTools(), timeout: 200_000 }, () => {
  let host: Host;
  let slave: StandInSlave;
  let registry: Registry;
  before(async () => {
    host = await startHost({ dockerd: await startDockerd({ arguments: ['--debug'] }) });
    registry = await startRegistry(host.dockerd, 5000);
    slave = await host.slave();
  });
  after(async () => {
    try {
      assert.deepEqual(await host.leftovers(), []);
      assert.deepEqual(slave.violations, []);
    } finally {
      await registry?.stop();
      await host?.[Symbol.asyncDispose]();
      await host?.dockerd.stop();
    }
  });

  /** Puts a new image there under that name, whose containers know that they are `version`; it is not here. */
  const publish = async (repository: string, version: string): Promise<string> => {
    await derive(host.dockerd, 'local/published', [`ENV VERSION=${version}`]);
    return await registry.push('local/published', repository);
  };
  /** What the task's container says it is. */
  const versionOf = async (options: TaskOptions): Promise<string> => {
    const task = await slave.launch(commandTask({ value: 'echo $VERSION', ...options }));
    const end = await task.ended();
    assert.equal(end.state, FINISHED, `${end.message}\n${supervisorLog(host)}`);
    await task.gone();
    return (await sandboxFile(task, 'stdout')).trim();
  };
  const whyNot = async (options: TaskOptions): Promise<string> => {
    const task = await slave.launch(commandTask({ value: 'true', ...options }));
    const end = await task.ended();
    assert.equal(end.state, FAILED);
    await task.gone();
    return end.message ?? '';
  };
  const pulls = (): readonly string[] =>
    readFileSync(host.dockerd.logFile, 'utf8')
      .split('\n')
      .flatMap((line) => /Calling POST \S*\/images\/create\?fromImage=([^&\s"]+)/.exec(line)?.[1] ?? [])
      .map(decodeURIComponent);
  const pullsOf = (name: string) => pulls().filter((one) => one === name).length;

  const anew: readonly [name: string, options: (image: string) => TaskOptions][] = [
    ['force_pull_image', (image) => ({ image, form: 'new', docker: { force_pull_image: true } })],
    [
      '--pull always among the options of the old form',
      (image) => ({ image, options: ['--pull', 'always'] }),
    ],
    ['--pull=always there', (image) => ({ image, options: ['--pull=always'] })],
    [
      'the parameter pull=always of the new form',
      (image) => ({ image, form: 'new', docker: { parameters: [{ key: 'pull', value: 'always' }] } }),
    ],
  ];
  for (const [n, [name, options]] of anew.entries()) {
    it(`is had anew, though one of that name is here, with ${name}`, async () => {
      const image = await publish(`anew-${n}:1`, 'first');
      assert.equal(await versionOf({ image }), 'first');
      await publish(`anew-${n}:1`, 'second');
      // Publishing takes the local name away: the first one is here again.
      await host.dockerd.run(['pull', '--quiet', image]);
      await publish(`moved-${n}:1`, 'third');
      await host.dockerd.run(['pull', '--quiet', `${registry.address}/moved-${n}:1`]);
      await host.dockerd.run(['tag', `${registry.address}/moved-${n}:1`, image]);
      assert.equal(await versionOf({ image }), 'third', 'the one here');
      assert.equal(await versionOf(options(image)), 'second', 'the one there');
      assert.equal(await versionOf({ image }), 'second');
    });
  }

  it('is not asked for where the image is here: neither one that was pulled nor one that only this host has', async () => {
    const image = await publish('here:1', 'here');
    const name = image.replace(/:1$/, '');
    for (const form of ['old', 'new'] as const) assert.equal(await versionOf({ image, form }), 'here');
    assert.equal(pullsOf(name), 1);
    const before = pulls().length;
    await versionOf({ image: IMAGES.busybox });
    await versionOf({ image: IMAGES.busybox, form: 'new' });
    // A name as a registry's, though that has none of it.
    await host.dockerd.run(['tag', image, `${registry.address}/only/local`]);
    assert.equal(await versionOf({ image: `${registry.address}/only/local` }), 'here');
    assert.equal(pulls().length, before);
    // Asked for all the same, it cannot be had, and the one here is not taken for it.
    const forced = { form: 'new', docker: { force_pull_image: true } } as const;
    assert.match(
      await whyNot({ image: `${registry.address}/only/local`, ...forced }),
      /^pull .*only\/local:latest: /,
    );
  });

  it('is not asked for with --pull never', async () => {
    const image = await publish('never:1', 'never');
    const why = await whyNot({ image, options: ['--pull', 'never'] });
    assert.equal(why, `the image ${image} is not here, and the options say --pull never`);
    assert.equal(pullsOf(image.replace(/:1$/, '')), 0);
  });

  it('is :latest without a tag, and no other tag comes with it', async () => {
    const latest = await publish('tags:latest', 'newest');
    await publish('tags:other', 'another');
    const image = latest.replace(/:latest$/, '');
    assert.equal(await versionOf({ image }), 'newest');
    assert.equal(await versionOf({ image, form: 'new' }), 'newest');
    assert.equal(await versionOf({ image: `docker://${image}` }), 'newest', 'without the third slash');
    const here = await host.dockerd.run(['images', '--format', '{{.Tag}}', image]);
    assert.equal(here, 'latest');
    assert.equal(await versionOf({ image: `${image}:other` }), 'another');
  });

  it('is the very one that a digest names, wherever its tag has gone', async () => {
    const tagged = await publish('digests:1', 'first');
    await host.dockerd.run(['pull', '--quiet', tagged]);
    const found = await host.dockerd.run(['inspect', '--format', '{{index .RepoDigests 0}}', tagged]);
    const digest = found.replace(/^.*@/, '');
    assert.match(digest, /^sha256:[0-9a-f]{64}$/);
    await host.dockerd.run(['rmi', '--force', tagged]);
    await publish('digests:1', 'second');
    const name = tagged.replace(/:1$/, '');
    for (const form of ['old', 'new'] as const) {
      assert.equal(await versionOf({ image: `${name}@${digest}`, form }), 'first');
      // With a tag beside it, the digest counts.
      assert.equal(await versionOf({ image: `${tagged}@${digest}`, form }), 'first');
    }
    assert.equal(await versionOf({ image: tagged }), 'second');
    const absent = `sha256:${'0'.repeat(64)}`;
    assert.match(await whyNot({ image: `${name}@${absent}` }), /^pull .*@sha256:0+: /);
  });
});

// Pulls from a real registry, fast, slow, hanging, denied and shared.

import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { type ImageRef, parseReference } from '../../src/container/image.ts';
import type { Connection } from '../../src/docker/connection.ts';
import { Engine } from '../../src/docker/engine.ts';
import { isDaemonAway } from '../../src/docker/faults.ts';
import { pullImage } from '../../src/docker/pull.ts';
import { PullCoordinator } from '../../src/docker/pull-coordinator.ts';
import { isFault } from '../../src/fault.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { makeBigImage, makeImages } from '../support/images.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { tempDirectory } from '../support/temp.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const never = new AbortController().signal;
const BYTES_PER_SECOND = 2_000_000;

function ref(name: string): ImageRef {
  const answer = parseReference(name);
  assert.ok(answer.ok, name);
  return answer.image;
}

describe('pulling', { skip: await skipWithoutTools() }, () => {
  let dockerd: Dockerd;
  let registry: Registry;
  let engine: Engine;
  let connection: Connection;
  before(async () => {
    dockerd = await startDockerd();
    await makeImages(dockerd);
    registry = await startRegistry(dockerd);
    engine = new Engine({ kind: 'unix', path: dockerd.socket });
    connection = { endpoints: [engine.endpoint], ignored: [] };
  });
  after(async () => {
    await registry?.stop();
    await dockerd?.stop();
  });

  const pushed = async (repository: string, megabytes: number, layers: number) => {
    await makeBigImage(dockerd, `local/${repository}`, megabytes, layers);
    return await registry.push(`local/${repository}`, repository);
  };
  const viaThrottle = (name: string, address: string): ImageRef =>
    ref(name.replace(registry.address, address));
  const pull = (image: ImageRef, words: string[], signal = never, stallMs?: number) =>
    pullImage(engine, connection, { image }, (text) => words.push(text), signal, stallMs);

  test('an image that is not there arrives; pulling it again does no harm', async () => {
    const image = ref(await pushed('quick', 1, 2));
    const words: string[] = [];
    assert.equal(await engine.imageFacts(image, never), 'absent');
    await pull(image, words);
    assert.notEqual(await engine.imageFacts(image, never), 'absent');
    assert.match(words.at(-1) ?? '', new RegExp(`^Pulling ${image}: (\\d+) of \\1 layers`));
    await pull(image, []);
  });

  test('one slow layer is seen to move, longer than a pull may stand still', async () => {
    const name = await pushed('slow', 12, 1);
    await using throttle = await registry.throttled(BYTES_PER_SECOND);
    const image = viaThrottle(name, throttle.address);
    const words: string[] = [];
    const startedAt = performance.now();
    await pull(image, words, never, 2_500);
    assert.ok(performance.now() - startedAt > 2_500, 'not slow enough to prove anything');
    const amounts = new Set(words.flatMap((text) => /, ([\d.]+) of [\d.]+ MB$/.exec(text)?.[1] ?? []));
    assert.ok(amounts.size > 3, words.join('\n'));
  });

  test('a registry that stops sending is a timeout', async () => {
    const name = await pushed('hanging', 8, 1);
    await using throttle = await registry.throttled(BYTES_PER_SECOND);
    const words: string[] = [];
    const ended = pull(viaThrottle(name, throttle.address), words, never, 1_500);
    const outcome = assert.rejects(ended, (error) => isFault(error, 'timeout'));
    await until('bytes come', () => words.some((text) => / MB$/.test(text)));
    throttle.setRate(0);
    await outcome;
  });

  test("what cannot be had is told in the daemon's words, on one line", async () => {
    for (const name of [`${registry.address}/no/such:1`, '127.0.0.1:1/nobody/there:1']) {
      await assert.rejects(
        pull(ref(name), []),
        (error) =>
          isFault(error, 'docker') &&
          !isDaemonAway(error) &&
          error.message.startsWith(`pull ${name}: `) &&
          !error.message.includes('\n'),
      );
    }
  });

  test('a daemon that dies in the middle is away', async () => {
    const name = await pushed('cut', 8, 1);
    await using throttle = await registry.throttled(BYTES_PER_SECOND);
    const words: string[] = [];
    const ended = pull(viaThrottle(name, throttle.address), words);
    const outcome = assert.rejects(ended, (error) => isFault(error, 'docker') && isDaemonAway(error));
    await until('bytes come', () => words.some((text) => / MB$/.test(text)));
    await dockerd.kill();
    await outcome;
    await dockerd.start();
  });

  test('one pull for all; the last who leaves ends it at the daemon', async () => {
    const name = await pushed('shared', 40, 1);
    await using throttle = await registry.throttled(BYTES_PER_SECOND);
    const image = viaThrottle(name, throttle.address);
    let pulls = 0;
    let aborted = false;
    const coordinator = new PullCoordinator(async (wanted, onProgress, signal) => {
      pulls++;
      signal.addEventListener('abort', () => {
        aborted = true;
      });
      await pullImage(engine, connection, wanted, onProgress, signal);
    });
    const [first, second] = [new AbortController(), new AbortController()];
    const words: string[] = [];
    const one = coordinator.pull({ image }, () => {}, first.signal);
    const two = coordinator.pull({ image }, (text) => words.push(text), second.signal);
    const outcomes = Promise.allSettled([one, two]);
    await until('bytes come', () => words.some((text) => / MB$/.test(text)));
    first.abort(new Error('first'));
    await assert.rejects(one, /first/);
    assert.equal(aborted, false);
    const soFar = words.length;
    await until('it goes on', () => words.length > soFar);
    second.abort(new Error('second'));
    await outcomes;
    assert.deepEqual([pulls, aborted], [1, true]);
    // A new pull by another way finds the daemon free, and nothing half-done in its way.
    throttle.setRate(0);
    await pull(ref(name), []);
    assert.notEqual(await engine.imageFacts(ref(name), never), 'absent');
  });

  test("a registry that wants credentials gets those of the CLI's config, and nobody in without", async () => {
    await using directory = await tempDirectory();
    await using locked = await startRegistry(dockerd, 5900, 'secret');
    const { address, auth } = locked;
    const cli = directory.at('cli');
    await mkdir(cli);
    await writeFile(directory.at('cli', 'config.json'), JSON.stringify({ auths: { [address]: { auth } } }));
    await makeBigImage(dockerd, 'local/private', 1);
    const image = ref(await locked.push('local/private', 'private'));

    await assert.rejects(pull(image, []), (error) => isFault(error, 'docker'));
    assert.equal(await engine.imageFacts(image, never), 'absent');
    await pullImage(engine, { ...connection, configDirectory: cli }, { image }, () => {}, never);
    assert.notEqual(await engine.imageFacts(image, never), 'absent');

    // The same from a file that the operator names, in the form of 2014 and in today's.
    for (const content of [{ [address]: { auth, email: '' } }, { auths: { [address]: { auth } } }]) {
      await dockerd.run(['rmi', '--force', image]);
      await writeFile(directory.at('dockercfg'), JSON.stringify(content));
      const named = { ...connection, dockercfg: directory.at('dockercfg') };
      await pullImage(engine, named, { image }, () => {}, never);
      assert.notEqual(await engine.imageFacts(image, never), 'absent');
    }
    const missing = { ...connection, dockercfg: directory.at('nothing') };
    await assert.rejects(
      pullImage(engine, missing, { image }, () => {}, never),
      (error) => isFault(error, 'config'),
    );

    // A task's own goes before all of these, also where it is wrong.
    await dockerd.run(['rmi', '--force', image]);
    const operators = { ...connection, configDirectory: cli };
    const wrong = { server: address, entry: { username: 'user', password: 'guessed' } };
    await assert.rejects(
      pullImage(engine, operators, { image, login: wrong }, () => {}, never),
      (error) => isFault(error, 'docker'),
    );
    await pullImage(engine, missing, { image, login: { server: address, entry: { auth } } }, () => {}, never);
    assert.notEqual(await engine.imageFacts(image, never), 'absent');
  });
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type ImageRef, parseReference } from '../../../src/container/image.ts';
import { PullCoordinator } from '../../../src/docker/pull-coordinator.ts';

function ref(name: string): ImageRef {
  const answer = parseReference(name);
  assert.ok(answer.ok);
  return answer.image;
}

/** Pulls that the test ends itself. */
function handPulled() {
  const pulls: {
    key: string;
    tell: (words: string) => void;
    signal: AbortSignal;
    end: () => void;
    fail: (error: Error) => void;
  }[] = [];
  const coordinator = new PullCoordinator(({ image, platform }, tell, signal) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => reject(signal.reason));
    pulls.push({ key: `${image} ${platform ?? ''}`, tell, signal, end: resolve, fail: reject });
    return promise;
  });
  const at = async (index: number) => {
    await new Promise(setImmediate);
    return pulls[index] ?? assert.fail(`no pull ${index}`);
  };
  return { coordinator, pulls, at };
}

const never = new AbortController().signal;
const silent = () => {};

describe('shared pulls', () => {
  test('one for the same image and platform, another for another', async () => {
    const { coordinator, pulls, at } = handPulled();
    const all = Promise.all([
      coordinator.pull({ image: ref('a') }, silent, never),
      coordinator.pull({ image: ref('a') }, silent, never),
      coordinator.pull({ image: ref('a'), platform: 'linux/arm64' }, silent, never),
      coordinator.pull({ image: ref('b') }, silent, never),
    ]);
    await at(2);
    assert.deepEqual(
      pulls.map((pull) => pull.key),
      ['a:latest ', 'a:latest linux/arm64', 'b:latest '],
    );
    for (const pull of pulls) pull.end();
    await all;
  });

  test('nobody rides on, or falls with, the login of another', async () => {
    const { coordinator, pulls, at } = handPulled();
    const login = (password: string) => ({
      server: 'registry:5000',
      entry: { username: 'user', password },
    });
    const image = ref('registry:5000/a');
    const pull = (password?: string) =>
      coordinator.pull(password === undefined ? { image } : { image, login: login(password) }, silent, never);
    const [right, same, wrong, none] = [pull('right'), pull('right'), pull('wrong'), pull()];
    (await at(1)).fail(new Error('denied'));
    await assert.rejects(wrong, /denied/);
    assert.equal(pulls.length, 3);
    (await at(2)).fail(new Error('unauthorized'));
    await assert.rejects(none, /unauthorized/);
    (await at(0)).end();
    await Promise.all([right, same]);
  });

  test('progress goes to all, and the last of it to who comes late', async () => {
    const { coordinator, at } = handPulled();
    const words: string[] = [];
    const listen = (who: string) => (text: string) => words.push(`${who} ${text}`);
    const first = coordinator.pull({ image: ref('a') }, listen('first'), never);
    (await at(0)).tell('1');
    const second = coordinator.pull({ image: ref('a') }, listen('second'), never);
    (await at(0)).tell('2');
    (await at(0)).end();
    await Promise.all([first, second]);
    assert.deepEqual(words, ['first 1', 'second 1', 'first 2', 'second 2']);
  });

  test('a failure is shared and not remembered', async () => {
    const { coordinator, at } = handPulled();
    const waiters = [1, 2].map(() => coordinator.pull({ image: ref('a') }, silent, never));
    const outcomes = Promise.allSettled(waiters);
    (await at(0)).fail(new Error('denied'));
    assert.deepEqual(
      (await outcomes).map((outcome) => outcome.status),
      ['rejected', 'rejected'],
    );
    const again = coordinator.pull({ image: ref('a') }, silent, never);
    (await at(1)).end();
    await again;
  });

  test('it goes on until the last who wants it is aborted; a newcomer does not join what is given up', async () => {
    const { coordinator, at } = handPulled();
    const [one, two] = [new AbortController(), new AbortController()];
    const first = coordinator.pull({ image: ref('a') }, silent, one.signal);
    const second = coordinator.pull({ image: ref('a') }, silent, two.signal);
    const pull = await at(0);
    one.abort(new Error('one'));
    await assert.rejects(first, /one/);
    assert.equal(pull.signal.aborted, false);
    two.abort(new Error('two'));
    await assert.rejects(second, /two/);
    assert.equal(pull.signal.aborted, true);
    const third = coordinator.pull({ image: ref('a') }, silent, never);
    (await at(1)).end();
    await third;
  });
});

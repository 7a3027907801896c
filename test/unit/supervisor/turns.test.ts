import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Turns } from '../../../src/supervisor/turns.ts';

const FOREVER = new AbortController().signal;

describe('turns', () => {
  it('are taken by some at once, by the others in the order in which they came', async () => {
    const turns = new Turns(2);
    const order: number[] = [];
    const take = async (n: number) => {
      const giveBack = await turns.take(FOREVER);
      order.push(n);
      return giveBack;
    };
    const [first, second, third, fourth] = [1, 2, 3, 4].map(take);
    const giveFirst = await first;
    const giveSecond = await second;
    assert.deepEqual(order, [1, 2]);
    giveSecond?.();
    await third;
    // Given back already: that lets nobody else in.
    giveSecond?.();
    await Promise.resolve();
    assert.deepEqual(order, [1, 2, 3]);
    giveFirst?.();
    await fourth;
    assert.deepEqual(order, [1, 2, 3, 4]);
  });

  it('are left by whoever loses patience, and go to the next', async () => {
    const turns = new Turns(1);
    const giveBack = await turns.take(FOREVER);
    const impatient = new AbortController();
    const gone = turns.take(impatient.signal);
    const patient = turns.take(FOREVER);
    impatient.abort(new Error('enough'));
    await assert.rejects(gone, /enough/);
    giveBack();
    (await patient)();
    (await turns.take(FOREVER))();
    await assert.rejects(turns.take(impatient.signal), /enough/);
  });

  it('are not lost with one who is called off in the moment of being called', async () => {
    const turns = new Turns(1);
    const giveBack = await turns.take(FOREVER);
    const late = new AbortController();
    const called = turns.take(late.signal);
    giveBack();
    late.abort();
    (await called)();
    assert.equal(typeof (await turns.take(FOREVER)), 'function');
  });
});

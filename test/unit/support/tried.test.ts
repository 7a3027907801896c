// That points which were tried are judged rightly: what shows nothing does not pass.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Tried, type TriedPoint } from '../../support/tried.ts';

/** So many points in a row, of which these are not reached. */
async function triedOf(count: number, ...missed: readonly number[]): Promise<Tried> {
  const tried = new Tried('a scenario');
  tried.addFound(count);
  for (let number = 1; number <= count; number++) {
    const point = { name: `kill@step ${number}`, place: number / count };
    await tried.attempt(
      point,
      async () => number,
      (one) => !missed.includes(one),
    );
  }
  return tried;
}

async function triedOne(point: Omit<TriedPoint, 'name'>, isReached: boolean): Promise<Tried> {
  const tried = new Tried('a scenario');
  await tried.attempt(
    { name: 'a point', ...point },
    async () => isReached,
    (one) => one,
  );
  return tried;
}

describe('points that were tried', () => {
  it('pass where all were reached, and the report says how many', async () => {
    const tried = await triedOf(4);
    tried.checkAll();
    assert.equal(`${tried}`, 'a scenario: 4 points found, 4 run, 4 reached, 0 failed');
  });

  it('fail where none was found, or none tried', () => {
    const tried = new Tried('a scenario');
    assert.throws(() => tried.checkAll(), /no point was tried, of 0/);
    tried.addFound(3);
    assert.throws(() => tried.checkAll(), /no point was tried, of 3/);
  });

  it('fail where one of the first half was not reached, and not for one of the second', async () => {
    const early = await triedOf(10, 5);
    assert.throws(() => early.checkAll(), /kill@step 5/);
    const late = await triedOf(10, 6, 8);
    late.checkAll();
  });

  it('fail where too few of many were reached', async () => {
    const few = await triedOf(30, 27, 28, 29, 30);
    assert.throws(() => few.checkAll(), /30 points found, 30 run, 26 reached, 0 failed: too few/);
    const enough = await triedOf(30, 28, 29, 30);
    enough.checkAll();
  });

  it('fail where one was not reached that is so for sure, or was asked for by its name', async () => {
    const sure = await triedOne({ isSure: true, place: 1 }, false);
    assert.throws(() => sure.checkAll(), /a point/);
    const chance = await triedOne({}, false);
    chance.checkAll();
  });

  it('fail where one failed, which is neither reached nor missed', async () => {
    const tried = await triedOf(4);
    const failed = await tried.attempt(
      { name: 'kill@step 5', place: 0 },
      async () => assert.fail('lost'),
      () => true,
    );
    assert.equal(failed, undefined);
    assert.throws(() => tried.checkAll(), /a scenario: kill@step 5: lost/);
    assert.match(`${tried}`, /5 run, 4 reached, 1 failed$/);
  });
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  type CurrentLimits,
  cfsQuotaUs,
  cpuShares,
  createLimits,
  memoryBytes,
  plannedLimits,
  updateLimits,
} from '../../../src/container/resources.ts';

const MB = 1024 * 1024;
const swap = { cfs: false, swap: true };
const noSwap = { cfs: false, swap: false };
const cfs = { cfs: true, swap: true };

test('cpus become shares and quota, memory bytes, each with its least', () => {
  const shares: readonly (readonly [cpus: number, shares: number])[] = [
    [0, 2],
    [0.001, 2],
    [0.1, 102],
    [0.5, 512],
    [1, 1024],
    [2.5, 2560],
    [1e9, 262144],
  ];
  for (const [cpus, expected] of shares) assert.equal(cpuShares(cpus), expected);
  assert.deepEqual([0, 0.005, 0.5, 4].map(cfsQuotaUs), [1000, 1000, 50_000, 400_000]);
  assert.deepEqual([0, 31.9, 32, 64.5].map(memoryBytes), [32 * MB, 32 * MB, 32 * MB, 64.5 * MB]);
});

test('the limits of a new container', () => {
  assert.deepEqual(createLimits({ cpus: 0.5, memMb: 64, ports: [] }, swap), {
    CpuShares: 512,
    Memory: 64 * MB,
    MemoryReservation: 64 * MB,
    MemorySwap: 0,
  });
  assert.equal(createLimits({ memMb: 64, ports: [] }, noSwap).MemorySwap, 64 * MB);
  assert.deepEqual(createLimits({ cpus: 2, ports: [] }, cfs), {
    CpuShares: 2048,
    CpuPeriod: 100_000,
    CpuQuota: 200_000,
    NanoCpus: 0,
  });
  assert.deepEqual(createLimits({ ports: [] }, cfs), {});
  assert.deepEqual(createLimits({ cpus: Number.NaN, ports: [] }, cfs), {});
  // None at all is not no limit.
  assert.deepEqual(createLimits({ cpus: 0, memMb: 0, ports: [] }, { cfs: true, swap: false }), {
    CpuShares: 2,
    CpuPeriod: 100_000,
    CpuQuota: 1000,
    NanoCpus: 0,
    Memory: 32 * MB,
    MemoryReservation: 32 * MB,
    MemorySwap: 32 * MB,
  });
  const huge = createLimits({ cpus: Number.MAX_VALUE, memMb: Number.MAX_VALUE, ports: [] }, cfs);
  assert.deepEqual([huge.CpuShares, huge.CpuQuota, huge.Memory], [262_144, 1e9, 2 ** 52]);
});

describe('an update', () => {
  const executor = { kind: 'executor', resources: { cpus: 1, memMb: 128, ports: [] } } as const;
  const command = { kind: 'command', resources: { cpus: 0.5, memMb: 64, ports: [] } } as const;
  const at = (memMb: number, cpus: number): CurrentLimits => ({
    CpuShares: cpuShares(cpus),
    Memory: memMb * MB,
    MemoryReservation: memMb * MB,
    MemorySwap: 2 * memMb * MB,
  });

  test('raises shares, reservation, hard limit, and swap with it', () => {
    assert.deepEqual(updateLimits(at(128, 1), executor, { cpus: 2, memMb: 256 }, swap), {
      CpuShares: 2048,
      MemoryReservation: 256 * MB,
      Memory: 256 * MB,
      MemorySwap: 512 * MB,
    });
    assert.equal(updateLimits(at(128, 1), executor, { memMb: 256 }, noSwap)?.MemorySwap, 256 * MB);
    const unlimited = { ...at(128, 1), MemorySwap: -1 };
    assert.equal(updateLimits(unlimited, executor, { memMb: 256 }, swap)?.MemorySwap, -1);
  });

  test('lowers shares and reservation, never the hard limit', () => {
    assert.deepEqual(updateLimits(at(128, 1), executor, { cpus: 0.5, memMb: 64 }, swap), {
      CpuShares: 512,
      MemoryReservation: 64 * MB,
    });
    // No hard limit: any would be lower.
    assert.deepEqual(updateLimits({}, executor, { memMb: 64 }, swap), { MemoryReservation: 64 * MB });
  });

  test('sets the quota too where it is switched on, but not beside --cpus', () => {
    assert.deepEqual(updateLimits(at(128, 1), executor, { cpus: 2 }, cfs), {
      CpuShares: 2048,
      CpuQuota: 200_000,
      CpuPeriod: 100_000,
    });
    const update = updateLimits({ ...at(128, 1), NanoCpus: 5e8 }, executor, { cpus: 2 }, cfs);
    assert.deepEqual(update, { CpuShares: 2048 });
  });

  test('with nothing in it, or nothing new, does nothing', () => {
    assert.equal(updateLimits(at(128, 1), executor, {}, swap), undefined);
    assert.equal(updateLimits(at(128, 1), executor, { cpus: 1, memMb: 128 }, swap), undefined);
  });

  const same: readonly (readonly [what: string, cpus: number, memMb: number])[] = [
    ['task and allowance, as on registration', 0.6, 96],
    ['the allowance alone, as after the end', 0.1, 32],
    ['the task alone', 0.5, 64],
    ['less than either', 0.05, 16],
    ['a sum of doubles', 0.5 + 0.1 + 1e-12, 96],
  ];
  for (const [what, cpus, memMb] of same) {
    test(`of a command task with ${what} changes nothing`, () => {
      assert.equal(updateLimits(at(64, 0.5), command, { cpus, memMb }, swap), undefined);
    });
  }

  test('of a command task beyond task and allowance gives what is beyond', () => {
    assert.deepEqual(updateLimits(at(64, 0.5), command, { cpus: 1.1, memMb: 160 }, swap), {
      CpuShares: 1024,
      MemoryReservation: 128 * MB,
      Memory: 128 * MB,
      MemorySwap: 256 * MB,
    });
  });

  test('that came before the container adds to what that is created with', () => {
    const created = { CpuShares: 512, Memory: 64 * MB, MemoryReservation: 64 * MB, MemorySwap: 0 };
    for (const wanted of [{}, { cpus: 0.6, memMb: 96 }])
      assert.deepEqual(plannedLimits(command, wanted, swap), created);
    assert.deepEqual(plannedLimits(executor, { cpus: 2 }, cfs), {
      ...createLimits(executor.resources, cfs),
      ...{ CpuShares: 2048, CpuQuota: 200_000 },
    });
    const lowered = plannedLimits(executor, { memMb: 0 }, swap);
    assert.deepEqual([lowered.Memory, lowered.MemoryReservation], [128 * MB, 32 * MB]);
  });

  test('never lowers the hard limit, sets swap only with memory, and is done after once', () => {
    const limits = fc.record({
      cpus: fc.double({ min: 0, max: 64, noNaN: true }),
      memMb: fc.integer({ min: 0, max: 1_000_000 }),
    });
    const config = fc.record({ cfs: fc.boolean(), swap: fc.boolean() });
    const task = fc.constantFrom(executor, command);
    fc.assert(
      fc.property(limits, limits, config, task, (first, then, settings, who) => {
        const current: CurrentLimits = createLimits({ ...first, ports: [] }, settings);
        const update = updateLimits(current, who, then, settings);
        const hard = update?.Memory;
        if (hard !== undefined) assert.ok(hard > (current.Memory ?? Number.POSITIVE_INFINITY));
        assert.equal(hard === undefined, update?.MemorySwap === undefined);
        assert.equal(updateLimits({ ...current, ...update }, who, then, settings), undefined);
      }),
    );
  });
});

// What `update` leaves in the state, of calls that overlap: each writes without having seen the other.

import assert from 'node:assert/strict';
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { noteLimits, readLimits } from '../../../src/state/limits.ts';
import { tempDirectory } from '../../support/temp.ts';

async function inDirectory(
  body: (paths: Parameters<typeof readLimits>[0]) => void | Promise<void>,
): Promise<void> {
  await using directory = await tempDirectory();
  await body({
    limits: directory.at('limits'),
    limitsCpus: directory.at('limits-cpus'),
    limitsMem: directory.at('limits-mem'),
  });
}

test('limits are none before any were asked for', () =>
  inDirectory((paths) => {
    noteLimits(paths, {});
    assert.equal(readLimits(paths), undefined);
  }));

test('each of the limits is what the last call that named it wants', () =>
  inDirectory((paths) => {
    for (const [asked, wanted] of [
      [{ memMb: 64 }, { memMb: 64 }],
      [{ cpus: 1 }, { cpus: 1, memMb: 64 }],
      [{ memMb: 96 }, { cpus: 1, memMb: 96 }],
      [
        { cpus: 2, memMb: 128 },
        { cpus: 2, memMb: 128 },
      ],
      [{ cpus: 3 }, { cpus: 3, memMb: 128 }],
    ]) {
      noteLimits(paths, asked ?? {});
      assert.deepEqual(readLimits(paths), wanted);
    }
  }));

test('two calls for limits of which neither has seen the other leave the parts of both', () =>
  inDirectory((one) =>
    inDirectory((other) => {
      for (const paths of [one, other]) noteLimits(paths, { cpus: 1, memMb: 64 });
      noteLimits(one, { cpus: 2 });
      noteLimits(other, { memMb: 96 });
      // The second one's renames come last.
      for (const name of ['limits', 'limitsCpus', 'limitsMem'] as const)
        if (existsSync(other[name])) renameSync(other[name], one[name]);
      assert.deepEqual(readLimits(one), { cpus: 2, memMb: 96 });
    }),
  ));

test('limits of a release that had one file for both give way to any newer', () =>
  inDirectory((paths) => {
    writeFileSync(paths.limits, '{"cpus":1,"memMb":64}');
    assert.deepEqual(readLimits(paths), { cpus: 1, memMb: 64 });
    noteLimits(paths, { memMb: 32 });
    assert.deepEqual(readLimits(paths), { cpus: 1, memMb: 32 });
  }));

test('a limit that is torn or foreign is passed over', () =>
  inDirectory((paths) => {
    writeFileSync(paths.limits, '{"cpus":');
    for (const cpus of ['"many"', '-1', '1e999']) {
      writeFileSync(paths.limitsCpus, `{"cpus":${cpus},"atUs":1e999}`);
      noteLimits(paths, { memMb: 32 });
      assert.deepEqual(readLimits(paths), { memMb: 32 }, cpus);
    }
  }));

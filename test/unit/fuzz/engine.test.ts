// The fuzzer itself: it finds what is planted, by the code that inputs reach, and finds it again by the same seed.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { campaign, type Outcome } from '../../../fuzz/engine/campaign.ts';
import { inputLine, readCorpus, readInput, writeCorpus } from '../../../fuzz/engine/corpus.ts';
import { Coverage } from '../../../fuzz/engine/coverage.ts';
import { Current } from '../../../fuzz/engine/current.ts';
import { mutate } from '../../../fuzz/engine/mutate.ts';
import { Random } from '../../../fuzz/engine/random.ts';
import { removeScratch, scratchDirectory } from '../../../fuzz/engine/scratch.ts';
import type { Target } from '../../../fuzz/engine/target.ts';
import { NotProtobuf, referenceDecode } from '../../../fuzz/reference-protobuf.ts';
import { KillTaskMessage } from '../../../src/mesos/messages.ts';
import { tempDirectory } from '../../support/temp.ts';

const root = resolve(import.meta.dirname, '../../..');
const PLANTED = 'test/unit/fuzz/planted.ts';
/** Chance alone would need four thousand million. */
const CASES = 200_000;

describe('a campaign', () => {
  it('finds a fault behind four comparisons, cuts it down, and keeps what led there', async () => {
    using coverage = new Coverage(root, [PLANTED]);
    const target = await planted();
    const first = await played(target, { seed: 1, coverage });
    assert.deepEqual(
      first.failures.map(({ input, error }) => [input.toString(), error instanceof RangeError]),
      [['fuse', true]],
    );
    assert.ok(first.kept.some((input) => input.toString('latin1').startsWith('fus')));
    assert.ok(coverage.reached.functionsReached >= 3);
    // What was kept leads there without any coverage, and nothing else does.
    const again = await played(target, { seed: 1, corpus: first.kept });
    assert.equal(again.failures.length, 1);
    assert.equal((await played(target, { seed: 1 })).failures.length, 0);
  });

  it('gives the same inputs for the same seed, and others for another', async () => {
    const seen = async (seed: number): Promise<readonly string[]> => {
      const inputs: string[] = [];
      const recording: Target = {
        ...(await planted()),
        run: (input) => void inputs.push(input.toString('hex')),
      };
      await campaign(recording, { seed, corpus: [], coverage: undefined, goesOn: (cases) => cases < 200 });
      return inputs;
    };
    assert.deepEqual(await seen(7), await seen(7));
    assert.notDeepEqual(await seen(7), await seen(8));
  });
});

describe('inputs', () => {
  it('are lines that a person can read, and the same bytes again', async () => {
    const inputs = [
      Buffer.from('[s]\nkey: "value"\n'),
      Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
      Buffer.alloc(0),
    ];
    assert.equal(inputLine(Buffer.from('a\u00e9', 'latin1')), '"a\\u00e9"');
    for (const input of inputs) {
      assert.match(inputLine(input), /^[ -~]*$/);
      assert.deepEqual(readInput(inputLine(input)), input);
    }
    await using directory = await tempDirectory();
    const path = directory.at('corpus.txt');
    assert.deepEqual(readCorpus(path), []);
    writeCorpus(path, inputs);
    assert.deepEqual(readCorpus(path), inputs);
    assert.throws(() => readInput('{}'), TypeError);
  });

  it('are changed within their bound, and never in place', () => {
    const random = new Random(3);
    const input = Buffer.from('0123456789');
    for (let n = 0; n < 5000; n++) {
      const changed = mutate(input, random, {
        dictionary: [Buffer.from('word')],
        other: Buffer.from('other'),
        maxBytes: 16,
      });
      assert.ok(changed.length <= 16);
    }
    assert.equal(input.toString(), '0123456789');
  });

  it('at hand are known to another thread', () => {
    const current = Current.of(4);
    const seen = new Current(current.memory);
    current.set(Buffer.from('ab'));
    const { count } = seen;
    assert.equal(seen.input.toString(), 'ab');
    current.set(Buffer.from('longer'));
    assert.equal(seen.input.toString(), 'long');
    assert.notEqual(seen.count, count);
  });
});

it('what a target that was ended has left in memory is removed', () => {
  const [one, other] = [scratchDirectory(), scratchDirectory()];
  assert.ok(one !== other && existsSync(one));
  removeScratch();
  assert.deepEqual([existsSync(one), existsSync(other)], [false, false]);
});

it('the second reading of protobuf follows its documentation', () => {
  const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
  // framework_id in two pieces, task_id twice: pieces merge, the last text wins.
  const bytes = hex('0a 03 0a 01 61  12 03 0a 01 62  12 03 0a 01 63  1a 04 0a 02 08 01');
  assert.deepEqual(referenceDecode(KillTaskMessage, bytes), {
    framework_id: { value: 'a' },
    task_id: { value: 'c' },
    kill_policy: { grace_period: { nanoseconds: 1 } },
  });
  for (const malformed of ['0a', '0a 05 00', '0b', '00 00', '08 ff ff ff ff ff ff ff ff ff ff 01'])
    assert.throws(() => referenceDecode(KillTaskMessage, hex(malformed)), NotProtobuf);
});

/** Loaded where it is wanted: coverage has to be counting first. */
async function planted(): Promise<Target> {
  return (await import('./planted.ts')).target();
}

function played(
  target: Target,
  { seed, coverage, corpus = [] }: { seed: number; coverage?: Coverage; corpus?: readonly Buffer[] },
): Promise<Outcome> {
  let found = false;
  return campaign(
    {
      ...target,
      run: (input) => {
        try {
          return target.run(input);
        } catch (error) {
          found = true;
          throw error;
        }
      },
    },
    { seed, corpus, coverage, goesOn: (cases) => !found && cases < CASES },
  );
}

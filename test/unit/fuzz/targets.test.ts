// Every target of the fuzzer for a moment: all inputs that are kept, and some that are new. scripts/fuzz does the same for as long
// as it is given.

import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { campaign } from '../../../fuzz/engine/campaign.ts';
import { inputLine, readCorpus } from '../../../fuzz/engine/corpus.ts';
import { openTarget } from '../../../fuzz/engine/target.ts';
import { moduleOf, TARGETS } from '../../../fuzz/targets.ts';
import { readSources } from '../../tidy/source.ts';

const corpora = resolve(import.meta.dirname, '../../../fuzz/corpus');
/** New inputs for each target; the seed is fixed, so a failure is one of the code and not of the day. */
const NEW_CASES = 1500;

describe('what reads what others wrote', () => {
  for (const name of Object.keys(TARGETS)) {
    it(`holds for the kept inputs and some new ones: ${name}`, async () => {
      const corpus = readCorpus(`${corpora}/${name}.txt`);
      assert.ok(corpus.length > 0, 'no input is kept');
      const target = await openTarget(moduleOf(name));
      const { failures, cases } = await campaign(target, {
        seed: 1,
        corpus,
        coverage: undefined,
        goesOn: (sofar) => sofar < corpus.length + NEW_CASES,
      });
      target.close?.();
      assert.deepEqual(
        failures.map(
          ({ input, error }) => `${inputLine(input)}: ${error instanceof Error ? error.message : error}`,
        ),
        [],
      );
      assert.ok(cases > NEW_CASES);
    });
  }
});

it('the sources that targets are measured by are there', () => {
  const paths = new Set(readSources('src/**/*.ts').map(({ path }) => path));
  const named = Object.values(TARGETS).flat();
  assert.deepEqual(
    named.filter((path) => !paths.has(path)),
    [],
  );
});

// A target in a thread of its own, and the script around it: what hangs is ended and told, what is asked wrongly is said in a line.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { readCorpus } from '../../../fuzz/engine/corpus.ts';
import { play } from '../../../fuzz/play.ts';
import { outcomeOf } from '../../support/command.ts';
import { tempDirectory } from '../../support/temp.ts';

const root = resolve(import.meta.dirname, '../../..');
/** The shell entry installs first what is missing, and hands over its words. */
const SCRIPT = [process.execPath, resolve(root, 'scripts/fuzz.ts')] as const;

describe('a target in a thread', () => {
  const order = { corpus: '/nowhere', seed: 1, timeMs: undefined, sources: [] };

  it('that hangs is ended, and the input is told', async () => {
    const module = resolve(root, 'test/unit/fuzz/hanging.ts');
    const played = await play({ ...order, module, cases: 100_000 }, () => {}, 1500);
    assert.deepEqual(played.failures, [{ input: '"?"', error: 'no end after 1.5 s' }]);
  });

  it('tells what it found, what it kept and what it reached', async () => {
    const module = resolve(root, 'test/unit/fuzz/planted.ts');
    const played = await play(
      { ...order, module, sources: ['test/unit/fuzz/planted.ts'], cases: 5000 },
      () => {},
    );
    assert.ok(played.cases >= 5000 && played.kept.length > 0);
    assert.ok(
      played.reached.charactersReached > 0 && played.reached.charactersReached < played.reached.characters,
    );
  });

  it('that cannot be loaded is a failure', async () => {
    const played = await play({ ...order, module: '/nowhere/target.ts', cases: 1 }, () => {});
    assert.match(played.failures[0]?.error ?? '', /Cannot find module/);
  });
});

describe('scripts/fuzz', () => {
  for (const [words, said] of [
    [['nothing'], /^scripts\/fuzz: no target nothing; there are codec, .*\n$/],
    [['--time', '5'], /^scripts\/fuzz: --time 5 is no time like 60s, 10m or 1h\n$/],
    [['--seed', 'x'], /^scripts\/fuzz: --seed x is not a number\n$/],
    [['--often'], /^scripts\/fuzz: .*--often.*\n$/],
  ] as const)
    it(`says in one line what is wrong with ${words.join(' ')}`, async () => {
      const { code, stdout, stderr } = await outcomeOf([...SCRIPT, ...words]);
      assert.deepEqual([code, String(stdout)], [1, '']);
      assert.match(String(stderr), said);
    });

  it('plays the targets that are named, keeps their inputs, and writes the table', async () => {
    await using directory = await tempDirectory();
    const json = directory.at('table.json');
    const words = [
      '--cases',
      '2000',
      '--seed',
      '5',
      '--json',
      json,
      '--corpus',
      directory.path,
      'requests',
      'uris',
    ];
    const { code, stdout } = await outcomeOf([...SCRIPT, ...words]);
    assert.equal(code, 0, String(stdout));
    assert.match(String(stdout), /seed 5, nothing found\n$/);
    const { seed, rows } = JSON.parse(readFileSync(json, 'utf8'));
    assert.equal(seed, 5);
    for (const [at, target] of ['requests', 'uris'].entries()) {
      const row = rows[at];
      assert.deepEqual(
        [row.target, row.found, row.corpus],
        [target, 0, readCorpus(directory.at(`${target}.txt`)).length],
      );
      assert.ok(row.cases >= 2000 && row.corpus > 0 && row.codePercent > 50);
    }
    assert.ok(!existsSync(directory.at('codec.txt')));
  });
});

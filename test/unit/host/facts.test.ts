// One fact, one file: whole or absent, for every reader at any moment.

import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { errnoOf, isFault } from '../../../src/fault.ts';
import {
  claimFact,
  readFact,
  readJsonFact,
  removeAbandoned,
  removeSync,
  renameIfThere,
  writeFact,
  writeFactSync,
} from '../../../src/host/facts.ts';
import { outcomeOf } from '../../support/command.ts';
import { tempDirectory } from '../../support/temp.ts';

test('a fact is written whole, for us alone, and leaves no other file behind', async () => {
  await using directory = await tempDirectory();
  const path = directory.at('fact');
  writeFactSync(path, 'one');
  await writeFact(path, 'two');
  assert.equal(readFileSync(path, 'utf8'), 'two');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(directory.path), ['fact']);
});

test('a reader that looks all the time sees the old fact or the new one, never a piece', async () => {
  await using directory = await tempDirectory();
  const path = directory.at('fact');
  const texts = ['a'.repeat(300_000), 'b'.repeat(300_000)];
  writeFactSync(path, texts[0] ?? '');
  const writing = (async () => {
    for (let n = 0; n < 40; n++) await writeFact(path, texts[n % 2] ?? '');
  })();
  let writes = true;
  void writing.then(() => {
    writes = false;
  });
  for (let looks = 0; writes; looks++) {
    assert.ok(texts.includes(readFact(path) ?? ''), `look ${looks}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await writing;
});

test('writing replaces a symlink and does not follow it', async () => {
  await using directory = await tempDirectory();
  writeFileSync(directory.at('victim'), 'precious');
  symlinkSync(directory.at('victim'), directory.at('fact'));
  writeFactSync(directory.at('fact'), 'new');
  assert.equal(readFileSync(directory.at('victim'), 'utf8'), 'precious');
  assert.equal(readFact(directory.at('fact')), 'new');
});

test('what is not there is undefined; what is torn is no JSON; a symlink and a directory are no facts', async () => {
  await using directory = await tempDirectory();
  assert.equal(readFact(directory.at('absent')), undefined);
  assert.equal(readFact(directory.at('absent/deeper')), undefined);
  writeFileSync(directory.at('torn'), '{"version":1,"ta');
  assert.equal(readJsonFact(directory.at('torn')), undefined);
  symlinkSync(directory.at('torn'), directory.at('link'));
  assert.equal(readFact(directory.at('link')), undefined);
  mkdirSync(directory.at('directory'));
  assert.equal(readFact(directory.at('directory')), undefined);
});

test('a FIFO in the place of a fact does not hold the reader up', async () => {
  await using directory = await tempDirectory();
  await outcomeOf(['mkfifo', directory.at('fifo')]);
  assert.equal(readFact(directory.at('fifo')), '');
});

test('of two that rename one file the first has it, and the second is told so', async () => {
  await using directory = await tempDirectory();
  writeFactSync(directory.at('pending'), '');
  assert.equal(renameIfThere(directory.at('pending'), directory.at('accepted')), true);
  assert.equal(renameIfThere(directory.at('pending'), directory.at('withdrawn')), false);
  assert.equal(removeSync(directory.at('accepted')), true);
  assert.equal(removeSync(directory.at('accepted')), false);
});

test('of two that make one fact the first does, whole, and the second changes nothing', async () => {
  await using directory = await tempDirectory();
  const path = directory.at('fact');
  assert.equal(claimFact(path, 'one'), true);
  assert.equal(claimFact(path, 'two'), false);
  assert.equal(readFact(path), 'one');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(directory.path), ['fact']);
  assert.throws(
    () => claimFact(directory.at('none', 'fact'), ''),
    (error) => isFault(error, 'host'),
  );
});

test('what cannot be written is said in words, and has the system’s code', async () => {
  await using directory = await tempDirectory();
  const path = directory.at('absent/fact');
  const said = (error: unknown): boolean =>
    isFault(error, 'host') &&
    errnoOf(error) === 'ENOENT' &&
    error.message === `cannot write ${path}: no such file or directory`;
  assert.throws(() => writeFactSync(path, 'x'), said);
  await assert.rejects(writeFact(path, 'x'), said);
});

test('a directory in the place of a fact is kept beside it, with what is in it', async () => {
  await using directory = await tempDirectory();
  for (const write of [writeFactSync, writeFact]) {
    mkdirSync(directory.at('fact'));
    writeFileSync(directory.at('fact/precious'), 'mine');
    await write(directory.at('fact'), 'x');
    assert.equal(readFact(directory.at('fact')), 'x');
    const [beside = assert.fail()] = readdirSync(directory.path).filter((name) => name.includes('foreign'));
    assert.equal(readFileSync(directory.at(`${beside}/precious`), 'utf8'), 'mine');
    rmSync(directory.path, { recursive: true });
    mkdirSync(directory.path);
  }
});

test('what a killed writer left half way is removed, what a living one is about to rename is not', async () => {
  await using directory = await tempDirectory();
  const dead = Number((await outcomeOf(['sh', '-c', 'echo $$'])).stdout.toString());
  const names = [`fact.${dead}.123.tmp`, `fact.${process.pid}.123.tmp`, 'fact', `fact.${dead}.tmp`];
  for (const name of names) writeFactSync(directory.at(name), '');
  removeAbandoned(directory.path);
  removeAbandoned(directory.at('absent'));
  assert.deepEqual(readdirSync(directory.path).sort(), names.slice(1).sort());
});

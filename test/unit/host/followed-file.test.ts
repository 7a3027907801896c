// A file as it grows, is cut short, and is replaced, on a real disk.

import assert from 'node:assert/strict';
import {
  appendFileSync,
  chownSync,
  linkSync,
  mkdirSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { describe, it } from 'node:test';
import { FollowedFile } from '../../../src/host/followed-file.ts';
import { output } from '../../support/command.ts';
import { NOBODY } from '../../support/exchange.ts';
import { tempDirectory } from '../../support/temp.ts';

function all(file: FollowedFile): string {
  const parts: Buffer[] = [];
  for (let bytes = file.read(); bytes !== undefined; bytes = file.read()) parts.push(Buffer.from(bytes));
  return Buffer.concat(parts).toString();
}

describe('a file that is followed', () => {
  it('has what is added, once it is there', async () => {
    await using directory = await tempDirectory();
    const path = directory.at('out');
    using file = new FollowedFile(path);
    assert.equal(all(file), '');
    const much = 'much\n'.repeat(50_000);
    writeFileSync(path, much);
    assert.equal(all(file), much);
    appendFileSync(path, 'more');
    assert.equal(all(file), 'more');
    assert.equal(all(file), '');
  });

  it('begins anew where it was cut short or replaced', async () => {
    await using directory = await tempDirectory();
    const path = directory.at('out');
    writeFileSync(path, 'one\ntwo\n');
    using file = new FollowedFile(path, 1);
    assert.equal(all(file), 'two\n');
    truncateSync(path, 0);
    appendFileSync(path, 'new\n');
    assert.equal(all(file), 'new\n');
    renameSync(path, `${path}.1`);
    assert.equal(all(file), '');
    writeFileSync(path, 'a\nb\n');
    assert.equal(all(file), 'a\nb\n');
  });

  it('begins with its last lines, however long they are', async () => {
    await using directory = await tempDirectory();
    const path = directory.at('out');
    const long = 'x'.repeat(200_000);
    const tailed: readonly (readonly [text: string, tail: number, rest: string])[] = [
      ['', 3, ''],
      ['a\nb\nc\n', 0, ''],
      ['a\nb\nc\n', 1, 'c\n'],
      ['a\nb\nc', 2, 'b\nc'],
      ['a\nb\nc\n', 3, 'a\nb\nc\n'],
      ['a\nb\nc\n', 9, 'a\nb\nc\n'],
      ['\n\n\n', 2, '\n\n'],
      [`a\n${long}\n${long}\n`, 2, `${long}\n${long}\n`],
      [`a\n${long}`, 1, long],
    ];
    for (const [text, tail, rest] of tailed) {
      writeFileSync(path, text);
      using file = new FollowedFile(path, tail);
      assert.ok(all(file) === rest, `${tail} of ${text.slice(0, 20)}`);
    }
  });

  it('is refused where it is a link, a FIFO or a directory', async () => {
    await using directory = await tempDirectory();
    symlinkSync('/etc/passwd', directory.at('link'));
    mkdirSync(directory.at('directory'));
    await output(['mkfifo', directory.at('fifo')]);
    for (const name of ['link', 'directory', 'fifo']) {
      using file = new FollowedFile(directory.at(name));
      assert.throws(() => file.read(), { name: 'Fault', kind: 'host' });
    }
  });

  it('is refused where it is a second name of a file that is not of the directory’s owner', async () => {
    await using directory = await tempDirectory();
    mkdirSync(directory.at('box'));
    chownSync(directory.at('box'), NOBODY, NOBODY);
    writeFileSync(directory.at('secret'), "root's", { mode: 0o600 });
    linkSync(directory.at('secret'), directory.at('box', 'stdout'));
    using file = new FollowedFile(directory.at('box', 'stdout'));
    assert.throws(() => file.read(), /does not belong to the owner of its directory/);
    chownSync(directory.at('secret'), NOBODY, NOBODY);
    assert.equal(all(file), "root's");
  });
});

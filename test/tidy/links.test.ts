// Every link of the pages that leads into the project leads somewhere: to a file, and to a heading of it.

import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const pages = globSync(['*.md', 'docs/*.md'], { cwd: root });

/** Without blocks and pieces of code, in which brackets are something else. */
function wordsOf(page: string): string {
  return readFileSync(join(root, page), 'utf8')
    .replaceAll(/^```[\s\S]*?^```$/gm, '')
    .replaceAll(/`[^`\n]*`/g, (code) => code.replaceAll(/[[\]()]/g, ' '));
}

/** As a heading is linked to: in small letters, without marks, with hyphens for blanks. */
function anchorsOf(page: string): readonly string[] {
  const text = readFileSync(join(root, page), 'utf8').replaceAll(/^```[\s\S]*?^```$/gm, '');
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

function broken(page: string, words: string): string[] {
  return [...words.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)].flatMap(
    ([, file = '', anchor]) => {
      const target = file === '' ? page : join(dirname(page), file);
      if (!existsSync(join(root, target))) return [`${page}: there is no ${target}`];
      if (anchor === undefined || anchorsOf(target).includes(anchor)) return [];
      return [`${page}: ${target} has no heading #${anchor}`];
    },
  );
}

test('every link into the project leads to a file, and to a heading of it', () => {
  assert.ok(pages.length > 5);
  assert.deepEqual(
    pages.flatMap((page) => broken(page, wordsOf(page))),
    [],
  );
});

test('a link that leads nowhere is found', () => {
  for (const link of ['[a](nowhere.md)', '![a](docs/nowhere.svg)', '[a](#nowhere)', '[a](README.md#nowhere)'])
    assert.equal(broken('README.md', link).length, 1, link);
});

// Rules of style that neither the type checker nor the linter holds. Each takes files and answers with what breaks
// it, a line each, so that the tests can also show that it finds a breach.

import { codeOf, type SourceFile } from './source.ts';

type Rule = (files: readonly SourceFile[]) => string[];

/** A rule about each file by itself: `breaches` answers what is wrong with it. */
function eachFile(breaches: (file: SourceFile) => readonly string[]): Rule {
  return (files) => files.flatMap((file) => breaches(file).map((what) => `${file.path}: ${what}`));
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

export const noAny = eachFile(({ text }) =>
  [
    ...codeOf(text).matchAll(/(?:(?<!\?\s*\w+\s*):|\bas|[<,|&]|=>|\btype\s+\w+\s*=)\s*any\b(?!\s*[(:=.])/g),
  ].map(([words]) => `has '${words.trim()}'`),
);

/** Biome's format puts what belongs to the module at the start of a line, and nothing else. */
export const noModuleState = eachFile(({ text }) =>
  [...codeOf(text).matchAll(/^(?:export\s+)?(?:let|var)\s+(\w+|[{[])/gm)].map(
    ([, name]) => `module-level variable ${name}`,
  ),
);

export const noBarrel = eachFile(({ path, text }) => [
  ...(/^index\.[cm]?ts$/.test(baseName(path)) ? ['is a barrel by name'] : []),
  ...(/^\s*export\s*\*/m.test(codeOf(text)) ? ['re-exports everything of another file'] : []),
]);

export const namesSayWhat = eachFile(({ path }) => [
  ...(/^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.test)?\.ts$/.test(baseName(path)) ? [] : ['is not named in kebab-case']),
  ...path
    .split(/[/.-]/)
    .filter((word) => /^(?:utils?|helpers?|common|managers?|misc)$/.test(word))
    .map((word) => `'${word}' in its name says nothing`),
]);

export const opensWithComment = eachFile(({ text }) => {
  const lines = text.split('\n');
  const length = lines.findIndex((line) => !line.startsWith('//'));
  return length >= 1 && length <= 12
    ? []
    : [`opens with ${length} lines of comment; up to 6 say what it owns`];
});

export const testsRunAndSayWhyNot = eachFile(({ text }) => [
  ...[
    ...codeOf(text).matchAll(/\b(?:test|it|describe|suite)\s*\.\s*(?:only|skip|todo)\b|\b(?:only|todo):/g),
  ].map(([words]) => `has ${words}`),
  ...[...codeOf(text).matchAll(/\bskip:\s*(?:true|''|"")|\.(?:skip|todo)\(\s*(?:''|"")?\s*\)/g)].map(
    ([words]) => `has ${words} without a reason`,
  ),
]);

/** The code from the bracket at `open` to the one that closes it. `code` has no strings or comments. */
function bracketed(code: string, open: number): string {
  let depth = 0;
  for (let at = open; at < code.length; at++) {
    if ('([{'.includes(code.charAt(at))) depth++;
    else if (')]}'.includes(code.charAt(at)) && --depth === 0) return code.slice(open, at + 1);
  }
  return code.slice(open);
}

/**
 * Every test asserts: by itself, through a function of its file that does, or through an imported one whose name
 * begins with assert, check, expect or verify; waiting `until` something holds, which fails at its bound, is one too.
 */
export const testsAssert = eachFile(({ text }) => {
  const code = codeOf(text);
  const asserting = new Set<string>();
  const asserts = (body: string) =>
    /\bassert\b|\buntil\(|\b(?:assert|check|expect|verify)[A-Z]\w*\s*\(/.test(body) ||
    [...asserting].some((name) => new RegExp(`\\b${name}\\s*[(,)]`).test(body));
  const functions = [
    ...code.matchAll(/\bfunction\s*\*?\s*(\w+)\s*(?:<[^(]*>)?\(|\bconst\s+(\w+)\s*=\s*(?:async\s*)?\(/g),
  ].map((match) => {
    const name = match[1] ?? match[2] ?? '';
    const after = match.index + match[0].length - 1;
    const parameters = bracketed(code, after);
    const body = code.indexOf('{', after + parameters.length);
    const expressionEnd = code.indexOf(';', after + parameters.length);
    const isExpression = expressionEnd !== -1 && (body === -1 || expressionEnd < body);
    return { name, body: isExpression ? code.slice(after, expressionEnd) : bracketed(code, body) };
  });
  for (let before = -1; before !== asserting.size; ) {
    before = asserting.size;
    for (const { name, body } of functions) if (asserts(body)) asserting.add(name);
  }
  const tests = [...code.matchAll(/(?<![.\w])(?:test|it|t\.test)\s*\(/g)];
  return tests
    .filter((match) => !asserts(bracketed(code, match.index + match[0].length - 1)))
    .map((match) => `the test in line ${code.slice(0, match.index).split('\n').length} asserts nothing`);
});
